//! The foreground of an image: the object without the air.

use lesio_grid::{ComponentRuns, Connectivity, label_plane};
use lesio_settings::{SettingError, setters};
use ndarray::{Array2, Array3, ArrayRef2, ArrayRef3, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::ImageError;
use crate::morphology::{close_spaced, fill_holes_plane, open_spaced};
use crate::percentile::{Values, percentiles_of};
use crate::threshold::Threshold;
use crate::volume::{Plane, Volume};

/// How the foreground of an image is determined: pixels above a [`Threshold`], followed by cleaning.
///
/// In this order: threshold, opening, the main components, closing, holes; opening, closing and
/// holes slice by slice, since the voxels of clinical stacks are much longer through the slices
/// than within them. The result for a head is its outline with everything inside: skull bone,
/// cerebrospinal fluid and sinuses give no signal but belong to it.
///
/// Radii follow the spacing of a slice's rows and columns; the pixels of a plane are square.
///
/// If most of a volume's surface has one value and others are darker, as in an image that was normalized within a mask of
/// the brain with 0 outside, everything that has another value is foreground, and an automatic threshold is not used.
///
/// An automatic threshold is found for the whole volume. Slices at the end of a coil's reach are
/// dimmer than the rest, so a slice whose own threshold is lower takes that, down to half of the
/// volume's, but not into the noise of the background.
///
/// ```
/// use lesio_image::ForegroundMask;
/// use ndarray::Array2;
///
/// // A ring around a dark center, and a marker beside it.
/// let image = Array2::from_shape_fn((40, 40), |(r, c)| {
///     let radius = ((r as f32 - 20.0).powi(2) + (c as f32 - 20.0).powi(2)).sqrt();
///     if (6.0..14.0).contains(&radius) || (r < 3 && c < 3) { 100.0 } else { 2.0 }
/// });
/// let mask = ForegroundMask::new().plane(&image)?;
/// assert!(mask[[20, 20]] && mask[[20, 30]] && !mask[[1, 1]] && !mask[[20, 38]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct ForegroundMask {
    /// The threshold. Default: [`Threshold::CrossEntropy`].
    pub threshold: Threshold,
    /// Radius of the opening, which cuts thin bridges of ghosting and noise, as a fraction of the
    /// slice's shorter side, at least a pixel; 0 for none. Default: 0.01.
    pub opening: f64,
    /// Which components are kept. Default: [`KeepComponents::Main`].
    pub components: KeepComponents,
    /// Radius of the closing, which closes the outline where the scalp is dark, as a fraction of the
    /// slice's shorter side, at least a pixel; 0 for none. Default: 0.04, five pixels of 128.
    pub closing: f64,
    /// The treatment of holes. Default: [`Holes::Fill`].
    pub holes: Holes,
}

/// Which connected components (by faces) of the foreground are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepComponents {
    /// The largest of the volume, or of the plane, and those of at least a twentieth of its size.
    /// The default: a scalp may be apart from its brain, while markers and ghosts are small.
    #[default]
    Main,
    /// All of them.
    All,
}

/// The treatment of the holes of a foreground.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holes {
    /// They are filled, slice by slice. The default: a dark lesion is foreground.
    #[default]
    Fill,
    /// They remain.
    Keep,
}

impl Default for ForegroundMask {
    fn default() -> Self {
        Self {
            threshold: Threshold::default(),
            opening: 0.01,
            components: KeepComponents::default(),
            closing: 0.04,
            holes: Holes::default(),
        }
    }
}

