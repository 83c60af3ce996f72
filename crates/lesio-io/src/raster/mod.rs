//! PNG, JPEG and TIFF: images with as many channels as they have, in the units they have.

mod jpeg;
mod png;
mod tiff;

use std::path::Path;

use lesio_image::Image;
use ndarray::Array3;

use crate::error::{ReadError, ReadErrorKind};
use crate::options::ReadOptions;
use crate::source::{read_all, reserve};

pub use self::png::{PngSample, write_png, write_png_in};

const FORMATS: &str = "PNG, JPEG, TIFF";

/// Reads a PNG, JPEG or TIFF image; the content decides which, whatever the name.
///
/// Values are those of the file: 0 to 255 for 8 bits, 0 to 65535 for 16, and those of floats. Fewer than
/// 8 bits are spread over 0 to 255, a PNG's palette becomes the colours it stands for. Gray images have
/// one channel, coloured ones three, and TIFF may have more. Opacity is left out where every pixel is opaque;
/// where one is not, what its colour means would be a guess, and the image is refused. An orientation
/// noted by a camera is not applied: rows and columns are as stored.
///
/// # Errors
/// [`ReadErrorKind::NotFound`], [`ReadErrorKind::NotRegularFile`], [`ReadErrorKind::UnknownContent`],
/// [`ReadErrorKind::Decode`] for damage, [`ReadErrorKind::Truncated`] for a JPEG without its end,
/// [`ReadErrorKind::ImpossibleClaim`] for a size that no file of this length holds,
/// [`ReadErrorKind::LimitExceeded`] (see [`ReadOptions::max_bytes`]), and
/// [`ReadErrorKind::UnsupportedPixels`] for transparent pixels, CMYK, palettes and several pages in
/// TIFF files.
pub fn read_image(path: impl AsRef<Path>) -> Result<Image<f32>, ReadError> {
    ReadOptions::new().read_image(path)
}

pub(crate) fn read(path: &Path, limit: u64) -> Result<Image<f32>, ReadErrorKind> {
    let bytes = read_all(path, limit)?;
    match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => png::read(&bytes, limit),
        [0xff, 0xd8, 0xff, ..] => jpeg::read(&bytes, limit),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => tiff::read(&bytes, limit),
        _ => Err(ReadErrorKind::UnknownContent { expected: FORMATS }),
    }
}

/// What an image claims to be, before it is decoded.
#[derive(Clone, Copy, Debug)]
struct Claim {
    width: u32,
    height: u32,
    /// Values of a pixel, opacity included.
    channels: usize,
    /// Bits of a value in the file.
    bits: u64,
}

impl Claim {
    /// Compares the claim with the length of the file and with the caller's limit.
    fn check(&self, file: usize, most_per_byte: u64, limit: u64) -> Result<(), ReadErrorKind> {
        let values = u64::from(self.width) * u64::from(self.height) * self.channels as u64;
        let claimed = values.saturating_mul(self.bits).div_ceil(8);
        let most = (file as u64).saturating_mul(most_per_byte);
        if claimed > most {
            return Err(ReadErrorKind::ImpossibleClaim { claimed, bytes: file as u64, most });
        }
        let need = values.saturating_mul(size_of::<f32>() as u64);
        if need > limit {
            return Err(ReadErrorKind::LimitExceeded { need, limit });
        }
        Ok(())
    }
}

/// Whether the last channel is opacity.
#[derive(Clone, Copy, Debug, PartialEq)]
enum LastChannel {
    Value,
    /// Opacity, with the value that says opaque.
    Opacity(f32),
}

/// An image from values that stand pixel by pixel.
fn interleaved(values: &[f32], claim: &Claim, last: LastChannel) -> Result<Image<f32>, ReadErrorKind> {
    let (width, height) = (claim.width as usize, claim.height as usize);
    let pixels = values.chunks_exact(claim.channels.max(1));
    let kept = match last {
        LastChannel::Value => claim.channels,
        LastChannel::Opacity(opaque) => {
            let transparent = pixels.clone().filter(|pixel| pixel.last() != Some(&opaque)).count();
            if transparent > 0 {
                return Err(ReadErrorKind::UnsupportedPixels {
                    found: format!("transparent in {transparent} places"),
                    expected: "opaque pixels",
                });
            }
            claim.channels - 1
        }
    };
    let mut planes = Vec::new();
    reserve(&mut planes, kept as u64 * width as u64 * height as u64)?;
    for channel in 0..kept {
        planes.extend(pixels.clone().filter_map(|pixel| pixel.get(channel)));
    }
    planar(planes, kept, claim)
}

/// An image from values that stand channel by channel.
fn planar(values: Vec<f32>, channels: usize, claim: &Claim) -> Result<Image<f32>, ReadErrorKind> {
    let bytes = values.len() as u64;
    Array3::from_shape_vec((channels, claim.height as usize, claim.width as usize), values)
        .map(Image::new)
        .map_err(|_| ReadErrorKind::Truncated {
            what: "the image",
            need: claim.pixels() * channels as u64,
            have: bytes,
        })
}

impl Claim {
    fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}
