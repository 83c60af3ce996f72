//! The steps of which safe writing consists, and the machine's own way of taking them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The steps of which safe writing consists.
///
/// [`Disk`] takes them for real; tests put a file system in its place of which any step fails.
pub trait FileSystem {
    /// An open file.
    type File: Write;

    /// Creates a file that does not exist yet, and opens it for writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where it does, or whatever the system says.
    fn create_new(&self, path: &Path) -> io::Result<Self::File>;

    /// Waits until what was written to a file is on the disk.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync(&self, file: &mut Self::File) -> io::Result<()>;

    /// Gives a file another name, in place of what had it. Where both names mean the same file already,
    /// nothing happens, and both stay.
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name that nothing has yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where something has it, or whatever the system says.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name away.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Waits until the names in a folder are on the disk.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Whether anything has this name, a link that leads nowhere included.
    ///
    /// # Errors
    /// Whatever the system says.
    fn exists(&self, path: &Path) -> io::Result<bool>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl FileSystem for Disk {
    type File = File;

    fn create_new(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        // Held as long as the file is open: `sweep_stale` tells by it that somebody writes. A file system without locks
        // has the number of the process alone for that.
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
        // Elsewhere folders cannot be opened as files, and renaming is durable by itself.
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
