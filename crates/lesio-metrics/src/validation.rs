//! Pixels of the validation set, which choose thresholds.

use std::borrow::Borrow;

use ndarray::{ArrayView, Dimension};

use crate::error::MetricError;
use crate::keys;
use crate::ranking::PixelCurve;
use crate::threshold::{ThresholdRule, ValidationThreshold};

/// Pixels of the validation set.
///
/// ```
/// use lesio_metrics::{PixelCurve, ThresholdRule, ValidationPixels};
///
/// let mut validation = ValidationPixels::new();
/// validation.update(&[0.1, 0.2, 0.6, 0.3], &[false, false, true, true])?;
/// let threshold = validation.choose(ThresholdRule::BestDice)?;
/// assert_eq!(threshold.value(), 0.3);
///
/// let mut test = PixelCurve::new();
/// test.update(&[0.2, 0.4, 0.5], &[false, false, true])?;
/// assert_eq!(test.rank()?.dice_at(&threshold), 2.0 / 3.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ValidationPixels {
    pixels: PixelCurve,
}

impl ValidationPixels {
    /// No pixels yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds pixels, see [`PixelCurve::update`].
    ///
    /// # Errors
    /// Those of the method on [`PixelCurve`](crate::PixelCurve).
    pub fn update<'s, 't, D: Dimension>(
        &mut self,
        scores: impl Into<ArrayView<'s, f32, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
    ) -> Result<(), MetricError> {
        self.pixels.update(scores, truth)
    }

