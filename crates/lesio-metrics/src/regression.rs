//! Scores of predicted quantities, such as a predicted Dice.

use lesio_settings::require;
use ndarray::ArrayView1;
use serde::Serialize;

use crate::correlation::{kendall_tau_b, pearson_of, spearman};
use crate::error::{MetricError, all_finite, same_length};
use crate::sum::{Sum, mean};

/// Scores of the prediction of a quantity.
///
/// ```
/// use lesio_metrics::RegressionScores;
///
/// let scores = RegressionScores::new(&[0.9, 0.8, 0.1], &[0.8, 0.8, 0.3])?;
/// assert!((scores.mean_absolute_error - 0.1).abs() < 1e-12);
/// assert_eq!(scores.spearman, Some(0.8660254037844387));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RegressionScores {
    /// Number of samples.
    pub samples: usize,
    /// Mean of |predicted - true|.
    pub mean_absolute_error: f64,
    /// Standard deviation of |predicted - true| over the samples (n - 1 in the denominator); `None` for one sample.
    pub absolute_error_deviation: Option<f64>,
    /// Mean of predicted - true: positive when quality is overrated.
    pub bias: f64,
    /// Square root of the mean of (predicted - true)^2.
    pub root_mean_square_error: f64,
    /// Coefficient of determination, 1 - sum (predicted - true)^2 / sum (true - mean true)^2: 1 at best, 0 for the
    /// mean, below 0 for worse. `None` when all true values are equal.
    pub r_squared: Option<f64>,
    /// Pearson's correlation; `None` when either series is constant.
    pub pearson: Option<f64>,
    /// Spearman's rank correlation; `None` when either series is constant.
    pub spearman: Option<f64>,
    /// Kendall's tau-b; `None` when either series is constant.
    pub kendall_tau_b: Option<f64>,
}

impl RegressionScores {
    /// Compares predictions with the truth, sample by sample: slices, or arrays or views of one axis, of one length.
    ///
    /// # Errors
    /// [`MetricError::Length`], [`MetricError::NotFinite`], or [`MetricError::Empty`] without samples.
    pub fn new<'t, 'p>(
        truth: impl Into<ArrayView1<'t, f64>>,
        predicted: impl Into<ArrayView1<'p, f64>>,
    ) -> Result<Self, MetricError> {
        let (truth, predicted) = (truth.into(), predicted.into());
        same_length("predictions", truth.len(), predicted.len())?;
        all_finite("truth", truth)?;
        all_finite("predictions", predicted)?;
        let none = MetricError::Empty { what: "samples" };
        let errors: Vec<f64> = truth.iter().zip(predicted).map(|(t, p)| p - t).collect();
        let mean_absolute_error = mean(errors.iter().map(|e| e.abs())).ok_or(none.clone())?;
        let mean_square_error = mean(errors.iter().map(|e| e * e)).ok_or(none.clone())?;
        let bias = mean(errors.iter().copied()).ok_or(none.clone())?;
        let mean_truth = mean(truth.iter().copied()).ok_or(none)?;

        let samples = truth.len();
        let spread: Sum = errors.iter().map(|e| (e.abs() - mean_absolute_error).powi(2)).collect();
        let variation = truth.iter().map(|t| (t - mean_truth).powi(2)).collect::<Sum>().value();
        let is_constant = truth.iter().all(|t| *t == truth[0]);
        Ok(Self {
            samples,
            mean_absolute_error,
            absolute_error_deviation: (samples > 1).then(|| (spread.value() / (samples - 1) as f64).sqrt()),
            bias,
            root_mean_square_error: mean_square_error.sqrt(),
            r_squared: (!is_constant).then(|| 1.0 - mean_square_error * samples as f64 / variation),
            pearson: pearson_of(truth, predicted),
            spearman: spearman(truth, predicted)?,
            kendall_tau_b: kendall_tau_b(truth, predicted)?,
        })
    }
}

/// Scores of the samples whose true value lies in one bin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BinScores {
    /// Lowest true value of the bin.
    pub lower: f64,
    /// Upper end, which belongs to the next bin, except that of the last.
    pub upper: f64,
    /// Scores of its samples; `None` of none.
    pub scores: Option<RegressionScores>,
}

