//! The Medical Segmentation Decathlon: images and labels in folders of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::{expect_file, is_there, list as list_folder, volume_stem};

pub(super) fn list(root: &Path) -> Result<Vec<Case>, DatasetError> {
    let training = root.join("imagesTr");
    if !is_there(&training) {
        let missing = if is_there(root) {
            DatasetErrorKind::NotThisLayout { layout: "msd", expected: "folders imagesTr and labelsTr" }
        } else {
            DatasetErrorKind::NotFound
        };
        return Err(missing.at(root));
    }
    let mut labels = BTreeMap::new();
    for (folder, split) in [("labelsTr", "train"), ("labelsTs", "test")] {
        for (stem, path) in volumes(&root.join(folder))? {
            labels.insert((split, stem), path);
        }
    }
    let mut cases = Vec::new();
    for (folder, split) in [("imagesTr", "train"), ("imagesTs", "test")] {
        for (stem, path) in volumes(&root.join(folder))? {
            let mask = labels.remove(&(split, stem.clone())).map_or(Mask::Unknown, Mask::File);
            cases.push(Case {
                patient: stem.clone(),
                id: stem,
                frame: None,
                split: Some(split.to_owned()),
                kind: None,
                images: vec![path],
                mask,
            });
        }
    }
    match labels.into_values().next() {
        Some(path) => Err(DatasetErrorKind::MaskWithoutImage.at(&path)),
        None => Ok(cases),
    }
}

/// The volumes of a folder by name; none where there is no folder.
fn volumes(folder: &Path) -> Result<BTreeMap<String, PathBuf>, DatasetError> {
    let mut volumes = BTreeMap::new();
    if !is_there(folder) {
        return Ok(volumes);
    }
    for entry in list_folder(folder)? {
        let Some(stem) = volume_stem(&entry.name) else { continue };
        expect_file(&entry.path)?;
        if volumes.insert(stem.to_owned(), entry.path.clone()).is_some() {
            return Err(DatasetErrorKind::DuplicateCase { id: stem.to_owned() }.at(&entry.path));
        }
    }
    Ok(volumes)
}
