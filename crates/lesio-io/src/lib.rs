//! NIfTI volumes, PNG, JPEG, TIFF and BMP images, and data set layouts, safe against any file.
//!
//! - [`read_volume`] and [`write_volume`] carry a [`Volume`](lesio_image::Volume) with its place in the world; [`ReadOptions`]
//!   and [`WriteOptions`] choose limits, types and what is kept. [`nifti`] has the header and all else
//!   that NIfTI holds.
//! - [`read_image`] and [`write_png`] carry an [`Image`](lesio_image::Image); [`read_scan`] reads either as a
//!   [`Scan`](lesio_image::Scan).
//! - The same from and to bytes in memory: [`ReadOptions::read_bytes`], [`ReadOptions::read_image_bytes`],
//!   [`WriteOptions::to_bytes`], [`png_bytes`].
//! - With the feature `dicom`, `ReadOptions::read_dicom` makes a volume of a folder of DICOM slices.
//! - With the feature `nifti`, the types of the crate `nifti` (nifti-rs) become those here and the reverse:
//!   `nifti::interchange`.
//! - [`dataset`] lists the folders of public data sets; [`Matching`] lays masks on their images; [`atomic`]
//!   writes files whole or not at all.
//!
//! What a file claims is compared with its length before memory is taken, every checksum is verified,
//! and whatever is wrong is an error with a name ([`ReadErrorKind`]): nothing is repaired in silence, and
//! nothing panics. What is not in doubt and yet odd is listed ([`nifti::Oddity`]).
//!
//! ```
//! use lesio_image::{Geometry, Volume};
//! use lesio_io::{read_volume, write_volume};
//! use ndarray::Array3;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("head.nii.gz");
//! let volume = Volume::new(Array3::from_elem((4, 5, 6), 1.5_f32), Geometry::from_spacing([1.0, 1.0, 3.0])?);
//! write_volume(&path, &volume)?;
//! assert_eq!(read_volume(&path)?, volume);
//!
//! // A name that is taken is not written to, unless that is asked for.
//! assert_eq!(write_volume(&path, &volume).unwrap_err().kind().name(), "OutputExists");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod dataset;
#[cfg(feature = "dicom")]
mod dicom;
mod endings;
mod error;
mod file_kind;
mod gzip;
mod matching;
pub mod nifti;
mod options;
mod raster;
mod reading;
mod source;
pub mod spreadsheet;

pub use endings::{IMAGE_ENDINGS, VOLUME_ENDINGS, is_image, is_volume, without_ending};
pub use error::{
    AffineError, Escaped, FileError, GzipFault, ImageWriteError, ImageWriteErrorKind, ReadError,
    ReadErrorKind,
};
pub use lesio_files as atomic;
pub use matching::Matching;
#[cfg(feature = "nifti")]
pub use nifti::interchange::InterchangeError;
pub use nifti::{AffineSource, WriteOptions, write_volume};
pub use options::{DEFAULT_MAX_BYTES, FourthAxis, ReadOptions};
pub use raster::{ExifOrientation, PngSample, png_bytes, tiff_bytes, write_png, write_png_in, write_tiff};
pub use reading::{read_image, read_scan, read_volume};
