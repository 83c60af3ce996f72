//! Statistics of an image, computed without storing it.

use crate::error::ReadErrorKind;
use crate::nifti::reader::VoxelReader;

/// Voxels processed at a time.
const BLOCK: u64 = 8192;

/// Number of voxels whose values are listed.
const SHOWN: usize = 8;

/// Summary of all voxels, after scaling.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct VoxelStatistics {
    /// Number of voxels.
    pub voxels: u64,
    /// Number of voxels that are NaN or infinite; the following fields leave them out.
    pub nonfinite: u64,
    /// Compensated sum, whose error does not grow with the number of voxels.
    pub sum: f64,
    /// Least value; NaN if no voxel is finite.
    pub min: f64,
    /// Greatest value; NaN if no voxel is finite.
    pub max: f64,
    /// The first eight values, finite or not, in file order: the first axis varies fastest.
    pub first: Vec<f64>,
}

impl VoxelStatistics {
    /// Also returns what [`VoxelReader::finish`] does.
    pub(crate) fn of(mut reader: VoxelReader<'_>, voxels: u64) -> Result<(Self, u64), ReadErrorKind> {
        let mut lanes = Lanes::default();
        let mut first = Vec::new();
        let mut block: Vec<f64> = Vec::new();
        let mut left = voxels;
        while left > 0 {
            let step = left.min(BLOCK);
            block.clear();
            reader.next_values(step, &mut block)?;
            first.extend(block.iter().take(SHOWN - first.len()));
            lanes.add(&block);
            left -= step;
        }
        let rest = reader.finish()?;
        Ok((lanes.finish(voxels, first), rest))
    }
}

/// Values that are processed in parallel in vector registers.
const LANES: usize = 8;

/// Statistics of every eighth value each, with no branch between values.
struct Lanes {
    sum: [f64; LANES],
    /// The rounding error of each sum.
    lost: [f64; LANES],
    min: [f64; LANES],
    max: [f64; LANES],
    nonfinite: [u64; LANES],
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            sum: [0.0; LANES],
            lost: [0.0; LANES],
            min: [f64::INFINITY; LANES],
            max: [f64::NEG_INFINITY; LANES],
            nonfinite: [0; LANES],
        }
    }
}

impl Lanes {
    fn add(&mut self, values: &[f64]) {
        let (chunks, rest) = values.as_chunks::<LANES>();
        for chunk in chunks {
            self.add_chunk(chunk);
        }
        if !rest.is_empty() {
            let mut chunk = [f64::NAN; LANES];
            chunk.iter_mut().zip(rest).for_each(|(place, &value)| *place = value);
            self.add_chunk(&chunk);
            // The padding of the chunk does not count.
            self.nonfinite.iter_mut().skip(rest.len()).for_each(|count| *count -= 1);
        }
    }

    #[inline(always)]
    fn add_chunk(&mut self, chunk: &[f64; LANES]) {
        for (lane, &value) in chunk.iter().enumerate() {
            let finite = value.is_finite();
            self.nonfinite[lane] += u64::from(!finite);
            let term = if finite { value } else { 0.0 };
            let (sum, lost) = two_sum(self.sum[lane], term);
            self.sum[lane] = sum;
            self.lost[lane] += lost;
            self.min[lane] = if finite && value < self.min[lane] { value } else { self.min[lane] };
            self.max[lane] = if finite && value > self.max[lane] { value } else { self.max[lane] };
        }
    }

    fn finish(self, voxels: u64, first: Vec<f64>) -> VoxelStatistics {
        let nonfinite = self.nonfinite.iter().sum();
        let (mut sum, mut lost) = (0.0, 0.0);
        for lane in self.sum {
            let (next, rounded) = two_sum(sum, lane);
            sum = next;
            lost += rounded;
        }
        let exact = sum + (lost + self.lost.iter().sum::<f64>());
        let none = nonfinite == voxels;
        let or_nan = |value: f64| if none { f64::NAN } else { value };
        VoxelStatistics {
            voxels,
            nonfinite,
            // After an overflow the correction is meaningless.
            sum: if sum.is_finite() { exact } else { sum },
            min: or_nan(self.min.into_iter().fold(f64::INFINITY, f64::min)),
            max: or_nan(self.max.into_iter().fold(f64::NEG_INFINITY, f64::max)),
            first,
        }
    }
}

/// A sum and its exact rounding error (Knuth, The Art of Computer Programming 2, 4.2.2).
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let from_b = sum - a;
    (sum, (a - (sum - from_b)) + (b - from_b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> VoxelStatistics {
        let mut lanes = Lanes::default();
        // In two parts, of which neither fills its lanes.
        let (start, end) = values.split_at(values.len() / 3);
        lanes.add(start);
        lanes.add(end);
        lanes.finish(values.len() as u64, Vec::new())
    }

    #[test]
    fn small_terms_survive_large_ones() {
        let mut values = vec![1e16, 1.0, -1e16, 1.0];
        values.extend([0.1; 1000]);
        values.extend([1e100, 3.0, -1e100]);
        // A tenth as a 64-bit float is a little more than a tenth.
        assert!((of(&values).sum - 105.0).abs() < 1e-10, "{}", of(&values).sum);
        let constant = vec![f64::from(0.1_f32); 1 << 20];
        assert_eq!(of(&constant).sum, f64::from(0.1_f32) * f64::from(1 << 20));
    }

    #[test]
    fn what_is_not_finite_is_counted_and_left_out() {
        let found = of(&[f64::NAN, 2.0, f64::INFINITY, -3.0, f64::NEG_INFINITY, 0.5, f64::NAN]);
        assert_eq!((found.nonfinite, found.sum, found.min, found.max), (4, -0.5, -3.0, 2.0));
        let nothing = of(&[f64::NAN; 11]);
        assert!(nothing.min.is_nan() && nothing.max.is_nan());
        assert_eq!((nothing.nonfinite, nothing.sum), (11, 0.0));
        assert_eq!(of(&[f64::MAX; 3]).sum, f64::INFINITY);
        for length in 1..40 {
            let values: Vec<f64> = (0..length).map(f64::from).collect();
            let found = of(&values);
            assert_eq!(found.sum, f64::from(length * (length - 1) / 2));
            assert_eq!((found.nonfinite, found.min, found.max), (0, 0.0, f64::from(length - 1)));
        }
    }
}
