//! Writes PNG files.

use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use lesio_files::{Disk, Existing, FileSystem};
use lesio_image::Image;

use crate::error::{ImageWriteError, ImageWriteErrorKind};
use crate::source::BYTES;

const FORMAT: &str = "PNG";

mod sealed {
    pub trait Sealed: Copy {
        /// Appends the value for the encoder: 16 bits in the machine's byte order, which the encoder converts.
        fn append(self, bytes: &mut Vec<u8>);
        /// The color type of one to four channels.
        fn color(channels: usize) -> Option<image::ExtendedColorType>;
    }
}

/// The values that PNG can store: `u8` and `u16`.
pub trait PngSample: sealed::Sealed {}

impl PngSample for u8 {}
impl PngSample for u16 {}

impl sealed::Sealed for u8 {
    fn append(self, bytes: &mut Vec<u8>) {
        bytes.push(self);
    }

    fn color(channels: usize) -> Option<ExtendedColorType> {
        match channels {
            1 => Some(ExtendedColorType::L8),
            2 => Some(ExtendedColorType::La8),
            3 => Some(ExtendedColorType::Rgb8),
            4 => Some(ExtendedColorType::Rgba8),
            _ => None,
        }
    }
}

impl sealed::Sealed for u16 {
    fn append(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_ne_bytes());
    }

    fn color(channels: usize) -> Option<ExtendedColorType> {
        match channels {
            1 => Some(ExtendedColorType::L16),
            2 => Some(ExtendedColorType::La16),
            3 => Some(ExtendedColorType::Rgb16),
            4 => Some(ExtendedColorType::Rgba16),
            _ => None,
        }
    }
}

/// Writes a PNG file, whole or not at all: one channel is gray, two gray and opacity, three red, green
/// and blue, four these and opacity. The name is used as given.
///
/// # Errors
/// [`ImageWriteErrorKind::UnsupportedImage`] for no pixels or other numbers of channels,
/// [`lesio_files::WriteErrorKind::Encode`], and the errors of [`lesio_files::write`](lesio_files::write()).
///
/// ```
/// use lesio_image::Image;
/// use lesio_io::{atomic::Existing, read_image, write_png};
/// use ndarray::Array3;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("ramp.png");
/// let ramp = Image::new(Array3::from_shape_fn((1, 2, 3), |(_, row, column)| (row * 3 + column) as u16 * 1000));
/// write_png(&path, &ramp, Existing::Refuse)?;
/// assert_eq!(read_image(&path)?, ramp.map(|&value| f32::from(value)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_png<T: PngSample>(
    path: impl AsRef<Path>,
    image: &Image<T>,
    existing: Existing,
) -> Result<(), ImageWriteError> {
    write_png_in(&Disk, path, image, existing)
}

/// Like [`write_png`], in another file system.
///
/// # Errors
/// Those of [`write_png`].
pub fn write_png_in<T: PngSample, F: FileSystem>(
    system: &F,
    path: impl AsRef<Path>,
    image: &Image<T>,
    existing: Existing,
) -> Result<(), ImageWriteError> {
    let path = path.as_ref();
    let encoded = encode(image).map_err(|kind| kind.at(path))?;
    Ok(lesio_files::write_in(system, path, existing, |out| out.write_all(&encoded))?)
}

/// The bytes of the file that [`write_png`] would write.
///
/// # Errors
/// [`ImageWriteErrorKind::UnsupportedImage`] for no pixels or other numbers of channels, and
/// [`lesio_files::WriteErrorKind::Encode`]. They call the file `<bytes>`.
///
/// ```
/// use lesio_image::Image;
/// use lesio_io::{ReadOptions, png_bytes};
/// use ndarray::Array3;
///
/// let ramp = Image::new(Array3::from_shape_fn((1, 2, 3), |(_, row, column)| (row * 3 + column) as u8));
/// let bytes = png_bytes(&ramp)?;
/// assert_eq!(ReadOptions::new().read_image_bytes(&bytes)?, ramp.map(|&value| f32::from(value)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn png_bytes<T: PngSample>(image: &Image<T>) -> Result<Vec<u8>, ImageWriteError> {
    encode(image).map_err(|kind| kind.at(Path::new(BYTES)))
}

fn encode<T: PngSample>(image: &Image<T>) -> Result<Vec<u8>, ImageWriteErrorKind> {
    let (channels, width, height) = (image.channels(), image.width(), image.height());
    let unsupported = || ImageWriteErrorKind::UnsupportedImage { channels, width, height, format: FORMAT };
    let color = T::color(channels).ok_or_else(unsupported)?;
    let size = |pixels: usize| u32::try_from(pixels).ok().filter(|&size| size > 0 && size <= i32::MAX as u32);
    let (columns, rows) = size(width).zip(size(height)).ok_or_else(unsupported)?;
    let mut bytes = Vec::with_capacity(image.data().len().saturating_mul(size_of::<T>()));
    // Channel by channel becomes pixel by pixel.
    for &value in image.data().view().permuted_axes([1, 2, 0]) {
        value.append(&mut bytes);
    }
    let mut encoded = Vec::new();
    PngEncoder::new(&mut encoded)
        .write_image(&bytes, columns, rows, color)
        .map_err(|error| lesio_files::WriteErrorKind::encode(FORMAT, error))?;
    Ok(encoded)
}
