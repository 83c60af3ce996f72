//! Writes a localizer's networks as ONNX, with what belongs to them.
//!
//! `cargo run --release --example export -- --model target/lesio/train --out onnx`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesio::anomaly::Localizer;
use lesio::nn::Device;
use lesio::onnx::{ExportConfig, Scaling};
use lesio::report::Existing;
use lesio::study::{check_folder, prepare_folder};
use lesio_examples::choices::one_of;
use lesio_examples::{Outcome, model_path, parse, run, say};

/// Write the networks of a localizer as ONNX (opset 17).
///
/// Writes reconstruction.onnx into --out, of a VAE also encoder.onnx and decoder.onnx, and model.json: preprocessing, filters,
/// thresholds and provenance, which the metadata of each ONNX file hold too. `docs/serving.md` shows a server.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// A model file of `train` or `import`, or its folder
    #[arg(long)]
    model: PathBuf,
    /// Where intensities are scaled, for a model that scales all images alike
    #[arg(long, default_value = "outside", value_parser = one_of(vec![
        ("outside", "Before the graphs: they read what the network reads", Scaling::Outside),
        ("inside", "In reconstruction.onnx: it reads intensities and gives intensities", Scaling::Inside),
    ]))]
    scaling: Scaling,
    /// Replace files of earlier runs
    #[arg(long)]
    overwrite: bool,
    /// Folder for the files
    #[arg(long, default_value = "target/lesio/export")]
    out: PathBuf,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    check_folder(&args.out)?;
    let localizer = Localizer::load(model_path(&args.model), &Device::Cpu)?;
    let exported = ExportConfig::default().scaling(args.scaling).export(&localizer)?;
    prepare_folder(&args.out)?;
    let existing = if args.overwrite { Existing::Replace } else { Existing::Refuse };
    let written = exported.write(&args.out, existing)?;
    for step in exported.description["not_in_the_graphs"].as_array().into_iter().flatten() {
        say!("not in the graphs: {}", step.as_str().unwrap_or_default());
    }
    let written: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    say!("wrote {}", written.join(", "));
    Ok(())
}
