//! What several tests need.
#![allow(dead_code, clippy::print_stdout, reason = "each test uses a part of it")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lesio_image::{Geometry, Image, Volume};
use lesio_io::atomic::{Disk, Existing, FileSystem};
use lesio_io::dataset::{Case, Dataset};
use lesio_io::{WriteOptions, write_png_in};
use ndarray::Array3;

/// The folder of real data, where it is present.
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.is_dir() {
        println!("skipped: {} is not present", path.display());
        return None;
    }
    Some(path)
}

/// Makes a file of a data set: a volume or an image a real one, another with the text given.
pub(crate) fn add(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    if file.ends_with('/') {
        fs::create_dir_all(path).unwrap();
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if file.ends_with(".nii") || file.ends_with(".nii.gz") {
        let volume = Volume::new(Array3::<u8>::ones((4, 3, 2)), Geometry::default());
        WriteOptions::new().write_in(&Unsynced, &path, &volume).unwrap();
    } else if file.ends_with(".png") {
        write_png_in(&Unsynced, &path, &Image::new(Array3::<u8>::ones((1, 3, 4))), Existing::Refuse).unwrap();
    } else {
        fs::write(path, text).unwrap();
    }
}

pub(crate) fn ids(data: &Dataset) -> Vec<&str> {
    data.cases().iter().map(Case::id).collect()
}

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
