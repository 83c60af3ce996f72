//! Measures every predictor of a localizer against the truth.
//!
//! `cargo run --release --example evaluate -- --model target/lesio/train --data DIR --image flair.nii.gz --mask mask.nii.gz`
#![allow(clippy::print_stdout, reason = "a program talks to people")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use candle_core::Device;
use clap::Parser;
use lesio::anomaly::{Localizer, PredictorName};
use lesio::io::dataset::Dataset;
use lesio::metrics::BootstrapConfig;
use lesio::report::{EvaluationReport, Existing, HtmlReport, Scale, Scope, write_json};
use lesio::study::{
    Content, Evaluation, Subject, ThresholdChoice, Thresholds, calibrate, curve_figures, leading, montage,
    normal_scale, scope_table, score_subject, shown, truth_of,
};
use lesio_examples::{DataArgs, Outcome, bar, command, model_path, run};

/// Score every predictor of a model against masks, with 95 % intervals over patients.
///
/// Writes report.json and report.html into the folder given by --out. Scopes: slices that hold a lesion, and
/// all slices; scored are the pixels of the foreground and of the lesions.
#[derive(Debug, Parser)]
struct Args {
    /// A model file of `train`, or its folder
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Split to test on, as in splits.csv; "all" takes every case
    #[arg(long, default_value = "test")]
    split: String,
    /// Split whose lesions choose the threshold of `dice_at_val`; without it that figure is left out
    #[arg(long)]
    validation: Option<String>,
    /// Predictors, by default all that the model can serve
    #[arg(long, value_delimiter = ',')]
    predictors: Option<Vec<PredictorName>>,
    /// Window of the median filter on maps instead of the model's own: slices, rows, columns
    #[arg(long, value_delimiter = ',', num_args = 1)]
    median: Option<Vec<usize>>,
    /// Pixels by which the foreground is eroded before maps are read, instead of the model's own
    #[arg(long)]
    erosion: Option<f64>,
    /// Replicates of the bootstrap
    #[arg(long, default_value_t = 1000)]
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
    let mut localizer = Localizer::load(model_path(&args.model), &Device::Cpu)?;
    let mut filters = localizer.map_filters().clone();
    if let Some(median) = &args.median {
        filters.median = <[usize; 3]>::try_from(median.clone())
            .map_err(|found| format!("--median takes three numbers, found {}", found.len()))?;
    }
    if let Some(erosion) = args.erosion {
        filters.erosion = erosion;
    }
    localizer = localizer.postprocessing(filters);
    let mut names = args.predictors.clone().unwrap_or_else(|| localizer.predictors());
    if !names.contains(&PredictorName::Intensity) {
        names.insert(0, PredictorName::Intensity);
    }
    let data = args.data.open()?;
    let test = data.select(&args.split)?;
    test.require_masks()?;

