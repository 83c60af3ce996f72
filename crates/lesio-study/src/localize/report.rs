//! What was found in the images of a data set.

use std::error::Error;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use lesio_anomaly::{PostProcessing, Provenance};
use lesio_io::dataset::Case;
use lesio_report::Extra;
use serde::{Deserialize, Serialize};

use super::cases::LocalizedCases;
use super::config::{OutputLayout, ReportPages};
use crate::findings::DetectionRule;
use crate::folder::REPORT;
use crate::observer::{Notice, Observer};
use crate::shard::{Merged, Shard, ShardRecord};
use crate::workflow_error::WorkflowError;

/// What was found in the images of a data set, and which images could not be mapped.
#[derive(Debug)]
#[non_exhaustive]
pub struct LocalizationReport {
    /// Which rule gave the thresholds.
    pub rule: DetectionRule,
    /// Why the predictor was taken; `None` where it was named.
    pub predictor_choice: Option<String>,
    /// How maps were filtered.
    pub postprocessing: PostProcessing,
    /// Where the model comes from.
    pub model: Provenance,
    /// The file of the model, if the report was read and states it.
    pub model_file: Option<PathBuf>,
    /// What changes with anything that changes maps or thresholds, see [`Localizer::fingerprint`](lesio_anomaly::Localizer::fingerprint).
    pub fingerprint: String,
    /// How the results are arranged.
    pub layout: OutputLayout,
    /// Which pages were written.
    pub pages: ReportPages,
    /// The shard, with a checksum of all cases of the data set; `None` for all cases.
    pub shard: Option<ShardRecord>,
    /// The images that were mapped.
    pub cases: LocalizedCases,
    /// Those that could not be.
    pub failed: Vec<FailedCase>,
}

/// An image that could not be mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailedCase {
    /// The case.
    pub id: String,
    /// Its patient; empty in reports of earlier versions.
    #[serde(default)]
    pub patient: String,
    /// Why, with the causes.
    pub error: String,
    /// What else a manifest says of it, by column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<(String, String)>,
}

impl FailedCase {
    /// A case with its error, of which the observer is told.
    pub(crate) fn new(case: &Case, error: &(dyn Error + 'static), observer: &mut dyn Observer) -> Self {
        observer.notice(&Notice::CaseFailed { case: case.id(), error });
        Self {
            id: case.id().to_owned(),
            patient: case.patient().to_owned(),
            error: observer.explain(error),
            further: case.further().to_vec(),
        }
    }
}

impl LocalizationReport {
    /// The file name of a report: `report.json`, or for a shard a name such as `report-2-of-4.json`.
    #[must_use]
    pub fn file_name(shard: Option<Shard>) -> String {
        match shard {
            Some(shard) => format!("report-{}-of-{}.json", shard.index(), shard.of()),
            None => REPORT.to_owned(),
        }
    }

    /// As `report.json` has the report, to be written piece by piece ([`write_json`](lesio_report::write_json)): that of thousands
    /// of cases is never held as text. `model` is the file of the model, by default [`LocalizationReport::model_file`], and `stamp` what else a program says, such as its
    /// command.
    pub fn record<'a>(&'a self, model: Option<&'a Path>, stamp: &'a Extra) -> impl Serialize + 'a {
        Record {
            schema: 1,
            rule: &self.rule,
            predictor_choice: self.predictor_choice.as_deref(),
            postprocessing: &self.postprocessing,
            model: ModelRecord {
                provenance: &self.model,
                fingerprint: &self.fingerprint,
                file: model.or(self.model_file.as_deref()),
            },
            layout: self.layout,
            pages: self.pages,
            shard: self.shard.as_ref(),
            cases: &self.cases,
            failed: &self.failed,
            stamp,
        }
    }

    /// A report from what [`LocalizationReport::record`] wrote.
    ///
    /// # Errors
    /// What cannot be read, or is no such report, or one of an earlier version without what is needed.
    pub fn read(from: impl Read) -> Result<Self, serde_json::Error> {
        let read: ReadRecord = serde_json::from_reader(BufReader::new(from))?;
        let ReadRecord { rule, predictor_choice, postprocessing, model, layout, pages, shard, cases, failed } =
            read;
        let (model, fingerprint, model_file) = (model.provenance, model.fingerprint, model.file);
        Ok(Self {
            rule,
            predictor_choice,
            postprocessing,
            model,
            model_file,
            fingerprint,
            layout,
            pages,
            shard,
            cases,
            failed,
        })
    }
}

impl Merged for LocalizationReport {
    fn shard(&mut self) -> &mut Option<ShardRecord> {
        &mut self.shard
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        let failed = self.failed.iter().map(|case| case.id.as_str());
        self.cases.ids().chain(failed)
    }

    fn absorb(&mut self, mut other: Self) -> Result<(), WorkflowError> {
        self.failed.append(&mut other.failed);
        self.cases.append(other.cases).map_err(WorkflowError::Results)
    }

    fn sort_by(&mut self, place: impl Fn(&str) -> Option<usize>) {
        self.cases.sort_by_key(&place);
        self.failed.sort_by_key(|case| place(&case.id));
    }
}

#[derive(Serialize)]
struct Record<'a> {
    schema: u32,
    rule: &'a DetectionRule,
    predictor_choice: Option<&'a str>,
    postprocessing: &'a PostProcessing,
    model: ModelRecord<'a>,
    #[serde(skip_serializing_if = "is_usual")]
    layout: OutputLayout,
    pages: ReportPages,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<&'a ShardRecord>,
    cases: &'a LocalizedCases,
    failed: &'a [FailedCase],
    #[serde(flatten)]
    stamp: &'a Extra,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_usual(layout: &OutputLayout) -> bool {
    *layout == OutputLayout::Folders
}

#[derive(Serialize)]
struct ModelRecord<'a> {
    provenance: &'a Provenance,
    fingerprint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a Path>,
}

#[derive(Deserialize)]
struct ReadRecord {
    rule: DetectionRule,
    predictor_choice: Option<String>,
    postprocessing: PostProcessing,
    model: ReadModel,
    #[serde(default)]
    layout: OutputLayout,
    pages: ReportPages,
    #[serde(default)]
    shard: Option<ShardRecord>,
    cases: LocalizedCases,
    failed: Vec<FailedCase>,
}

#[derive(Deserialize)]
struct ReadModel {
    provenance: Provenance,
    fingerprint: String,
    #[serde(default)]
    file: Option<PathBuf>,
}
