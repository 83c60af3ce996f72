//! The types of the crate [`nifti`] (nifti-rs), to and from those here: with the feature `nifti`.
//!
//! - [`NiftiHeader`] and `nifti::NiftiHeader` become each other by `TryFrom`.
//! - [`NiftiImage::from_nifti_object`] and [`NiftiImage::from_nifti_parts`] take what that crate has read: its
//!   voxels are not copied, and are decoded by the code that decodes files.
//! - [`NiftiImage::to_nifti_object`] and [`NiftiImage::to_nifti_parts`] give it an image of a file or of bytes,
//!   and [`WriteOptions::to_nifti_object`] a volume.
//!
//! The version of `nifti` is part of this interface: a program must use the one that is used here, 0.18.
//!
//! # What is lost
//!
//! Kept are place (sform, qform, voxel sizes, units), type, order of bytes, scaling, display range, timing, intent,
//! texts, and the extensions of an object. Not kept are:
//!
//! - to the crate `nifti`: that a header is NIfTI-2, whose numbers are rounded to 32 bits (what does not fit is
//!   [`InterchangeError::Field`]); a `bitpix` that contradicts the type, since that crate counts bytes by it
//!   (headers alone keep it); and the offset of the voxels in an object, which is where they are put;
//! - from the crate `nifti`: fields that NIfTI-1 does not use (`data_type`, `db_name`, `extents`,
//!   `session_error`, `regular`, `glmax`, and `glmin` but for surfaces of FreeSurfer), the magic, sizes of axes that
//!   are not there, and what follows the first zero of a text.
//!
//! A volume of that crate has a scaling and an order of bytes that it does not show. Those of the header are taken:
//! they are the same unless the header was changed after reading.
//!
//! # What the crate `nifti` 0.18 reads otherwise
//!
//! The tests of this module pin each of these. Where voxels are the same bytes, converting an object
//! ([`NiftiImage::from_nifti_object`]) gives what lesio reads in the file.
//!
//! | of the file | `nifti` | lesio |
//! |---|---|---|
//! | NIfTI-2 | an error | is read |
//! | a slope of NaN, as many files have | every value is NaN | values are not scaled |
//! | an infinite slope | values are infinite or NaN | values are not scaled |
//! | an intercept of NaN with a slope | every value is NaN | an error |
//! | 32-bit and 64-bit integers with a slope of 1, read as they are stored | rounded to 24 bits, or to 53 | exact |
//! | an integer that the type asked for does not hold | cut off, and then scaled | scaled, and an error if it still does not fit |
//! | an offset of the voxels without extensions | is not followed: voxels are read from byte 352 | is followed |
//! | an offset in the `.img` of a pair | is not followed | is followed |
//! | complex numbers, most significant byte first | real and imaginary part of 32 bits are exchanged | are read |
//! | complex numbers with a slope | both parts are scaled | are not scaled |
//! | colors, read as numbers | wrong numbers, or a panic | an error |
//! | a `bitpix` that contradicts the type | bytes are counted by it: an error, or a panic later | the type counts |
//! | gzip of several members | the first alone: an error | is read |
//! | a gzip checksum that does not agree | is not looked at | an error |
//! | an axis with a negative size | is taken as a size of 32768 or more | an error |
//! | `.img`, and endings in upper case | are not found out | are read |
//!
//! The same are slopes of 0 (no scaling), both orders of bytes for real numbers, images of one to seven axes, and
//! pairs of which either half is compressed. Units are kept there as a code, and coordinates stay in the header's
//! unit; a [`Geometry`](lesio_image::Geometry) is in millimeters.
//!
//! ```
//! use lesio_image::{Geometry, Volume};
//! use lesio_io::WriteOptions;
//! use lesio_io::nifti::NiftiImage;
//! use ndarray::Array3;
//! use nifti::{InMemNiftiObject, NiftiObject, RandomAccessNiftiVolume};
//!
//! let volume = Volume::new(Array3::from_elem((4, 5, 6), 3_i16), Geometry::from_spacing([1.0, 1.0, 3.0])?);
//! let object: InMemNiftiObject = WriteOptions::new().to_nifti_object(&volume)?;
//! assert_eq!(object.header().pixdim[3], 3.0);
//! assert_eq!(object.volume().get_f32(&[0, 1, 2])?, 3.0);
//!
//! let mut image = NiftiImage::from_nifti_object(&object)?;
//! assert_eq!(image.read_volume::<i16>()?, volume);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::Read;

