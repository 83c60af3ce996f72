//! A folder a case, with the same file names in each.

use std::path::{Path, PathBuf};

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::{Entry, expect_file, folders, is_there};

pub(super) fn list(root: &Path, images: &[String], mask: Option<&str>) -> Result<Vec<Case>, DatasetError> {
    if images.is_empty() {
        let expected = "the name of at least one image";
        return Err(DatasetErrorKind::NotThisLayout { layout: "cases", expected }.at(root));
    }
    folders(root)?.into_iter().map(|folder| case(folder, images, mask)).collect()
}

fn case(folder: Entry, images: &[String], mask: Option<&str>) -> Result<Case, DatasetError> {
    let images = images
        .iter()
        .map(|name| {
            let path = folder.path.join(name);
            find(&path)?.ok_or_else(|| DatasetErrorKind::MissingFile.at(&path))
        })
        .collect::<Result<_, _>>()?;
    let mask = match mask {
        Some(name) => find(&folder.path.join(name))?.map_or(Mask::Unknown, Mask::File),
        None => Mask::Unknown,
    };
    let Entry { name, .. } = folder;
    Ok(Case { id: name.clone(), patient: name, frame: None, split: None, kind: None, images, mask })
}

/// The file of this name, or of the name with the other of `.nii` and `.nii.gz`.
fn find(path: &Path) -> Result<Option<PathBuf>, DatasetError> {
    let other = path.to_str().and_then(|name| match name.strip_suffix(".nii.gz") {
        Some(stem) => Some(PathBuf::from(format!("{stem}.nii"))),
        None => name.ends_with(".nii").then(|| PathBuf::from(format!("{name}.gz"))),
    });
    for candidate in std::iter::once(path.to_owned()).chain(other) {
        if is_there(&candidate) {
            if !candidate.exists() {
                return Err(DatasetErrorKind::DanglingLink.at(&candidate));
            }
            expect_file(&candidate)?;
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}
