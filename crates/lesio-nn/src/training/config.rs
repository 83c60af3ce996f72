//! The length and the optimizer of a training.

use lesio_settings::{SettingError, in_range, setters};
use serde::{Deserialize, Serialize};

use crate::optimizer::AdamConfig;

/// The length and the optimizer of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training samples, 1 to a million. Default 30. A checkpoint holds the losses of some 20 000
    /// epochs, fewer for a loss of many parts: with a checkpoint, a training of more epochs fails after the first
    /// ([`TrainError::Epochs`](crate::TrainError::Epochs)).
    pub epochs: usize,
    /// Samples per update, 1 to 65536; the last batch of an epoch may be smaller. Default 32.
    pub batch_size: usize,
    /// The optimizer.
    pub adam: AdamConfig,
    /// Epochs without a better validation after which training stops, 0 to a million; `None` never stops early.
    /// Default 10.
    pub patience: Option<usize>,
    /// Largest number of consecutive updates that are skipped because loss or gradient is not finite, or because the
    /// norm of the gradient, after clipping, is above 1e18; one more, and the training fails as diverged. 0 to a
    /// million. Default 5.
    pub skips: usize,
    /// Seed of the order of samples and of the objective's noise. Default 0.
    pub seed: u64,
    /// Number of updates over which parameters are averaged, with weights that decrease exponentially with age. The
    /// mean is validated and returned, while training continues from the parameters themselves (Polyak and Juditsky
    /// 1992; for adversarial training, Rebuffi et al. 2021, arXiv:2103.01946). 8 to 1e12, since every eighth update
    /// enters the mean. `None`, the default, turns averaging off.
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

/// Number of updates between two that enter the mean: neighbors differ little, and each one costs a pass over all
/// parameters.
pub(super) const AVERAGED: u64 = 8;

/// Most epochs, of patience too, and most updates skipped in a row.
pub(super) const LARGEST_COUNT: usize = 1_000_000;
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

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn misspelled_settings_are_named() {
        let found: TrainConfig = from_value(json!({"epochs": 7, "adam": {"rate": 0.1}})).unwrap();
        assert_eq!(found, TrainConfig::default().epochs(7).adam(AdamConfig::default().rate(0.1)));
        for (name, document) in [
            ("epoch", json!({"epoch": 7})),
            ("lr", json!({"adam": {"lr": 0.1}})),
            ("lowest", json!({"adam": {"schedule": {"cosine": {"floor": 0.1, "lowest": 0.2}}}})),
        ] {
            let error = from_value::<TrainConfig>(document).unwrap_err().to_string();
            assert!(error.starts_with(&format!("unknown field `{name}`")), "{name}: {error}");
        }
    }
}
