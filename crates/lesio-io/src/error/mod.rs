//! Typed errors of reading and writing files.

mod affine;
mod escaped;
mod file_error;
mod gzip;
mod read;
pub(crate) mod variant_name;
mod write;

pub use affine::AffineError;
pub use escaped::Escaped;
pub use file_error::FileError;
pub use gzip::GzipFault;
pub use read::{ReadError, ReadErrorKind};
pub use write::{ImageWriteError, ImageWriteErrorKind};
