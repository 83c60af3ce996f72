//! Thresholds between background and foreground.

use lesio_settings::SettingError;
use ndarray::{ArrayRef, Dimension};
use serde::{Deserialize, Serialize};

use crate::error::{ImageError, check_finite};
use crate::percentile::{Values, percentiles_of};

/// Bins of the histograms in which thresholds are sought.
const BINS: usize = 1024;

/// Values above this percentile count as this percentile when a threshold is sought: the fat of a
/// scalp near the coil is ten times as bright as the brain and would draw the threshold to itself.
const BRIGHT: f64 = 98.0;

/// The rule by which a value is foreground: it lies above a threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Threshold {
    /// The threshold of least cross-entropy between an image, counted from its least value, and
    /// its two-level version (Li and Lee, Pattern Recognition 26, 1993). The default: it lies just
    /// above a dark background, and so keeps dim tissue that [`Threshold::Otsu`] gives up.
    #[default]
    CrossEntropy,
    /// The threshold of largest variance between the two classes (Otsu, 1979).
    Otsu,
    /// A fixed value, in the image's units.
    Above(f32),
}

impl Threshold {
    pub(crate) fn validate(&self) -> Result<(), SettingError> {
        match self {
            Self::Above(value) if !value.is_finite() => {
                Err(SettingError::new("foreground threshold", value, "a finite value"))
            }
            _ => Ok(()),
        }
    }

    /// The threshold for these values: what is strictly above is foreground.
    ///
    /// Values beyond the 98th percentile are taken as the 98th percentile, and histograms have 1024
    /// bins between the least value and that.
    ///
    /// # Errors
    /// [`ImageError::EmptyImage`], [`ImageError::NonFiniteVoxels`], and, except for
    /// [`Threshold::Above`], [`ImageError::ConstantImage`].
    pub fn find<D: Dimension>(&self, data: &ArrayRef<f32, D>) -> Result<f32, ImageError> {
        check_finite(data)?;
        if let Self::Above(value) = *self {
            return Ok(value);
        }
        let values = Values::new(data, None);
        let least = values.iter().fold(f32::INFINITY, f32::min);
        let most = values.iter().fold(f32::NEG_INFINITY, f32::max);
        if least == most {
            return Err(ImageError::ConstantImage { value: f64::from(least), voxels: data.len() });
        }
        let [bright] = percentiles_of(values.iter(), [BRIGHT]);
        // An image that is dark but for a few spots has only those above its background.
        let bright = if bright > f64::from(least) { bright } else { f64::from(most) };
        let histogram = Histogram::new(values.iter(), f64::from(least), bright);
        Ok(match self {
            Self::CrossEntropy => histogram.cross_entropy(),
            Self::Otsu => histogram.otsu(),
            Self::Above(value) => *value,
        })
    }
}

/// Counts and sums of values in equal bins of `[low, high]`; what is above `high` counts as `high`.
struct Histogram {
    low: f64,
    width: f64,
    /// Number of values up to and including each bin, and the sum of their distances from `low`.
    below: Vec<(f64, f64)>,
}

impl Histogram {
    fn new(values: impl Iterator<Item = f32>, low: f64, high: f64) -> Self {
        let width = (high - low) / BINS as f64;
        let mut below = vec![(0.0, 0.0); BINS];
        for value in values {
            let distance = f64::from(value).min(high) - low;
            let bin = ((distance / width) as usize).min(BINS - 1);
            below[bin].0 += 1.0;
            below[bin].1 += distance;
        }
        for bin in 1..BINS {
            below[bin].0 += below[bin - 1].0;
            below[bin].1 += below[bin - 1].1;
        }
        Self { low, width, below }
    }

    fn total(&self) -> (f64, f64) {
        self.below[BINS - 1]
    }

    /// The upper edge of a bin as a threshold.
    fn edge(&self, bin: usize) -> f32 {
        (self.low + (bin + 1) as f64 * self.width) as f32
    }

    fn otsu(&self) -> f32 {
        let (count, sum) = self.total();
        let mut best = (f64::NEG_INFINITY, 0);
        for (bin, &(dark, dark_sum)) in self.below.iter().enumerate().take(BINS - 1) {
            let light = count - dark;
            if dark == 0.0 || light == 0.0 {
                continue;
            }
            let difference = dark_sum / dark - (sum - dark_sum) / light;
            let between = dark * light * difference * difference;
            if between > best.0 {
                best = (between, bin);
            }
        }
        self.edge(best.1)
    }

