//! Selection of thresholds on validation subjects.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lesio_metrics::{MetricError, Scratch, StreamedValidation, ValidationThreshold};
use ndarray::Array3;

use crate::error::StudyError;
use crate::maps::{Maps, STAGES, Scene, Stage};
use crate::names::Names;
use crate::pixels::ScoredPixels;
use crate::scratch::scratch;

/// Thresholds that were selected on validation data, by predictor and stage.
pub type Thresholds = BTreeMap<(String, Stage), ValidationThreshold>;

/// Collects the scores of validation subjects and selects a threshold for each predictor.
///
/// Scores are stored in a temporary file, as in [`EvaluationBuilder`](crate::EvaluationBuilder).
#[derive(Debug)]
pub struct ThresholdChoice {
    pixels: BTreeMap<(String, Stage), StreamedValidation>,
    /// Patients with a lesion.
    patients: BTreeSet<String>,
    scratch: Scratch,
}

/// The selection on validation data.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ValidationChoice {
    /// The thresholds with the best pooled Dice; predictors without a lesion are left out.
    pub thresholds: Thresholds,
    /// The average precision of each predictor and stage on the collected slices; predictors without a lesion are left
    /// out.
    pub average_precisions: BTreeMap<(String, Stage), f64>,
    /// Number of subjects with a lesion: several images of a patient are one subject.
    pub subjects: usize,
}

impl ThresholdChoice {
    /// An empty builder, which stores scores in the given folder, or in the system's folder for temporary files; no file
    /// remains there.
    #[must_use]
    pub fn new(folder: Option<&Path>) -> Self {
        Self { pixels: BTreeMap::new(), patients: BTreeSet::new(), scratch: scratch(folder) }
    }

    /// Adds the slices with lesions of an image of a patient.
    ///
    /// # Errors
    /// For a truth or a map of another shape than the foreground, for NaN scores, and if scores cannot be stored.
    pub fn add(&mut self, patient: &str, maps: &Maps, truth: &Array3<bool>) -> Result<(), StudyError> {
        maps.check(truth.shape())?;
        let mut subject = self.subject(patient, &maps.scene(), truth)?;
        maps.maps.iter().try_for_each(|(name, [raw, map])| subject.add(name, [raw, map]))
    }

    /// Starts an image of a patient, whose maps are then added one predictor at a time.
    ///
    /// # Errors
    /// For a truth of another shape than the foreground.
    pub fn subject<'a>(
        &'a mut self,
        patient: &str,
        scene: &Scene,
        truth: &Array3<bool>,
    ) -> Result<ValidationSubject<'a>, StudyError> {
        let [pixels, _] = ScoredPixels::of_scopes(scene, truth)?;
        if !pixels.slices.is_empty() {
            self.patients.insert(patient.to_owned());
        }
        Ok(ValidationSubject { choice: self, pixels, names: Names::default() })
    }

    /// Selects the thresholds.
    ///
    /// # Errors
    /// If stored scores cannot be read.
    pub fn finish(mut self) -> Result<ValidationChoice, StudyError> {
        let mut choice = ValidationChoice { subjects: self.patients.len(), ..ValidationChoice::default() };
        for (key, pixels) in self.pixels {
            match pixels.best_dice(&mut self.scratch) {
                Ok((threshold, precision)) => {
                    choice.thresholds.insert(key.clone(), threshold);
                    choice.average_precisions.insert(key, precision);
                }
                Err(MetricError::OneClass { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(choice)
    }
}

/// A validation subject that is being added to a [`ThresholdChoice`].
#[derive(Debug)]
pub struct ValidationSubject<'a> {
    choice: &'a mut ThresholdChoice,
    pixels: ScoredPixels,
    names: Names,
}

impl ValidationSubject<'_> {
    /// Adds the raw and the post-processed map of a predictor.
    ///
    /// # Errors
    /// For a map of another shape than the foreground, for a name that was added before, for NaN scores, and if scores
    /// cannot be stored.
    pub fn add(&mut self, name: &str, maps: [&Array3<f32>; 2]) -> Result<(), StudyError> {
        self.names.add("map", name)?;
        let ThresholdChoice { pixels, scratch, .. } = &mut *self.choice;
        for (stage, map) in STAGES.into_iter().zip(maps) {
            if let Some((pixels_of_slices, scores)) = self.pixels.cut(map)? {
                let stream = pixels.entry((name.to_owned(), stage)).or_default();
                stream.update(scratch, pixels_of_slices, scores.view())?;
            }
        }
        Ok(())
    }
}
