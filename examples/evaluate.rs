//! Measures every predictor of a localizer against the truth.
//!
//! `cargo run --release --example evaluate -- --model target/lesio/train --data DIR --image flair.nii.gz --mask mask.nii.gz`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::anomaly::{ChosenPredictor, Localizer, PredictError, PredictorName};
use lesio::image::PreprocessError;
use lesio::io::dataset::Case;
use lesio::metrics::BootstrapConfig;
use lesio::nn::Device;
use lesio::report::{EvaluationReport, Existing, HtmlReport, Scale, Scope, ScopeReport, write_json};
use lesio::study::{
    EvaluationBuilder, GroupedEvaluation, LesionGroups, ModelSet, ReadCases, Shown, ShownSlice, Stage,
    StudyError, Subject, Subjects, ThresholdChoice, ValidationChoice, calibrate, curve_figures, group_table,
    leading, montage, scope_table, score_subject, shown_slice,
};
use lesio_examples::arguments::{MOST_REPLICATES, whole};
use lesio_examples::filters::{self, MedianLengths, length_of};
use lesio_examples::{
    DataArgs, DeviceArgs, Outcome, PrecisionName, bar, check_folder, command, explain, model_path,
    prepare_folder, run, say,
};
use ndarray::Array3;

/// Score every predictor of one or more models against masks, with 95 % intervals over patients.
///
/// Writes report.json and report.html into the folder given by --out. Scopes: slices that hold a lesion, and
/// all slices; scored are the pixels of the foreground and of the lesions. With --validation, the predictor or
/// ensemble that is best on that split is named, and what it reaches on the split tested.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// Model files of `train`, or their folders, separated by commas
    #[arg(long, required = true, value_delimiter = ',')]
    model: Vec<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Split to test on, as in splits.csv; "all" takes every case
    #[arg(long, default_value = "test")]
    split: String,
    /// Split whose lesions choose thresholds, weights and the best predictor; without it these are left out
    #[arg(long)]
    validation: Option<String>,
    /// Predictors, by default all that a model can serve
    #[arg(long, value_delimiter = ',')]
    predictors: Option<Vec<PredictorName>>,
    /// Predictors to combine, those of all models together; calibrated on the normal slices of --validation
    #[arg(long, value_delimiter = ',')]
    ensemble: Vec<PredictorName>,
    /// Table of lesions, as `inject_lesions` writes it, for figures by kind and contrast; masks hold lesions' numbers
    #[arg(long)]
    lesions: Option<PathBuf>,
    /// Window of the median filter on maps instead of the model's own, along slices, rows and columns: millimetres of
    /// volumes and pixels of the network's grid of images; 0 leaves an axis alone. Models of version 1 of lesio's files
    /// count in pixels of the image
    #[arg(long, value_name = "SLICES,ROWS,COLUMNS", allow_hyphen_values = true)]
    median: Option<MedianLengths>,
    /// By how much the foreground is eroded before maps are read, instead of the model's own, in the unit of --median
    #[arg(long, value_name = "LENGTH", value_parser = length_of, allow_hyphen_values = true)]
    erosion: Option<f64>,
    /// Write into each model's file which of its predictors is best on the lesions of --validation, so that `localize`
    /// maps by it
    #[arg(long, requires = "validation", conflicts_with_all = ["median", "erosion", "precision"])]
    save_choice: bool,
    /// In what numbers VAEs multiply, instead of those they were trained in
    #[arg(long, value_enum)]
    precision: Option<PrecisionName>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Replicates of the bootstrap
    #[arg(long, default_value_t = 1000, value_parser = whole(1, MOST_REPLICATES))]
    replicates: usize,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for the report
    #[arg(long, default_value = "target/lesio/evaluate")]
    out: PathBuf,
}

