//! What is done to a map on the image's own grid.

use std::borrow::Cow;

use lesio_image::{FilterError, Plane, Volume, erode, label_volume, median_filter_in_place};
use ndarray::{Array3, ArrayRef3, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Filters that take out of a map what no lesion makes. Raw maps are always kept beside.
///
/// In this order: negative values become 0 (where wanted); the median; then what lies outside the
/// eroded foreground is set to the map's lowest value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct PostProcessing {
    /// What becomes of negative values. Default [`NegativeValues::Keep`].
    pub negative: NegativeValues,
    /// Window of the median: slices, rows, columns, all odd; 1 leaves an axis alone. Default 1, 5, 5,
    /// which removes what is thinner than three pixels, such as the edges of sulci.
    pub median: [usize; 3],
    /// Pixels by which the foreground is eroded within each slice. Default 0.
    pub erosion: f64,
    /// Connected voxels (26 neighbours) that a detection needs at least; for thresholded maps only. Default 8.
    pub smallest: u64,
}

/// What becomes of the negative values of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NegativeValues {
    /// They stay.
    #[default]
    Keep,
    /// They become 0.
    Zero,
}

impl Default for PostProcessing {
    fn default() -> Self {
        Self { negative: NegativeValues::Keep, median: [1, 5, 5], erosion: 0.0, smallest: 8 }
    }
}

impl PostProcessing {
    /// A map that stays as it is.
    #[must_use]
    pub fn none() -> Self {
        Self { negative: NegativeValues::Keep, median: [1; 3], erosion: 0.0, smallest: 1 }
    }

    /// With another window of the median.
    #[must_use]
    pub fn median(mut self, slices: usize, rows: usize, columns: usize) -> Self {
        self.median = [slices, rows, columns];
        self
    }

    /// With an erosion of the foreground, in pixels.
    #[must_use]
    pub fn erosion(mut self, erosion: f64) -> Self {
        self.erosion = erosion;
        self
    }

    /// Filters a map whose slices run along `plane`; `foreground` is on the same grid.
    ///
    /// # Errors
    /// A window that is even or 0, or a map with values that are not finite.
    pub fn apply(
        &self,
        map: &Volume<f32>,
        foreground: &Volume<bool>,
        plane: Plane,
    ) -> Result<Volume<f32>, FilterError> {
        self.apply_to(map.clone(), foreground, plane)
    }

    /// As [`PostProcessing::apply`], in the map's own memory.
    ///
    /// # Errors
    /// As there.
    pub fn apply_to(
        &self,
        map: Volume<f32>,
        foreground: &Volume<bool>,
        plane: Plane,
    ) -> Result<Volume<f32>, FilterError> {
        let [along, rows, columns] = slice_axes(&map, plane);
        let geometry = *map.geometry();
        let mut values = map.into_data();
        if self.negative == NegativeValues::Zero {
            values.mapv_inplace(|value| value.max(0.0));
        }
        if self.median != [1; 3] {
            let mut window = [1; 3];
            for (axis, size) in [along, rows, columns].into_iter().zip(self.median) {
                window[axis] = size;
            }
            median_filter_in_place(&mut values, window)?;
        }
        quiet_outside(&mut values, &self.eroded(foreground.data(), along));
        Ok(Volume::new(values, geometry))
    }

    /// The detections of a map at a threshold (`>=`), without components smaller than [`Self::smallest`].
    #[must_use]
    pub fn detections(&self, map: &Volume<f32>, threshold: f32) -> Volume<bool> {
        let above = map.data().mapv(|value| value >= threshold);
        let components = label_volume(&above, lesio_image::Connectivity::Corners);
        let kept = components.select(|component| component.size as u64 >= self.smallest);
        Volume::new(kept, *map.geometry())
    }

    fn eroded<'a>(&self, foreground: &'a Array3<bool>, along: usize) -> Cow<'a, Array3<bool>> {
        // Below 1 an erosion changes nothing.
        if self.erosion < 1.0 {
            return Cow::Borrowed(foreground);
        }
        let mut inside = foreground.to_owned();
        let slices: Vec<_> = inside.axis_iter_mut(Axis(along)).collect();
        slices.into_par_iter().for_each(|mut slice| {
            let smaller = erode(&slice, self.erosion);
            slice.assign(&smaller);
        });
        Cow::Owned(inside)
    }
}

/// The voxel axes of a volume, of any orientation, through the stack of slices of a plane, through the
/// rows of a slice and through its columns, as [`Volume::plane`] shows it.
fn slice_axes<T>(volume: &Volume<T>, plane: Plane) -> [usize; 3] {
    let codes = volume.geometry().axis_codes();
    let own = |world: usize| codes.iter().position(|code| code.world().0 == world).unwrap_or(world);
    let (rows, columns) = match plane {
        Plane::Sagittal => (2, 1),
        Plane::Coronal => (2, 0),
        Plane::Axial => (1, 0),
    };
    [own(plane.axis()), own(rows), own(columns)]
}

/// Sets what is outside a mask to the lowest value inside.
pub(crate) fn quiet_outside(values: &mut ArrayRef3<f32>, inside: &ArrayRef3<bool>) {
    let lowest = lowest_within(values, inside);
    let axis = outermost(values);
    let slices: Vec<_> = values.axis_iter_mut(axis).zip(inside.axis_iter(axis)).collect();
    slices.into_par_iter().for_each(|(mut values, inside)| {
        ndarray::Zip::from(&mut values).and(&inside).for_each(|value, &inside| {
            if !inside {
                *value = lowest;
            }
        });
    });
}

