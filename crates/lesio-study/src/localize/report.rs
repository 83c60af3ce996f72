//! What was found in the images of a data set.

use std::error::Error;
use std::path::{Path, PathBuf};

use lesio_anomaly::{PostProcessing, PredictorName, Provenance, Resolution};
use lesio_io::atomic::{Existing, WriteError};
use lesio_io::dataset::Case;
use lesio_io::spreadsheet::CommaTable;
use lesio_report::{Column, Table, TableCell, TableError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::shard::{Shard, ShardRecord};
use crate::findings::{DetectionRule, Finding, is_supported};
use crate::folder::REPORT;
use crate::observer::{Notice, Observer};
use crate::verdict::{CaseVerdict, Verdict};

/// What was found in the images of a data set, and which images could not be mapped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// What changes with anything that changes maps or thresholds, see [`Localizer::fingerprint`](lesio_anomaly::Localizer::fingerprint).
    pub fingerprint: String,
    /// The share of the cases that this is, with a checksum of all cases of the data set.
    #[serde(default)]
    pub shard: Option<ShardRecord>,
    /// The images that were mapped.
    pub cases: Vec<LocalizedCase>,
    /// Those that could not be.
    pub failed: Vec<FailedCase>,
}

/// An image that could not be mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailedCase {
    /// The case.
    pub id: String,
    /// Why, with the causes.
    pub error: String,
}

impl FailedCase {
    /// A case with its error, of which the observer is told.
    pub(crate) fn new(case: &Case, error: &(dyn Error + 'static), observer: &mut dyn Observer) -> Self {
        observer.notice(&Notice::CaseFailed { case: case.id(), error });
        Self { id: case.id().to_owned(), error: observer.explain(error) }
    }
}

/// What was found in an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LocalizedCase {
    /// The case.
    pub id: String,
    /// Its files, one a channel; a file alone is a text in JSON.
    #[serde(serialize_with = "one_or_all", deserialize_with = "one_or_several")]
    pub input: Vec<PathBuf>,
    /// What it is, in words.
    pub content: String,
    /// How finely it is sampled.
    pub resolution: Resolution,
    /// Why thresholds, rates and p-values may not hold at this resolution.
    pub resolution_doubt: Option<String>,
    /// The patient; the case's own name where the data set does not tell.
    pub patient: String,
    /// Its maps.
    pub predictors: Vec<MappedPredictor>,
}

/// A file alone is a text, as it was before there were several.
fn one_or_all<S: Serializer>(files: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    match files {
        [only] => only.serialize(serializer),
        files => files.serialize(serializer),
    }
}

/// The other way round.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Files {
        One(PathBuf),
        Several(Vec<PathBuf>),
    }
    Ok(match Files::deserialize(deserializer)? {
        Files::One(only) => vec![only],
        Files::Several(files) => files,
    })
}

/// A predictor's map of an image, and what was found in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MappedPredictor {
    /// The predictor.
    pub name: PredictorName,
    /// Whether the case is abnormal by this predictor.
    pub verdict: CaseVerdict,
    /// The file of the map after post-processing, if it was to be written.
    pub map: Option<PathBuf>,
    /// The file of the raw map, if it was to be written.
    pub raw: Option<PathBuf>,
    /// The files of the raw maps of each channel by itself, if they were to be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<PathBuf>,
    /// The picture.
    pub overlay: PathBuf,
    /// The file of the lesions by number: of volumes.
    pub labels: Option<PathBuf>,
    /// The threshold; `None` where the model was saved without normal scores of the predictor.
    pub threshold: Option<f32>,
    /// Subjects that the threshold comes from.
    pub normal_subjects: Option<usize>,
    /// The smallest p-value that so many subjects allow; where it is above the level, lesions have none.
    pub smallest_p_value: Option<f64>,
    /// The level at which a p-value supports a finding.
    pub p_value_level: f64,
    /// The lesions, the highest peak first; `None` as above.
    pub lesions: Option<Vec<Finding>>,
}

/// Lesions of an image in a table.
const LISTED: usize = 12;

impl LocalizationReport {
    /// The name of the file of a report: `report.json`, and of a share of the cases such as `report-2-of-4.json`.
    #[must_use]
    pub fn file_name(shard: Option<Shard>) -> String {
        match shard {
            Some(shard) => format!("report-{}-of-{}.json", shard.index(), shard.of()),
            None => REPORT.to_owned(),
        }
    }

