//! Certified estimates: medians over noisy copies of an image, with bounds that no small change of the image exceeds.

use lesio_nn::{EngineError, random};
use lesio_settings::{SettingError, field_defaults, in_range, require, setters};
use serde::{Deserialize, Serialize};

use crate::error::{EstimateError, InputError};
use crate::estimator::Estimator;

/// Noisy copies that are computed at once.
const BATCH: usize = 16;
/// Stream of the noise, apart from those of trainings and attacks.
const NOISE_SEED: u64 = 0x5e00_75ed;
/// Most noisy copies of an image.
const MOST_DRAWS: usize = 1_000_000;

/// The noise of certified estimates (median smoothing: Chiang et al. 2020, "Detection as Regression: Certified Object
/// Detection by Median Smoothing").
///
/// The *smoothed* estimate of an image is the median of an estimator's estimates over normal noise. For any change of the
/// framed image ([`FramedSlice::image`](crate::FramedSlice::image)) with a Euclidean norm of at most a radius, it stays
/// between two other quantiles of the same estimates. A change of the slice counts with what it does to the framed image:
/// beyond the frame, it changes the mean and the deviation that scale it. The median over infinitely many copies is
/// bounded; that over a finite number of a changed image may be beyond the bounds. More noise narrows these bounds for
/// large radii, and makes estimates worse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Smoothing {
    /// Standard deviation of the noise, in deviations of the image; above 0, at most 100.
    pub deviation: f64,
    /// Noisy copies of each image, 1 to a million. Default 256: enough for radii of up to two deviations.
    #[serde(default = "SmoothingDefaults::draws")]
    pub draws: usize,
    /// Probability that both bounds hold, over the noise; above 0, below 1. Default .99.
    #[serde(default = "SmoothingDefaults::confidence")]
    pub confidence: f64,
    /// Seed of the noise. Default 0. An attacker who knows it can mislead a finite number of draws: use a secret one
    /// where attacks are expected.
    #[serde(default = "SmoothingDefaults::seed")]
    pub seed: u64,
}

setters!(Smoothing { draws: usize, confidence: f64, seed: u64 });

field_defaults!(SmoothingDefaults: Smoothing::new(1.0) => { draws: usize, confidence: f64, seed: u64 });

impl Smoothing {
    /// Noise of a standard deviation, in deviations of the image.
    #[must_use]
    pub fn new(deviation: f64) -> Self {
        Self { deviation, draws: 256, confidence: 0.99, seed: 0 }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("deviation", self.deviation, f64::MIN_POSITIVE..=100.0)?;
        in_range("draws", self.draws, 1..=MOST_DRAWS)?;
        let sound = self.confidence > 0.0 && self.confidence < 1.0;
        require(sound, "confidence", self.confidence, "a number between 0 and 1")
    }
}

/// A smoothed estimate of a Dice.
#[derive(Clone, Debug, PartialEq)]
pub struct SmoothedDice {
    /// Estimates of the noisy copies, ascending.
    sorted: Vec<f32>,
    smoothing: Smoothing,
}

impl SmoothedDice {
    /// Of the estimates of noisy copies, in any order. `smoothing` states the noise; its number of draws does not matter
    /// here.
    ///
    /// # Errors
    /// Settings that [`Smoothing::validate`] rejects, no estimate, and estimates that are not finite.
    pub fn new(mut estimates: Vec<f32>, smoothing: Smoothing) -> Result<Self, SettingError> {
        smoothing.validate()?;
        require(!estimates.is_empty(), "estimates", estimates.len(), "at least one")?;
        let finite = estimates.iter().filter(|estimate| estimate.is_finite()).count();
        require(finite == estimates.len(), "finite estimates", finite, format!("all {}", estimates.len()))?;
        estimates.sort_by(f32::total_cmp);
        Ok(Self { sorted: estimates, smoothing })
    }

    /// The estimates of the noisy copies, ascending.
    #[must_use]
    pub fn estimates(&self) -> &[f32] {
        &self.sorted
    }

    /// The median, 0 to 1.
    #[must_use]
    pub fn dice(&self) -> f64 {
        let middle = self.sorted.len() / 2;
        let upper = f64::from(self.sorted[middle]);
        if self.sorted.len() % 2 == 1 { upper } else { (upper + f64::from(self.sorted[middle - 1])) / 2.0 }
    }

