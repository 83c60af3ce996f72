//! The volumes of a BIDS data set whose names match.

use std::path::{Path, PathBuf};

use super::super::error::{DatasetError, DatasetErrorKind};
use super::super::folder::{Entry, entries};
use super::name::{Name, Pattern};
use crate::endings::{is_single_volume, volume_stem};

/// How the user can exclude a file that is not meant.
pub(super) const HINT: &str = "a line in .bidsignore leaves a file out";

/// A volume with its parsed name, and the index of the pattern that it matches.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) name: Name,
    pub(super) pattern: usize,
}

/// The volumes in the folders of a session that match the patterns; there is one folder for each kind of data.
pub(super) fn files_of(session: &Path, patterns: &[Pattern]) -> Result<Vec<Found>, DatasetError> {
    let mut found = Vec::new();
    for folder in entries(session)? {
        if folder.is_folder && !folder.name.starts_with("ses-") {
            // Names in a derivative may break the rules of BIDS.
            found.extend(matching(entries(&folder.path)?, patterns).into_iter().filter_map(Result::ok));
        }
    }
    Ok(found)
}

/// The volumes that match the patterns; an image belongs to the first pattern that it matches.
pub(super) fn matching(files: Vec<Entry>, patterns: &[Pattern]) -> Vec<Result<Found, DatasetError>> {
    let mut found = Vec::new();
    for file in files {
        let Some(stem) = volume_stem(&file.name).filter(|_| !file.is_folder && is_single_volume(&file.name))
        else {
            continue;
        };
        if !patterns.iter().any(|pattern| Name::ends_in(stem, pattern.suffix())) {
            continue;
        }
        match Name::parse(stem) {
            Err(reason) => found.push(Err(misnamed(reason, &file.path))),
            Ok(name) => {
                let pattern = patterns.iter().position(|pattern| pattern.matches(&name));
                found.extend(pattern.map(|pattern| Ok(Found { path: file.path, name, pattern })));
            }
        }
    }
    found
}

/// The error for a name that breaks the rules of BIDS.
pub(super) fn misnamed(reason: String, path: &Path) -> DatasetError {
    DatasetErrorKind::Misnamed { reason }.at(path).hinted(Some(HINT.to_owned()))
}
