//! Trains an estimator of segmentation quality and saves it as one file.
//!
//! `cargo run --release --example train_quality -- --data acdc --layout acdc --label 2 --out target/lesio/quality`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::quality::Method;
use lesio::report::{Existing, RunRecord, write_json};
use lesio::study::quality::{patients, train_quality};
use lesio_examples::choices::named;
use lesio_examples::models::new_model_path;
use lesio_examples::quality::{QualityArgs, watch};
use lesio_examples::{Outcome, command, parse, prepare_folder, run, say};

/// Train an estimator of segmentation quality, which needs no ground truth when it is used.
///
/// The program generates candidate segmentations: it trains segmenters of several sizes, and corrupts their output in
/// many ways. Writes model.safetensors, report.json and report.html into the folder given by --out. Run the same
/// command again to continue an interrupted training; what is finished is in the folder steps.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    quality: QualityArgs,
    /// Method of estimation
    #[arg(long, value_parser = named::<Method>(&METHODS), default_value = "second-opinion")]
    method: Method,
    /// Folder for the model and its report
    #[arg(long, default_value = "target/lesio/train_quality")]
    out: PathBuf,
    /// Replace the model of an earlier training in --out. Finished steps with the same data and arguments are not
    /// repeated
    #[arg(long)]
    overwrite: bool,
}

const METHODS: [(&str, &str); 4] = [
    ("rec-reg", "REC-Net and REG-Net, as published"),
    ("direct", "Regression from image and segmentation"),
    ("shape-only", "Regression from the segmentation alone"),
    (
        "second-opinion",
        "A second, adversarially trained segmentation of the structures, compared with the given one",
    ),
];

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let started = Instant::now();
    args.quality.warn_of_unused(args.method);
    let file = new_model_path(&args.out, args.overwrite)?;
    let steps = args.out.join("steps");
    let data = args.quality.read_training()?;
    prepare_folder(&args.out)?;
    prepare_folder(&steps)?;
    let framing = &data.estimators.framing;
    say!(
        "{} training patients, {} held out; labels {:?}, {} image pixels per grid pixel",
        patients(&data.training),
        patients(&data.held_out),
        framing.labels,
        framing.pixel
    );
    let (pipeline, device) = (args.quality.pipeline(), &args.quality.device.device);
    let trained = train_quality(&data, args.method, pipeline, &steps, device, &mut watch("training"))?;
    trained.model.save(&file)?;
    for (label, _, scores) in &trained.held_out {
        let mae = scores.regression.mean_absolute_error;
        say!("label {label}: mean absolute error {mae:.3} on held-out patients");
    }
    let seconds = started.elapsed().as_secs_f64();
    let provenance = RunRecord::new(command("train_quality")).seed(args.quality.seed).seconds(seconds);
    write_json(args.out.join("report.json"), &trained.report(&provenance), Existing::Replace)?;
    trained.page(provenance)?.write(args.out.join("report.html"), Existing::Replace)?;
    say!("wrote {} in {seconds:.0} s", file.display());
    Ok(())
}