/// Scores by ranges of the true value, so that few bad segmentations among many good ones are not hidden in a mean.
///
/// `edges` are the ascending ends of the bins, one more than bins; true values outside all of them are left out.
///
/// # Errors
/// As for [`RegressionScores::new`], without samples as well; [`MetricError::Parameter`] unless there are two edges or
/// more, finite and ascending.
pub fn regression_by_true_value<'t, 'p>(
    truth: impl Into<ArrayView1<'t, f64>>,
    predicted: impl Into<ArrayView1<'p, f64>>,
    edges: &[f64],
) -> Result<Vec<BinScores>, MetricError> {
    let (truth, predicted) = (truth.into(), predicted.into());
    same_length("predictions", truth.len(), predicted.len())?;
    all_finite("truth", truth)?;
    all_finite("predictions", predicted)?;
    all_finite("bin edges", edges)?;
    require(edges.len() >= 2, "number of bin edges", edges.len(), "2 or more")?;
    for pair in edges.windows(2) {
        require(pair[0] < pair[1], "bin edge", pair[1], "greater than the edge before it")?;
    }
    let last = edges.len() - 2;
    edges
        .windows(2)
        .enumerate()
        .map(|(bin, ends)| {
            let (lower, upper) = (ends[0], ends[1]);
            let within = |value: f64| value >= lower && (value < upper || bin == last && value == upper);
            let (truth, predicted): (Vec<f64>, Vec<f64>) =
                truth.iter().zip(predicted).filter(|(t, _)| within(**t)).unzip();
            let scores = match truth.is_empty() {
                true => None,
                false => Some(RegressionScores::new(&truth, &predicted)?),
            };
            Ok(BinScores { lower, upper, scores })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_share_no_sample_and_lose_none_within() {
        let truth = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5];
        let predicted = [0.1; 6];
        let bins = regression_by_true_value(&truth, &predicted, &[0.0, 0.5, 0.5 + 1e-9, 1.0]).unwrap();
        let samples: Vec<_> = bins.iter().map(|b| b.scores.map(|s| s.samples)).collect();
        assert_eq!(samples, [Some(2), Some(1), Some(2)]);
        let empty = regression_by_true_value(&[0.9], &[0.1], &[0.0, 0.5, 1.0]).unwrap();
        assert_eq!(empty[0].scores, None);
    }

    #[test]
    fn undefined_scores_are_none_not_numbers() {
        let one = RegressionScores::new(&[0.5], &[0.75]).unwrap();
        assert_eq!((one.mean_absolute_error, one.bias, one.root_mean_square_error), (0.25, 0.25, 0.25));
        assert_eq!(one.absolute_error_deviation, None);
        assert_eq!((one.r_squared, one.pearson, one.spearman, one.kendall_tau_b), (None, None, None, None));
        // Constant predictions of a varied truth: the mean has an R squared of 0.
        let flat = RegressionScores::new(&[0.0, 1.0], &[0.5, 0.5]).unwrap();
        assert_eq!((flat.r_squared, flat.pearson), (Some(0.0), None));
        assert_eq!(flat.absolute_error_deviation, Some(0.0));
    }

    #[test]
    fn refuses_what_it_cannot_score() {
        assert_eq!(RegressionScores::new(&[], &[]), Err(MetricError::Empty { what: "samples" }));
        assert!(matches!(RegressionScores::new(&[1.0], &[]), Err(MetricError::Length { .. })));
        assert_eq!(
            RegressionScores::new(&[1.0, 2.0, 3.0], &[0.0, f64::NAN, f64::INFINITY]),
            Err(MetricError::NotFinite { what: "predictions", count: 2, first: 1 })
        );
        for edges in [&[0.0][..], &[0.0, 0.0], &[0.0, 1.0, 0.5]] {
            let bins = regression_by_true_value(&[0.5], &[0.5], edges);
            assert!(matches!(bins, Err(MetricError::Parameter { .. })), "{edges:?}");
        }
    }
}
