//! One folder for each case, with the same file names in each folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::fault::Fault;
use super::folder::{Entry, all_entries, expect_file, is_there, is_utf8_below};
use super::listing::Listing;
use super::passed_over::is_document;
use crate::endings::{is_image, is_volume, without_ending};

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
    for folder in all_entries(root)? {
        let fault = match folder.is_folder {
            true if is_utf8_below(&folder.path, root) => {
                let case = case(folder, images, mask)?;
                let lacking = mask.is_some() && case.mask == Mask::Unknown;
                listing.push(case, lacking);
                continue;
            }
            true => Fault::NotUtf8 { path: folder.path.clone() },
            // A link may have led to the folder of a case, unless its name is that of a file.
            false if folder.is_dangling && !is_named_as_file(&folder.path) => {
                let target = fs::read_link(&folder.path).unwrap_or_default();
                Fault::DanglingLink { path: folder.path.clone(), target }
            }
            false => {
                listing.passed.file(&folder.path);
                continue;
            }
        };
        // Its files are not looked up, so its mask does not count as missing.
        let images = images.iter().map(|name| file_in(&folder, name)).collect();
        let mask = mask.map_or(Mask::Unknown, |name| Mask::File(file_in(&folder, name)));
        listing.push(Case { images, mask, fault: Some(fault), ..Case::new(folder.name) }, false);
    }
    Ok(listing)
}

fn is_named_as_file(path: &Path) -> bool {
    is_image(path) || is_volume(path) || is_document(path)
}

/// The path of a file in the folder of a case.
fn file_in(folder: &Entry, name: &str) -> PathBuf {
    folder.path.join(name.replace(CASE, &folder.name))
}

fn case(folder: Entry, images: &[String], mask: Option<&str>) -> Result<Case, DatasetError> {
    // If file names contain the name of the case, channels are named after the common part.
    let channels = match images.iter().any(|name| name.contains(CASE)) {
        true => images.iter().map(|name| channel(name)).collect(),
        false => Vec::new(),
    };
    // An image that is no regular file, or a link whose target does not exist, is left to whoever reads it.
    let images = images
        .iter()
        .map(|name| {
            let path = file_in(&folder, name);
            there(&path).ok_or_else(|| DatasetErrorKind::MissingFile.at(&path))
        })
        .collect::<Result<_, _>>()?;
    let mask = match mask {
        Some(name) => find(&file_in(&folder, name))?.map_or(Mask::Unknown, Mask::File),
        None => Mask::Unknown,
    };
    Ok(Case { images, mask, channels, ..Case::new(folder.name) })
}

/// The name of a channel whose file names contain the case: `flair` for `{case}_flair.nii.gz`, `anat/{case}_flair.nii.gz` and
/// `flair/{case}.nii.gz`, and `image` for `{case}.nii.gz`.
fn channel(name: &str) -> String {
    let parts = without_ending(name).rsplit(['/', '\\']);
    let mut own = parts.map(|part| part.replace(CASE, "").trim_matches(['_', '-', '.', ' ']).to_owned());
    own.find(|part| !part.is_empty()).unwrap_or_else(|| "image".to_owned())
}

/// The file with this name, or with `.nii` in place of `.nii.gz` and the reverse. What is there must be a regular file.
pub(super) fn find(path: &Path) -> Result<Option<PathBuf>, DatasetError> {
    let Some(found) = there(path) else { return Ok(None) };
    if !found.exists() {
        return Err(DatasetErrorKind::DanglingLink.at(&found));
    }
    expect_file(&found)?;
    Ok(Some(found))
}

/// Like [`find`], whatever is there.
fn there(path: &Path) -> Option<PathBuf> {
    let other = path.to_str().and_then(|name| match name.strip_suffix(".nii.gz") {
        Some(stem) => Some(PathBuf::from(format!("{stem}.nii"))),
        None => name.ends_with(".nii").then(|| PathBuf::from(format!("{name}.gz"))),
    });
    std::iter::once(path.to_owned()).chain(other).find(|candidate| is_there(candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_named_after_files_or_else_folders() {
        for (pattern, name) in [
            ("{case}_flair.nii.gz", "flair"),
            ("anat/{case}_flair.nii.gz", "flair"),
            ("flair/{case}.nii.gz", "flair"),
            ("{case}/t1-{case}.nii", "t1"),
            ("{case}.nii.gz", "image"),
            ("{case}/{case}.nii.gz", "image"),
        ] {
            assert_eq!(channel(pattern), name, "{pattern}");
        }
    }
}
