//! Calibration of a localizer on held-out normals.

use lesio_anomaly::{Calibration, Localizer, NormalScoresBuilder, PredictorName};
use ndarray::Axis;

use crate::error::StudyError;
use crate::evaluation::{score_subject, truth_of};
use crate::subject::Subject;

/// Scores subjects by each predictor and keeps what their normal slices score after post-processing.
///
/// Slices with a lesion are left out; where nothing is known, all are taken for normal. The subjects
/// must not have been trained on.
///
/// # Errors
/// A subject that cannot be scored, or whose truth has another shape than its image; a predictor named twice.
pub fn calibrate(
    localizer: Localizer,
    subjects: &[Subject],
    names: &[PredictorName],
    mut progress: impl FnMut(usize),
) -> Result<Localizer, StudyError> {
    let mut builders: Vec<NormalScoresBuilder> = names.iter().map(|_| NormalScoresBuilder::new()).collect();
    for (done, subject) in subjects.iter().enumerate() {
        let maps = score_subject(&localizer, subject, names)?;
        let truth = truth_of(subject);
        let normal: Vec<usize> = (0..maps.foreground.len_of(Axis(maps.axis)))
            .filter(|&k| {
                let slice = truth.as_ref().map(|truth| truth.index_axis(Axis(maps.axis), k));
                !slice.is_some_and(|slice| slice.iter().any(|&inside| inside))
            })
            .collect();
        for (builder, (_, [_, map])) in builders.iter_mut().zip(&maps.maps) {
            let mut scores = Vec::new();
            for &k in &normal {
                let (map, inside) =
                    (map.index_axis(Axis(maps.axis), k), maps.foreground.index_axis(Axis(maps.axis), k));
                scores.extend(map.iter().zip(inside).filter(|&(_, &inside)| inside).map(|(&score, _)| score));
            }
            builder.add(scores);
        }
        progress(done + 1);
    }
    let mut calibration = Calibration::new();
    for (&name, builder) in names.iter().zip(builders) {
        if let Some(scores) = builder.finish() {
            calibration.insert(name, scores);
        }
    }
    Ok(localizer.calibrated(calibration))
}
