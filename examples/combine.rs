//! Combines trained models into one with an ensemble.
//!
//! `cargo run --release --example combine -- --model vae,segmenter --data DIR --image flair.nii.gz --mask mask.nii.gz`

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::anomaly::Localizer;
use lesio::io::ReadOptions;
use lesio::io::dataset::Case;
use lesio::study::{
    BadCases, ReadCases, combine_localizers, held_out_cases, notice_other_channel, prepare_folder,
    read_subjects, readable_cases, require_apart, require_held_out,
};
use lesio_examples::models::{load_models, model_files, new_model_path, write_ensemble};
use lesio_examples::{DataArgs, DeviceArgs, Outcome, Watch, left_out, parse, run, stamp};

/// Combine trained models into one model file with their ensemble, which `localize` and `evaluate` use like any other.
///
/// If the validation cases have lesions, the members of the ensemble are chosen on them, among plain intensity and the
/// fast predictors of all models: greedily by average precision, so the ensemble is not worse there than the best
/// single member. Without lesions, it is the mean of the marks of each segmenter and the absolute error of each other
/// model, or of the marks and the error of a single segmenter. The normal slices of the validation cases calibrate the ensemble.
/// Writes model.safetensors and report.json into --out.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// Model files of `train`, or their folders, separated by commas. An ensemble takes part with its single models
    #[arg(long, required = true, value_delimiter = ',')]
    model: Vec<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Split that calibrates and chooses, as in splits.csv; it must contain neither training nor test cases
    #[arg(long, default_value = "val")]
    validation: String,
    /// Instead: split on which all models were trained without --validation. The patients that `train` held out of it
    /// calibrate and choose
    #[arg(long, value_name = "SPLIT", conflicts_with = "validation")]
    held_out_of: Option<String>,
    /// Split whose lesions also choose, but do not calibrate. It may be the one that the models were trained on, if --mask
    /// was given there: training left out slices with lesions
    #[arg(long, value_name = "SPLIT")]
    lesions_of: Option<String>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Replace files of earlier runs
    #[arg(long)]
    overwrite: bool,
    /// Stop at the first case that cannot be read, instead of leaving it out
    #[arg(long)]
    strict: bool,
    /// Folder for the model
    #[arg(long, default_value = "target/lesio/combine")]
    out: PathBuf,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let started = Instant::now();
    new_model_path(&args.out, args.overwrite)?;
    let files = model_files(&args.model);
    let models = load_models(&files, &args.device, None, None, None)?.into_iter().zip(&files);
    // A folder of several members also holds their ensemble, which is made anew. Any other ensemble is taken apart.
    let is_kept = |localizer: &Localizer, file: &Path| {
        localizer.ensemble().is_none() || !files.iter().any(|other| is_member_beside(other, file))
    };
    let models = models.filter(|((_, localizer), file)| is_kept(localizer, file));
    let models: Vec<(String, Localizer)> = models.map(|(model, _)| model).collect();
    let data = args.data.open()?;
    let split = args.held_out_of.as_ref().unwrap_or(&args.validation);
    let cases = args.data.select(&data, split).map_err(|error| match args.held_out_of {
        Some(_) => error,
        None => format!("{error}; models trained without --validation need --held-out-of SPLIT").into(),
    })?;
    let options = args.data.read_options();
    let further = args.lesions_of.as_ref().map(|split| args.data.select(&data, split)).transpose()?;
    let mut further = further.map_or(Vec::new(), |further| further.cases().to_vec());
    if args.held_out_of.is_none() {
        let [own, others] = [cases.cases(), &further].map(|part| part.iter().map(Case::patient));
        require_apart(("--validation", own), ("--lesions-of", others))?;
    }
    let bad = if args.strict { BadCases::Stop } else { BadCases::LeaveOut };
    let mut watch = Watch::default();
    let (mut cases, mut failed) = readable_cases(cases.cases(), split, &options, bad, &mut watch)?;
    if args.held_out_of.is_some() {
        cases = held_out_of(&models, cases, split, &options, &mut watch)?;
        // Their lesions choose already.
        further.retain(|other| cases.iter().all(|own| own.patient() != other.patient()));
    }
    let mut others = Vec::new();
    if let Some(split) = &args.lesions_of {
        let (readable, unread) = readable_cases(&further, split, &options, bad, &mut watch)?;
        others = readable;
        failed.extend(unread);
    }
    for (_, model) in &models {
        notice_other_channel(model.channel_names(), &cases, &options, &mut watch);
    }
    let (subjects, further) = (ReadCases::new(&cases, &options), ReadCases::new(&others, &options));
    let combined = combine_localizers(models, &subjects, Some(&further), &mut watch)?;
    prepare_folder(&args.out)?;
    write_ensemble(&combined, &args.out, || stamp("combine", started))?;
    left_out(&failed)
}

/// The cases of a split that the trainings of all models held out.
fn held_out_of(
    models: &[(String, Localizer)],
    cases: Vec<Case>,
    split: &str,
    options: &ReadOptions,
    watch: &mut Watch,
) -> Result<Vec<Case>, Box<dyn Error>> {
    let count = cases.len();
    let held_out = held_out_cases(cases);
    if held_out.is_empty() {
        return Err(
            format!("--held-out-of {split}: {count} cases of one patient, expected two patients").into()
        );
    }
    let (subjects, _) = read_subjects(&held_out, split, options, BadCases::Stop, watch)?;
    for (label, model) in models {
        require_held_out(label, model, &subjects)?;
    }
    Ok(held_out)
}

/// Whether a model file is in a folder such as `member-1` beside another one.
fn is_member_beside(file: &Path, other: &Path) -> bool {
    let Some(folder) = file.parent() else { return false };
    let name = folder.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with("member-")) && folder.parent() == other.parent()
}
