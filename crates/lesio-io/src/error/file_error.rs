//! An error about a file.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::escaped::Escaped;

/// An error about a file: its path and the kind of failure.
#[derive(Debug)]
pub struct FileError<K> {
    path: PathBuf,
    kind: Box<K>,
}

impl<K> FileError<K> {
    pub(crate) fn new(path: &Path, kind: K) -> Self {
        Self { path: path.to_owned(), kind: Box::new(kind) }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> &K {
        &self.kind
    }
}

impl<K: fmt::Display> fmt::Display for FileError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Escaped(self.path.display()), Escaped(&self.kind))
    }
}

impl<K: Error> Error for FileError<K> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The text of the kind is part of this error's text, so the source is the cause of the kind.
        self.kind.source()
    }
}
