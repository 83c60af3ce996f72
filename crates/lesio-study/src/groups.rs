//! Predictors against lesions of one kind at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use lesio_metrics::{BootstrapConfig, PatientPixels};
use ndarray::{Array3, Axis};
use serde::{Deserialize, Serialize};

use crate::error::StudyError;
use crate::evaluation::Maps;
use crate::verdict::Interval95;

/// Which group each lesion of each case belongs to, by its number in the mask.
///
/// ```
/// use lesio_study::LesionGroups;
///
/// let table = "case,lesion,kind,contrast\nann,1,bright,0.6\nann,2,textured,0.2\n";
/// let groups = LesionGroups::read(table.as_bytes())?;
/// assert_eq!(groups.of("ann", 2), Some("textured, contrast .2"));
/// assert_eq!(groups.of("bob", 1), None);
/// # Ok::<(), lesio_study::StudyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LesionGroups {
    by_lesion: BTreeMap<(String, u32), String>,
}

/// A row of a table of lesions; what else it holds is passed over.
#[derive(Deserialize)]
struct Row {
    case: String,
    lesion: u32,
    kind: String,
    contrast: Option<f64>,
}

impl LesionGroups {
    /// Reads a table with the columns `case`, `lesion`, `kind` and perhaps `contrast`, as the one that
    /// `inject_lesions` writes: lesions of one kind and of one tenth of contrast are a group.
    ///
    /// # Errors
    /// [`StudyError::Table`] naming the line that cannot be read, a contrast that is no number, or a lesion that stands
    /// in two lines.
    pub fn read(table: impl Read) -> Result<Self, StudyError> {
        let mut by_lesion = BTreeMap::new();
        let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(table);
        for row in rows.deserialize() {
            let row: Row = row.map_err(|error| StudyError::Table { reason: error.to_string() })?;
            let refused = |what: String| StudyError::Table {
                reason: format!("lesion {} of case {:?} {what}", row.lesion, row.case),
            };
            if let Some(contrast) = row.contrast.filter(|contrast| !contrast.is_finite()) {
                return Err(refused(format!("has contrast {contrast}, expected a finite number")));
            }
            if by_lesion.contains_key(&(row.case.clone(), row.lesion)) {
                return Err(refused("stands in more than one line".to_owned()));
            }
            let group = match row.contrast {
                Some(contrast) => {
                    let text = format!("{contrast:.1}");
                    format!("{}, contrast {}", row.kind, text.strip_prefix('0').unwrap_or(&text))
                }
                None => row.kind,
            };
            by_lesion.insert((row.case, row.lesion), group);
        }
        Ok(Self { by_lesion })
    }

    /// Reads a table from a regular file of at most 64 MiB, see [`LesionGroups::read`].
    ///
    /// # Errors
    /// [`StudyError::File`] for what is no regular file, is larger or cannot be read; as [`LesionGroups::read`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StudyError> {
        let path = path.as_ref();
        let content =
            read_regular(path).map_err(|source| StudyError::File { path: path.to_owned(), source })?;
        Self::read(content.as_slice())
    }

    /// The group of a lesion.
    #[must_use]
    pub fn of(&self, case: &str, lesion: u32) -> Option<&str> {
        self.by_lesion.get(&(case.to_owned(), lesion)).map(String::as_str)
    }
}

/// Most bytes of a table: a million lesions.
const LARGEST_TABLE: u64 = 64 << 20;

/// The bytes of a regular file of at most [`LARGEST_TABLE`]: a device has no end, and a pipe waits for a writer.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut content = Vec::new();
    // A file may say less than it holds.
    fs::File::open(path)?.take(LARGEST_TABLE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_TABLE {
        let message =
            format!("the file holds more than {LARGEST_TABLE} bytes, the most of a table of lesions");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

/// Gathers post-processed scores by group of lesions.
#[derive(Debug, Default)]
pub struct GroupedEvaluation {
    order: Vec<String>,
    groups: BTreeMap<String, Group>,
}

#[derive(Debug, Default)]
struct Group {
    lesions: usize,
    patients: BTreeSet<String>,
    pixels: Vec<PatientPixels>,
}

/// What every predictor reaches on one group of lesions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupScores {
    /// The group.
    pub group: String,
    /// Lesions in it.
    pub lesions: usize,
    /// Patients who have them.
    pub patients: usize,
    /// The predictors.
    pub predictors: Vec<GroupScore>,
}

/// One predictor of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupScore {
    /// Its name.
    pub predictor: String,
    /// Area under the ROC curve, with its interval over patients where there are at least two.
    pub auroc: f64,
    /// 95 % interval of it.
    pub auroc_interval: Option<[f64; 2]>,
    /// Average precision.
    pub average_precision: f64,
    /// AUROC less that of `intensity`, over the same resampled patients.
    pub auroc_less_intensity: Option<Interval95>,
}

