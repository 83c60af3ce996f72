//! What can be wrong with a data set's folder.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a data set could not be listed: which file or folder, and what is wrong with it.
#[derive(Debug)]
pub struct DatasetError {
    path: PathBuf,
    kind: DatasetErrorKind,
}

impl DatasetError {
    /// The file or folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    #[must_use]
    pub fn kind(&self) -> &DatasetErrorKind {
        &self.kind
    }
}

impl fmt::Display for DatasetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.kind)
    }
}

impl Error for DatasetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// What is wrong with a data set's folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetErrorKind {
    /// The operating system refused an operation.
    #[error("could not {operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A folder that must be there is not.
    #[error("there is no such folder")]
    NotFound,
    /// Something else stands where a folder is expected.
    #[error("is no folder")]
    NotAFolder,
    /// A file that must be there is not.
    #[error("there is no such file, nor one of the other ending")]
    MissingFile,
    /// A symbolic link that leads nowhere.
    #[error("is a link that leads nowhere")]
    DanglingLink,
    /// A folder, a pipe or a device where a file is expected.
    #[error("is no regular file")]
    NotRegularFile,
    /// A name that cannot be shown or compared.
    #[error("the name is not UTF-8: {}", escaped)]
    NotUtf8 {
        /// The name, with what is not UTF-8 escaped.
        escaped: String,
    },
    /// Folders nested more deeply than any data set's.
    #[error("is nested more than {limit} folders deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// There is no case.
    #[error("holds no case of the layout {layout}")]
    Empty {
        /// The layout.
        layout: &'static str,
    },
    /// The folder does not look like the layout.
    #[error("is not arranged as {layout}: expected {expected}")]
    NotThisLayout {
        /// The layout.
        layout: &'static str,
        /// What was looked for.
        expected: &'static str,
    },
    /// Two files make the same case.
    #[error("is a second file for the case {id}")]
    DuplicateCase {
        /// The case.
        id: String,
    },
    /// A mask belongs to no image.
    #[error("is a mask without an image")]
    MaskWithoutImage,
    /// More than one file may be the mask of an image.
    #[error("may be the mask of {id}, and so may another file")]
    AmbiguousMask {
        /// The case.
        id: String,
    },
    /// A case lacks the mask that is needed.
    #[error("case {id} has no mask")]
    MissingMask {
        /// The case.
        id: String,
    },
    /// No case belongs to a split.
    #[error("no case belongs to the split {split:?}, known are {known:?} and \"all\"")]
    UnknownSplit {
        /// The split asked for.
        split: String,
        /// Those that have cases.
        known: Vec<String>,
    },
    /// `splits.csv` cannot be understood.
    #[error("line {line}: {reason}")]
    BadSplits {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

impl DatasetErrorKind {
    /// The variant's name, as it stands in reports: `"MissingFile"`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Io { .. } => "Io",
            Self::NotFound => "NotFound",
            Self::NotAFolder => "NotAFolder",
            Self::MissingFile => "MissingFile",
            Self::DanglingLink => "DanglingLink",
            Self::NotRegularFile => "NotRegularFile",
            Self::NotUtf8 { .. } => "NotUtf8",
            Self::TooDeep { .. } => "TooDeep",
            Self::Empty { .. } => "Empty",
            Self::NotThisLayout { .. } => "NotThisLayout",
            Self::DuplicateCase { .. } => "DuplicateCase",
            Self::MaskWithoutImage => "MaskWithoutImage",
            Self::AmbiguousMask { .. } => "AmbiguousMask",
            Self::MissingMask { .. } => "MissingMask",
            Self::UnknownSplit { .. } => "UnknownSplit",
            Self::BadSplits { .. } => "BadSplits",
        }
    }

    pub(crate) fn at(self, path: &Path) -> DatasetError {
        DatasetError { path: path.to_owned(), kind: self }
    }
}
