//! MVTec AD: folders for splits and kinds of defect, and a separate folder with the ground truth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::{Entry, expect_file, files_below, folders, list as list_folder};
use super::listing::Listing;
use super::passed_over::PassedOver;
use crate::endings::{image_stem, is_image};

const LAYOUT: &str = "mvtec";
const TRUTH: &str = "ground_truth";
const NORMAL: &str = "good";
const TRAINING: &str = "train";

pub(super) fn list(root: &Path) -> Result<Listing, DatasetError> {
    let mut listing = Listing::default();
    let splits = folders(root, &mut listing.passed)?;
    if !splits.iter().any(|split| matches!(split.name.as_str(), TRAINING | "test")) {
        let expected = "a folder train or test, with a folder for each kind of image";
        return Err(DatasetErrorKind::NotThisLayout { layout: LAYOUT, expected }.at(root));
    }
    let truth = match splits.iter().find(|folder| folder.name == TRUTH) {
        Some(folder) => Some(masks(folder, &mut listing.passed)?),
        None => None,
    };
    for split in splits.iter().filter(|folder| folder.name != TRUTH) {
        for kind in kinds(split, &mut listing.passed)? {
            for entry in files_below(&kind.path, &mut listing.passed)? {
                match image_stem(&entry.name) {
                    Some(stem) => {
                        expect_file(&entry.path)?;
                        let case = case(split, &kind, stem, &entry, truth.as_ref());
                        let lacking = truth.is_some() && case.mask == Mask::Unknown;
                        listing.push(case, lacking);
                    }
                    None => listing.passed.file(&entry.path),
                }
            }
        }
    }
    check_masks(truth.as_ref(), &listing.cases)?;
    Ok(listing)
}

/// The folders of a split, one for each kind of image; an image outside these folders is an error.
fn kinds(split: &Entry, passed: &mut PassedOver) -> Result<Vec<Entry>, DatasetError> {
    let (kinds, files): (Vec<Entry>, Vec<Entry>) =
        list_folder(&split.path)?.into_iter().partition(|entry| entry.is_folder);
    if let Some(image) = files.iter().find(|file| is_image(&file.name)) {
        let expected = "in a folder of its kind, as train/good or test/crack";
        return Err(DatasetErrorKind::Misplaced { expected }.at(&image.path));
    }
    files.iter().for_each(|file| passed.file(&file.path));
    Ok(kinds)
}

/// Masks by kind and by the name of their image, including subfolders.
type Masks = BTreeMap<(String, String), PathBuf>;

fn masks(truth: &Entry, passed: &mut PassedOver) -> Result<Masks, DatasetError> {
    let mut masks = Masks::new();
    for kind in kinds(truth, passed)? {
        for entry in files_below(&kind.path, passed)? {
            let Some(stem) = image_stem(&entry.name) else {
                passed.file(&entry.path);
                continue;
            };
            expect_file(&entry.path)?;
            // The names of masks end with `_mask` in MVTec AD, but often not in data sets modeled on it.
            let image = stem.strip_suffix("_mask").unwrap_or(stem);
            let id = format!("{}/{image}", kind.name);
            if masks.insert((kind.name.clone(), image.to_owned()), entry.path.clone()).is_some() {
                return Err(DatasetErrorKind::AmbiguousMask { id }.at(&entry.path));
            }
        }
    }
    Ok(masks)
}

fn case(split: &Entry, kind: &Entry, stem: &str, entry: &Entry, truth: Option<&Masks>) -> Case {
    let file = truth.and_then(|truth| truth.get(&(kind.name.clone(), stem.to_owned())));
    let mask = match file {
        // Normal images of several splits may have the same name; some data sets have all-black masks for normal images,
        // which belong to the test images.
        Some(path) if kind.name != NORMAL || split.name != TRAINING => Mask::File(path.clone()),
        _ if kind.name == NORMAL => Mask::Normal,
        _ => Mask::Unknown,
    };
    Case {
        split: Some(split.name.clone()),
        kind: Some(kind.name.clone()),
        images: vec![entry.path.clone()],
        mask,
        ..Case::new(format!("{}/{}/{stem}", split.name, kind.name))
    }
}

/// Checks that each mask belongs to an image, as names that do not match tell, and to no other: images of a defect in
/// several splits may have the same name, and the mask is that of one of them.
fn check_masks(truth: Option<&Masks>, cases: &[Case]) -> Result<(), DatasetError> {
    let mut taken: BTreeMap<&Path, &Case> = BTreeMap::new();
    for (path, case) in cases.iter().filter_map(|case| Some((case.mask.path()?, case))) {
        if let Some(other) = taken.insert(path, case)
            && case.kind() != Some(NORMAL)
        {
            let ids = [other, case].map(|case| case.id().to_owned());
            return Err(DatasetErrorKind::SharedMask { ids }.at(path));
        }
    }
    let mut all = truth.into_iter().flatten();
    // An unused mask of a normal image is black and does no harm.
    let left = all.find(|((kind, _), path)| kind != NORMAL && !taken.contains_key(path.as_path()));
    left.map_or(Ok(()), |(_, path)| Err(DatasetErrorKind::MaskWithoutImage.at(path)))
}