impl GroupedEvaluation {
    /// Nothing gathered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a case, whose mask holds the numbers of its lesions and 0 elsewhere.
    ///
    /// Each lesion is set against the normal foreground of the slices that hold it; other lesions do not count.
    ///
    /// # Errors
    /// Scores that are not finite; as [`Maps::check`]; [`StudyError::OtherMaps`] for others than those before.
    pub fn add(
        &mut self,
        case: &str,
        patient: &str,
        maps: &Maps,
        mask: &Array3<u32>,
        groups: &LesionGroups,
    ) -> Result<(), StudyError> {
        maps.check(mask.shape())?;
        let names: Vec<String> = maps.maps.iter().map(|(name, _)| name.clone()).collect();
        if self.order.is_empty() {
            self.order.clone_from(&names);
        }
        if self.order != names {
            return Err(StudyError::OtherMaps { found: names, expected: self.order.clone() });
        }
        let axis = Axis(maps.axis);
        let numbers: BTreeSet<u32> = mask.iter().copied().filter(|&number| number != 0).collect();
        for number in numbers {
            let Some(name) = groups.of(case, number) else { continue };
            let group = self.groups.entry(name.to_owned()).or_default();
            group.lesions += 1;
            group.patients.insert(patient.to_owned());
            group.pixels.resize_with(maps.maps.len(), PatientPixels::new);
            let slices: Vec<usize> = (0..mask.len_of(axis))
                .filter(|&k| mask.index_axis(axis, k).iter().any(|&found| found == number))
                .collect();
            let own = mask.select(axis, &slices);
            let inside = maps.foreground.select(axis, &slices);
            let truth: Vec<bool> = own.iter().map(|&found| found == number).collect();
            let within: Vec<bool> = own
                .iter()
                .zip(&inside)
                .map(|(&found, &inside)| found == number || (found == 0 && inside))
                .collect();
            for (pixels, (_, [_, map])) in group.pixels.iter_mut().zip(&maps.maps) {
                let scores: Vec<f32> = map.select(axis, &slices).iter().copied().collect();
                pixels.update_within(patient, &scores, &truth, &within)?;
            }
        }
        Ok(())
    }

