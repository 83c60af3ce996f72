//! A fixed range of displayed values.

use serde::{Deserialize, Serialize};

/// The range of values that a color map, a gray image or an axis of color shows.
///
/// The caller always chooses it; it never depends on the displayed picture, since two maps can be compared by eye only
/// if equal colors mean equal scores. Values outside are shown as the nearest end.
///
/// ```
/// let scale = lesio_report::Scale::new(0.0, 4.0)?;
/// assert_eq!(scale.position(1.0), Some(0.25));
/// assert_eq!(scale.position(9.0), Some(1.0));
/// assert_eq!(scale.position(f64::NAN), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[f64; 2]", into = "[f64; 2]")]
pub struct Scale {
    low: f64,
    high: f64,
}

/// The error for two numbers that do not form a range.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("scale from {low} to {high}, expected two finite numbers, the first below the second")]
pub struct ScaleError {
    /// The lower end given.
    pub low: f64,
    /// The upper end given.
    pub high: f64,
}

impl Scale {
    /// The range from `low` to `high`, both shown.
    ///
    /// # Errors
    /// For ends that are not finite, `low >= high`, and ends so far apart that their difference
    /// is infinite.
    pub fn new(low: f64, high: f64) -> Result<Self, ScaleError> {
        if low < high && (high - low).is_finite() {
            Ok(Self { low, high })
        } else {
            Err(ScaleError { low, high })
        }
    }

    /// The value shown as the first color.
    #[must_use]
    pub fn low(&self) -> f64 {
        self.low
    }

    /// The value shown as the last color.
    #[must_use]
    pub fn high(&self) -> f64 {
        self.high
    }

    /// The position of a value, from 0 at the lower end to 1 at the upper, clamped; `None` for NaN and the infinities.
    #[must_use]
    pub fn position(&self, value: f64) -> Option<f64> {
        value.is_finite().then(|| ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0))
    }
}

impl TryFrom<[f64; 2]> for Scale {
    type Error = ScaleError;

    fn try_from([low, high]: [f64; 2]) -> Result<Self, ScaleError> {
        Self::new(low, high)
    }
}

impl From<Scale> for [f64; 2] {
    fn from(scale: Scale) -> Self {
        [scale.low, scale.high]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_range() {
        for (low, high) in
            [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (f64::MIN, f64::MAX)]
        {
            assert!(Scale::new(low, high).is_err(), "{low} {high}");
        }
    }

    #[test]
    fn clamps_and_marks_what_is_not_finite() {
        let scale = Scale::new(-1.0, 1.0).unwrap();
        assert_eq!(scale.position(-5.0), Some(0.0));
        assert_eq!(scale.position(0.0), Some(0.5));
        assert_eq!(scale.position(5.0), Some(1.0));
        assert_eq!(scale.position(f64::INFINITY), None);
        assert_eq!(scale.position(f64::NEG_INFINITY), None);
    }
}
