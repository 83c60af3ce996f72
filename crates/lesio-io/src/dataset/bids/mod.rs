//! The Brain Imaging Data Structure: `sub-01/ses-02/anat/sub-01_ses-02_run-1_FLAIR.nii.gz`.

mod columns;
mod found;
mod ignored;
mod masks;
mod name;

use std::collections::BTreeMap;
use std::path::Path;

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::{Entry, entries};
use super::listing::Listing;
use columns::Columns;
use found::{Found, HINT, matching, misnamed};
use ignored::Ignored;
use masks::Masks;
use name::{Entity, Name, Pattern, is_label, joined};

/// The file that identifies a folder as a BIDS data set.
pub(super) const DESCRIPTION: &str = "dataset_description.json";

/// The maximum number of subjects or files that a warning names.
const NAMED: usize = 5;

pub(super) fn list(
    root: &Path,
    suffixes: &[String],
    mask: Option<&str>,
    derivative: Option<&str>,
) -> Result<Listing, DatasetError> {
    let refused = |expected| DatasetErrorKind::NotThisLayout { layout: "bids", expected }.at(root);
    if !root.join(DESCRIPTION).is_file() {
        let hint = "every data set of BIDS has one, with its Name and BIDSVersion".to_owned();
        return Err(refused("a file dataset_description.json in the folder").hinted(Some(hint)));
    }
    let pattern = |text: &String| {
        let refused = || refused("suffixes such as FLAIR or acq-3D_FLAIR");
        Pattern::parse(text).map_err(|reason| refused().hinted(Some(reason)))
    };
    let patterns = suffixes.iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
    if patterns.is_empty() || (1..patterns.len()).any(|place| patterns[..place].contains(&patterns[place])) {
        return Err(refused("the suffix of at least one image, and none twice"));
    }
    let mask = mask.map(|text| pattern(&text.to_owned())).transpose()?;
    if mask.as_ref().is_some_and(|mask| patterns.contains(mask)) {
        return Err(refused("a mask of another suffix than the image's"));
    }
    let masks = mask.map(|mask| Masks::new(root, mask, derivative)).transpose()?;
    let data_set = DataSet {
        ignored: Ignored::of(root)?,
        participants: Columns::of(&root.join("participants.tsv"), "participant_id")?,
        patterns,
        masks,
        root,
    };
    let mut listing = Listing::default();
    let (mut without_image, mut without_row, mut ignored_masks) = (Vec::new(), Vec::new(), Vec::new());
    for folder in data_set.visible(root)? {
        if !folder.is_folder || !folder.name.starts_with("sub-") {
            continue;
        }
        let before = listing.cases.len();
        data_set.subject(&folder, &mut listing, &mut ignored_masks)?;
        if listing.cases.len() == before {
            without_image.push(folder.name);
        } else if data_set.participants.lacks(&folder.name) {
            without_row.push(folder.name);
        }
    }
    let suffixes = suffixes.join(" or ");
    tell(root, &without_image, &format!("subjects without an image {suffixes}, which are no cases"));
    tell(root, &without_row, "subjects without a row in participants.tsv");
    tell(root, &ignored_masks, "masks that .bidsignore leaves out");
    Ok(listing)
}

fn tell(root: &Path, names: &[String], what: &str) {
    if let Some(first) = names.get(..NAMED.min(names.len())).filter(|first| !first.is_empty()) {
        let (folder, count, first) = (root.display(), names.len(), first.join(", "));
        tracing::warn!(%folder, count, %first, "{what}");
    }
}

struct DataSet<'a> {
    root: &'a Path,
    patterns: Vec<Pattern>,
    ignored: Ignored,
    participants: Columns,
    masks: Option<Masks>,
}

