//! Headers of the crate `nifti`, and their bytes.

use ::nifti::Endianness;

use super::error::{InterchangeError, bad_field};
use crate::nifti::byte_order::ByteOrder;
use crate::nifti::header::{FOLDED, FirstAxis, NiftiHeader, NiftiVersion, SIZE_1};

/// Where the extensions of a NIfTI-1 file start.
pub(super) const START: u64 = SIZE_1 as u64 + 4;

/// Converts the header of an image that the crate `nifti` has read, with the same checks as for a file. It has no
/// extensions: those belong to the object.
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

/// Converts to the header of the crate `nifti`. Numbers of 64 bits are rounded to 32; the magic is that of a pair if
/// voxels start before byte 352.
///
/// # Errors
/// [`InterchangeError::Field`] for values that do not fit NIfTI-1: axes of more than 32767 voxels (except those that
/// FreeSurfer hides), codes and floats that overflow, texts that are too long, and an affine that rounding invalidates.
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

pub(super) fn too_long(axis: usize, size: u64) -> InterchangeError {
    bad_field("dim", format!("{size} along axis {axis}"), "1 to 32767, which NIfTI-1 holds")
}

pub(super) fn integer<T: Copy + std::fmt::Display, U: TryFrom<T>>(
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

/// A text, padded with zeros.
fn text<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], InterchangeError> {
    let mut text = [0; N];
    let Some(place) = text.get_mut(..bytes.len()) else {
        return Err(bad_field(field, format!("{} bytes long", bytes.len()), format!("at most {N} bytes")));
    };
    place.copy_from_slice(bytes);
    Ok(text)
}

/// Encodes numbers in a byte order.
pub(super) struct Bytes {
    pub(super) bytes: Vec<u8>,
    pub(super) order: Endianness,
}

macro_rules! append {
    ($name:ident, $type:ty) => {
        pub(super) fn $name(&mut self, values: &[$type]) {
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

/// The 348 bytes in a file of a header of the crate `nifti`.
pub(super) fn encoded(header: &::nifti::NiftiHeader) -> Result<Vec<u8>, InterchangeError> {
    let h = header;
    // FreeSurfer's -1, with the size in another field, is left to the reader of the bytes.
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
