//! ACDC: patients with frames, and the segmentation next to each frame.

use std::path::Path;

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::{Entry, expect_file, folders, list as list_folder};
use super::listing::Listing;
use super::passed_over::PassedOver;
use crate::endings::volume_stem;

const TRUTH: &str = "_gt";

/// The whole cardiac cycle of a patient, which the published data set contains.
const CYCLE: &str = "4d";

pub(super) fn list(root: &Path) -> Result<Listing, DatasetError> {
    let mut listing = Listing::default();
    let mut alone = Vec::new();
    for folder in folders(root, &mut listing.passed)? {
        // In the published data set, the patients are in two folders.
        let split = match folder.name.as_str() {
            "training" => Some("train"),
            "testing" => Some("test"),
            _ => None,
        };
        let Some(split) = split else {
            alone.extend(frames(&folder, None, &mut listing.passed)?);
            continue;
        };
        let mut group = Vec::new();
        for patient in folders(&folder.path, &mut listing.passed)? {
            group.extend(frames(&patient, Some(split), &mut listing.passed)?);
        }
        push_all(&mut listing, group);
    }
    push_all(&mut listing, alone);
    Ok(listing)
}

/// Adds the frames of one group: if some have a segmentation, all should.
fn push_all(listing: &mut Listing, group: Vec<Case>) {
    let labeled = group.iter().any(|case| case.mask != Mask::Unknown);
    for case in group {
        let lacking = labeled && case.mask == Mask::Unknown;
        listing.push(case, lacking);
    }
}

fn frames(patient: &Entry, split: Option<&str>, passed: &mut PassedOver) -> Result<Vec<Case>, DatasetError> {
    let entries = list_folder(&patient.path)?;
    let stems: Vec<(&str, &Entry)> =
        entries.iter().filter_map(|entry| volume_stem(&entry.name).map(|stem| (stem, entry))).collect();
    for entry in entries.iter().filter(|entry| !entry.is_folder && volume_stem(&entry.name).is_none()) {
        passed.file(&entry.path);
    }
    let mut cases = Vec::new();
    for &(stem, entry) in &stems {
        let image = stem.strip_suffix(TRUTH);
        if let Some(image) = image {
            if !stems.iter().any(|&(other, _)| other == image) {
                return Err(DatasetErrorKind::MaskWithoutImage.at(&entry.path));
            }
            continue;
        }
        let own = stem.strip_prefix(patient.name.as_str()).and_then(|rest| rest.strip_prefix('_'));
        let Some(frame) = own.filter(|frame| is_frame(frame)) else {
            if own != Some(CYCLE) {
                passed.file(&entry.path);
            }
            continue;
        };
        expect_file(&entry.path)?;
        let mut masks =
            stems.iter().filter(|(other, _)| other.strip_suffix(TRUTH) == Some(stem)).map(|(_, mask)| *mask);
        let mask = match (masks.next(), masks.next()) {
            (None, _) => Mask::Unknown,
            (Some(mask), None) => {
                expect_file(&mask.path)?;
                Mask::File(mask.path.clone())
            }
            (Some(_), Some(second)) => {
                return Err(DatasetErrorKind::AmbiguousMask { id: stem.to_owned() }.at(&second.path));
            }
        };
        cases.push(Case {
            patient: patient.name.clone(),
            frame: Some(frame.to_owned()),
            split: split.map(str::to_owned),
            images: vec![entry.path.clone()],
            mask,
            ..Case::new(stem)
        });
    }
    Ok(cases)
}

fn is_frame(text: &str) -> bool {
    text.strip_prefix("frame")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
