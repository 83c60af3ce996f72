//! What is usual at each place of the network's grid, gathered from normal slices.

use lesio_anomaly::{Localizer, LocationBuilder, PredictorName};
use lesio_image::Orientation;
use lesio_metrics::MetricError;

use crate::error::StudyError;
use crate::subject::{Content, Subjects};

/// Gathers what the normal slices of subjects score at each place, so that the maps of these predictors are
/// counted in deviations from it before they are filtered. `bands` are parts of a volume along its slices; images
/// have one.
///
/// Slices with a lesion are left out; where nothing is known, all are taken for normal. Subjects that were
/// trained on may serve: a model errs a little less on them than on new ones, but in the same places, and a scale
/// that is too small everywhere orders nothing otherwise. Those that calibrate afterwards must not: their scores
/// would be counted from themselves.
///
/// # Errors
/// A subject that cannot be scored, or a number of bands that is refused.
pub fn locate(
    localizer: Localizer,
    subjects: &(impl Subjects + ?Sized),
    names: &[PredictorName],
    bands: usize,
    mut progress: impl FnMut(usize),
) -> Result<Localizer, StudyError> {
    let config = localizer.preprocessing().config();
    let (grid, plane) = (config.grid(), config.plane);
    let mut has_image = false;
    for place in 0..subjects.count() {
        has_image |= matches!(subjects.subject(place)?.content, Content::Image { .. });
    }
    let bands = if has_image { 1 } else { bands };
    let mut builder = LocationBuilder::new(names, grid, bands)?;
    for done in 0..subjects.count() {
        let subject = subjects.subject(done)?;
        let failed = |source| StudyError::Score { case: subject.id.clone(), source };
        match &subject.content {
            Content::Volume { volume, truth } => {
                if let Some(truth) = truth {
                    same_shape(&truth.shape(), &volume.shape())?;
                }
                let truth = truth.as_ref().map(|truth| truth.reoriented(&Orientation::RAS));
                let normal = |index: usize| {
                    let slice = truth.as_ref().and_then(|truth| truth.plane(plane, index));
                    !slice.is_some_and(|slice| slice.iter().any(|&inside| inside))
                };
                localizer.add_normal_volume(&mut builder, volume, normal).map_err(failed)?;
            }
            Content::Image { image, truth } => {
                if let Some(truth) = truth {
                    same_shape(truth.shape(), &[image.height(), image.width()])?;
                }
                if !truth.as_ref().is_some_and(|truth| truth.iter().any(|&inside| inside)) {
                    localizer.add_normal_image(&mut builder, image).map_err(failed)?;
                }
            }
        }
        progress(done + 1);
    }
    Ok(localizer.located(builder.finish())?)
}

/// Refuses a truth of another shape than its image: what it does not reach would be taken for normal.
fn same_shape(found: &[usize], expected: &[usize]) -> Result<(), StudyError> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (found.to_vec(), expected.to_vec());
    Err(MetricError::Shape { what: "truth", found, expected }.into())
}
