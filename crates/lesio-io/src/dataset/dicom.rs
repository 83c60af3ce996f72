//! DICOM series anywhere below a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::case::{Case, Mask};
use super::cases::{CASE, find};
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::files_below;
use super::listing::Listing;
use crate::dicom::Head;
use crate::error::{Escaped, ReadErrorKind};
use crate::options::DEFAULT_MAX_BYTES;

/// The minimum number of images of a series that is a case. Smaller series are localizers, reports and screenshots.
const LEAST: usize = 3;

/// The maximum number of characters of a part of a case's name.
const LONGEST: usize = 48;

/// The type of an image that shows the positions of other images.
const LOCALIZER: &str = "LOCALIZER";

/// The files of a series, and the header of the first file.
struct Series {
    head: Head,
    files: Vec<PathBuf>,
}

pub(super) fn list(root: &Path, wanted: Option<&str>, mask: Option<&str>) -> Result<Listing, DatasetError> {
    if mask.is_some_and(|mask| !mask.contains(CASE)) {
        let expected = "a mask whose name has {case} in it, as masks/{case}.nii.gz";
        return Err(DatasetErrorKind::NotThisLayout { layout: "dicom", expected }.at(root));
    }
    let mut listing = Listing::default();
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    let mut passed = Passed::default();
    for file in files_below(root, &mut listing.passed)? {
        match Head::read(&file.path, DEFAULT_MAX_BYTES) {
            Ok(None) => listing.passed.file(&file.path),
            Ok(Some(head)) if head.series.is_empty() => passed.add("files of no series", &file.path),
            Ok(Some(head)) if !head.is_image => passed.add("files without an image", &file.path),
            Ok(Some(head)) => {
                let uid = head.series.clone();
                let series = all.entry(uid).or_insert_with(|| Series { head, files: Vec::new() });
                series.files.push(file.path);
            }
            Err(ReadErrorKind::Io { operation, source }) => {
                return Err(DatasetErrorKind::Io { operation, source }.at(&file.path));
            }
            Err(error) => {
                let (path, error) = (Escaped(file.path.display()), error.to_string());
                tracing::warn!(%path, %error, "a damaged DICOM file, of which the series is not known");
            }
        }
    }
    all.retain(|_, series| {
        let why = series.passed_over(wanted);
        why.iter().for_each(|why| passed.add(why, &series.files[0]));
        why.is_none()
    });
    passed.tell(root);
    // If two series have the same name, both names get a hash of the series UID, whatever the order of the files.
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    all.values().for_each(|series| *names.entry(series.name()).or_default() += 1);
    let shared: BTreeSet<String> =
        names.into_iter().filter(|&(_, count)| count > 1).map(|(name, _)| name).collect();
    for series in all.into_values() {
        let mut id = series.name();
        if shared.contains(&id) {
            id += &format!("_{:08x}", crc32fast::hash(series.head.series.as_bytes()));
        }
        let found = mask.map(|mask| find(&root.join(mask.replace(CASE, &id)))).transpose()?;
        let lacking = matches!(found, Some(None));
        let case = Case { mask: found.flatten().map_or(Mask::Unknown, Mask::File), ..series.case(id) };
        listing.push(case, lacking);
    }
    Ok(listing)
}

impl Series {
    /// The reason why the series is not a case.
    fn passed_over(&self, wanted: Option<&str>) -> Option<&'static str> {
        let lower = self.head.description.to_lowercase();
        if wanted.is_some_and(|wanted| !lower.contains(&wanted.to_lowercase())) {
            return Some("series of other descriptions");
        }
        if self.head.image_type.split('\\').any(|word| word.trim() == LOCALIZER) {
            return Some("localizers");
        }
        // A series of one file may contain all slices; reading it shows whether they form a volume.
        (self.files.len() < LEAST && !self.head.has_frames).then_some("series of fewer than three images")
    }

    /// The patient; if the patient is not known, the study.
    fn patient(&self) -> &str {
        let Head { patient, study, series, .. } = &self.head;
        [patient, study].into_iter().find(|text| !text.is_empty()).unwrap_or(series)
    }

    fn name(&self) -> String {
        let parts = [self.patient(), &self.head.number, &self.head.description].map(file_name);
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
    }

    fn case(self, id: String) -> Case {
        let patient = one_line(self.patient());
        let Head { study_date, number, description, modality, .. } = &self.head;
        let further = [
            ("modality", modality),
            ("study_date", study_date),
            ("series_number", number),
            ("series_description", description),
        ];
        let further = further.map(|(name, value)| (name.to_owned(), one_line(value))).into();
        let channel = match file_name(description) {
            empty if empty.is_empty() => "image".to_owned(),
            name => name,
        };
        Case { patient, further, images: self.files, series: true, channels: vec![channel], ..Case::new(id) }
    }
}

/// A text in letters, digits, periods and hyphens, which any file name may contain; other characters become hyphens.
fn file_name(text: &str) -> String {
    let mut name = String::new();
    for letter in text.chars().take(LONGEST) {
        match letter {
            letter if letter.is_ascii_alphanumeric() || letter == '.' => name.push(letter),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.trim_matches(['-', '.']).to_owned()
}

/// A text without control characters, which could act on a terminal or break the line.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The files that are not part of a case, by reason: their number, and the first file.
#[derive(Default)]
struct Passed(BTreeMap<&'static str, (usize, PathBuf)>);

impl Passed {
    fn add(&mut self, why: &'static str, path: &Path) {
        self.0.entry(why).or_insert_with(|| (0, path.to_owned())).0 += 1;
    }

    fn tell(&self, root: &Path) {
        for (why, (count, first)) in &self.0 {
            let (folder, first) = (root.display(), Escaped(first.display()));
            tracing::warn!(%folder, count, %first, "{why}, which are no cases");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_files_may_have() {
        for (text, expected) in [
            ("P-001", "P-001"),
            ("../../etc/passwd", "etc-passwd"),
            ("t2 tirm (dark fl)", "t2-tirm-dark-fl"),
            ("M\u{fc}ller\u{1b}[2J", "M-ller-2J"),
            ("..", ""),
            ("", ""),
        ] {
            assert_eq!(file_name(text), expected, "{text}");
        }
        assert_eq!(file_name(&"x".repeat(500)).len(), LONGEST);
    }
}
