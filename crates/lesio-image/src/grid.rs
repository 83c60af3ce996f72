//! Placement of whole images on a network's grid.

use lesio_settings::{SettingError, setters};
use serde::{Deserialize, Serialize};

use crate::placement::Placement;
use crate::resample::Interpolation;

/// How a whole image is placed on a network's grid.
///
/// A rule; [`GridFit::place`] makes a [`Placement`] of it for images of one size. To align the
/// object in the image to a common position and size, use [`Alignment`](crate::Alignment).
///
/// ```
/// use lesio_image::{GridFit, Resize};
/// use ndarray::Array2;
///
/// let placement = GridFit::new([64, 64]).resize(Resize::CropPad).place([40, 100], [1.0, 1.0])?;
/// let image = Array2::from_shape_fn((40, 100), |(row, column)| (row * column) as f32);
/// let grid = placement.to_grid(&image, 0.0)?;
/// assert_eq!(grid.dim(), (64, 64));
/// assert_eq!(placement.to_image(&grid, 0.0)?[[20, 50]], image[[20, 50]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GridFit {
    /// The grid, `[height, width]`, both at least 1.
    pub size: [usize; 2],
    /// How the image is resized. Default: [`Resize::Contain`].
    #[serde(default)]
    pub resize: Resize,
    /// How values between pixels are found. Default: [`Interpolation::Linear`].
    #[serde(default)]
    pub interpolation: Interpolation,
}

/// How an image is resized to a grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Resize {
    /// Pixels keep their size: centered, cropped where the image is larger and padded where it is
    /// smaller. Nothing is interpolated.
    CropPad,
    /// One factor for both axes, so that the whole image just fits, padded along the other axis.
    /// The default: nothing is cropped, and proportions are kept.
    #[default]
    Contain,
    /// The image fills the grid, each axis with its own factor. For images of a single
    /// format, for which padding would waste pixels.
    Stretch,
}

impl GridFit {
    /// A grid of `[height, width]` with the defaults.
    #[must_use]
    pub fn new(size: [usize; 2]) -> Self {
        Self { size, resize: Resize::default(), interpolation: Interpolation::default() }
    }

    /// The placement of images of `image` pixels, `[height, width]`, with pixels of `spacing`
    /// (any unit; `[1.0, 1.0]` where it is not known), of which [`Resize::Contain`] keeps the ratio.
    ///
    /// # Errors
    /// For an empty image or grid and a spacing that is not positive and finite.
    pub fn place(&self, image: [usize; 2], spacing: [f64; 2]) -> Result<Placement, SettingError> {
        check_spacing(spacing)?;
        let per_axis = |axis: usize| image[axis] as f64 / self.size[axis] as f64;
        let scale = match self.resize {
            Resize::CropPad => return self.crop_about(image, image.map(|n| 0.5 * n as f64)),
            Resize::Stretch => [per_axis(0), per_axis(1)],
            Resize::Contain => {
                let unit = (per_axis(0) * spacing[0]).max(per_axis(1) * spacing[1]);
                [unit / spacing[0], unit / spacing[1]]
            }
        };
        let origin = std::array::from_fn(|a| 0.5 * (image[a] as f64 - scale[a] * self.size[a] as f64));
        Placement::new(image, self.size, scale, origin, self.interpolation)
    }

    fn crop_about(&self, image: [usize; 2], center: [f64; 2]) -> Result<Placement, SettingError> {
        let origin = std::array::from_fn(|a| (center[a] - 0.5 * self.size[a] as f64).floor());
        Placement::new(image, self.size, [1.0, 1.0], origin, self.interpolation)
    }
}

setters!(GridFit { resize: Resize, interpolation: Interpolation });

