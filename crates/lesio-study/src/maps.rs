//! The maps of a subject for evaluation.

use lesio_anomaly::{Localizer, PredictorName, Resolution};
use lesio_settings::in_range;
use ndarray::Array3;
use serde::{Deserialize, Serialize};

use crate::error::StudyError;
use crate::names::check_unique;
use crate::subject::Subject;

/// Whether scores are raw or post-processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The raw scores of the predictor.
    Raw,
    /// After post-processing.
    Postprocessed,
}

pub(crate) const STAGES: [Stage; 2] = [Stage::Raw, Stage::Postprocessed];

/// The maps of a subject: raw and post-processed for each predictor. All arrays have the shape of the subject's image,
/// `(i, j, k)` in the order of its file; a picture is `(column, row, 1)`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Maps {
    /// The predictors' names, with their raw and post-processed maps.
    pub maps: Vec<(String, [Array3<f32>; 2])>,
    /// The model's reconstruction of the first channel, in the image's intensities.
    pub reconstruction: Array3<f32>,
    /// The foreground.
    pub foreground: Array3<bool>,
    /// The axis through the slices, 0 to 2.
    pub axis: usize,
    /// The resolution of the subject.
    pub resolution: Resolution,
}

impl Maps {
    /// Returns an error for an invalid axis, for two maps of one name, and for maps or a foreground of another shape
    /// than the truth.
    ///
    /// # Errors
    /// [`StudyError::Setting`] for the axis, [`StudyError::Repeated`] and [`StudyError::Shape`].
    pub fn check(&self, truth: &[usize]) -> Result<(), StudyError> {
        in_range("axis of the maps", self.axis, 0..=2)?;
        check_unique("map", self.maps.iter().map(|(name, _)| name.as_str()))?;
        let same = |what: &dyn Fn() -> String, found: &[usize]| {
            if found == truth {
                return Ok(());
            }
            Err(StudyError::Shape { what: what(), found: found.to_vec(), expected: truth.to_vec() })
        };
        same(&|| "the foreground".to_owned(), self.foreground.shape())?;
        for (name, stages) in &self.maps {
            for map in stages {
                same(&|| format!("the map {name:?}"), map.shape())?;
            }
        }
        Ok(())
    }

    /// The common parts of the maps, without the reconstruction.
    pub(crate) fn scene(&self) -> Scene {
        Scene {
            reconstruction: Array3::zeros((0, 0, 0)),
            foreground: self.foreground.clone(),
            axis: self.axis,
            resolution: self.resolution,
            footprint: None,
        }
    }
}

/// The common parts of all maps of a subject. Arrays are like those of [`Maps`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scene {
    /// The model's reconstruction of the first channel, in the image's intensities.
    pub reconstruction: Array3<f32>,
    /// The foreground.
    pub foreground: Array3<bool>,
    /// The axis through the slices, 0 to 2.
    pub axis: usize,
    /// The resolution of the subject.
    pub resolution: Resolution,
    /// The rows and the columns with foreground, in millimeters; `None` for pictures, and if they are unknown.
    pub footprint: Option<[f64; 2]>,
}

/// The scenes of a map among those of several models.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MapScenes<'s> {
    /// The scene of the first model, in which all maps are compared.
    pub common: &'s Scene,
    /// The scene of the map's own model, which has another foreground and resolution if its preprocessing differs; of an
    /// ensemble that of the first model.
    pub own: &'s Scene,
}

impl Scene {
    /// Returns an error for an array of another shape than the foreground, and for an invalid axis.
    pub(crate) fn check<T>(&self, what: &'static str, array: &Array3<T>) -> Result<(), StudyError> {
        in_range("axis of the maps", self.axis, 0..=2)?;
        let (found, expected) = (array.shape().to_vec(), self.foreground.shape().to_vec());
        if found != expected {
            return Err(StudyError::Shape { what: format!("the {what}"), found, expected });
        }
        Ok(())
    }
}

/// Scores a subject by each predictor.
///
/// All maps are in memory together: [`score_each`] passes them on one predictor at a time.
///
/// # Errors
/// [`StudyError::Score`] naming the case; [`StudyError::Shape`] for a truth of another shape than the image.
pub fn score_subject(
    localizer: &Localizer,
    subject: &Subject,
    names: &[PredictorName],
) -> Result<Maps, StudyError> {
    let mut maps = Vec::with_capacity(names.len());
    let scene = score_each(localizer, subject, names, |_, predictor, stages| {
        maps.push((predictor.to_string(), stages));
        Ok(())
    })?;
    let Scene { reconstruction, foreground, axis, resolution, .. } = scene;
    Ok(Maps { maps, reconstruction, foreground, axis, resolution })
}

/// Scores a subject by each predictor, and passes the raw and the post-processed map of one predictor at a time to
/// `each`, in the order of the names.
///
/// # Errors
/// [`StudyError::Score`] naming the case, errors of [`Subject::truth`], and errors of `each`.
pub fn score_each(
    localizer: &Localizer,
    subject: &Subject,
    names: &[PredictorName],
    mut each: impl FnMut(&Scene, PredictorName, [Array3<f32>; 2]) -> Result<(), StudyError>,
) -> Result<Scene, StudyError> {
    subject.truth()?;
    let failed = |source| StudyError::Score { case: subject.id.clone(), source };
    let scored = localizer.maps(&subject.scan, names).map_err(failed)?;
    let reconstruction = scored.reconstruction(&subject.scan).map_err(failed)?;
    let scene = Scene {
        reconstruction: reconstruction.into_channel(0),
        foreground: scored.foreground().data().clone(),
        axis: subject.scan.slicing_axis(localizer.preprocessing().config().plane),
        resolution: *scored.resolution(),
        footprint: scored.footprint(),
    };
    for maps in scored.maps() {
        let raw = maps.raw().map_err(failed)?;
        let postprocessed = maps.postprocessed(raw.clone()).map_err(failed)?;
        each(&scene, maps.predictor(), [raw.into_data(), postprocessed.into_data()])?;
    }
    Ok(scene)
}
