//! How much a training learns from.

use serde::Serialize;

/// What a training learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrainingData {
    /// What is learnt.
    pub training: TrainingPart,
    /// What chooses the epoch and calibrates.
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
