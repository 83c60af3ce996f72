//! The steps of an evaluation, in order.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use lesio_anomaly::{ChosenPredictor, Localizer, PredictError, PredictorName};
use lesio_image::PreprocessError;
use lesio_io::dataset::Case;
use lesio_metrics::{MetricError, PixelCurve, ValidationThreshold};
use ndarray::Array3;

use super::config::{EvaluateConfig, ModelChoices};
use super::examples::{CasePrecisions, Example};
use super::results::{ChosenMap, EvaluationResults};
use crate::calibrating::calibrate;
use crate::error::StudyError;
use crate::evaluation::EvaluationBuilder;
use crate::groups::GroupedEvaluation;
use crate::images::ImageEvaluation;
use crate::lesion_groups::LesionGroups;
use crate::localize::FailedCase;
use crate::maps::{Scene, Stage, score_subject};
use crate::model_set::ModelSet;
use crate::observer::{Notice, Observer, Step};
use crate::operating::{NOMINAL_RATE, OperatingEvaluation, OperatingPoint, ThresholdOrigin};
use crate::pixels::LesionSlices;
use crate::presentation::{Shown, ShownSlice, leading, shown_slice};
use crate::reading::BadCases;
use crate::subject::{ReadCases, Subject, Subjects};
use crate::thresholds::{ThresholdChoice, ValidationChoice};
use crate::workflow_error::WorkflowError;

/// Measures every predictor of localizers against the truth of test cases, with 95 % intervals over patients.
///
/// `localizers` are named by what to call them. `validation` cases, which may be none, calibrate predictors that their
/// model was not calibrated for, teach the weights of ensembles, and choose thresholds and the best predictor. Cases are
/// read one at a time, whenever they are needed. A test case whose image cannot be scored (empty, constant, not finite)
/// is listed and left out.
///
/// # Errors
/// A test case without a truth ([`WorkflowError::NoMask`]); cases that cannot be read or scored; an ensemble of fewer than
/// two predictors, or of one that is not calibrated; two localizers or predictors of one name.
pub fn evaluate(
    localizers: impl IntoIterator<Item = (String, Localizer)>,
    test: &[Case],
    validation: &[Case],
    config: &EvaluateConfig,
    observer: &mut dyn Observer,
) -> Result<EvaluationResults, WorkflowError> {
    let validation = ReadCases::new(validation, &config.reading);
    let mut models = model_set(localizers, &validation, config, observer)?;
    let mut learnt = Vec::new();
    if !config.ensemble.is_empty() {
        models = models.ensembles(&config.ensemble)?;
        if validation.count() > 0 {
            observer.begin(&Step::LearningWeights, validation.count());
            (models, learnt) = models.learn_weights(&validation, |done| observer.advance(done))?;
            observer.end();
        }
    }
    let folder = config.scratch.as_deref();
    let choice = choose(&models, &validation, folder, observer)?;
    let best = match config.model_choices {
        ModelChoices::Best => best_predictors(&models, &choice)?,
        ModelChoices::None => Vec::new(),
    };
    let mut grouped = folder.map_or_else(GroupedEvaluation::new, GroupedEvaluation::in_folder);
    let mut evaluation = folder.map_or_else(EvaluationBuilder::new, EvaluationBuilder::in_folder);
    let mut images = ImageEvaluation::new();
    let mut operating = OperatingEvaluation::new();
    let mut precisions = CasePrecisions::default();
    let by_kind = LesionGroups::by_kind(test);
    let (mut seconds, mut failed) = (BTreeMap::new(), Vec::new());
    observer.begin(&Step::Scoring, test.len());
    for (place, case) in test.iter().enumerate() {
        let subject = match read(case, config) {
            Ok(subject) => subject,
            Err(error) if config.bad_cases == BadCases::Stop || test.len() == 1 => return Err(error.into()),
            Err(error) => {
                evaluation.unscored(case.patient(), case.id(), &error);
                failed.push(FailedCase::new(case, &error, observer));
                observer.advance(place + 1);
                continue;
            }
        };
        let truth = subject.truth()?.ok_or_else(|| WorkflowError::NoMask { case: case.id().to_owned() })?;
        if seconds.is_empty() {
            seconds = match time_predictors(&models, &subject) {
                Ok(seconds) => seconds,
                // The next case is timed instead.
                Err(error) if cannot_be_scored(&error) => BTreeMap::new(),
                Err(error) => return Err(error.into()),
            };
        }
        let lesions = match &config.groups {
            Some(groups) => lesion_numbers(case, config)?.map(|mask| (mask, groups, &mut grouped)),
            None if by_kind.is_empty() => None,
            None => Some((truth.mapv(u32::from), &by_kind, &mut grouped)),
        };
        match add(&models, &subject, &truth, (&mut evaluation, &mut images, &mut operating), lesions, &choice)
        {
            Ok(found) => precisions.add(place, case.kind(), found),
            Err(error) if cannot_be_scored(&error) => {
                evaluation.unscored(&subject.patient, &subject.id, &error);
                observer.notice(&Notice::CaseLeftOut { error: &error });
            }
            Err(error) => return Err(error.into()),
        }
        observer.advance(place + 1);
    }
    observer.notice(&Notice::ComputingFigures);
    observer.end();
    let patients = evaluation.patients();
    let groups = grouped.finish(&config.bootstrap)?;
    let images = images.finish(&config.bootstrap)?;
    let at_thresholds = operating.figures(&config.bootstrap)?;
    let evaluated = evaluation.finish(&choice.thresholds, &seconds, &config.bootstrap)?;
    let chosen = ChosenMap::of(&choice.average_precisions, &evaluated.scopes);
    let leader = chosen.as_ref().map(|chosen| chosen.name.as_str()).or_else(|| {
        let scope = evaluated.scopes.first()?;
        leading(scope, 1).last().copied()
    });
    let examples = leader.map(|leader| precisions.examples(leader, config.pictures)).unwrap_or_default();
    let slices = show(&models, test, &examples, config)?;
    Ok(EvaluationResults {
        cases: test.len() - failed.len(),
        failed,
        patients,
        evaluated,
        groups,
        images,
        operating,
        at_thresholds,
        learnt,
        chosen,
        best,
        slices,
        models,
    })
}

