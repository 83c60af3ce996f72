//! ACDC: patients, their frames, and the segmentation beside each.

use std::path::Path;

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::{Entry, expect_file, folders, list as list_folder, volume_stem};

const TRUTH: &str = "_gt";

pub(super) fn list(root: &Path) -> Result<Vec<Case>, DatasetError> {
    let mut cases = Vec::new();
    for folder in folders(root)? {
        // As the set is published, two folders stand above the patients.
        let split = match folder.name.as_str() {
            "training" => Some("train"),
            "testing" => Some("test"),
            _ => None,
        };
        match split {
            Some(split) => {
                for patient in folders(&folder.path)? {
                    cases.extend(frames(&patient, Some(split))?);
                }
            }
            None => cases.extend(frames(&folder, None)?),
        }
    }
    Ok(cases)
}

fn frames(patient: &Entry, split: Option<&str>) -> Result<Vec<Case>, DatasetError> {
    let entries = list_folder(&patient.path)?;
    let stems: Vec<(&str, &Entry)> =
        entries.iter().filter_map(|entry| volume_stem(&entry.name).map(|stem| (stem, entry))).collect();
    let mut cases = Vec::new();
    for &(stem, entry) in &stems {
        let image = stem.strip_suffix(TRUTH);
        if image.is_some_and(|image| !stems.iter().any(|&(other, _)| other == image)) {
            return Err(DatasetErrorKind::MaskWithoutImage.at(&entry.path));
        }
        // The whole cycle, `patientNNN_4d`, is no frame, and neither is anything else.
        let frame = stem.strip_prefix(patient.name.as_str()).and_then(|rest| rest.strip_prefix('_'));
        let Some(frame) = frame.filter(|frame| image.is_none() && is_frame(frame)) else { continue };
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
            id: stem.to_owned(),
            patient: patient.name.clone(),
            frame: Some(frame.to_owned()),
            split: split.map(str::to_owned),
            kind: None,
            images: vec![entry.path.clone()],
            mask,
        });
    }
    Ok(cases)
}

fn is_frame(text: &str) -> bool {
    text.strip_prefix("frame")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
