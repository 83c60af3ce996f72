//! PNG, JPEG, TIFF and BMP: images with as many channels as they have, in the units they have.

mod bmp;
mod budget;
mod directory;
mod jpeg;
mod mask;
mod orientation;
mod planes;
mod png;
mod tiff;
mod write;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use lesio_image::Image;
use ndarray::Array2;

use self::budget::Budget;
use self::mask::read_mask;
use self::orientation::Orientation;
use crate::error::{ReadError, ReadErrorKind};
use crate::options::ReadOptions;
use crate::source::Input;

pub use self::orientation::ExifOrientation;
pub use self::write::{PngSample, png_bytes, write_png, write_png_in};

const FORMATS: &str = "PNG, JPEG, TIFF, BMP";

/// Reads a PNG, JPEG, TIFF or BMP image; the content decides which, whatever the name.
///
/// Values are those of the file: 0 to 255 for 8 bits, 0 to 65535 for 16, and those of floats. Integers beyond
/// 2<sup>24</sup> are rounded to `f32`. Fewer than 8 bits are spread over 0 to 255, a palette becomes the colors
/// it stands for (in BMP, one channel where they are all gray). Gray images have one channel, colored ones three,
/// and TIFF may have more. Opacity is left out where every pixel is opaque; where one is not, what its color
/// means would be a guess, and the image is refused.
///
/// Pictures are turned as their EXIF orientation says, which a camera notes in JPEG, a PNG in its chunk `eXIf`, a
/// TIFF file in its tag 274; `tracing` tells of it, and [`ReadOptions::exif_orientation`] keeps rows and columns as
/// they are stored. Orientations in XMP or in text chunks are not looked at. Color profiles, gamma and other notes
/// (PNG's `gAMA`, `cHRM`, `sBIT`, `iCCP`) change no value.
///
/// What each format may hold is honoured or refused, never passed over:
///
/// | format | honoured | refused, by [`ReadErrorKind::UnsupportedPixels`] |
/// |---|---|---|
/// | PNG | every color type and number of bits; interlacing; palettes; `tRNS`, where it touches no pixel | transparent pixels; several frames (APNG); critical chunks that are not of the standard |
/// | JPEG | baseline, extended and progressive Huffman coding of 8 bits; 1 or 3 components; colors at full resolution or at half of it across, down or both; restart intervals; Adobe's and JFIF's marks of color | 4 components (CMYK, YCCK); 12 bits; arithmetic, lossless and hierarchical coding; a scan for each component, but in progressive coding; other sampling; a number of rows that follows the image (DNL) |
/// | TIFF, BigTIFF | both orders of bytes; strips and tiles; planar configuration 1 and 2; fill order 1 and 2; unsigned values of 1 to 32 and 64 bits, signed of 8, 16, 32 and 64, floats of 16, 32 and 64; compression by LZW, deflate, packed bits and JPEG; predictors 2 and 3; 0 for white; opacity; the 8 orientations | several pages; thumbnails and masks (`NewSubfileType`); stacks in one page (ImageJ, `ImageDepth`); palettes; CMYK, YCbCr that is not JPEG, L\*a\*b\*, filter arrays; complex and undefined values; values of different bits; fax, old JPEG, Zstandard, LZMA, WebP, JPEG 2000, LERC; predictors without LZW or deflate; values beside the colors that are no opacity |
/// | BMP | 1, 4 and 8 bits of a palette; 24 and 32 bits; either order of rows; bit masks of whole bytes | run lengths; 16 bits; JPEG and PNG within |
///
/// Damage is an error, not a guess: every checksum is verified (PNG's chunks and compressed stream, deflate in
/// TIFF), strips and tiles must hold all their pixels, the codes of a JPEG are gone through one by one and must be
/// there for every pixel, in all scans that a progressive one needs. What follows the end of an image, or of a
/// PNG's compressed stream, is not looked at, but told to `tracing`: cameras put previews there, writers pad.
///
/// # Errors
/// [`ReadErrorKind::NotFound`], [`ReadErrorKind::NotRegularFile`], [`ReadErrorKind::UnknownContent`],
/// [`ReadErrorKind::Decode`] for damage, [`ReadErrorKind::Truncated`] for a file that ends early,
/// [`ReadErrorKind::ImpossibleClaim`] for a size that no file of this length holds,
/// [`ReadErrorKind::LimitExceeded`] where the file, the image and what is needed to decode it take more than
/// [`ReadOptions::max_bytes`], [`ReadErrorKind::UnsupportedPixels`] as above, and
/// [`ReadErrorKind::LossyConversion`] for a double that `f32` cannot hold.
pub fn read_image(path: impl AsRef<Path>) -> Result<Image<f32>, ReadError> {
    ReadOptions::new().read_image(path)
}

