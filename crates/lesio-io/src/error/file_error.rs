//! A file, and what is wrong with it.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::escaped::Escaped;

/// A file, and what kind of thing is wrong with it or was in its way.
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

    /// What is wrong with it, or was in its way.
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
        // The kind's own text is part of this error's, so the chain goes on with what caused it.
        self.kind.source()
    }
}
