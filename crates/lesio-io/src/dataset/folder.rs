//! Listing of folders in a fixed order, with an error for every name that cannot be used.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::{DatasetError, DatasetErrorKind};
use super::passed_over::PassedOver;
use crate::file_kind::describe;

/// The maximum nesting of folders, deeper than any data set. Links to folders are not followed: there are no loops.
const MOST_NESTED: usize = 32;

/// The maximum number of bytes that are read of a report, larger than any report.
const MOST_OF_REPORT: u64 = 64 << 20;

/// An entry of a folder.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// In its lossy form if it is not UTF-8, which only [`all_entries`] and [`all_files_below`] return.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) is_folder: bool,
    /// A link to a folder. Recursive listings do not follow it, since it may lead back up.
    pub(super) is_link: bool,
    /// A link whose target does not exist or cannot be looked up.
    pub(super) is_dangling: bool,
}

/// The visible entries of a folder, sorted by name. Folders with results of lesio's programs are left out. A link
/// whose target does not exist is an error.
pub(super) fn list(folder: &Path) -> Result<Vec<Entry>, DatasetError> {
    let found = entries(folder)?;
    match found.iter().find(|entry| entry.is_dangling) {
        Some(entry) => Err(dangling(&entry.path)),
        None => Ok(found),
    }
}

/// The error for a link whose target cannot be looked up.
fn dangling(path: &Path) -> DatasetError {
    let kind = match fs::metadata(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            DatasetErrorKind::Io { operation: "look up the file", source }
        }
        _ => DatasetErrorKind::DanglingLink,
    };
    kind.at(path)
}

/// Like [`list`], including links whose target does not exist.
pub(super) fn entries(folder: &Path) -> Result<Vec<Entry>, DatasetError> {
    let found = all_entries(folder)?;
    found.iter().try_for_each(|entry| utf8_name(&entry.path).map(drop))?;
    Ok(found)
}

/// Like [`entries`], including names that are not UTF-8: in layouts where a case that cannot be read is listed with its
/// error, one such name does not stop the others.
pub(super) fn all_entries(folder: &Path) -> Result<Vec<Entry>, DatasetError> {
    let failed = |operation: &'static str| {
        move |source: io::Error| match (source.kind(), fs::metadata(folder)) {
            (io::ErrorKind::NotFound, _) => DatasetErrorKind::NotFound.at(folder),
            (_, Ok(metadata)) if !metadata.is_dir() => {
                DatasetErrorKind::NotAFolder { found: describe(metadata.file_type()) }.at(folder)
            }
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
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_link = entry.file_type().map_err(failed("look up a name in the folder"))?.is_symlink();
        let (is_folder, is_dangling) = match fs::metadata(&path) {
            Ok(metadata) => (metadata.is_dir(), false),
            Err(_) if is_link => (false, true),
            Err(source) => {
                return Err(DatasetErrorKind::Io { operation: "look up the file", source }.at(&path));
            }
        };
        if is_folder && holds_results(&path) {
            tracing::warn!(folder = %path.display(), "left out: it holds results of lesio, not data");
            continue;
        }
        entries.push(Entry { name, path, is_folder, is_link, is_dangling });
    }
    entries.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
    // Several names may have one lossy form.
    let mut seen = BTreeSet::new();
    for Entry { name, path, .. } in &mut entries {
        if !seen.insert(name.clone()) {
            let bytes = path.file_name().unwrap_or_default().as_encoded_bytes();
            *name = format!("{:08x}_{name}", crc32fast::hash(bytes));
        }
    }
    Ok(entries)
}

/// Whether the part of a path below a folder is UTF-8.
pub(super) fn is_utf8_below(path: &Path, folder: &Path) -> bool {
    path.strip_prefix(folder).unwrap_or(path).to_str().is_some()
}

/// The visible folders in a folder, sorted by name; files in the folder are recorded in `passed`.
pub(super) fn folders(folder: &Path, passed: &mut PassedOver) -> Result<Vec<Entry>, DatasetError> {
    let (folders, files): (Vec<Entry>, Vec<Entry>) =
        list(folder)?.into_iter().partition(|entry| entry.is_folder);
    files.iter().for_each(|entry| passed.file(&entry.path));
    Ok(folders)
}

/// All visible files in a folder and its subfolders, sorted by name in each folder. Their `name` is the path relative
/// to the folder, separated by `/`. Links to folders are recorded in `passed` and not followed.
pub(super) fn files_below(folder: &Path, passed: &mut PassedOver) -> Result<Vec<Entry>, DatasetError> {
    let mut files = Vec::new();
    collect(folder, "", 0, &mut files, passed, list)?;
    Ok(files)
}

/// Like [`files_below`], including what [`all_entries`] includes.
pub(super) fn all_files_below(folder: &Path, passed: &mut PassedOver) -> Result<Vec<Entry>, DatasetError> {
    let mut files = Vec::new();
    collect(folder, "", 0, &mut files, passed, all_entries)?;
    Ok(files)
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<Entry>,
    passed: &mut PassedOver,
    list: fn(&Path) -> Result<Vec<Entry>, DatasetError>,
) -> Result<(), DatasetError> {
    if depth > MOST_NESTED {
        return Err(DatasetErrorKind::TooDeep { limit: MOST_NESTED }.at(folder));
    }
    for entry in list(folder)? {
        let name = format!("{prefix}{}", entry.name);
        if !entry.is_folder {
            files.push(Entry { name, ..entry });
        } else if entry.is_link {
            passed.link(&entry.path);
        } else {
            collect(&entry.path, &format!("{name}/"), depth + 1, files, passed, list)?;
        }
    }
    Ok(())
}

/// The last part of a path, which must be UTF-8.
pub(super) fn utf8_name(path: &Path) -> Result<String, DatasetError> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_str().map(str::to_owned).ok_or_else(|| {
        let escaped = name.as_encoded_bytes().escape_ascii().to_string();
        DatasetErrorKind::NotUtf8 { escaped }.at(path)
    })
}

/// Checks that a path is a regular file.
pub(super) fn expect_file(path: &Path) -> Result<(), DatasetError> {
    let kind = fs::metadata(path)
        .map_err(|source| DatasetErrorKind::Io { operation: "look up the file", source }.at(path))?
        .file_type();
    if kind.is_file() {
        Ok(())
    } else {
        Err(DatasetErrorKind::NotRegularFile { found: describe(kind) }.at(path))
    }
}

/// Whether this name exists, even as a link whose target does not exist.
pub(super) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether a folder contains results of a lesio program rather than data, judging by its `report.json`.
fn holds_results(folder: &Path) -> bool {
    let path = folder.join("report.json");
    if !path.is_file() {
        return false;
    }
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_OF_REPORT).read_to_end(&mut text));
    let holds = |wanted: &str| text.windows(wanted.len()).any(|window| window == wanted.as_bytes());
    read.is_ok() && holds("\"schema\"") && holds("cargo run --release --example ")
}