impl ForegroundMask {
    /// The defaults, made for heads.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses settings outside their ranges.
    ///
    /// # Errors
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.threshold.validate()?;
        for (setting, radius) in [("foreground opening", self.opening), ("foreground closing", self.closing)]
        {
            if !(0.0..=1.0).contains(&radius) {
                return Err(SettingError::new(setting, radius, "a fraction in [0, 1]"));
            }
        }
        Ok(())
    }

    /// The foreground of a volume, cleaned in its slices of `plane`.
    ///
    /// # Errors
    /// [`ImageError::EmptyImage`], [`ImageError::NonFiniteVoxels`] and, unless the threshold is
    /// fixed, [`ImageError::ConstantImage`]; [`ImageError::EmptyForeground`] if nothing remains.
    pub fn volume(&self, volume: &Volume<f32>, plane: Plane) -> Result<Volume<bool>, ImageError> {
        let mask = self.of_turned(volume.data(), plane, volume.geometry().spacing())?;
        Ok(Volume::new(mask, *volume.geometry()))
    }

    /// The foreground of voxels in the order of RAS+ with their spacing; it lies in memory as they do.
    pub(crate) fn of_turned(
        &self,
        data: &ArrayRef3<f32>,
        plane: Plane,
        [x, y, z]: [f64; 3],
    ) -> Result<Array3<bool>, ImageError> {
        let spacing = match plane {
            Plane::Sagittal => [y, z],
            Plane::Coronal => [x, z],
            Plane::Axial => [x, y],
        };
        let threshold = self.threshold.find(data)?;
        let floor = lowest(data, threshold);
        let padding = match self.threshold {
            Threshold::Above(_) => None,
            Threshold::CrossEntropy | Threshold::Otsu => padding(data),
        };
        let axis = Axis(plane.axis());
        let mut mask = data.mapv(|_| false);
        let slices: Vec<_> = data.axis_iter(axis).zip(mask.axis_iter_mut(axis)).collect();
        slices.into_par_iter().for_each(|(values, mut inside)| {
            let bright = match padding {
                Some(padding) => values.mapv(|value| value != padding),
                None => {
                    // A slice of one value has no threshold of its own.
                    let own = self.threshold.find(&values).unwrap_or(threshold).clamp(floor, threshold);
                    values.mapv(|value| value > own)
                }
            };
            inside.assign(&open_spaced(&bright, radius(self.opening, &values, spacing), &spacing));
        });
        if self.components == KeepComponents::Main {
            keep_main(&mut mask);
        }
        let slices: Vec<_> = mask.axis_iter_mut(axis).collect();
        slices.into_par_iter().for_each(|mut slice| {
            let completed = self.completed(&slice, spacing);
            slice.assign(&completed);
        });
        if !mask.iter().any(|&inside| inside) {
            return Err(ImageError::EmptyForeground);
        }
        Ok(mask)
    }

    /// The foreground of a plane.
    ///
    /// # Errors
    /// Those of [`ForegroundMask::volume`].
    pub fn plane(&self, plane: &ArrayRef2<f32>) -> Result<Array2<bool>, ImageError> {
        let threshold = self.threshold.find(plane)?;
        let square = [1.0; 2];
        let bright = plane.mapv(|value| value > threshold);
        let mut mask = open_spaced(&bright, radius(self.opening, plane, square), &square);
        if self.components == KeepComponents::Main {
            let found = label_plane(&mask, Connectivity::Face);
            let sizes: Vec<usize> = found.components().iter().map(|component| component.size).collect();
            let least = least_size(&sizes);
            mask = found.select(|component| component.size >= least);
        }
        mask = self.completed(&mask, square);
        if !mask.iter().any(|&inside| inside) {
            return Err(ImageError::EmptyForeground);
        }
        Ok(mask)
    }

    /// Closing and holes.
    fn completed(&self, slice: &ArrayRef2<bool>, spacing: [f64; 2]) -> Array2<bool> {
        let closed = close_spaced(slice, radius(self.closing, slice, spacing), &spacing);
        match self.holes {
            Holes::Fill => fill_holes_plane(&closed),
            Holes::Keep => closed,
        }
    }
}

setters!(ForegroundMask {
    threshold: Threshold,
    opening: f64,
    components: KeepComponents,
    closing: f64,
    holes: Holes,
});

