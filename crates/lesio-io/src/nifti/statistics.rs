//! What can be said of an image without keeping it.

use crate::error::ReadErrorKind;
use crate::nifti::reader::VoxelReader;

/// Voxels taken at a time.
const BLOCK: u64 = 8192;

/// Voxels whose values are shown.
const SHOWN: usize = 8;

/// Summary of all voxels, after scaling.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Number of voxels.
    pub voxels: u64,
    /// Number of voxels that are NaN or infinite; all that follows leaves them out.
    pub nonfinite: u64,
    /// Sum, compensated (Neumaier 1974), so that its error does not grow with the number of voxels.
    pub sum: f64,
    /// Least value; NaN where no voxel is finite.
    pub min: f64,
    /// Greatest value; NaN where no voxel is finite.
    pub max: f64,
    /// The first eight values, finite or not, in file order: the first axis varies fastest.
    pub first: Vec<f64>,
}

impl Statistics {
    pub(crate) fn of(mut reader: VoxelReader<'_>, voxels: u64) -> Result<Self, ReadErrorKind> {
        let mut statistics =
            Self { voxels, nonfinite: 0, sum: 0.0, min: f64::NAN, max: f64::NAN, first: Vec::new() };
        let mut compensation = 0.0;
        let mut block: Vec<f64> = Vec::new();
        let mut left = voxels;
        while left > 0 {
            let step = left.min(BLOCK);
            block.clear();
            reader.next_values(step, &mut block)?;
            statistics.first.extend(block.iter().take(SHOWN - statistics.first.len()));
            for &value in &block {
                statistics.add(value, &mut compensation);
            }
            left -= step;
        }
        reader.finish()?;
        statistics.sum += compensation;
        Ok(statistics)
    }

    fn add(&mut self, value: f64, compensation: &mut f64) {
        if !value.is_finite() {
            self.nonfinite += 1;
            return;
        }
        let sum = self.sum + value;
        *compensation +=
            if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
        // `min` and `max` return the other argument for NaN, which stands for none yet.
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
}
