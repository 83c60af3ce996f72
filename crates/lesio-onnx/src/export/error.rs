//! Why a model cannot be written as ONNX.

use lesio_nn::EngineError;
use lesio_vae::ConfigError;

/// Why a localizer or a network cannot be written as ONNX.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A layer that has no counterpart.
    #[error("layer {name:?} cannot be written as ONNX: {layer}")]
    Layer {
        /// Its name.
        name: String,
        /// The layer.
        layer: String,
    },
    /// A parameter that is not there.
    #[error("parameter {name:?} is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A model whose networks are not known.
    #[error("the networks of a {kind} are not known to lesio, only its code is")]
    Model {
        /// What the model is called.
        kind: String,
    },
    /// A configuration that makes no network.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Parameters that the device does not give back.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Scaling of intensities that a graph cannot hold.
    #[error("the model's intensities are not scaled by the same two numbers for every image: {found}")]
    Scaling {
        /// How they are scaled.
        found: String,
    },
    /// A file that cannot be written.
    #[error(transparent)]
    Write(#[from] lesio_files::WriteError),
    /// A description that cannot be written.
    #[error("the description cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}
