//! Conversion of images and volumes to and from objects of the crate `nifti`.

use std::io::Read;

use ::nifti::{Endianness, InMemNiftiObject, InMemNiftiVolume, NiftiObject, NiftiVolume};
use lesio_image::Volume;

use super::error::{InterchangeError, bad_field};
use super::header::{Bytes, START, encoded, integer, too_long};
use crate::nifti::byte_order::ByteOrder;
use crate::nifti::extension::Extension;
use crate::nifti::header::{FirstAxis, NiftiHeader, NiftiVersion};
use crate::nifti::image::NiftiImage;
use crate::nifti::voxel::Voxel;
use crate::nifti::write::WriteOptions;
use crate::options::ReadOptions;
use crate::source::sealed::Holder;

/// The name of an object of the crate `nifti` in messages.
const OBJECT: &str = "<nifti object>";

impl<'a> NiftiImage<&'a [u8]> {
    /// Makes an image of an object that the crate `nifti` has read, with its extensions. Voxels are not copied.
    ///
    /// Messages and [`NiftiImage::path`] call it `<nifti object>`. Its voxels may have any type that lesio reads from
    /// files, including complex numbers and colors.
    ///
    /// # Errors
    /// Those of [`NiftiImage::from_nifti_parts`].
    pub fn from_nifti_object(object: &'a InMemNiftiObject) -> Result<Self, InterchangeError> {
        Self::from_nifti_object_with(object, &ReadOptions::new())
    }

    /// Like [`NiftiImage::from_nifti_object`], with another limit of memory.
    ///
    /// # Errors
    /// Those of [`NiftiImage::from_nifti_parts`].
    pub fn from_nifti_object_with(
        object: &'a InMemNiftiObject,
        options: &ReadOptions,
    ) -> Result<Self, InterchangeError> {
        let extensions = object.extensions().iter();
        let extensions =
            extensions.map(|extension| Extension::new(extension.code(), extension.data().clone()));
        Self::of_parts(object.header(), object.volume(), extensions.collect(), options)
    }

    /// Like [`NiftiImage::from_nifti_object`], from a header and a volume.
    ///
    /// # Errors
    /// Those of [`NiftiHeader`]'s `TryFrom`; [`InterchangeError::Contradiction`] if the volume has another shape, type
    /// or number of bytes than the header says; and [`InterchangeError::Read`] if the header gives no valid affine.
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
    /// Converts to a header and a volume of the crate `nifti`: all voxels, in the file's byte order, not scaled.
    ///
    /// Extensions are left out. The bytes of the voxels count toward the memory limit.
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

    /// Like [`NiftiImage::to_nifti_parts`], with the extensions, as an object of a single file.
    ///
    /// The reader of the crate `nifti` makes the object, so the voxels are in memory twice for a while.
    ///
    /// # Errors
    /// Those of [`NiftiImage::to_nifti_parts`], and [`InterchangeError::Refused`].
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
    /// Converts a volume to the object that the crate `nifti` would read from the `.nii` file that
    /// [`WriteOptions::write`] writes. It is always NIfTI-1; [`WriteOptions::version`] has no effect.
    ///
    /// The reader of the crate `nifti` makes the object, so the voxels are in memory twice for a while, beside
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

/// The extensions in the header's byte order, padded to multiples of 16 bytes.
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
