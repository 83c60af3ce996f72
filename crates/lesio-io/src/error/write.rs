//! What can be in the way of a file that is written, by name.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Escaped;

/// Why a file could not be written: which file, and what was in the way.
///
/// Whatever the reason, a file that was there before is still there, whole.
#[derive(Debug)]
pub struct WriteError {
    path: PathBuf,
    kind: Box<WriteErrorKind>,
}

impl WriteError {
    pub(crate) fn new(path: &Path, kind: WriteErrorKind) -> Self {
        Self { path: path.to_owned(), kind: Box::new(kind) }
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
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Escaped(self.path.display()), Escaped(&self.kind))
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
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
    /// The name does not tell a format that is written here.
    #[error("the name ends in none of {expected}")]
    UnknownFormat {
        /// The endings known.
        expected: &'static str,
    },
    /// The two files of a pair cannot be replaced in one step, so a pair is only ever written anew.
    #[error("a pair of files cannot be replaced in one step: remove it first, or write .nii or .nii.gz")]
    PairExists,
    /// There are no voxels to write.
    #[error("an axis has no voxels: the shape is {shape:?}")]
    EmptyVolume {
        /// The shape.
        shape: [usize; 3],
    },
    /// NIfTI-1 counts the voxels of an axis with 15 bits.
    #[error("axis {axis} has {size} voxels, NIfTI-1 holds at most 32767: write NIfTI-2")]
    DimTooLargeForNifti1 {
        /// The axis.
        axis: usize,
        /// Its voxels.
        size: usize,
    },
    /// Readers take this shape in NIfTI-1 for a surface of FreeSurfer and unfold it.
    #[error(
        "a shape of 27307 x 1 x 6 in NIfTI-1 is read as the 163842 vertices of a FreeSurfer surface: write \
         NIfTI-2"
    )]
    FoldedShape,
    /// A header extension is too large for its 32-bit size.
    #[error("header extension {index} has {bytes} bytes, more than NIfTI holds")]
    ExtensionTooLarge {
        /// Which, from 0.
        index: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// NIfTI-1 keeps the affine in 32-bit floats, in which this one overflows or collapses.
    #[error("the affine does not fit the 32-bit floats of NIfTI-1: write NIfTI-2")]
    AffineOutOfRange,
    /// An image that the format cannot hold.
    #[error("an image of {channels} channels, {width} by {height} pixels cannot be written as {format}")]
    UnsupportedImage {
        /// Its channels.
        channels: usize,
        /// Its columns.
        width: usize,
        /// Its rows.
        height: usize,
        /// The format.
        format: &'static str,
    },
    /// The encoder failed.
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
            Self::UnknownFormat { .. } => "UnknownFormat",
            Self::PairExists => "PairExists",
            Self::EmptyVolume { .. } => "EmptyVolume",
            Self::DimTooLargeForNifti1 { .. } => "DimTooLargeForNifti1",
            Self::FoldedShape => "FoldedShape",
            Self::ExtensionTooLarge { .. } => "ExtensionTooLarge",
            Self::AffineOutOfRange => "AffineOutOfRange",
            Self::UnsupportedImage { .. } => "UnsupportedImage",
            Self::Encode { .. } => "Encode",
        }
    }

    pub(crate) fn io(operation: &'static str, source: io::Error) -> Self {
        lesio_files::WriteErrorKind::io(operation, source).into()
    }

    pub(crate) fn at(self, path: &Path) -> WriteError {
        WriteError::new(path, self)
    }
}

impl From<lesio_files::WriteErrorKind> for WriteErrorKind {
    fn from(kind: lesio_files::WriteErrorKind) -> Self {
        match kind {
            lesio_files::WriteErrorKind::Io { operation, source } => Self::Io { operation, source },
            lesio_files::WriteErrorKind::StorageFull { operation, source } => {
                Self::StorageFull { operation, source }
            }
            lesio_files::WriteErrorKind::OutputExists => Self::OutputExists,
            lesio_files::WriteErrorKind::NoFileName => Self::NoFileName,
            other => Self::Io { operation: "write the file", source: io::Error::other(other) },
        }
    }
}

impl From<lesio_files::WriteError> for WriteError {
    fn from(error: lesio_files::WriteError) -> Self {
        let (path, kind) = error.into_parts();
        WriteErrorKind::from(kind).at(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_the_way_keeps_its_name() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        for kind in [
            lesio_files::WriteErrorKind::io("write", full()),
            lesio_files::WriteErrorKind::io("write", io::Error::other("no")),
            lesio_files::WriteErrorKind::OutputExists,
            lesio_files::WriteErrorKind::NoFileName,
        ] {
            let (name, text) = (kind.name(), kind.to_string());
            let here = WriteErrorKind::from(kind);
            assert_eq!((here.name(), here.to_string()), (name, text));
        }
        assert_eq!(WriteErrorKind::io("write", full()).name(), "StorageFull");
    }
}