/// Cases whose slices are shown in the report.
const PICTURES: usize = 6;

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let started = Instant::now();
    check_folder(&args.out)?;
    let localizers = localizers(&args)?;
    let data = args.data.open()?;
    let test = args.data.select(&data, &args.split)?;
    test.require_masks()?;
    let groups = args.lesions.as_ref().map(LesionGroups::open).transpose()?.unwrap_or_default();
    check_ensemble(&args, &localizers, args.validation.is_some())?;
    let options = args.data.read_options();
    // Read whenever they are needed, one at a time: together they may be larger than memory.
    let validation: Vec<Case> = match &args.validation {
        Some(split) => args.data.select(&data, split)?.cases().to_vec(),
        None => Vec::new(),
    };
    let validation = ReadCases::new(&validation, &options);
    // Scores that do not fit into memory are kept there.
    prepare_folder(&args.out)?;
    let mut panel = panel(&args, localizers, &validation)?;
    let mut weights = Vec::new();
    if !args.ensemble.is_empty() {
        panel = panel.ensembles(&args.ensemble)?;
        if validation.count() > 0 {
            let progress = bar(validation.count() as u64, "learning weights");
            (panel, weights) = panel.learn_weights(&validation, |done| progress.set_position(done as u64))?;
            progress.finish_and_clear();
        }
    }
    let choice = choose(&panel, &validation, &args.out)?;
    let choices = if args.save_choice { choices(&panel, &choice)? } else { Vec::new() };
    let mut grouped = GroupedEvaluation::in_folder(&args.out);
    let mut pictures = Vec::new();
    let mut evaluation = EvaluationBuilder::in_folder(&args.out);
    let progress = bar(test.cases().len() as u64, "scoring");
    let mut seconds = BTreeMap::new();
    for case in test.cases() {
        let subject = Subject::read_with(case, &options)?;
        let Some(truth) = subject.truth()? else {
            return Err(format!("case {} has no mask", case.id()).into());
        };
        if seconds.is_empty() {
            seconds = match time_predictors(&panel, &subject) {
                Ok(seconds) => seconds,
                // Of the next case, then.
                Err(error) if cannot_be_scored(&error) => BTreeMap::new(),
                Err(error) => return Err(error.into()),
            };
        }
        let mask = match args.lesions {
            Some(_) => case.read_volume_with(&options)?.1.map(|mask| mask.data().mapv(u32::from)),
            None => None,
        };
        let lesions = mask.map(|mask| (mask, &groups, &mut grouped));
        let is_shown = pictures.len() < PICTURES;
        match add(&panel, &subject, &truth, &mut evaluation, lesions, is_shown) {
            Ok(shown) => pictures.extend(shown),
            Err(error) if cannot_be_scored(&error) => {
                evaluation.unscored(&subject.patient, &subject.id, &error);
                progress.line(&explain(&error));
            }
            Err(error) => return Err(error.into()),
        }
        progress.inc(1);
    }
    progress.line("computing figures and their intervals");
    progress.finish_and_clear();
    let bootstrap = BootstrapConfig::new(args.seed).replicates(args.replicates);
    let patients = evaluation.patients();
    let by_group = grouped.finish(&bootstrap)?;
    let evaluated = evaluation.finish(&choice.thresholds, &seconds, &bootstrap)?;

    let mut report = EvaluationReport { scopes: evaluated.scopes, ..EvaluationReport::default() };
    for (name, value) in [
        ("folder", serde_json::json!(args.data.data)),
        ("split", serde_json::json!(args.split)),
        ("cases", serde_json::json!(test.cases().len())),
        ("patients", serde_json::json!(patients)),
        ("postprocessing", serde_json::json!(panel.first().map(Localizer::map_filters))),
    ] {
        report.data.insert(name.to_owned(), value);
    }
    report.extra.insert("command".into(), serde_json::json!(command("evaluate")));
    report.extra.insert("seconds".into(), serde_json::json!(started.elapsed().as_secs_f64()));
    if !weights.is_empty() {
        report.extra.insert("ensemble_weights".into(), serde_json::json!(weights));
    }
    if !evaluated.incomplete.is_empty() {
        report.extra.insert("incomplete".into(), serde_json::json!(evaluated.incomplete));
    }
    let chosen = chosen(&choice.average_precisions, &report.scopes);
    if let Some(chosen) = &chosen {
        report.extra.insert("chosen".into(), serde_json::to_value(chosen)?);
    }
    if !by_group.is_empty() {
        report.extra.insert("lesion_groups".into(), serde_json::json!(by_group));
    }
    write_json(args.out.join("report.json"), &report, Existing::Replace)?;
    let mut page = HtmlReport::new("Predictors against the truth").lead(format!(
        "{} cases of {} patients, split {}. Intervals: 95 %, {} resamplings of patients.",
        test.cases().len(),
        patients,
        args.split,
        args.replicates
    ));
    let mut printed = Vec::new();
    if let Some(chosen) = &chosen {
        printed.push(chosen.text());
        page = page.paragraph(chosen.text());
    }
    for scope in &report.scopes {
        let table = scope_table(scope)?;
        printed.push(table.to_markdown());
        page = page.section(scope.scope.name()).table(table);
        if scope.scope == Scope::LesionSlices {
            let shown = leading(scope, 3);
            page = page.figures(curve_figures(&evaluated.curves, &shown, scope.prevalence.unwrap_or(0.0))?);
        }
    }
    if !by_group.is_empty() {
        let table = group_table(&by_group)?;
        printed.push(table.to_markdown());
        page = page.section("By kind of lesion").table(table);
    }
    if !pictures.is_empty() {
        let shown = report.scopes.first().map_or(Vec::new(), |scope| leading(scope, 4));
        let all = panel.maps();
        let places: Vec<usize> =
            shown.iter().filter_map(|name| all.iter().position(|own| own == name)).collect();
        for row in &mut pictures {
            row.maps = places.iter().map(|&place| row.maps[place].clone()).collect();
        }
        let scales: Vec<Scale> =
            places.iter().map(|&place| panel.scale(&all[place])).collect::<Result<_, _>>()?;
        let figure = montage(&shown, &scales, &pictures)?;
        page = page.section("Slices").montage(
            &figure,
            "The slice with most lesion pixels of the first cases. Each predictor has one scale for all: from the median \
             of held-out normal pixels (dark) to what one in ten thousand of them exceeds, where the model was calibrated.",
        )?;
    }
    page.write(args.out.join("report.html"), Existing::Replace)?;
    for (path, chosen) in args.model.iter().zip(choices) {
        let path = model_path(path);
        let text = filters::choice(Some(&chosen));
        Localizer::load(&path, &Device::Cpu)?.choosing(Some(chosen))?.save(&path)?;
        printed.push(format!("{}: {text}", path.display()));
    }
    printed.iter().for_each(|text| say!("{text}"));
    say!("wrote {} in {:.0} s", args.out.join("report.html").display(), started.elapsed().as_secs_f64());
    Ok(())
}

