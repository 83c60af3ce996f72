//! Errors of the export to ONNX.

use std::path::PathBuf;

use lesio_nn::EngineError;
use lesio_vae::ConfigError;

/// The reason why a localizer or a network cannot be written as ONNX.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A layer has no counterpart in ONNX.
    #[error("layer {name:?} cannot be written as ONNX: {layer}")]
    Layer {
        /// The name of the layer.
        name: String,
        /// The layer.
        layer: String,
    },
    /// A parameter is missing.
    #[error("parameter {name:?} is missing")]
    Missing {
        /// The name of the parameter.
        name: String,
    },
    /// The networks of a model are unknown.
    #[error("lesio does not know the networks of a {kind}, only its own code does")]
    Model {
        /// The kind of the model.
        kind: String,
    },
    /// A configuration does not define a network.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The device cannot return the parameters.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A graph cannot contain the scaling of intensities.
    #[error("the model's intensities are not scaled by the same two numbers for every image: {found}")]
    Scaling {
        /// The scaling that the model uses.
        found: String,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] lesio_files::WriteError),
    /// A file of an earlier export cannot be removed.
    #[error("{}: cannot be removed", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The normal scores by position cannot be written.
    #[error("the normal scores by position cannot be written")]
    Position(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The description cannot be written.
    #[error("the description cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}