    /// The names of all cases, of those that could not be mapped, too.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        let failed = self.failed.iter().map(|case| case.id.as_str());
        self.cases.iter().map(|case| case.id.as_str()).chain(failed)
    }

    /// As `report.json` of the program `localize` has it, but for the command, the time and the file of the model.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        value["schema"] = json!(1);
        value["model"] = json!({"provenance": self.model, "fingerprint": self.fingerprint});
        value.as_object_mut().map(|report| report.remove("fingerprint"));
        if self.shard.is_none() {
            value.as_object_mut().map(|report| report.remove("shard"));
        }
        Ok(value)
    }

    /// A report that [`LocalizationReport::to_json`] gave.
    ///
    /// # Errors
    /// A value that is no such report, or of an earlier version without what is needed.
    pub fn from_json(mut value: Value) -> Result<Self, serde_json::Error> {
        let model = value["model"].take();
        value["fingerprint"] = model["fingerprint"].clone();
        value["model"] = model["provenance"].clone();
        serde_json::from_value(value)
    }

    /// A row for each case and predictor, in order of the cases: the verdict, what it rests on, and what was found. Cases that
    /// could not be mapped have their error in the last column.
    #[must_use]
    pub fn case_table(&self) -> CommaTable<13> {
        let mut table = CommaTable::new([
            "case",
            "patient",
            "predictor",
            "verdict",
            "p_value",
            "score",
            "threshold",
            "level",
            "findings",
            "voxels",
            "volume_ml",
            "reason",
            "error",
        ]);
        for case in &self.cases {
            for mapped in &case.predictors {
                let verdict = &mapped.verdict;
                table.row([
                    (&case.id).into(),
                    (&case.patient).into(),
                    mapped.name.as_str().into(),
                    verdict.verdict.name().into(),
                    verdict.p_value.into(),
                    verdict.score.into(),
                    verdict.threshold.into(),
                    verdict.level.into(),
                    mapped.lesions.as_ref().map(Vec::len).into(),
                    mapped.voxels().into(),
                    mapped.volume_ml().into(),
                    verdict.reason.as_ref().into(),
                    None::<&str>.into(),
                ]);
            }
        }
        for failed in &self.failed {
            let nothing = || None::<&str>.into();
            let mut row = [(); 13].map(|()| nothing());
            row[0] = (&failed.id).into();
            row[12] = (&failed.error).into();
            table.row(row);
        }
        table
    }

    /// A row for each lesion found: its size, place and scores. The place is the mean voxel index along each axis of the
    /// file (of pictures row and column), and for volumes millimetres of the world (RAS+).
    #[must_use]
    pub fn lesion_table(&self) -> CommaTable<15> {
        let mut table = CommaTable::new([
            "case",
            "patient",
            "predictor",
            "lesion",
            "voxels",
            "volume_ml",
            "i",
            "j",
            "k",
            "x",
            "y",
            "z",
            "peak",
            "mean",
            "p_value",
        ]);
        for case in &self.cases {
            for mapped in &case.predictors {
                for lesion in mapped.lesions.iter().flatten() {
                    let ([i, j, k], world) =
                        (lesion.centre, |axis: usize| lesion.world.map(|world| world[axis]));
                    table.row([
                        (&case.id).into(),
                        (&case.patient).into(),
                        mapped.name.as_str().into(),
                        lesion.label.into(),
                        lesion.voxels.into(),
                        lesion.volume_ml.into(),
                        i.into(),
                        j.into(),
                        k.into(),
                        world(0).into(),
                        world(1).into(),
                        world(2).into(),
                        lesion.peak.into(),
                        lesion.mean.into(),
                        lesion.p_value.into(),
                    ]);
                }
            }
        }
        table
    }

    /// The files that [`LocalizationReport::write_tables`] writes into a folder.
    pub(super) fn table_files(folder: &Path) -> [PathBuf; 2] {
        [CASE_TABLE, LESION_TABLE].map(|name| folder.join(name))
    }

    /// Writes [`LocalizationReport::case_table`] as `cases.csv` and [`LocalizationReport::lesion_table`] as `lesions.csv`.
    ///
    /// # Errors
    /// A failure of the file system, and with [`Existing::Refuse`] a file that is there.
    pub fn write_tables(&self, folder: &Path, existing: Existing) -> Result<(), WriteError> {
        let [cases, lesions] = Self::table_files(folder);
        self.case_table().write(cases, existing)?;
        self.lesion_table().write(lesions, existing)
    }

    /// The verdicts of several cases in Markdown, the most suspicious first: at most thirty rows for each predictor.
    ///
    /// # Errors
    /// None in practice; the table checks its own rows.
    pub fn summary(&self) -> Result<Vec<String>, TableError> {
        let mut names: Vec<PredictorName> = Vec::new();
        for mapped in self.cases.iter().flat_map(|case| &case.predictors) {
            if !names.contains(&mapped.name) {
                names.push(mapped.name);
            }
        }
        let mut texts = Vec::new();
        for name in names {
            let mut rows: Vec<(&str, &MappedPredictor)> = Vec::new();
            for case in &self.cases {
                let own = case.predictors.iter().find(|own| own.name == name);
                rows.extend(own.map(|own| (case.id.as_str(), own)));
            }
            let count = |verdict| rows.iter().filter(|(_, own)| own.verdict.verdict == verdict).count();
            let counts = [Verdict::Abnormal, Verdict::CannotTell, Verdict::Normal]
                .map(|verdict| format!("{} {verdict}", count(verdict)));
            let level = rows.first().map_or(f64::NAN, |(_, own)| own.verdict.level);
            texts.push(format!("{name}, verdicts at a level of {level}: {}", counts.join(", ")));
            // Stable: equal scores keep the order of the cases.
            rows.sort_by(|(_, a), (_, b)| {
                let key = |own: &MappedPredictor| own.verdict.score.unwrap_or(f32::NEG_INFINITY);
                (a.verdict.verdict.cmp(&b.verdict.verdict)).then(key(b).total_cmp(&key(a)))
            });
            let columns = [("case", 0), ("verdict", 0), ("p", 3), ("score", 3), ("findings", 0), ("ml", 2)];
            let mut table = Table::new(
                name.to_string(),
                columns.map(|(name, decimals)| Column::new(name).decimals(decimals)),
            );
            for (id, mapped) in rows.iter().take(MOST_SUMMED_UP) {
                let verdict = &mapped.verdict;
                table = table.row([
                    TableCell::from(*id),
                    verdict.verdict.name().into(),
                    verdict.p_value.into(),
                    verdict.score.map(f64::from).into(),
                    mapped.lesions.as_ref().map_or_else(|| TableCell::from("–"), |found| found.len().into()),
                    mapped.volume_ml().into(),
                ])?;
            }
            texts.push(table.to_markdown());
            if rows.len() > MOST_SUMMED_UP {
                texts.push(format!("and {} more in {CASE_TABLE}", rows.len() - MOST_SUMMED_UP));
            }
        }
        Ok(texts)
    }
}