    /// Bounds, 0 to 1, of the smoothed estimate for every image whose difference from this one has a Euclidean norm of
    /// at most `radius`, in deviations of the image.
    ///
    /// With the confidence of the [`Smoothing`], both hold. A bound for which there are too few draws is 0 or 1. A
    /// negative radius counts as 0, NaN gives 0 and 1.
    #[must_use]
    pub fn bounds(&self, radius: f64) -> [f64; 2] {
        let draws = self.sorted.len();
        // The noise is normal: a change moves the median at the most to this quantile (Chiang et al., lemma 1).
        let quantile = normal_cdf(radius.max(0.0) / self.smoothing.deviation);
        // Each bound may fail with half of the probability.
        let confidence = 1.0 - (1.0 - self.smoothing.confidence) / 2.0;
        match rank_above(draws, quantile, confidence) {
            Some(rank) if !radius.is_nan() => {
                [f64::from(self.sorted[draws - rank]), f64::from(self.sorted[rank - 1])]
            }
            _ => [0.0, 1.0],
        }
    }
}

/// Smoothed estimates of a segmentation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SmoothedEstimate {
    /// The Dice of each label graded, in their order.
    pub labels: Vec<SmoothedDice>,
    /// The mean Dice over the labels.
    pub mean: SmoothedDice,
}

impl Estimator {
    /// Estimates the Dice of one sample with bounds that no small change of its image exceeds: `image` and
    /// `segmentation` are `[h, w]`, as in [`Estimator::estimate`].
    ///
    /// ```
    /// use lesio_nn::Device;
    /// use lesio_quality::{Estimator, EstimatorConfig, Framing, Method, Smoothing, Widths};
    ///
    /// let framing = Framing::new([1]).grid([16, 16]);
    /// let config = EstimatorConfig::new(Method::Direct, framing).widths(Widths::uniform([8, 8]));
    /// let untrained = config.initial_parameters(1)?;
    /// let estimator = Estimator::new(config, untrained, &Device::Cpu)?;
    /// let smoothed = estimator.smoothed(&[0.5; 256], &[1; 256], &Smoothing::new(0.2))?;
    /// let [low, high] = smoothed.mean.bounds(0.3);
    /// assert!(low <= smoothed.mean.dice() && smoothed.mean.dice() <= high);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Smoothing::validate`], slices that are not one sample, images whose estimates are not finite, and
    /// failures of the device.
    pub fn smoothed(
        &self,
        image: &[f32],
        segmentation: &[u8],
        smoothing: &Smoothing,
    ) -> Result<SmoothedEstimate, EstimateError> {
        smoothing.validate().map_err(InputError::from)?;
        let (pixels, labels) = (self.config().framing.pixels(), self.config().framing.labels.len());
        let values = self.values();
        for (what, found, expected) in
            [("the image", image.len(), values), ("the segmentation", segmentation.len(), pixels)]
        {
            if found != expected {
                return Err(EngineError::Length { what: what.into(), found, expected }.into());
            }
        }
        let mut dice = Vec::with_capacity(smoothing.draws * labels);
        for first in (0..smoothing.draws).step_by(BATCH) {
            let copies = BATCH.min(smoothing.draws - first);
            let mut images = vec![0.0; copies * values];
            for (copy, noisy) in images.chunks_exact_mut(values).enumerate() {
                let number = (first + copy) as u64;
                random::fill_normal(&mut random::generator(smoothing.seed ^ NOISE_SEED, number), noisy);
                for (value, &clean) in noisy.iter_mut().zip(image) {
                    *value = clean + smoothing.deviation as f32 * *value;
                }
            }
            dice.extend(self.estimate(&images, &segmentation.repeat(copies))?.dice);
        }
        let smoothed = |estimates| SmoothedDice::new(estimates, *smoothing).map_err(InputError::from);
        let of_label = |label: usize| smoothed(dice.iter().skip(label).step_by(labels).copied().collect());
        let mean = dice.chunks_exact(labels).map(|own| own.iter().sum::<f32>() / labels as f32);
        Ok(SmoothedEstimate {
            labels: (0..labels).map(of_label).collect::<Result<_, _>>()?,
            mean: smoothed(mean.collect())?,
        })
    }
}

/// The distribution function of the standard normal distribution.
fn normal_cdf(z: f64) -> f64 {
    libm::erfc(-z / std::f64::consts::SQRT_2) / 2.0
}

