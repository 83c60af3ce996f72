//! Shards of the cases of a data set, for several machines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use lesio_io::ReadOptions;
use lesio_io::dataset::{Case, Mask};
use lesio_settings::{SettingError, require};
use serde::{Deserialize, Serialize};

use crate::workflow_error::WorkflowError;

/// Largest number of shards.
const MOST: usize = 1_000_000;

/// One of several shards of the cases of a data set, written `2/4`. Every case belongs to exactly one shard. Shards have
/// about equal size, by the bytes of their files, and every machine computes the same division.
///
/// ```
/// use lesio_study::Shard;
///
/// let shard: Shard = "2/4".parse()?;
/// assert_eq!((shard.index(), shard.of(), shard.to_string()), (2, 4, "2/4".to_owned()));
/// assert!("5/4".parse::<Shard>().is_err());
/// # Ok::<(), lesio_study::SettingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: usize,
    of: usize,
}

impl Shard {
    /// The shard `index`, starting at 1, of `of` shards, at most a million.
    ///
    /// # Errors
    /// [`SettingError`] if `index` is not within 1 to `of`.
    pub fn new(index: usize, of: usize) -> Result<Self, SettingError> {
        let sound = (1..=MOST).contains(&of) && (1..=of).contains(&index);
        require(sound, "shard", format!("{index}/{of}"), "K/N with K from 1 to N, at most a million")?;
        Ok(Self { index, of })
    }

    /// The number of this shard, starting at 1.
    #[must_use]
    pub fn index(self) -> usize {
        self.index
    }

    /// The number of shards.
    #[must_use]
    pub fn of(self) -> usize {
        self.of
    }

    /// The file name of its report, as programs write it.
    fn report_name(self) -> String {
        format!("report-{}-of-{}.json", self.index, self.of)
    }

    /// The indices of the cases of this shard, ascending: cases are assigned in descending order of size, each to the shard that
    /// is smallest so far.
    pub(crate) fn places(self, cases: &[Case]) -> Vec<usize> {
        deal(&cases.iter().map(bytes).collect::<Vec<_>>(), self.of, self.index - 1)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl TryFrom<String> for Shard {
    type Error = SettingError;

    fn try_from(text: String) -> Result<Self, SettingError> {
        text.parse()
    }
}

impl FromStr for Shard {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let parts = text.split_once('/').map(|(index, of)| (index.parse(), of.parse()));
        match parts {
            Some((Ok(index), Ok(of))) => Self::new(index, of),
            _ => Err(SettingError::new("shard", text, "K/N, such as 2/4")),
        }
    }
}

/// What the report of a shard states about the whole data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShardRecord {
    /// The shard.
    pub shard: Shard,
    /// The number of all cases, and a checksum of what is read of them: names, files with their sizes, masks, and how
    /// masks are matched to their images.
    pub all: (usize, u32),
    /// A checksum of the options that change results.
    pub options: u32,
    /// The index of each of its cases among all cases, by name.
    pub places: BTreeMap<String, usize>,
}

impl ShardRecord {
    pub(crate) fn new(shard: Shard, cases: &[Case], places: &[usize], options: u32) -> Self {
        let places = places.iter().map(|&place| (cases[place].id().to_owned(), place)).collect();
        Self { shard, all: (cases.len(), cases_checksum(cases)), options, places }
    }
}

/// A checksum of what is read of cases: their names and patients, the names and sizes of their files, the names of
/// their channels, the kinds of their truths, and how masks are matched. The folder of the data set does not count: it
/// may differ between machines.
pub(crate) fn cases_checksum(cases: &[Case]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    for case in cases {
        let images: Vec<_> = case.images().iter().map(|image| image.file_name()).collect();
        let (id, patient, matching) = (case.id(), case.patient(), case.matching());
        let channels = case.channel_names(&ReadOptions::new());
        let text = format!("{id:?} {patient:?} {images:?} {channels:?} {matching:?} {}\n", truth(case));
        checksum.update(text.as_bytes());
        checksum.update(&bytes(case).to_le_bytes());
    }
    checksum.finalize()
}

/// The kind of a case's truth, and the path and the size of its file. The path starts where it parts from that of the
/// image: the masks of two readers may have the same names in two folders.
fn truth(case: &Case) -> String {
    match case.mask() {
        Mask::File(mask) => {
            let image = case.images().first().map_or(Path::new(""), PathBuf::as_path);
            let mut above = image.components();
            let own: Vec<Component<'_>> =
                mask.components().skip_while(|part| above.next() == Some(*part)).collect();
            format!("{own:?} {}", size(mask))
        }
        Mask::Normal => "normal".to_owned(),
        _ => "unknown".to_owned(),
    }
}

