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
        let mut values: Vec<f64> = values.flatten().collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| match values.len() {
            0 => f64::NAN,
            count => values[((count - 1) as f64 * share).round() as usize],
        };
        Self { estimate, lower: at(0.025), upper: at(0.975) }
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
