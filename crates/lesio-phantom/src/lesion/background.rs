//! The level of an image from which contrast is measured.

use lesio_image::Volume;
use ndarray::{Array3, ArrayView3};

use super::error::LesionError;

/// The level of an image from which [`LesionConfig::contrast`](crate::LesionConfig::contrast) is measured, in the units
/// of the image. `labels` are 0 outside the tissue.
///
/// It is 0 for an image without negative values. Intensities below 0 have another zero: air is -1000 in Hounsfield
/// units, and an image from which a mean was subtracted has its air somewhere below 0. The level of an image with
/// negative values is the first of these:
///
/// - the median of the values outside the tissue, or 0 if this median is positive. It must lie below three quarters of
///   the tissue's values at least. An image of which only the tissue was normalized does not pass: it has 0 outside, in
///   the middle of its tissue's values;
/// - the lowest value of the image, also for labels that cover the whole image. For an image of one negative value it is
///   this value, and then a contrast that is relative to it changes nothing, which is [`LesionError::NoChange`].
///
/// A few negative values, as from interpolation, leave the level of an image at 0 if most of its air is 0.
/// [`LesionInjector::inject`](crate::LesionInjector::inject) calls this function unless the configuration sets
/// [`LesionConfig::background`](crate::LesionConfig::background).
///
/// # Errors
/// [`LesionError::Shape`] for labels of another shape, and [`LesionError::NonFinite`] for a NaN or an infinity.
pub fn background_level(image: &Volume<f32>, labels: &Volume<u8>) -> Result<f64, LesionError> {
    check(image, labels)?;
    Ok(level(image.data(), labels.data().view()))
}

/// Checks that labels have the shape of their image, and that its values are finite.
pub(super) fn check(image: &Volume<f32>, labels: &Volume<u8>) -> Result<(), LesionError> {
    if image.data().dim() != labels.data().dim() {
        return Err(LesionError::Shape { image: image.shape(), labels: labels.shape() });
    }
    match image.data().indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some((index, &value)) => Err(LesionError::NonFinite { index: index.into(), value }),
        None => Ok(()),
    }
}

/// The level of a finite image.
pub(super) fn level(image: &Array3<f32>, labels: ArrayView3<'_, u8>) -> f64 {
    let lowest = image.iter().copied().fold(f32::INFINITY, f32::min);
    if lowest >= 0.0 {
        return 0.0;
    }
    let values = |inside: bool| {
        image.iter().zip(labels).filter(move |(_, label)| (**label != 0) == inside).map(|(&value, _)| value)
    };
    let mut outside: Vec<f32> = values(false).collect();
    if !outside.is_empty() {
        let middle = outside.len() / 2;
        let (_, median, _) = outside.select_nth_unstable_by(middle, f32::total_cmp);
        let level = median.min(0.0);
        let (mut tissue, mut below) = (0usize, 0usize);
        for value in values(true) {
            tissue += 1;
            below += usize::from(value <= level);
        }
        if 4 * below <= tissue {
            return level.into();
        }
    }
    lowest.into()
}

#[cfg(test)]
mod tests {
    use lesio_image::Geometry;

    use super::*;

    /// Eight voxels of air and eight of tissue, with these values.
    fn found(air: [f32; 8], tissue: [f32; 8]) -> f64 {
        let image = Array3::from_shape_vec((4, 4, 1), [air, tissue].concat()).unwrap();
        let labels = Array3::from_shape_fn((4, 4, 1), |(row, _, _)| u8::from(row >= 2));
        let geometry = Geometry::default();
        background_level(&Volume::new(image, geometry), &Volume::new(labels, geometry)).unwrap()
    }

    const TISSUE: [f32; 8] = [80.0, 90.0, 95.0, 100.0, 105.0, 110.0, 120.0, 130.0];

    #[test]
    fn images_without_negative_values_have_their_own_zero() {
        assert_eq!(found([0.0; 8], TISSUE), 0.0);
        assert_eq!(found([3.0, 1.0, 5.0, 2.0, 4.0, 3.0, 6.0, 2.0], TISSUE), 0.0);
        assert_eq!(found([40.0; 8], TISSUE), 0.0);
    }

    #[test]
    fn the_level_is_that_of_most_of_the_air() {
        assert_eq!(found([-1000.0; 8], TISSUE.map(|value| value - 1000.0)), -1000.0);
        // The corners that a scanner does not reach, and a table.
        let air = [-3024.0, -3024.0, -1000.0, -1000.0, -1000.0, -1000.0, -300.0, -100.0];
        assert_eq!(found(air, [-60.0, 20.0, 30.0, 35.0, 40.0, 45.0, 50.0, 60.0]), -1000.0);
        // A little below 0 by interpolation.
        assert_eq!(found([-4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0], TISSUE), 0.0);
        assert_eq!(found([-4.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 6.0], TISSUE), 0.0);
    }

    #[test]
    fn a_level_among_the_tissue_is_not_one() {
        let normalized = [-2.0, -1.5, -0.7, -0.1, 0.2, 0.8, 1.5, 1.8];
        assert_eq!(found([0.0; 8], normalized), -2.0);
        assert_eq!(found([0.0; 8], TISSUE.map(|value| -value)), -130.0);
    }

    #[test]
    fn labels_may_cover_the_image() {
        let geometry = Geometry::default();
        let labels = Volume::new(Array3::from_elem((2, 2, 1), 1), geometry);
        let level = |values: Vec<f32>| {
            background_level(
                &Volume::new(Array3::from_shape_vec((2, 2, 1), values).unwrap(), geometry),
                &labels,
            )
        };
        assert_eq!(level(vec![-1.0, 2.0, 3.0, 4.0]), Ok(-1.0));
        assert_eq!(level(vec![1.0, 2.0, 3.0, 4.0]), Ok(0.0));
        assert!(matches!(level(vec![1.0, f32::NAN, 3.0, 4.0]), Err(LesionError::NonFinite { .. })));
    }
}