pub(crate) fn check_spacing(spacing: [f64; 2]) -> Result<(), SettingError> {
    if spacing.iter().all(|s| s.is_finite() && *s > 0.0) {
        return Ok(());
    }
    Err(SettingError::new("pixel spacing", spacing, "positive finite lengths"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use proptest::prelude::*;

    #[test]
    fn contain_keeps_ratios_and_the_center() {
        let placement = GridFit::new([64, 64]).place([100, 50], [1.0, 1.0]).unwrap();
        assert_eq!(placement.scale(), [100.0 / 64.0; 2]);
        assert_eq!(placement.origin(), [0.0, -25.0]);
        // Pixels twice as tall as wide: 100 rows are as long as 200 columns.
        let tall = GridFit::new([64, 64]).place([100, 50], [2.0, 1.0]).unwrap();
        assert_eq!(tall.scale(), [100.0 / 64.0, 200.0 / 64.0]);
    }

    #[test]
    fn stretch_reaches_the_borders_and_returns_constants() {
        let placement = GridFit::new([7, 5]).resize(Resize::Stretch).place([3, 11], [1.0, 1.0]).unwrap();
        let plane = Array2::from_elem((3, 11), 4.25);
        let grid = placement.to_grid(&plane, -1.0).unwrap();
        assert!(grid.iter().all(|&v| v == 4.25));
        assert_eq!(placement.to_image(&grid, -1.0).unwrap(), plane);
    }

    /// The padding about an image has no part in what comes back, and a ramp moves by less than the pixels of the grid.
    #[test]
    fn padding_does_not_reach_into_the_image() {
        for (size, grid, spacing, limit) in [
            // Enlarged, also with pixels of other proportions.
            ([37, 53], [64, 64], [1.0, 1.0], 0.3),
            ([11, 20], [64, 64], [3.0, 1.0], 0.2),
            ([11, 30], [64, 48], [3.0, 1.0], 0.22),
            // Reduced.
            ([53, 90], [32, 48], [1.0, 1.0], 1.0),
            ([100, 70], [32, 32], [1.0, 1.0], 2.0),
        ] {
            let placement = GridFit::new(grid).place(size, spacing).unwrap();
            let plane = Array2::from_shape_fn(size, |(r, c)| 100.0 + r as f32 + 0.5 * c as f32);
            let back = |padding: f32| {
                let map = placement.to_grid(&plane, padding).unwrap();
                assert!(map.iter().any(|&value| value == padding), "{size:?} fills {grid:?}");
                placement.to_image(&map, -1.0).unwrap()
            };
            let found = back(0.0);
            for ((row, column), &value) in found.indexed_iter() {
                let off = (value - plane[[row, column]]).abs();
                assert!(off < limit, "{size:?} on {grid:?}, row {row}, column {column}: {off}");
            }
            assert_eq!(back(f32::INFINITY), found);
        }
    }

    #[test]
    fn empty_sides_and_bad_spacing_are_refused() {
        assert!(GridFit::new([0, 4]).place([4, 4], [1.0, 1.0]).is_err());
        assert!(GridFit::new([4, 4]).place([4, 0], [1.0, 1.0]).is_err());
        let error = GridFit::new([4, 4]).place([4, 4], [1.0, f64::INFINITY]).unwrap_err();
        assert_eq!(error.to_string(), "pixel spacing is [1.0, inf], expected positive finite lengths");
    }

    proptest! {
        #[test]
        fn crop_and_pad_lose_only_what_is_cropped(height in 1_usize..20, width in 1_usize..20,
                                                  grid in (1_usize..20, 1_usize..20)) {
            let fit = GridFit::new([grid.0, grid.1]).resize(Resize::CropPad);
            let placement = fit.place([height, width], [1.0, 1.0]).unwrap();
            let plane = Array2::from_shape_fn((height, width), |(r, c)| (r * 31 + c) as f32);
            let back = placement.to_image(&placement.to_grid(&plane, 0.0).unwrap(), -1.0).unwrap();
            let kept = back.iter().filter(|v| **v != -1.0).count();
            prop_assert_eq!(kept, height.min(grid.0) * width.min(grid.1));
            prop_assert!(back.iter().zip(&plane).all(|(b, p)| *b == -1.0 || b == p));
        }

        #[test]
        fn a_constant_comes_back_constant_up_to_the_border(
            size in (1_usize..40, 1_usize..40), grid in (1_usize..40, 1_usize..40), ratio in 0.3_f64..3.0,
            resize in prop::sample::select(vec![Resize::CropPad, Resize::Contain, Resize::Stretch]),
            interpolation in prop::sample::select(vec![Interpolation::Nearest, Interpolation::Linear]),
        ) {
            let fit = GridFit::new([grid.0, grid.1]).resize(resize).interpolation(interpolation);
            let placement = fit.place([size.0, size.1], [ratio, 1.0]).unwrap();
            let map = placement.to_grid(&Array2::from_elem(size, 4.25), -100.0).unwrap();
            // An image that is thinner than a grid pixel may have the center of none.
            prop_assume!(map.iter().any(|&value| value == 4.25));
            let back = placement.to_image(&map, -1.0).unwrap();
            let mask = placement.mask_to_grid(&Array2::from_elem(size, true)).unwrap();
            let mask = placement.mask_to_image(&mask).unwrap();
            for (&value, &inside) in back.iter().zip(&mask) {
                prop_assert_eq!(value, if inside { 4.25 } else { -1.0 });
                prop_assert!(inside || resize == Resize::CropPad);
            }
        }
    }
}
