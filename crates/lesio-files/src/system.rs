//! The file system operations of atomic writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The file system operations that atomic writes consist of.
///
/// [`Disk`] is the real file system; tests replace it by one whose steps can fail.
pub trait FileSystem {
    /// An open file.
    type File: Write;

    /// Creates a file that does not exist yet, and opens it for writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if it exists, and other errors of the system.
    fn create_new(&self, path: &Path) -> io::Result<Self::File>;

    /// Waits until all data written to a file are on the disk.
    ///
    /// # Errors
    /// Errors of the system.
    fn sync(&self, file: &mut Self::File) -> io::Result<()>;

    /// Renames a file, replacing any file of the new name. If both names refer to the same file already, nothing
    /// happens, and both names remain.
    ///
    /// # Errors
    /// Errors of the system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must not exist yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name exists, and other errors of the system.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    /// Errors of the system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Waits until the names in a folder are on the disk.
    ///
    /// # Errors
    /// Errors of the system.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Whether the name exists, including a dangling link.
    ///
    /// # Errors
    /// Errors of the system.
    fn exists(&self, path: &Path) -> io::Result<bool>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl FileSystem for Disk {
    type File = File;

    fn create_new(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        // Held while the file is open, so that `sweep_stale` knows that a process is writing. On a file system without
        // locks, only the process number shows that.
        let _ = file.try_lock();
        Ok(file)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // On other systems, folders cannot be opened as files, and renaming is durable without a sync.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
