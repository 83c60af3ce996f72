//! Scores in steps of one byte.

use serde::Serialize;

use crate::scale::{Scale, ScaleError};

/// Scores in 256 equal steps, so that a map fits into a byte for each pixel and a threshold can be moved over it.
///
/// Level `k` from 1 to 254 holds the scores from `low + k * step` to the next edge, level 0 all lower scores and NaN, level 255 all
/// higher ones. A threshold of the model lies exactly on an edge: a score has at least the threshold's level where, and only
/// where, it reaches the threshold.
///
/// ```
/// use lesio_report::{Levels, Scale};
///
/// let levels = Levels::new(Scale::new(0.0, 2.0)?, Some(0.7))?;
/// let threshold = levels.threshold().ok_or("no threshold")?;
/// assert_eq!(levels.level(0.7), threshold);
/// assert_eq!(levels.level(0.7_f32.next_down()), threshold - 1);
/// assert!((levels.edge(threshold) - 0.7).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Levels {
    low: f64,
    step: f64,
    #[serde(skip)]
    exact: Option<f32>,
    threshold: Option<u8>,
}

/// Steps of a scale.
const STEPS: f64 = 255.0;

impl Levels {
    /// Levels over a scale, which is moved by at most half a step, both ends alike, so that the threshold lies on an edge.
    /// A threshold above the scale extends it. So does one below the scale or less than half a step above its lower end:
    /// the levels then begin one step below the threshold. A threshold that is not finite counts as none.
    ///
    /// # Errors
    /// A scale and a threshold so far apart that steps are infinite.
    pub fn new(scale: Scale, threshold: Option<f32>) -> Result<Self, ScaleError> {
        let (low, high) = (scale.low(), scale.high());
        let Some(exact) = threshold.filter(|threshold| threshold.is_finite()) else {
            return Ok(Self { low, step: (high - low) / STEPS, exact: None, threshold: None });
        };
        let at = f64::from(exact);
        let scale = Scale::new(low.min(at), high.max(at))?;
        let high = scale.high();
        let level = (STEPS * ((at - low) / (high - low))).round();
        // The step does not follow from the distance between the threshold and one end: where that is a few steps, rounding
        // the level would change the step by much and move the other end far away.
        let (level, step) = if level >= 1.0 {
            (level.min(STEPS), (high - low) / STEPS)
        } else {
            // Level 0 is all that does not reach the threshold.
            (1.0, (high - at) / (STEPS - 1.0))
        };
        let low = at - level * step;
        Scale::new(low, high)?;
        Ok(Self { low, step, exact: Some(exact), threshold: Some(level as u8) })
    }

    /// The level of a score; 0 for NaN.
    #[must_use]
    pub fn level(&self, score: f32) -> u8 {
        // NaN casts to 0.
        let level = ((f64::from(score) - self.low) / self.step).clamp(0.0, STEPS) as u8;
        match (self.exact, self.threshold) {
            (Some(exact), Some(threshold)) if score >= exact => level.max(threshold),
            (Some(_), Some(threshold)) => level.min(threshold - 1),
            _ => level,
        }
    }

    /// The lowest score of a level.
    #[must_use]
    pub fn edge(&self, level: u8) -> f64 {
        self.low + f64::from(level) * self.step
    }

    /// The level from which on scores reach the threshold.
    #[must_use]
    pub fn threshold(&self) -> Option<u8> {
        self.threshold
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn levels_grow_with_scores_and_the_threshold_is_exact(
            low in -100.0_f64..100.0,
            width in 1e-3_f64..1e3,
            at in -0.5_f64..1.5,
            scores in prop::collection::vec(-200.0_f32..1200.0, 1..50),
        ) {
            let scale = Scale::new(low, low + width).unwrap();
            let threshold = (low + at * width) as f32;
            let levels = Levels::new(scale, Some(threshold)).unwrap();
            let edge = levels.threshold().unwrap();
            prop_assert!((levels.edge(edge) - f64::from(threshold)).abs() <= 1e-9 * (1.0 + f64::from(threshold).abs()));
            let mut scores = scores;
            scores.extend([threshold, threshold.next_down(), threshold.next_up()]);
            scores.sort_by(f32::total_cmp);
            for pair in scores.windows(2) {
                prop_assert!(levels.level(pair[0]) <= levels.level(pair[1]));
            }
            for score in scores {
                let level = levels.level(score);
                prop_assert_eq!(level >= edge, score >= threshold);
                // No score is farther than a step from the edge of its level, where it is within the scale.
                if level > 0 && level < 255 {
                    let above = f64::from(score) - levels.edge(level);
                    let step = levels.edge(1) - levels.edge(0);
                    prop_assert!((-1e-6 * step..=step * (1.0 + 1e-6)).contains(&above), "{above} {step}");
                }
            }
        }
    }

    /// Of thresholds near an end, too: no end of the scale is far from where it was asked for.
    #[test]
    fn a_threshold_moves_the_scale_by_at_most_half_a_step() {
        for (low, high) in [(0.0, 1.0), (-3.0, 5.0), (1000.0, 1000.5), (0.0, 1e-6), (-1e6, 0.0)] {
            let width: f64 = high - low;
            // From below the scale to above it, several within each level.
            for k in -400..=1400 {
                let threshold = (low + f64::from(k) / 1000.0 * width) as f32;
                let at = f64::from(threshold);
                let levels = Levels::new(Scale::new(low, high).unwrap(), Some(threshold)).unwrap();
                let step = levels.edge(1) - levels.edge(0);
                let (first, last) = (levels.edge(0), levels.edge(255));
                let what = format!("{low} to {high}, {threshold}: {first} to {last}");
                let rounding = 1e-9 * (1.0 + low.abs().max(high.abs()));
                assert!((last - high.max(at)).abs() <= 0.5 * step + rounding, "{what}");
                if at - low > 0.501 * width / 255.0 {
                    assert!((first - low).abs() <= 0.5 * step + rounding, "{what}");
                } else {
                    let below = low.min(at) - first;
                    assert!((-rounding..=step + rounding).contains(&below), "{what}");
                }
                let level = levels.threshold().unwrap();
                assert!((levels.edge(level) - at).abs() <= rounding, "{what}");
                assert_eq!(levels.level(threshold), level, "{what}");
                assert_eq!(levels.level(threshold.next_down()), level - 1, "{what}");
            }
        }
        // High scores differ.
        let levels = Levels::new(Scale::new(0.0, 1.0).unwrap(), Some(0.001)).unwrap();
        assert_eq!(levels.threshold(), Some(1));
        assert_eq!([0.0, 0.0009, 0.26, 0.5, 0.99].map(|score| levels.level(score)), [0, 0, 66, 127, 252]);
    }

    #[test]
    fn without_a_threshold_a_scale_is_divided_evenly() {
        let levels = Levels::new(Scale::new(1.0, 256.0).unwrap(), None).unwrap();
        let found = [0.0, 1.9, 2.0, 255.5, 1e9, f32::NAN, f32::INFINITY].map(|score| levels.level(score));
        assert_eq!(found, [0, 0, 1, 254, 255, 0, 255]);
        assert_eq!(Levels::new(Scale::new(0.0, 1.0).unwrap(), Some(f32::NAN)).unwrap().threshold(), None);
        assert!(Levels::new(Scale::new(0.0, f64::MAX).unwrap(), Some(-f32::MAX)).is_err());
    }
}
