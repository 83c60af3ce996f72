//! The segmentations of a data set, graded.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use lesio_io::ReadOptions;
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Case, Dataset};
use lesio_io::spreadsheet::CommaTable;
use lesio_quality::{Assessment, Grade, QualityModel, SliceAssessment, SliceVerdict};
use lesio_report::{Column, Table, TableCell, TableError};
use lesio_settings::{require, setters};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::case_record::{
    CaseResult, RECORD, finished, forget, is_full, key_of, notice_kept, record, refuse_other_files,
};
use crate::channel_name::notice_other_channel;
use crate::checksum::file_checksum;
use crate::folder::{case_folders, check_folder, prepare_folder, remove_earlier};
use crate::further::FurtherColumns;
use crate::localize::FinishedCases;
use crate::observer::{Notice, Observer, Step};
use crate::quality::assessment::GradedFile;
use crate::quality::ungraded::UngradedCase;
use crate::shard::{Merged, Shard, ShardRecord};
use crate::workers::in_parallel;
use crate::workflow_error::WorkflowError;

/// The table that programs write beside the report, see [`GradingReport::case_table`].
const CASE_TABLE: &str = "cases.csv";

/// Where the grades of a data set go, and how its files are read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GradeConfig {
    /// The folder for the results, in which every case has its own.
    pub folder: PathBuf,
    /// What becomes of files of earlier runs. Default: they are refused.
    pub existing: Existing,
    /// How files are read.
    pub reading: ReadOptions,
    /// What to do with cases that an earlier run has graded with the same model, options and files into the same folder.
    /// Default: grade them again.
    pub finished: FinishedCases,
    /// The shard of the cases to grade. Default: all cases.
    pub shard: Option<Shard>,
    /// The number of cases to grade at once, at least 1; each may use an equal part of the memory. Default 1.
    pub workers: usize,
}

impl GradeConfig {
    /// Results go into this folder; the rest as the fields state.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            existing: Existing::Refuse,
            reading: ReadOptions::new(),
            finished: FinishedCases::Redo,
            shard: None,
            workers: 1,
        }
    }

    /// Returns an error if one of these files exists and must not be replaced.
    fn refuse_existing(&self, files: impl IntoIterator<Item = PathBuf>) -> Result<(), WorkflowError> {
        let is_kept = |path: &PathBuf| self.existing == Existing::Refuse && path.symlink_metadata().is_ok();
        files.into_iter().find(is_kept).map_or(Ok(()), |path| Err(WorkflowError::Exists { path }))
    }
}

setters!(GradeConfig {
    existing: Existing,
    reading: ReadOptions,
    finished: FinishedCases,
    shard: Option<Shard>,
    workers: usize,
});

/// The grades of a data set, and the cases that have none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GradingReport {
    of: Grading,
    /// The shard; `None` for all cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardRecord>,
    /// A text that changes with everything that changes grades, see [`QualityModel::fingerprint`].
    pub fingerprint: String,
    /// The cases that were graded.
    pub cases: Vec<GradedCase>,
    /// Those that could not be.
    pub failed: Vec<UngradedCase>,
}

/// Distinguishes this report from the shard reports of other programs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Grading {
    Grading,
}

/// A case with the grades of its segmentation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GradedCase {
    /// The case.
    pub id: String,
    /// The patient; the case's own name where the data set does not tell.
    pub patient: String,
    /// Its additional columns in a manifest: name and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<(String, String)>,
    /// Its image.
    pub image: PathBuf,
    /// Its segmentation.
    pub segmentation: PathBuf,
    /// The grades of the labels in the volume; `None` where nothing is segmented.
    pub volume: Option<Vec<Grade>>,
    /// The slices, as in an [`Assessment`].
    pub slices: Vec<SliceAssessment>,
}

