//! A picture with the facts about how it was stored.

use lesio_image::Image;

use super::orientation::ExifTurn;

/// An image, with its stored size and orientation.
#[derive(Debug)]
pub(crate) struct StoredPicture {
    pub(crate) image: Image<f32>,
    /// Whether its pixels were compressed with loss, as in JPEG files and in TIFF files with such a compression.
    pub(super) is_lossy: bool,
    /// Rows and columns before rotation.
    pub(super) stored: [usize; 2],
    /// The rotation.
    pub(super) orientation: ExifTurn,
    /// The first color of the palette; `None` without a palette.
    pub(super) first_color: Option<[u8; 3]>,
    /// Whether its values have 2 to 7 bits, and were scaled to 0 to 255.
    pub(super) is_scaled: bool,
}

/// Reports that bytes follow the end of an image.
pub(super) fn tell_trailing(format: &'static str, bytes: usize) {
    if bytes > 0 {
        tracing::info!(format, bytes, "bytes follow the end of the image and are ignored");
    }
}