/// The lowest value of a map inside a mask; 0 where the mask is empty.
pub(crate) fn lowest_within(values: &ArrayRef3<f32>, inside: &ArrayRef3<bool>) -> f32 {
    let axis = outermost(values);
    let slices: Vec<_> = values.axis_iter(axis).zip(inside.axis_iter(axis)).collect();
    let lowest_of = |(values, inside): &(ArrayView2<'_, f32>, ArrayView2<'_, bool>)| {
        let least =
            |lowest: f32, value: &f32, &inside: &bool| if inside { lowest.min(*value) } else { lowest };
        ndarray::Zip::from(values).and(inside).fold(f32::INFINITY, least)
    };
    let lowest = slices.par_iter().map(lowest_of).reduce(|| f32::INFINITY, f32::min);
    if lowest.is_finite() { lowest } else { 0.0 }
}

/// The axis whose neighbours lie farthest apart in memory.
fn outermost(values: &ArrayRef3<f32>) -> Axis {
    let far = |axis: &usize| values.strides()[*axis].unsigned_abs();
    Axis((0..3).max_by_key(far).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_image::{Geometry, Orientation};

    fn volume(data: Array3<f32>) -> Volume<f32> {
        Volume::new(data, Geometry::default())
    }

    fn everywhere(map: &Volume<f32>) -> Volume<bool> {
        map.map(|_| true)
    }

    #[test]
    fn nothing_is_done_without_filters() {
        let map = volume(Array3::from_shape_fn((4, 5, 3), |(i, j, k)| (i * j) as f32 - k as f32));
        let out = PostProcessing::none().apply(&map, &everywhere(&map), Plane::Axial).unwrap();
        assert_eq!(out, map);
    }

    #[test]
    fn the_window_is_of_slices_rows_and_columns_in_any_orientation() {
        // Lines along each voxel axis of a RAS+ volume; a median keeps those along its window.
        let line = |axis: usize| {
            volume(Array3::from_shape_fn((9, 9, 9), |(i, j, k)| {
                let place = [i, j, k];
                f32::from(u8::from((0..3).all(|other| other == axis || place[other] == 4)))
            }))
        };
        // In axial slices rows run along j and columns along i; in sagittal ones along k and j.
        for (plane, window, kept) in [
            (Plane::Axial, [1, 5, 1], 1),
            (Plane::Axial, [1, 1, 5], 0),
            (Plane::Axial, [5, 1, 1], 2),
            (Plane::Sagittal, [1, 5, 1], 2),
            (Plane::Coronal, [1, 1, 5], 0),
        ] {
            let mut filters = PostProcessing::none();
            filters.median = window;
            for axis in 0..3 {
                for orientation in ["RAS", "SLP", "AIR"] {
                    let orientation: Orientation = orientation.parse().unwrap();
                    let map = line(axis).reoriented(&orientation);
                    let out =
                        filters.apply(&map, &everywhere(&map), plane).unwrap().reoriented(&Orientation::RAS);
                    assert_eq!(
                        out.data()[[4, 4, 4]],
                        f32::from(u8::from(axis == kept)),
                        "{plane:?} {window:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn outside_of_the_eroded_foreground_is_the_lowest() {
        let map = volume(Array3::from_shape_fn((7, 7, 2), |(i, j, k)| (i * 14 + j * 2 + k) as f32 - 20.0));
        let foreground = Volume::new(
            Array3::from_shape_fn((7, 7, 2), |(i, j, _)| (1..6).contains(&i) && (1..6).contains(&j)),
            Geometry::default(),
        );
        let mut filters = PostProcessing::none().erosion(1.0);
        let out = filters.apply(&map, &foreground, Plane::Axial).unwrap();
        let lowest = map.data()[[2, 2, 0]];
        for ((i, j, k), &value) in out.data().indexed_iter() {
            let inside = (2..5).contains(&i) && (2..5).contains(&j);
            assert_eq!(value, if inside { map.data()[[i, j, k]] } else { lowest });
        }
        filters.negative = NegativeValues::Zero;
        let out = filters.apply(&map, &foreground, Plane::Axial).unwrap();
        assert!(out.data().iter().all(|&value| value >= 0.0));
        let none = foreground.map(|_| false);
        let out = filters.apply(&map, &none, Plane::Axial).unwrap();
        assert!(out.data().iter().all(|&value| value == 0.0));
    }

    #[test]
    fn detections_reach_the_threshold_and_the_size() {
        // A cube of eight voxels, and a square of four that score twice as high.
        let map = volume(Array3::from_shape_fn((6, 6, 3), |(i, j, k)| {
            if i < 2 && j < 2 && k < 2 {
                1.0
            } else if i > 3 && j > 3 && k == 0 {
                2.0
            } else {
                0.0
            }
        }));
        let count = |smallest: u64, threshold: f32| {
            let mut filters = PostProcessing::none();
            filters.smallest = smallest;
            filters.detections(&map, threshold).data().iter().filter(|&&inside| inside).count()
        };
        assert_eq!([count(1, 1.0), count(5, 1.0), count(9, 1.0), count(1, 1.5)], [12, 8, 0, 4]);
    }

    #[test]
    fn wrong_windows_and_values_are_refused() {
        let map = volume(Array3::zeros((3, 3, 3)));
        for window in [[0, 1, 1], [1, 2, 1], [1, 1, 100_001]] {
            let mut filters = PostProcessing::none();
            filters.median = window;
            assert!(matches!(
                filters.apply(&map, &everywhere(&map), Plane::Axial),
                Err(FilterError::Config(_))
            ));
        }
        let bad = volume(Array3::from_elem((3, 3, 3), f32::NAN));
        let filtered = PostProcessing::default().apply(&bad, &everywhere(&bad), Plane::Axial);
        assert!(matches!(filtered, Err(FilterError::Image(_))));
    }
}