/// Grades the segmentation of every case of a data set, whose masks are the segmentations, and writes for each case what
/// [`GradedFile::write`] does. The report itself is returned and not written.
///
/// A case that cannot be graded is listed, and the others are graded.
///
/// # Errors
/// A folder in the data set, or in which nothing can be written; a report that is there and is not to be replaced, or a
/// table `cases.csv` beside it.
pub fn grade_folder(
    model: &QualityModel,
    data: &Dataset,
    config: &GradeConfig,
    observer: &mut dyn Observer,
) -> Result<GradingReport, WorkflowError> {
    if data.contains(&config.folder) {
        let (folder, data) = (config.folder.clone(), data.root().to_owned());
        return Err(WorkflowError::ResultsInData { folder, data });
    }
    require(config.workers > 0, "workers", config.workers, "at least 1")?;
    check_folder(&config.folder)?;
    // They are written last: hours of work are not to end with them. A shard writes no table.
    let table = config.shard.is_none().then(|| CASE_TABLE.to_owned());
    let last = [GradingReport::file_name(config.shard)].into_iter().chain(table);
    let last: Vec<String> = last.collect();
    config.refuse_existing(last.iter().map(|name| config.folder.join(name)))?;
    let all = data.cases();
    let folders = case_folders(&config.folder, all);
    let places = config.shard.map_or_else(|| (0..all.len()).collect(), |shard| shard.places(all));
    let cases: Vec<(&Case, &PathBuf)> = places.iter().map(|&place| (&all[place], &folders[place])).collect();
    let memory = config.reading.limit() / config.workers as u64;
    let reading = config.reading.clone().max_bytes(memory);
    let options = crc32fast::hash(format!("{:?}", config.reading.clone().max_bytes(0)).as_bytes());
    let work = Work { model, config, reading, fingerprint: model.fingerprint(), options };
    notice_other_channel(model.channel_names(), all, &config.reading, observer);
    if config.finished == FinishedCases::Keep {
        cases.iter().try_for_each(|(case, folder)| refuse_other_images(case, folder))?;
    }
    if config.existing == Existing::Replace {
        remove_earlier(&config.folder, last)?;
        observer.notice(&Notice::ReplacingResults { folder: &config.folder });
    }
    let (mut done, mut failed, mut kept) = (BTreeMap::new(), BTreeMap::new(), 0);
    observer.begin(&Step::Grading, cases.len());
    in_parallel(
        config.workers,
        &cases,
        |(case, folder)| work.grade_once(case, folder),
        |place, result| {
            let (case, folder) = cases[place];
            match result {
                Ok(result) => {
                    if result.is_kept() {
                        kept += 1;
                    } else {
                        observer.notice(&Notice::CaseDone { case: case.id(), folder });
                    }
                    let graded = result.into_inner();
                    graded.warn_of_unlike_slices();
                    done.insert(place, graded);
                }
                Err(error) if is_full(&error) => return Err(error),
                Err(error) => {
                    observer.notice(&Notice::CaseFailed { case: case.id(), error: &error });
                    failed.insert(place, UngradedCase::new(case, None, observer.explain(&error)));
                }
            }
            observer.advance(done.len() + failed.len());
            Ok::<(), WorkflowError>(())
        },
    )?;
    observer.end();
    notice_kept(kept, cases.len(), observer);
    Ok(GradingReport {
        of: Grading::Grading,
        shard: config.shard.map(|shard| ShardRecord::new(shard, all, &places, options)),
        fingerprint: work.fingerprint,
        cases: done.into_values().collect(),
        failed: failed.into_values().collect(),
    })
}

impl Merged for GradingReport {
    fn shard(&mut self) -> &mut Option<ShardRecord> {
        &mut self.shard
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        let failed = self.failed.iter().map(|case| case.id.as_str());
        self.cases.iter().map(|case| case.id.as_str()).chain(failed)
    }

    fn absorb(&mut self, mut other: Self) -> Result<(), WorkflowError> {
        self.cases.append(&mut other.cases);
        self.failed.append(&mut other.failed);
        Ok(())
    }

    fn sort_by(&mut self, place: impl Fn(&str) -> Option<usize>) {
        self.cases.sort_by_key(|case| place(&case.id));
        self.failed.sort_by_key(|case| place(&case.id));
    }
}

/// The common inputs of all cases.
struct Work<'a> {
    model: &'a QualityModel,
    config: &'a GradeConfig,
    /// How to read files, with the memory of one worker.
    reading: ReadOptions,
    fingerprint: String,
    options: u32,
}

/// The record of a graded case.
#[derive(Serialize, Deserialize)]
struct Finished {
    case: GradedCase,
    /// Name, size and CRC-32 of each of its files.
    files: Vec<(String, u64, u32)>,
}

