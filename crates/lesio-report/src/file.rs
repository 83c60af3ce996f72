//! The one way in which this crate writes files: whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What to do when a file of the wanted name exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone and return [`WriteError::Exists`].
    Refuse,
    /// Replace it, in one step and only after the new content is on the disk.
    Replace,
}

/// Why a file was not written.
///
/// Whatever the reason, the file that was there before is unchanged. One step alone comes later: if the
/// folder cannot be flushed to the disk, the new file is in place, but a power cut may still bring
/// back the old one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The path names no file, as `/` or `..` do.
    #[error("{path:?} names no file")]
    NoFileName {
        /// The path given.
        path: PathBuf,
    },
    /// A file of this name exists and was not to be replaced.
    #[error("{path:?} exists and is not to be replaced")]
    Exists {
        /// The path given.
        path: PathBuf,
    },
    /// The system refused.
    #[error("could not {action} for {path:?}")]
    Io {
        /// The path given.
        path: PathBuf,
        /// What was tried, as in "write the new content".
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A value has no JSON form, as a map with keys that are no strings.
    #[error("could not write {path:?} as JSON")]
    Json {
        /// The path given.
        path: PathBuf,
        /// What the serializer said.
        source: serde_json::Error,
    },
    /// A picture could not be encoded.
    #[error("could not encode {path:?}")]
    Picture {
        /// The path given.
        path: PathBuf,
        /// What was wrong with the picture.
        source: crate::PictureError,
    },
}

/// Writes `bytes` to `path`, whole or not at all.
///
/// The content goes to a temporary file in the same folder, is flushed to the disk, and takes the
/// name `path` in one step: a reader sees the old file or the new one, and a failure (or a power cut)
/// leaves the old one. The folder must exist. A symbolic link at `path` is replaced, not followed.
///
/// With [`Existing::Refuse`] the name is taken by a hard link, which fails if another program was
/// quicker; on file systems without hard links that last check is not possible, and the name is
/// looked up just before instead.
///
/// # Errors
/// [`WriteError::NoFileName`], [`WriteError::Exists`], or [`WriteError::Io`] with the step that failed.
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8], existing: Existing) -> Result<(), WriteError> {
    let path = path.as_ref();
    if path.file_name().is_none() {
        return Err(WriteError::NoFileName { path: path.to_owned() });
    }
    let exists = || WriteError::Exists { path: path.to_owned() };
    let failed = |action| move |source| WriteError::Io { path: path.to_owned(), action, source };
    if existing == Existing::Refuse && path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };

    let (mut file, temporary) = Temporary::create(folder).map_err(failed("create a temporary file"))?;
    file.write_all(bytes).map_err(failed("write the new content"))?;
    file.sync_all().map_err(failed("flush the new content to the disk"))?;
    drop(file);

    match existing {
        Existing::Replace => temporary.rename(path).map_err(failed("rename the temporary file"))?,
        Existing::Refuse => match fs::hard_link(&temporary.path, path) {
            // The temporary name goes away when `temporary` is dropped.
            Ok(()) => drop(temporary),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
            Err(_) if path.symlink_metadata().is_ok() => return Err(exists()),
            Err(_) => temporary.rename(path).map_err(failed("rename the temporary file"))?,
        },
    }
    sync_folder(folder).map_err(failed("flush the folder to the disk"))
}

/// A file that is removed unless it was renamed.
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn create(folder: &Path) -> io::Result<(File, Self)> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let process = std::process::id();
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            // Not made from the wanted name, which may be as long as the file system allows.
            let path = folder.join(format!(".lesio-{process}-{number}.tmp"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, Self { path, renamed: false })),
                // Left by a killed process of the same number: take the next name.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // The error that brought us here is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the new name durable. Other systems than Unix cannot open a folder for that.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_existing_file_is_replaced_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_file(&path, b"first", Existing::Refuse).unwrap();
        let refused = write_file(&path, b"second", Existing::Refuse);
        assert!(matches!(refused, Err(WriteError::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write_file(&path, b"third", Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        // A folder in the way: the rename fails after the temporary file was written.
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"x").unwrap();
        let error = write_file(&path, b"new", Existing::Replace).unwrap_err();
        assert!(matches!(error, WriteError::Io { action: "rename the temporary file", .. }), "{error:?}");
        assert_eq!(names(folder.path()), ["taken"]);

        let missing = write_file(folder.path().join("no/such/a.txt"), b"", Existing::Replace).unwrap_err();
        assert!(missing.to_string().contains("a.txt"));
        assert!(matches!(
            write_file(folder.path().join(".."), b"", Existing::Replace),
            Err(WriteError::NoFileName { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn file_mode_is_that_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_file(&ours, b"", Existing::Refuse).unwrap();
        fs::write(&plain, b"").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
