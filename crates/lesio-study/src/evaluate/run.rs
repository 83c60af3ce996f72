//! The steps of an evaluation, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use lesio_anomaly::{ChosenPredictor, Localizer, PredictorName};
use lesio_image::PreprocessError;
use lesio_io::dataset::Case;
use lesio_report::CohortContent;

use super::config::{EvaluateConfig, ModelChoices};
use super::measurements::{CohortMeasurements, Frame};
use super::measuring::{Measuring, cannot_be_scored};
use super::results::EvaluationResults;
use super::work::{Found, Work};
use crate::apart::require_apart;
use crate::calibrating::calibrate;
use crate::case_record::notice_kept;
use crate::channel_name::notice_other_channel;
use crate::error::StudyError;
use crate::folder::{case_folders, prepare_folder};
use crate::lesion_groups::LesionGroups;
use crate::localize::FailedCase;
use crate::maps::{Stage, score_subject};
use crate::model_set::{LearnedEnsemble, ModelSet};
use crate::observer::{Notice, Observer, Step};
use crate::reading::sound_cases;
use crate::shard::ShardRecord;
use crate::subject::{ReadCases, Subject, Subjects};
use crate::thresholds::{ThresholdChoice, ValidationChoice};
use crate::workers::in_parallel;
use crate::workflow_error::WorkflowError;

