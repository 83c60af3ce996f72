//! Reads pictures; the content determines the format.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lesio_image::Image;

use super::budget::MemoryBudget;
use super::orientation::ExifTurn;
use super::picture::StoredPicture;
use super::{bmp, jpeg, png, tiff};
use crate::error::{ReadError, ReadErrorKind};
use crate::options::ReadOptions;
use crate::source::Input;

const FORMATS: &str = "PNG, JPEG, TIFF, BMP";

/// Reads a picture within the limit of the options.
pub(crate) fn read(input: Input<'_>, options: &ReadOptions) -> Result<StoredPicture, ReadError> {
    let mut picture = read_with(input, options, 0).map_err(|kind| kind.at(input.name()))?;
    let mut values = picture.image.into_data();
    options.of_nan().apply(values.iter_mut(), input.name());
    picture.image = Image::new(values);
    if picture.orientation != ExifTurn::STORED {
        tracing::warn!(
            file = %input.name().display(),
            orientation = picture.orientation.number(),
            "rotated by its EXIF orientation"
        );
    }
    Ok(picture)
}

/// Like [`read`], where `taken` bytes of the limit are in use.
pub(super) fn read_with(
    input: Input<'_>,
    options: &ReadOptions,
    taken: u64,
) -> Result<StoredPicture, ReadErrorKind> {
    let mut budget = MemoryBudget::new(options.limit(), taken);
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
        // Two letters alone are not enough: the size of the second header must follow the first.
        [b'B', b'M', _, _, _, _, _, _, _, _, _, _, _, _, 12..=124, 0, 0, 0, ..] => {
            contained("BMP", || bmp::read(bytes, budget))
        }
        _ => Err(ReadErrorKind::UnknownContent { expected: FORMATS }),
    }
}

/// Turns a panic of a decoder into an error.
///
/// Decoders read the bytes and write into memory that they own. Incomplete data are dropped with them after a panic,
/// and nobody sees them. Running out of memory aborts the process and cannot be caught, so the budget is checked before
/// memory is allocated.
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