    fn cross_entropy(&self) -> f32 {
        let (count, sum) = self.total();
        // Of the criterion only this depends on the threshold; a class of sum 0 adds 0.
        let entropy = |sum: f64, count: f64| if sum > 0.0 { -sum * (sum / count).ln() } else { 0.0 };
        let mut best = (f64::INFINITY, 0);
        for (bin, &(dark, dark_sum)) in self.below.iter().enumerate().take(BINS - 1) {
            let light = count - dark;
            if dark == 0.0 || light == 0.0 {
                continue;
            }
            let criterion = entropy(dark_sum, dark) + entropy(sum - dark_sum, light);
            if criterion < best.0 {
                best = (criterion, bin);
            }
        }
        self.edge(best.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    #[test]
    fn two_levels_are_parted() {
        let data = Array1::from_shape_fn(1000, |i| if i % 4 == 0 { 100.0 } else { 10.0 } + (i % 3) as f32);
        for rule in [Threshold::CrossEntropy, Threshold::Otsu] {
            let threshold = rule.find(&data).unwrap();
            assert!(threshold > 12.0 && threshold < 100.0, "{rule:?}: {threshold}");
        }
    }

    #[test]
    fn cross_entropy_keeps_dim_tissue() {
        // Background 5, dim tissue 40, bright tissue 160.
        let data = Array1::from_shape_fn(3000, |i| match i % 10 {
            0..=5 => 3.0 + (i % 5) as f32,
            6..=7 => 40.0 + (i % 7) as f32,
            _ => 160.0 + (i % 11) as f32,
        });
        let low = Threshold::CrossEntropy.find(&data).unwrap();
        assert!(low > 7.0 && low < 40.0, "{low}");
        assert!(Threshold::Otsu.find(&data).unwrap() > low);
    }

    #[test]
    fn agrees_with_the_definition_of_least_cross_entropy() {
        // Li and Lee's criterion over every threshold between distinct values.
        let data = Array1::from_shape_fn(400, |i| ((i * i) % 251) as f32 * ((i % 7) as f32 + 0.5));
        let clipped = {
            let [bright] = percentiles_of(data.iter().copied(), [BRIGHT]);
            data.mapv(|v| f64::from(v).min(bright))
        };
        let criterion = |t: f64| {
            let (mut dark, mut light) = ((0.0, 0.0), (0.0, 0.0));
            for &v in &clipped {
                let class = if v > t { &mut light } else { &mut dark };
                class.0 += 1.0;
                class.1 += v;
            }
            -(dark.1 * (dark.1 / dark.0).ln()) - light.1 * (light.1 / light.0).ln()
        };
        let found = f64::from(Threshold::CrossEntropy.find(&data).unwrap());
        let at_found = criterion(found);
        for &other in clipped.iter().filter(|v| **v < 900.0) {
            // No value that occurs is a better threshold, beyond the width of a bin.
            // Where a class is empty the criterion is not a number, and nothing is beaten.
            let beaten = criterion(other) < at_found - 1e-3 * at_found.abs();
            assert!(!beaten, "{other} beats {found}");
        }
    }

    #[test]
    fn nothing_to_part_is_an_error() {
        assert_eq!(
            Threshold::Otsu.find(&Array1::from_elem(7, 2.0)),
            Err(ImageError::ConstantImage { value: 2.0, voxels: 7 })
        );
        assert!(matches!(
            Threshold::CrossEntropy.find(&Array1::<f32>::zeros(0)),
            Err(ImageError::EmptyImage { .. })
        ));
        assert!(matches!(
            Threshold::CrossEntropy.find(&array![1.0, f32::NAN]),
            Err(ImageError::NonFiniteVoxels { count: 1, .. })
        ));
        // One bright pixel among a hundred: the percentile alone would see no contrast.
        let mut spot = Array1::<f32>::zeros(100);
        spot[17] = 9.0;
        for rule in [Threshold::CrossEntropy, Threshold::Otsu] {
            let threshold = rule.find(&spot).unwrap();
            assert!((0.0..9.0).contains(&threshold), "{threshold}");
        }
    }
}
