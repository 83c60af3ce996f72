//! MVTec AD: splits, kinds of defect, and the truth apart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::{Entry, expect_file, folders, image_stem, list as list_folder};

const LAYOUT: &str = "mvtec";
const TRUTH: &str = "ground_truth";
const NORMAL: &str = "good";

pub(super) fn list(root: &Path) -> Result<Vec<Case>, DatasetError> {
    let splits = folders(root)?;
    if !splits.iter().any(|split| matches!(split.name.as_str(), "train" | "test")) {
        let expected = "a folder train or test, with a folder for each kind of image";
        return Err(DatasetErrorKind::NotThisLayout { layout: LAYOUT, expected }.at(root));
    }
    let truth = match splits.iter().find(|folder| folder.name == TRUTH) {
        Some(folder) => masks(folder)?,
        None => BTreeMap::new(),
    };
    let mut cases = Vec::new();
    for split in splits.iter().filter(|folder| folder.name != TRUTH) {
        for kind in folders(&split.path)? {
            for entry in list_folder(&kind.path)? {
                cases.extend(case(split, &kind, entry, &truth)?);
            }
        }
    }
    check_masks(&truth, &cases)?;
    Ok(cases)
}

/// Masks by kind and by the name of their image.
type Masks = BTreeMap<(String, String), PathBuf>;

fn masks(truth: &Entry) -> Result<Masks, DatasetError> {
    let mut masks = Masks::new();
    for kind in folders(&truth.path)? {
        for entry in list_folder(&kind.path)? {
            let Some(stem) = image_stem(&entry.name) else { continue };
            expect_file(&entry.path)?;
            // The set's own names end in `_mask`; those made like it often do not.
            let image = stem.strip_suffix("_mask").unwrap_or(stem);
            let id = format!("{}/{image}", kind.name);
            if masks.insert((kind.name.clone(), image.to_owned()), entry.path.clone()).is_some() {
                return Err(DatasetErrorKind::AmbiguousMask { id }.at(&entry.path));
            }
        }
    }
    Ok(masks)
}

fn case(split: &Entry, kind: &Entry, entry: Entry, truth: &Masks) -> Result<Option<Case>, DatasetError> {
    let Some(stem) = image_stem(&entry.name) else { return Ok(None) };
    expect_file(&entry.path)?;
    let mask = if kind.name == NORMAL {
        Mask::Normal
    } else {
        let file = truth.get(&(kind.name.clone(), stem.to_owned()));
        file.map_or(Mask::Unknown, |path| Mask::File(path.clone()))
    };
    let id = format!("{}/{}/{stem}", split.name, kind.name);
    Ok(Some(Case {
        patient: id.clone(),
        id,
        frame: None,
        split: Some(split.name.clone()),
        kind: Some(kind.name.clone()),
        images: vec![entry.path],
        mask,
    }))
}

/// A mask that no image has taken is a sign of names that do not fit.
fn check_masks(truth: &Masks, cases: &[Case]) -> Result<(), DatasetError> {
    let taken: BTreeSet<&Path> = cases.iter().filter_map(|case| case.mask.path()).collect();
    // Truth of normal images, all black, stands beside the others in some sets.
    let left = truth.iter().find(|((kind, _), path)| kind != NORMAL && !taken.contains(path.as_path()));
    left.map_or(Ok(()), |(_, path)| Err(DatasetErrorKind::MaskWithoutImage.at(path)))
}
