//! What several tests need.

use std::fs;
use std::io;
use std::path::Path;

use lesio_io::atomic::{Disk, FileSystem};

/// The disk without waiting for it: thousands of writes would take minutes.
#[derive(Debug)]
pub(crate) struct Unsynced;

impl FileSystem for Unsynced {
    type File = fs::File;

    fn create_new(&self, path: &Path) -> io::Result<fs::File> {
        Disk.create_new(path)
    }

    fn sync(&self, _: &mut fs::File) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Disk.exists(path)
    }
}