/// Fails before any image is read where the predictors of an ensemble are not to be had.
fn check_ensemble(args: &Args, localizers: &[(String, Localizer)], validation: bool) -> Result<(), String> {
    let asked = |name: &PredictorName| {
        *name == PredictorName::Intensity || args.predictors.as_ref().is_none_or(|own| own.contains(name))
    };
    let mut members = 0;
    for &name in &args.ensemble {
        let served = localizers.iter().filter(|(_, own)| own.predictors().contains(&name) && asked(&name));
        let mut count = 0;
        for (label, own) in served {
            count += 1;
            if !validation && own.calibration().get(name).is_none() {
                return Err(format!(
                    "--ensemble {name}: the model {label} is not calibrated for it, and there is no --validation"
                ));
            }
        }
        if count == 0 {
            return Err(format!("--ensemble {name}: no model serves it among the predictors asked for"));
        }
        // Intensity is the same whatever the model, and is taken once.
        members += if name == PredictorName::Intensity { 1 } else { count };
    }
    match (args.ensemble.len(), members) {
        (1.., ..2) => Err(format!("--ensemble takes at least two predictors or models, found {members}")),
        _ => Ok(()),
    }
}

/// The models by what to call them, under the filters asked for.
fn localizers(args: &Args) -> Result<Vec<(String, Localizer)>, Box<dyn std::error::Error>> {
    let mut localizers = Vec::new();
    for path in &args.model {
        let localizer = Localizer::load_with(model_path(path), &args.device.loading(args.precision))?;
        let mut filters = localizer.map_filters().clone();
        if let Some(MedianLengths(lengths)) = args.median {
            filters.median = lengths;
        }
        if let Some(erosion) = args.erosion {
            filters.erosion = erosion;
        }
        filters.validate().map_err(|error| format!("{}: {error}", path.display()))?;
        localizers.push((label(path), localizer.postprocessing(filters)));
    }
    Ok(localizers)
}