use ::nifti::{Endianness, InMemNiftiObject, InMemNiftiVolume, NiftiError, NiftiObject, NiftiVolume};
use lesio_image::Volume;

use crate::error::{ImageWriteError, ReadError, ReadErrorKind};
use crate::nifti::byte_order::ByteOrder;
use crate::nifti::extension::Extension;
use crate::nifti::header::{FOLDED, FirstAxis, NiftiHeader, NiftiVersion, SIZE_1};
use crate::nifti::image::NiftiImage;
use crate::nifti::voxel::Voxel;
use crate::nifti::write::WriteOptions;
use crate::options::ReadOptions;
use crate::source::sealed::Holder;

/// What messages call an object of the crate `nifti`.
const OBJECT: &str = "<nifti object>";

/// Where the extensions of a NIfTI-1 file start.
const START: u64 = SIZE_1 as u64 + 4;

/// Why something of the crate `nifti` cannot be had here, or the reverse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterchangeError {
    /// A header of the crate `nifti` that is refused here as it is in a file.
    #[error(transparent)]
    Header(#[from] ReadErrorKind),
    /// The image cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The volume cannot be written as NIfTI-1.
    #[error(transparent)]
    Write(#[from] ImageWriteError),
    /// A field that a header of the crate `nifti`, which is NIfTI-1, does not hold.
    #[error("{field} is {found}, expected {expected}")]
    Field {
        /// The field, as the standard calls it.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A volume of the crate `nifti` that is not the one of the header.
    #[error("the volume has {what} {found}, its header says {expected}")]
    Contradiction {
        /// What differs: `dim`, `datatype`, `length in bytes`.
        what: &'static str,
        /// Of the volume.
        found: String,
        /// Of the header.
        expected: String,
    },
    /// The crate `nifti` refuses it.
    #[error("is refused by the crate nifti")]
    Refused(#[from] NiftiError),
}

impl InterchangeError {
    /// The name of what is wrong, as it stands in reports: that of the cause where there is one (`"BadDim"`), else
    /// that of the variant (`"Field"`).
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Header(kind) => kind.name(),
            Self::Read(error) => error.kind().name(),
            Self::Write(error) => error.kind().name(),
            Self::Field { .. } => "Field",
            Self::Contradiction { .. } => "Contradiction",
            Self::Refused(_) => "Refused",
        }
    }
}

fn bad_field(
    field: &'static str,
    found: impl std::fmt::Display,
    expected: impl Into<String>,
) -> InterchangeError {
    InterchangeError::Field { field, found: found.to_string(), expected: expected.into() }
}

/// The header of an image that the crate `nifti` has read, checked as that of a file is. It has no extensions:
/// those are of the object.
///
/// # Errors
/// [`InterchangeError::Header`] as [`NiftiHeader::parse`], and [`InterchangeError::Field`] for sizes of 32768 or
/// more, which are negative in a file, and descriptions of more than 80 bytes.
impl TryFrom<&::nifti::NiftiHeader> for NiftiHeader {
    type Error = InterchangeError;

    fn try_from(header: &::nifti::NiftiHeader) -> Result<Self, InterchangeError> {
        let (header, _, _) = Self::parse_with_oddities(&encoded(header)?)?;
        Ok(header)
    }
}

/// The header as the crate `nifti` has it. Numbers of 64 bits are rounded to 32; the magic is that of a pair where
/// voxels start before byte 352.
///
/// # Errors
/// [`InterchangeError::Field`] for what NIfTI-1 does not hold: axes of more than 32767 voxels (but for those that
/// FreeSurfer hides), codes and floats that overflow, texts that are too long, and a place that rounding spoils.
impl TryFrom<&NiftiHeader> for ::nifti::NiftiHeader {
    type Error = InterchangeError;

    fn try_from(header: &NiftiHeader) -> Result<Self, InterchangeError> {
        let (dim, glmin) = sizes(header)?;
        let [intent_p1, intent_p2, intent_p3] = floats("intent_p", &header.intent_parameters)?;
        let [quatern_b, quatern_c, quatern_d] = floats("quatern", &header.quaternion)?;
        let [quatern_x, quatern_y, quatern_z] = floats("qoffset", &header.quaternion_offset)?;
        let [srow_x, srow_y, srow_z] = &header.srow;
        let vox_offset = header.vox_offset as f32;
        if vox_offset as u64 != header.vox_offset {
            return Err(bad_field("vox_offset", header.vox_offset, "one that a 32-bit float holds"));
        }
        let theirs = Self {
            dim_info: header.dim_info,
            dim,
            intent_p1,
            intent_p2,
            intent_p3,
            intent_code: integer("intent_code", header.intent_code)?,
            datatype: header.datatype.code(),
            bitpix: header.bits_per_voxel,
            slice_start: integer("slice_start", header.slice_start)?,
            pixdim: floats("pixdim", &header.pixdim)?,
            vox_offset,
            scl_slope: float("scl_slope", header.scl_slope)?,
            scl_inter: float("scl_inter", header.scl_inter)?,
            slice_end: integer("slice_end", header.slice_end)?,
            slice_code: integer("slice_code", header.slice_code)?,
            xyzt_units: integer("xyzt_units", header.xyzt_units)?,
            cal_max: float("cal_max", header.cal_max)?,
            cal_min: float("cal_min", header.cal_min)?,
            slice_duration: float("slice_duration", header.slice_duration)?,
            toffset: float("toffset", header.toffset)?,
            glmin,
            descrip: text::<80>("descrip", &header.description)?.to_vec(),
            aux_file: text("aux_file", &header.auxiliary_file)?,
            qform_code: integer("qform_code", header.qform_code)?,
            sform_code: integer("sform_code", header.sform_code)?,
            quatern_b,
            quatern_c,
            quatern_d,
            quatern_x,
            quatern_y,
            quatern_z,
            srow_x: floats("srow_x", srow_x)?,
            srow_y: floats("srow_y", srow_y)?,
            srow_z: floats("srow_z", srow_z)?,
            intent_name: text("intent_name", &header.intent_name)?,
            magic: if header.vox_offset < START { *b"ni1\0" } else { *b"n+1\0" },
            endianness: match header.byte_order {
                ByteOrder::Little => Endianness::Little,
                ByteOrder::Big => Endianness::Big,
            },
            ..Self::default()
        };
        if header.version == NiftiVersion::Two && header.geometry().is_ok() {
            let rounded = NiftiHeader::try_from(&theirs)?.geometry();
            rounded.map_err(|kind| bad_field("the place", kind, "one that 32-bit floats hold"))?;
        }
        Ok(theirs)
    }
}

impl<'a> NiftiImage<&'a [u8]> {
    /// The image of an object that the crate `nifti` has read, with its extensions; voxels are not copied.
    ///
    /// Messages and [`NiftiImage::path`] call it `<nifti object>`. Its voxels are any that lesio reads of files,
    /// complex numbers and colors among them.
    ///
    /// # Errors
    /// As [`NiftiImage::from_nifti_parts`].
    pub fn from_nifti_object(object: &'a InMemNiftiObject) -> Result<Self, InterchangeError> {
        Self::from_nifti_object_with(object, &ReadOptions::new())
    }

    /// As [`NiftiImage::from_nifti_object`], with another limit of memory.
    ///
    /// # Errors
    /// As [`NiftiImage::from_nifti_parts`].
    pub fn from_nifti_object_with(
        object: &'a InMemNiftiObject,
        options: &ReadOptions,
    ) -> Result<Self, InterchangeError> {
        let extensions = object.extensions().iter();
        let extensions =
            extensions.map(|extension| Extension::new(extension.code(), extension.data().clone()));
        Self::of_parts(object.header(), object.volume(), extensions.collect(), options)
    }

    /// As [`NiftiImage::from_nifti_object`], of a header and a volume.
    ///
    /// # Errors
    /// As [`NiftiHeader`]'s `TryFrom`; [`InterchangeError::Contradiction`] where the volume has another shape, type
    /// or number of bytes than the header says; and [`InterchangeError::Read`] where the header gives no place.
    pub fn from_nifti_parts(
        header: &::nifti::NiftiHeader,
        volume: &'a InMemNiftiVolume,
        options: &ReadOptions,
    ) -> Result<Self, InterchangeError> {
        Self::of_parts(header, volume, Vec::new(), options)
    }

    fn of_parts(
        theirs: &::nifti::NiftiHeader,
        volume: &'a InMemNiftiVolume,
        extensions: Vec<Extension>,
        options: &ReadOptions,
    ) -> Result<Self, InterchangeError> {
        let (mut header, _, oddities) = NiftiHeader::parse_with_oddities(&encoded(theirs)?)?;
        let contradiction = |what, found: String, expected: String| {
            Err(InterchangeError::Contradiction { what, found, expected })
        };
        // A header that parses has 1 to 7 axes.
        let dim = theirs.dim.get(1..=header.shape.len()).unwrap_or_default();
        if volume.dim() != dim {
            return contradiction("dim", format!("{:?}", volume.dim()), format!("{dim:?}"));
        }
        let code = volume.data_type() as i16;
        if code != theirs.datatype {
            return contradiction("datatype", code.to_string(), theirs.datatype.to_string());
        }
        let need = header.voxels()?.saturating_mul(header.datatype.bytes());
        if volume.raw_data().len() as u64 != need {
            return contradiction("length in bytes", volume.raw_data().len().to_string(), need.to_string());
        }
        header.extensions = extensions;
        Ok(Self::of_voxels((header, oddities), volume.raw_data(), OBJECT, options)?)
    }
}

impl<C: Holder> NiftiImage<C> {
    /// Header and voxels as the crate `nifti` has them: all voxels, in the file's order of bytes, not scaled.
    ///
    /// Extensions are left out. The bytes of the voxels count as memory that reading takes.
    ///
    /// # Errors
    /// As the header's `TryFrom`, [`InterchangeError::Field`] for an axis that FreeSurfer hides, and as
    /// [`NiftiImage::read_raw`].
    pub fn to_nifti_parts(&mut self) -> Result<(::nifti::NiftiHeader, InMemNiftiVolume), InterchangeError> {
        let mut header = ::nifti::NiftiHeader::try_from(self.header())?;
        if self.header().first_axis == FirstAxis::InGlmin {
            return Err(too_long(0, self.header().size(0)));
        }
        // Bytes are counted by this field there. At most 128 bits.
        header.bitpix = (self.header().datatype.bytes() * 8) as i16;
        let volume = InMemNiftiVolume::from_raw_data(&header, self.read_raw()?)?;
        Ok((header, volume))
    }

    /// As [`NiftiImage::to_nifti_parts`], with the extensions, as an object of one file.
    ///
    /// The object is made by the reader of the crate `nifti`: for a while the voxels are in memory twice.
    ///
    /// # Errors
    /// As [`NiftiImage::to_nifti_parts`], and [`InterchangeError::Refused`].
    pub fn to_nifti_object(&mut self) -> Result<InMemNiftiObject, InterchangeError> {
        let (mut header, volume) = self.to_nifti_parts()?;
        let extensions = encoded_extensions(self.header())?;
        let offset = START + extensions.len() as u64;
        header.magic = *b"n+1\0";
        header.vox_offset = offset as f32;
        if header.vox_offset as u64 != offset {
            return Err(bad_field("vox_offset", offset, "one that a 32-bit float holds"));
        }
        let mut start = encoded(&header)?;
        start.extend([u8::from(!extensions.is_empty()), 0, 0, 0]);
        start.extend(extensions);
        Ok(InMemNiftiObject::from_reader(start.as_slice().chain(volume.raw_data()))?)
    }
}

impl WriteOptions {
    /// A volume as an object of the crate `nifti`: what that crate would read in the `.nii` file that
    /// [`WriteOptions::write`] writes. It is NIfTI-1, whatever [`WriteOptions::version`] says.
    ///
    /// The object is made by the reader of the crate `nifti`: for a while the voxels are in memory twice, beside
    /// those of the volume.
    ///
    /// # Errors
    /// [`InterchangeError::Write`] as [`WriteOptions::to_bytes`], and [`InterchangeError::Refused`].
    pub fn to_nifti_object<T: Voxel>(
        &self,
        volume: &Volume<T>,
    ) -> Result<InMemNiftiObject, InterchangeError> {
        let bytes = self.clone().version(NiftiVersion::One).to_bytes(volume)?;
        Ok(InMemNiftiObject::from_reader(bytes.as_slice())?)
    }
}

/// `dim`, and the unused field in which FreeSurfer hides the size of a long axis.
fn sizes(header: &NiftiHeader) -> Result<([u16; 8], i32), InterchangeError> {
    let axes = header.shape.len();
    if !(1..=7).contains(&axes) {
        return Err(bad_field("dim[0]", axes, "1 to 7"));
    }
    let mut shape = header.shape.clone();
    let mut glmin = 0;
    if let Some(sizes) = shape.first_chunk_mut().filter(|_| header.version == NiftiVersion::One) {
        if header.first_axis == FirstAxis::Folded && *sizes == FOLDED.0 {
            *sizes = FOLDED.1;
        } else if header.first_axis == FirstAxis::InGlmin {
            glmin = i32::try_from(sizes[0]).map_err(|_| too_long(0, sizes[0]))?;
            // As 16 bits with a sign, this is -1.
            sizes[0] = u64::from(u16::MAX);
        }
    }
    if shape == FOLDED.1 && header.first_axis != FirstAxis::Folded {
        let expected = "another shape: this one is read as the 163842 vertices of a FreeSurfer surface";
        return Err(bad_field("dim", "27307 x 1 x 6", expected));
    }
    let mut dim = [1; 8];
    dim[0] = axes as u16;
    for (axis, (place, &size)) in dim.iter_mut().skip(1).zip(&shape).enumerate() {
        let hidden = axis == 0 && glmin > 0;
        *place = u16::try_from(size)
            .ok()
            .filter(|&size| hidden || (1..=i16::MAX as u16).contains(&size))
            .ok_or_else(|| too_long(axis, size))?;
    }
    Ok((dim, glmin))
}

fn too_long(axis: usize, size: u64) -> InterchangeError {
    bad_field("dim", format!("{size} along axis {axis}"), "1 to 32767, which NIfTI-1 holds")
}

fn integer<T: Copy + std::fmt::Display, U: TryFrom<T>>(
    field: &'static str,
    value: T,
) -> Result<U, InterchangeError> {
    let expected = || format!("an integer of {} bits", 8 * size_of::<U>());
    U::try_from(value).map_err(|_| bad_field(field, value, expected()))
}

fn float(field: &'static str, value: f64) -> Result<f32, InterchangeError> {
    let rounded = value as f32;
    if value.is_finite() && rounded.is_infinite() {
        return Err(bad_field(field, value, "a number that a 32-bit float holds"));
    }
    Ok(rounded)
}

fn floats<const N: usize>(field: &'static str, values: &[f64; N]) -> Result<[f32; N], InterchangeError> {
    let mut rounded = [0.0; N];
    for (place, &value) in rounded.iter_mut().zip(values) {
        *place = float(field, value)?;
    }
    Ok(rounded)
}

/// A text with zeros behind it.
fn text<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], InterchangeError> {
    let mut text = [0; N];
    let Some(place) = text.get_mut(..bytes.len()) else {
        return Err(bad_field(field, format!("{} bytes long", bytes.len()), format!("at most {N} bytes")));
    };
    place.copy_from_slice(bytes);
    Ok(text)
}

