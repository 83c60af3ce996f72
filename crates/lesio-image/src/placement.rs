//! The placement of an image on a network's grid, and the mapping there and back.

use lesio_settings::SettingError;
use ndarray::{Array2, ArrayRef2};
use serde::{Deserialize, Serialize};

use crate::error::{ImageError, check_shape};
use crate::resample::{AxisMap, Interpolation, apply_axes};

/// The largest number of pixels that an image or a grid may have: 2^30, 4 GiB of `f32`.
const MAX_PIXELS: usize = 1 << 30;

/// A scale and a translation that bring an image of one size to a grid of another: a value that is
/// made once for an image (by [`GridFit`](crate::GridFit) or [`Alignment`](crate::Alignment)) and
/// then takes planes to the grid and maps back.
///
/// Positions are edges, not centers: the image covers `[0, height] x [0, width]`, and a grid pixel
/// is `scale` image pixels wide. Where all scales are 1 and all offsets whole, nothing is
/// interpolated: [`Placement::to_image`] gives back exactly what [`Placement::to_grid`] took, with
/// the stated fill in what was cropped.
///
/// Grid pixels with their center beyond the image are padding: they have no part in what comes back, and the nearest
/// grid pixels in the image stand for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PlacementParts", into = "PlacementParts")]
pub struct Placement {
    parts: PlacementParts,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PlacementParts {
    image: [usize; 2],
    grid: [usize; 2],
    /// Image pixels per grid pixel.
    scale: [f64; 2],
    /// Where in the image the grid begins, in image pixels.
    origin: [f64; 2],
    interpolation: Interpolation,
}

impl TryFrom<PlacementParts> for Placement {
    type Error = SettingError;

    fn try_from(parts: PlacementParts) -> Result<Self, SettingError> {
        for (setting, size) in [("image size", parts.image), ("grid size", parts.grid)] {
            let pixels = size[0].checked_mul(size[1]);
            if pixels.is_none_or(|pixels| !(1..=MAX_PIXELS).contains(&pixels)) {
                return Err(SettingError::new(setting, size, "sides of at least 1 and up to 2^30 pixels"));
            }
        }
        if parts.scale.iter().any(|s| !(s.is_finite() && *s >= 1e-9 && *s <= 1e9)) {
            return Err(SettingError::new(
                "scale",
                parts.scale,
                "image pixels per grid pixel of 1e-9 to 1e9",
            ));
        }
        if parts.origin.iter().any(|o| !(o.is_finite() && o.abs() <= 1e12)) {
            return Err(SettingError::new("origin", parts.origin, "finite image coordinates"));
        }
        Ok(Self { parts })
    }
}

impl From<Placement> for PlacementParts {
    fn from(placement: Placement) -> Self {
        placement.parts
    }
}

impl Placement {
    /// The placement of a grid of `grid` pixels, each `scale` image pixels wide, the first of which
    /// begins at `origin` in an image of `image` pixels; all `[row, column]`.
    ///
    /// # Errors
    /// For empty and absurdly large sizes, scales that are not positive and finite, and
    /// origins that are not finite.
    pub fn new(
        image: [usize; 2],
        grid: [usize; 2],
        scale: [f64; 2],
        origin: [f64; 2],
        interpolation: Interpolation,
    ) -> Result<Self, SettingError> {
        Self::try_from(PlacementParts { image, grid, scale, origin, interpolation })
    }

    /// Size of the image, `[height, width]`.
    #[must_use]
    pub fn image_size(&self) -> [usize; 2] {
        self.parts.image
    }

    /// Size of the grid, `[height, width]`.
    #[must_use]
    pub fn grid_size(&self) -> [usize; 2] {
        self.parts.grid
    }

    /// Image pixels per grid pixel along rows and columns.
    #[must_use]
    pub fn scale(&self) -> [f64; 2] {
        self.parts.scale
    }

    /// Where the grid begins, in image pixels from the image's upper left corner.
    #[must_use]
    pub fn origin(&self) -> [f64; 2] {
        self.parts.origin
    }

    /// Whether pixels are only moved: nothing is interpolated on the way there or back.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let (there, back) = (self.grid_axes(Interpolation::Linear), self.image_axes(Interpolation::Linear));
        there.iter().chain(&back).all(AxisMap::is_exact) && self.parts.scale == [1.0, 1.0]
    }

