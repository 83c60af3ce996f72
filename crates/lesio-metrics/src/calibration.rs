//! Calibration of stated uncertainty.

use std::borrow::Borrow;

use lesio_settings::{in_range, require};
use ndarray::ArrayView1;
use serde::Serialize;

use crate::correlation::compare;
use crate::error::{MetricError, all_finite, no_nan, same_length};
use crate::sum::{mean, quantile};

/// Coverage and width of prediction intervals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IntervalScores {
    /// Number of samples.
    pub samples: usize,
    /// Fraction of the samples whose true value lies in its interval, ends included.
    pub coverage: f64,
    /// Mean width; infinite when any interval is.
    pub mean_width: f64,
    /// Median width.
    pub median_width: f64,
}

impl IntervalScores {
    /// Scores intervals `[lower, upper]`; either end may be infinite. All three are slices, or arrays or views of one axis,
    /// of one length.
    ///
    /// # Errors
    /// [`MetricError::Length`], [`MetricError::NotFinite`] (truth), [`MetricError::NotANumber`] (ends),
    /// [`MetricError::Parameter`] with the width of the first interval that ends before it begins, or
    /// [`MetricError::Empty`] without intervals.
    pub fn new<'t, 'l, 'u>(
        truth: impl Into<ArrayView1<'t, f64>>,
        lower: impl Into<ArrayView1<'l, f64>>,
        upper: impl Into<ArrayView1<'u, f64>>,
    ) -> Result<Self, MetricError> {
        let (truth, lower, upper) = (truth.into(), lower.into(), upper.into());
        same_length("lower ends", truth.len(), lower.len())?;
        same_length("upper ends", truth.len(), upper.len())?;
        all_finite("truth", truth)?;
        no_nan("lower ends", lower)?;
        no_nan("upper ends", upper)?;
        for (lower, upper) in lower.iter().zip(upper) {
            require(lower <= upper, "interval width", upper - lower, "0 or more")?;
        }
        let none = MetricError::Empty { what: "intervals" };
        // Both ends may be one infinity.
        let width = |(lower, upper): (&f64, &f64)| if lower == upper { 0.0 } else { upper - lower };
        let mut widths: Vec<f64> = lower.iter().zip(upper).map(width).collect();
        widths.sort_by(f64::total_cmp);
        let mean_width = match widths.last() {
            Some(&f64::INFINITY) => f64::INFINITY,
            _ => mean(widths.iter().copied()).ok_or(none.clone())?,
        };
        let held = truth.iter().zip(lower).zip(upper).filter(|((t, l), u)| l <= t && t <= u).count();
        Ok(Self {
            samples: truth.len(),
            coverage: held as f64 / truth.len() as f64,
            mean_width,
            median_width: quantile(&widths, 0.5).ok_or(none)?,
        })
    }
}

/// The deviation of p-values of normal data from the uniform distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Uniformity {
    /// Number of p-values.
    pub samples: usize,
    /// Kolmogorov-Smirnov distance: the largest difference between their distribution function and the uniform one.
    /// In (0, 1]; about .83 / sqrt(n) in the median for n independent values that are uniform, if n is large.
    pub distance: f64,
    /// The largest excess of their distribution function over the uniform one: how much more often than stated a false
    /// alarm comes, at the worst level. In [0, 1].
    pub excess: f64,
}

impl Uniformity {
    /// Compares p-values in [0, 1] with the uniform distribution: a slice, an array or a view of any number of axes, or an
    /// iterator.
    ///
    /// # Errors
    /// [`MetricError::NotFinite`] with the count and the first index, in the order in which they come;
    /// [`MetricError::Parameter`] for a value outside [0, 1], or [`MetricError::Empty`] without values.
    pub fn new<P: Borrow<f64>>(p_values: impl IntoIterator<Item = P>) -> Result<Self, MetricError> {
        let mut sorted: Vec<f64> = p_values.into_iter().map(|p| *p.borrow()).collect();
        all_finite("p-values", &sorted)?;
        sorted.iter().try_for_each(|&p| in_range("p-value", p, 0.0..=1.0))?;
        if sorted.is_empty() {
            return Err(MetricError::Empty { what: "p-values" });
        }
        sorted.sort_by(|a, b| compare(*a, *b));
        let n = sorted.len() as f64;
        let (mut excess, mut lack) = (0f64, 0f64);
        for (rank, p) in sorted.iter().enumerate() {
            // The empirical distribution function jumps from rank / n to (rank + 1) / n here.
            excess = excess.max((rank + 1) as f64 / n - p);
            lack = lack.max(p - rank as f64 / n);
        }
        Ok(Self { samples: sorted.len(), distance: excess.max(lack), excess })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_by_hand() {
        let scores = IntervalScores::new(&[0.5, 0.9, 0.2], &[0.4, 0.2, 0.2], &[0.6, 0.8, 0.2]).unwrap();
        assert_eq!(scores.coverage, 2.0 / 3.0);
        assert!((scores.mean_width - 0.8 / 3.0).abs() < 1e-12);
        assert!((scores.median_width - 0.2).abs() < 1e-12);
        let open = IntervalScores::new(&[0.5], &[f64::NEG_INFINITY], &[f64::INFINITY]).unwrap();
        assert_eq!((open.coverage, open.mean_width), (1.0, f64::INFINITY));
        assert!(matches!(IntervalScores::new(&[0.5], &[0.6], &[0.4]), Err(MetricError::Parameter { .. })));
        assert!(matches!(
            IntervalScores::new(&[0.5], &[f64::NAN], &[0.4]),
            Err(MetricError::NotANumber { .. })
        ));
        assert!(matches!(IntervalScores::new(&[], &[], &[]), Err(MetricError::Empty { .. })));
    }

    #[test]
    fn distances_from_uniform_by_hand() {
        // Midpoints are as uniform as n values can be: half a step away everywhere.
        let even: Vec<f64> = (0..10).map(|i| (f64::from(i) + 0.5) / 10.0).collect();
        let scores = Uniformity::new(&even).unwrap();
        assert!((scores.distance - 0.05).abs() < 1e-12);
        let small = Uniformity::new([0.1, 0.1, 0.1, 0.1]).unwrap();
        assert_eq!((small.distance, small.excess), (0.9, 0.9));
        let large = Uniformity::new([0.9, 1.0]).unwrap();
        assert_eq!((large.distance, large.excess), (0.9, 0.0));
        assert!(matches!(Uniformity::new([1.1]), Err(MetricError::Parameter { .. })));
        assert!(matches!(Uniformity::new([0f64; 0]), Err(MetricError::Empty { .. })));
    }
}
