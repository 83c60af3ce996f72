//! NIfTI volumes, PNG, JPEG, TIFF and BMP images, and data set layouts, safe against any file.
//!
//! - [`read_volume`] and [`write_volume`] carry a [`Volume`] with its place in the world; [`ReadOptions`]
//!   and [`WriteOptions`] choose limits, types and what is kept. [`nifti`] has the header and all else
//!   that NIfTI holds.
//! - [`read_image`] and [`write_png`] carry an [`Image`](lesio_image::Image); [`read_scan`] reads either as a
//!   [`Scan`].
//! - The same from and to bytes in memory: [`ReadOptions::read_bytes`], [`ReadOptions::read_image_bytes`],
//!   [`WriteOptions::to_bytes`], [`png_bytes`].
//! - With the feature `dicom`, `ReadOptions::read_dicom` makes a [`Volume`] of a folder of DICOM slices.
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
mod source;
pub mod spreadsheet;

use std::path::Path;

use lesio_image::{Scan, Volume};

pub use endings::{IMAGE_ENDINGS, VOLUME_ENDINGS, is_image, is_volume, without_ending};
pub use error::{AffineError, Escaped, GzipFault, ReadError, ReadErrorKind, WriteError, WriteErrorKind};
pub use lesio_files as atomic;
pub use matching::Matching;
#[cfg(feature = "nifti")]
pub use nifti::interchange::InterchangeError;
pub use nifti::{AffineSource, WriteOptions, write_volume};
pub use options::{DEFAULT_MAX_BYTES, FourthAxis, ReadOptions};
pub use raster::{ExifOrientation, PngSample, png_bytes, read_image, write_png, write_png_in};

/// Reads a scan: a NIfTI volume or a PNG, JPEG, TIFF or BMP picture, by the ending of its name.
///
/// # Errors
/// As [`read_volume`] and [`read_image`].
pub fn read_scan(path: impl AsRef<Path>) -> Result<Scan, ReadError> {
    ReadOptions::new().read_scan(path)
}

/// Reads a NIfTI volume: `.nii`, or either file of an `.hdr` and `.img` pair, compressed (`.gz`) or not.
///
/// Values are scaled as the file says (in `f64`) and rounded to `f32`; NaN and infinities are kept. Axes
/// are those of the file, whatever their orientation: [`Volume::reoriented`] turns them. Images of one
/// or two dimensions become volumes with axes of size 1. The geometry is in millimeters, whatever unit
/// the header names; where it names none, its numbers are taken for millimeters.
///
/// # Errors
/// Names the file and what is wrong with it. Of the file: [`ReadErrorKind::NotFound`],
/// [`ReadErrorKind::DanglingLink`], [`ReadErrorKind::NotRegularFile`], [`ReadErrorKind::UnknownFormat`],
/// [`ReadErrorKind::MissingPair`], [`ReadErrorKind::AmbiguousPair`], [`ReadErrorKind::Io`]. Of its
/// length: [`ReadErrorKind::Truncated`], [`ReadErrorKind::ImpossibleClaim`],
/// [`ReadErrorKind::GzipCorrupt`]. Of its header: [`ReadErrorKind::NotNifti`],
/// [`ReadErrorKind::UnsupportedVersion`], [`ReadErrorKind::UnsupportedDatatype`],
/// [`ReadErrorKind::UnsupportedIntent`], [`ReadErrorKind::BadDim`], [`ReadErrorKind::BadVoxOffset`],
/// [`ReadErrorKind::BadExtension`], [`ReadErrorKind::BadScaling`], [`ReadErrorKind::BadBitsPerVoxel`],
/// [`ReadErrorKind::BadAffine`]. Of what
/// was asked for: [`ReadErrorKind::UnexpectedRank`] for more than one volume,
/// [`ReadErrorKind::LossyConversion`] where a finite value overflows `f32`,
/// [`ReadErrorKind::LimitExceeded`] and [`ReadErrorKind::OutOfMemory`].
///
/// See the example in [`ReadOptions`].
pub fn read_volume(path: impl AsRef<Path>) -> Result<Volume<f32>, ReadError> {
    ReadOptions::new().read(path)
}