    /// Whether no lesion of any group was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// What every predictor reaches, by group.
    ///
    /// # Errors
    /// As [`BootstrapConfig::validate`]; none else in practice: each group has lesions, and normal pixels beside them.
    pub fn finish(self, bootstrap: &BootstrapConfig) -> Result<Vec<GroupScores>, StudyError> {
        bootstrap.validate()?;
        let mut found = Vec::new();
        for (name, group) in self.groups {
            let mut predictors = Vec::with_capacity(self.order.len());
            let mut floor: Option<(f64, Vec<Option<f64>>)> = None;
            for (predictor, pixels) in self.order.iter().zip(group.pixels) {
                let ranked = pixels.rank()?;
                let auroc = ranked.pooled().auroc();
                let (mut interval, mut less) = (None, None);
                if ranked.patients().len() >= 2 {
                    let replicates = ranked.bootstrap(bootstrap)?.auroc;
                    interval = replicates.interval().ok().map(|found| [found.lower, found.upper]);
                    let values = replicates.values().to_vec();
                    less = floor.as_ref().map(|(estimate, floor)| {
                        let pairs = values.iter().zip(floor);
                        Interval95::of(auroc - estimate, pairs.map(|(own, floor)| Some((*own)? - (*floor)?)))
                    });
                    if predictor == "intensity" {
                        floor = Some((auroc, values));
                    }
                }
                predictors.push(GroupScore {
                    predictor: predictor.clone(),
                    auroc,
                    auroc_interval: interval,
                    average_precision: ranked.pooled().average_precision(),
                    auroc_less_intensity: less,
                });
            }
            let patients = group.patients.len();
            found.push(GroupScores { group: name, lesions: group.lesions, patients, predictors });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lesion_is_set_against_normal_pixels_alone() {
        // Lesion 1 is bright, lesion 2 dark; both share a slice.
        let mut mask = Array3::<u32>::zeros((6, 6, 3));
        let mut map = Array3::from_shape_fn((6, 6, 3), |(i, j, _)| ((i * 6 + j) % 7) as f32);
        for (place, number, value) in [([1, 1, 0], 1, 9.0), ([1, 2, 0], 1, 9.0), ([4, 4, 0], 2, -9.0)] {
            (mask[place], map[place]) = (number, value);
        }
        let maps = Maps {
            maps: vec![("intensity".to_owned(), [map.clone(), map])],
            reconstruction: Array3::zeros((6, 6, 3)),
            foreground: Array3::from_elem((6, 6, 3), true),
            axis: 2,
            resolution: lesio_anomaly::Resolution::Image([1.0; 2]),
        };
        let table = "case,lesion,kind,contrast\na,1,bright,0.5\na,2,dark,0.5\nb,1,bright,0.5\nb,2,dark,0.5\n";
        let groups = LesionGroups::read(table.as_bytes()).unwrap();
        let mut evaluation = GroupedEvaluation::new();
        evaluation.add("a", "a", &maps, &mask, &groups).unwrap();
        evaluation.add("b", "b", &maps, &mask, &groups).unwrap();
        evaluation.add("unknown", "c", &maps, &mask, &groups).unwrap();
        let found = evaluation.finish(&BootstrapConfig::new(1).replicates(50)).unwrap();
        let scores = |k: usize| {
            let group: &GroupScores = &found[k];
            (group.group.as_str(), group.lesions, group.patients, group.predictors[0].auroc)
        };
        assert_eq!(scores(0), ("bright, contrast .5", 2, 2, 1.0));
        assert_eq!(scores(1), ("dark, contrast .5", 2, 2, 0.0));
    }

    #[test]
    fn maps_of_other_shapes_or_names_are_refused() {
        let map = Array3::<f32>::zeros((4, 5, 3));
        let maps = |names: &[&str]| Maps {
            maps: names.iter().map(|name| ((*name).to_owned(), [map.clone(), map.clone()])).collect(),
            reconstruction: map.clone(),
            foreground: Array3::from_elem((4, 5, 3), true),
            axis: 2,
        };
        let groups = LesionGroups::read("case,lesion,kind\na,1,bright\n".as_bytes()).unwrap();
        let mask = Array3::<u32>::zeros((4, 5, 3));
        let mut evaluation = GroupedEvaluation::new();
        let mut add = |maps: &Maps, mask: &Array3<u32>| evaluation.add("a", "a", maps, mask, &groups);
        let other = Array3::zeros((4, 5, 2));
        assert!(matches!(add(&maps(&["a", "b"]), &other), Err(StudyError::Shape { .. })));
        assert!(
            matches!(add(&maps(&["a", "a"]), &mask), Err(StudyError::Repeated { name, .. }) if name == "a")
        );
        let turned = Maps { axis: 3, ..maps(&["a", "b"]) };
        assert!(matches!(add(&turned, &mask), Err(StudyError::Setting(_))));
        add(&maps(&["a", "b"]), &mask).unwrap();
        // Scores go by place: another order would be taken for the other's.
        assert!(matches!(add(&maps(&["b", "a"]), &mask), Err(StudyError::OtherMaps { .. })));
        assert!(matches!(add(&maps(&["a"]), &mask), Err(StudyError::OtherMaps { .. })));
    }

    #[test]
    fn a_table_is_a_regular_file_of_some_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lesions.csv");
        fs::write(&path, "case,lesion,kind\na,1,bright\n").unwrap();
        assert_eq!(LesionGroups::open(&path).unwrap().of("a", 1), Some("bright"));
        fs::write(&path, vec![b'x'; LARGEST_TABLE as usize + 1]).unwrap();
        let said = |path: &Path| match LesionGroups::open(path) {
            Err(StudyError::File { path: named, source }) => {
                assert_eq!(named, path);
                source.to_string()
            }
            other => panic!("{other:?}"),
        };
        assert!(said(&path).contains("67108864 bytes"));
        assert!(said(folder.path()).contains("not a regular file"));
        assert!(said(&folder.path().join("none.csv")).contains("No such file") || !cfg!(unix));
        #[cfg(unix)]
        {
            assert!(said(Path::new("/dev/zero")).contains("not a regular file"));
            let pipe = folder.path().join("pipe");
            let made = std::process::Command::new("mkfifo").arg(&pipe).status();
            if made.is_ok_and(|status| status.success()) {
                assert!(said(&pipe).contains("not a regular file"));
            } else {
                eprintln!("skipped: there is no mkfifo");
            }
        }
    }

    #[test]
    fn lesions_that_stand_twice_or_have_no_contrast_are_named() {
        let said = |rows: &str| {
            let table = format!("case,lesion,kind,contrast\n{rows}");
            LesionGroups::read(table.as_bytes()).unwrap_err().to_string()
        };
        assert!(said("a,1,bright,0.5\na,1,dark,0.5\n").contains("lesion 1 of case \"a\" stands in more"));
        for contrast in ["NaN", "inf", "-inf"] {
            assert!(said(&format!("a,1,bright,{contrast}\n")).contains("expected a finite number"));
        }
    }

    #[test]
    fn tables_that_cannot_be_read_name_the_line() {
        let error = LesionGroups::read("case,lesion,kind\na,1,bright\nb,two,dark\n".as_bytes()).unwrap_err();
        assert!(error.to_string().contains("line: 3"), "{error}");
        assert!(LesionGroups::read("case,lesion\na,1\n".as_bytes()).is_err());
    }
}
