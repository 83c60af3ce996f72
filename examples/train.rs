//! Trains a model on normal images and saves a localizer.
//!
//! `cargo run --release --example train -- --data DIR --image flair.nii.gz --mask mask.nii.gz`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::io::dataset::Layout;
use lesio::report::{Existing, write_json};
use lesio::study::{TrainOptions, check_folder, predictor_choice, read_subjects, train_localizer};
use lesio_examples::output::note;
use lesio_examples::training::{ModelArgs, PassArgs, StartArgs};
use lesio_examples::{DataArgs, DeviceArgs, Outcome, Watch, run, say, stamped};

/// Train a model of normal images and save it, with its preprocessing, as one file.
///
/// Slices that hold a lesion (a mask other than 0) are left out. Writes model.safetensors, report.json and report.html into
/// the folder given by --out. A training that was interrupted goes on with --resume.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Split to train on, as in splits.csv; "all" takes every case
    #[arg(long, default_value = "train")]
    split: String,
    /// Split that chooses the epoch; without it every tenth patient of the training split is held out
    #[arg(long)]
    validation: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    passes: PassArgs,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
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
    let training = args.model.training(&args.data.layout, args.passes, args.seed);
    training.validate()?;
    let model = args.out.join("model.safetensors");
    check_folder(&args.out)?;
    let checkpoints = args.start.checkpoints(&args.out, &model)?;
    let options = TrainOptions::default().checkpoints(checkpoints).device(args.device.device.clone());
    let training = training.options(options);
    let data = args.data.open()?;
    let unknown = data.unknown();
    if unknown > 0 && args.data.layout != Layout::MvTec {
        let all = data.cases().len();
        note(&format!("{unknown} of {all} cases have no mask: every slice of them is taken for normal"));
    }
    let mut watch = Watch::default();
    let validation = args.validation.as_ref().map(|split| args.data.select(&data, split)).transpose()?;
    let subjects = args.data.read_split(&data, &args.split, &mut watch)?;
    let options = args.data.read_options();
    let validation = validation
        .map(|split| read_subjects(split.cases(), "the validation split", &options, &mut watch))
        .transpose()?;
    let trained = train_localizer(subjects, validation, &training, &mut watch)?;
    trained.localizer.save(&model)?;
    let report = stamped(trained.report(), "train", started);
    write_json(args.out.join("report.json"), &report, Existing::Replace)?;
    trained.page()?.write(args.out.join("report.html"), Existing::Replace)?;
    say!("{}", predictor_choice(&trained.localizer).1);
    say!("wrote {} in {:.0} s", model.display(), started.elapsed().as_secs_f64());
    Ok(())
}
