//! Validation pixels outside of memory.

use ndarray::{ArrayView, Dimension};

use super::patients::StreamedPatients;
use super::true_pixels::TruePixels;
use crate::error::MetricError;
use crate::scratch::Scratch;
use crate::threshold::{ThresholdRule, ValidationThreshold};

/// Pixels of the validation set, gathered in a [`Scratch`] instead of in memory: see
/// [`StreamedPatients`](crate::StreamedPatients).
///
/// What it chooses is what [`ValidationPixels`](crate::ValidationPixels) choose, bit for bit.
#[derive(Clone, Debug, Default)]
pub struct StreamedValidation {
    stream: StreamedPatients,
}

impl StreamedValidation {
    /// No pixels yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a map, see [`StreamedPatients::update`](crate::StreamedPatients::update).
    ///
    /// # Errors
    /// Those of [`StreamedPatients::update`](crate::StreamedPatients::update).
    pub fn update<'s, D: Dimension>(
        &mut self,
        scratch: &mut Scratch,
        pixels: &TruePixels,
        scores: impl Into<ArrayView<'s, f32, D>>,
    ) -> Result<(), MetricError> {
        self.stream.update(scratch, "", pixels, scores)
    }

    /// The threshold by [`ThresholdRule::BestDice`], and the average precision.
    ///
    /// # Errors
    /// [`MetricError::OneClass`] when a class is missing; [`MetricError::Scratch`].
    pub fn best_dice(&self, scratch: &mut Scratch) -> Result<(ValidationThreshold, f64), MetricError> {
        let ranks = self.stream.ranks(scratch)?;
        let threshold = ValidationThreshold::chosen(ranks.ceil_dice.threshold, ThresholdRule::BestDice);
        Ok((threshold, ranks.average_precision))
    }
}
