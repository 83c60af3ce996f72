//! Errors of reading and converting ONNX models.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lesio_nn::{NetworkError, ParameterError};

/// A node of an ONNX graph, as error messages name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeName {
    /// The operator, with its domain if it is not ONNX's own.
    pub operator: String,
    /// Version of the operator set that the model imports; 0 if it imports none for the operator's domain.
    pub opset: i64,
    /// The name of the node, or the name of its first output if the node has none.
    pub name: String,
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (opset {}) at node {:?}", self.operator, self.opset, self.name)
    }
}

/// The reason why a model could not be read or cannot be expressed in lesio's layers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A file cannot be read.
    #[error("{path:?} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file is not an ONNX model, or is damaged.
    #[error("the file is no ONNX model, or a damaged one")]
    Decode(#[from] prost::DecodeError),
    /// A file claims to contain more than lesio reads.
    #[error("the model has {found} {what}, expected at most {limit}")]
    Large {
        /// The counted items.
        what: &'static str,
        /// The number of items in the model.
        found: u64,
        /// The maximum number.
        limit: u64,
    },
    /// The model as a whole is not usable.
    #[error("the model {0}")]
    Model(String),
    /// The values of a tensor do not match its header or cannot be used.
    #[error("tensor {name:?}: {reason}")]
    Tensor {
        /// The name of the tensor.
        name: String,
        /// The problem.
        reason: String,
    },
    /// No tensor has this name.
    #[error("there is no tensor {name:?}; {what}: {}", .known.join(", "))]
    Unknown {
        /// The name that was searched for.
        name: String,
        /// A description of the names in `known`.
        what: &'static str,
        /// The names that exist.
        known: Vec<String>,
    },
    /// An operator is not supported, at all or with these settings.
    #[error("{node} is not supported: {reason}")]
    Unsupported {
        /// The node.
        node: NodeName,
        /// The reason.
        reason: String,
    },
    /// A node violates the rules of ONNX.
    #[error("{node} is not valid: {reason}")]
    Invalid {
        /// The node.
        node: NodeName,
        /// The problem.
        reason: String,
    },
    /// The layers do not form a network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The parameters cannot be used.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// The weights of another file do not fit.
    #[error("the weights do not fit the model: {0}")]
    Weights(String),
}

/// The problem with a node, before the name of the node is added.
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

/// The error of a setting that is not supported.
pub(crate) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unsupported(reason.into()))
}

/// The error of a node that violates the rules of ONNX.
pub(crate) fn invalid<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Invalid(reason.into()))
}