    /// A plane `(row, column)` of the image's size on the grid; grid pixels beyond the image are `fill`.
    ///
    /// # Errors
    /// [`ImageError::ShapeMismatch`] for a plane of another size.
    pub fn to_grid(&self, plane: &ArrayRef2<f32>, fill: f32) -> Result<Array2<f32>, ImageError> {
        check_shape("plane", plane.shape(), &self.parts.image)?;
        Ok(apply_axes(plane, &self.grid_axes(self.parts.interpolation), fill))
    }

    /// A map `(row, column)` of the grid's size on the image; image pixels beyond the grid are `fill`.
    ///
    /// # Errors
    /// [`ImageError::ShapeMismatch`] for a map of another size.
    pub fn to_image(&self, map: &ArrayRef2<f32>, fill: f32) -> Result<Array2<f32>, ImageError> {
        check_shape("map", map.shape(), &self.parts.grid)?;
        Ok(apply_axes(map, &self.image_axes(self.parts.interpolation), fill))
    }

    /// A mask `(row, column)` of the image's size on the grid, by nearest pixels; `false` beyond the image.
    ///
    /// # Errors
    /// [`ImageError::ShapeMismatch`] for a mask of another size.
    pub fn mask_to_grid(&self, mask: &ArrayRef2<bool>) -> Result<Array2<bool>, ImageError> {
        check_shape("mask", mask.shape(), &self.parts.image)?;
        Ok(pick(mask, &self.grid_axes(Interpolation::Nearest), self.parts.grid))
    }

    /// A mask `(row, column)` of the grid's size on the image, by the nearest pixels that are not padding; `false`
    /// beyond the grid.
    ///
    /// # Errors
    /// [`ImageError::ShapeMismatch`] for a mask of another size.
    pub fn mask_to_image(&self, mask: &ArrayRef2<bool>) -> Result<Array2<bool>, ImageError> {
        check_shape("mask", mask.shape(), &self.parts.grid)?;
        Ok(pick(mask, &self.image_axes(Interpolation::Nearest), self.parts.image))
    }

    fn grid_axes(&self, interpolation: Interpolation) -> [AxisMap; 2] {
        let PlacementParts { image, grid, scale, origin, .. } = self.parts;
        std::array::from_fn(|a| AxisMap::new(image[a], grid[a], scale[a], origin[a], interpolation))
    }

    fn image_axes(&self, interpolation: Interpolation) -> [AxisMap; 2] {
        let PlacementParts { image, grid, scale, origin, .. } = self.parts;
        std::array::from_fn(|a| {
            let (back, begin) = (1.0 / scale[a], -origin[a] / scale[a]);
            let inside = AxisMap::outputs_inside(image[a], grid[a], scale[a], origin[a]);
            AxisMap::of_part(grid[a], inside, image[a], back, begin, interpolation)
        })
    }
}

