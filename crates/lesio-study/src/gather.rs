//! Normal slices as training examples.

use lesio_image::{
    FittedPreprocessing, ImageError, Orientation, Plane, PreparedPlane, Preprocessing, Volume,
};
use lesio_nn::Shape;
use lesio_vae::Examples;
use ndarray::Array3;
use rayon::prelude::*;

use crate::error::{StudyError, TruthError};
use crate::subject::{Content, Subject};

/// Slices with less foreground than this share of the grid are left out: the first sliver of a head
/// teaches a model nothing, and there is nothing to find in it.
const LEAST_FOREGROUND: f64 = 0.02;

/// Fits a preprocessing on subjects.
///
/// # Errors
/// A subject that cannot be used, or none.
pub fn fit_preprocessing(
    config: &Preprocessing,
    subjects: &[Subject],
) -> Result<FittedPreprocessing, StudyError> {
    let volumes: Vec<&Volume<f32>> = subjects
        .iter()
        .filter_map(|subject| match &subject.content {
            Content::Volume { volume, .. } => Some(volume),
            Content::Image { .. } => None,
        })
        .collect();
    if volumes.is_empty() {
        let images = subjects.iter().filter_map(|subject| match &subject.content {
            Content::Image { image, .. } => Some(image),
            Content::Volume { .. } => None,
        });
        return Ok(config.fit_images(images)?);
    }
    Ok(config.fit(volumes)?)
}

/// The normal slices of subjects on the network's grid, with their foreground as the region that
/// matters. A slice is normal that holds no abnormal pixel; where nothing is known, all are: who trains without
/// masks says that every subject is normal (see [`Subject::truth`], and `Dataset::unknown` of lesio-io, which
/// counts them).
///
/// # Errors
/// A subject that cannot be preprocessed, of other channels than the first, or with a truth that is not on its
/// image's grid ([`StudyError::Truth`]).
pub fn normal_examples(
    preprocessing: &FittedPreprocessing,
    subjects: &[Subject],
) -> Result<Examples, StudyError> {
    let [height, width] = preprocessing.config().grid();
    let channels = subjects.first().map_or(1, Subject::channels);
    let input_channels = preprocessing.config().input_channels(channels);
    let mut examples = Examples::new(Shape::new(input_channels, height, width));
    if let Some(other) = subjects.iter().find(|subject| subject.channels() != channels) {
        let (case, found) = (other.id.clone(), other.describe());
        return Err(StudyError::Mixed { case, found, expected: subjects[0].describe() });
    }
    let prepared: Vec<Vec<PreparedPlane>> =
        subjects.par_iter().map(|subject| normal_planes(preprocessing, subject)).collect::<Result<_, _>>()?;
    for plane in prepared.iter().flatten() {
        let image: Vec<f32> = plane.input.iter().copied().collect();
        let region: Vec<bool> = plane.mask.iter().copied().collect();
        examples.push_region(&image, &region)?;
    }
    Ok(examples)
}

/// Which slices of a volume turned to RAS+ hold an abnormal voxel; `truth` is in the order of the volume's own voxels.
pub(crate) fn abnormal_slices(volume: &Volume<f32>, truth: Array3<bool>, plane: Plane) -> Vec<bool> {
    let truth = Volume::new(truth, *volume.geometry()).reoriented(&Orientation::RAS);
    let slices = (0..truth.planes(plane)).filter_map(|index| truth.plane(plane, index));
    slices.map(|slice| slice.iter().any(|&inside| inside)).collect()
}

fn normal_planes(
    preprocessing: &FittedPreprocessing,
    subject: &Subject,
) -> Result<Vec<PreparedPlane>, StudyError> {
    let failed = |source| StudyError::Preprocess { case: subject.id.clone(), source };
    let truth = subject.truth()?;
    let (planes, abnormal) = match &subject.content {
        Content::Volume { volume, .. } => {
            let planes = preprocessing.prepare(volume).map_err(failed)?.planes;
            let plane = preprocessing.config().plane;
            let abnormal = match truth {
                Some(truth) => abnormal_slices(volume, truth.into_owned(), plane),
                None => vec![false; planes.len()],
            };
            (planes, abnormal)
        }
        Content::Image { image, .. } => {
            let prepared = preprocessing.prepare_image(image).map_err(failed)?;
            let abnormal = truth.is_some_and(|truth| truth.iter().any(|&inside| inside));
            (vec![prepared.plane], vec![abnormal])
        }
    };
    if planes.len() != abnormal.len() {
        let (found, expected) = (abnormal.len(), planes.len());
        let error = ImageError::CountMismatch { what: "slices of the truth", found, expected };
        return Err(StudyError::Truth { case: subject.id.clone(), source: TruthError::Size(error) });
    }
    let enough = |plane: &PreparedPlane| {
        let inside = plane.mask.iter().filter(|&&inside| inside).count();
        inside as f64 >= LEAST_FOREGROUND * plane.mask.len() as f64
    };
    let kept = planes.into_iter().zip(abnormal).filter(|(plane, abnormal)| !abnormal && enough(plane));
    Ok(kept.map(|(plane, _)| plane).collect())
}
