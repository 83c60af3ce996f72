//! PNG files, in and out.

use std::io::Cursor;
use std::path::Path;

use image::codecs::png::{PngDecoder, PngEncoder};
use image::{ColorType, ExtendedColorType, ImageDecoder, ImageEncoder, Limits};
use lesio_image::Image;

use super::{Claim, LastChannel, interleaved};
use crate::error::{ReadErrorKind, WriteError, WriteErrorKind};
use crate::source::{MOST_PER_COMPRESSED_BYTE, reserve};
use lesio_files::{Disk, Existing, FileSystem};

const FORMAT: &str = "PNG";

pub(super) fn read(bytes: &[u8], limit: u64) -> Result<Image<f32>, ReadErrorKind> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(limit);
    let decoder =
        PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(|error| undecodable(FORMAT, error))?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    // A palette or fewer than 8 bits take less in the file than here: the claim is the file's.
    let bits = u64::from(decoder.original_color_type().bits_per_pixel());
    let channels = usize::from(color.channel_count());
    Claim { width, height, channels: 1, bits }.check(bytes.len(), MOST_PER_COMPRESSED_BYTE, limit)?;
    let claim = Claim { width, height, channels, bits: u64::from(color.bits_per_pixel()) / channels as u64 };
    claim.check(usize::MAX, 1, limit)?;
    decode(decoder, &claim, FORMAT)
}

/// Decodes what `image` decodes: 8 or 16 bits, gray or coloured, with opacity or without.
pub(super) fn decode(
    decoder: impl ImageDecoder,
    claim: &Claim,
    format: &'static str,
) -> Result<Image<f32>, ReadErrorKind> {
    let color = decoder.color_type();
    let mut raw = Vec::new();
    let length = decoder.total_bytes();
    reserve(&mut raw, length)?;
    raw.resize(usize::try_from(length).unwrap_or(0), 0);
    decoder.read_image(&mut raw).map_err(|error| undecodable(format, error))?;
    let mut values = Vec::new();
    reserve(&mut values, claim.pixels().saturating_mul(claim.channels as u64))?;
    let greatest = match color {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => {
            values.extend(raw.iter().map(|&value| f32::from(value)));
            f32::from(u8::MAX)
        }
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            values.extend(raw.as_chunks::<2>().0.iter().map(|&value| f32::from(u16::from_ne_bytes(value))));
            f32::from(u16::MAX)
        }
        other => {
            return Err(ReadErrorKind::UnsupportedPixels {
                found: format!("{other:?}"),
                expected: "8 or 16 bits, gray or coloured",
            });
        }
    };
    let last = if color.has_alpha() { LastChannel::Opacity(greatest) } else { LastChannel::Value };
    interleaved(&values, claim, last)
}

pub(super) fn undecodable(
    format: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> ReadErrorKind {
    ReadErrorKind::Decode { format, source: Box::new(error) }
}

mod sealed {
    pub trait Sealed: Copy {
        /// Appends the value as PNG holds it: 16 bits in the machine's order, which the encoder turns.
        fn append(self, bytes: &mut Vec<u8>);
        /// The colour type of one to four channels.
        fn color(channels: usize) -> Option<image::ExtendedColorType>;
    }
}

/// The values that PNG holds: `u8` and `u16`.
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
/// [`WriteErrorKind::UnsupportedImage`] for no pixels or other numbers of channels,
/// [`WriteErrorKind::Encode`], and the errors of [`lesio_files::write`](lesio_files::write()).
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
) -> Result<(), WriteError> {
    write_png_in(&Disk, path, image, existing)
}

/// As [`write_png`], in another file system.
///
/// # Errors
/// As [`write_png`].
pub fn write_png_in<T: PngSample, F: FileSystem>(
    system: &F,
    path: impl AsRef<Path>,
    image: &Image<T>,
    existing: Existing,
) -> Result<(), WriteError> {
    let path = path.as_ref();
    let encoded = encode(image).map_err(|kind| kind.at(path))?;
    Ok(lesio_files::write_in(system, path, existing, |out| out.write_all(&encoded))?)
}

fn encode<T: PngSample>(image: &Image<T>) -> Result<Vec<u8>, WriteErrorKind> {
    let (channels, width, height) = (image.channels(), image.width(), image.height());
    let unsupported = || WriteErrorKind::UnsupportedImage { channels, width, height, format: FORMAT };
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
        .map_err(|error| WriteErrorKind::Encode { format: FORMAT, source: Box::new(error) })?;
    Ok(encoded)
}