/// An image, and what is known of how it was stored.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) image: Image<f32>,
    format: Format,
    /// Rows and columns before turning.
    stored: [usize; 2],
    /// How it was turned.
    orientation: Orientation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Png,
    Jpeg,
    Tiff,
    Bmp,
}

/// Reads a picture within the limit of the options.
pub(crate) fn read(input: Input<'_>, options: &ReadOptions) -> Result<Picture, ReadError> {
    let picture = read_with(input, options, 0).map_err(|kind| kind.at(input.name()))?;
    if picture.orientation != Orientation::STORED {
        tracing::warn!(
            file = %input.name().display(),
            orientation = picture.orientation.number(),
            "turned as its EXIF orientation says"
        );
    }
    Ok(picture)
}

/// Reads a picture and its mask, both together within the limit of the options.
pub(crate) fn read_masked(
    input: Input<'_>,
    mask: Input<'_>,
    options: &ReadOptions,
) -> Result<(Image<f32>, Array2<bool>), ReadError> {
    let picture = read(input, options)?;
    let inside = read_mask(mask, options, (input.name(), &picture)).map_err(|kind| kind.at(mask.name()))?;
    Ok((picture.image, inside))
}

/// As [`read`], where `taken` bytes of the limit are in use.
fn read_with(input: Input<'_>, options: &ReadOptions, taken: u64) -> Result<Picture, ReadErrorKind> {
    let mut budget = Budget::new(options.limit(), taken);
    let bytes = input.read_all(budget.left())?;
    budget.take(bytes.len() as u64)?;
    let exif = options.exif();
    let (bytes, budget) = (bytes.as_ref(), &mut budget);
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => {
            contained("PNG", || png::read(bytes, budget, exif))
        }
        [0xff, 0xd8, 0xff, ..] => contained("JPEG", || jpeg::read(bytes, budget, exif)),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => {
            contained("TIFF", || tiff::read(bytes, budget, exif))
        }
        // Two letters alone are not enough: the size of the second header stands behind the first.
        [b'B', b'M', _, _, _, _, _, _, _, _, _, _, _, _, 12..=124, 0, 0, 0, ..] => {
            contained("BMP", || bmp::read(bytes, budget))
        }
        _ => Err(ReadErrorKind::UnknownContent { expected: FORMATS }),
    }
}

/// Turns a panic of a decoder into an error.
///
/// Decoders read the bytes and write into memory that is theirs: what a panic leaves half done is dropped with
/// them, and nothing of it is seen afterwards. A lack of memory aborts and cannot be contained, so the budget is
/// asked before memory is taken.
fn contained<T>(
    format: &'static str,
    decode: impl FnOnce() -> Result<T, ReadErrorKind>,
) -> Result<T, ReadErrorKind> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(ReadErrorKind::Decode { format, source: format!("the decoder failed: {text}").into() })
    })
}

/// Says that bytes follow the end of an image.
fn tell_trailing(format: &'static str, bytes: usize) {
    if bytes > 0 {
        tracing::info!(format, bytes, "bytes follow the end of the image and are not looked at");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let fail = |list: &[u8]| list[usize::from(list[0])];
        let error = contained("PNG", || Ok(fail(&[7]))).unwrap_err();
        assert_eq!(error.name(), "Decode");
        assert_eq!(contained("PNG", || Ok(fail(&[0]))).unwrap(), 0);
    }
}
