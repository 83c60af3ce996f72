//! TIFF files of 32-bit floats, out.

use std::path::Path;

use lesio_files::Existing;
use ndarray::ArrayRef2;

use crate::error::{WriteError, WriteErrorKind};
use crate::source::BYTES;

const FORMAT: &str = "TIFF";

/// Bytes of a strip, at most, where a row has no more.
const STRIP: usize = 1_000_000;

/// Types of a directory's entries.
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;

/// Where the resolutions are: behind the header.
const RESOLUTIONS: [u32; 2] = [8, 16];

/// Writes a map `[row, column]` as a TIFF file of 32-bit floats, whole or not at all, so that every value is kept: NaN and
/// infinities too. The name is used as given.
///
/// # Errors
/// [`WriteErrorKind::UnsupportedImage`] for no pixels or more than 4 GiB of them, and the errors of
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
) -> Result<(), WriteError> {
    let path = path.as_ref();
    let bytes = encode(map).map_err(|kind| kind.at(path))?;
    Ok(lesio_files::write(path, existing, |out| out.write_all(&bytes))?)
}

/// The bytes of the file that [`write_tiff`] would write.
///
/// # Errors
/// [`WriteErrorKind::UnsupportedImage`], which calls the file `<bytes>`.
pub fn tiff_bytes(map: &ArrayRef2<f32>) -> Result<Vec<u8>, WriteError> {
    encode(map).map_err(|kind| kind.at(Path::new(BYTES)))
}

fn encode(map: &ArrayRef2<f32>) -> Result<Vec<u8>, WriteErrorKind> {
    let (height, width) = map.dim();
    let unsupported = || WriteErrorKind::UnsupportedImage { channels: 1, width, height, format: FORMAT };
    let row_bytes = width.checked_mul(4).filter(|&bytes| bytes > 0).ok_or_else(unsupported)?;
    let rows_per_strip = STRIP.div_ceil(row_bytes).max(1);
    let strips = height.div_ceil(rows_per_strip);
    // The directory needs less than 1000 bytes, and eight for each strip.
    let all = row_bytes.checked_mul(height).and_then(|bytes| bytes.checked_add(1000 + 8 * strips));
    let sizes = all.filter(|_| height > 0).and_then(|all| {
        let small = |size: usize| u32::try_from(size).ok();
        small(all)?;
        Some((small(width)?, small(height)?, small(rows_per_strip)?, small(row_bytes)?))
    });
    let (columns, rows, rows_per_strip, row_bytes) = sizes.ok_or_else(unsupported)?;

    let mut bytes = b"II\x2a\0\0\0\0\0".to_vec();
    // Two resolutions of 1/1, in no unit.
    (0..4).for_each(|_| bytes.extend(1_u32.to_le_bytes()));
    let first = bytes.len() as u32;
    map.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    let strips = || (0..rows).step_by(rows_per_strip as usize);
    let offsets: Vec<u32> = strips().map(|row| first + row * row_bytes).collect();
    let counts: Vec<u32> = strips().map(|row| rows_per_strip.min(rows - row) * row_bytes).collect();
    let offsets = array(&mut bytes, &offsets);
    let counts = array(&mut bytes, &counts);

    let entries: [(u16, u16, u32, u32); 14] = [
        (0x100, LONG, 1, columns),
        (0x101, LONG, 1, rows),
        // 32 bits, not compressed, black is 0.
        (0x102, SHORT, 1, 32),
        (0x103, SHORT, 1, 1),
        (0x106, SHORT, 1, 1),
        (0x111, LONG, offsets.0, offsets.1),
        (0x115, SHORT, 1, 1),
        (0x116, LONG, 1, rows_per_strip),
        (0x117, LONG, counts.0, counts.1),
        (0x11a, RATIONAL, 1, RESOLUTIONS[0]),
        (0x11b, RATIONAL, 1, RESOLUTIONS[1]),
        (0x128, SHORT, 1, 1),
        // No predictor; floats.
        (0x13d, SHORT, 1, 1),
        (0x153, SHORT, 1, 3),
    ];
    let directory = (bytes.len() as u32).to_le_bytes();
    bytes[4..8].copy_from_slice(&directory);
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    // There is no further directory.
    bytes.extend(0_u32.to_le_bytes());
    Ok(bytes)
}

/// Count and value of an entry: the number itself where it is alone, else where the numbers are.
fn array(bytes: &mut Vec<u8>, values: &[u32]) -> (u32, u32) {
    if let [value] = values {
        return (1, *value);
    }
    let place = bytes.len() as u32;
    values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    (values.len() as u32, place)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use tiff::encoder::TiffEncoder;
    use tiff::encoder::colortype::Gray32Float;

    use super::*;

    #[test]
    fn bytes_are_those_of_the_other_encoder() {
        for (rows, columns) in [(1, 1), (5, 7), (300, 1000), (2, 250_001), (1, 300_000), (1000, 250)] {
            let map = Array2::from_shape_fn((rows, columns), |(i, j)| (i * 31 + j * 7) as f32 * 0.1 - 4.0);
            let mut other = std::io::Cursor::new(Vec::new());
            let values: Vec<f32> = map.iter().copied().collect();
            let mut encoder = TiffEncoder::new(&mut other).unwrap();
            encoder.write_image::<Gray32Float>(columns as u32, rows as u32, &values).unwrap();
            assert!(tiff_bytes(&map).unwrap() == other.into_inner(), "{rows} {columns}");
        }
    }

    #[test]
    fn what_the_format_cannot_hold_is_refused() {
        for shape in [(0, 3), (3, 0)] {
            let error = tiff_bytes(&Array2::zeros(shape)).unwrap_err();
            assert!(matches!(error.kind(), WriteErrorKind::UnsupportedImage { .. }), "{error}");
        }
    }
}
