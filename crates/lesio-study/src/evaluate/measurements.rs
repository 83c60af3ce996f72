//! The measurements of test cases, or of one shard of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use lesio_anomaly::{ChosenPredictor, PostProcessing};
use lesio_metrics::BootstrapConfig;
use lesio_report::{CohortContent, Extra, Scale};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::examples::CasePrecisions;
use super::record::Record;
use super::results::{ChosenMap, EvaluationResults};
use crate::evaluation::EvaluationBuilder;
use crate::groups::GroupedEvaluation;
use crate::images::ImageEvaluation;
use crate::kept::pairs;
use crate::localize::FailedCase;
use crate::maps::Stage;
use crate::model_set::LearnedEnsemble;
use crate::observer::{Notice, Observer};
use crate::operating::OperatingEvaluation;
use crate::presentation::leading;
use crate::shard::{Merged, Shard, ShardRecord};
use crate::thresholds::Thresholds;
use crate::workflow_error::WorkflowError;

/// The measurements of the test cases of an evaluation, or of one shard of them. [`CohortMeasurements::results`] computes the
/// figures. [`merge_shards`](crate::merge_shards) merges the shards of several machines before that.
///
/// The measurements of each case are in a file in the folder of records
/// ([`EvaluateConfig::records`](crate::EvaluateConfig::records)). `results` reads these files.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CohortMeasurements {
    schema: u32,
    of: Evaluation,
    /// The shard; `None` for all cases.
    pub shard: Option<ShardRecord>,
    /// A text that changes with the models, see [`Localizer::fingerprint`](lesio_anomaly::Localizer::fingerprint).
    pub fingerprint: String,
    /// What a program adds to the reports about data and models.
    pub about: Extra,
    /// The test cases that could be read.
    pub cases: Vec<MeasuredCase>,
    /// The test cases that could not be read, or whose truth has another position in space than the image, after the
    /// validation cases that could not be used. Of several shards, the first lists these validation cases.
    pub unread: Vec<FailedCase>,
    /// Seconds per slice of each map, measured on the first case.
    pub(super) seconds: BTreeMap<String, f64>,
    pub(super) frame: Frame,
    /// The folder for scores that do not fit into memory.
    #[serde(skip)]
    pub(super) scratch: Option<PathBuf>,
    /// The folder of the records, if it is removed together with this value.
    #[serde(skip)]
    temporary: Option<TempDir>,
}

/// Distinguishes this report from the shard reports of other programs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Evaluation {
    Evaluation,
}

/// A case that was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeasuredCase {
    /// The case.
    pub id: String,
    /// The kind of defect, where the data set tells.
    pub kind: Option<String>,
    /// Its additional columns in a manifest: name and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<(String, String)>,
    /// The case with the reason, if its image could not be scored and it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unscored: Option<Box<FailedCase>>,
    /// The name of its file in the folder of records.
    pub(super) file: PathBuf,
    /// The inputs of its measurements, as its file states them.
    pub(super) key: String,
    /// The folder of records.
    #[serde(skip)]
    pub(super) folder: PathBuf,
}

/// The common results of all test cases.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Frame {
    /// The maps in their order, each with its display scale.
    pub(super) maps: Vec<(String, Scale)>,
    /// The filters of each model, by its label.
    pub(super) filters: Vec<(String, PostProcessing)>,
    /// The label of the first model, in whose foreground maps are ranked, if others have another.
    pub(super) common_foreground: Option<String>,
    #[serde(with = "pairs")]
    pub(super) thresholds: Thresholds,
    /// On the validation cases, by map.
    #[serde(with = "pairs")]
    pub(super) average_precisions: BTreeMap<(String, Stage), f64>,
    #[serde(alias = "learnt")]
    pub(super) learned: Vec<LearnedEnsemble>,
    pub(super) best: BTreeMap<String, ChosenPredictor>,
    pub(super) bootstrap: BootstrapConfig,
    pub(super) pictures: usize,
    /// What the test cases are.
    pub(super) content: CohortContent,
}

impl CohortMeasurements {
    /// The name of the folder of records next to the report of a shard.
    pub const RECORDS: &str = "scores";

    pub(super) fn new(fingerprint: String, frame: Frame) -> Self {
        Self {
            schema: 1,
            of: Evaluation::Evaluation,
            shard: None,
            fingerprint,
            about: Extra::new(),
            cases: Vec::new(),
            unread: Vec::new(),
            seconds: BTreeMap::new(),
            frame,
            scratch: None,
            temporary: None,
        }
    }

    /// Creates a folder for records that is removed together with this value.
    pub(super) fn temporary_records(&mut self) -> Result<PathBuf, WorkflowError> {
        let made = tempfile::tempdir()
            .map_err(|cause| WorkflowError::Record { path: std::env::temp_dir(), cause })?;
        Ok(self.temporary.insert(made).path().to_owned())
    }

    /// The file name of a shard's report, as [`LocalizationReport::file_name`](crate::LocalizationReport::file_name).
    #[must_use]
    pub fn file_name(shard: Option<Shard>) -> String {
        crate::LocalizationReport::file_name(shard)
    }

    /// Reads the report of a shard. Its records are in the folder [`CohortMeasurements::RECORDS`] next to it.
    ///
    /// # Errors
    /// If the file cannot be read or is not such a report.
    pub fn read(path: &Path) -> Result<Self, WorkflowError> {
        let failed = |cause| WorkflowError::Record { path: path.to_owned(), cause };
        let file = File::open(path).map_err(failed)?;
        let mut read: Self = serde_json::from_reader(BufReader::new(file.take(LARGEST)))
            .map_err(|error| failed(error.into()))?;
        let folder = path.parent().unwrap_or(Path::new(".")).join(Self::RECORDS);
        read.cases.iter_mut().for_each(|case| folder.clone_into(&mut case.folder));
        Ok(read)
    }

