//! Makes a localizer of a model that another program trained.
//!
//! `cargo run --release --example import -- --model vae.onnx --range 0,255 --normals NORMALS --layout images --out own`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::study::{BadCases, LocalizerAssembly, prepare_folder};
use lesio_examples::importing::{NormalArgs, SourceArgs, ViewArgs};
use lesio_examples::models::{new_model_path, write_model_report};
use lesio_examples::{DeviceArgs, Outcome, Watch, left_out, parse, run, say, stamped};
use serde_json::json;

/// Make a localizer of an ONNX model: a VAE in one file or two, an autoencoder, a denoiser or a segmenter.
///
/// The model reads images [n, channels, rows, columns]; state the --size of images that it reads as vectors. Of a VAE that
/// contains its sampling, the log-variance may also be the logarithm of the standard deviation. `docs/serving.md` lists
/// the operators.
///
/// Writes model.safetensors, which every other program takes, and report.json into --out. With --normals its preprocessing is
/// fitted and its thresholds are calibrated on normal images; without, `recalibrate` does that later.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    view: ViewArgs,
    #[command(flatten)]
    normals: NormalArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Stop at the first normal image that cannot be read, instead of leaving it out
    #[arg(long)]
    strict: bool,
    /// Replace files of earlier runs
    #[arg(long)]
    overwrite: bool,
    /// Folder for the localizer and its report
    #[arg(long, default_value = "target/lesio/import")]
    out: PathBuf,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let started = Instant::now();
    let path = new_model_path(&args.out, args.overwrite)?;
    let imported = args.source.config()?.import(&args.device.device)?;
    imported.decisions.iter().for_each(|decision| say!("{decision}"));
    let shape = imported.model.image_shape();
    let bad = if args.strict { BadCases::Stop } else { BadCases::LeaveOut };
    let (normals, failed) = args.normals.read(bad, &mut Watch::default())?;
    let assembly = LocalizerAssembly::new(args.view.preprocessing([shape.height, shape.width]))
        .postprocessing(args.view.postprocessing())
        .settings(args.view.settings());
    let kind = imported.model.kind();
    let provenance = imported.provenance.clone();
    let localizer =
        assembly.assemble(imported.model, &normals, imported.provenance, &mut Watch::default())?;
    prepare_folder(&args.out)?;
    localizer.save(&path)?;
    let predictors: Vec<String> = localizer.predictors().iter().map(ToString::to_string).collect();
    let report = json!({
        "schema": 1,
        "kind": kind,
        "shape": [shape.channels, shape.height, shape.width],
        "decisions": imported.decisions,
        "normals": normals.len(),
        "predictors": predictors,
        "provenance": provenance,
        "failed": failed,
    });
    write_model_report(stamped(report, "import", started), &args.out)?;
    if normals.is_empty() {
        say!("without --normals it has no thresholds: calibrate it with the program recalibrate");
    }
    say!("a {kind} of images {shape}, served by {}: wrote {}", predictors.join(", "), path.display());
    left_out(&failed)
}