/// Returns an error if the finished grades of a case are those of another image or segmentation: continuing that run would
/// replace them.
fn refuse_other_images(case: &Case, folder: &Path) -> Result<(), WorkflowError> {
    // Without one, the case is listed as such.
    let Some(segmentation) = case.mask().path() else { return Ok(()) };
    let expected: Vec<PathBuf> = case.inputs().into_iter().take(1).chain([segmentation.to_owned()]).collect();
    let files = case.images().iter().map(PathBuf::as_path).chain([segmentation]);
    let paths = |results: Finished| vec![results.case.image, results.case.segmentation];
    refuse_other_files(&folder.join(RECORD), paths, &expected, files)
}

impl Work<'_> {
    /// Grades a case, unless finished cases are kept and an earlier run has graded it.
    fn grade_once(&self, case: &Case, folder: &Path) -> Result<CaseResult<GradedCase>, WorkflowError> {
        let without = |part| move || WorkflowError::Without { whole: "case", part };
        let image = case.inputs().into_iter().next().ok_or_else(without("an image"))?;
        let segmentation = case.mask().path().ok_or_else(without("a segmentation"))?;
        let (matching, channels) = (case.matching(), case.channel_names(&ReadOptions::new()));
        let what = format!("{}; {:08x}; {matching:?}; {channels:?}", self.fingerprint, self.options);
        // A file that cannot be read has no key. Reading it again below reports the reason.
        let key = key_of(&what, case.images().iter().map(PathBuf::as_path).chain([segmentation])).ok();
        if self.config.finished == FinishedCases::Keep
            && let Some(key) = &key
            && let Some(Finished { case: graded, files }) = self.finished(folder, key)
        {
            // Where the files lie, and what is said of a case, may have changed since.
            let (id, patient, further) =
                (case.id().to_owned(), case.patient().to_owned(), case.further().to_vec());
            let segmentation = segmentation.to_owned();
            let has_moved = (&graded.image, &graded.segmentation) != (&image, &segmentation);
            let kept = GradedCase { id, patient, further, image, segmentation, ..graded };
            if has_moved {
                record(&folder.join(RECORD), key.clone(), &Finished { case: kept.clone(), files })?;
            }
            return Ok(CaseResult::Kept(kept));
        }
        // Before the record is removed, which vouches for results that must not be replaced, and before any work.
        let results = GradedFile::file_names(self.model, case.is_volume());
        let results = results.iter().map(String::as_str).chain([RECORD]);
        self.config.refuse_existing(results.map(|name| folder.join(name)))?;
        let graded = GradedFile::read(self.model, case, &self.reading)?;
        prepare_folder(folder)?;
        forget(&folder.join(RECORD))?;
        let names = graded.write(folder, self.config.existing)?;
        // A file that cannot be read again is not worth an error after all the work: the case is then not finished.
        let files = checksums(folder, names.iter().map(String::as_str)).ok();
        let case = GradedCase::new(case, graded.assessment, image, segmentation.to_owned());
        let (Some(key), Some(files)) = (key, files) else { return Ok(CaseResult::New(case)) };
        let finished = Finished { case, files };
        record(&folder.join(RECORD), key, &finished)?;
        Ok(CaseResult::New(finished.case))
    }

    /// The grades of a case that an earlier run finished with the same key, if all its files are as it wrote them: a
    /// full disk, a crash of the system or a copy that was interrupted can leave some of them cut short.
    fn finished(&self, folder: &Path, key: &str) -> Option<Finished> {
        let kept: Finished = finished(&folder.join(RECORD), key)?;
        let found = checksums(folder, kept.files.iter().map(|(name, ..)| name.as_str()));
        found.is_ok_and(|found| found == kept.files).then_some(kept)
    }
}

/// Name, size and CRC-32 of files in a folder.
fn checksums<'n>(folder: &Path, names: impl Iterator<Item = &'n str>) -> io::Result<Vec<(String, u64, u32)>> {
    let of_file = |name: &'n str| {
        file_checksum(&folder.join(name)).map(|(bytes, checksum)| (name.to_owned(), bytes, checksum))
    };
    names.map(of_file).collect()
}

impl GradedCase {
    fn new(case: &Case, assessment: Assessment, image: PathBuf, segmentation: PathBuf) -> Self {
        Self {
            id: case.id().to_owned(),
            patient: case.patient().to_owned(),
            further: case.further().to_vec(),
            image,
            segmentation,
            volume: assessment.volume,
            slices: assessment.slices,
        }
    }

