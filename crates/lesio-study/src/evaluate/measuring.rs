//! Measuring one test case.

use std::collections::{BTreeMap, BTreeSet};

use lesio_anomaly::{Localizer, PredictError};
use lesio_image::{Plane, PreprocessError};
use lesio_io::dataset::Case;
use lesio_metrics::{MetricError, PixelCurve, ValidationThreshold};
use ndarray::Array3;

use super::config::EvaluateConfig;
use crate::display::left_to_right;
use crate::error::StudyError;
use crate::evaluation::EvaluationBuilder;
use crate::groups::GroupedEvaluation;
use crate::images::ImageEvaluation;
use crate::lesion_groups::LesionGroups;
use crate::maps::{MapScenes, Scene, Stage};
use crate::model_set::ModelSet;
use crate::operating::{NOMINAL_RATE, OperatingEvaluation, OperatingPoint, ThresholdOrigin};
use crate::pixels::LesionSlices;
use crate::presentation::{Shown, ShownSlice, shown_slice};
use crate::subject::Subject;
use crate::thresholds::ValidationChoice;
use crate::workflow_error::WorkflowError;

/// The measurements of one case.
#[derive(Debug)]
pub(super) struct Measurement {
    pub(super) evaluation: EvaluationBuilder,
    pub(super) grouped: GroupedEvaluation,
    pub(super) images: ImageEvaluation,
    pub(super) operating: OperatingEvaluation,
    /// The average precision of each map on the slices with lesions.
    pub(super) precisions: BTreeMap<String, f64>,
    /// The slice with most lesion pixels, if there is a lesion.
    pub(super) shown: Option<Shown>,
}

/// Scores cases and measures their maps.
pub(super) struct Measuring<'a> {
    pub(super) models: &'a ModelSet,
    pub(super) choice: &'a ValidationChoice,
    /// The names of the maps whose calibration is in the file of their model.
    pub(super) shipped: &'a BTreeSet<String>,
    /// The kinds of defect that the data set states.
    pub(super) by_kind: &'a LesionGroups,
    pub(super) config: &'a EvaluateConfig,
}

