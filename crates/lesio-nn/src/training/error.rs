//! Why a training failed.

use std::path::PathBuf;

use lesio_settings::SettingError;

use super::checkpoint::CheckpointError;
use crate::engine::EngineError;
use crate::model_file::SaveError;

/// Why a training failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting is out of range.
    #[error("training cannot start")]
    Setting(#[from] SettingError),
    /// There are no training samples.
    #[error("training cannot start: there are no training samples")]
    NoSamples,
    /// An engine failed.
    #[error("the networks could not be computed")]
    Engine(#[from] EngineError),
    /// Loss or gradient were repeatedly not finite, or the norm of the gradient, after clipping, was above 1e18.
    #[error("training diverged at update {step}: {skipped} updates in a row had no finite loss or no gradient of a norm up to 1e18{}", last_good(.checkpoint))]
    Diverged {
        /// The update, starting from 0.
        step: u64,
        /// Updates skipped in a row.
        skipped: usize,
        /// The last checkpoint, if any was written or the training continued from it.
        checkpoint: Option<PathBuf>,
    },
    /// The losses of all epochs do not fit a checkpoint.
    #[error(
        "{epochs} epochs are too many for a checkpoint, which holds the losses of {most} of them: train without a checkpoint, or for fewer epochs"
    )]
    Epochs {
        /// The planned number of epochs.
        epochs: usize,
        /// The most whose losses fit.
        most: usize,
    },
    /// A checkpoint could not be written.
    #[error("the checkpoint could not be written")]
    Save(#[from] SaveError),
    /// The training cannot continue from its checkpoint.
    #[error("the training cannot continue from its checkpoint")]
    Resume(#[from] CheckpointError),
    /// The file of the checkpoint exists, and this training neither continued from it nor may replace it.
    #[error("{} is the checkpoint of an earlier training, which would be lost", .path.display())]
    CheckpointExists {
        /// The file.
        path: PathBuf,
    },
}

fn last_good(checkpoint: &Option<PathBuf>) -> String {
    checkpoint
        .as_ref()
        .map_or_else(String::new, |path| format!("; the last good state is {}", path.display()))
}
