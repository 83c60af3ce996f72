//! Reads the mask of a picture.

use std::path::Path;

use lesio_image::Image;
use ndarray::{Array2, Axis};

use super::orientation::ExifTurn;
use super::picture::StoredPicture;
use super::read::{read, read_with};
use crate::error::{ReadError, ReadErrorKind};
use crate::mask_doubts::MaskDoubts;
use crate::mask_rule::{MaskRule, tell_full};
use crate::options::ReadOptions;
use crate::source::Input;

/// Pixels of a JPEG mask above this value are inside: lossy compression blurs black and white.
const JPEG_THRESHOLD: f64 = 127.0;

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

/// Reads the labels of a picture, `[row, column]` as the picture is shown; they are rotated as a mask is.
pub(crate) fn read_labels(
    input: Input<'_>,
    options: &ReadOptions,
    picture: (&Path, &StoredPicture),
) -> Result<Array2<u8>, ReadError> {
    let read = || {
        let labels = read_with(input, options, taken_by(picture.1))?;
        let channels = labels.image.channels();
        let unsupported = |found: String| {
            let expected = "labels: a gray PNG, TIFF or BMP whose values are the labels";
            ReadErrorKind::UnsupportedPixels { found, expected }
        };
        if channels != 1 {
            return Err(unsupported(format!("colors of {channels} channels")));
        }
        if labels.is_lossy {
            return Err(unsupported(
                "those of JPEG compression, which does not keep values exactly".to_owned(),
            ));
        }
        if labels.is_scaled {
            return Err(unsupported("gray values of less than 8 bits, which span 0 to 255".to_owned()));
        }
        let values = labels.image.data().index_axis(Axis(0), 0);
        let is_label = |value: f32| value.fract() == 0.0 && (0.0..=255.0).contains(&value);
        if let Some((voxel, &value)) = values.iter().enumerate().find(|(_, value)| !is_label(**value)) {
            let (voxel, value) = (voxel as u64, f64::from(value));
            return Err(ReadErrorKind::LossyConversion { voxel, value, target: "uint8" });
        }
        laid(values.mapv(|value| value as u8), &labels, input.name(), picture)
    };
    read().map_err(|kind| kind.at(input.name()))
}

/// The part of the limit that a picture takes while its mask is read.
fn taken_by(picture: &StoredPicture) -> u64 {
    let pixels = (picture.image.height() * picture.image.width()) as u64;
    picture.image.data().len() as u64 * size_of::<f32>() as u64 + 2 * pixels
}

/// Reads the mask of a picture, `[row, column]` as the picture is shown.
///
/// A pixel is inside if any channel is, by [`ReadOptions::mask_rule`]. By default, a mask in JPEG compression, also in a
/// TIFF file, whose largest value is between 1 and 127 is an error, since lossy compression does not keep small values
/// apart.
///
/// A mask is rotated by its EXIF orientation. A mask without an orientation may belong to the rotated picture or to the
/// stored one. If its size fits only one of them, that one is used; if both fit, the mask belongs to the rotated
/// picture, on which programs draw masks.
fn read_mask(
    input: Input<'_>,
    options: &ReadOptions,
    picture: (&Path, &StoredPicture),
) -> Result<Array2<bool>, ReadErrorKind> {
    // The limit applies to the picture, its mask, and the decoded pixels of the mask, twice if it is rotated.
    let mask = read_with(input, options, taken_by(picture.1))?;
    let inside = inside(&mask, input.name(), options.of_inside())?;
    laid(inside, &mask, input.name(), picture)
}

/// The values of a mask as its picture is shown.
fn laid<T: Copy + Default>(
    values: Array2<T>,
    mask: &StoredPicture,
    path: &Path,
    (of, picture): (&Path, &StoredPicture),
) -> Result<Array2<T>, ReadErrorKind> {
    let shown = [picture.image.height(), picture.image.width()];
    let found = [mask.image.height(), mask.image.width()];
    // The reader already applied the orientation of the mask itself.
    let is_apart = picture.orientation != ExifTurn::STORED && mask.orientation == ExifTurn::STORED;
    let orientation = picture.orientation.number();
    if found == shown {
        if is_apart && found == picture.stored {
            tracing::warn!(
                mask = %path.display(),
                orientation,
                "the picture is turned as its EXIF orientation says; the mask has none, and is taken as drawn on \
                 the turned picture"
            );
        }
        return Ok(values);
    }
    if is_apart && found == picture.stored {
        tracing::warn!(
            mask = %path.display(),
            orientation,
            "the mask has the size of the picture before it is turned as its EXIF orientation says, and is \
             turned with it"
        );
        return Ok(turned(&values, picture.orientation));
    }
    Err(ReadErrorKind::SizeMismatch { with: of.to_owned(), expected: shown.to_vec(), found: found.to_vec() })
}

/// The pixels inside of a mask.
fn inside(mask: &StoredPicture, path: &Path, rule: MaskRule) -> Result<Array2<bool>, ReadErrorKind> {
    let values = mask.image.data();
    if let Some(voxel) = values.iter().position(|value| value.is_nan()) {
        return Err(ReadErrorKind::LossyConversion { voxel: voxel as u64, value: f64::NAN, target: "mask" });
    }
    if mask.first_color.is_some_and(|color| color != [0; 3]) {
        tracing::warn!(
            mask = %path.display(),
            "the first color of this mask's palette is not black: pixels count by their color, not by their label"
        );
    }
    if mask.is_lossy && rule.is_default() {
        check_jpeg(mask, path)?;
    }
    let rule = if mask.is_lossy { rule.or_above(JPEG_THRESHOLD) } else { rule };
    let inside =
        values.map_axis(Axis(0), |channels| channels.iter().any(|&value| rule.is_inside(f64::from(value))));
    let mut doubts = MaskDoubts::default();
    for pixel in values.lanes(Axis(0)) {
        match pixel.iter().all(|value| *value == pixel[0]) && mask.first_color.is_none() {
            true => doubts.add(f64::from(pixel[0])),
            false => doubts.add_color(),
        }
    }
    let is_empty = !inside.iter().any(|&inside| inside);
    doubts.tell(rule, is_empty, path);
    tell_full(inside.iter().all(|&inside| inside), path);
    Ok(inside)
}

/// Returns an error for a JPEG mask whose values are too small, and tells of one that is mostly gray.
fn check_jpeg(mask: &StoredPicture, path: &Path) -> Result<(), ReadErrorKind> {
    let values = mask.image.data();
    let greatest = values.iter().copied().fold(0.0, f32::max);
    if greatest > 0.0 && f64::from(greatest) <= JPEG_THRESHOLD {
        return Err(ReadErrorKind::BlurredMask { greatest });
    }
    let between = values.iter().filter(|&&value| (64.0..192.0).contains(&value)).count();
    if between > values.iter().filter(|&&value| value >= 192.0).count() {
        tracing::warn!(
            mask = %path.display(),
            "most nonzero pixels of this JPEG mask are gray: pixels above 127 count as inside"
        );
    }
    Ok(())
}

/// A mask, rotated like its picture.
fn turned<T: Copy + Default>(mask: &Array2<T>, orientation: ExifTurn) -> Array2<T> {
    let (rows, columns) = mask.dim();
    let size = [rows, columns];
    let mut turned = Array2::default(orientation.shown(size));
    for ((row, column), &value) in mask.indexed_iter() {
        if let Some(place) = turned.get_mut(orientation.place([row, column], size)) {
            *place = value;
        }
    }
    turned
}
