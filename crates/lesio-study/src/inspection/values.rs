//! Statistics of the values of an image.

use lesio_image::Image;
use lesio_io::ReadError;
use lesio_io::nifti::{NiftiImage, VoxelStatistics};

/// Slices read at a time.
const SLAB: usize = 8;

/// Statistics of the values of an image.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValueSummary {
    /// Number of values.
    pub count: u64,
    /// Values that are NaN or infinite.
    pub nonfinite: u64,
    /// Sum of the finite values.
    pub sum: f64,
    /// Least finite value; NaN if there is none.
    pub min: f64,
    /// Greatest finite value; NaN if there is none.
    pub max: f64,
    /// The first eight values, in the order of the file.
    pub first: Vec<f64>,
    /// Number of finite values in equal bins from the smallest to the greatest; all in the first bin if both are equal.
    pub histogram: [u64; ValueSummary::BINS],
}

impl ValueSummary {
    /// Number of bins of the histogram.
    pub const BINS: usize = 16;

    pub(super) fn of_nifti(image: &mut NiftiImage) -> Result<Self, ReadError> {
        let VoxelStatistics { voxels, nonfinite, sum, min, max, first, .. } = image.statistics()?;
        let mut values = Self { count: voxels, nonfinite, sum, min, max, first, histogram: [0; Self::BINS] };
        if values.min < values.max {
            for slab in image.slabs::<f64>(SLAB)? {
                slab?.data.iter().for_each(|&value| values.sort_in(value));
            }
        } else {
            values.histogram[0] = voxels - nonfinite;
        }
        Ok(values)
    }

    pub(super) fn of_picture(image: &Image<f32>) -> Self {
        let all = || image.data().iter().map(|&value| f64::from(value));
        let finite = || all().filter(|value| value.is_finite());
        let mut values = Self {
            count: image.data().len() as u64,
            nonfinite: (all().count() - finite().count()) as u64,
            sum: finite().sum(),
            min: finite().fold(f64::NAN, f64::min),
            max: finite().fold(f64::NAN, f64::max),
            first: all().take(8).collect(),
            histogram: [0; Self::BINS],
        };
        all().for_each(|value| values.sort_in(value));
        values
    }

    /// Counts a value in its bin.
    fn sort_in(&mut self, value: f64) {
        if value.is_finite() {
            // Halved, so that the difference of any two numbers is finite.
            let place = (value / 2.0 - self.min / 2.0) / (self.max / 2.0 - self.min / 2.0);
            self.histogram[((place * Self::BINS as f64) as usize).min(Self::BINS - 1)] += 1;
        }
    }
}