/// Removes the components of a volume's mask that are not main ones.
fn keep_main(mask: &mut Array3<bool>) {
    // Sizes do not depend on the order of the axes: rows are those of the memory.
    let mut order = [0, 1, 2];
    order.sort_by_key(|&axis| std::cmp::Reverse(mask.strides()[axis].unsigned_abs()));
    let mut turned = mask.view_mut().permuted_axes(order);
    for axis in 0..3 {
        if turned.strides()[axis] < 0 {
            turned.invert_axis(Axis(axis));
        }
    }
    let runs = ComponentRuns::new(&turned, Connectivity::Face);
    let sizes: Vec<usize> = runs.components().iter().map(|component| component.size).collect();
    let least = least_size(&sizes);
    match turned.as_slice_mut() {
        Some(values) => runs.paint(values, |component| sizes[component] >= least),
        None => {
            let mut values: Vec<bool> = turned.iter().copied().collect();
            runs.paint(&mut values, |component| sizes[component] >= least);
            turned.iter_mut().zip(values).for_each(|(inside, kept)| *inside = kept);
        }
    }
}

/// A fraction of the shorter side in the unit of the spacing, at least a pixel unless the fraction is 0.
fn radius<T>(fraction: f64, slice: &ArrayRef2<T>, [rows, columns]: [f64; 2]) -> f64 {
    let side = (slice.nrows() as f64 * rows).min(slice.ncols() as f64 * columns);
    if fraction > 0.0 { (fraction * side).max(rows.min(columns)) } else { 0.0 }
}

/// The lowest threshold that a slice may take: half of the volume's, or what is above the noise of the background
/// (median and three robust standard deviations) where that is more.
fn lowest(data: &ArrayRef3<f32>, threshold: f32) -> f32 {
    let values = Values::new(data, None);
    let background = || values.iter().filter(|value| *value <= threshold);
    let [least, median] = percentiles_of(background(), [0.0, 50.0]);
    let [spread] = percentiles_of(background().map(|value| (f64::from(value) - median).abs() as f32), [50.0]);
    // 1.4826 times the median deviation is the standard deviation of normal noise.
    let noise = median + 3.0 * 1.4826 * spread;
    let half = least + 0.5 * (f64::from(threshold) - least);
    (half.max(noise) as f32).min(threshold)
}

/// Share of a volume's surface that its padding fills at least: an object may reach the surface at its lower end.
const PADDED_SURFACE: f64 = 0.5;
/// Share of the whole volume that its padding fills at least.
const PADDED: f64 = 0.05;
/// A value is clearly darker than the padding by this share of the distance to the 98th percentile: resampled images have
/// values slightly below a darkest outside.
const DARKER: f64 = 0.1;
/// Share of the voxels inside that are clearly darker than the padding at least: about half of them if they were
/// normalized to a mean of 0.
const DARKER_VOXELS: f64 = 0.1;

/// The one value around the object, if darker values are inside of it: intensities that were normalized within a mask of the
/// brain, with 0 outside, are about half below 0. No threshold separates these from the outside. `None` if the outside is
/// darkest, or noisy as in a raw image.
fn padding(data: &ArrayRef3<f32>) -> Option<f32> {
    let mut surface: Vec<f32> = Vec::new();
    for axis in 0..3 {
        let length = data.len_of(Axis(axis));
        // A volume of one or two slices is all surface along them.
        if length > 2 {
            for side in [0, length - 1] {
                surface.extend(data.index_axis(Axis(axis), side));
            }
        }
    }
    surface.sort_unstable_by(f32::total_cmp);
    // More than half of the surface has one value: the middle one.
    let value = *surface.get(surface.len() / 2)?;
    let filled = |count: usize, of: usize, share: f64| count as f64 >= share * of as f64;
    let on_surface = surface.iter().filter(|&&found| found == value).count();
    if !filled(on_surface, surface.len(), PADDED_SURFACE) {
        return None;
    }
    let equal = data.iter().filter(|&&found| found == value).count();
    if !filled(equal, data.len(), PADDED) {
        return None;
    }
    let [bright] = percentiles_of(data.iter().copied(), [98.0]);
    let clearly = (f64::from(value) - DARKER * (bright - f64::from(value))) as f32;
    let darker = data.iter().filter(|&&found| found < clearly).count();
    filled(darker, data.len() - equal, DARKER_VOXELS).then_some(value)
}

