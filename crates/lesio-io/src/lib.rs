//! Readers and writers for NIfTI volumes, PNG, JPEG, TIFF and BMP images, and data set layouts. They are safe against
//! hostile files.
//!
//! - [`read_volume`] and [`write_volume`] read and write a [`Volume`](lesio_image::Volume) with its affine;
//!   [`ReadOptions`] and [`WriteOptions`] set limits, types and the header fields that are kept. [`nifti`] gives access
//!   to the header and to everything else in a NIfTI file.
//! - [`read_image`] and [`write_png`] read and write an [`Image`](lesio_image::Image); [`read_scan`] reads either as a
//!   [`Scan`](lesio_image::Scan).
//! - The same for bytes in memory: [`ReadOptions::read_bytes`], [`ReadOptions::read_image_bytes`],
//!   [`WriteOptions::to_bytes`], [`png_bytes`].
//! - With the feature `dicom`, `ReadOptions::read_dicom` reads a folder of DICOM slices as a volume.
//! - With the feature `nifti`, conversions to and from the types of the crate `nifti` (nifti-rs):
//!   `nifti::interchange`.
//! - [`dataset`] lists the cases of public data sets; [`Matching`] says how masks are matched to their images;
//!   [`atomic`] writes files atomically.
//!
//! Readers compare the claims of a header with the length of the file before they allocate memory, and verify every
//! checksum. Every defect is a typed error ([`ReadErrorKind`]): nothing is repaired silently, and nothing panics.
//! Defects that leave no doubt about the content are listed as [`nifti::Oddity`].
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
//! // An existing file is replaced only on request.
//! assert_eq!(write_volume(&path, &volume).unwrap_err().kind().name(), "OutputExists");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// docs.rs labels items with the feature that enables them.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod dataset;
#[cfg(feature = "dicom")]
mod dicom;
mod endings;
mod error;
mod file_kind;
mod gzip;
mod mask_doubts;
mod mask_rule;
mod matching;
mod nan_values;
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
pub use mask_rule::MaskRule;
pub use matching::Matching;
pub use nan_values::NanValues;
#[cfg(feature = "nifti")]
pub use nifti::interchange::InterchangeError;
pub use nifti::{AffineSource, WriteOptions, write_volume};
pub use options::{DEFAULT_MAX_BYTES, FourthAxis, ReadOptions};
pub use raster::{ExifOrientation, PngSample, png_bytes, tiff_bytes, write_png, write_png_in, write_tiff};
pub use reading::{read_image, read_scan, read_volume};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
