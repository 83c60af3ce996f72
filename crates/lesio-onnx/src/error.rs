//! Why a model is not taken in.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lesio_nn::{NetworkError, ParameterError};

/// A node of an ONNX graph, as messages name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeName {
    /// The operator, with its domain where that is not ONNX's own.
    pub operator: String,
    /// Version of the operator set that the model imports; 0 where it imports none for the operator's domain.
    pub opset: i64,
    /// The node's name, or that of its first output where it has none.
    pub name: String,
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (opset {}) at node {:?}", self.operator, self.opset, self.name)
    }
}

/// Why a model could not be read, or cannot be expressed in lesio's layers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A file cannot be read.
    #[error("{path:?} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file is no ONNX model, or a damaged one.
    #[error("the file is no ONNX model, or a damaged one")]
    Decode(#[from] prost::DecodeError),
    /// A file claims more than is read.
    #[error("the model has {found} {what}, expected at most {limit}")]
    Large {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The model as a whole is not what is expected.
    #[error("the model {0}")]
    Model(String),
    /// A tensor's values are not what its header says, or cannot be used.
    #[error("tensor {name:?}: {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// No tensor has this name.
    #[error("there is no tensor {name:?}; {what}: {}", .known.join(", "))]
    Unknown {
        /// The name looked for.
        name: String,
        /// What is listed.
        what: &'static str,
        /// Names that would do.
        known: Vec<String>,
    },
    /// An operator that is not supported, or not with these settings.
    #[error("{node} is not supported: {reason}")]
    Unsupported {
        /// The node.
        node: NodeName,
        /// What is not supported.
        reason: String,
    },
    /// A node that ONNX itself does not allow.
    #[error("{node} is not valid: {reason}")]
    Invalid {
        /// The node.
        node: NodeName,
        /// What is wrong.
        reason: String,
    },
    /// The layers do not make a network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The parameters are not usable.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// Weights of another file do not fit.
    #[error("the weights do not fit the model: {0}")]
    Weights(String),
}

/// What is wrong with one node, before its name is added.
#[derive(Debug)]
pub(crate) enum Fault {
    Unsupported(String),
    Invalid(String),
    Whole(OnnxError),
}

impl Fault {
    pub(crate) fn at(self, node: NodeName) -> OnnxError {
        match self {
            Self::Unsupported(reason) => OnnxError::Unsupported { node, reason },
            Self::Invalid(reason) => OnnxError::Invalid { node, reason },
            Self::Whole(error) => error,
        }
    }
}

impl From<OnnxError> for Fault {
    fn from(error: OnnxError) -> Self {
        Self::Whole(error)
    }
}

/// A setting that is not supported.
pub(crate) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unsupported(reason.into()))
}

/// A node that ONNX does not allow.
pub(crate) fn invalid<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Invalid(reason.into()))
}
