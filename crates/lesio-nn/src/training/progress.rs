//! Progress reports of a training.

use serde::{Deserialize, Serialize};

use super::objective::Terms;

/// A progress report of a running training.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An update was made.
    Step {
        /// The epoch, starting from 0.
        epoch: usize,
        /// The update, starting from 0.
        step: u64,
        /// Updates of the whole training.
        steps: u64,
        /// The batch's loss.
        terms: &'a Terms,
        /// Euclidean norm of the gradient before clipping.
        gradient_norm: f64,
        /// The learning rate.
        rate: f64,
        /// Samples per second of this update.
        throughput: f64,
    },
    /// An update was left out because loss or gradient were not finite, or the norm of the gradient, after clipping,
    /// was above 1e18.
    Skipped {
        /// The update, starting from 0.
        step: u64,
        /// The batch's loss.
        loss: f64,
        /// Euclidean norm of the gradient before clipping.
        gradient_norm: f64,
    },
    /// An epoch is over.
    Epoch {
        /// Its record.
        record: &'a EpochRecord,
        /// Epochs planned.
        epochs: usize,
        /// Whether its validation is the best so far, by [`Objective::criterion`](crate::Objective::criterion).
        best: bool,
    },
}

/// Losses of one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch, starting from 0.
    pub epoch: usize,
    /// Mean training loss while the parameters changed; NaN without parts if every update was skipped.
    pub training: Terms,
    /// Validation loss at the epoch's end.
    pub validation: Option<Terms>,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// All epochs were run.
    Complete,
    /// The validation had not improved for long enough.
    Patience,
    /// The caller stopped it; it can continue from its checkpoint.
    Stopped,
}
