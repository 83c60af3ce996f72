//! Evaluation of estimates.

use lesio_metrics::{
    BinScores, Bootstrap, BootstrapConfig, Interval, IntervalScores, MetricError, RegressionScores,
    RiskCoverage, failure_auroc, regression_by_true_value,
};

use crate::samples::{Sample, Samples};

/// A segmentation of a lower Dice has failed.
pub const FAILURE: f64 = 0.7;
/// Ends of the ranges of true Dice by which errors are told apart.
pub const RANGES: [f64; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];

/// Estimates of one Dice each, with the truth.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Scored {
    /// The patient of each sample.
    pub patients: Vec<String>,
    /// True Dice.
    pub truth: Vec<f64>,
    /// Estimated Dice.
    pub predicted: Vec<f64>,
}

impl Scored {
    /// Estimates with their truth, sample by sample.
    #[must_use]
    pub fn new(patients: Vec<String>, truth: Vec<f64>, predicted: Vec<f64>) -> Self {
        Self { patients, truth, predicted }
    }

    /// Estimates of one label, by its position among those graded, with their truth; `dice` is `[n, labels]`.
    #[must_use]
    pub fn of_label(samples: &Samples, dice: &[f32], label: usize) -> Self {
        let labels = samples.get(0).map_or(1, |sample| sample.dice.len());
        let truth = samples.iter().map(|sample| sample.dice.get(label).copied().unwrap_or(f64::NAN));
        let predicted = dice.iter().skip(label).step_by(labels.max(1)).map(|&dice| f64::from(dice));
        Self::new(samples.patients(), truth.collect(), predicted.collect())
    }

    /// Estimates of the mean Dice over the labels, with their truth; `dice` is `[n, labels]`.
    #[must_use]
    pub fn of_mean(samples: &Samples, dice: &[f32]) -> Self {
        let labels = samples.get(0).map_or(1, |sample| sample.dice.len()).max(1);
        let mean = |dice: &[f32]| dice.iter().map(|&dice| f64::from(dice)).sum::<f64>() / labels as f64;
        let truth = samples.iter().map(Sample::mean_dice).collect();
        Self::new(samples.patients(), truth, dice.chunks_exact(labels).map(mean).collect())
    }

    /// All figures of merit.
    ///
    /// # Errors
    /// Lists of different lengths, values that are not finite, or no sample; as [`BootstrapConfig::validate`].
    pub fn evaluate(&self, bootstrap: &BootstrapConfig) -> Result<QualityScores, MetricError> {
        bootstrap.validate()?;
        self.check_lengths()?;
        let errors = self.absolute_errors();
        // Fewer than two patients cannot be resampled; the settings are sound.
        let resampling = Bootstrap::new(&self.patients, *bootstrap).ok();
        let interval = |statistic: &(dyn Fn(&[usize]) -> Option<f64> + Sync)| {
            resampling.as_ref().and_then(|r| r.over_samples(statistic).interval().ok())
        };
        let pearson = |samples: &[usize]| {
            let pick = |values: &[f64]| samples.iter().map(|&k| values[k]).collect::<Vec<_>>();
            lesio_metrics::pearson(&pick(&self.truth), &pick(&self.predicted)).ok().flatten()
        };
        Ok(QualityScores {
            regression: RegressionScores::new(&self.truth, &self.predicted)?,
            by_range: regression_by_true_value(&self.truth, &self.predicted, &RANGES)?,
            failure_auroc: failure_auroc(&self.truth, &self.predicted, FAILURE).ok(),
            mae_interval: interval(&|samples| mean_of(&errors, samples)),
            pearson_interval: interval(&pearson),
        })
    }

    /// The mean absolute error minus that of another estimator on the same samples, with its interval over
    /// resampled patients; below 0 where this one is better. `None` for fewer than two patients.
    ///
    /// # Errors
    /// [`MetricError::NotPaired`] for other samples, lists of different lengths; as [`BootstrapConfig::validate`].
    pub fn mae_difference(
        &self,
        other: &Self,
        bootstrap: &BootstrapConfig,
    ) -> Result<Option<Interval>, MetricError> {
        bootstrap.validate()?;
        self.check_lengths()?;
        other.check_lengths()?;
        if self.patients != other.patients || self.truth != other.truth {
            return Err(MetricError::NotPaired { why: "they are of other samples" });
        }
        let errors = self.absolute_errors();
        let differences: Vec<f64> =
            errors.iter().zip(other.absolute_errors()).map(|(own, other)| own - other).collect();
        // Fewer than two patients cannot be resampled; the settings are sound.
        let resampling = Bootstrap::new(&self.patients, *bootstrap).ok();
        Ok(resampling.and_then(|r| r.over_samples(|samples| mean_of(&differences, samples)).interval().ok()))
    }

    /// Returns an error for lists of different lengths.
    fn check_lengths(&self) -> Result<(), MetricError> {
        let expected = self.truth.len();
        for (what, found) in [("patients", self.patients.len()), ("predictions", self.predicted.len())] {
            if found != expected {
                return Err(MetricError::Length { what, expected, found });
            }
        }
        Ok(())
    }