    /// Adds the pixels where `within` holds, see [`PixelCurve::update_within`].
    ///
    /// # Errors
    /// Those of the method on [`PixelCurve`](crate::PixelCurve).
    pub fn update_within<'s, 't, 'w, D: Dimension>(
        &mut self,
        scores: impl Into<ArrayView<'s, f32, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
        within: impl Into<ArrayView<'w, bool, D>>,
    ) -> Result<(), MetricError> {
        self.pixels.update_within(scores, truth, within)
    }

    /// Adds pixels as an iterator hands them on, see [`PixelCurve::update_pixels`].
    ///
    /// # Errors
    /// Those of the method on [`PixelCurve`](crate::PixelCurve).
    pub fn update_pixels(
        &mut self,
        pixels: impl IntoIterator<Item = (f32, bool)>,
    ) -> Result<(), MetricError> {
        self.pixels.update_pixels(pixels)
    }

    /// Adds pixels that are known to be normal: a slice, an array or a view of any number of axes, or an iterator.
    ///
    /// # Errors
    /// [`MetricError::NotANumber`] with the count and the first index, in the order in which they come; nothing is added
    /// then.
    pub fn update_normal<S: Borrow<f32>>(
        &mut self,
        scores: impl IntoIterator<Item = S>,
    ) -> Result<(), MetricError> {
        self.pixels.update_pixels(scores.into_iter().map(|score| (*score.borrow(), false)))
    }

    /// The threshold that the rule chooses from the pixels so far.
    ///
    /// # Errors
    /// [`MetricError::OneClass`] when [`ThresholdRule::BestDice`] misses a class,
    /// [`MetricError::Empty`] when [`ThresholdRule::FalsePositiveRate`] finds no normal pixel, and
    /// [`MetricError::Parameter`] when its rate is outside [0, 1].
    pub fn choose(&self, rule: ThresholdRule) -> Result<ValidationThreshold, MetricError> {
        rule.validate()?;
        let value = match rule {
            ThresholdRule::BestDice => self.pixels.clone().rank()?.ceil_dice().threshold,
            ThresholdRule::FalsePositiveRate(rate) => self.at_false_positive_rate(rate)?,
        };
        Ok(ValidationThreshold::chosen(value, rule))
    }

    /// The average precision of the pixels so far, by which validation data choose among predictors.
    ///
    /// # Errors
    /// [`MetricError::OneClass`] when a class is missing.
    pub fn average_precision(&self) -> Result<f64, MetricError> {
        Ok(self.pixels.clone().rank()?.average_precision())
    }

    fn at_false_positive_rate(&self, rate: f64) -> Result<f32, MetricError> {
        let mut normal = self.pixels.clone().into_keys().negatives;
        keys::sort(&mut normal);
        let lowest = normal.first().ok_or(MetricError::Empty { what: "normal validation pixels" })?;
        // A product such as .29 * 100 may lie just below its whole number.
        let allowed = (rate * normal.len() as f64 * (1.0 + 1e-12)).floor() as usize;
        let allowed = allowed.min(normal.len());
        // The highest score that must stay negative is the one after the `allowed` highest; ties go with it.
        Ok(match normal.len().checked_sub(allowed + 1).and_then(|i| normal.get(i)) {
            Some(&excluded) => keys::score(excluded).next_up(),
            None => keys::score(*lowest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_normal_pixels_than_the_rate_are_positive() {
        let mut pixels = ValidationPixels::new();
        pixels.update_normal([0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]).unwrap();
        for rate in [0.0, 0.05, 0.1, 0.35, 0.7, 0.8, 0.99, 1.0] {
            let threshold = pixels.choose(ThresholdRule::FalsePositiveRate(rate)).unwrap().value();
            let positive = |t: f32| {
                [0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9].iter().filter(|&&s| s >= t).count()
            };
            assert!(positive(threshold) as f64 <= rate * 10.0 + 1e-9, "{rate}");
            // The next lower threshold would be too low, unless everything is positive already.
            let lower = positive(threshold.next_down());
            assert!(lower == 10 || lower as f64 > rate * 10.0, "{rate}");
        }
    }

    #[test]
    fn no_pixel_of_the_rate_is_lost_by_rounding() {
        let mut pixels = ValidationPixels::new();
        pixels.update_normal((0..100u8).map(f32::from)).unwrap();
        for allowed in 0..=100u8 {
            let rule = ThresholdRule::FalsePositiveRate(f64::from(allowed) / 100.0);
            let threshold = pixels.choose(rule).unwrap().value();
            let positive = (0..100u8).filter(|&score| f32::from(score) >= threshold).count();
            assert_eq!(positive, usize::from(allowed));
        }
    }

    #[test]
    fn a_threshold_that_was_changed_is_refused_when_it_is_read() {
        let mut pixels = ValidationPixels::new();
        pixels.update_normal([0.1, 0.2, 0.3]).unwrap();
        let threshold = pixels.choose(ThresholdRule::FalsePositiveRate(0.5)).unwrap();
        let text = serde_json::to_string(&threshold).unwrap();
        assert_eq!(serde_json::from_str::<ValidationThreshold>(&text).unwrap(), threshold);
        for rate in ["-0.1", "1.5", "1e18", "null", "\"NaN\""] {
            let changed = text.replace("0.5", rate);
            assert_ne!(changed, text);
            assert!(serde_json::from_str::<ValidationThreshold>(&changed).is_err(), "{changed}");
        }
        for rate in [f64::NAN, -1.0, f64::INFINITY] {
            let rule = ThresholdRule::FalsePositiveRate(rate);
            assert!(matches!(pixels.choose(rule), Err(MetricError::Parameter { .. })), "{rate}");
        }
    }

    #[test]
    fn an_infinite_score_can_be_excluded_by_no_threshold() {
        let mut pixels = ValidationPixels::new();
        pixels.update_normal([f32::INFINITY, 1.0]).unwrap();
        // `next_up` of infinity is infinity: the pixel stays positive, as any `>=` must have it.
        let threshold = pixels.choose(ThresholdRule::FalsePositiveRate(0.0)).unwrap();
        assert_eq!(threshold.value(), f32::INFINITY);
    }

    #[test]
    fn average_precision_is_that_of_the_curve() {
        let mut pixels = ValidationPixels::new();
        pixels.update(&[0.9, 0.8, 0.7, 0.1], &[true, false, true, false]).unwrap();
        assert!((pixels.average_precision().unwrap() - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert!(matches!(ValidationPixels::new().average_precision(), Err(MetricError::OneClass { .. })));
    }

    #[test]
    fn refuses_what_it_cannot_choose_from() {
        let pixels = ValidationPixels::new();
        assert!(matches!(pixels.choose(ThresholdRule::BestDice), Err(MetricError::OneClass { .. })));
        assert!(matches!(
            pixels.choose(ThresholdRule::FalsePositiveRate(0.1)),
            Err(MetricError::Empty { .. })
        ));
        assert!(matches!(
            pixels.choose(ThresholdRule::FalsePositiveRate(f64::NAN)),
            Err(MetricError::Parameter { .. })
        ));
    }
}
