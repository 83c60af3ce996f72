//! Which pixels of a picture's mask are inside.

use std::path::Path;

use lesio_image::Image;
use ndarray::{Array2, Axis};

use super::orientation::Orientation;
use super::picture::{Format, Picture};
use super::read::{read, read_with};
use crate::error::{ReadError, ReadErrorKind};
use crate::options::ReadOptions;
use crate::source::Input;

/// Values of a JPEG mask above which a pixel is inside: coding blurs black and white.
const JPEG_THRESHOLD: f32 = 127.0;

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

/// Reads the mask of a picture, `[row, column]` as the picture is shown.
///
/// What is not zero in any channel is inside; in a JPEG file what is above 127, and a JPEG file of which nothing is
/// above 127 and something above 0 is refused, since its coding does not keep small values apart.
///
/// A mask is turned as its own note of orientation says. A mask without one, of a picture with one, has either
/// the rows and columns that are shown, or those of the picture's file. Where its size tells, that decides;
/// where both would fit, it is taken as shown, as programs draw masks.
fn read_mask(
    input: Input<'_>,
    options: &ReadOptions,
    picture: (&Path, &Picture),
) -> Result<Array2<bool>, ReadErrorKind> {
    let (path, (of, picture)) = (input.name(), picture);
    // The limit holds for the picture, its mask, and what becomes of the mask's pixels, twice if it is turned.
    let pixels = (picture.image.height() * picture.image.width()) as u64;
    let taken = picture.image.data().len() as u64 * size_of::<f32>() as u64 + 2 * pixels;
    let mask = read_with(input, options, taken)?;
    let inside = inside(&mask, path)?;
    let shown = [picture.image.height(), picture.image.width()];
    let found = [mask.image.height(), mask.image.width()];
    // A note of the mask's own was followed when it was read.
    let is_apart = picture.orientation != Orientation::STORED && mask.orientation == Orientation::STORED;
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
        return Ok(inside);
    }
    if is_apart && found == picture.stored {
        tracing::warn!(
            mask = %path.display(),
            orientation,
            "the mask has the size of the picture before it is turned as its EXIF orientation says, and is \
             turned with it"
        );
        return Ok(turned(&inside, picture.orientation));
    }
    Err(ReadErrorKind::SizeMismatch { with: of.to_owned(), expected: shown.to_vec(), found: found.to_vec() })
}

/// The pixels inside of a mask.
fn inside(mask: &Picture, path: &Path) -> Result<Array2<bool>, ReadErrorKind> {
    let values = mask.image.data();
    if let Some(voxel) = values.iter().position(|value| value.is_nan()) {
        return Err(ReadErrorKind::LossyConversion { voxel: voxel as u64, value: f64::NAN, target: "mask" });
    }
    let is_jpeg = mask.format == Format::Jpeg;
    if is_jpeg {
        let greatest = values.iter().copied().fold(0.0, f32::max);
        if greatest > 0.0 && greatest <= JPEG_THRESHOLD {
            return Err(ReadErrorKind::BlurredMask { greatest });
        }
        let between = values.iter().filter(|&&value| (64.0..192.0).contains(&value)).count();
        if between > values.iter().filter(|&&value| value >= 192.0).count() {
            tracing::warn!(
                mask = %path.display(),
                "most of what is not black in this JPEG mask is gray: what is above 127 is taken as inside"
            );
        }
    }
    let is_inside = |value: f32| if is_jpeg { value > JPEG_THRESHOLD } else { value != 0.0 };
    Ok(values.map_axis(Axis(0), |channels| channels.iter().any(|&value| is_inside(value))))
}

/// A mask, turned as its picture is.
fn turned(mask: &Array2<bool>, orientation: Orientation) -> Array2<bool> {
    let (rows, columns) = mask.dim();
    let size = [rows, columns];
    let mut turned = Array2::from_elem(orientation.shown(size), false);
    for ((row, column), &value) in mask.indexed_iter() {
        if let Some(place) = turned.get_mut(orientation.place([row, column], size)) {
            *place = value;
        }
    }
    turned
}