mod sealed {
    use super::{ShardRecord, WorkflowError};

    /// How reports are merged.
    pub trait Merged: Sized {
        /// The shard; `None` for all cases.
        fn shard(&mut self) -> &mut Option<ShardRecord>;
        /// A text that changes with the models.
        fn fingerprint(&self) -> &str;
        /// The names of all its cases, including those that failed.
        fn ids(&self) -> impl Iterator<Item = &str>;
        /// Appends the cases of another report.
        ///
        /// # Errors
        /// If they are stored in a file, and that fails.
        fn absorb(&mut self, other: Self) -> Result<(), WorkflowError>;
        /// Sorts the cases, and those that failed, by their indices.
        fn sort_by(&mut self, place: impl Fn(&str) -> Option<usize>);
    }
}

pub(crate) use sealed::Merged;

/// A report of one shard, or of all cases: a [`LocalizationReport`](crate::LocalizationReport),
/// [`CohortMeasurements`](crate::CohortMeasurements) or a [`GradingReport`](crate::quality::GradingReport).
pub trait ShardReport: Merged {}

impl<R: Merged> ShardReport for R {}

/// Merges the reports of all shards of a data set into the report of a single run, with the cases in the order of the data
/// set.
///
/// # Errors
/// If there is no report, if a shard is missing, occurs twice or lacks cases, and if reports differ in data set, models or
/// options.
pub fn merge_shards<R: ShardReport>(reports: impl IntoIterator<Item = R>) -> Result<R, WorkflowError> {
    let refused = |why: String| WorkflowError::Merge { why };
    let mut joined: Option<(R, ShardRecord)> = None;
    let (mut seen, mut places) = (BTreeSet::new(), BTreeMap::new());
    for mut report in reports {
        let record =
            report.shard().take().ok_or_else(|| refused("a report is not that of a shard".to_owned()))?;
        if let Some((whole, first)) = &joined {
            let (one, other) = (first.shard, record.shard);
            let counts = match [first.all.0, record.all.0] {
                [count, same] if count == same => format!("{count} cases each"),
                [count, another] => format!("{count} cases and {another} cases"),
            };
            let data =
                format!("different data sets (images, channels, masks, or how masks are matched), {counts}");
            for (differ, what) in [
                (one.of() != other.of(), "different numbers of shards"),
                (first.all != record.all, data.as_str()),
                (whole.fingerprint() != report.fingerprint(), "different models"),
                (first.options != record.options, "different options"),
            ] {
                if differ {
                    let [file, another] = [one, other].map(Shard::report_name);
                    return Err(refused(format!(
                        "shards {one} and {other} have {what}; see {file} and {another}"
                    )));
                }
            }
        }
        if !seen.insert(record.shard.index()) {
            return Err(refused(format!("shard {} occurs twice", record.shard)));
        }
        // The first shard of an evaluation also lists the validation cases that could not be used.
        let ids: BTreeSet<&str> = report.ids().collect();
        if !record.places.keys().all(|id| ids.contains(id.as_str())) {
            return Err(refused(format!("shard {} lacks some of its cases", record.shard)));
        }
        for (id, &place) in &record.places {
            if places.insert(id.clone(), place).is_some() {
                return Err(refused(format!("case {id} is in two shards")));
            }
        }
        match &mut joined {
            Some((whole, _)) => whole.absorb(report)?,
            None => joined = Some((report, record)),
        }
    }
    let (mut whole, first) = joined.ok_or_else(|| refused("there is no report".to_owned()))?;
    let of = first.shard.of();
    let missing: Vec<String> =
        (1..=of).filter(|index| !seen.contains(index)).map(|index| format!("{index}/{of}")).collect();
    if !missing.is_empty() {
        return Err(refused(format!("missing: {}", missing.join(", "))));
    }
    if places.len() != first.all.0 {
        let (found, expected) = (places.len(), first.all.0);
        return Err(refused(format!("{found} cases were found, expected {expected}")));
    }
    whole.sort_by(|id| places.get(id).copied());
    Ok(whole)
}

/// The bytes of the images of a case.
fn bytes(case: &Case) -> u64 {
    case.images().iter().map(|file| size(file)).sum()
}

