//! Conversions to and from the types of the crate [`nifti`] (nifti-rs), with the feature `nifti`.
//!
//! - `TryFrom` converts between [`NiftiHeader`] and `nifti::NiftiHeader`.
//! - [`NiftiImage::from_nifti_object`] and [`NiftiImage::from_nifti_parts`] take data that that crate has read:
//!   voxels are not copied, and are decoded by the same code as those of files.
//! - [`NiftiImage::to_nifti_object`] and [`NiftiImage::to_nifti_parts`] convert an image of a file or of bytes,
//!   and [`WriteOptions::to_nifti_object`] a volume.
//!
//! The version of `nifti` is part of this interface: a program must use the one that is used here, 0.18.
//!
//! # What is lost
//!
//! The conversions keep the geometry (sform, qform, voxel sizes, units), type, byte order, scaling, display range,
//! timing, intent, texts, and the extensions of an object. They lose:
//!
//! - to the crate `nifti`: the version NIfTI-2, whose numbers are rounded to 32 bits (values that do not fit are
//!   [`InterchangeError::Field`]); a `bitpix` that contradicts the type, since that crate counts bytes by it
//!   (headers alone keep it); and the offset of the voxels in an object, which follows from their new position;
//! - from the crate `nifti`: fields that NIfTI-1 does not use (`data_type`, `db_name`, `extents`,
//!   `session_error`, `regular`, `glmax`, and `glmin` but for surfaces of FreeSurfer), the magic, sizes of absent
//!   axes, and bytes after the first zero of a text.
//!
//! A volume of that crate has a scaling and a byte order without public access to them. Those of the header are used;
//! they are the same unless the header was changed after reading.
//!
//! # What the crate `nifti` 0.18 reads differently
//!
//! The tests of this module verify each row. If the bytes of the voxels are the same, converting an object
//! ([`NiftiImage::from_nifti_object`]) gives the values that lesio reads from the file.
//!
//! | of the file | `nifti` | lesio |
//! |---|---|---|
//! | NIfTI-2 | an error | supported |
//! | a slope of NaN, as many files have | every value is NaN | values are not scaled |
//! | an infinite slope | values are infinite or NaN | values are not scaled |
//! | an intercept of NaN with a slope | every value is NaN | an error |
//! | 32-bit and 64-bit integers with a slope of 1, read as they are stored | rounded to 24 bits, or to 53 | exact |
//! | an integer that does not fit the requested type | cut off, and then scaled | scaled, and an error if it still does not fit |
//! | an offset of the voxels without extensions | ignored: voxels are read from byte 352 | respected |
//! | an offset in the `.img` of a pair | ignored | respected |
//! | complex numbers, most significant byte first | real and imaginary part of 32 bits are exchanged | supported |
//! | complex numbers with a slope | both parts are scaled | are not scaled |
//! | colors, read as numbers | wrong numbers, or a panic | an error |
//! | a `bitpix` that contradicts the type | bytes are counted by it: an error, or a panic later | the type is used |
//! | gzip of several members | only the first is read: an error | supported |
//! | a wrong gzip checksum | not verified | an error |
//! | an axis with a negative size | treated as a size of 32768 or more | an error |
//! | `.img`, and endings in upper case | not recognized | supported |
//!
//! Both crates agree on slopes of 0 (no scaling), both byte orders for real numbers, images of one to seven axes, and
//! pairs with either half compressed. That crate keeps units as a code and leaves coordinates in the header's unit; a
//! [`Geometry`](lesio_image::Geometry) is in millimeters.
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
