//! Thresholds that validation data choose, and test data cannot.

use lesio_settings::{SettingError, in_range, require};
use serde::{Deserialize, Serialize};

/// A threshold chosen on validation pixels. A pixel is positive when its score is `>=` it.
///
/// There is no way to one but [`ValidationPixels`](crate::ValidationPixels), so the truth of a test set cannot choose it by accident;
/// it serializes, to travel with the model that it belongs to, and is checked when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ThresholdParts")]
pub struct ValidationThreshold {
    value: f32,
    rule: ThresholdRule,
}

#[derive(Deserialize)]
struct ThresholdParts {
    value: f32,
    rule: ThresholdRule,
}

impl TryFrom<ThresholdParts> for ValidationThreshold {
    type Error = SettingError;

    fn try_from(parts: ThresholdParts) -> Result<Self, SettingError> {
        parts.rule.validate()?;
        require(!parts.value.is_nan(), "threshold", parts.value, "a number")?;
        Ok(Self { value: parts.value, rule: parts.rule })
    }
}

/// How validation pixels choose a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ThresholdRule {
    /// The distinct score with the best pooled Dice; needs labeled lesions in the validation set.
    BestDice,
    /// The lowest threshold at which at most this fraction of the normal pixels is positive; needs no lesion.
    /// (Infinitely high scores are positive at every threshold.)
    FalsePositiveRate(f64),
}

impl ThresholdRule {
    /// Checks the rate.
    ///
    /// # Errors
    /// For one outside [0, 1].
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::FalsePositiveRate(rate) => in_range("false positive rate", rate, 0.0..=1.0),
            Self::BestDice => Ok(()),
        }
    }
}

impl ValidationThreshold {
    /// What a rule chose from validation pixels.
    pub(crate) fn chosen(value: f32, rule: ThresholdRule) -> Self {
        Self { value, rule }
    }

    /// The threshold itself.
    #[must_use]
    pub fn value(&self) -> f32 {
        self.value
    }

    /// The rule that chose it.
    #[must_use]
    pub fn rule(&self) -> ThresholdRule {
        self.rule
    }
}
