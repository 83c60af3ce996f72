//! Results as JSON: the records of the example programs, and their writer.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};

use crate::file::{Existing, WriteError, WriteErrorKind};
use crate::run_record::RunRecord;

/// Writes a value as indented JSON with a final line feed, as [`write_file`](crate::write_file) does.
///
/// Numbers that are NaN or infinite, which JSON cannot represent, and `None` are written as `null`. In the records of
/// this module, `null` therefore always means "not defined".
///
/// # Errors
/// [`WriteErrorKind::Encode`] for a value without a JSON form (maps need keys that are strings or numbers);
/// otherwise as [`write_file`](crate::write_file).
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// use lesio_report::{Existing, write_json};
///
/// let path = folder.path().join("report.json");
/// write_json(&path, &[1.5, f64::NAN], Existing::Refuse)?;
/// assert_eq!(std::fs::read_to_string(&path)?, "[\n  1.5,\n  null\n]\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_json(
    path: impl AsRef<Path>,
    value: &(impl Serialize + ?Sized),
    existing: Existing,
) -> Result<(), WriteError> {
    let path = path.as_ref();
    let mut unencoded = None;
    // In pieces, since reports of thousands of cases are large.
    let written = lesio_files::write(path, existing, |out| {
        let mut out = BufWriter::new(out);
        match serde_json::to_writer_pretty(&mut out, value) {
            Err(error) if !error.is_io() => {
                unencoded = Some(error);
                return Err(io::ErrorKind::InvalidData.into());
            }
            result => result?,
        }
        out.write_all(b"\n")?;
        out.flush()
    });
    match unencoded {
        Some(source) => Err(WriteError::new(path, WriteErrorKind::encode("JSON", source))),
        None => written,
    }
}

/// Further entries of a record, by name, in the same JSON object.
pub type Extra = BTreeMap<String, serde_json::Value>;

/// `report.json` of the program `evaluate`: every predictor against the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// Version of this layout: [`EvaluationReport::SCHEMA`].
    pub schema: u32,
    /// What was evaluated: folder, layout, split, counts.
    #[serde(default)]
    pub data: Extra,
    /// The predictors on each selection of slices.
    pub scopes: Vec<ScopeReport>,
    /// The provenance of the results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<RunRecord>,
    /// Further entries.
    #[serde(flatten)]
    pub extra: Extra,
}

impl EvaluationReport {
    /// The version of the layout that this crate writes.
    pub const SCHEMA: u32 = 1;
}

impl Default for EvaluationReport {
    /// A report without scopes.
    fn default() -> Self {
        Self {
            schema: Self::SCHEMA,
            data: Extra::new(),
            scopes: Vec::new(),
            provenance: None,
            extra: Extra::new(),
        }
    }
}

/// Which slices or images are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Scope {
    /// Slices with at least one lesion pixel.
    LesionSlices,
    /// All.
    AllSlices,
}

impl Scope {
    /// The name in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LesionSlices => "lesion-slices",
            Self::AllSlices => "all-slices",
        }
    }
}

/// All predictors on one selection of slices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScopeReport {
    /// Which slices.
    pub scope: Scope,
    /// Fraction of the scored pixels that are lesion: the average precision of chance.
    pub prevalence: Option<f64>,
    /// Each predictor, `intensity` always among them.
    pub predictors: Vec<PredictorReport>,
    /// Further entries.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One predictor on one selection of slices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PredictorReport {
    /// Its name, as `pixel-l1`.
    pub name: String,
    /// Of the raw scores.
    pub raw: Scores,
    /// Of the scores after post-processing.
    pub postprocessed: Scores,
    /// 95 % intervals of both.
    pub ci95: Intervals,
    /// Time to score one image, in seconds.
    pub seconds_per_image: Option<f64>,
    /// Further entries.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Figures of merit of a map of scores; all in 0 to 1, higher is better, `None` where not defined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scores {
    /// Area under the ROC curve of the pixels.
    pub auroc: Option<f64>,
    /// Average precision of the pixels.
    pub average_precision: Option<f64>,
    /// Greatest Dice over all thresholds. The threshold is selected with the truth, so this is an upper bound, not a
    /// result.
    pub ceil_dice: Option<f64>,
    /// Dice at the threshold that was selected on the validation split.
    pub dice_at_val: Option<f64>,
    /// Area under the per-region overlap curve up to a false-positive rate of 0.3.
    pub aupro_30: Option<f64>,
}

