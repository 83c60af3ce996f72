//! Estimates with intervals over resampled patients.

use serde::{Deserialize, Serialize};

/// An estimate with its 95 % interval over resampled patients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval95 {
    /// The estimate.
    pub estimate: f64,
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

impl Interval95 {
    pub(crate) fn of(estimate: f64, values: impl Iterator<Item = Option<f64>>) -> Self {
        Self::among(1, estimate, values)
    }

    /// One of several intervals that hold together with a probability of 95 %: each holds with a higher one (Bonferroni).
    pub(crate) fn among(intervals: usize, estimate: f64, values: impl Iterator<Item = Option<f64>>) -> Self {
        let tail = 0.025 / intervals.max(1) as f64;
        let mut values: Vec<f64> = values.flatten().collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| match values.len() {
            0 => f64::NAN,
            count => values[((count - 1) as f64 * share).round() as usize],
        };
        Self { estimate, lower: at(tail), upper: at(1.0 - tail) }
    }

    /// Whether 0 lies outside.
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.lower > 0.0 || self.upper < 0.0
    }
}

impl std::fmt::Display for Interval95 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:+.3} [{:+.3}, {:+.3}]", self.estimate, self.lower, self.upper)
    }
}