impl Measuring<'_> {
    /// Reads a case, and checks that its truth, if there is one, fits its image.
    pub(super) fn read(&self, case: &Case) -> Result<Subject, StudyError> {
        let mut subject = Subject::read_with(case, &self.config.reading)?;
        subject.truth()?;
        // In the order of the first model, whose reconstruction is shown beside the image.
        let channels = self.models.first().map_or(&[][..], Localizer::channel_names);
        if channels.len() > 1 && !subject.scan.names().is_empty() && subject.scan.names() != channels {
            // An error is that of the model, and is reported when it scores.
            if let Ok(ordered) = subject.scan.clone().with_channels(channels) {
                subject.scan = ordered;
            }
        }
        Ok(subject)
    }

    /// Scores a case with all models and measures their maps one at a time, so that they are never in memory together. If the
    /// image cannot be scored, the measurements state that, and the error is returned as well.
    pub(super) fn measure(
        &self,
        case: &Case,
        subject: &Subject,
    ) -> Result<(Measurement, Option<StudyError>), WorkflowError> {
        let truth = subject.truth()?.ok_or_else(|| WorkflowError::NoMask { case: case.id().to_owned() })?;
        let lesions = match &self.config.groups {
            Some(groups) => {
                let numbers = self.lesion_numbers(case, subject)?;
                let unlisted = groups.unlisted(case.id(), &numbers);
                if !unlisted.is_empty() {
                    tracing::warn!(
                        "case {}: the lesions {unlisted:?} of the mask are not in the table of lesions, and have no part in the \
                         figures by kind of lesion",
                        case.id()
                    );
                }
                Some((numbers, groups))
            }
            None if self.by_kind.is_empty() => None,
            None => Some((truth.mapv(u32::from), self.by_kind)),
        };
        let folder = self.config.scratch.as_deref();
        let mut found = Measurement {
            evaluation: EvaluationBuilder::new(folder),
            grouped: GroupedEvaluation::new(folder),
            images: ImageEvaluation::new(),
            operating: OperatingEvaluation::new(),
            precisions: BTreeMap::new(),
            shown: None,
        };
        match self.add(subject, &truth, lesions, &mut found) {
            Err(error) if cannot_be_scored(&error) => {
                found.evaluation.unscored(&subject.patient, &subject.id, &error);
                Ok((found, Some(error)))
            }
            added => {
                added?;
                // A header without a form does not say which side is left.
                if let Some(shown) = &mut found.shown {
                    shown.left_to_right &= left_to_right(Plane::Axial, case.header()?.as_ref());
                }
                Ok((found, None))
            }
        }
    }

    fn add(
        &self,
        subject: &Subject,
        truth: &Array3<bool>,
        lesions: Option<(Array3<u32>, &LesionGroups)>,
        found: &mut Measurement,
    ) -> Result<(), StudyError> {
        let Measurement { evaluation, grouped, images, operating, precisions, shown } = found;
        // Starts with the first map, so that a case that cannot be scored adds nothing.
        let mut started = None;
        let mut gathered = Some((evaluation, grouped, images, operating, lesions));
        self.models.score_each(subject, |MapScenes { common: scene, own, .. }, name, maps| {
            if let Some((evaluation, grouped, images, operating, lesions)) = gathered.take() {
                let groups = match lesions {
                    Some((mask, groups)) => {
                        Some(grouped.subject(&subject.id, &subject.patient, scene, &mask, groups)?)
                    }
                    None => None,
                };
                let slices = LesionSlices::of(scene, truth)?;
                let images = images.subject(&subject.patient, scene, truth)?;
                let marks = operating.subject(subject, scene, truth)?;
                let measured = evaluation.subject(&subject.patient, scene, truth)?;
                started = Some((measured, images, marks, groups, slices, shown_slice(subject, scene, truth)));
            }
            let Some((measured, images, marks, groups, slices, shown)) = started.as_mut() else {
                return Ok(());
            };
            measured.add(name, maps)?;
            images.add(name, maps[1])?;
            for point in self.operating_points(name, own) {
                marks.add(name, maps[1], &own.foreground, &point)?;
            }
            if let Some(groups) = groups {
                groups.add(name, maps[1])?;
            }
            if let Some(slices) = slices
                && let Some(precision) = precision_of(slices, maps[1])?
            {
                precisions.insert(name.to_owned(), precision);
            }
            if let Some(shown) = shown {
                shown.add(maps[1]);
            }
            Ok(())
        })?;
        *shown = started.and_then(|(.., shown)| shown).map(ShownSlice::finish);
        Ok(())
    }

    /// The numbers of the lesions of a case on the grid of its scan, all 0 for a normal case without a mask.
    fn lesion_numbers(&self, case: &Case, subject: &Subject) -> Result<Array3<u32>, WorkflowError> {
        let Some(path) = case.mask().path() else { return Ok(Array3::zeros(subject.scan.grid())) };
        let mask = case.labels_on(&subject.scan, path, &self.config.reading)?;
        Ok(mask.data().mapv(u32::from))
    }

    /// The thresholds of a map, for the scene of its model: the one of the calibration (single predictors only), and the one chosen on validation lesions.
    fn operating_points(&self, name: &str, scene: &Scene) -> Vec<OperatingPoint> {
        let Self { models, choice, .. } = *self;
        let own = models.predictors().into_iter().find(|(_, _, own)| own == name);
        let localizer = own.as_ref().map_or_else(|| models.first(), |(model, ..)| models.model(*model));
        let least =
            localizer.map_or(1, |localizer| localizer.postprocessing().least_voxels(&scene.resolution));
        let normal = own.and_then(|(_, predictor, _)| localizer?.calibration().get(predictor));
        let calibrated = normal.map(|normal| normal.threshold(NOMINAL_RATE));
        let chosen = choice.thresholds.get(&(name.to_owned(), Stage::Postprocessed));
        let calibration = match self.shipped.contains(name) {
            true => ThresholdOrigin::Calibration,
            false => ThresholdOrigin::ValidationNormals,
        };
        let points = [
            (calibration, calibrated),
            (ThresholdOrigin::Validation, chosen.map(ValidationThreshold::value)),
        ];
        let points = points.into_iter().filter_map(|(origin, threshold)| Some((origin, threshold?)));
        points.map(|(origin, threshold)| OperatingPoint::new(origin, threshold, least)).collect()
    }
}

/// The average precision of a map on slices with lesions; `None` if every scored pixel is a lesion.
fn precision_of(slices: &LesionSlices, map: &Array3<f32>) -> Result<Option<f64>, StudyError> {
    let mut pixels = PixelCurve::new();
    pixels.update_within(&slices.cut(map), &slices.truth, &slices.within)?;
    match pixels.rank() {
        Ok(ranked) => Ok(Some(ranked.average_precision())),
        Err(MetricError::OneClass { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether the image causes the error: it is empty or constant, or has no foreground or values that are not finite.
pub(super) fn cannot_be_scored(error: &StudyError) -> bool {
    matches!(error, StudyError::Score { source: PredictError::Preprocess(PreprocessError::Image(_)), .. })
}