fn pick(mask: &ArrayRef2<bool>, [rows, columns]: &[AxisMap; 2], size: [usize; 2]) -> Array2<bool> {
    Array2::from_shape_fn(size, |(row, column)| match (rows.source(row), columns.source(column)) {
        (Some(r), Some(c)) => mask[[r, c]],
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_shift_by_whole_pixels_is_exact() {
        let placement =
            Placement::new([4, 6], [6, 4], [1.0, 1.0], [-1.0, 1.0], Interpolation::Linear).unwrap();
        assert!(placement.is_exact());
        let plane = Array2::from_shape_fn((4, 6), |(r, c)| (10 * r + c) as f32 + 0.1);
        let grid = placement.to_grid(&plane, -3.0).unwrap();
        assert_eq!(grid[[0, 0]], -3.0);
        assert_eq!(grid[[1, 0]], plane[[0, 1]]);
        let back = placement.to_image(&grid, -7.0).unwrap();
        for ((row, column), &value) in back.indexed_iter() {
            let expected = if (1..5).contains(&column) { plane[[row, column]] } else { -7.0 };
            assert_eq!(value, expected);
        }
        let mask = plane.mapv(|v| v > 11.5);
        let there_and_back = placement.mask_to_image(&placement.mask_to_grid(&mask).unwrap()).unwrap();
        for ((row, column), &value) in there_and_back.indexed_iter() {
            assert_eq!(value, (1..5).contains(&column) && mask[[row, column]]);
        }
    }

    #[test]
    fn serialized_placements_are_checked_again() {
        let placement =
            Placement::new([4, 6], [6, 4], [0.5, 1.5], [0.25, -2.0], Interpolation::Nearest).unwrap();
        let json = serde_json::to_string(&placement).unwrap();
        assert_eq!(serde_json::from_str::<Placement>(&json).unwrap(), placement);
        let broken = json.replace("[0.5,1.5]", "[0.0,1.5]");
        assert_ne!(json, broken);
        let message = serde_json::from_str::<Placement>(&broken).unwrap_err().to_string();
        assert!(message.contains("scale"), "{message}");
        assert!(Placement::new([0, 6], [6, 4], [1.0; 2], [0.0; 2], Interpolation::Nearest).is_err());
        assert!(
            Placement::new([4, 6], [1 << 40, 1 << 40], [1.0; 2], [0.0; 2], Interpolation::Nearest).is_err()
        );
        assert!(Placement::new([4, 6], [6, 4], [1.0; 2], [f64::NAN; 2], Interpolation::Nearest).is_err());
    }

    proptest! {
        #[test]
        fn whole_shifts_return_exactly(height in 1_usize..12, width in 1_usize..12, grid_height in 1_usize..16,
                                       grid_width in 1_usize..16, down in -6_i32..6, right in -6_i32..6) {
            let placement = Placement::new([height, width], [grid_height, grid_width], [1.0, 1.0],
                [f64::from(down), f64::from(right)], Interpolation::Linear).unwrap();
            prop_assert!(placement.is_exact());
            let plane = Array2::from_shape_fn((height, width), |(r, c)| (r as f32 + 1.7).powf(c as f32 / 3.0));
            let back = placement.to_image(&placement.to_grid(&plane, 0.5).unwrap(), f32::NAN).unwrap();
            for ((r, c), &value) in back.indexed_iter() {
                let (gr, gc) = (r as i32 - down, c as i32 - right);
                let seen = gr >= 0 && (gr as usize) < grid_height && gc >= 0 && (gc as usize) < grid_width;
                if seen { prop_assert_eq!(value, plane[[r, c]]) } else { prop_assert!(value.is_nan()) }
            }
        }

        #[test]
        fn of_an_image_that_fills_the_grid_every_pixel_has_its_part(
            image in (1_usize..40, 1_usize..40), grid in (1_usize..40, 1_usize..40), seed in 0_usize..1000,
            interpolation in prop::sample::select(vec![Interpolation::Nearest, Interpolation::Linear]),
        ) {
            let (image, grid) = ([image.0, image.1], [grid.0, grid.1]);
            let scale = std::array::from_fn(|a| image[a] as f64 / grid[a] as f64);
            let placement = Placement::new(image, grid, scale, [0.0; 2], interpolation).unwrap();
            let map = Array2::from_shape_fn(grid, |(r, c)| ((r * 31 + c * 57 + seed) % 23) as f32 / 7.0);
            let axes: [AxisMap; 2] = std::array::from_fn(|a| {
                AxisMap::new(grid[a], image[a], 1.0 / scale[a], 0.0, interpolation)
            });
            prop_assert_eq!(placement.to_image(&map, 0.0).unwrap(), apply_axes(&map, &axes, 0.0));
        }

        #[test]
        fn enlarging_and_back_moves_values_by_less_than_a_quarter_pixel(scale in 0.25_f64..1.0, shift in -0.5_f64..0.5) {
            // Linear interpolation keeps a ramp; the box on the way back covers parts of grid
            // pixels, whose values stand for their centers.
            let plane = Array2::from_shape_fn((12, 9), |(r, c)| (2 * r + c) as f32);
            let grid = [(12.0 / scale).ceil() as usize + 4, (9.0 / scale).ceil() as usize + 4];
            let origin = [shift - 2.0 * scale, shift - 2.0 * scale];
            let placement = Placement::new([12, 9], grid, [scale; 2], origin, Interpolation::Linear).unwrap();
            let back = placement.to_image(&placement.to_grid(&plane, 0.0).unwrap(), 0.0).unwrap();
            for r in 2..10 {
                for c in 2..7 {
                    let moved = f64::from((back[[r, c]] - plane[[r, c]]).abs());
                    prop_assert!(moved < 0.25 * 3.0 * scale + 1e-3);
                }
            }
        }
    }
}
