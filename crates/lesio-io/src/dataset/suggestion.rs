//! Suggestion of a layout for a folder that does not have the requested layout.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::bids;
use crate::endings::{is_image, is_volume, volume_stem};

/// The maximum number of folders that are searched, since this is only a guess.
const LOOKED_INTO: usize = 40;

/// The maximum number of names in a suggestion.
const GIVEN: usize = 4;

/// Describes the layout that a folder appears to have, if it is not the requested layout.
pub(super) fn suggest(root: &Path, asked: &str) -> Option<String> {
    if let Some(found) = layout_of(root).filter(|found| !found.is(asked)) {
        return Some(format!("it looks like {}", found.text()));
    }
    folders(root).iter().find_map(|name| {
        let found = layout_of(&root.join(name)).filter(|found| matches!(found, Found::Named(_)))?;
        Some(format!("its folder {name} looks like {}", found.text()))
    })
}

/// Describes the volumes and images in a folder, one of which the user may have meant if a file is missing.
pub(super) fn contents(folder: &Path) -> Option<String> {
    let names: Vec<String> =
        names(folder).into_iter().filter(|name| is_volume(name) || is_image(name)).collect();
    let more = names.len().saturating_sub(GIVEN);
    let mut text = names.into_iter().take(GIVEN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    (!text.is_empty()).then(|| format!("the folder holds {text}"))
}

enum Found {
    Named(&'static str),
    /// Folders with a volume of this name.
    Cases(String),
    Images,
}

impl Found {
    fn is(&self, layout: &str) -> bool {
        match self {
            Self::Named(name) => *name == layout,
            Self::Cases(_) => layout == "cases",
            Self::Images => layout == "images",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Named(name) => format!("the layout {name}"),
            Self::Cases(image) => format!("the layout cases with {image} in each folder"),
            Self::Images => "the layout images".to_owned(),
        }
    }
}

fn layout_of(root: &Path) -> Option<Found> {
    let has = |name: &str| root.join(name).is_dir();
    if root.join(bids::DESCRIPTION).is_file() {
        return Some(Found::Named("bids"));
    }
    if has("imagesTr") || has("labelsTr") {
        return Some(Found::Named("msd"));
    }
    if has("ground_truth") || has("train/good") || has("test/good") {
        return Some(Found::Named("mvtec"));
    }
    let below = folders(root);
    let is_patient = |folder: &Path, name: &str| {
        let frame = format!("{name}_frame");
        names(folder).iter().any(|file| volume_stem(file).is_some_and(|stem| stem.starts_with(&frame)))
    };
    let published = ["training", "testing"].iter().flat_map(|half| {
        let half = root.join(half);
        folders(&half).into_iter().map(move |name| (half.join(&name), name))
    });
    let mut patients = below.iter().map(|name| (root.join(name), name.clone())).chain(published);
    if patients.any(|(folder, name)| is_patient(&folder, &name)) {
        return Some(Found::Named("acdc"));
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in below.iter().flat_map(|name| names(&root.join(name))).filter(|name| is_volume(name)) {
        *counts.entry(name).or_default() += 1;
    }
    // Of names that occur in equally many folders, prefer one that does not look like the name of a mask.
    let often = |name: &str, count: usize| {
        let lower = name.to_ascii_lowercase();
        let mask = ["mask", "seg", "label", "_gt", "truth"].iter().any(|part| lower.contains(part));
        (count, !mask)
    };
    if let Some((name, &count)) = counts.iter().max_by_key(|&(name, &count)| often(name, count))
        && (count > 1 || below.len() == 1)
    {
        return Some(Found::Cases(name.clone()));
    }
    let holds = |folder: &Path| names(folder).iter().any(|name| is_volume(name) || is_image(name));
    let holds_slices = |folder: &Path| {
        names(folder).iter().any(|name| name.to_ascii_lowercase().ends_with(".dcm") || name == "DICOMDIR")
    };
    if holds_slices(root) || below.iter().any(|name| holds_slices(&root.join(name))) {
        return Some(Found::Named("dicom"));
    }
    let any = holds(root) || below.iter().any(|name| holds(&root.join(name)));
    any.then_some(Found::Images)
}

/// The visible names in a folder, sorted; none if the folder cannot be listed.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

fn folders(folder: &Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| folder.join(name).is_dir()).take(LOOKED_INTO).collect()
}
