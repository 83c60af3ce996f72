//! Training: the same objective and seed give the same bytes of parameters.

mod checkpoint;
mod config;
mod error;
mod fingerprint;
mod objective;
mod progress;
mod state;
mod trainer;

pub use checkpoint::{CheckpointError, exists as checkpoint_exists, planned_epochs as checkpoint_epochs};
pub use config::TrainConfig;
pub use error::TrainError;
pub use fingerprint::fingerprint;
pub use objective::{Batch, Engines, Objective, Terms};
pub use progress::{Ending, EpochRecord, Event};
pub use trainer::{EarlierCheckpoint, Trainer};