    let thresholds = match &args.validation {
        Some(split) => {
            let validation = data.select(split)?;
            if localizer.calibration().is_empty() {
                // Other filters than the model's own: what normal pixels score has to be seen again.
                localizer = recalibrate(localizer, &validation, &names)?;
            }
            choose_thresholds(&localizer, &validation, &names)?
        }
        None => Thresholds::new(),
    };
    let scales: Vec<Scale> =
        names.iter().map(|&name| normal_scale(&localizer, name)).collect::<Result<_, _>>()?;
    let mut pictures = Vec::new();
    let mut evaluation = Evaluation::new();
    let progress = bar(test.cases().len() as u64, "scoring");
    let mut seconds = BTreeMap::new();
    for case in test.cases() {
        let subject = Subject::read(case)?;
        let Some(truth) = truth_of(&subject) else {
            return Err(format!("case {} has no mask", case.id()).into());
        };
        if seconds.is_empty() {
            seconds = time_predictors(&localizer, &subject, &names)?;
        }
        let maps = score_subject(&localizer, &subject, &names)?;
        if pictures.len() < PICTURES {
            pictures.extend(shown(&subject, &maps, &truth));
        }
        evaluation.add(&subject.patient, &maps, &truth)?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    let bootstrap = BootstrapConfig::new(args.seed).replicates(args.replicates);
    let patients = evaluation.patients();
    let evaluated = evaluation.finish(&thresholds, &seconds, &bootstrap)?;

    std::fs::create_dir_all(&args.out)?;
    let mut report = EvaluationReport { scopes: evaluated.scopes, ..EvaluationReport::default() };
    for (name, value) in [
        ("folder", serde_json::json!(args.data.data)),
        ("split", serde_json::json!(args.split)),
        ("cases", serde_json::json!(test.cases().len())),
        ("patients", serde_json::json!(patients)),
        ("postprocessing", serde_json::json!(localizer.map_filters())),
    ] {
        report.data.insert(name.to_owned(), value);
    }
    report.extra.insert("command".into(), serde_json::json!(command("evaluate")));
    report.extra.insert("seconds".into(), serde_json::json!(started.elapsed().as_secs_f64()));
    write_json(args.out.join("report.json"), &report, Existing::Replace)?;
    let mut page = HtmlReport::new("Predictors against the truth").lead(format!(
        "{} cases of {} patients, split {}. Intervals: 95 %, {} resamplings of patients.",
        test.cases().len(),
        patients,
        args.split,
        args.replicates
    ));
    for scope in &report.scopes {
        let table = scope_table(scope)?;
        println!("{}", table.to_markdown());
        page = page.section(scope.scope.name()).table(table);
        if scope.scope == Scope::LesionSlices {
            let shown = leading(scope, 3);
            page = page.figures(curve_figures(&evaluated.curves, &shown, scope.prevalence.unwrap_or(0.0))?);
        }
    }
    if !pictures.is_empty() {
        let shown = report.scopes.first().map_or(Vec::new(), |scope| leading(scope, 4));
        let places: Vec<usize> =
            shown.iter().filter_map(|name| names.iter().position(|own| own.as_str() == *name)).collect();
        for row in &mut pictures {
            row.maps = places.iter().map(|&place| row.maps[place].clone()).collect();
        }
        let scales: Vec<Scale> = places.iter().map(|&place| scales[place]).collect();
        let figure = montage(&shown, &scales, &pictures)?;
        page = page.section("Slices").montage(
            &figure,
            "The slice with most lesion pixels of the first cases. Each predictor has one scale for all: from the median \
             of held-out normal pixels (dark) to what one in ten thousand of them exceeds, where the model was calibrated.",
        )?;
    }
    page.write(args.out.join("report.html"), Existing::Replace)?;
    println!("wrote {} in {:.0} s", args.out.join("report.html").display(), started.elapsed().as_secs_f64());
    Ok(())
}

fn choose_thresholds(
    localizer: &Localizer,
    validation: &Dataset,
    names: &[PredictorName],
) -> Result<Thresholds, Box<dyn std::error::Error>> {
    let mut choice = ThresholdChoice::new();
    let progress = bar(validation.cases().len() as u64, "choosing thresholds");
    for case in validation.cases() {
        let subject = Subject::read(case)?;
        if let Some(truth) = truth_of(&subject) {
            choice.add(&score_subject(localizer, &subject, names)?, &truth)?;
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(choice.choose())
}

/// Calibrates on the normal slices of a split.
fn recalibrate(
    localizer: Localizer,
    validation: &Dataset,
    names: &[PredictorName],
) -> Result<Localizer, Box<dyn std::error::Error>> {
    let subjects: Vec<Subject> = validation.cases().iter().map(Subject::read).collect::<Result<_, _>>()?;
    let progress = bar(subjects.len() as u64, "calibrating");
    let localizer = calibrate(localizer, &subjects, names, |done| progress.set_position(done as u64))?;
    progress.finish_and_clear();
    Ok(localizer)
}

/// Seconds per slice of each predictor by itself.
fn time_predictors(
    localizer: &Localizer,
    subject: &Subject,
    names: &[PredictorName],
) -> Result<BTreeMap<String, f64>, Box<dyn std::error::Error>> {
    let mut seconds = BTreeMap::new();
    for &name in names {
        let started = Instant::now();
        score_subject(localizer, subject, &[name])?;
        let slices = match &subject.content {
            Content::Volume { volume, .. } => volume.planes(localizer.preprocessing().config().plane),
            Content::Image { .. } => 1,
        };
        seconds.insert(name.to_string(), started.elapsed().as_secs_f64() / slices.max(1) as f64);
    }
    Ok(seconds)
}
