//! Invertible intensity scales that are fitted to one image.

use lesio_settings::{SettingError, in_range, require};
use ndarray::{Array, ArrayRef, Dimension};
use serde::{Deserialize, Serialize};

use crate::error::{ImageError, check_finite, check_shape};
use crate::percentile::{Values, percentiles_of};

/// A linear map of intensities, `low` to 0 and `high` to 1, with its inverse.
///
/// ```
/// use lesio_image::RobustScaling;
/// use ndarray::Array1;
///
/// let values = Array1::from_shape_fn(101, |i| i as f32);
/// let scale = RobustScaling::new().percentiles(10.0, 90.0).fit(&values, None)?;
/// assert_eq!((scale.low(), scale.high()), (10.0, 90.0));
/// assert_eq!(scale.apply(&values)[50], 0.5);
/// assert_eq!(scale.inverse(scale.value(3.0)), 3.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(f64, f64)", into = "(f64, f64)")]
pub struct LinearScale {
    low: f64,
    high: f64,
}

impl LinearScale {
    /// The map of `low` to 0 and `high` to 1.
    ///
    /// # Errors
    /// For ends that are not finite or do not ascend, and ends so far apart, or so close, that
    /// their difference or its reciprocal is not finite.
    pub fn new(low: f64, high: f64) -> Result<Self, SettingError> {
        let range = high - low;
        if range > 0.0 && range.is_finite() && range.recip().is_finite() && low.is_finite() {
            return Ok(Self { low, high });
        }
        Err(SettingError::new("intensity range", (low, high), "two ascending finite values"))
    }

    /// The intensity that becomes 0.
    #[must_use]
    pub fn low(&self) -> f64 {
        self.low
    }

    /// The intensity that becomes 1.
    #[must_use]
    pub fn high(&self) -> f64 {
        self.high
    }

    /// An intensity on the scale.
    #[must_use]
    pub fn value(&self, intensity: f32) -> f32 {
        ((f64::from(intensity) - self.low) / (self.high - self.low)) as f32
    }

    /// The intensity of a value on the scale, up to the rounding of `f32`.
    #[must_use]
    pub fn inverse(&self, value: f32) -> f32 {
        (self.low + f64::from(value) * (self.high - self.low)) as f32
    }

    /// An array of intensities on the scale; values beyond the ends go beyond [0, 1].
    #[must_use]
    pub fn apply<D: Dimension>(&self, data: &ArrayRef<f32, D>) -> Array<f32, D> {
        data.mapv(|intensity| self.value(intensity))
    }
}

impl TryFrom<(f64, f64)> for LinearScale {
    type Error = SettingError;

    fn try_from((low, high): (f64, f64)) -> Result<Self, SettingError> {
        Self::new(low, high)
    }
}

impl From<LinearScale> for (f64, f64) {
    fn from(scale: LinearScale) -> Self {
        (scale.low, scale.high)
    }
}

/// Scaling by percentiles: the low one becomes 0, and the high one 1 or another value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct RobustScaling {
    /// Percentile that becomes 0, in [0, 100). Default: 1.
    pub low: f64,
    /// Percentile that becomes 1 / `reach`, in (`low`, 100]. Default: 99.
    pub high: f64,
    /// Distance from the low percentile to the intensity that becomes 1, in distances between both percentiles: 0.001
    /// to 1000. Default: 1.
    #[serde(skip_serializing_if = "is_one")]
    pub reach: f64,
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl Default for RobustScaling {
    fn default() -> Self {
        Self { low: 1.0, high: 99.0, reach: 1.0 }
    }
}

impl RobustScaling {
    /// The 1st and the 99th percentile: a hundredth of the voxels at each end, artifacts and
    /// vessels, does not move the scale.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Scaling by the median: the first percentile becomes 0, and the median becomes 1 / 3.2.
    ///
    /// Lesions and the fat of the scalp change the highest percentiles of a head. In nine tenths of 50 FLAIR scans, the
    /// 99th percentile is 2.5 to 4.6 times as far from the first as the median is, and 3.2 times in the middle, so that
    /// it becomes about 1 here. A lesion that is a tenth of a head moves the median by five percentiles at most.
    ///
    /// Use this with a foreground: in an image that is mostly air, the median is a value of the air, and the scale has
    /// no contrast.
    #[must_use]
    pub fn median() -> Self {
        Self { high: 50.0, reach: 3.2, ..Self::default() }
    }

