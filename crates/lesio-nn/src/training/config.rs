//! How long and how fast to train.

use lesio_settings::{SettingError, in_range, setters};
use serde::{Deserialize, Serialize};

use crate::optimizer::AdamConfig;

/// How long and how fast to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct TrainConfig {
    /// Passes over the training samples, 1 to a million. Default 30.
    pub epochs: usize,
    /// Samples per update, 1 to 65536; the last batch of an epoch may be smaller. Default 32.
    pub batch_size: usize,
    /// The optimizer.
    pub adam: AdamConfig,
    /// Epochs without a better validation loss after which training stops, 0 to a million; `None` never stops early.
    /// Default 10.
    pub patience: Option<usize>,
    /// Updates in a row that may be skipped because loss or gradient was not finite, before training
    /// is given up as diverged, 0 to a million. Default 5.
    pub skips: usize,
    /// Seed of the order of samples and of whatever noise the objective draws. Default 0.
    pub seed: u64,
    /// Updates over which parameters are averaged, each update's weight falling exponentially with its age: what is
    /// validated and given back is the mean, while training goes on from the parameters themselves (Polyak and
    /// Juditsky 1992; for training under attack, Rebuffi et al. 2021, arXiv:2103.01946). 8 to 1e12, since every eighth update
    /// counts. `None`, the default, averages nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub averaging: Option<f64>,
}

setters!(TrainConfig {
    epochs: usize,
    batch_size: usize,
    adam: AdamConfig,
    patience: Option<usize>,
    skips: usize,
    seed: u64,
    averaging: Option<f64>,
});

/// Updates from one that counts in a mean to the next: neighbours differ little, and every one that counts takes a pass over
/// all parameters.
pub(super) const AVERAGED: u64 = 8;

/// Most epochs, of patience too, and most updates skipped in a row.
const LARGEST_COUNT: usize = 1_000_000;
/// Most samples of a batch.
const LARGEST_BATCH: usize = 1 << 16;

impl TrainConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("epochs", self.epochs, 1..=LARGEST_COUNT)?;
        in_range("batch_size", self.batch_size, 1..=LARGEST_BATCH)?;
        if let Some(patience) = self.patience {
            in_range("patience", patience, 0..=LARGEST_COUNT)?;
        }
        in_range("skips", self.skips, 0..=LARGEST_COUNT)?;
        if let Some(updates) = self.averaging {
            in_range("averaging", updates, AVERAGED as f64..=1e12)?;
        }
        self.adam.validate().map_err(|error| error.within("adam"))
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 30,
            batch_size: 32,
            adam: AdamConfig::default(),
            patience: Some(10),
            skips: 5,
            seed: 0,
            averaging: None,
        }
    }
}