/// Measures every predictor of localizers against the truth of test cases, with 95 % intervals over patients.
///
/// `localizers` are named by what to call them. `validation` cases, which may be none, calibrate predictors that their
/// model was not calibrated for, teach the weights of ensembles, and choose thresholds and the best predictor. The
/// calibration that a model has stays as it is. Cases are read one at a time, or as many as there are workers, whenever
/// they are needed. A case that cannot be read, whose truth does not fit its image, or whose image cannot be scored
/// (empty, constant, not finite) is listed and left out, unless [`EvaluateConfig::bad_cases`] stops the evaluation
/// there. The same holds for validation cases, which are checked first.
///
/// # Errors
/// A predictor that no localizer offers; patients with validation and with test cases
/// ([`StudyError::SharedPatients`](crate::StudyError::SharedPatients)); a test case without a truth
/// ([`WorkflowError::NoMask`]); the only case if it cannot be read, or validation cases of which none can be used; an
/// ensemble of fewer than two predictors, or of one that is not calibrated; two localizers or predictors of one name;
/// and those of [`ModelChoices::Best`].
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
    let localizers: Vec<(String, Localizer)> = localizers.into_iter().collect();
    check_predictors(&localizers, config.predictors.as_deref())?;
    if let Some(groups) = &config.groups {
        groups.check(test.iter().map(Case::id))?;
    }
    let calibrated: BTreeMap<String, BTreeSet<PredictorName>> = localizers
        .iter()
        .map(|(label, localizer)| (label.clone(), localizer.calibration().predictors().collect()))
        .collect();
    let [own, others] = [validation, test].map(|cases| cases.iter().map(Case::patient));
    require_apart(("validation", own), ("test", others))?;
    let (validation, unusable) = validation_cases(&localizers, validation, config, observer)?;
    let validation = ReadCases::new(&validation, &config.reading);
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
    let best = match config.model_choices {
        ModelChoices::Best => best_predictors(&models, &choice, &calibrated)?,
        ModelChoices::None => BTreeMap::new(),
    };
    let frame = frame(&models, &choice, learned, best, test, config)?;
    let mut measured = CohortMeasurements::new(models.fingerprint()?, frame);
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
    let is_shipped = |model: usize, predictor: &PredictorName| {
        models.label(model).and_then(|label| calibrated.get(label)).is_some_and(|own| own.contains(predictor))
    };
    let shipped =
        models.predictors().into_iter().filter(|(model, predictor, _)| is_shipped(*model, predictor));
    let shipped: BTreeSet<String> = shipped.map(|(.., name)| name).collect();
    let measuring =
        Measuring { models: &models, choice: &choice, shipped: &shipped, by_kind: &by_kind, config: &own };
    measured.seconds = first_seconds(&measuring, &cases)?;
    let key = format!("{}; {options:08x}", measured.fingerprint);
    let work = Work { measuring, folder, key, is_only: test.len() == 1 };
    let (mut done, mut failed, mut kept) = (BTreeMap::new(), BTreeMap::new(), 0);
    observer.begin(&Step::Scoring, cases.len());
    in_parallel(
        config.workers,
        &cases,
        |(case, file)| work.measure_once(case, file),
        |place, found| {
            match found? {
                Found::Kept(case) => {
                    kept += 1;
                    done.insert(place, case);
                }
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
    notice_kept(kept, cases.len(), observer);
    measured.cases = done.into_values().collect();
    // All shards check the validation cases; the first lists them for all.
    let lists = config.shard.is_none_or(|shard| shard.index() == 1);
    measured.unread = unusable.into_iter().filter(|_| lists).chain(failed.into_values()).collect();
    Ok(measured)
}

/// The validation cases that can be used: those that can be read, whose truth fits the image, and whose image can be
/// scored. Also returns those that are left out.
fn validation_cases(
    localizers: &[(String, Localizer)],
    cases: &[Case],
    config: &EvaluateConfig,
    observer: &mut dyn Observer,
) -> Result<(Vec<Case>, Vec<FailedCase>), StudyError> {
    if cases.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let check = |subject: &Subject| {
        subject.truth()?;
        for (_, localizer) in localizers {
            // Other errors are those of the model, and are reported when it scores.
            if let Err(source @ PreprocessError::Image(_)) = localizer.preprocessing().prepare(&subject.scan)
            {
                return Err(StudyError::Preprocess { case: subject.id.clone(), source });
            }
        }
        Ok(())
    };
    let what = "the validation split";
    sound_cases(cases, what, &config.reading, check, config.bad_cases, observer)
}

/// The common results of all test cases.
fn frame(
    models: &ModelSet,
    choice: &ValidationChoice,
    learned: Vec<LearnedEnsemble>,
    best: BTreeMap<String, ChosenPredictor>,
    test: &[Case],
    config: &EvaluateConfig,
) -> Result<Frame, WorkflowError> {
    let maps = models.maps().into_iter();
    let maps = maps.map(|name| models.scale(&name).map(|scale| (name, scale))).collect::<Result<_, _>>();
    Ok(Frame {
        maps: maps.map_err(crate::PresentationError::from)?,
        filters: models.filters().map(|(label, filters)| (label.to_owned(), filters.clone())).collect(),
        common_foreground: models.common_foreground().map(str::to_owned),
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
    // The maps of ensembles have the same names, whatever they combine. The order of the members does not change them.
    let members: BTreeSet<PredictorName> = config.ensemble.iter().copied().collect();
    let text = format!("{} {:?} {members:?} {reading:?}", serde_json::to_string(frame)?, config.groups);
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

/// The predictors of a localizer that [`evaluate`] can measure: all that it supports. Of an ensemble that is given beside
/// other models (`several`), it is the ensemble alone, since its members are measured as models if they are given.
#[must_use]
pub fn offered_predictors(localizer: &Localizer, several: bool) -> Vec<PredictorName> {
    let mut names = localizer.predictors();
    if several && localizer.ensemble().is_some() {
        names.retain(|&name| name == PredictorName::Ensemble);
    }
    names
}

/// Checks that at least one localizer offers each requested predictor. One that some lack is measured of the others.
fn check_predictors(
    localizers: &[(String, Localizer)],
    requested: Option<&[PredictorName]>,
) -> Result<(), StudyError> {
    let several = localizers.len() > 1;
    let mut all: BTreeSet<PredictorName> =
        localizers.iter().flat_map(|(_, localizer)| offered_predictors(localizer, several)).collect();
    all.insert(PredictorName::Intensity);
    let Some(absent) = requested.unwrap_or_default().iter().find(|name| !all.contains(*name)) else {
        return Ok(());
    };
    let names: Vec<&str> = all.iter().map(PredictorName::as_str).collect();
    let what = format!("no model offers the predictor {absent}; the models offer {}", names.join(", "));
    Err(StudyError::Nothing { what })
}

/// The models with their predictors, calibrated where they have to be.
fn model_set(
    localizers: Vec<(String, Localizer)>,
    test: &[Case],
    validation: &ReadCases<'_>,
    config: &EvaluateConfig,
    observer: &mut dyn Observer,
) -> Result<ModelSet, WorkflowError> {
    let mut models = ModelSet::new();
    let several = localizers.len() > 1;
    for (label, mut localizer) in localizers {
        let offered = offered_predictors(&localizer, several);
        let mut names = config.predictors.clone().unwrap_or_else(|| offered.clone());
        names.retain(|name| offered.contains(name) && *name != PredictorName::Intensity);
        names.insert(0, PredictorName::Intensity);
        let is_missing = |name: &PredictorName| localizer.calibration().get(*name).is_none();
        let missing: Vec<PredictorName> = names.iter().copied().filter(is_missing).collect();
        if validation.count() > 0 && !missing.is_empty() {
            localizer = also_calibrated(localizer, &missing, validation, observer)?;
        }
        notice_other_channel(localizer.channel_names(), test, &config.reading, observer);
        models = models.localizer(label, localizer, names)?;
    }
    Ok(models)
}

/// Calibrates a localizer on validation cases for predictors that it is not calibrated for: others than those of its
/// file, or all, if its filters were changed.
///
/// The rest of its calibration stays, with the resolutions and extents of those subjects: its thresholds are those of
/// the model's file, and are to be measured.
fn also_calibrated(
    localizer: Localizer,
    missing: &[PredictorName],
    validation: &ReadCases<'_>,
    observer: &mut dyn Observer,
) -> Result<Localizer, WorkflowError> {
    let (mut calibration, chosen) = (localizer.calibration().clone(), localizer.chosen().cloned());
    observer.begin(&Step::Calibrating, validation.count());
    let made = calibrate(localizer, validation, missing, |done| observer.advance(done))?;
    observer.end();
    if calibration.is_empty() {
        return Ok(made);
    }
    for &name in missing {
        if let Some(normals) = made.calibration().get(name) {
            calibration.insert(name, normals.clone());
        }
    }
    Ok(made.with_calibration(calibration).with_chosen(chosen)?)
}

/// What the lesions of validation cases choose.
fn choose(
    models: &ModelSet,
    validation: &ReadCases<'_>,
    folder: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<ValidationChoice, WorkflowError> {
    let mut choice = ThresholdChoice::new(folder);
    observer.begin(&Step::Choosing, validation.count());
    for place in 0..validation.count() {
        let subject = validation.subject(place)?;
        // Without a lesion, a case says nothing about thresholds.
        if let Some(truth) = subject.truth()?.filter(|truth| truth.iter().any(|&inside| inside)) {
            let (mut started, mut choice) = (None, Some(&mut choice));
            models.score_each(&subject, |scenes, name, maps| {
                if let Some(choice) = choice.take() {
                    started = Some(choice.subject(&subject.patient, scenes.common, &truth)?);
                }
                started.as_mut().map_or(Ok(()), |subject| subject.add(name, maps))
            })?;
        }
        observer.advance(place + 1);
    }
    observer.end();
    Ok(choice.finish()?)
}

/// The predictor of each model, by its label, that is best on the lesions of the validation cases. `calibrated` are the
/// predictors that each model was calibrated for before this evaluation: only these are chosen, if there are any.
fn best_predictors(
    models: &ModelSet,
    choice: &ValidationChoice,
    calibrated: &BTreeMap<String, BTreeSet<PredictorName>>,
) -> Result<BTreeMap<String, ChosenPredictor>, WorkflowError> {
    let (found, subjects) = (&choice.average_precisions, choice.subjects);
    let mut best: BTreeMap<String, ChosenPredictor> = BTreeMap::new();
    let mut skipped: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut candidates = models.predictors();
    // Intensity is measured once, with the first model. Where it has the same maps, others may choose it, too.
    for model in (0..).take_while(|&model| models.model(model).is_some()).skip(1) {
        if models.shares_intensity(model) {
            let place = candidates.iter().position(|(own, ..)| *own == model).unwrap_or(candidates.len());
            let intensity = PredictorName::Intensity;
            candidates.insert(place, (model, intensity, intensity.to_string()));
        } else if models
            .model(model)
            .and_then(Localizer::chosen)
            .is_some_and(|own| own.predictor == PredictorName::Intensity)
        {
            let label = models.label(model).unwrap_or_default();
            tracing::warn!(
                "the choice of the model {label} was intensity, which is measured with the preprocessing of the first model here: \
                 evaluate {label} alone to compare it"
            );
        }
    }
    for (model, predictor, name) in candidates {
        let Some(&precision) = found.get(&(name, Stage::Postprocessed)) else {
            return Err(WorkflowError::NoLesionsToChooseBy);
        };
        let label = models.label(model).unwrap_or_default();
        let own = calibrated.get(label).filter(|own| !own.is_empty());
        if own.is_some_and(|own| !own.contains(&predictor)) {
            skipped.entry(label).or_default().push(predictor.to_string());
        } else if best.get(label).is_none_or(|best| precision > best.average_precision) {
            best.insert(label.to_owned(), ChosenPredictor::new(predictor, precision, subjects));
        }
    }
    for (label, names) in skipped {
        let what = format!("the model {label} is not calibrated for {}", names.join(", "));
        if !best.contains_key(label) {
            let what = format!("{what}: none of the measured predictors can be chosen");
            return Err(StudyError::Nothing { what }.into());
        }
        tracing::warn!("{what}: not considered in the choice of a predictor");
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