    /// Sets the percentiles.
    #[must_use]
    pub fn percentiles(mut self, low: f64, high: f64) -> Self {
        (self.low, self.high) = (low, high);
        self
    }

    /// Sets the intensity that becomes 1 ([`RobustScaling::reach`](#structfield.reach)).
    #[must_use]
    pub fn reach(mut self, reach: f64) -> Self {
        self.reach = reach;
        self
    }

    /// Returns an error for percentiles that do not ascend within [0, 100], and for a reach out of its range.
    ///
    /// # Errors
    /// For invalid percentiles, or an invalid reach.
    pub fn validate(&self) -> Result<(), SettingError> {
        let ascending = (0.0..=100.0).contains(&self.low) && self.high > self.low && self.high <= 100.0;
        let found = (self.low, self.high);
        require(ascending, "scaling percentiles", found, "two ascending within [0, 100]")?;
        in_range("scaling reach", self.reach, 1e-3..=1e3)
    }

    /// The scale of these values, or of those inside `mask`.
    ///
    /// Percentiles are exact: the `p`-th of `n` sorted values lies at rank `p / 100 * (n - 1)`, and
    /// between ranks on the line between its neighbors. Percentiles outside [0, 100] are clamped.
    ///
    /// # Errors
    /// [`ImageError::EmptyImage`]; [`ImageError::NonFiniteVoxels`], also outside the mask;
    /// [`ImageError::ShapeMismatch`]; [`ImageError::EmptyForeground`] for a mask without elements;
    /// [`ImageError::ConstantImage`] if the two percentiles are equal.
    pub fn fit<D: Dimension>(
        &self,
        data: &ArrayRef<f32, D>,
        mask: Option<&ArrayRef<bool, D>>,
    ) -> Result<LinearScale, ImageError> {
        let (values, count) = masked(data, mask)?;
        let [low, high] = percentiles_of(values.iter(), [self.low, self.high]);
        if self.reach == 1.0 {
            // The sum below would round.
            return scale_of(low, high, count);
        }
        scale_of(low, low + self.reach * (high - low), count)
    }
}

/// Most standard deviations from the mean.
const LARGEST_DEVIATIONS: f64 = 1e6;

/// Scaling by mean and standard deviation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct ZScore {
    /// Standard deviations from the mean that become 0, within a million. Default: -3.
    pub low: f64,
    /// Standard deviations from the mean that become 1, above `low` and within a million. Default: 3.
    pub high: f64,
}

impl Default for ZScore {
    /// Three standard deviations on each side become [0, 1], so that networks see the range that
    /// they see from the other scalings.
    fn default() -> Self {
        Self { low: -3.0, high: 3.0 }
    }
}

impl ZScore {
    /// The plain z-score: mean to 0, mean plus one standard deviation to 1.
    #[must_use]
    pub fn plain() -> Self {
        Self { low: 0.0, high: 1.0 }
    }

    /// Sets the standard deviations from the mean that become 0 and 1.
    #[must_use]
    pub fn deviations(mut self, low: f64, high: f64) -> Self {
        (self.low, self.high) = (low, high);
        self
    }