/// The models with their predictors, calibrated where they have to be.
fn model_set(
    localizers: impl IntoIterator<Item = (String, Localizer)>,
    validation: &ReadCases<'_>,
    config: &EvaluateConfig,
    observer: &mut dyn Observer,
) -> Result<ModelSet, WorkflowError> {
    let mut models = ModelSet::new();
    for (label, mut localizer) in localizers {
        let mut names = config.predictors.clone().unwrap_or_else(|| localizer.predictors());
        names.retain(|name| localizer.predictors().contains(name));
        names.retain(|&name| name != PredictorName::Intensity);
        names.insert(0, PredictorName::Intensity);
        let is_calibrated = |name: &PredictorName| localizer.calibration().get(*name).is_some();
        if validation.count() > 0 && !names.iter().all(is_calibrated) {
            // Other filters or predictors than the model's own: what normal pixels score has to be seen again.
            observer.begin(&Step::Calibrating, validation.count());
            localizer = calibrate(localizer, validation, &names, |done| observer.advance(done))?;
            observer.end();
        }
        models = models.localizer(label, localizer, names)?;
    }
    Ok(models)
}

/// A case whose truth, if there is one, lies on its image.
fn read(case: &Case, config: &EvaluateConfig) -> Result<Subject, StudyError> {
    let subject = Subject::read_with(case, &config.reading)?;
    subject.truth()?;
    Ok(subject)
}

/// The numbers of the lesions of a case.
fn lesion_numbers(case: &Case, config: &EvaluateConfig) -> Result<Option<Array3<u32>>, WorkflowError> {
    let (_, mask) = case.read_volume_with(&config.reading)?;
    Ok(mask.map(|mask| mask.data().mapv(u32::from)))
}

/// Scores a case and adds its maps one by one, so that they are never in memory together; returns the average precision of
/// each on the slices with lesions.
fn add(
    models: &ModelSet,
    subject: &Subject,
    truth: &Array3<bool>,
    gathered: (&mut EvaluationBuilder, &mut ImageEvaluation, &mut OperatingEvaluation),
    lesions: Option<(Array3<u32>, &LesionGroups, &mut GroupedEvaluation)>,
    choice: &ValidationChoice,
) -> Result<BTreeMap<String, f64>, StudyError> {
    // Begun when the first map is there: a case that cannot be scored adds nothing.
    let mut started = None;
    let (mut lesions, mut gathered) = (lesions, Some(gathered));
    let mut precisions = BTreeMap::new();
    models.score_each(subject, |scene, name, maps| {
        if let Some((evaluation, images, operating)) = gathered.take() {
            let groups = match lesions.take() {
                Some((mask, groups, grouped)) => {
                    Some(grouped.subject(&subject.id, &subject.patient, scene, &mask, groups)?)
                }
                None => None,
            };
            let slices = LesionSlices::of(scene, truth)?;
            let images = images.subject(&subject.patient, scene, truth)?;
            let marks = operating.subject(subject, scene, truth)?;
            let measured = evaluation.subject(&subject.patient, scene, truth)?;
            started = Some((measured, images, marks, groups, slices));
        }
        let Some((measured, images, marks, groups, slices)) = started.as_mut() else { return Ok(()) };
        measured.add(name, maps)?;
        images.add(name, maps[1])?;
        for point in operating_points(models, name, scene, choice) {
            marks.add(name, maps[1], &point)?;
        }
        if let Some(groups) = groups {
            groups.add(name, maps[1])?;
        }
        if let Some(slices) = slices
            && let Some(precision) = precision_of(slices, maps[1])?
        {
            precisions.insert(name.to_owned(), precision);
        }
        Ok(())
    })?;
    Ok(precisions)
}