    /// The coverage of intervals, one for each sample.
    ///
    /// # Errors
    /// Another number of intervals, or none.
    pub fn coverage(&self, intervals: &[[f64; 2]]) -> Result<IntervalScores, MetricError> {
        let (lower, upper): (Vec<f64>, Vec<f64>) = intervals.iter().map(|[low, high]| (*low, *high)).unzip();
        IntervalScores::new(&self.truth, &lower, &upper)
    }

    /// The error of the samples kept when the least certain are rejected.
    ///
    /// # Errors
    /// Another number of certainties, or none.
    pub fn risk_coverage(&self, certainty: &[f64]) -> Result<RiskCoverage, MetricError> {
        RiskCoverage::new(&self.absolute_errors(), certainty)
    }

    fn absolute_errors(&self) -> Vec<f64> {
        self.truth.iter().zip(&self.predicted).map(|(truth, predicted)| (predicted - truth).abs()).collect()
    }
}

/// Figures of merit of estimates.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QualityScores {
    /// Errors and correlations.
    pub regression: RegressionScores,
    /// The same by [`RANGES`] of the true Dice.
    pub by_range: Vec<BinScores>,
    /// How well estimates separate segmentations below [`FAILURE`] from the others; `None` where all or none failed.
    pub failure_auroc: Option<f64>,
    /// Interval of the mean absolute error over resampled patients; `None` for fewer than two.
    pub mae_interval: Option<Interval>,
    /// Interval of Pearson's correlation over resampled patients.
    pub pearson_interval: Option<Interval>,
}

fn mean_of(values: &[f64], samples: &[usize]) -> Option<f64> {
    let sum: f64 = samples.iter().filter_map(|&sample| values.get(sample)).sum();
    (!samples.is_empty()).then(|| sum / samples.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(shift: f64) -> Scored {
        let truth: Vec<f64> = (0..60).map(|k| f64::from(k % 20) / 20.0).collect();
        let predicted = truth.iter().enumerate().map(|(k, t)| t + shift + 0.01 * (k % 3) as f64).collect();
        Scored::new((0..60).map(|k| format!("p{}", k / 6)).collect(), truth, predicted)
    }

    #[test]
    fn figures_by_hand() {
        let evaluation = scored(0.05).evaluate(&BootstrapConfig::new(1).replicates(50)).unwrap();
        assert!((evaluation.regression.mean_absolute_error - 0.06).abs() < 1e-12);
        assert_eq!(evaluation.failure_auroc, Some(1.0));
        assert_eq!(evaluation.by_range.len(), 5);
        let interval = evaluation.mae_interval.unwrap();
        // Each patient errs by .05, .06 and .07 twice: every resampling has the same mean, but for rounding.
        assert!((interval.lower - 0.06).abs() < 1e-12 && (interval.upper - 0.06).abs() < 1e-12);
        assert_eq!(interval.patients, 10);
    }

    #[test]
    fn differences_are_paired() {
        let bootstrap = BootstrapConfig::new(1).replicates(50);
        let difference = scored(0.02).mae_difference(&scored(0.05), &bootstrap).unwrap().unwrap();
        assert!((difference.estimate + 0.03).abs() < 1e-12);
        assert!(difference.excludes(0.0), "the same shift in every patient");
        let mut other = scored(0.0);
        other.patients[0] = "another".into();
        let refused = scored(0.0).mae_difference(&other, &bootstrap);
        assert!(matches!(refused, Err(MetricError::NotPaired { .. })));
    }

    /// Intervals are missing for want of patients, never for settings or lists that cannot be.
    #[test]
    fn lists_of_other_lengths_and_settings_that_cannot_be_are_errors() {
        let bootstrap = BootstrapConfig::new(1).replicates(50);
        for shorten in [
            (|own| own.patients.truncate(3)) as fn(&mut Scored),
            |own| own.patients.push("more".into()),
            |own| own.truth.truncate(3),
            |own| own.predicted.truncate(3),
        ] {
            let mut scored = scored(0.0);
            shorten(&mut scored);
            assert!(matches!(scored.evaluate(&bootstrap), Err(MetricError::Length { .. })));
            assert!(scored.mae_difference(&scored, &bootstrap).is_err());
        }
        for bootstrap in
            [bootstrap.replicates(0), bootstrap.replicates(usize::MAX), bootstrap.level(f64::NAN)]
        {
            let refused = |error| matches!(error, MetricError::Parameter { .. });
            assert!(scored(0.0).evaluate(&bootstrap).is_err_and(refused));
            assert!(scored(0.0).mae_difference(&scored(0.1), &bootstrap).is_err_and(refused));
        }
        let mut one = scored(0.0);
        one.patients.fill("one".into());
        assert_eq!(one.evaluate(&bootstrap).unwrap().mae_interval, None);
    }
}
