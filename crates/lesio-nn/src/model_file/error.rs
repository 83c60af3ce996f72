//! Why a model file could not be read or written.

use std::io;
use std::path::PathBuf;

use safetensors::SafeTensorError;

/// Why a model file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("could not read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not a safetensors file.
    #[error("{path:?} is not a safetensors file")]
    Format {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: SafeTensorError,
    },
    /// The file is not one that lesio wrote, or is of another kind or version.
    #[error("{path:?} holds {found}, expected {expected}")]
    Kind {
        /// The file.
        path: PathBuf,
        /// The kind and version in the file.
        found: String,
        /// The expected kind and version; of a file of another version also what to do.
        expected: String,
    },
    /// The configuration in the file cannot be parsed.
    #[error("the configuration in {path:?} cannot be read")]
    Document {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The configuration contains a setting that this version does not know. It cannot be left out: the model would
    /// compute something else.
    #[error(
        "the configuration in {path:?} contains {setting}, which this version of lesio does not know; a newer version \
         may have written it"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Where it stands, such as `preprocessing.config.intensity.reach`, or its name alone. Variants of enums may be
        /// left out.
        setting: String,
    },
    /// A tensor is of another type than f32.
    #[error("tensor {tensor:?} in {path:?} has type {found}, expected F32")]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A tensor holds NaN or infinity.
    #[error("tensor {tensor:?} in {path:?} holds {value} at index {index}")]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Index of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A tensor's content is damaged.
    #[error("tensor {tensor:?} in {path:?} is damaged: its checksum is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The checksum of its content.
        found: u32,
        /// The checksum in the file.
        expected: u32,
    },
    /// The parameters are not those of the networks.
    #[error("the parameters in {path:?} do not fit its configuration")]
    Parameters {
        /// The file.
        path: PathBuf,
        /// The mismatch.
        source: crate::parameters::ParameterError,
    },
    /// A setting of the caller that is invalid for every file.
    #[error(transparent)]
    Setting(lesio_settings::SettingError),
    /// The configuration is invalid.
    #[error("the configuration in {path:?} is invalid: {reason}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Why a model file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The file could not be written; an existing file remains.
    #[error(transparent)]
    Write(#[from] lesio_files::WriteError),
    /// Parameters or configuration cannot be encoded.
    #[error("{path:?} cannot be encoded: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The parameters could not be taken from their device.
    #[error("the parameters cannot be taken from their device")]
    Device(#[from] crate::engine::EngineError),
}
