//! The predictor that was selected on validation data.

use lesio_settings::{SettingError, in_range};
use serde::{Deserialize, Serialize};

use crate::predictors::PredictorName;

/// The predictor of a model that was selected on validation data: the one with the highest average precision on slices
/// with lesions, after post-processing.
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
    /// A selection with these figures. They must never come from a test set.
    #[must_use]
    pub fn new(predictor: PredictorName, average_precision: f64, subjects: usize) -> Self {
        Self { predictor, average_precision, subjects }
    }

    /// Returns an error for an average precision outside of 0 to 1, and for 0 subjects.
    ///
    /// # Errors
    /// Names the figure.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("average precision", self.average_precision, 0.0..=1.0)?;
        in_range("subjects with a lesion", self.subjects, 1..=usize::MAX)
    }
}
