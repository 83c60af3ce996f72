//! The Medical Segmentation Decathlon, which has separate folders for images and labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::{expect_file, files_below, is_there};
use super::listing::Listing;
use super::passed_over::PassedOver;
use crate::endings::{is_single_volume, volume_stem};

pub(super) fn list(root: &Path) -> Result<Listing, DatasetError> {
    let training = root.join("imagesTr");
    if !is_there(&training) {
        let expected = "folders imagesTr and labelsTr";
        return Err(DatasetErrorKind::NotThisLayout { layout: "msd", expected }.at(root));
    }
    let mut listing = Listing::default();
    for (images, labels, split) in [("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test")] {
        let mut labels = volumes(&root.join(labels), &mut listing.passed)?;
        let labeled = !labels.is_empty();
        for (stem, path) in volumes(&root.join(images), &mut listing.passed)? {
            let mask = labels.remove(&stem).map_or(Mask::Unknown, Mask::File);
            let lacking = labeled && mask == Mask::Unknown;
            let split = Some(split.to_owned());
            listing.push(Case { split, images: vec![path], mask, ..Case::new(stem) }, lacking);
        }
        if let Some(path) = labels.into_values().next() {
            return Err(DatasetErrorKind::MaskWithoutImage.at(&path));
        }
    }
    Ok(listing)
}

/// The volumes below a folder by name; none if the folder does not exist.
fn volumes(folder: &Path, passed: &mut PassedOver) -> Result<BTreeMap<String, PathBuf>, DatasetError> {
    let mut volumes = BTreeMap::new();
    if !is_there(folder) {
        return Ok(volumes);
    }
    for entry in files_below(folder, passed)? {
        let Some(stem) = volume_stem(&entry.name).filter(|_| is_single_volume(&entry.name)) else {
            passed.file(&entry.path);
            continue;
        };
        expect_file(&entry.path)?;
        if volumes.insert(stem.to_owned(), entry.path.clone()).is_some() {
            return Err(DatasetErrorKind::DuplicateCase { id: stem.to_owned() }.at(&entry.path));
        }
    }
    Ok(volumes)
}
