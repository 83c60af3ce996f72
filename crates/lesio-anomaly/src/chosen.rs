//! The predictor that validation data chose.

use lesio_settings::{SettingError, in_range};
use serde::{Deserialize, Serialize};

use crate::catalogue::PredictorName;

/// The predictor that validation data chose among those of a model: the one of the highest average precision on
/// slices with lesions, after post-processing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChosenPredictor {
    /// The predictor.
    pub predictor: PredictorName,
    /// Its average precision on the validation data, 0 to 1.
    pub average_precision: f64,
    /// Validation subjects with a lesion, at least 1.
    pub subjects: usize,
}

impl ChosenPredictor {
    /// A choice by these figures. A test set must never make one.
    #[must_use]
    pub fn new(predictor: PredictorName, average_precision: f64, subjects: usize) -> Self {
        Self { predictor, average_precision, subjects }
    }

    /// Refuses an average precision outside of 0 to 1, and a choice by no subject.
    ///
    /// # Errors
    /// Names the figure.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("average precision", self.average_precision, 0.0..=1.0)?;
        in_range("subjects with a lesion", self.subjects, 1..=usize::MAX)
    }
}
