//! PNG, JPEG, TIFF and BMP: images with the channels and the value range of the file.

mod bmp;
mod budget;
mod directory;
mod fault;
mod jpeg;
mod mask;
mod orientation;
mod picture;
mod planes;
mod png;
mod read;
mod tiff;
mod write;

pub(crate) use mask::{read_labels, read_masked};
pub use orientation::ExifOrientation;
pub(crate) use read::read;
pub use tiff::{tiff_bytes, write_tiff};
pub use write::{PngSample, png_bytes, write_png, write_png_in};
