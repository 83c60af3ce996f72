//! Any images and volumes below a folder.

use std::collections::BTreeSet;
use std::path::Path;

use super::case::Case;
use super::error::DatasetError;
use super::fault::Fault;
use super::folder::{Entry, all_files_below, is_utf8_below, utf8_name};
use super::listing::Listing;
use crate::endings::{is_image, is_volume};

pub(super) fn list(root: &Path) -> Result<Listing, DatasetError> {
    let mut listing = Listing::default();
    let files = if root.is_file() {
        let name = utf8_name(root)?;
        vec![Entry { name, path: root.to_owned(), is_folder: false, is_link: false, is_dangling: false }]
    } else {
        all_files_below(root, &mut listing.passed)?
    };
    let names: BTreeSet<String> = files.iter().map(|file| file.name.to_ascii_lowercase()).collect();
    for Entry { name, path, .. } in files {
        if !is_image(&name) && !is_volume(&name) {
            listing.passed.file(&path);
        } else if !is_second_half(&name, &names) {
            let fault = (!is_utf8_below(&path, root)).then(|| Fault::NotUtf8 { path: path.clone() });
            // The ending is a part of the id, since a folder may contain both `a.png` and `a.nii`. A pipe or a link
            // whose target does not exist is a case, too: reading it returns the error, and the other cases continue.
            listing.push(Case { images: vec![path], fault, ..Case::new(name) }, false);
        }
    }
    Ok(listing)
}

/// Whether a file contains the voxels for the header in another file: both files together are one case.
fn is_second_half(name: &str, names: &BTreeSet<String>) -> bool {
    let name = name.to_ascii_lowercase();
    let (plain, gz) = name.strip_suffix(".gz").map_or((name.as_str(), ""), |plain| (plain, ".gz"));
    let header = plain.strip_suffix(".img").map(|stem| format!("{stem}.hdr"));
    header.is_some_and(|header| {
        let other = if gz.is_empty() { ".gz" } else { "" };
        [gz, other].iter().any(|gz| names.contains(&format!("{header}{gz}")))
    })
}
