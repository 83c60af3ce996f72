//! Trains a model on normal images and saves a localizer.
//!
//! `cargo run --release --example train -- --data DIR --image flair.nii.gz --mask mask.nii.gz`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::io::dataset::{Case, Dataset, Layout};
use lesio::report::{Existing, write_json};
use lesio::study::{
    BadCases, LocalizerTraining, ModelTraining, PreparedTraining, TrainOptions, check_folder,
    combine_localizers, read_subjects, require_apart,
};
use lesio_examples::arguments::whole;
use lesio_examples::models::{MEMBERS, member_folders, with_members, write_ensemble};
use lesio_examples::output::note;
use lesio_examples::training::{ModelArgs, PassArgs, StartArgs, say_result};
use lesio_examples::{DataArgs, DeviceArgs, Outcome, Watch, left_out, parse, run, say, stamp, stamped};
use serde_json::json;

/// Train a model of normal images and save it, with its preprocessing, as one file.
///
/// Slices with a lesion (mask values other than 0) are left out. Writes model.safetensors, report.json and report.html
/// into the folder given by --out. With several kinds of --model or several --members, the models go into the folders
/// member-1, member-2 and so on, and the model.safetensors in --out contains all of them with their ensemble: its
/// members are chosen on lesions of --validation, or, without lesions, the models are averaged. With --ensemble, so
/// are the predictors of a single model. Use --resume to continue an interrupted training.
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
    /// Number of models of each kind to train for an ensemble
    #[arg(long, default_value_t = 1, value_parser = whole(1, 64))]
    members: usize,
    /// Make an ensemble of a single model, too. Its members are chosen among the model's predictors on lesions of
    /// --validation; without lesions, they are a segmenter's marks and the error of its reconstruction
    #[arg(long)]
    ensemble: bool,
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
    let args = parse::<Args>();
    let started = Instant::now();
    let layout = args.data.layout();
    let trainings_on =
        |data: Option<&Dataset>| args.model.trainings((&layout, data), args.passes, args.seed, args.members);
    // Settings are checked before the data are opened.
    let trainings = trainings_on(None);
    trainings.iter().try_for_each(LocalizerTraining::validate)?;
    check_folder(&args.out)?;
    let combined = args.ensemble || trainings.len() > 1;
    let is_segmenter = matches!(trainings[0].model, ModelTraining::Segmenter { .. });
    if combined && trainings.len() == 1 && args.validation.is_none() && !is_segmenter {
        return Err("--ensemble of one model needs a segmenter, or a --validation split with lesions".into());
    }
    let mut folders = vec![args.out.clone()];
    if combined {
        folders = member_folders(&args.out, trainings.len());
        args.start.check_ensemble(&args.out, &folders)?;
    }
    let (start, mut members) = (args.start.of_members(&folders), Vec::new());
    for out in folders {
        let model = out.join("model.safetensors");
        let checkpoints = start.checkpoints(&out, &model)?;
        let options = TrainOptions::default().checkpoints(checkpoints).device(args.device.device.clone());
        members.push((out, model, options));
    }
    let data = args.data.open()?;
    args.model.warn_of_unused((&layout, Some(&data)), args.passes);
    let trainings = trainings_on(Some(&data));
    let unknown = data.unknown();
    if unknown > 0 && layout != Layout::MvTec {
        let all = data.cases().len();
        note(&format!("{unknown} of {all} cases have no mask: all their slices count as normal"));
    }
    let mut watch = Watch::default();
    let validation = args.validation.as_ref().map(|split| args.data.select(&data, split)).transpose()?;
    if let Some(validation) = &validation {
        // Before anything is read.
        let training = data.select(&args.split)?;
        let [own, others] = [&training, validation].map(|part| part.cases().iter().map(Case::patient));
        require_apart(("training", own), ("validation", others))?;
    }
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
    let prepared = PreparedTraining::new(subjects, validation, &trainings[0], &mut watch)?;
    if combined && prepared.data().validation.normal_slices == 0 {
        return Err("no normal slice is left to calibrate the models, which an ensemble needs".into());
    }
    let mut localizers = Vec::new();
    for ((out, model, options), training) in members.iter().zip(&trainings) {
        let began = Instant::now();
        let trained = prepared.train(&training.model, training.length, options, &mut watch)?;
        trained.localizer.save(model)?;
        let mut report = stamped(trained.report(), "train", began);
        report[MEMBERS] = json!(0);
        if !failed.is_empty() {
            report["failed"] = json!(failed);
        }
        write_json(out.join("report.json"), &report, Existing::Replace)?;
        trained.page()?.write(out.join("report.html"), Existing::Replace)?;
        say_result(&trained);
        say!("wrote {} in {:.0} s", model.display(), began.elapsed().as_secs_f64());
        localizers.push((out.file_name().unwrap_or_default().display().to_string(), trained.localizer));
    }
    if combined {
        let combined = combine_localizers(localizers, prepared.held_out(), None, &mut watch)?;
        write_ensemble(&combined, &args.out, || with_members(stamp("train", started), members.len()))?;
    }
    left_out(&failed)
}
