//! One folder for each case, with the same file names in each folder.

use std::path::{Path, PathBuf};

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::{Entry, expect_file, folders, is_there};
use super::listing::Listing;
use crate::endings::without_ending;

/// The placeholder for the folder's name.
pub(super) const CASE: &str = "{case}";

pub(super) fn list(root: &Path, images: &[String], mask: Option<&str>) -> Result<Listing, DatasetError> {
    let refused = |expected| Err(DatasetErrorKind::NotThisLayout { layout: "cases", expected }.at(root));
    if images.is_empty() {
        return refused("the name of at least one image");
    }
    if mask.is_some_and(|mask| images.iter().any(|image| image == mask)) {
        return refused("a mask of another name than the image's");
    }
    let mut listing = Listing::default();
    for folder in folders(root, &mut listing.passed)? {
        let case = case(folder, images, mask)?;
        let lacking = mask.is_some() && case.mask == Mask::Unknown;
        listing.push(case, lacking);
    }
    Ok(listing)
}

fn case(folder: Entry, images: &[String], mask: Option<&str>) -> Result<Case, DatasetError> {
    // If file names contain the name of the case, channels are named after the common part.
    let channels = match images.iter().any(|name| name.contains(CASE)) {
        true => images.iter().map(|name| channel(name)).collect(),
        false => Vec::new(),
    };
    let named = |name: &str| folder.path.join(name.replace(CASE, &folder.name));
    let images = images
        .iter()
        .map(|name| {
            let path = named(name);
            find(&path)?.ok_or_else(|| DatasetErrorKind::MissingFile.at(&path))
        })
        .collect::<Result<_, _>>()?;
    let mask = match mask {
        Some(name) => find(&named(name))?.map_or(Mask::Unknown, Mask::File),
        None => Mask::Unknown,
    };
    Ok(Case { images, mask, channels, ..Case::new(folder.name) })
}

/// The name of a channel whose file names contain the case: `flair` for `{case}_flair.nii.gz`, and `image` for
/// `{case}.nii.gz`.
fn channel(name: &str) -> String {
    match without_ending(name).replace(CASE, "").trim_matches(['_', '-', '.', ' ']) {
        "" => "image".to_owned(),
        channel => channel.to_owned(),
    }
}

/// The file with this name, or with `.nii` in place of `.nii.gz` and the reverse.
pub(super) fn find(path: &Path) -> Result<Option<PathBuf>, DatasetError> {
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
