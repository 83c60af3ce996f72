//! NIfTI volumes, PNG, JPEG and TIFF images, and data set layouts, safe against any file.

#![forbid(unsafe_code)]

pub mod atomic;
mod error;
mod gzip;
pub mod nifti;
mod options;
mod source;

use std::path::Path;

use lesio_image::Volume;

pub use error::{AffineError, GzipFault, ReadError, ReadErrorKind, WriteError, WriteErrorKind};
pub use nifti::{WriteOptions, write_volume};
pub use options::{DEFAULT_MAX_BYTES, ReadOptions};

/// Reads a NIfTI volume.
///
/// # Errors
/// xx
pub fn read_volume(path: impl AsRef<Path>) -> Result<Volume<f32>, ReadError> {
    ReadOptions::new().read(path)
}
