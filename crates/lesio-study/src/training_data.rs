//! The amount of data of a training.

use serde::Serialize;

/// The data of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrainingData {
    /// The training part.
    pub training: TrainingPart,
    /// The part for the selection of the epoch and for calibration.
    pub validation: TrainingPart,
}

/// One part of [`TrainingData`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrainingPart {
    /// Cases.
    pub cases: usize,
    /// Their slices without a lesion.
    pub normal_slices: usize,
}
