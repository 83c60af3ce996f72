//! A picture as it was read.

use lesio_image::Image;

use super::orientation::Orientation;

/// An image, and what is known of how it was stored.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) image: Image<f32>,
    pub(super) format: Format,
    /// Rows and columns before turning.
    pub(super) stored: [usize; 2],
    /// How it was turned.
    pub(super) orientation: Orientation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Png,
    Jpeg,
    Tiff,
    Bmp,
}

/// Says that bytes follow the end of an image.
pub(super) fn tell_trailing(format: &'static str, bytes: usize) {
    if bytes > 0 {
        tracing::info!(format, bytes, "bytes follow the end of the image and are not looked at");
    }
}
