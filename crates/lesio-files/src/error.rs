//! Errors of writing a file.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be written: the file and the kind of failure.
///
/// In every case, an earlier file of the same name remains complete.
#[derive(Debug)]
pub struct WriteError {
    path: PathBuf,
    kind: WriteErrorKind,
}

impl WriteError {
    /// Makes the error of a file, for encoders that run before the file is written.
    pub fn new(path: impl Into<PathBuf>, kind: WriteErrorKind) -> Self {
        Self { path: path.into(), kind }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> &WriteErrorKind {
        &self.kind
    }

    /// Splits the error into the file and the kind of failure.
    #[must_use]
    pub fn into_parts(self) -> (PathBuf, WriteErrorKind) {
        (self.path, self.kind)
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.kind)
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The text of the kind is part of this error's text, so the source is the cause of the kind.
        self.kind.source()
    }
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteErrorKind {
    /// An operation of the operating system failed.
    #[error("could not {operation}")]
    Io {
        /// The operation.
        operation: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The disk or the user's quota is full.
    #[error("could not {operation}, the disk is full")]
    StorageFull {
        /// The operation.
        operation: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The file exists, and replacing it was not requested.
    #[error("exists already, and replacing it was not requested")]
    OutputExists,
    /// The path has no file name.
    #[error("is not the name of a file")]
    NoFileName,
    /// The content cannot be represented in the format, or its encoder failed.
    #[error("could not be encoded as {format}")]
    Encode {
        /// The format.
        format: &'static str,
        /// The error of the encoder.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl WriteErrorKind {
    /// The variant's name, as used in reports: `"OutputExists"`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Io { .. } => "Io",
            Self::StorageFull { .. } => "StorageFull",
            Self::OutputExists => "OutputExists",
            Self::NoFileName => "NoFileName",
            Self::Encode { .. } => "Encode",
        }
    }

    /// The error of content that could not be encoded.
    pub fn encode(format: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Encode { format, source: source.into() }
    }

    /// Converts an error of the system; a full disk has a separate kind.
    #[must_use]
    pub fn io(operation: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::StorageFull { operation, source }
            }
            _ => Self::Io { operation, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_its_own_name() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(WriteErrorKind::io("write", full).name(), "StorageFull");
        let other = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(WriteErrorKind::io("write", other).name(), "Io");
    }
}
