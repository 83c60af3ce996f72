//! DICOM series anywhere below a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::case::{Case, Mask};
use super::cases::{CASE, find};
use super::error::{DatasetError, DatasetErrorKind};
use super::fault::Fault;
use super::folder::{all_entries, all_files_below, utf8_name};
use super::listing::Listing;
use super::unreadable::{Unreadable, is_directory, may_be_slice};
use crate::dicom::{Head, Start};
use crate::error::{Escaped, ReadErrorKind};
use crate::options::DEFAULT_MAX_BYTES;

/// The minimum number of images of a series that is a case. Smaller series are localizers, reports and screenshots.
const LEAST: usize = 3;

/// The maximum number of characters of a part of a case's name.
const LONGEST: usize = 48;

/// The type of an image that shows the positions of other images.
const LOCALIZER: &str = "LOCALIZER";

/// Modalities that are no images of a patient, though some have pixels: segmentations, doses, structures, plans,
/// reports, presentations, notes on other objects, registrations, documents.
const NO_IMAGES: [&str; 9] = ["SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "REG", "DOC"];

/// The files of a series, and the header of the first file.
struct Series {
    head: Head,
    files: Vec<PathBuf>,
    /// Whether one of them may be a slice of a volume: is neither a localizer nor of a modality without images.
    has_slices: bool,
    /// Whether one of them may hold several slices.
    has_frames: bool,
    /// The files that cannot be read and may be slices of it, by their number.
    doubtful: Vec<usize>,
}

pub(super) fn list(root: &Path, wanted: Option<&str>, mask: Option<&str>) -> Result<Listing, DatasetError> {
    if mask.is_some_and(|mask| !mask.contains(CASE)) {
        let expected = "a mask whose name has {case} in it, as masks/{case}.nii.gz";
        return Err(DatasetErrorKind::NotThisLayout { layout: "dicom", expected }.at(root));
    }
    let mut listing = Listing::default();
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    let mut passed = Passed::default();
    let (mut unreadable, mut others) = (Vec::new(), BTreeSet::new());
    for file in all_files_below(root, &mut listing.passed)? {
        let path = file.path;
        match Head::read(&path, DEFAULT_MAX_BYTES) {
            Ok(Start::Other { length, content }) => match Unreadable::remnant(&path, length, content) {
                Some(file) => unreadable.push(file),
                None => drop(others.insert(path)),
            },
            Ok(Start::Damaged { .. }) if is_directory(&path) => listing.passed.file(&path),
            Ok(Start::Damaged { series, fault }) => unreadable.push(Unreadable::new(path, series, &fault)),
            Ok(Start::Dicom(head)) if head.series.is_empty() => passed.add("files of no series", &path),
            Ok(Start::Dicom(head)) if !head.is_image => passed.add("files without an image", &path),
            Ok(Start::Dicom(head)) => {
                // Reports list the folders of a case as text.
                let mut parts = path.ancestors().take_while(|part| *part != root);
                parts.try_for_each(|part| utf8_name(part).map(drop))?;
                let (has_slices, has_frames) = (no_slice(&head).is_none(), head.has_frames);
                let uid = head.series.clone();
                let new = || Series {
                    head,
                    files: Vec::new(),
                    has_slices: false,
                    has_frames: false,
                    doubtful: Vec::new(),
                };
                let series = all.entry(uid).or_insert_with(new);
                series.files.push(path);
                series.has_slices |= has_slices;
                series.has_frames |= has_frames;
            }
            Err(ReadErrorKind::Io { operation, source }) => {
                return Err(DatasetErrorKind::Io { operation, source }.at(&path));
            }
            // A pipe, or a link that leads nowhere.
            Err(ReadErrorKind::NotRegularFile { .. }) => listing.passed.file(&path),
            Err(ReadErrorKind::DanglingLink { .. }) if !may_be_slice(&path) => listing.passed.file(&path),
            Err(fault) => unreadable.push(Unreadable::new(path, String::new(), &fault)),
        }
    }
    assign(&unreadable, &mut all);
    let mut names_of_others = Vec::new();
    all.retain(|_, series| {
        let why = series.passed_over(wanted);
        if let Some(why) = why {
            passed.add(why, &series.files[0]);
            names_of_others.push(series.name());
        }
        why.is_none()
    });
    passed.tell(root);
    tell_others(&unreadable, &all);
    // If two series have the same name, both names get a hash of the series UID, whatever the order of the files.
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    all.values().for_each(|series| *names.entry(series.name()).or_default() += 1);
    let shared: BTreeSet<String> =
        names.into_iter().filter(|&(_, count)| count > 1).map(|(name, _)| name).collect();
    let mut patients_without = BTreeSet::new();
    for series in all.into_values() {
        let mut id = series.name();
        if shared.contains(&id) {
            id += &format!("_{:08x}", crc32fast::hash(series.head.series.as_bytes()));
        }
        let found = mask.map(|mask| find(&root.join(mask.replace(CASE, &id)))).transpose()?;
        let lacking = matches!(found, Some(None));
        if lacking {
            patients_without.insert(file_name(series.patient()));
        }
        let mask = found.flatten().map_or(Mask::Unknown, Mask::File);
        let case = Case { mask, ..series.case(id, &unreadable) };
        listing.push(case, lacking);
    }
    let used: BTreeSet<&Path> = listing.cases.iter().filter_map(|case| case.mask.path()).collect();
    others.retain(|path| !used.contains(&**path));
    if let Some(mask) = mask.filter(|_| !patients_without.is_empty()) {
        let pattern = root.join(mask);
        let beside = match pattern.parent().filter(|folder| !folder.to_string_lossy().contains(CASE)) {
            Some(folder) if folder.is_dir() => {
                all_entries(folder)?.into_iter().map(|file| file.path).collect()
            }
            _ => Vec::new(),
        };
        // Masks of series that are no cases, and other files of a case, such as a mask of its brain.
        let ids = listing.cases.iter().map(|case| case.id.clone());
        let known: BTreeSet<String> = ids.chain(names_of_others).collect();
        let is_known = |own: &str| {
            let starts = own.match_indices(['_', '-', '.']).map(|(end, _)| &own[..end]);
            starts.chain([own]).any(|start| known.contains(start))
        };
        // A folder of masks may serve several sets of patients.
        let is_of_patient = |own: &str| {
            let mut rests = patients_without.iter().filter_map(|patient| own.strip_prefix(patient.as_str()));
            rests.any(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        let all: BTreeSet<&PathBuf> = beside.iter().chain(&others).collect();
        let is_stray = |path: &&PathBuf| {
            let name = name_by(path, &pattern);
            !used.contains(path.as_path()) && name.is_some_and(|own| !is_known(&own) && is_of_patient(&own))
        };
        listing.stray = all.into_iter().filter(is_stray).cloned().collect();
    }
    others.iter().for_each(|path| listing.passed.file(path));
    Ok(listing)
}

/// The name of a case for which a pattern gives this path, if there is one. As everywhere, `.nii` may stand for `.nii.gz`.
fn name_by(path: &Path, pattern: &Path) -> Option<String> {
    // Parts alone count: not how they are separated.
    let plain = |path: &Path| -> Option<String> {
        let text = path.components().collect::<PathBuf>().to_str()?.replace('\\', "/");
        Some(text.strip_suffix(".nii.gz").map_or(text.clone(), |stem| format!("{stem}.nii")))
    };
    let (path, pattern) = (plain(path)?, plain(pattern)?);
    let mut parts = pattern.split(CASE);
    let rest = path.strip_prefix(parts.next()?)?;
    let ends = rest.match_indices(parts.next()?).map(|(end, _)| &rest[..end]);
    let mut names = ends.filter(|name| !name.is_empty() && !name.contains('/'));
    names.find(|name| pattern.replace(CASE, name) == path).map(str::to_owned)
}

/// The reason why an image is no slice of a volume of a patient.
fn no_slice(head: &Head) -> Option<&'static str> {
    if head.image_type.split('\\').any(|word| word.trim() == LOCALIZER) {
        return Some("localizers");
    }
    let is_other = NO_IMAGES.contains(&head.modality.as_str());
    is_other.then_some("series without images: segmentations, doses, plans, reports")
}

/// Says of each series which files may be slices of it that cannot be read: those of its UID; and if their UID is not
/// known, those in a folder with one of its slices. Without them, the volume could be shorter, and no gap would show
/// it.
fn assign(unreadable: &[Unreadable], all: &mut BTreeMap<String, Series>) {
    let mut by_folder: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for (uid, series) in all.iter().filter(|_| !unreadable.is_empty()) {
        for folder in series.files.iter().filter_map(|file| file.parent()) {
            if by_folder.get(folder).is_none_or(|known| !known.contains(uid)) {
                by_folder.entry(folder.to_owned()).or_default().insert(uid.clone());
            }
        }
    }
    for (number, file) in unreadable.iter().enumerate() {
        let here = file.path.parent().and_then(|folder| by_folder.get(folder));
        let uids: Vec<&String> = match file.series.is_empty() {
            true => here.into_iter().flatten().collect(),
            false => vec![&file.series],
        };
        for uid in uids {
            if let Some(series) = all.get_mut(uid) {
                series.doubtful.push(number);
            }
        }
    }
}

/// Warns of the files that cannot be read and are of no case.
fn tell_others(unreadable: &[Unreadable], all: &BTreeMap<String, Series>) {
    let told: BTreeSet<usize> = all.values().flat_map(|series| &series.doubtful).copied().collect();
    for (_, file) in unreadable.iter().enumerate().filter(|(number, _)| !told.contains(number)) {
        let (path, error) = (Escaped(file.path.display()), Escaped(&file.reason));
        tracing::warn!(%path, %error, "a damaged DICOM file, of which no case is known");
    }
}

impl Series {
    /// The reason why the series is not a case.
    fn passed_over(&self, wanted: Option<&str>) -> Option<&'static str> {
        let lower = self.head.description.to_lowercase();
        if wanted.is_some_and(|wanted| !lower.contains(&wanted.to_lowercase())) {
            return Some("series of other descriptions");
        }
        // One localizer among slices makes a series that cannot be read, which the user must know.
        if let Some(why) = no_slice(&self.head).filter(|_| !self.has_slices) {
            return Some(why);
        }
        // A series of one file may contain all slices; reading it shows whether they form a volume.
        let most = self.files.len() + self.doubtful.len();
        (most < LEAST && !self.has_frames).then_some("series of fewer than three images")
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

    fn case(self, id: String, unreadable: &[Unreadable]) -> Case {
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
        let mut doubtful = self.doubtful.iter().filter_map(|&number| unreadable.get(number));
        let fault = doubtful.next().map(|file| Fault::PossibleSlice {
            path: file.path.clone(),
            reason: file.reason.clone(),
            others: self.doubtful.len() - 1,
        });
        // With the files in doubt: results of a run without them are not those of this series.
        let paths = self.doubtful.iter().filter_map(|&number| unreadable.get(number));
        let images = self.files.iter().chain(paths.map(|file| &file.path)).cloned().collect();
        let channels = vec![channel];
        Case { patient, further, images, series: true, channels, fault, ..Case::new(id) }
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
    fn masks_are_told_by_their_pattern() {
        for (path, pattern, expected) in [
            ("d/masks/P1_3.nii.gz", "d/masks/{case}.nii.gz", Some("P1_3")),
            ("d/masks/P1_3.nii", "d/./masks//{case}.nii.gz", Some("P1_3")),
            ("d/masks/P1_3.nii.gz", "d/masks/{case}_mask.nii.gz", None),
            ("d/masks/P1_mask_mask.nii", "d/masks/{case}_mask.nii", Some("P1_mask")),
            ("d/P1/P1.nii", "d/{case}/{case}.nii", Some("P1")),
            ("d/P1/P2.nii", "d/{case}/{case}.nii", None),
            ("d/masks/a/b.nii", "d/masks/{case}.nii", None),
            ("d/masks/.nii", "d/masks/{case}.nii", None),
        ] {
            assert_eq!(name_by(Path::new(path), Path::new(pattern)).as_deref(), expected, "{path} {pattern}");
        }
    }

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