    /// The number of graded slices whose image is unlike those of the training, which makes their grades unreliable, and
    /// the number of all graded slices.
    #[must_use]
    pub fn unlike_slices(&self) -> [usize; 2] {
        let [mut unlike, mut graded] = [0, 0];
        for slice in &self.slices {
            if let SliceVerdict::Graded { unlikeness, .. } = &slice.verdict {
                graded += 1;
                unlike += usize::from(unlikeness.unlike);
            }
        }
        [unlike, graded]
    }

    /// Whether something is segmented in a slice, but too little for a grade.
    fn is_too_small(&self) -> bool {
        self.slices.iter().any(|slice| slice.verdict == SliceVerdict::TooSmall)
    }

    /// Why a case without a volume's grade has none.
    fn reason_without_grade(&self) -> &'static str {
        match self.is_too_small() {
            true => "too little is segmented for a grade",
            false => "nothing is segmented with the labels that the model grades",
        }
    }

    /// Warns if more slices are unlike the training images than by chance: the novelty detection calls some of the images
    /// that are like them unlike.
    fn warn_of_unlike_slices(&self) {
        let [unlike, graded] = self.unlike_slices();
        if 4 * unlike > graded {
            let case = &self.id;
            tracing::warn!(
                "{case}: {unlike} of {graded} graded slices are unlike the training images: do not rely on their grades"
            );
        }
    }
}

impl GradingReport {
    /// The file name of a report, as [`LocalizationReport::file_name`](crate::LocalizationReport::file_name).
    #[must_use]
    pub fn file_name(shard: Option<Shard>) -> String {
        crate::LocalizationReport::file_name(shard)
    }