/// The bytes of a file; a missing file counts 0.
fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |found| found.len())
}

/// The indices of the cases of one shard.
fn deal(bytes: &[u64], of: usize, index: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..bytes.len()).collect();
    order.sort_by_key(|&place| (Reverse(bytes[place]), place));
    // Of equal loads, the shard with fewest cases comes first, so that empty files are distributed as well.
    let mut loads: BinaryHeap<Reverse<(u64, usize, usize)>> =
        (0..of).map(|shard| Reverse((0, 0, shard))).collect();
    let mut own = Vec::new();
    for place in order {
        let Some(Reverse((load, cases, shard))) = loads.pop() else { break };
        if shard == index {
            own.push(place);
        }
        loads.push(Reverse((load.saturating_add(bytes[place]), cases + 1, shard)));
    }
    own.sort_unstable();
    own
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lesio_io::Matching;
    use lesio_io::dataset::{Dataset, DatasetOptions, Layout};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_case_is_in_one_shard_and_shards_are_balanced(
            bytes in prop::collection::vec(0_u64..1000, 0..60),
            of in 1_usize..8,
        ) {
            let shards: Vec<Vec<usize>> = (0..of).map(|index| deal(&bytes, of, index)).collect();
            let mut all: Vec<usize> = shards.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..bytes.len()).collect::<Vec<_>>());
            let loads: Vec<u64> = shards.iter().map(|own| own.iter().map(|&place| bytes[place]).sum()).collect();
            let largest = bytes.iter().copied().max().unwrap_or(0);
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= largest);
        }
    }

    #[test]
    fn impossible_shards_are_errors() {
        for text in ["0/4", "5/4", "1/0", "1", "a/b", "1/2/3", "-1/2", ""] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    /// Shards with other masks, or with masks that are matched otherwise, have other truths: they must not be merged.
    #[test]
    fn other_masks_are_other_data() {
        let write = |root: &Path| {
            for case in ["a", "b"] {
                fs::create_dir(root.join(case)).unwrap();
                for (name, bytes) in [("image.nii", 100), ("mask.nii", 10), ("other.nii", 10)] {
                    fs::write(root.join(case).join(name), vec![1; bytes]).unwrap();
                }
            }
        };
        let record = |root: &Path, mask: Option<&str>, matching: Matching| {
            let options = DatasetOptions::new().matching(matching);
            let data = Dataset::open_with(root, &Layout::cases("image.nii", mask), &options).unwrap();
            let shard = Shard::new(1, 2).unwrap();
            ShardRecord::new(shard, data.cases(), &shard.places(data.cases()), 0)
        };
        let [here, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        write(here.path());
        write(elsewhere.path());
        let own = record(here.path(), Some("mask.nii"), Matching::Place);
        assert_eq!(own, record(elsewhere.path(), Some("mask.nii"), Matching::Place), "another machine");
        for (mask, matching) in [
            (Some("other.nii"), Matching::Place),
            (Some("mask.nii"), Matching::Position),
            (None, Matching::Place),
        ] {
            let other = record(here.path(), mask, matching);
            assert_ne!(own.all, other.all, "{mask:?} {matching:?}");
            assert_eq!(own.places, other.places, "images alone determine the division");
        }
        // A case of the other shard counts, too.
        fs::write(here.path().join("b/mask.nii"), [1; 11]).unwrap();
        assert_ne!(own.all, record(here.path(), Some("mask.nii"), Matching::Place).all);
        // Masks of the same names and sizes, in the folders of two readers.
        let by = |reader: &str| {
            let table = here.path().join(format!("{reader}.csv"));
            fs::write(&table, format!("image,mask\na/image.nii,{reader}/a.nii\n")).unwrap();
            cases_checksum(Dataset::open(&table, &Layout::Manifest).unwrap().cases())
        };
        assert_ne!(by("first"), by("second"));
    }

    /// A model orders channels by their names.
    #[test]
    fn other_channel_names_are_other_data() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.nii", "b.nii"] {
            fs::write(folder.path().join(name), [1]).unwrap();
        }
        let table = folder.path().join("cases.csv");
        let with = |header: &str| {
            fs::write(&table, format!("{header}\na.nii,b.nii\n")).unwrap();
            cases_checksum(Dataset::open(&table, &Layout::Manifest).unwrap().cases())
        };
        assert_ne!(with("image:flair,image:t1"), with("image:t1,image:flair"));
    }
}
