//! Demonstrates lesio without any download: `cargo run --release --example quickstart`
//!
//! Generates synthetic brain images, trains a small variational autoencoder on normal ones, maps lesions of four
//! kinds with every predictor, and evaluates the maps against the exact ground truth. Generates synthetic heart
//! images, and trains and tests an estimator of segmentation quality on them. Writes one HTML page.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::report::{EvaluationReport, Existing, RunRecord, write_json};
use lesio::study::prepare_folder;
use lesio_examples::brains::Brains;
use lesio_examples::hearts::show_quality;
use lesio_examples::{DeviceArgs, Outcome, command, parse, run, say};
use serde_json::json;

/// Demonstrate lesio in under two minutes, on synthetic images.
///
/// Writes report.html, report.json and model.safetensors into the folder given by --out.
#[derive(Debug, Parser)]
struct Args {
    /// Folder for the report
    #[arg(long, default_value = "target/lesio/quickstart")]
    out: PathBuf,
    /// Seed of images, lesions and training
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let started = Instant::now();
    prepare_folder(&args.out)?;
    let brains = Brains::localize(args.seed, &args.device.device, &args.out.join("model.safetensors"))?;
    say!("{}", brains.by_kind.to_markdown());
    say!("training an estimator of segmentation quality");
    let page = brains.page(started.elapsed().as_secs_f64())?;
    let (page, quality) = show_quality(page, args.seed, &args.device.device)?;
    let seconds = started.elapsed().as_secs_f64();
    let provenance = RunRecord::new(command("quickstart"))
        .seed(args.seed)
        .seconds(seconds)
        .version("lesio", env!("CARGO_PKG_VERSION"))
        .entry("seconds to score an image by all predictors", format!("{:.3}", brains.seconds_per_image));
    let file = args.out.join("report.html");
    page.provenance(provenance).write(&file, Existing::Replace)?;
    let mut report = EvaluationReport { scopes: brains.evaluated.scopes, ..EvaluationReport::default() };
    report.data.insert("images".into(), json!(Brains::LESIONS));
    report.extra.insert("command".into(), json!(command("quickstart")));
    report.extra.insert("quality".into(), quality);
    report.extra.insert("seconds".into(), json!(seconds));
    write_json(args.out.join("report.json"), &report, Existing::Replace)?;
    say!("open {} ({seconds:.0} s)", file.display());
    Ok(())
}
