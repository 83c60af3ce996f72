//! What can be wrong with a file, by name.

mod escaped;
mod read;
mod write;

pub use escaped::Escaped;
pub use read::{AffineError, GzipFault, ReadError, ReadErrorKind};
pub use write::{ImageWriteError, ImageWriteErrorKind};
