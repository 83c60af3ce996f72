//! The state of a training.

use lesio_settings::{SettingError, in_range, require};
use serde::{Deserialize, Serialize};

use super::config::TrainConfig;
use super::objective::Terms;
use super::progress::EpochRecord;

/// The state of a training, between two updates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The epoch, starting from 0; the history has this many records.
    pub(crate) epoch: usize,
    /// Batches of this epoch that are done.
    pub(crate) cursor: usize,
    pub(crate) step: u64,
    pub(crate) skipped: usize,
    pub(crate) sums: Terms,
    pub(crate) summed: f64,
    pub(crate) best: Option<(usize, f64)>,
    pub(crate) history: Vec<EpochRecord>,
}

impl State {
    /// Returns an error for a state that no training with this configuration can have between two updates.
    pub(crate) fn validate(&self, config: &TrainConfig, batches: usize) -> Result<(), SettingError> {
        in_range("epoch", self.epoch, 0..=config.epochs)?;
        // All batches are done where a training was stopped between its last update and the end of the epoch.
        in_range("cursor", self.cursor, 0..=batches)?;
        let step = (self.epoch as u64).saturating_mul(batches as u64).saturating_add(self.cursor as u64);
        require(self.step == step, "step", self.step, format!("{step} by epoch and cursor"))?;
        in_range("skipped", self.skipped, 0..=config.skips)?;
        in_range("summed", self.summed, 0.0..=1e18)?;
        let records = self.history.iter().enumerate().all(|(place, record)| record.epoch == place);
        let found = self.history.len();
        require(found == self.epoch && records, "history", found, format!("{} epochs in order", self.epoch))?;
        match self.best {
            Some((epoch, _)) => require(epoch < self.epoch, "best", epoch, format!("below {}", self.epoch)),
            None => Ok(()),
        }
    }
}
