//! What was found in the images of a data set.

use std::path::PathBuf;

use lesio_anomaly::{PostProcessing, PredictorName, Provenance, Resolution};
use lesio_report::{Column, Table, TableCell, TableError};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::findings::{DetectionRule, Finding, is_supported};

/// What was found in the images of a data set, and which images could not be mapped.
#[derive(Clone, Debug, Serialize)]
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
    /// The images that were mapped.
    pub cases: Vec<LocalizedCase>,
    /// Those that could not be.
    pub failed: Vec<FailedCase>,
}

/// An image that could not be mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailedCase {
    /// The case.
    pub id: String,
    /// Why, with the causes.
    pub error: String,
}

/// What was found in an image.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LocalizedCase {
    /// The case.
    pub id: String,
    /// Its files, one a channel; a file alone is a text in JSON.
    #[serde(serialize_with = "one_or_all")]
    pub input: Vec<PathBuf>,
    /// What it is, in words.
    pub content: String,
    /// How finely it is sampled.
    pub resolution: Resolution,
    /// Why thresholds, rates and p-values may not hold at this resolution.
    pub resolution_doubt: Option<String>,
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

/// A predictor's map of an image, and what was found in it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MappedPredictor {
    /// The predictor.
    pub name: PredictorName,
    /// The file of the map after post-processing.
    pub map: PathBuf,
    /// The file of the raw map.
    pub raw: PathBuf,
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
    /// As `report.json` of the program `localize` has it, but for the command, the time and the file of the model.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        value["schema"] = json!(1);
        value["model"] = json!({"provenance": self.model});
        Ok(value)
    }
}

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
    fn add_markdown(&self, heading: &str, texts: &mut Vec<String>) -> Result<(), TableError> {
        let (Some(lesions), Some(threshold)) = (&self.lesions, self.threshold) else {
            texts.push(format!("{heading}: not calibrated, so there is no threshold; see the map"));
            return Ok(());
        };
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