impl DataSet<'_> {
    /// The entries of a folder that are not ignored. Links whose target does not exist are included: archives that
    /// load files on demand contain many of them, and only links to files that are read matter.
    fn visible(&self, folder: &Path) -> Result<Vec<Entry>, DatasetError> {
        let mut found = entries(folder)?;
        found.retain(|entry| !self.is_ignored(&entry.path, entry.is_folder));
        Ok(found)
    }

    fn is_ignored(&self, path: &Path, is_folder: bool) -> bool {
        self.ignored.contains(&self.below(path), is_folder)
    }

    /// Like [`Self::is_ignored`], except that a rule for the whole folder of derivatives is not one for the masks in it: many
    /// data sets have one, since a validator does not read derivatives.
    fn is_ignored_mask(&self, path: &Path) -> bool {
        let below = self.below(path);
        match below.starts_with(&format!("{}/", masks::DERIVATIVES)) {
            true => self.ignored.contains_within(&below, 1),
            false => self.ignored.contains(&below, false),
        }
    }

    fn below(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).to_string_lossy().replace('\\', "/")
    }

    fn subject(
        &self,
        folder: &Entry,
        listing: &mut Listing,
        ignored_masks: &mut Vec<String>,
    ) -> Result<(), DatasetError> {
        check_label(folder)?;
        let sessions = Columns::of(&folder.path.join(format!("{}_sessions.tsv", folder.name)), "session_id")?;
        let mut places = vec![(folder.path.clone(), None)];
        for entry in self.visible(&folder.path)? {
            if entry.is_folder && entry.name.starts_with("ses-") {
                check_label(&entry)?;
                places.push((entry.path, Some(entry.name)));
            }
        }
        for (place, session) in places {
            let mut cases = self.session(&place, &folder.name, session.as_deref())?;
            if let (Some(masks), Ok(below)) = (&self.masks, place.strip_prefix(self.root)) {
                let stray = masks.assign(below, &mut cases, |mask| {
                    let is_ignored = self.is_ignored_mask(mask);
                    ignored_masks.extend(is_ignored.then(|| mask.display().to_string()));
                    is_ignored
                })?;
                // Beside cases that all have a mask, it is that of another image.
                if cases.iter().any(|(case, _)| case.mask == Mask::Unknown) {
                    listing.stray.extend(stray);
                }
            }
            for (mut case, _) in cases {
                let own = session.iter().flat_map(|session| sessions.get(session));
                let name = session.iter().map(|session| ("session".to_owned(), session.clone()));
                let participant = self.participants.get(&folder.name).iter();
                case.further = merged(name.chain(participant.chain(own).cloned()));
                // Some data sets have a column for the split in the table of subjects.
                let split = case.further.iter().find(|(name, value)| name == "split" && !value.is_empty());
                case.split = split.map(|(_, value)| value.clone());
                let lacking = self.masks.is_some() && case.mask == Mask::Unknown;
                listing.push(case, lacking);
            }
        }
        Ok(())
    }

    /// The cases of a session, or of a subject without sessions, with the names of their images.
    fn session(
        &self,
        place: &Path,
        subject: &str,
        session: Option<&str>,
    ) -> Result<Vec<(Case, Vec<Name>)>, DatasetError> {
        let mut found = Vec::new();
        for folder in self.visible(place)? {
            if folder.is_folder && !folder.name.starts_with("ses-") {
                for own in matching(self.visible(&folder.path)?, &self.patterns) {
                    let own = own?;
                    check_place(&own, subject, session)?;
                    found.push(own);
                }
            }
        }
        let single = (0..self.patterns.len())
            .all(|pattern| found.iter().filter(|found| found.pattern == pattern).count() == 1);
        let mut groups: BTreeMap<Vec<Entity>, Vec<Option<Found>>> = BTreeMap::new();
        for found in found {
            // A session with one image of each kind has one case, whatever the other entities are.
            let key = if single { Vec::new() } else { found.name.key(&self.patterns[found.pattern]) };
            let channels = groups.entry(key).or_insert_with(|| vec![None; self.patterns.len()]);
            let channel = &mut channels[found.pattern];
            if let Some(earlier) = channel {
                let id = joined(&earlier.name.entities);
                return Err(DatasetErrorKind::DuplicateCase { id }
                    .at(&found.path)
                    .hinted(Some(HINT.to_owned())));
            }
            *channel = Some(found);
        }
        Ok(groups.values().map(|channels| self.case(subject, channels)).collect())
    }

    fn case(&self, subject: &str, channels: &[Option<Found>]) -> (Case, Vec<Name>) {
        let there: Vec<&Found> = channels.iter().flatten().collect();
        let folder = there.first().and_then(|found| found.path.parent()).unwrap_or(self.root);
        let in_all = |(own, value): &&Entity| {
            there.iter().all(|found| {
                found
                    .name
                    .get(own)
                    .is_some_and(|other| name::compared(own, other) == name::compared(own, value))
            })
        };
        // The entities that all images have in common.
        let first = there.iter().take(1).flat_map(|first| &first.name.entities);
        let common: Vec<Entity> = first.filter(in_all).cloned().collect();
        let images = channels.iter().zip(&self.patterns).map(|(channel, pattern)| match channel {
            Some(found) => found.path.clone(),
            // A missing image is an error only when it is read, so that one subject does not stop the whole data set.
            None => folder.join(pattern.file(&common)),
        });
        let names = there.iter().map(|found| found.name.clone()).collect();
        let case = Case {
            patient: subject.to_owned(),
            images: images.collect(),
            channels: self.patterns.iter().map(Pattern::to_string).collect(),
            ..Case::new(joined(&common))
        };
        (case, names)
    }
}

/// Checks that the names of a file and of its folder state the same subject and session.
fn check_place(found: &Found, subject: &str, session: Option<&str>) -> Result<(), DatasetError> {
    let own = |key: &str| found.name.get(key).map(|value| format!("{key}-{value}"));
    for (what, expected, own) in [("subject", Some(subject), own("sub")), ("session", session, own("ses"))] {
        if own.as_deref() != expected {
            let [own, expected] = [own.as_deref(), expected].map(|name| name.unwrap_or("none").to_owned());
            let reason = format!("by its name its {what} is {own}, by its folder {expected}");
            return Err(misnamed(reason, &found.path));
        }
    }
    Ok(())
}

/// Checks the label of a subject or session.
fn check_label(folder: &Entry) -> Result<(), DatasetError> {
    match folder.name.split_once('-').is_some_and(|(_, label)| is_label(label)) {
        true => Ok(()),
        false => Err(misnamed("expected letters and digits after the hyphen".to_owned(), &folder.path)),
    }
}

/// Merges columns by name: a later value that is known replaces an earlier one in its place.
fn merged(columns: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, value) in columns {
        match merged.iter_mut().find(|(own, _)| *own == name) {
            Some((_, own)) if !value.is_empty() => *own = value,
            Some(_) => {}
            None => merged.push((name, value)),
        }
    }
    merged
}
