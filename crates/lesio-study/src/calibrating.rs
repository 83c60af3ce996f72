//! Calibration of a localizer on held-out normals.

use lesio_anomaly::{Calibration, Localizer, NormalScores, PredictorName};
use lesio_metrics::StreamedScores;
use ndarray::Axis;

use crate::error::StudyError;
use crate::evaluation::{score_each, truth_of};
use crate::scratch::scratch;
use crate::subject::Subjects;

/// Scores subjects by each predictor and keeps what their normal slices score after post-processing.
///
/// Slices with a lesion are left out; where nothing is known, all are taken for normal. The subjects
/// must not have been trained on. Subjects may be in memory or cases that are read one at a time; their scores are kept
/// in a temporary file where they are many.
///
/// # Errors
/// A subject that cannot be read or scored, or scores that cannot be kept.
pub fn calibrate(
    localizer: Localizer,
    subjects: &(impl Subjects + ?Sized),
    names: &[PredictorName],
    mut progress: impl FnMut(usize),
) -> Result<Localizer, StudyError> {
    let mut scratch = scratch(None);
    let mut gathered: Vec<(StreamedScores, Vec<f32>)> = vec![Default::default(); names.len()];
    for place in 0..subjects.count() {
        let subject = subjects.subject(place)?;
        let truth = truth_of(&subject);
        let mut predictor = 0;
        score_each(&localizer, &subject, names, |scene, _, [_, map]| {
            let axis = Axis(scene.axis);
            if let Some(truth) = &truth {
                scene.check("truth", truth)?;
            }
            let mut scores = Vec::new();
            for (k, map) in map.axis_iter(axis).enumerate() {
                let slice = truth.as_ref().map(|truth| truth.index_axis(axis, k));
                if !slice.is_some_and(|slice| slice.iter().any(|&inside| inside)) {
                    let inside = map.iter().zip(scene.foreground.index_axis(axis, k));
                    let inside = inside.filter(|&(_, &inside)| inside).map(|(&score, _)| score);
                    scores.extend(inside.filter(|score| score.is_finite()));
                }
            }
            if let Some((stream, maxima)) = gathered.get_mut(predictor) {
                stream.update(&mut scratch, &scores)?;
                maxima.extend(scores.iter().copied().reduce(f32::max));
            }
            predictor += 1;
            Ok(())
        })?;
        progress(place + 1);
    }
    let mut calibration = Calibration::new();
    for (&name, (stream, maxima)) in names.iter().zip(gathered) {
        let ascending = |each: &mut dyn FnMut(f32, u64)| stream.for_each(&mut scratch, each);
        if let Some(scores) = NormalScores::from_ascending(maxima, stream.len(), ascending)? {
            calibration.insert(name, scores);
        }
    }
    Ok(localizer.calibrated(calibration))
}
