//! Alignment of the object in an image to a common position and size on a network's grid.

use lesio_grid::BoundingBox;
use lesio_settings::{SettingError, setters};
use serde::{Deserialize, Serialize};

use crate::grid::check_spacing;
use crate::placement::Placement;
use crate::resample::Interpolation;

/// Alignment of the foreground's bounding box to the grid: a scale and a translation that put the
/// box's center into the middle of the grid and let it fill a stated fraction.
///
/// Heads may lie anywhere in the field of view and differ in size. With alignment, a network need not learn this
/// variation, and a grid pixel corresponds to about the same anatomy in all subjects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Alignment {
    /// The grid, `[height, width]`, both at least 1.
    pub size: [usize; 2],
    /// Fraction of the grid's side that the box fills, in (0, 1]. Default: 0.9, which leaves room
    /// for what [`Alignment::trim`] leaves outside the box.
    pub coverage: f64,
    /// One factor or two. Default: [`Aspect::Keep`].
    pub aspect: Aspect,
    /// The images that share a placement. Default: [`AlignmentScope::Volume`].
    pub scope: AlignmentScope,
    /// Fraction of the foreground's pixels that may lie outside the box on each of its sides, in
    /// [0, 0.45]. Default: 0.005, which is about a nose.
    pub trim: f64,
    /// The interpolation between pixels. Default: [`Interpolation::Linear`].
    pub interpolation: Interpolation,
}

/// Whether an aligned box keeps its proportions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// One factor: the box fills the fraction along one axis, and less along the other. The
    /// default: a round lesion stays round.
    #[default]
    Keep,
    /// A factor for each axis: the box fills the fraction along both. Heads of different
    /// proportions then coincide.
    Stretch,
}

/// The images that share one placement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlignmentScope {
    /// All slices of a volume have the same placement, by their common outline. The default: slices keep their relation
    /// to each other, and their size shows their position in the head.
    #[default]
    Volume,
    /// Every slice has a separate placement; a slice without foreground gets that of its volume.
    Plane,
}

impl Alignment {
    /// Alignment to a grid of `[height, width]` with the defaults.
    #[must_use]
    pub fn new(size: [usize; 2]) -> Self {
        Self {
            size,
            coverage: 0.9,
            aspect: Aspect::default(),
            scope: AlignmentScope::default(),
            trim: 0.005,
            interpolation: Interpolation::default(),
        }
    }

    /// Returns an error for settings outside their ranges.
    ///
    /// # Errors
    /// For the first setting that is out of range.
    pub fn validate(&self) -> Result<(), SettingError> {
        if !(self.coverage > 0.0 && self.coverage <= 1.0) {
            return Err(SettingError::new("alignment coverage", self.coverage, "a fraction in (0, 1]"));
        }
        if !(0.0..=0.45).contains(&self.trim) {
            return Err(SettingError::new("alignment trim", self.trim, "a fraction in [0, 0.45]"));
        }
        Ok(())
    }

    /// The placement of an image of `image` pixels, `[height, width]`, whose foreground has the
    /// box `bounds`, with pixels of `spacing` (any unit), of which [`Aspect::Keep`] keeps the ratio.
    ///
    /// # Errors
    /// Those of [`Alignment::validate`]; also for empty sizes and boxes, and for a spacing that is
    /// not positive and finite.
    pub fn place(
        &self,
        image: [usize; 2],
        bounds: &BoundingBox<2>,
        spacing: [f64; 2],
    ) -> Result<Placement, SettingError> {
        self.validate()?;
        check_spacing(spacing)?;
        if bounds.size().contains(&0) {
            return Err(SettingError::new("bounding box", bounds, "at least one pixel"));
        }
        let fitted: [f64; 2] =
            std::array::from_fn(|a| bounds.size()[a] as f64 / (self.coverage * self.size[a] as f64));
        let scale = match self.aspect {
            Aspect::Stretch => fitted,
            Aspect::Keep => {
                let unit = (fitted[0] * spacing[0]).max(fitted[1] * spacing[1]);
                [unit / spacing[0], unit / spacing[1]]
            }
        };
        let origin = std::array::from_fn(|a| {
            let center = 0.5 * (bounds.start[a] as f64 + bounds.end[a] as f64);
            center - 0.5 * scale[a] * self.size[a] as f64
        });
        Placement::new(image, self.size, scale, origin, self.interpolation)
    }
}

setters!(Alignment {
    coverage: f64,
    aspect: Aspect,
    scope: AlignmentScope,
    trim: f64,
    interpolation: Interpolation,
});

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_grid::bounding_box;
    use ndarray::Array2;

    fn ellipse(size: usize, center: [f64; 2], radius: [f64; 2]) -> Array2<f32> {
        Array2::from_shape_fn((size, size), |(r, c)| {
            let (y, x) = ((r as f64 + 0.5 - center[0]) / radius[0], (c as f64 + 0.5 - center[1]) / radius[1]);
            f32::from(u8::from(x * x + y * y <= 1.0))
        })
    }

    #[test]
    fn heads_of_any_place_and_size_come_to_lie_on_each_other() {
        let alignment = Alignment::new([64, 64]).aspect(Aspect::Stretch);
        let aligned = |plane: &Array2<f32>| {
            let bounds = bounding_box(&plane.mapv(|v| v > 0.5)).unwrap();
            let placement = alignment.place([128, 128], &bounds, [1.0, 1.0]).unwrap();
            placement.to_grid(plane, 0.0).unwrap()
        };
        let one = aligned(&ellipse(128, [50.0, 70.0], [40.0, 30.0]));
        let other = aligned(&ellipse(128, [75.0, 60.0], [30.0, 26.0]));
        let common: f64 = one.iter().zip(&other).map(|(a, b)| f64::from(a.min(*b))).sum();
        let both: f64 = one.iter().chain(&other).map(|v| f64::from(*v)).sum();
        assert!(2.0 * common / both > 0.98, "overlap {}", 2.0 * common / both);
        let filled: BoundingBox<2> = bounding_box(&one.mapv(|v| v > 0.5)).unwrap();
        assert!(filled.size().iter().all(|n| (57..=58).contains(n)), "{filled:?}");
    }

    #[test]
    fn keeping_the_aspect_fills_one_axis() {
        let bounds = BoundingBox { start: [10, 20], end: [50, 40] };
        let placement = Alignment::new([32, 32]).coverage(0.5).place([64, 64], &bounds, [1.0, 1.0]).unwrap();
        assert_eq!(placement.scale(), [2.5, 2.5]);
        assert_eq!(placement.origin(), [30.0 - 40.0, 30.0 - 40.0]);
        let wide = Alignment::new([32, 32]).coverage(0.5).place([64, 64], &bounds, [1.0, 4.0]).unwrap();
        assert_eq!(wide.scale(), [5.0, 1.25]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let bounds = BoundingBox { start: [1, 1], end: [2, 2] };
        let refuse = |alignment: Alignment| alignment.place([4, 4], &bounds, [1.0; 2]).is_err();
        assert!(refuse(Alignment::new([4, 4]).coverage(0.0)));
        assert!(refuse(Alignment::new([4, 4]).coverage(f64::NAN)));
        assert!(refuse(Alignment::new([4, 4]).trim(0.6)));
        assert!(refuse(Alignment::new([4, 0])));
        assert!(
            Alignment::new([4, 4])
                .place([4, 4], &BoundingBox { start: [2, 2], end: [2, 3] }, [1.0; 2])
                .is_err()
        );
    }
}
