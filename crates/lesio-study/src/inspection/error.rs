//! Errors of describing a file.

use std::io;

use lesio_io::ReadError;
use lesio_nn::LoadError;

/// Why a file cannot be described.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// An image cannot be read.
    #[error(transparent)]
    Image(#[from] ReadError),
    /// Neither the name nor the content has a known format.
    #[error("{by_name}, and {by_content}")]
    Unknown {
        /// The error about the name.
        by_name: ReadError,
        /// The error about the content.
        by_content: String,
    },
    /// A model file cannot be loaded.
    #[error(transparent)]
    Model(#[from] LoadError),
}

impl InspectError {
    /// The kind of error in one word, such as `NotFound`: the same word for images and for model files.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Image(error) | Self::Unknown { by_name: error, .. } => error.kind().name(),
            Self::Model(LoadError::Read { source, .. }) => match source.kind() {
                io::ErrorKind::NotFound => "NotFound",
                io::ErrorKind::InvalidInput => "NotRegularFile",
                io::ErrorKind::FileTooLarge => "LimitExceeded",
                _ => "Io",
            },
            Self::Model(LoadError::Format { .. }) => "Format",
            Self::Model(LoadError::Kind { .. }) => "Kind",
            Self::Model(LoadError::Document { .. }) => "Document",
            Self::Model(LoadError::Unknown { .. }) => "Unknown",
            Self::Model(LoadError::Type { .. }) => "Type",
            Self::Model(LoadError::NonFinite { .. }) => "NonFinite",
            Self::Model(LoadError::Checksum { .. }) => "Checksum",
            Self::Model(LoadError::Parameters { .. }) => "Parameters",
            Self::Model(_) => "Refused",
        }
    }
}
