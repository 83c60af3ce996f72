//! Listing folders in a fixed order, with an error for every name that is odd.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{DatasetError, DatasetErrorKind};

const VOLUME_ENDINGS: [&str; 2] = [".nii", ".nii.gz"];
const IMAGE_ENDINGS: [&str; 6] = [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"];

/// What stands in a folder.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) is_folder: bool,
    /// A folder by way of a link: listings that go deep do not follow it, for it may lead back up.
    pub(super) is_link: bool,
}

/// What is visible in a folder, sorted by name.
pub(super) fn list(folder: &Path) -> Result<Vec<Entry>, DatasetError> {
    let failed = |operation: &'static str| {
        move |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => DatasetErrorKind::NotFound.at(folder),
            io::ErrorKind::NotADirectory => DatasetErrorKind::NotAFolder.at(folder),
            _ => DatasetErrorKind::Io { operation, source }.at(folder),
        }
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("list the folder"))? {
        let entry = entry.map_err(failed("list the folder"))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let name = utf8_name(&path)?;
        let is_link = entry.file_type().map_err(failed("look up a name in the folder"))?.is_symlink();
        let kind = match fs::metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if is_link && error.kind() == io::ErrorKind::NotFound => {
                return Err(DatasetErrorKind::DanglingLink.at(&path));
            }
            Err(source) => {
                return Err(DatasetErrorKind::Io { operation: "look up the file", source }.at(&path));
            }
        };
        entries.push(Entry { name, path, is_folder: kind.is_dir(), is_link });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The visible folders in a folder, sorted by name.
pub(super) fn folders(folder: &Path) -> Result<Vec<Entry>, DatasetError> {
    Ok(list(folder)?.into_iter().filter(|entry| entry.is_folder).collect())
}

/// The last part of a path.
pub(super) fn utf8_name(path: &Path) -> Result<String, DatasetError> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_str().map(str::to_owned).ok_or_else(|| {
        let escaped = name.as_encoded_bytes().escape_ascii().to_string();
        DatasetErrorKind::NotUtf8 { escaped }.at(path)
    })
}

/// Checks that a file is one that can be read.
pub(super) fn expect_file(path: &Path) -> Result<(), DatasetError> {
    if path.is_file() { Ok(()) } else { Err(DatasetErrorKind::NotRegularFile.at(path)) }
}

/// Whether anything has this name, a link that leads nowhere included.
pub(super) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The name of a volume without its ending.
pub(super) fn volume_stem(name: &str) -> Option<&str> {
    stem(name, &VOLUME_ENDINGS)
}

/// The name of an image without its ending.
pub(super) fn image_stem(name: &str) -> Option<&str> {
    stem(name, &IMAGE_ENDINGS)
}

fn stem<'a>(name: &'a str, endings: &[&str]) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    let ending =
        endings.iter().filter(|&&ending| lower.ends_with(ending)).max_by_key(|ending| ending.len())?;
    // Lowering ASCII letters keeps every length, so the cut is between characters.
    name.get(..name.len() - ending.len()).filter(|stem| !stem.is_empty())
}
