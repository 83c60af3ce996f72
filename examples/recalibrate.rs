//! Recalibrates a model on your own normal images.
//!
//! `cargo run --release --example recalibrate -- --model target/lesio/train --data NORMALS --image flair.nii.gz --out own`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::anomaly::Localizer;
use lesio::study::{BadCases, ReadCases, notice_other_channel, prepare_folder, readable_cases, recalibrate};
use lesio_examples::models::{new_model_path, write_model_report};
use lesio_examples::output::note;
use lesio_examples::{DataArgs, DeviceArgs, Outcome, Watch, left_out, model_path, parse, run, say, stamped};
use serde_json::json;

/// Calibrate a model on normal images of another hospital, scanner or camera, and report how wrong its calibration was.
///
/// Thresholds and p-values of a model are valid for images like those of its calibration. Writes model.safetensors into
/// --out, where only the calibration differs from the input model, and report.json with the false-positive rates before
/// and after. A family-wise level needs 1 / level - 1 normal patients: 19 for .05. Several images of one patient count
/// once.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// A model file of `train`, or its folder
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Split with the normal images, as in splits.csv; "all" takes every case. Slices with a lesion in --mask are left
    /// out
    #[arg(long, default_value = "all")]
    split: String,
    #[command(flatten)]
    device: DeviceArgs,
    /// Stop at the first case that cannot be read, instead of leaving it out
    #[arg(long)]
    strict: bool,
    /// Replace files of earlier runs
    #[arg(long)]
    overwrite: bool,
    /// Folder for the model with its new calibration
    #[arg(long, default_value = "target/lesio/recalibrate")]
    out: PathBuf,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let started = Instant::now();
    let path = new_model_path(&args.out, args.overwrite)?;
    let localizer = Localizer::load_with(model_path(&args.model), &args.device.loading(None))?;
    let data = args.data.open()?;
    let cases = args.data.select(&data, &args.split)?;
    let options = args.data.read_options();
    let bad = if args.strict { BadCases::Stop } else { BadCases::LeaveOut };
    let mut watch = Watch::default();
    let (cases, failed) = readable_cases(cases.cases(), &args.split, &options, bad, &mut watch)?;
    notice_other_channel(localizer.channel_names(), &cases, &options, &mut watch);
    let found = recalibrate(localizer, &ReadCases::new(&cases, &options), &mut watch)?;
    prepare_folder(&args.out)?;
    found.localizer.save(&path)?;
    let (subjects, images) = (found.subjects, found.images);
    let mut report = json!({
        "schema": 1,
        "model": args.model,
        "subjects": subjects,
        "images": images,
        "rates": found.rates,
    });
    if !failed.is_empty() {
        report["failed"] = json!(failed);
    }
    write_model_report(stamped(report, "recalibrate", started), &args.out)?;
    say!("{}", found.table()?.to_markdown());
    let of = if subjects == images { String::new() } else { format!(" of {subjects} patients") };
    if images < cases.len() {
        note(&format!("{} images have no normal slice and do not calibrate", cases.len() - images));
    }
    say!("calibrated on {images} images{of}: wrote {}", path.display());
    left_out(&failed)
}
