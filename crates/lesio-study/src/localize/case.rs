//! What was found in an image.

use std::path::PathBuf;

use lesio_anomaly::{PredictorName, Resolution};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::findings::Finding;
use crate::verdict::CaseVerdict;

/// What was found in an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LocalizedCase {
    /// The case.
    pub id: String,
    /// What else a manifest says of it, by column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<(String, String)>,
    /// Its files, one a channel; a file alone is a text in JSON.
    #[serde(serialize_with = "one_or_all", deserialize_with = "one_or_several")]
    pub input: Vec<PathBuf>,
    /// What it is, in words.
    pub content: String,
    /// How finely it is sampled.
    pub resolution: Resolution,
    /// Why thresholds, rates and p-values may not hold at this resolution.
    pub resolution_doubt: Option<String>,
    /// The folder of its results, within that of all results.
    #[serde(default)]
    pub folder: PathBuf,
    /// Its page, if one was to be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<PathBuf>,
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
    /// The names of these channels, or their numbers from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_names: Vec<String>,
    /// The picture.
    pub overlay: PathBuf,
    /// A small picture for the page of all cases, if one was to be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<PathBuf>,
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

impl MappedPredictor {
    /// Voxels of all lesions; `None` without a threshold.
    #[must_use]
    pub fn voxels(&self) -> Option<usize> {
        self.lesions.as_ref().map(|lesions| lesions.iter().map(|lesion| lesion.voxels).sum())
    }

    /// Volume of all lesions in milliliters, 0 if there is none; `None` without a threshold, and of pictures, whose
    /// pixels have no known size.
    #[must_use]
    pub fn volume_ml(&self, resolution: &Resolution) -> Option<f64> {
        match resolution {
            Resolution::Image(_) => None,
            // Not `sum`, which is -0.0 without a lesion.
            _ => self.lesions.as_ref()?.iter().try_fold(0.0, |sum, lesion| Some(sum + lesion.volume_ml?)),
        }
    }
}

#[cfg(test)]
impl MappedPredictor {
    /// A result above a threshold, with `lesions`.
    pub(super) fn example(lesions: Vec<Finding>) -> Self {
        Self {
            name: PredictorName::PixelL1,
            verdict: CaseVerdict::of(None, None, 0.05, None).unwrap(),
            map: None,
            raw: None,
            channels: Vec::new(),
            channel_names: Vec::new(),
            overlay: PathBuf::new(),
            thumbnail: None,
            labels: None,
            threshold: Some(1.0),
            normal_subjects: None,
            smallest_p_value: None,
            p_value_level: 0.05,
            lesions: Some(lesions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_findings_volumes_have_zero_milliliters_and_pictures_none() {
        let mut mapped = MappedPredictor::example(Vec::new());
        let (volume, picture) = (Resolution::Volume([1.0; 3]), Resolution::Image([1.0; 2]));
        // Positive zero: tables print `-0` otherwise.
        assert_eq!(mapped.volume_ml(&volume).map(f64::to_bits), Some(0));
        assert_eq!(mapped.volume_ml(&picture), None);
        mapped.lesions = None;
        assert_eq!(mapped.volume_ml(&volume), None);
    }
}