/// Intervals of the two kinds of scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Intervals {
    /// Of the raw scores.
    pub raw: ScoreIntervals,
    /// Of the scores after post-processing.
    pub postprocessed: ScoreIntervals,
}

/// Intervals `[low, high]` of [`Scores`]; `None`, or an end that is not finite, is written as `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScoreIntervals {
    /// Of [`Scores::auroc`].
    #[serde(serialize_with = "finite_interval")]
    pub auroc: Option<[f64; 2]>,
    /// Of [`Scores::average_precision`].
    #[serde(serialize_with = "finite_interval")]
    pub average_precision: Option<[f64; 2]>,
    /// Of [`Scores::ceil_dice`].
    #[serde(serialize_with = "finite_interval")]
    pub ceil_dice: Option<[f64; 2]>,
    /// Of [`Scores::dice_at_val`].
    #[serde(serialize_with = "finite_interval")]
    pub dice_at_val: Option<[f64; 2]>,
    /// Of [`Scores::aupro_30`].
    #[serde(serialize_with = "finite_interval")]
    pub aupro_30: Option<[f64; 2]>,
}

fn finite_interval<S: Serializer>(interval: &Option<[f64; 2]>, serializer: S) -> Result<S::Ok, S::Error> {
    interval.filter(|ends| ends.iter().all(|end| end.is_finite())).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn evaluation_has_the_agreed_keys() {
        let scores = Scores { auroc: Some(0.9), average_precision: Some(f64::NAN), ..Scores::default() };
        let mut ci95 = Intervals::default();
        ci95.raw.auroc = Some([0.85, 0.95]);
        ci95.raw.ceil_dice = Some([0.5, f64::NAN]);
        let predictor = PredictorReport {
            name: "pixel-l1".to_owned(),
            raw: scores,
            ci95,
            seconds_per_image: Some(0.01),
            extra: Extra::from([("lesions_found".to_owned(), json!(3))]),
            ..PredictorReport::default()
        };
        let scope = ScopeReport {
            scope: Scope::LesionSlices,
            prevalence: Some(0.06),
            predictors: vec![predictor],
            extra: Extra::new(),
        };
        let report = EvaluationReport { scopes: vec![scope], ..EvaluationReport::default() };
        let undefined = json!({"auroc": null, "average_precision": null, "ceil_dice": null, "dice_at_val": null,
            "aupro_30": null});
        let mut raw = undefined.clone();
        raw["auroc"] = json!(0.9);
        let mut raw_interval = undefined.clone();
        raw_interval["auroc"] = json!([0.85, 0.95]);
        let expected = json!({
            "schema": 1,
            "data": {},
            "scopes": [{
                "scope": "lesion-slices",
                "prevalence": 0.06,
                "predictors": [{
                    "name": "pixel-l1",
                    "raw": raw,
                    "postprocessed": undefined,
                    "ci95": {"raw": raw_interval, "postprocessed": undefined},
                    "seconds_per_image": 0.01,
                    "lesions_found": 3,
                }],
            }],
        });
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
        let read: EvaluationReport = serde_json::from_str(&text).unwrap();
        assert_eq!(read.scopes[0].predictors[0].raw.average_precision, None);
        assert_eq!(read.scopes[0].predictors[0].extra["lesions_found"], 3);
        assert_eq!(json!(Scope::AllSlices), Scope::AllSlices.name());
        assert_eq!(json!(Scope::LesionSlices), Scope::LesionSlices.name());
    }

    #[test]
    fn what_has_no_json_form_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let map = BTreeMap::from([([1, 2], 3)]);
        assert!(
            matches!(write_json(&path, &map, Existing::Replace), Err(error) if error.kind().name() == "Encode")
        );
        assert!(!path.exists());
    }
}
