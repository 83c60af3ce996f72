//! Selective prediction: prediction of failures, and risk after the rejection of uncertain samples.

use lesio_settings::require;
use ndarray::ArrayView1;
use serde::Serialize;

use crate::correlation::{average_ranks, compare};
use crate::error::{MetricError, all_finite, same_length};
use crate::sum::{Sum, mean};

/// AUROC of a predicted quality for the detection of failures: the probability that a failed sample is
/// predicted lower than one that did not fail, ties counting half. A sample failed when its true quality is `< bound`.
///
/// `truth` and `predicted` are slices, or arrays or views of one axis, of one length.
///
/// # Errors
/// [`MetricError::Length`], [`MetricError::NotFinite`], [`MetricError::Parameter`] for a bound that is not a number, or
/// [`MetricError::OneClass`] when all failed (counted as positives), none did, or there is no sample.
///
/// ```
/// let truth = [0.9, 0.8, 0.6, 0.2];
/// let predicted = [0.9, 0.5, 0.6, 0.3];
/// assert_eq!(lesio_metrics::failure_auroc(&truth, &predicted, 0.7)?, 0.75);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn failure_auroc<'t, 'p>(
    truth: impl Into<ArrayView1<'t, f64>>,
    predicted: impl Into<ArrayView1<'p, f64>>,
    bound: f64,
) -> Result<f64, MetricError> {
    let (truth, predicted) = (truth.into(), predicted.into());
    same_length("predictions", truth.len(), predicted.len())?;
    all_finite("truth", truth)?;
    all_finite("predictions", predicted)?;
    require(!bound.is_nan(), "bound", bound, "a number")?;
    let failures = truth.iter().filter(|t| **t < bound).count();
    let others = truth.len() - failures;
    if failures == 0 || others == 0 {
        return Err(MetricError::OneClass { positives: failures as u64, negatives: others as u64 });
    }
    // Mann-Whitney: ranks are multiples of one half, so their sum is exact.
    let ranks = average_ranks(predicted);
    let sum: f64 = ranks.iter().zip(truth).filter(|(_, t)| **t >= bound).map(|(rank, _)| rank).sum();
    let others = others as f64;
    Ok((sum - 0.5 * others * (others + 1.0)) / (others * failures as f64))
}

/// Mean loss of the samples kept, over the fraction kept, when the least confident are rejected.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RiskCoverage {
    /// Fraction of samples kept: 1/n, 2/n, ..., 1, the most confident first.
    pub coverage: Vec<f64>,
    /// Mean loss of those kept. Samples of equal confidence are taken in random order, in expectation.
    pub risk: Vec<f64>,
    /// Area under the curve: the mean of `risk`. Lower is better.
    pub area: f64,
    /// The least area that any confidence could reach on these losses, that of a confidence that orders them.
    pub ideal_area: f64,
}

impl RiskCoverage {
    /// The curve of `losses` (such as the absolute error of a predicted Dice), rejected in the order of rising
    /// `confidence`: slices, or arrays or views of one axis, of one length.
    ///
    /// # Errors
    /// [`MetricError::Length`], [`MetricError::NotFinite`], or [`MetricError::Empty`] without samples.
    pub fn new<'l, 'c>(
        losses: impl Into<ArrayView1<'l, f64>>,
        confidence: impl Into<ArrayView1<'c, f64>>,
    ) -> Result<Self, MetricError> {
        let (losses, confidence) = (losses.into(), confidence.into());
        same_length("confidence", losses.len(), confidence.len())?;
        all_finite("losses", losses)?;
        all_finite("confidence", confidence)?;
        let mut order: Vec<usize> = (0..losses.len()).collect();
        order.sort_by(|&a, &b| compare(confidence[b], confidence[a]));
        let mut expected = Vec::with_capacity(losses.len());
        for tied in order.chunk_by(|&a, &b| confidence[a] == confidence[b]) {
            let mut of_tied: Vec<f64> = tied.iter().map(|&index| losses[index]).collect();
            of_tied.sort_by(f64::total_cmp);
            let loss = mean(of_tied.into_iter()).unwrap_or_default();
            expected.extend(std::iter::repeat_n(loss, tied.len()));
        }
        let mut ascending = losses.to_vec();
        ascending.sort_by(f64::total_cmp);

        let risk = running_means(&expected);
        let area_of = |risk: &[f64]| mean(risk.iter().copied()).ok_or(MetricError::Empty { what: "samples" });
        Ok(Self {
            coverage: (1..=losses.len()).map(|kept| kept as f64 / losses.len() as f64).collect(),
            area: area_of(&risk)?,
            ideal_area: area_of(&running_means(&ascending))?,
            risk,
        })
    }
}

fn running_means(values: &[f64]) -> Vec<f64> {
    let mut sum = Sum::default();
    let mean = |(index, value): (usize, &f64)| {
        sum.add(*value);
        sum.value() / (index + 1) as f64
    };
    values.iter().enumerate().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_curve_by_hand() {
        let curve = RiskCoverage::new(&[0.4, 0.0, 0.2, 0.2], &[0.1, 0.9, 0.5, 0.5]).unwrap();
        assert_eq!(curve.coverage, [0.25, 0.5, 0.75, 1.0]);
        let expected = [0.0, 0.1, 0.4 / 3.0, 0.2];
        assert!(curve.risk.iter().zip(expected).all(|(r, e)| (r - e).abs() < 1e-12));
        assert!(curve.area - curve.ideal_area < 1e-12);
        let worst = RiskCoverage::new(&[0.4, 0.0, 0.2, 0.2], &[0.9, 0.1, 0.5, 0.5]).unwrap();
        assert!(worst.area - worst.ideal_area > 0.1);
        // A confidence that tells nothing keeps the mean loss throughout.
        let flat = RiskCoverage::new(&[0.4, 0.0, 0.2, 0.2], &[0.5; 4]).unwrap();
        assert!(flat.risk.iter().all(|r| (r - 0.2).abs() < 1e-12));
        assert!(matches!(RiskCoverage::new(&[], &[]), Err(MetricError::Empty { .. })));
    }

    #[test]
    fn failures_need_both_kinds() {
        let none = failure_auroc(&[0.9, 0.8], &[0.5, 0.6], 0.7);
        assert_eq!(none, Err(MetricError::OneClass { positives: 0, negatives: 2 }));
        // Exactly at the bound is no failure.
        assert_eq!(failure_auroc(&[0.7, 0.6], &[0.5, 0.4], 0.7), Ok(1.0));
    }

    proptest! {
        #[test]
        fn failure_auroc_is_that_of_all_pairs(
            samples in prop::collection::vec((0u8..10, 0u8..10), 2..40)
        ) {
            let (truth, predicted): (Vec<f64>, Vec<f64>) =
                samples.iter().map(|s| (f64::from(s.0), f64::from(s.1))).unzip();
            let (mut wins, mut pairs) = (0.0, 0.0);
            for i in 0..truth.len() {
                for j in 0..truth.len() {
                    if truth[i] < 5.0 && truth[j] >= 5.0 {
                        pairs += 1.0;
                        wins += if predicted[i] < predicted[j] { 1.0 } else { 0.0 };
                        wins += if predicted[i] == predicted[j] { 0.5 } else { 0.0 };
                    }
                }
            }
            match failure_auroc(&truth, &predicted, 5.0) {
                Ok(auroc) => prop_assert!((auroc - wins / pairs).abs() < 1e-12),
                Err(_) => prop_assert_eq!(pairs, 0.0),
            }
        }
    }
}