/// The least rank, from 1, whose draw is at or above a quantile with a probability; `None` where the highest of the
/// draws may be below it.
fn rank_above(draws: usize, quantile: f64, probability: f64) -> Option<usize> {
    if quantile >= 1.0 {
        return None;
    }
    // The draw of a rank is at or above the quantile if fewer draws than that are below: binomial.
    let odds = (quantile / (1.0 - quantile)).ln();
    let mut term = draws as f64 * (1.0 - quantile).ln();
    let mut fewer = 0.0;
    for rank in 1..=draws {
        fewer += term.exp();
        if fewer >= probability {
            return Some(rank);
        }
        term += ((draws - rank + 1) as f64 / rank as f64).ln() + odds;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_scipy() {
        // scipy 1.17.1: binom.ppf(probability, draws, quantile) + 1, None where that is above the number of draws.
        assert_eq!(rank_above(256, 0.5, 0.995), Some(150));
        assert_eq!(rank_above(256, 0.841_344_746, 0.995), Some(231));
        assert_eq!(rank_above(256, 0.977_249_868, 0.995), Some(256));
        assert_eq!(rank_above(256, 0.993_790_335, 0.995), None);
        assert_eq!(rank_above(10_000, 0.999, 0.995), Some(9998));
        assert_eq!(rank_above(1, 0.5, 0.995), None);
        assert_eq!(rank_above(100, 1.0, 0.5), None);
    }

    #[test]
    fn the_normal_distribution_is_that_of_tables() {
        for (z, expected) in [(0.0, 0.5), (1.0, 0.841_344_746), (-1.96, 0.024_997_895), (8.5, 1.0)] {
            assert!((normal_cdf(z) - expected).abs() < 1e-9, "{z}: {}", normal_cdf(z));
        }
    }

    #[test]
    fn bounds_widen_with_the_radius() {
        let estimates: Vec<f32> = (0..400).map(|k| ((k * 7) % 400) as f32 / 400.0).collect();
        let own = SmoothedDice::new(estimates, Smoothing::new(0.5)).unwrap();
        assert_eq!(own.dice(), f64::midpoint(f64::from(199.0f32 / 400.0), 0.5));
        let mut widest = [own.dice(); 2];
        for radius in [0.0, 0.1, 0.5, 0.9] {
            let [low, high] = own.bounds(radius);
            assert!(low < widest[0] && high > widest[1], "{radius}: {low} {high}, {widest:?}");
            widest = [low, high];
        }
        assert_eq!(own.bounds(-1.0), own.bounds(0.0));
        // Too far for so many draws.
        for radius in [1e3, f64::INFINITY, f64::NAN] {
            assert_eq!(own.bounds(radius), [0.0, 1.0]);
        }
        assert_eq!(SmoothedDice::new(vec![0.25, 0.75, 0.5], Smoothing::new(1.0)).unwrap().dice(), 0.5);
    }

    /// For a linear function of the image the smoothed estimate is the function itself, and a change along its gradient
    /// reaches the bound exactly.
    #[test]
    fn bounds_hold_for_a_linear_estimate() {
        let (deviation, slope, radius) = (0.3, 0.1, 0.45);
        let smoothing = Smoothing::new(deviation);
        let mut failed = 0;
        for seed in 0..200 {
            let mut noise = vec![0.0; 1000];
            random::fill_normal(&mut random::generator(seed, 0), &mut noise);
            let estimates = noise.iter().map(|z| 0.5 + (slope * deviation) as f32 * z).collect();
            let [low, high] = SmoothedDice::new(estimates, smoothing).unwrap().bounds(radius);
            failed += usize::from(low > 0.5 - slope * radius || high < 0.5 + slope * radius);
            // Not much wider than necessary.
            assert!(high - low < 2.5 * slope * radius, "{low} {high}");
        }
        // Expected: one in a hundred.
        assert!(failed <= 8, "{failed} of 200");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let named = |smoothing: Smoothing| smoothing.validate().unwrap_err().setting;
        assert_eq!(named(Smoothing::new(0.0)), "deviation");
        assert_eq!(named(Smoothing::new(f64::NAN)), "deviation");
        assert_eq!(named(Smoothing::new(0.5).draws(0)), "draws");
        assert_eq!(named(Smoothing::new(0.5).confidence(1.0)), "confidence");
        let of = |estimates: &[f32]| SmoothedDice::new(estimates.to_vec(), Smoothing::new(0.5));
        assert_eq!(of(&[]).unwrap_err().setting, "estimates");
        // A NaN of either sign would be sorted to one end, and shift the median.
        for odd in [f32::NAN, -f32::NAN, f32::INFINITY] {
            assert_eq!(of(&[0.5, odd, 0.6]).unwrap_err().setting, "finite estimates");
        }
    }
}
