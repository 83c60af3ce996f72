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

mod error;
mod header;
mod image;

pub use error::InterchangeError;