    /// Sets a folder for scores that do not fit into memory. Nothing remains there.
    #[must_use]
    pub fn in_folder(mut self, scratch: impl Into<PathBuf>) -> Self {
        self.scratch = Some(scratch.into());
        self
    }

    /// Computes the figures of all cases that were measured.
    ///
    /// # Errors
    /// If a record is missing, damaged, or was written by another run; if the resampling is not possible.
    pub fn results(&self, observer: &mut dyn Observer) -> Result<EvaluationResults, WorkflowError> {
        observer.notice(&Notice::ComputingFigures);
        let (folder, frame) = (self.scratch.as_deref(), &self.frame);
        let mut grouped = GroupedEvaluation::new(folder);
        let mut evaluation = EvaluationBuilder::new(folder);
        let (mut images, mut operating) = (ImageEvaluation::new(), OperatingEvaluation::new());
        let mut precisions = CasePrecisions::default();
        for unread in &self.unread {
            evaluation.left_out(&unread.patient, &unread.id, &unread.error);
        }
        for (place, case) in self.cases.iter().enumerate() {
            let record = case.record()?;
            let found = record.add_to(&mut evaluation, &mut grouped, &mut images, &mut operating)?;
            precisions.add(place, case.kind.as_deref(), found);
        }
        let patients = evaluation.patients();
        let groups = grouped.finish(&frame.bootstrap)?;
        let images = images.finish(&frame.bootstrap)?;
        let at_thresholds = operating.figures(&frame.bootstrap)?;
        let evaluated = evaluation.finish(&frame.thresholds, &self.seconds, &frame.bootstrap)?;
        let chosen = ChosenMap::of(&frame.maps, &frame.average_precisions, &evaluated.scopes);
        let leader = chosen.as_ref().map(|chosen| chosen.name.as_str()).or_else(|| {
            let scope = evaluated.scopes.first()?;
            leading(scope, 1).last().copied()
        });
        let examples = leader.map(|leader| precisions.examples(leader, frame.pictures)).unwrap_or_default();
        let mut slices = Vec::new();
        for example in &examples {
            let Some(case) = self.cases.get(example.place) else { continue };
            if let Some(mut shown) = case.record()?.shown()? {
                shown.label = format!("{} ({})", shown.label, example.why);
                slices.push(shown);
            }
        }
        Ok(EvaluationResults {
            cases: self.cases.iter().filter(|case| case.unscored.is_none()).count(),
            failed: self.unread.clone(),
            patients,
            evaluated,
            groups,
            images,
            operating,
            at_thresholds,
            learned: frame.learned.clone(),
            chosen,
            best: frame.best.clone(),
            bootstrap: frame.bootstrap,
            further: self.cases.iter().map(|case| (case.id.clone(), case.further.clone())).collect(),
            slices,
            content: frame.content,
            maps: frame.maps.clone(),
            filters: frame.filters.clone(),
            common_foreground: frame.common_foreground.clone(),
        })
    }

    /// Removes the records of all cases, and their folder if it is empty then. After that, the figures cannot be computed
    /// again. If cases were left out ([`CohortMeasurements::failed`]), all records stay: once these cases are
    /// mended, the others need not be measured again, unless a validation case is among them.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn remove_records(self) -> Result<(), WorkflowError> {
        if !self.failed().is_empty() {
            return Ok(());
        }
        let mut folders = BTreeSet::new();
        for case in &self.cases {
            let path = case.path();
            match std::fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(WorkflowError::Forget { path, cause });
                }
                _ => {}
            }
            folders.extend(
                path.ancestors()
                    .skip(1)
                    .take_while(|path| path.starts_with(&case.folder))
                    .map(Path::to_owned),
            );
        }
        // Deepest first; what holds something else stays.
        for folder in folders.iter().rev() {
            drop(std::fs::remove_dir(folder));
        }
        Ok(())
    }

    /// The cases that are left out: those that could not be read, then those whose images could not be scored.
    #[must_use]
    pub fn failed(&self) -> Vec<FailedCase> {
        let unscored = self.cases.iter().filter_map(|case| case.unscored.as_deref());
        self.unread.iter().chain(unscored).cloned().collect()
    }
}

impl MeasuredCase {
    /// The path of its record.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.file)
    }

    /// Opens its record.
    ///
    /// # Errors
    /// If the file is missing or damaged, or if another run replaced it since.
    fn record(&self) -> Result<Record, WorkflowError> {
        let path = self.path();
        let record = Record::open(&path)?;
        if record.key() != self.key {
            let cause =
                io::Error::other("another run with other models, options or images has replaced the file");
            return Err(WorkflowError::Record { path, cause });
        }
        Ok(record)
    }
}

/// Largest size of a shard's report in bytes: about ten million cases.
const LARGEST: u64 = 1 << 32;

impl Merged for CohortMeasurements {
    fn shard(&mut self) -> &mut Option<ShardRecord> {
        &mut self.shard
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        let unread = self.unread.iter().map(|unread| unread.id.as_str());
        self.cases.iter().map(|case| case.id.as_str()).chain(unread)
    }

    fn absorb(&mut self, mut other: Self) -> Result<(), WorkflowError> {
        self.cases.append(&mut other.cases);
        self.unread.append(&mut other.unread);
        // A shard may be empty.
        if self.seconds.is_empty() {
            self.seconds = other.seconds;
        }
        Ok(())
    }

    fn sort_by(&mut self, place: impl Fn(&str) -> Option<usize>) {
        self.cases.sort_by_key(|case| place(&case.id));
        self.unread.sort_by_key(|unread| place(&unread.id));
    }
}
