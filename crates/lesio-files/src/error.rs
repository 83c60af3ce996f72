//! What can be in the way of a file.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be written: which file, and what was in the way.
///
/// Whatever the reason, a file that was there before is still there, whole.
#[derive(Debug)]
pub struct WriteError {
    path: PathBuf,
    kind: WriteErrorKind,
}

impl WriteError {
    /// The error of a file, for what turns its content into bytes before it is written here.
    pub fn new(path: impl Into<PathBuf>, kind: WriteErrorKind) -> Self {
        Self { path: path.into(), kind }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was in the way.
    #[must_use]
    pub fn kind(&self) -> &WriteErrorKind {
        &self.kind
    }

    /// The file and what was in the way, taken apart.
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
        // The kind's own text is part of this error's, so the chain goes on with what caused it.
        self.kind.source()
    }
}

/// What was in the way of writing a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteErrorKind {
    /// The operating system refused an operation.
    #[error("could not {operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The disk, or the user's share of it, is full.
    #[error("could not {operation}, the disk is full")]
    StorageFull {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is a file of this name, and replacing it was not asked for.
    #[error("exists already, and replacing it was not asked for")]
    OutputExists,
    /// The path has no file name.
    #[error("is no name for a file")]
    NoFileName,
    /// The content has no form in this format, or its encoder failed.
    #[error("could not be encoded as {format}")]
    Encode {
        /// The format.
        format: &'static str,
        /// What the encoder said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl WriteErrorKind {
    /// The variant's name, as it stands in reports: `"OutputExists"`.
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

    /// What the system said of an operation, a full disk by its own name.
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
