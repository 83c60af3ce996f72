//! The steps of an evaluation, in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lesio_anomaly::{ChosenPredictor, Localizer, PredictorName};
use lesio_io::dataset::Case;
use lesio_report::CohortContent;

use super::config::{EvaluateConfig, ModelChoices};
use super::measurements::{CohortMeasurements, Frame};
use super::measuring::{Measuring, cannot_be_scored};
use super::results::EvaluationResults;
use super::work::{Found, Work};
use crate::apart::require_apart;
use crate::calibrating::calibrate;
use crate::channel_name::notice_other_channel;
use crate::error::StudyError;
use crate::folder::{case_folders, prepare_folder};
use crate::lesion_groups::LesionGroups;
use crate::localize::FailedCase;
use crate::maps::{Stage, score_subject};
use crate::model_set::{LearnedEnsemble, ModelSet};
use crate::observer::{Notice, Observer, Step};
use crate::shard::ShardRecord;
use crate::subject::{ReadCases, Subject, Subjects};
use crate::thresholds::{ThresholdChoice, ValidationChoice};
use crate::workers::in_parallel;
use crate::workflow_error::WorkflowError;

/// Measures every predictor of localizers against the truth of test cases, with 95 % intervals over patients.
///
/// `localizers` are named by what to call them. `validation` cases, which may be none, calibrate predictors that their
/// model was not calibrated for, teach the weights of ensembles, and choose thresholds and the best predictor. Cases are
/// read one at a time, or as many as there are workers, whenever they are needed. A test case whose image cannot be scored
/// (empty, constant, not finite) is listed and left out.
///
/// # Errors
/// Patients with validation and with test cases ([`StudyError::SharedPatients`](crate::StudyError::SharedPatients)); a test
/// case without a truth ([`WorkflowError::NoMask`]); cases that cannot be read or scored; an ensemble of fewer than
/// two predictors, or of one that is not calibrated; two localizers or predictors of one name.
pub fn evaluate(
    localizers: impl IntoIterator<Item = (String, Localizer)>,
    test: &[Case],
    validation: &[Case],
    config: &EvaluateConfig,
    observer: &mut dyn Observer,
) -> Result<EvaluationResults, WorkflowError> {
    measure_cases(localizers, test, validation, config, observer)?.results(observer)
}

/// Measures the test cases, or those of [`EvaluateConfig::shard`], without computing figures. `test` always holds all test
/// cases.
///
/// # Errors
/// Those of [`evaluate`], except for errors of the figures.
pub fn measure_cases(
    localizers: impl IntoIterator<Item = (String, Localizer)>,
    test: &[Case],
    validation: &[Case],
    config: &EvaluateConfig,
    observer: &mut dyn Observer,
) -> Result<CohortMeasurements, WorkflowError> {
    config.validate()?;
    let [own, others] = [validation, test].map(|cases| cases.iter().map(Case::patient));
    require_apart(("validation", own), ("test", others))?;
    let validation = ReadCases::new(validation, &config.reading);
    let mut models = model_set(localizers, test, &validation, config, observer)?;
    let mut learned = Vec::new();
    if !config.ensemble.is_empty() {
        models = models.ensembles(&config.ensemble)?;
        if validation.count() > 0 {
            observer.begin(&Step::LearningWeights, validation.count());
            (models, learned) = models.learn_weights(&validation, |done| observer.advance(done))?;
            observer.end();
        }
    }
    let choice = choose(&models, &validation, config.scratch.as_deref(), observer)?;
    let mut measured =
        CohortMeasurements::new(models.fingerprint()?, frame(&models, &choice, learned, test, config)?);
    measured.scratch.clone_from(&config.scratch);
    let options = options(&measured.frame, config)?;
    let places = config.shard.map_or_else(|| (0..test.len()).collect(), |shard| shard.places(test));
    measured.shard = config.shard.map(|shard| ShardRecord::new(shard, test, &places, options));
    let folder = match &config.records {
        Some(folder) => folder.clone(),
        None => measured.temporary_records()?,
    };
    prepare_folder(&folder)?;

    let files = case_folders(Path::new(""), test);
    let cases: Vec<(&Case, &PathBuf)> = places.iter().map(|&place| (&test[place], &files[place])).collect();
    let by_kind = LesionGroups::by_kind(test);
    // Each worker may use an equal part of the memory.
    let reading = config.reading.clone().max_bytes(config.reading.limit() / config.workers as u64);
    let own = EvaluateConfig { reading, ..config.clone() };
    let measuring = Measuring { models: &models, choice: &choice, by_kind: &by_kind, config: &own };
    measured.seconds = first_seconds(&measuring, &cases)?;
    let key = format!("{}; {options:08x}", measured.fingerprint);
    let work = Work { measuring, folder, key, is_only: test.len() == 1 };
    let (mut done, mut failed) = (BTreeMap::new(), BTreeMap::new());
    observer.begin(&Step::Scoring, cases.len());
    in_parallel(
        config.workers,
        &cases,
        |(case, file)| work.measure_once(case, file),
        |place, found| {
            match found? {
                Found::Measured { case, unscored } => {
                    if let Some(error) = &unscored {
                        observer.notice(&Notice::CaseLeftOut { error });
                    }
                    done.insert(place, case);
                }
                Found::Unread(error) => {
                    let (case, _) = cases[place];
                    failed.insert(place, FailedCase::new(case, &error, observer));
                }
            }
            observer.advance(done.len() + failed.len());
            Ok::<(), WorkflowError>(())
        },
    )?;
    observer.end();
    (measured.cases, measured.unread) = (done.into_values().collect(), failed.into_values().collect());
    Ok(measured)
}