/// The thresholds of a map: that of the calibration, of single predictors, and that which validation lesions chose.
fn operating_points(
    models: &ModelSet,
    name: &str,
    scene: &Scene,
    choice: &ValidationChoice,
) -> Vec<OperatingPoint> {
    let own = models.predictors().into_iter().find(|(_, _, own)| own == name);
    let localizer = own.as_ref().map_or_else(|| models.first(), |(model, ..)| models.model(*model));
    let least = localizer.map_or(1, |localizer| localizer.map_filters().least_voxels(&scene.resolution));
    let normal = own.and_then(|(_, predictor, _)| localizer?.calibration().get(predictor));
    let calibrated = normal.map(|normal| normal.threshold(NOMINAL_RATE));
    let chosen = choice.thresholds.get(&(name.to_owned(), Stage::Postprocessed));
    let points = [
        (ThresholdOrigin::Calibration, calibrated),
        (ThresholdOrigin::Validation, chosen.map(ValidationThreshold::value)),
    ];
    let points = points.into_iter().filter_map(|(origin, threshold)| Some((origin, threshold?)));
    points.map(|(origin, threshold)| OperatingPoint::new(origin, threshold, least)).collect()
}

/// The average precision of a map on slices with lesions; `None` where every pixel that counts is a lesion.
fn precision_of(slices: &LesionSlices, map: &Array3<f32>) -> Result<Option<f64>, StudyError> {
    let mut pixels = PixelCurve::new();
    pixels.update_within(&slices.cut(map), &slices.truth, &slices.within)?;
    match pixels.rank() {
        Ok(ranked) => Ok(Some(ranked.average_precision())),
        Err(MetricError::OneClass { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The slices of examples with all maps, scored once more.
fn show(
    models: &ModelSet,
    test: &[Case],
    examples: &[Example],
    config: &EvaluateConfig,
) -> Result<Vec<Shown>, WorkflowError> {
    let mut rows = Vec::new();
    for example in examples {
        let Some(case) = test.get(example.place) else { continue };
        let subject = Subject::read_with(case, &config.reading)?;
        let Some(truth) = subject.truth()? else { continue };
        let mut shown: Option<ShownSlice> = None;
        models.score_each(&subject, |scene, _, maps| {
            if shown.is_none() {
                shown = shown_slice(&subject, scene, &truth);
            }
            if let Some(shown) = &mut shown {
                shown.add(maps[1]);
            }
            Ok(())
        })?;
        rows.extend(shown.map(ShownSlice::finish).map(|mut row| {
            row.label = format!("{} ({})", row.label, example.why);
            row
        }));
    }
    Ok(rows)
}

/// Whether an error is the image's: empty or constant, without foreground, with values that are not finite.
fn cannot_be_scored(error: &StudyError) -> bool {
    matches!(error, StudyError::Score { source: PredictError::Preprocess(PreprocessError::Image(_)), .. })
}

/// What the lesions of validation cases choose.
fn choose(
    models: &ModelSet,
    validation: &ReadCases<'_>,
    folder: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<ValidationChoice, WorkflowError> {
    let mut choice = folder.map_or_else(ThresholdChoice::new, ThresholdChoice::in_folder);
    observer.begin(&Step::Choosing, validation.count());
    for place in 0..validation.count() {
        let subject = validation.subject(place)?;
        if let Some(truth) = subject.truth()? {
            let (mut started, mut choice) = (None, Some(&mut choice));
            models.score_each(&subject, |scene, name, maps| {
                if let Some(choice) = choice.take() {
                    started = Some(choice.subject(scene, &truth)?);
                }
                started.as_mut().map_or(Ok(()), |subject| subject.add(name, maps))
            })?;
        }
        observer.advance(place + 1);
    }
    observer.end();
    Ok(choice.finish()?)
}

/// Of each model the predictor that is best on the lesions of the validation cases.
fn best_predictors(
    models: &ModelSet,
    choice: &ValidationChoice,
) -> Result<Vec<ChosenPredictor>, WorkflowError> {
    let (found, subjects) = (&choice.average_precisions, choice.subjects);
    let mut best: BTreeMap<usize, ChosenPredictor> = BTreeMap::new();
    for (model, predictor, name) in models.predictors() {
        let Some(&precision) = found.get(&(name, Stage::Postprocessed)) else {
            return Err(WorkflowError::NoLesionsToChooseBy);
        };
        if best.get(&model).is_none_or(|best| precision > best.average_precision) {
            best.insert(model, ChosenPredictor::new(predictor, precision, subjects));
        }
    }
    Ok(best.into_values().collect())
}

/// Seconds per slice of each predictor by itself, and of each ensemble the sum of its members'.
fn time_predictors(models: &ModelSet, subject: &Subject) -> Result<BTreeMap<String, f64>, StudyError> {
    let mut seconds = BTreeMap::new();
    for (model, predictor, name) in models.predictors() {
        let Some(localizer) = models.model(model) else { continue };
        let started = Instant::now();
        score_subject(localizer, subject, &[predictor])?;
        let slices = subject.scan.slices(localizer.preprocessing().config().plane);
        seconds.insert(name, started.elapsed().as_secs_f64() / slices.max(1) as f64);
    }
    for (name, members) in models.ensemble_members() {
        let sum = members.iter().filter_map(|member| seconds.get(member)).sum();
        seconds.insert(name, sum);
    }
    Ok(seconds)
}
