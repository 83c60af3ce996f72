//! Why weights of another program cannot be used.

use std::io;
use std::path::PathBuf;

use safetensors::SafeTensorError;

/// Why weights of another program cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDictError {
    /// The file cannot be read.
    #[error("{path:?} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not a safetensors file, or is damaged.
    #[error("{path:?} is not a safetensors file, or is damaged")]
    Format {
        /// The file.
        path: PathBuf,
        /// The error of the reader.
        source: SafeTensorError,
    },
    /// The file is not a PyTorch file in the zip format, or is damaged.
    #[error("{path:?} is not a PyTorch file in the zip format, or is damaged: {reason}")]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A PyTorch file that holds no `state_dict`.
    #[error(
        "{path:?} holds no state_dict, neither itself nor in its entry state_dict, model_state_dict or model, but \
         {found}"
    )]
    Contents {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
    /// A small PyTorch file of many numbers, since its tensors share memory.
    #[error(
        "the tensors in {path:?} have {found} numbers in all, expected at most {limit} in a file of this length"
    )]
    Large {
        /// The file.
        path: PathBuf,
        /// The numbers of all tensors.
        found: usize,
        /// The maximum number.
        limit: usize,
    },
    /// Another kind of file.
    #[error(
        "{path:?}: expected .safetensors, .pth or .pt; if torch.save wrote it, as many .ckpt, .bin and .pth.tar files, \
         rename it to .pth"
    )]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// A file whose parameters cannot be used.
    #[error("the weights in {path:?} cannot be used")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The problem with a parameter.
        source: Box<StateDictError>,
    },
    /// A parameter that a network needs and whose numbers are not floats.
    #[error("parameter {name:?} holds {found}, expected floats of 16, 32 or 64 bits")]
    Type {
        /// The parameter.
        name: String,
        /// What it holds.
        found: String,
    },
    /// A number that is not finite.
    #[error("parameter {name:?} holds {value} at {index}")]
    NonFinite {
        /// The parameter.
        name: String,
        /// Where, row-major.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The number of values does not match the shape.
    #[error("parameter {name:?} of shape {shape:?} holds {found} values")]
    Count {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its values.
        found: usize,
    },
    /// A parameter that is given more than once, or a name of the network that is mapped more than once.
    #[error("{what} {name:?} more than once")]
    Repeated {
        /// What names it: the parameters, or the map.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Names that do not fit.
    #[error("the names do not fit: missing {}; unexpected {}", listed(.missing), listed(.unexpected))]
    Names {
        /// Names in the other program that the networks need and the file lacks.
        missing: Vec<String>,
        /// Names in the file that no network needs.
        unexpected: Vec<String>,
    },
    /// A parameter of another shape.
    #[error("parameter {theirs:?} has shape {found:?}, {ours:?} needs {expected:?}")]
    Shape {
        /// Its name in the file.
        theirs: String,
        /// Its name in the network.
        ours: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape needed.
        expected: Vec<usize>,
    },
    /// Rows of a parameter that have another shape.
    #[error(
        "parameter {theirs:?} has shape {shape:?}: its rows from {first} on in steps of {step} have shape {found:?}, \
         {ours:?} needs {expected:?}"
    )]
    Rows {
        /// Its name in the file.
        theirs: String,
        /// Its name in the network.
        ours: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The first row that was asked for.
        first: usize,
        /// The distance between rows.
        step: usize,
        /// The shape of the rows.
        found: Vec<usize>,
        /// The shape needed.
        expected: Vec<usize>,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
