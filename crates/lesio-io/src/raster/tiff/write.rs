//! Writes TIFF files of 32-bit floats.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use lesio_files::Existing;
use ndarray::ArrayRef2;
use tiff::encoder::colortype::Gray32Float;
use tiff::encoder::compression::DeflateLevel;
use tiff::encoder::{Compression, TiffEncoder};

use crate::error::{ImageWriteError, ImageWriteErrorKind};
use crate::source::BYTES;

const FORMAT: &str = "TIFF";

/// Writes a map `[row, column]` atomically as a compressed TIFF file of 32-bit floats. Every value is kept, including
/// NaN and infinities. The name is used as given.
///
/// # Errors
/// [`ImageWriteErrorKind::UnsupportedImage`] for no pixels or more than 4 GiB of them, and the errors of
/// [`lesio_files::write`](lesio_files::write()).
///
/// ```
/// use lesio_io::{atomic::Existing, read_image, write_tiff};
/// use ndarray::Array2;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("map.tiff");
/// let map = Array2::from_shape_fn((2, 3), |(row, column)| row as f32 - 0.25 * column as f32);
/// write_tiff(&path, &map, Existing::Refuse)?;
/// assert_eq!(read_image(&path)?.data().index_axis(ndarray::Axis(0), 0), map);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_tiff(
    path: impl AsRef<Path>,
    map: &ArrayRef2<f32>,
    existing: Existing,
) -> Result<(), ImageWriteError> {
    let path = path.as_ref();
    let bytes = encode(map).map_err(|kind| kind.at(path))?;
    Ok(lesio_files::write(path, existing, |out| out.write_all(&bytes))?)
}

/// The bytes of the file that [`write_tiff`] would write.
///
/// # Errors
/// [`ImageWriteErrorKind::UnsupportedImage`], which calls the file `<bytes>`.
pub fn tiff_bytes(map: &ArrayRef2<f32>) -> Result<Vec<u8>, ImageWriteError> {
    encode(map).map_err(|kind| kind.at(Path::new(BYTES)))
}

fn encode(map: &ArrayRef2<f32>) -> Result<Vec<u8>, ImageWriteErrorKind> {
    let (height, width) = map.dim();
    let unsupported = || ImageWriteErrorKind::UnsupportedImage { channels: 1, width, height, format: FORMAT };
    let side = |size: usize| u32::try_from(size).ok().filter(|&size| size > 0).ok_or_else(unsupported);
    let (columns, rows) = (side(width)?, side(height)?);
    let values: Cow<'_, [f32]> = match map.as_slice() {
        Some(values) => values.into(),
        None => map.iter().copied().collect(),
    };
    let mut bytes = Cursor::new(Vec::new());
    // In memory, only sizes that the format cannot represent can fail.
    TiffEncoder::new(&mut bytes)
        .map(|encoder| encoder.with_compression(Compression::Deflate(DeflateLevel::Balanced)))
        .and_then(|mut encoder| encoder.write_image::<Gray32Float>(columns, rows, &values))
        .map_err(|_| unsupported())?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn what_the_format_cannot_hold_is_refused() {
        for shape in [(0, 3), (3, 0)] {
            let error = tiff_bytes(&Array2::zeros(shape)).unwrap_err();
            assert!(matches!(error.kind(), ImageWriteErrorKind::UnsupportedImage { .. }), "{error}");
        }
    }
}