/// The common results of all test cases.
fn frame(
    models: &ModelSet,
    choice: &ValidationChoice,
    learned: Vec<LearnedEnsemble>,
    test: &[Case],
    config: &EvaluateConfig,
) -> Result<Frame, WorkflowError> {
    let best = match config.model_choices {
        ModelChoices::Best => best_predictors(models, choice)?,
        ModelChoices::None => BTreeMap::new(),
    };
    let maps = models.maps().into_iter();
    let maps = maps.map(|name| models.scale(&name).map(|scale| (name, scale))).collect::<Result<_, _>>();
    Ok(Frame {
        maps: maps.map_err(crate::PresentationError::from)?,
        postprocessing: models.first().map(Localizer::postprocessing).cloned(),
        thresholds: choice.thresholds.clone(),
        average_precisions: choice.average_precisions.clone(),
        learned,
        best,
        bootstrap: config.bootstrap,
        pictures: config.pictures,
        content: match test.iter().filter(|case| case.is_volume()).count() {
            0 => CohortContent::Pictures,
            volumes if volumes == test.len() => CohortContent::Volumes,
            _ => CohortContent::Mixed,
        },
    })
}

/// A checksum of all options that change measurements or figures. The memory limit does not change them.
fn options(frame: &Frame, config: &EvaluateConfig) -> Result<u32, WorkflowError> {
    let reading = config.reading.clone().max_bytes(0);
    let text = format!("{} {:?} {reading:?}", serde_json::to_string(frame)?, config.groups);
    Ok(crc32fast::hash(text.as_bytes()))
}

/// Seconds per slice of each map, measured on the first case that can be scored.
fn first_seconds(
    measuring: &Measuring<'_>,
    cases: &[(&Case, &PathBuf)],
) -> Result<BTreeMap<String, f64>, WorkflowError> {
    for (case, _) in cases {
        // Errors are reported when the case is measured.
        let Ok(subject) = measuring.read(case) else { continue };
        match time_predictors(measuring.models, &subject) {
            Err(error) if cannot_be_scored(&error) => {}
            found => return Ok(found?),
        }
    }
    Ok(BTreeMap::new())
}

/// The models with their predictors, calibrated where they have to be.
fn model_set(
    localizers: impl IntoIterator<Item = (String, Localizer)>,
    test: &[Case],
    validation: &ReadCases<'_>,
    config: &EvaluateConfig,
    observer: &mut dyn Observer,
) -> Result<ModelSet, WorkflowError> {
    let mut models = ModelSet::new();
    let localizers: Vec<(String, Localizer)> = localizers.into_iter().collect();
    let several = localizers.len() > 1;
    for (label, mut localizer) in localizers {
        let mut names = config.predictors.clone().unwrap_or_else(|| localizer.predictors());
        // The members of an ensemble are measured as models of their own, if they are given.
        let whole = several && localizer.ensemble().is_some();
        names.retain(|name| localizer.predictors().contains(name));
        names.retain(|&name| !whole || name == PredictorName::Ensemble);
        names.retain(|&name| name != PredictorName::Intensity);
        names.insert(0, PredictorName::Intensity);
        let is_calibrated = |name: &PredictorName| localizer.calibration().get(*name).is_some();
        if validation.count() > 0 && !names.iter().all(is_calibrated) {
            // Other filters or predictors than the model's own: what normal pixels score has to be seen again.
            observer.begin(&Step::Calibrating, validation.count());
            localizer = calibrate(localizer, validation, &names, |done| observer.advance(done))?;
            observer.end();
        }
        notice_other_channel(&localizer, test, &config.reading, observer);
        models = models.localizer(label, localizer, names)?;
    }
    Ok(models)
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

/// The predictor of each model, by its label, that is best on the lesions of the validation cases.
fn best_predictors(
    models: &ModelSet,
    choice: &ValidationChoice,
) -> Result<BTreeMap<String, ChosenPredictor>, WorkflowError> {
    let (found, subjects) = (&choice.average_precisions, choice.subjects);
    let mut best: BTreeMap<String, ChosenPredictor> = BTreeMap::new();
    for (model, predictor, name) in models.predictors() {
        let Some(&precision) = found.get(&(name, Stage::Postprocessed)) else {
            return Err(WorkflowError::NoLesionsToChooseBy);
        };
        let label = models.label(model).unwrap_or_default();
        if best.get(label).is_none_or(|best| precision > best.average_precision) {
            best.insert(label.to_owned(), ChosenPredictor::new(predictor, precision, subjects));
        }
    }
    Ok(best)
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
