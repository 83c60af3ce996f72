//! Normalization of scores by position, computed from normal slices.

use lesio_anomaly::{Localizer, PositionBuilder, PredictorName};

use crate::error::StudyError;
use crate::normal_slices::abnormal_slices;
use crate::subject::Subjects;

/// Normalizes the maps of these predictors by position: collects the scores of normal slices at each position, so that
/// maps are expressed in standard deviations from their mean before they are filtered. `bands` is the number of parts
/// of a volume along its slices; images have one.
///
/// Slices with a lesion are left out; without a truth, all slices count as normal. Training subjects may be used: a
/// model has slightly smaller errors on them than on new subjects, but at the same positions, and a common factor does
/// not change the order of scores. Subjects of the later calibration must not be used: their scores would be normalized
/// by themselves.
///
/// # Errors
/// For a subject that cannot be scored or whose truth has another shape than its image, for an invalid number of bands,
/// and for a predictor that is named twice.
pub fn normalize_by_position(
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
        has_image |= subjects.subject(place)?.scan.is_picture();
    }
    let bands = if has_image { 1 } else { bands };
    let mut builder = PositionBuilder::new(names, grid, bands)?;
    for done in 0..subjects.count() {
        let subject = subjects.subject(done)?;
        let failed = |source| StudyError::Score { case: subject.id.clone(), source };
        let truth = subject.truth()?;
        let abnormal = truth.map(|truth| abnormal_slices(&subject.scan, truth.into_owned(), plane));
        let normal =
            |index: usize| !abnormal.as_ref().and_then(|slices| slices.get(index)).copied().unwrap_or(false);
        localizer.add_normal(&mut builder, &subject.scan, normal).map_err(failed)?;
        progress(done + 1);
    }
    Ok(localizer.with_position_normals(builder.finish())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrating::tests::{head, localizer};
    use crate::subject::Subject;
    use ndarray::Array3;

    #[test]
    fn truths_of_another_shape_are_refused() {
        let names = [PredictorName::PixelL1];
        let subject = |shape| {
            let scan = head(0, None).scan;
            let truth = scan.placed(Array3::from_elem(shape, true));
            Subject::new("other", scan, Some(truth))
        };
        // The last has the voxels of the image, turned.
        for shape in [(32, 32, 3), (32, 32, 5), (31, 32, 4), (4, 32, 32)] {
            let refused = normalize_by_position(localizer(), &[subject(shape)], &names, 1, |_| {});
            assert!(matches!(refused, Err(StudyError::Truth { case, .. }) if case == "other"), "{shape:?}");
        }
        assert!(normalize_by_position(localizer(), &[subject((32, 32, 4))], &names, 1, |_| {}).is_ok());
    }
}
