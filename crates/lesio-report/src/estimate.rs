//! A number with its interval.

use crate::number::fixed;

/// A value with an interval, such as the 95 % bootstrap interval of a metric.
///
/// A value that is not finite is undefined (such as an average precision without positive pixels): it is shown as a
/// dash and never as the best.
///
/// ```
/// use lesio_report::Estimate;
///
/// assert_eq!(Estimate::new(0.5124).with_interval(0.466, 0.551).text(3), "0.512 [0.47, 0.55]");
/// assert_eq!(Estimate::new(0.5124).text(3), "0.512");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Lower and upper end of its interval, if it has one.
    pub interval: Option<[f64; 2]>,
}

impl Estimate {
    /// A value without an interval.
    #[must_use]
    pub fn new(value: f64) -> Self {
        Self { value, interval: None }
    }

    /// Sets the interval; ends that are not finite mean that there is none.
    #[must_use]
    pub fn with_interval(mut self, low: f64, high: f64) -> Self {
        self.interval = (low.is_finite() && high.is_finite()).then_some([low, high]);
        self
    }

    /// The value with its decimals and the interval with one decimal less, such as "0.512 [0.47, 0.55]". The interval has
    /// as many as the value if it would otherwise not contain the value, have no width, or if an end would round to 0:
    /// whether an interval contains 0 must be readable.
    #[must_use]
    pub fn text(&self, decimals: usize) -> String {
        match self.interval_text(decimals) {
            Some(interval) => format!("{} {interval}", fixed(self.value, decimals)),
            None => fixed(self.value, decimals),
        }
    }

    /// The interval alone; `None` if there is none or the value is undefined.
    pub(crate) fn interval_text(&self, decimals: usize) -> Option<String> {
        let [low, high] = self.interval.filter(|_| self.value.is_finite())?;
        let less = decimals.saturating_sub(1);
        let rounded = |value: f64, decimals: usize| {
            let scale = 10f64.powi(i32::try_from(decimals).unwrap_or(i32::MAX));
            (value * scale).round() / scale
        };
        let is_readable = |end: f64| (rounded(end, less) == 0.0) == (end == 0.0);
        let contains = rounded(low, less) <= rounded(self.value, decimals)
            && rounded(self.value, decimals) <= rounded(high, less);
        let has_width = low == high || rounded(low, less) < rounded(high, less);
        let is_enough = contains && has_width && is_readable(low) && is_readable(high);
        let decimals = if is_enough { less } else { decimals };
        Some(format!("[{}, {}]", fixed(low, decimals), fixed(high, decimals)))
    }
}

impl From<f64> for Estimate {
    fn from(value: f64) -> Self {
        Self::new(value)
    }
}

/// `None` is undefined, as NaN is.
impl From<Option<f64>> for Estimate {
    fn from(value: Option<f64>) -> Self {
        Self::new(value.unwrap_or(f64::NAN))
    }
}

impl From<lesio_metrics::Interval> for Estimate {
    fn from(measured: lesio_metrics::Interval) -> Self {
        Self::new(measured.estimate).with_interval(measured.lower, measured.upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undefined_is_a_dash() {
        assert_eq!(Estimate::new(f64::NAN).with_interval(0.1, 0.2).text(3), "\u{2013}");
        assert_eq!(Estimate::from(None).text(1), "\u{2013}");
        assert_eq!(Estimate::new(1.0).with_interval(f64::NAN, 2.0).text(2), "1.00");
        assert_eq!(Estimate::new(0.083).with_interval(0.001, 0.0834).text(3), "0.083 [0.001, 0.083]");
        assert_eq!(
            Estimate::new(-0.001).with_interval(-0.004, 0.0).text(3),
            "\u{2212}0.001 [\u{2212}0.004, 0.000]"
        );
        assert_eq!(Estimate::new(0.5).with_interval(0.0, 0.75).text(3), "0.500 [0.00, 0.75]");
        assert_eq!(Estimate::new(0.020).with_interval(0.017, 0.024).text(3), "0.020 [0.017, 0.024]");
        assert_eq!(Estimate::new(1.0).with_interval(1.0, 1.0).text(3), "1.000 [1.00, 1.00]");
        assert_eq!(Estimate::new(12.0).with_interval(10.4, 13.0).text(0), "12 [10, 13]");
    }
}
