//! Normal slices as training examples.

use lesio_image::{
    FittedPreprocessing, ImageError, Plane, PreparedPlane, PreprocessError, Preprocessing, Scan,
};
use lesio_nn::Shape;
use lesio_vae::Examples;
use ndarray::Array3;
use rayon::prelude::*;

use crate::error::{StudyError, TruthError};
use crate::subject::Subject;

/// Slices with less foreground than this fraction of the grid are left out: the first slices of a head are useless for
/// training, and contain nothing to find.
const LEAST_FOREGROUND: f64 = 0.02;

/// Subjects that are prepared at once, for each thread: enough to keep all threads busy.
const SUBJECTS_PER_THREAD: usize = 4;

/// Fits a preprocessing on subjects.
///
/// # Errors
/// If a subject cannot be used ([`StudyError::Preprocess`]), and if there is none.
pub fn fit_preprocessing(
    config: &Preprocessing,
    subjects: &[Subject],
) -> Result<FittedPreprocessing, StudyError> {
    config.fit(subjects.iter().map(|subject| &subject.scan)).map_err(|error| match error {
        PreprocessError::Training { index, source } if index < subjects.len() => {
            StudyError::Preprocess { case: subjects[index].id.clone(), source: source.into() }
        }
        error => error.into(),
    })
}

/// The normal slices of subjects on the network's grid, with their foreground as the region of interest. A slice is
/// normal if it has no abnormal pixel; without a truth, all slices count as normal (see [`Subject::truth`], and
/// `Dataset::unknown` of lesio-io, which counts such cases).
///
/// # Errors
/// For a subject that cannot be preprocessed, that has other channels than the first, or whose truth does not match its
/// image ([`StudyError::Truth`]).
pub fn normal_examples(
    preprocessing: &FittedPreprocessing,
    subjects: &[Subject],
) -> Result<Examples, StudyError> {
    let [height, width] = preprocessing.config().grid();
    let channels = subjects.first().map_or(1, Subject::channels);
    let input_channels = preprocessing.config().input_channels(channels);
    let mut examples = Examples::new(Shape::new(input_channels, height, width));
    let names = subjects.first().map(|subject| subject.scan.names()).filter(|names| names.len() > 1);
    let unlike = |subject: &Subject| {
        subject.channels() != channels || names.is_some_and(|names| subject.scan.names() != names)
    };
    if let Some(other) = subjects.iter().find(|subject| unlike(subject)) {
        let (case, found) = (other.id.clone(), other.describe());
        return Err(StudyError::Mixed { case, found, expected: subjects[0].describe() });
    }
    // Some subjects at a time: the slices of all would be in memory twice.
    for some in subjects.chunks(SUBJECTS_PER_THREAD * rayon::current_num_threads()) {
        let prepared: Vec<Vec<PreparedPlane>> =
            some.par_iter().map(|subject| normal_planes(preprocessing, subject)).collect::<Result<_, _>>()?;
        for plane in prepared.iter().flatten() {
            let image: Vec<f32> = plane.input.iter().copied().collect();
            let region: Vec<bool> = plane.mask.iter().copied().collect();
            examples.push_region(&image, &region)?;
        }
    }
    Ok(examples)
}

/// Which slices of a scan contain an abnormal voxel, in the order of [`Scan::slice`]; `truth` is in the order of the
/// scan's voxels.
pub(crate) fn abnormal_slices(scan: &Scan, truth: Array3<bool>, plane: Plane) -> Vec<bool> {
    let truth = scan.placed(truth);
    let plane = scan.plane(plane);
    let slices = (0..truth.upright_planes(plane)).filter_map(|index| truth.upright_plane(plane, index));
    slices.map(|slice| slice.iter().any(|&inside| inside)).collect()
}

/// Whether a slice has enough foreground to be of use.
pub(crate) fn has_foreground(plane: &PreparedPlane) -> bool {
    let inside = plane.mask.iter().filter(|&&inside| inside).count();
    inside as f64 >= LEAST_FOREGROUND * plane.mask.len() as f64
}

fn normal_planes(
    preprocessing: &FittedPreprocessing,
    subject: &Subject,
) -> Result<Vec<PreparedPlane>, StudyError> {
    let failed = |source| StudyError::Preprocess { case: subject.id.clone(), source };
    let truth = subject.truth()?;
    let planes = preprocessing.prepare(&subject.scan).map_err(failed)?.planes;
    let abnormal = match truth {
        Some(truth) => abnormal_slices(&subject.scan, truth.into_owned(), preprocessing.config().plane),
        None => vec![false; planes.len()],
    };
    if planes.len() != abnormal.len() {
        let (found, expected) = (abnormal.len(), planes.len());
        let error = ImageError::CountMismatch { what: "slices of the truth", found, expected };
        return Err(StudyError::Truth { case: subject.id.clone(), source: TruthError::Size(error) });
    }
    let kept =
        planes.into_iter().zip(abnormal).filter(|(plane, abnormal)| !abnormal && has_foreground(plane));
    Ok(kept.map(|(plane, _)| plane).collect())
}

#[cfg(test)]
mod tests {
    use rayon::ThreadPoolBuilder;

    use super::*;
    use crate::calibrating::tests::head;

    /// One thread takes the subjects four at a time, five threads all at once.
    #[test]
    fn examples_do_not_depend_on_how_many_subjects_are_prepared_at_once() {
        let subjects: Vec<Subject> = (0..9).map(|number| head(number, (number == 5).then_some(6))).collect();
        let preprocessing = fit_preprocessing(&Preprocessing::heads([32, 32]), &subjects).unwrap();
        let of = |threads: usize| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| normal_examples(&preprocessing, &subjects)).unwrap()
        };
        let (few, all) = (of(1), of(5));
        assert!(few.len() > 4 * SUBJECTS_PER_THREAD && few == all, "{} {}", few.len(), all.len());
        let each = subjects.chunks(1).map(|one| normal_examples(&preprocessing, one).unwrap());
        assert_eq!(each.map(|one| one.len()).sum::<usize>(), few.len());
    }
}