/// The size from which a component is one of the main ones.
fn least_size(sizes: &[usize]) -> usize {
    sizes.iter().copied().max().unwrap_or(0).div_ceil(20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;
    use ndarray::Array3;

    /// A skull-like cylinder along `k`: scalp, dark bone, brain; noise around; gain by slice.
    fn head(gain: impl Fn(usize) -> f32) -> Volume {
        let data = Array3::from_shape_fn((64, 64, 8), |(i, j, k)| {
            let (x, y) = (i as f32 - 32.0, j as f32 - 30.0);
            let radius = (x * x + y * y).sqrt();
            let noise = 4.0 + ((i * 7 + j * 13 + k * 5) % 5) as f32;
            match radius {
                // The scalp has a gap of three pixels at one side.
                r if r < 18.0 || ((20.0..23.0).contains(&r) && !(x > 0.0 && y.abs() < 1.5)) => {
                    noise + gain(k) * (90.0 + ((i + 2 * j) % 9) as f32)
                }
                _ => noise,
            }
        });
        Volume::new(data, Geometry::default())
    }

    /// Intensities that were normalized within the head, with 0 outside, give the foreground of those that were not.
    #[test]
    fn the_outside_need_not_be_darkest() {
        let head = head(|_| 1.0);
        let without_noise = head.map(|&value| if value < 20.0 { 0.0 } else { value });
        let expected = ForegroundMask::new().volume(&without_noise, Plane::Axial).unwrap();
        for padding in [0.0, -3.0, 1.5] {
            let normalized = without_noise.map(|&value| match value {
                0.0 => padding,
                value => (value - 97.0) / 3.0 + 0.01 + padding,
            });
            let darker = normalized.data().iter().filter(|&&value| value < padding).count();
            assert!(darker > 1000, "{darker}");
            let mask = ForegroundMask::new().volume(&normalized, Plane::Axial).unwrap();
            assert_eq!(mask.data(), expected.data(), "{padding}");
        }
        // A darkest outside is no padding in this sense, and neither is a noisy one.
        assert_eq!(super::padding(without_noise.data()), None);
        assert_eq!(super::padding(head.data()), None);
        // Neither are values below 0 that resampling leaves at edges.
        let mut ringing = without_noise.clone();
        ringing.data_mut().indexed_iter_mut().filter(|((i, _, _), _)| *i > 56).for_each(
            |((_, j, _), value)| {
                *value = if j % 2 == 0 { -4.0 } else { 4.0 };
            },
        );
        assert_eq!(super::padding(ringing.data()), None);
        assert_eq!(ForegroundMask::new().volume(&ringing, Plane::Axial).unwrap().data(), expected.data());
    }

    fn area(mask: &Volume<bool>, slice: usize) -> usize {
        mask.data().index_axis(Axis(2), slice).iter().filter(|v| **v).count()
    }

    #[test]
    fn the_outline_is_closed_and_filled() {
        let mask = ForegroundMask::new().volume(&head(|_| 1.0), Plane::Axial).unwrap();
        let disc = (std::f64::consts::PI * 22.5 * 22.5) as usize;
        for slice in 0..8 {
            assert!(area(&mask, slice).abs_diff(disc) < disc / 20, "{} {disc}", area(&mask, slice));
            assert!(mask.data()[[51, 30, slice]], "bone behind the gap");
        }
    }

    /// A head in pixels that are twice as long as wide is the head in square ones.
    #[test]
    fn radii_follow_the_spacing() {
        let square = head(|_| 1.0);
        let long = Array3::from_shape_fn((64, 32, 8), |(i, j, k)| {
            0.5 * (square.data()[[i, 2 * j, k]] + square.data()[[i, 2 * j + 1, k]])
        });
        let geometry = Geometry::from_spacing([1.0, 2.0, 1.0]).unwrap();
        // A gap of seven pixels, which a closing of five bridges.
        let wide = |volume: &Volume, size: f64| {
            let mut volume = volume.clone();
            volume.data_mut().indexed_iter_mut().for_each(|((i, j, _), value)| {
                if i >= 45 && (j as f64 * size - 29.5).abs() < 4.0 {
                    *value = 4.0;
                }
            });
            ForegroundMask::new().closing(0.08).volume(&volume, Plane::Axial).unwrap()
        };
        let (fine, coarse) = (wide(&square, 1.0), wide(&Volume::new(long, geometry), 2.0));
        for slice in 0..8 {
            let (fine, coarse) = (area(&fine, slice), 2 * area(&coarse, slice));
            assert!(fine.abs_diff(coarse) < fine / 20, "{fine} {coarse}");
        }
        assert!(fine.data()[[48, 30, 3]] && coarse.data()[[48, 15, 3]], "bone behind the gap");
    }

    #[test]
    fn dim_slices_are_found_and_empty_ones_stay_empty() {
        let gains = [0.0, 0.15, 0.5, 1.0, 1.0, 1.0, 0.5, 0.15];
        let mask = ForegroundMask::new().volume(&head(|k| gains[k]), Plane::Axial).unwrap();
        assert_eq!(area(&mask, 0), 0);
        for slice in [1, 7] {
            assert!(area(&mask, slice) > area(&mask, 4) * 9 / 10, "{}", area(&mask, slice));
        }
    }

    #[test]
    fn markers_go_unless_all_is_kept() {
        let mut volume = head(|_| 1.0);
        volume.data_mut().indexed_iter_mut().for_each(|((i, j, _), value)| {
            if i < 3 && j < 3 {
                *value = 200.0;
            }
        });
        let largest = ForegroundMask::new().volume(&volume, Plane::Axial).unwrap();
        assert!(!largest.data()[[1, 1, 3]]);
        let all =
            ForegroundMask::new().components(KeepComponents::All).volume(&volume, Plane::Axial).unwrap();
        assert!(all.data()[[1, 1, 3]] && all.data()[[32, 30, 3]]);
    }

    #[test]
    fn what_has_no_foreground_is_an_error() {
        let volume = |data: Array3<f32>| Volume::new(data, Geometry::default());
        let find = |data| ForegroundMask::new().volume(&volume(data), Plane::Axial);
        assert!(matches!(find(Array3::zeros((3, 3, 3))), Err(ImageError::ConstantImage { voxels: 27, .. })));
        assert!(matches!(find(Array3::zeros((0, 3, 3))), Err(ImageError::EmptyImage { .. })));
        // A single bright voxel does not survive an opening of one pixel.
        let mut speck = Array3::zeros((128, 128, 2));
        speck[[60, 60, 1]] = 1.0;
        assert_eq!(find(speck), Err(ImageError::EmptyForeground));
        let above = ForegroundMask::new().threshold(Threshold::Above(9.0));
        assert_eq!(above.plane(&Array2::zeros((5, 5))), Err(ImageError::EmptyForeground));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        assert!(ForegroundMask::new().closing(f64::NAN).validate().is_err());
        assert!(ForegroundMask::new().opening(-0.1).validate().is_err());
        assert!(ForegroundMask::new().threshold(Threshold::Above(f32::NAN)).validate().is_err());
        assert!(ForegroundMask::new().validate().is_ok());
    }
}