    /// As `report.json` of the program `assess` has it, but for the command, the time and the model.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        value["schema"] = json!(1);
        Ok(value)
    }

    /// One row for each case and label, in order of the cases. A case without a segmented pixel has one row without grades,
    /// whose error says so. `unlike_slices` counts the graded slices whose image is unlike those of the training.
    /// Cases that could not be graded follow, with their errors. The additional columns of a manifest are the last columns.
    #[must_use]
    pub fn case_table(&self) -> CommaTable<10> {
        let of_failed = self.failed.iter().map(|case| case.further.as_slice());
        let further =
            FurtherColumns::of(self.cases.iter().map(|case| case.further.as_slice()).chain(of_failed));
        let columns = [
            "case",
            "patient",
            "label",
            "dice",
            "dice_low",
            "dice_high",
            "hd95_mm",
            "hd95_pixels",
            "unlike_slices",
            "error",
        ];
        let mut table = CommaTable::with_further(columns, further.beside(&columns));
        let nothing = || None::<&str>.into();
        for case in &self.cases {
            let named = || [(&case.id).into(), (&case.patient).into()];
            for grade in case.volume.iter().flatten() {
                let [id, patient] = named();
                let row = [
                    id,
                    patient,
                    u64::from(grade.label).into(),
                    grade.dice.into(),
                    grade.interval[0].into(),
                    grade.interval[1].into(),
                    grade.distance_millimeters.into(),
                    grade.distance_pixels.into(),
                    case.unlike_slices()[0].into(),
                    nothing(),
                ];
                table.row_with(row, further.values(&case.further));
            }
            if case.volume.is_none() {
                let mut row = [(); 10].map(|()| nothing());
                [row[0], row[1]] = named();
                row[9] = case.reason_without_grade().into();
                table.row_with(row, further.values(&case.further));
            }
        }
        for failed in &self.failed {
            let mut row = [(); 10].map(|()| nothing());
            (row[0], row[1], row[9]) =
                ((&failed.id).into(), (&failed.patient).into(), (&failed.error).into());
            table.row_with(row, further.values(&failed.further));
        }
        table
    }

    /// The grades of the labels by case, the lowest Dice first: what to look at before all else. Cases without a grade come
    /// before them.
    ///
    /// # Errors
    /// None in practice; the table checks its own rows.
    pub fn table(&self) -> Result<Table, TableError> {
        let columns = [
            ("case", 0),
            ("label", 0),
            ("Dice", 3),
            ("low", 2),
            ("high", 2),
            ("HD95 in mm", 1),
            ("unlike slices", 0),
        ];
        let mut table =
            Table::new("Predicted quality", columns.map(|(name, digits)| Column::new(name).decimals(digits)));
        for case in self.cases.iter().filter(|case| case.volume.is_none()) {
            let unknown = || TableCell::from(None);
            let short = if case.is_too_small() { "too little segmented" } else { "nothing segmented" };
            let (id, unlike) = (case.id.as_str(), case.unlike_slices()[0]);
            table = table.row([
                id.into(),
                short.into(),
                unknown(),
                unknown(),
                unknown(),
                unknown(),
                unlike.into(),
            ])?;
        }
        let graded = |case: &GradedCase| case.volume.clone().unwrap_or_default();
        let mut rows: Vec<(&GradedCase, Grade)> = self
            .cases
            .iter()
            .flat_map(|case| graded(case).into_iter().map(move |grade| (case, grade)))
            .collect();
        rows.sort_by(|a, b| a.1.dice.total_cmp(&b.1.dice));
        for (case, Grade { label, dice, interval: [low, high], distance_millimeters, .. }) in rows {
            table = table.row([
                case.id.as_str().into(),
                u64::from(label).into(),
                dice.into(),
                low.into(),
                high.into(),
                distance_millimeters.unwrap_or(f64::NAN).into(),
                (case.unlike_slices()[0] as u64).into(),
            ])?;
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(id: &str, volume: Value, slices: Value) -> GradedCase {
        let case = json!({
            "id": id, "patient": id, "image": "i", "segmentation": "s", "volume": volume, "slices": slices,
        });
        serde_json::from_value(case).unwrap()
    }

    #[test]
    fn tables_say_what_makes_grades_unreliable() {
        let grade = |millimeters: Value| {
            json!([{
                "label": 2, "dice": 0.5, "interval": [0.25, 0.75], "distance_pixels": 4.0,
                "distance_millimeters": millimeters,
            }])
        };
        let slice = |index: usize, unlike: bool| {
            let unlikeness = json!({"distance": 1.0, "unlike": unlike, "most": ["noise", 2.0]});
            json!({"index": index, "verdict": "graded", "labels": [], "mean_dice": 0.5, "unlikeness": unlikeness})
        };
        let slices =
            json!([slice(0, true), {"index": 1, "verdict": "empty"}, slice(2, false), slice(3, true)]);
        let (graded, nothing) = (case("a", grade(json!(6.0)), slices), case("b", Value::Null, json!([])));
        assert_eq!((graded.unlike_slices(), nothing.unlike_slices()), ([2, 3], [0, 0]));
        let flat = case("c", grade(Value::Null), json!([slice(0, false)]));
        let speck = case(
            "d",
            Value::Null,
            json!([{"index": 0, "verdict": "empty"}, {"index": 1, "verdict": "too-small"}]),
        );
        let report = json!({
            "of": "grading", "fingerprint": "", "cases": [graded, nothing, flat, speck],
            // Reports of earlier versions do not tell the patient.
            "failed": [{"id": "e", "patient": "p", "error": "x"}, {"id": "f", "error": "y"}],
        });
        let report: GradingReport = serde_json::from_value(report).unwrap();
        let table = report.case_table();
        let rows: Vec<&str> = table.as_str().lines().skip(1).collect();
        assert_eq!(rows[0], "a,a,2,0.5,0.25,0.75,6,4,2,");
        assert_eq!(rows[1], "b,b,,,,,,,,nothing is segmented with the labels that the model grades");
        assert_eq!(rows[2], "c,c,2,0.5,0.25,0.75,,4,0,");
        assert_eq!(rows[3], "d,d,,,,,,,,too little is segmented for a grade");
        assert_eq!(rows[4..], ["e,p,,,,,,,,x", "f,,,,,,,,,y"]);
        let printed = report.table().unwrap().to_markdown();
        let rows: Vec<&str> = printed.lines().skip(2).collect();
        assert!(rows[0].starts_with("| b | nothing segmented |"), "{printed}");
        assert!(rows[1].starts_with("| d | too little segmented |"), "{printed}");
        assert!(rows[2].starts_with("| a | 2 | 0.500 |") && rows.len() == 4, "{printed}");
    }
}