    /// Returns an error for deviations that do not ascend within a million.
    ///
    /// # Errors
    /// For invalid deviations.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("z-score low", self.low, -LARGEST_DEVIATIONS..=LARGEST_DEVIATIONS)?;
        in_range("z-score high", self.high, -LARGEST_DEVIATIONS..=LARGEST_DEVIATIONS)?;
        // The difference may be 0, or too small to be divided by.
        let expected = "two ascending values";
        require(
            LinearScale::new(self.low, self.high).is_ok(),
            "z-score ends",
            (self.low, self.high),
            expected,
        )
    }

    /// The scale of these values, or of those inside `mask`: mean and population standard
    /// deviation, in two passes of `f64`.
    ///
    /// # Errors
    /// Those of [`RobustScaling::fit`].
    pub fn fit<D: Dimension>(
        &self,
        data: &ArrayRef<f32, D>,
        mask: Option<&ArrayRef<bool, D>>,
    ) -> Result<LinearScale, ImageError> {
        let (_, voxels) = masked(data, mask)?;
        let count = voxels as f64;
        // In row-major order, so that rounding does not depend on how an array lies in memory.
        let mut marks = mask.map(|mask| mask.iter());
        let mut inside = || marks.as_mut().is_none_or(|marks| marks.next().is_some_and(|&inside| inside));
        let mean = data.iter().filter(|_| inside()).map(|&v| f64::from(v)).sum::<f64>() / count;
        let mut marks = mask.map(|mask| mask.iter());
        let mut inside = || marks.as_mut().is_none_or(|marks| marks.next().is_some_and(|&inside| inside));
        let square = data.iter().filter(|_| inside()).map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
        let deviation = (square / count).sqrt();
        // Rounding of the mean of equal values is no contrast.
        let deviation = if deviation <= 1e-12 * mean.abs() { 0.0 } else { deviation };
        scale_of(mean + self.low * deviation, mean + self.high * deviation, voxels)
    }
}

fn scale_of(low: f64, high: f64, voxels: usize) -> Result<LinearScale, ImageError> {
    LinearScale::new(low, high).map_err(|_| ImageError::ConstantImage { value: low, voxels })
}