/// Cases in a summary.
const MOST_SUMMED_UP: usize = 30;
/// Names of the tables.
const CASE_TABLE: &str = "cases.csv";
const LESION_TABLE: &str = "lesions.csv";

impl LocalizedCase {
    /// What was found, as paragraphs and tables in Markdown: at most twelve lesions of each map. `name` is what the case
    /// is called.
    ///
    /// # Errors
    /// None in practice; the table checks its own rows.
    pub fn to_markdown(&self, name: &str) -> Result<Vec<String>, TableError> {
        let mut texts = Vec::new();
        if let Some(doubt) = &self.resolution_doubt {
            texts.push(format!("{name}: {doubt}"));
        }
        for mapped in &self.predictors {
            mapped.add_markdown(&format!("{name}, {}", mapped.name), &mut texts)?;
        }
        Ok(texts)
    }
}

impl MappedPredictor {
    /// Voxels of all lesions; `None` without a threshold.
    #[must_use]
    pub fn voxels(&self) -> Option<usize> {
        self.lesions.as_ref().map(|lesions| lesions.iter().map(|lesion| lesion.voxels).sum())
    }

    /// Volume of all lesions in millilitres; `None` without a threshold, and of pictures.
    #[must_use]
    pub fn volume_ml(&self) -> Option<f64> {
        let lesions = self.lesions.as_ref()?;
        lesions.iter().map(|lesion| lesion.volume_ml).sum::<Option<f64>>().filter(|_| !lesions.is_empty())
    }

    fn add_markdown(&self, heading: &str, texts: &mut Vec<String>) -> Result<(), TableError> {
        let (Some(lesions), Some(threshold)) = (&self.lesions, self.threshold) else {
            texts.push(format!("{heading}: not calibrated, so there is no threshold; see the map"));
            return Ok(());
        };
        let CaseVerdict { verdict, reason, p_value, level, .. } = &self.verdict;
        let why = match (reason, p_value) {
            (Some(reason), _) => format!(": {reason}"),
            (None, Some(p_value)) => format!(", p = {p_value:.3}"),
            (None, None) => String::new(),
        };
        texts.push(format!("{heading}: {verdict} at a level of {level}{why}"));
        texts.push(format!("{heading}: {} found where the score is at least {threshold:.4}", lesions.len()));
        let (subjects, smallest) =
            (self.normal_subjects.unwrap_or_default(), self.smallest_p_value.unwrap_or(1.0));
        let of_subjects =
            format!("number of normal subjects: {subjects}; smallest p-value that they allow: {smallest:.3}");
        texts.push(match is_supported(smallest, self.p_value_level) {
            true => of_subjects,
            false => format!("{of_subjects}, above {}: no p-value can support a finding", self.p_value_level),
        });
        if lesions.is_empty() {
            return Ok(());
        }
        let columns =
            [("lesion", 0), ("voxels", 0), ("ml", 2), ("centre", 0), ("peak", 3), ("mean", 3), ("p", 3)];
        let mut table =
            Table::new(heading, columns.map(|(name, decimals)| Column::new(name).decimals(decimals)));
        for lesion in lesions.iter().take(LISTED) {
            let centre = lesion.world.unwrap_or(lesion.centre).map(|value| format!("{value:.1}"));
            table = table.row([
                u64::from(lesion.label).into(),
                lesion.voxels.into(),
                lesion.volume_ml.into(),
                TableCell::from(centre[..if lesion.world.is_some() { 3 } else { 2 }].join(", ")),
                f64::from(lesion.peak).into(),
                lesion.mean.into(),
                lesion.p_value.into(),
            ])?;
        }
        texts.push(table.to_markdown());
        if lesions.len() > LISTED {
            texts.push(format!("and {} more in report.json", lesions.len() - LISTED));
        }
        Ok(())
    }
}
