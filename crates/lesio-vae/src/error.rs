//! Why a model cannot be made.

use lesio_nn::{EngineError, ParameterError};

use crate::config::ConfigError;

/// Why a model cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The parameters do not fit the configuration.
    #[error("the parameters do not fit the configuration")]
    Parameters(#[from] ParameterError),
    /// The networks do not fit each other.
    #[error("{0}")]
    Networks(String),
    /// The device cannot hold the networks.
    #[error(transparent)]
    Device(#[from] EngineError),
}