/// Numbers as bytes, in an order.
struct Bytes {
    bytes: Vec<u8>,
    order: Endianness,
}

macro_rules! append {
    ($name:ident, $type:ty) => {
        fn $name(&mut self, values: &[$type]) {
            for value in values {
                self.bytes.extend(match self.order {
                    Endianness::Little => value.to_le_bytes(),
                    Endianness::Big => value.to_be_bytes(),
                });
            }
        }
    };
}

impl Bytes {
    append!(i16s, i16);
    append!(u16s, u16);
    append!(i32s, i32);
    append!(f32s, f32);
}

/// The 348 bytes of a header of the crate `nifti` in a file.
fn encoded(header: &::nifti::NiftiHeader) -> Result<Vec<u8>, InterchangeError> {
    let h = header;
    // FreeSurfer's -1, the size being elsewhere, is left to whoever reads the bytes.
    let hidden = h.dim[1] == u16::MAX && h.glmin > 0;
    let axes = usize::from(h.dim[0]).min(7);
    for (axis, &size) in h.dim.iter().skip(1).take(axes).enumerate() {
        if size > i16::MAX as u16 && !(axis == 0 && hidden) {
            return Err(too_long(axis, size.into()));
        }
    }
    let mut out = Bytes { bytes: Vec::with_capacity(SIZE_1), order: h.endianness };
    out.i32s(&[h.sizeof_hdr]);
    out.bytes.extend(h.data_type);
    out.bytes.extend(h.db_name);
    out.i32s(&[h.extents]);
    out.i16s(&[h.session_error]);
    out.bytes.extend([h.regular, h.dim_info]);
    out.u16s(&h.dim);
    out.f32s(&[h.intent_p1, h.intent_p2, h.intent_p3]);
    out.i16s(&[h.intent_code, h.datatype, h.bitpix, h.slice_start]);
    out.f32s(&h.pixdim);
    out.f32s(&[h.vox_offset, h.scl_slope, h.scl_inter]);
    out.i16s(&[h.slice_end]);
    out.bytes.extend([h.slice_code, h.xyzt_units]);
    out.f32s(&[h.cal_max, h.cal_min, h.slice_duration, h.toffset]);
    out.i32s(&[h.glmax, h.glmin]);
    out.bytes.extend(text::<80>("descrip", &h.descrip)?);
    out.bytes.extend(h.aux_file);
    out.i16s(&[h.qform_code, h.sform_code]);
    out.f32s(&[h.quatern_b, h.quatern_c, h.quatern_d, h.quatern_x, h.quatern_y, h.quatern_z]);
    for row in [&h.srow_x, &h.srow_y, &h.srow_z] {
        out.f32s(row);
    }
    out.bytes.extend(h.intent_name);
    out.bytes.extend(h.magic);
    Ok(out.bytes)
}

/// The extensions in the header's order of bytes, padded to multiples of 16 bytes.
fn encoded_extensions(header: &NiftiHeader) -> Result<Vec<u8>, InterchangeError> {
    let order = match header.byte_order {
        ByteOrder::Little => Endianness::Little,
        ByteOrder::Big => Endianness::Big,
    };
    let mut out = Bytes { bytes: Vec::new(), order };
    for extension in &header.extensions {
        let bytes = extension.content.len().saturating_add(8).next_multiple_of(16);
        let end = out.bytes.len().saturating_add(bytes);
        out.i32s(&[integer("the size of an extension", bytes)?, extension.code]);
        out.bytes.extend(&extension.content);
        out.bytes.resize(end, 0);
    }
    Ok(out.bytes)
}