/// The values inside a mask, or all, and their number; never none.
pub(crate) fn masked<'a, D: Dimension>(
    data: &'a ArrayRef<f32, D>,
    mask: Option<&'a ArrayRef<bool, D>>,
) -> Result<(Values<'a>, usize), ImageError> {
    check_finite(data)?;
    if let Some(mask) = mask {
        check_shape("mask", mask.shape(), data.shape())?;
    }
    let values = Values::new(data, mask);
    let count = values.iter().count();
    if count == 0 { Err(ImageError::EmptyForeground) } else { Ok((values, count)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array3, array};
    use proptest::prelude::*;

    #[test]
    fn only_the_mask_counts() {
        let data = array![1000.0, 2.0, 4.0, 6.0, -1000.0];
        let mask = array![false, true, true, true, false];
        let scale = RobustScaling::new().percentiles(0.0, 100.0).fit(&data, Some(&mask)).unwrap();
        assert_eq!((scale.low(), scale.high()), (2.0, 6.0));
        let score = ZScore::plain().fit(&data, Some(&mask)).unwrap();
        assert_eq!(score.value(4.0), 0.0);
        assert!((score.value(6.0) - 1.5_f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn the_median_ignores_the_brightest_values() {
        let head = Array1::from_shape_fn(1001, |i| 100.0 + i as f32);
        let lesion = head.mapv(|v| if v > 800.0 { 3.0 * v } else { v });
        let scale = RobustScaling::median().fit(&head, None).unwrap();
        assert_eq!(scale, RobustScaling::median().fit(&lesion, None).unwrap());
        // The first percentile is 110, the median 600.
        assert_eq!(scale.value(110.0), 0.0);
        assert!((scale.value(600.0) - 1.0 / 3.2).abs() < 1e-6);
        assert!((scale.high() - (110.0 + 3.2 * 490.0)).abs() < 1e-9);
        // Where most of an image is air, its median is air: leave it out by a mask.
        let air = Array1::from_shape_fn(1001, |i| if i < 600 { 0.0 } else { i as f32 });
        let error = RobustScaling::median().fit(&air, None).unwrap_err();
        assert_eq!(error, ImageError::ConstantImage { value: 0.0, voxels: 1001 });
        let head = air.mapv(|v| v > 0.0);
        assert!(RobustScaling::median().fit(&air, Some(&head)).is_ok());
        for reach in [0.0, f64::NAN, -1.0, 1e4] {
            let error = RobustScaling::new().reach(reach).validate().unwrap_err();
            assert!(error.to_string().contains("reach"), "{error}");
        }
        let old: RobustScaling = serde_json::from_str(r#"{"low":2.0,"high":98.0}"#).unwrap();
        assert_eq!(old, RobustScaling::new().percentiles(2.0, 98.0));
        assert_eq!(serde_json::to_string(&old).unwrap(), r#"{"low":2.0,"high":98.0}"#);
    }

    #[test]
    fn hostile_values_have_names() {
        let robust = RobustScaling::new();
        let data = Array3::from_elem((2, 3, 4), 7.0);
        let none = Array3::from_elem((2, 3, 4), false);
        assert_eq!(robust.fit(&data, None), Err(ImageError::ConstantImage { value: 7.0, voxels: 24 }));
        assert_eq!(
            ZScore::default().fit(&data, None),
            Err(ImageError::ConstantImage { value: 7.0, voxels: 24 })
        );
        assert_eq!(robust.fit(&data, Some(&none)), Err(ImageError::EmptyForeground));
        assert_eq!(
            robust.fit(&Array3::zeros((0, 3, 4)), None),
            Err(ImageError::EmptyImage { shape: vec![0, 3, 4] })
        );
        let mut nan = data.clone();
        nan[[0, 0, 0]] = f32::INFINITY;
        nan[[1, 2, 3]] = f32::NAN;
        assert_eq!(
            robust.fit(&nan, Some(&none)),
            Err(ImageError::NonFiniteVoxels { count: 2, first: vec![0, 0, 0] })
        );
        let other = Array3::from_elem((2, 3, 5), true);
        assert!(matches!(robust.fit(&data, Some(&other)), Err(ImageError::ShapeMismatch { .. })));
        // Rounding is no contrast: the mean of many 0.1 is not exactly 0.1.
        let tenth = Array1::from_elem(12_345, 0.1);
        assert!(matches!(ZScore::default().fit(&tenth, None), Err(ImageError::ConstantImage { .. })));
        assert!(matches!(robust.fit(&array![5.0], None), Err(ImageError::ConstantImage { voxels: 1, .. })));
    }

    #[test]
    fn sums_of_many_large_values_stay_exact() {
        // In f32 the mean of these would be off by whole units.
        let data = Array1::from_shape_fn(1 << 20, |i| 1.0e6 + (i % 2) as f32);
        let scale = ZScore::plain().fit(&data, None).unwrap();
        assert!((scale.low() - 1_000_000.5).abs() < 1e-6);
        assert!((scale.high() - scale.low() - 0.5).abs() < 1e-6);
    }

    #[test]
    fn configurations_are_checked() {
        assert!(RobustScaling::new().percentiles(50.0, 50.0).validate().is_err());
        assert!(RobustScaling::new().percentiles(f64::NAN, 50.0).validate().is_err());
        assert!(RobustScaling::new().percentiles(0.0, 101.0).validate().is_err());
        assert!(ZScore::default().deviations(1.0, -1.0).validate().is_err());
        assert!(LinearScale::new(0.0, f64::INFINITY).is_err());
        assert!(serde_json::from_str::<LinearScale>("[3.0, 2.0]").is_err());
        let scale = LinearScale::new(-2.5, 17.0).unwrap();
        let json = serde_json::to_string(&scale).unwrap();
        assert_eq!(serde_json::from_str::<LinearScale>(&json).unwrap(), scale);
    }

    proptest! {
        #[test]
        fn the_inverse_undoes_the_scale(values in prop::collection::vec(-1.0e6_f32..1.0e6, 3..50)) {
            let data = Array1::from(values);
            if let Ok(scale) = RobustScaling::new().fit(&data, None) {
                let range = (scale.high() - scale.low()).max(1.0);
                let restored = scale.apply(&data).mapv(|scaled| scale.inverse(scaled));
                for (&value, back) in data.iter().zip(restored) {
                    let tolerance = 1e-6 * (range + f64::from(value).abs() + scale.low().abs());
                    prop_assert!((f64::from(value) - f64::from(back)).abs() <= tolerance, "{value} {back}");
                }
            }
        }
    }
}
