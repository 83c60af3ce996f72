//! What can be wrong with a file, by name.

mod read;
mod write;

pub use read::{AffineError, GzipFault, ReadError, ReadErrorKind};
pub use write::{WriteError, WriteErrorKind};
