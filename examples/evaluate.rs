//! Measures every predictor of a localizer against the truth.
//!
//! `cargo run --release --example evaluate -- --model target/lesio/train --data DIR --image flair.nii.gz --mask mask.nii.gz`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::anomaly::{Localizer, PredictorName};
use lesio::metrics::BootstrapConfig;
use lesio::nn::{Device, Precision};
use lesio::report::{Existing, write_json};
use lesio::study::{
    BadCases, CohortMeasurements, EvaluateConfig, LesionGroups, ModelChoices, check_folder, choice_in_words,
    measure_cases, prepare_folder,
};
use lesio_examples::arguments::{MOST_REPLICATES, whole};
use lesio_examples::choices::precisions;
use lesio_examples::cohort::CohortArgs;
use lesio_examples::evaluation::{unmeasured, write_evaluation};
use lesio_examples::filters::{MedianLengths, length_of};
use lesio_examples::models::{check_ensemble, load_models, model_files};
use lesio_examples::{DataArgs, DeviceArgs, Outcome, Watch, left_out, parse, run, say, stamp};
use serde_json::json;

/// Score every predictor of one or more models against masks, with 95 % intervals over patients.
///
/// Writes report.json, report.html and cases.csv (the marks in each case) into --out, and replaces those of an earlier
/// run. The measurements of each case stay there until the end, so that --resume can continue an interrupted run. There
/// are two scopes: slices with a lesion, and all slices. Pixels of the foreground and of lesions are scored. With
/// --validation, it also states which predictor or ensemble is best on that split, and its figures on the tested split.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// Model files of `train`, or their folders, separated by commas. A folder with an ensemble also stands for its
    /// members, which are then measured as well
    #[arg(long, required = true, value_delimiter = ',')]
    model: Vec<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Split to test on, as in splits.csv; "all" uses every case
    #[arg(long, default_value = "test")]
    split: String,
    /// Split whose lesions determine thresholds, weights and the best predictor. Without it, these are omitted
    #[arg(long)]
    validation: Option<String>,
    /// Predictors, each of which at least one model must support; by default all that a model supports
    #[arg(long, value_delimiter = ',')]
    predictors: Option<Vec<PredictorName>>,
    /// Predictors of all models to combine. Those that a model is not calibrated for are calibrated on --validation
    #[arg(long, value_delimiter = ',')]
    ensemble: Vec<PredictorName>,
    /// Table of lesions as written by `inject_lesions`, for figures by kind and contrast; masks must contain the
    /// numbers of the lesions
    #[arg(long, conflicts_with = "mask_above")]
    lesions: Option<PathBuf>,
    /// Window of the median filter on maps, along slices, rows and columns, instead of the model's window: in
    /// millimeters for volumes, in pixels of the network's grid for images. 0 disables an axis. Models in version 1 of
    /// lesio's files use pixels of the image
    #[arg(long, value_name = "SLICES,ROWS,COLUMNS", allow_hyphen_values = true)]
    median: Option<MedianLengths>,
    /// Erosion of the foreground before maps are read, instead of the model's erosion, in the unit of --median
    #[arg(long, value_name = "LENGTH", value_parser = length_of, allow_hyphen_values = true)]
    erosion: Option<f64>,
    /// Store in each model file which of its predictors is best on the lesions of --validation, so that `localize` uses
    /// it. Only predictors that the file has a calibration for are considered
    #[arg(long, requires = "validation", conflicts_with_all = ["median", "erosion", "precision", "shard"])]
    save_choice: bool,
    /// Number format of the products in VAEs, instead of the format of their training
    #[arg(long, value_parser = precisions())]
    precision: Option<Precision>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    cohort: CohortArgs,
    /// Stop at the first case that cannot be read or scored, instead of leaving it out
    #[arg(long)]
    strict: bool,
    /// Number of bootstrap replicates
    #[arg(long, default_value_t = 1000, value_parser = whole(1, MOST_REPLICATES))]
    replicates: usize,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for the report
    #[arg(long, default_value = "target/lesio/evaluate")]
    out: PathBuf,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let started = Instant::now();
    check_folder(&args.out)?;
    let files = model_files(&args.model);
    let models = load_models(&files, &args.device, args.precision, args.median, args.erosion)?;
    let labels: Vec<String> = models.iter().map(|(label, _)| label.clone()).collect();
    let data = args.data.open()?;
    let test = args.data.select(&data, &args.split)?;
    test.require_masks()?;
    let groups = args.lesions.as_ref().map(LesionGroups::open).transpose()?;
    check_ensemble(&args.ensemble, args.predictors.as_deref(), &models, args.validation.is_some())?;
    let validation = match &args.validation {
        Some(split) => args.data.select(&data, split)?.cases().to_vec(),
        None => Vec::new(),
    };
    prepare_folder(&args.out)?;
    let records = args.out.join(CohortMeasurements::RECORDS);
    let config = EvaluateConfig::new(BootstrapConfig::new(args.seed).replicates(args.replicates))
        .predictors(args.predictors)
        .ensemble(args.ensemble)
        .groups(groups)
        .model_choices(if args.save_choice { ModelChoices::Best } else { ModelChoices::None })
        .bad_cases(if args.strict { BadCases::Stop } else { BadCases::LeaveOut })
        .reading(args.data.read_options())
        .scratch(&args.out)
        .records(records)
        .finished(args.cohort.finished())
        .shard(args.cohort.shard)
        .workers(args.cohort.workers.into());
    let mut share = measure_cases(models, test.cases(), &validation, &config, &mut Watch::default())?;

    let bytes = |path: &PathBuf| std::fs::metadata(path).map_or(0, |found| found.len());
    let sizes: Vec<_> = files.iter().map(|path| json!({ "file": path, "bytes": bytes(path) })).collect();
    let about = [("folder", json!(args.data.data)), ("split", json!(args.split)), ("models", json!(sizes))];
    share.about = about.map(|(name, value)| (name.to_owned(), value)).into();
    if args.cohort.shard.is_some() {
        let path = args.out.join(CohortMeasurements::file_name(args.cohort.shard));
        write_json(&path, &share, Existing::Replace)?;
        say!(
            "wrote {} in {:.0} s; `merge` merges it with the others",
            path.display(),
            started.elapsed().as_secs_f64()
        );
        return left_out(&share.failed());
    }
    let found = write_evaluation(&share, &args.out, Existing::Replace, || stamp("evaluate", started))?;
    for (path, label) in files.iter().zip(&labels) {
        let Some(chosen) = found.best.get(label) else { continue };
        Localizer::load(path, &Device::Cpu)?.with_chosen(Some(chosen.clone()))?.save(path)?;
        say!("{}: {}", path.display(), choice_in_words(chosen));
    }
    share.remove_records()?;
    say!("wrote {} in {:.0} s", args.out.join("report.html").display(), started.elapsed().as_secs_f64());
    unmeasured(&found)
}
