//! What is done to a map on the image's own grid.

use lesio_image::{FilterError, Plane, Volume, erode, label_volume, median_filter_volume};
use ndarray::{Array3, ArrayRef3, Axis};
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
        let along = slicing_axis(map, plane);
        let mut values = map.data().clone();
        if self.negative == NegativeValues::Zero {
            values.mapv_inplace(|value| value.max(0.0));
        }
        if self.median != [1; 3] {
            // Rows are the later of the axes within a slice.
            let (columns, rows) = match along {
                0 => (1, 2),
                1 => (0, 2),
                _ => (0, 1),
            };
            let mut window = [1; 3];
            window[along] = self.median[0];
            window[rows] = self.median[1];
            window[columns] = self.median[2];
            values = median_filter_volume(&values, window)?;
        }
        let inside = self.eroded(foreground.data(), along);
        let lowest = lowest_within(&values, &inside);
        ndarray::Zip::from(&mut values).and(&inside).for_each(|value, &inside| {
            if !inside {
                *value = lowest;
            }
        });
        Ok(Volume::new(values, *map.geometry()))
    }

    /// The detections of a map at a threshold (`>=`), without components smaller than [`Self::smallest`].
    #[must_use]
    pub fn detections(&self, map: &Volume<f32>, threshold: f32) -> Volume<bool> {
        let above = map.data().mapv(|value| value >= threshold);
        let components = label_volume(&above, lesio_image::Connectivity::Corners);
        let kept = components.select(|component| component.size as u64 >= self.smallest);
        Volume::new(kept, *map.geometry())
    }

    fn eroded(&self, foreground: &ArrayRef3<bool>, along: usize) -> Array3<bool> {
        let mut inside = foreground.to_owned();
        if self.erosion > 0.0 {
            for mut slice in inside.axis_iter_mut(Axis(along)) {
                let smaller = erode(&slice.to_owned(), self.erosion);
                slice.assign(&smaller);
            }
        }
        inside
    }
}

/// The voxel axis of a volume, of any orientation, along which its slices of a plane are stacked.
pub(crate) fn slicing_axis<T>(volume: &Volume<T>, plane: Plane) -> usize {
    let codes = volume.geometry().axis_codes();
    codes.iter().position(|code| code.world().0 == plane.axis()).unwrap_or(plane.axis())
}

/// The lowest value of a map inside a mask; 0 where the mask is empty.
pub(crate) fn lowest_within(values: &ArrayRef3<f32>, inside: &ArrayRef3<bool>) -> f32 {
    let lowest = values
        .iter()
        .zip(inside)
        .filter(|&(_, &inside)| inside)
        .map(|(&value, _)| value)
        .fold(f32::INFINITY, f32::min);
    if lowest.is_finite() { lowest } else { 0.0 }
}