/// The models with their predictors, calibrated where they have to be.
fn panel(
    args: &Args,
    localizers: Vec<(String, Localizer)>,
    validation: &ReadCases<'_>,
) -> Result<ModelSet, Box<dyn std::error::Error>> {
    let mut panel = ModelSet::new();
    for (label, mut localizer) in localizers {
        let mut names = args.predictors.clone().unwrap_or_else(|| localizer.predictors());
        names.retain(|name| localizer.predictors().contains(name));
        names.retain(|&name| name != PredictorName::Intensity);
        names.insert(0, PredictorName::Intensity);
        let known = |name: &PredictorName| localizer.calibration().get(*name).is_some();
        if validation.count() > 0 && !names.iter().all(known) {
            // Other filters or predictors than the model's own: what normal pixels score has to be seen again.
            let progress = bar(validation.count() as u64, "calibrating");
            localizer = calibrate(localizer, validation, &names, |done| progress.set_position(done as u64))?;
            progress.finish_and_clear();
        }
        panel = panel.localizer(label, localizer, names)?;
    }
    Ok(panel)
}

/// What to call a model: its folder, or its file without the ending.
fn label(path: &Path) -> String {
    path.file_stem().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Scores a case and adds its maps one by one, so that they are never in memory together; returns a slice to be shown.
fn add(
    panel: &ModelSet,
    subject: &Subject,
    truth: &Array3<bool>,
    evaluation: &mut EvaluationBuilder,
    lesions: Option<(Array3<u32>, &LesionGroups, &mut GroupedEvaluation)>,
    is_shown: bool,
) -> Result<Option<Shown>, StudyError> {
    // Begun when the first map is there: a case that cannot be scored adds nothing.
    let mut started = None;
    let (mut lesions, mut evaluation) = (lesions, Some(evaluation));
    panel.score_each(subject, |scene, name, maps| {
        if let Some(evaluation) = evaluation.take() {
            let groups = match lesions.take() {
                Some((mask, groups, grouped)) => {
                    Some(grouped.subject(&subject.id, &subject.patient, scene, &mask, groups)?)
                }
                None => None,
            };
            let shown = if is_shown { shown_slice(subject, scene, truth) } else { None };
            started = Some((evaluation.subject(&subject.patient, scene, truth)?, groups, shown));
        }
        let Some((measured, groups, shown)) = started.as_mut() else { return Ok(()) };
        measured.add(name, maps)?;
        if let Some(groups) = groups {
            groups.add(name, maps[1])?;
        }
        if let Some(shown) = shown {
            shown.add(maps[1]);
        }
        Ok(())
    })?;
    Ok(started.and_then(|(_, _, shown)| shown).map(ShownSlice::finish))
}

/// Whether an error is the image's: empty or constant, without foreground, with values that are not finite.
fn cannot_be_scored(error: &StudyError) -> bool {
    matches!(error, StudyError::Score { source: PredictError::Preprocess(PreprocessError::Image(_)), .. })
}

fn choose(
    panel: &ModelSet,
    validation: &ReadCases<'_>,
    folder: &Path,
) -> Result<ValidationChoice, Box<dyn std::error::Error>> {
    let mut choice = ThresholdChoice::in_folder(folder);
    let progress = bar(validation.count() as u64, "choosing on the validation split");
    for place in 0..validation.count() {
        let subject = validation.subject(place)?;
        if let Some(truth) = subject.truth()? {
            let (mut started, mut choice) = (None, Some(&mut choice));
            panel.score_each(&subject, |scene, name, maps| {
                if let Some(choice) = choice.take() {
                    started = Some(choice.subject(scene, &truth)?);
                }
                started.as_mut().map_or(Ok(()), |subject| subject.add(name, maps))
            })?;
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(choice.finish()?)
}

/// Of each model the predictor that is best on the lesions of the validation split.
fn choices(
    panel: &ModelSet,
    choice: &ValidationChoice,
) -> Result<Vec<ChosenPredictor>, Box<dyn std::error::Error>> {
    let (found, subjects) = (&choice.average_precisions, choice.subjects);
    let mut best: BTreeMap<usize, ChosenPredictor> = BTreeMap::new();
    for (seat, predictor, name) in panel.predictors() {
        let Some(&precision) = found.get(&(name, Stage::Postprocessed)) else {
            return Err("--save-choice needs lesions, and the validation split has none".into());
        };
        if best.get(&seat).is_none_or(|best| precision > best.average_precision) {
            best.insert(seat, ChosenPredictor::new(predictor, precision, subjects));
        }
    }
    Ok(best.into_values().collect())
}

/// The predictor or ensemble that validation data chose, and what it reaches.
#[derive(Debug, serde::Serialize)]
struct Chosen {
    name: String,
    validation_average_precision: f64,
    /// By scope: average precision after post-processing, with its interval.
    reached: Vec<(Scope, Option<f64>, Option<[f64; 2]>)>,
}

impl Chosen {
    fn text(&self) -> String {
        let mut text = format!(
            "Chosen on the validation split: {} (average precision there {:.3}).",
            self.name, self.validation_average_precision
        );
        for (scope, found, interval) in &self.reached {
            let _ = write!(text, " On {}: {:.3}", scope.name(), found.unwrap_or(f64::NAN));
            if let Some([low, high]) = interval {
                let _ = write!(text, " [{low:.3}, {high:.3}]");
            }
            text.push('.');
        }
        text
    }
}

fn chosen(validation: &BTreeMap<(String, Stage), f64>, scopes: &[ScopeReport]) -> Option<Chosen> {
    let filtered = validation.iter().filter(|((_, stage), _)| *stage == Stage::Postprocessed);
    let ((name, _), &best) = filtered.max_by(|a, b| a.1.total_cmp(b.1))?;
    let reached = scopes
        .iter()
        .filter_map(|scope| {
            let row = scope.predictors.iter().find(|row| row.name == *name)?;
            let interval = row.ci95.postprocessed.average_precision;
            Some((scope.scope, row.postprocessed.average_precision, interval))
        })
        .collect();
    Some(Chosen { name: name.clone(), validation_average_precision: best, reached })
}

/// Seconds per slice of each predictor by itself.
fn time_predictors(panel: &ModelSet, subject: &Subject) -> Result<BTreeMap<String, f64>, StudyError> {
    let mut seconds = BTreeMap::new();
    for (seat, predictor, name) in panel.predictors() {
        let Some(localizer) = panel.model(seat) else { continue };
        let started = Instant::now();
        score_subject(localizer, subject, &[predictor])?;
        let slices = subject.scan.slices(localizer.preprocessing().config().plane);
        seconds.insert(name, started.elapsed().as_secs_f64() / slices.max(1) as f64);
    }
    Ok(seconds)
}
