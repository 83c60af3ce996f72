//! Trains a model on normal images and saves a localizer.
//!
//! `cargo run --release --example train -- --data DIR --image flair.nii.gz --mask mask.nii.gz`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::io::dataset::{Dataset, Layout};
use lesio::report::{Existing, write_json};
use lesio::study::{BadCases, PreparedTraining, TrainOptions, check_folder, predictor_choice, read_subjects};
use lesio_examples::arguments::whole;
use lesio_examples::models::member_folders;
use lesio_examples::output::note;
use lesio_examples::training::{ModelArgs, PassArgs, StartArgs};
use lesio_examples::{DataArgs, DeviceArgs, Outcome, Watch, left_out, run, say, stamped};
use serde_json::json;

/// Train a model of normal images and save it, with its preprocessing, as one file.
///
/// Slices with a lesion (mask values other than 0) are left out. Writes model.safetensors, report.json and report.html
/// into the folder given by --out; with several --members, into the folders member-1, member-2 and so on inside it. Use
/// --resume to continue an interrupted training.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Split to train on, as in splits.csv; "all" takes every case
    #[arg(long, default_value = "train")]
    split: String,
    /// Split on which the best epoch is chosen; by default, every tenth patient of the training split is held out for
    /// that
    #[arg(long)]
    validation: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    passes: PassArgs,
    /// Seed of all random numbers; further members use the seeds that follow
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of models to train for an ensemble: `evaluate --model OUT` uses all of them
    #[arg(long, default_value_t = 1, value_parser = whole(1, 64))]
    members: usize,
    /// Stop at the first case that cannot be read, instead of leaving it out
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    start: StartArgs,
    /// Folder for the model and its report
    #[arg(long, default_value = "target/lesio/train")]
    out: PathBuf,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let started = Instant::now();
    let layout = args.data.layout();
    let training_on =
        |data: Option<&Dataset>| args.model.training((&layout, data), args.passes, args.seed, args.members);
    // Settings are checked before the data are opened.
    training_on(None).validate()?;
    check_folder(&args.out)?;
    let mut members = Vec::new();
    for out in member_folders(&args.out, args.members) {
        let model = out.join("model.safetensors");
        let checkpoints = args.start.checkpoints(&out, &model)?;
        let options = TrainOptions::default().checkpoints(checkpoints).device(args.device.device.clone());
        members.push((out, model, options));
    }
    let data = args.data.open()?;
    let training = training_on(Some(&data));
    let unknown = data.unknown();
    if unknown > 0 && layout != Layout::MvTec {
        let all = data.cases().len();
        note(&format!("{unknown} of {all} cases have no mask: all their slices count as normal"));
    }
    let mut watch = Watch::default();
    let validation = args.validation.as_ref().map(|split| args.data.select(&data, split)).transpose()?;
    let bad = if args.strict { BadCases::Stop } else { BadCases::LeaveOut };
    let (subjects, mut failed) = args.data.read_split(&data, &args.split, bad, &mut watch)?;
    let options = args.data.read_options();
    let validation = validation
        .map(|split| read_subjects(split.cases(), "the validation split", &options, bad, &mut watch))
        .transpose()?;
    let validation = validation.map(|(subjects, bad)| {
        failed.extend(bad);
        subjects
    });
    let prepared = PreparedTraining::new(subjects, validation, &training, &mut watch)?;
    for ((out, model, options), seed) in members.iter().zip(args.seed..) {
        let began = Instant::now();
        let train = training.model.train_config().clone().seed(seed);
        let trained =
            prepared.train(&training.model.clone().with_train_config(train), options, &mut watch)?;
        trained.localizer.save(model)?;
        let mut report = stamped(trained.report(), "train", began);
        if !failed.is_empty() {
            report["failed"] = json!(failed);
        }
        write_json(out.join("report.json"), &report, Existing::Replace)?;
        trained.page()?.write(out.join("report.html"), Existing::Replace)?;
        say!("{}", predictor_choice(&trained.localizer).1);
        say!("wrote {} in {:.0} s", model.display(), began.elapsed().as_secs_f64());
    }
    if args.members > 1 {
        let (count, seconds) = (args.members, started.elapsed().as_secs_f64());
        say!("{count} members in {seconds:.0} s: evaluate --model {}", args.out.display());
    }
    left_out(&failed)
}
