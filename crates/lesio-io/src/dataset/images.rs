//! Any images and volumes below a folder.

use std::path::Path;

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::{expect_file, image_stem, list as list_folder, utf8_name, volume_stem};

/// Deeper than data sets are nested; links to folders are not followed, so none is deeper by a loop.
const MOST_NESTED: usize = 32;

pub(super) fn list(root: &Path) -> Result<Vec<Case>, DatasetError> {
    if root.is_file() {
        let name = utf8_name(root)?;
        return Ok(case(name, root).into_iter().collect());
    }
    let mut cases = Vec::new();
    collect(root, "", 0, &mut cases)?;
    Ok(cases)
}

fn collect(folder: &Path, prefix: &str, depth: usize, cases: &mut Vec<Case>) -> Result<(), DatasetError> {
    if depth > MOST_NESTED {
        return Err(DatasetErrorKind::TooDeep { limit: MOST_NESTED }.at(folder));
    }
    for entry in list_folder(folder)? {
        let id = format!("{prefix}{}", entry.name);
        if entry.is_folder {
            if !entry.is_link {
                collect(&entry.path, &format!("{id}/"), depth + 1, cases)?;
            }
        } else if let Some(case) = case(id, &entry.path) {
            expect_file(&entry.path)?;
            cases.push(case);
        }
    }
    Ok(())
}

/// A case of a file; its ending stays in the id, for a folder may hold both `a.png` and `a.nii`.
fn case(id: String, path: &Path) -> Option<Case> {
    if image_stem(&id).is_none() && volume_stem(&id).is_none() {
        return None;
    }
    Some(Case {
        patient: id.clone(),
        id,
        frame: None,
        split: None,
        kind: None,
        images: vec![path.to_owned()],
        mask: Mask::Unknown,
    })
}
