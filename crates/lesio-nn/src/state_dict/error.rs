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
    /// It is no safetensors file, or a damaged one.
    #[error("{path:?} is no safetensors file, or a damaged one")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: SafeTensorError,
    },
    /// It is no PyTorch file in the zip format, or a damaged one.
    #[cfg(feature = "candle")]
    #[error("{path:?} is no PyTorch file in the zip format, or a damaged one")]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: candle_core::Error,
    },
    /// A kind of file that this build does not read.
    #[error("{path:?}: expected .safetensors{}", pytorch())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// A parameter of numbers that are no floats.
    #[error("parameter {name:?} holds {found}, expected floats of 16 (bfloat16), 32 or 64 bits")]
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
    /// Another number of values than the shape says.
    #[error("parameter {name:?} of shape {shape:?} holds {found} values")]
    Count {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its values.
        found: usize,
    },
    /// Names that do not fit.
    #[error("the names do not fit: missing {}; unexpected {}", listed(.missing), listed(.unexpected))]
    Names {
        /// Names that the networks need, as the map says they are called there, and that are not there.
        missing: Vec<String>,
        /// Names that are there and that nothing needs.
        unexpected: Vec<String>,
    },
    /// A parameter of another shape.
    #[error("parameter {theirs:?} has shape {found:?}, {ours:?} needs {expected:?}")]
    Shape {
        /// Its name there.
        theirs: String,
        /// Its name here.
        ours: String,
        /// Its shape, of the rows taken.
        found: Vec<usize>,
        /// The shape needed.
        expected: Vec<usize>,
    },
}

fn pytorch() -> &'static str {
    if cfg!(feature = "candle") { ", .pth or .pt" } else { " (.pth and .pt need the feature candle)" }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
