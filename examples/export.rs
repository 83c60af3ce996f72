//! Writes a model's networks as ONNX, with what belongs to them.
//!
//! `cargo run --release --example export -- --model target/lesio/train --out onnx`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesio::anomaly::Localizer;
use lesio::nn::Device;
use lesio::onnx::{ExportConfig, Exported, OPSET, Scaling};
use lesio::quality::QualityModel;
use lesio::report::Existing;
use lesio::study::{check_folder, prepare_folder};
use lesio_examples::choices::one_of;
use lesio_examples::{Outcome, model_path, parse, run, say};
use serde_json::{Value, json};

/// Write the networks of a localizer or of a quality model as ONNX (opset 17).
///
/// Of a localizer, the program writes reconstruction.onnx into --out (segmentation.onnx for an imported segmenter, which
/// restores nothing), of a VAE also encoder.onnx and decoder.onnx, of one that normalizes scores by position also
/// position.safetensors, and model.json: preprocessing, filters, thresholds and provenance. Of a quality model, it
/// writes one file for each network, and model.json with its configuration, its intervals and what is computed between
/// the networks. The metadata of each ONNX file contain the same JSON. `docs/serving.md` shows a server.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// A model file of `train`, `import` or `train_quality`, or its folder
    #[arg(long)]
    model: PathBuf,
    /// Where intensities are scaled, for a model that scales all images alike
    #[arg(long, default_value = "outside", value_parser = one_of(vec![
        ("outside", "Before the graphs: they read what the network reads", Scaling::Outside),
        ("inside", "In the graph of images, which reads intensities and gives them", Scaling::Inside),
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
    let path = model_path(&args.model);
    let exported = if QualityModel::is_in(&path)? {
        if args.scaling == Scaling::Inside {
            return Err("--scaling inside is for localizers: a quality model scales each image alone".into());
        }
        export_quality(&QualityModel::load(&path, &Device::Cpu)?)?
    } else {
        ExportConfig::default().scaling(args.scaling).export(&Localizer::load(&path, &Device::Cpu)?)?
    };
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

/// The networks of a quality model, and what is computed between them.
fn export_quality(model: &QualityModel) -> Result<Exported, Box<dyn std::error::Error>> {
    let networks = model.networks()?;
    let networks = networks.iter().map(|own| (own.name.as_str(), &own.network));
    let mut outside = model.config().preparation();
    let more = ["what is computed between the networks, see steps", "novelty detection, see model"];
    outside.extend(more.map(str::to_owned));
    let description = json!({
        "schema": 1,
        "opset": OPSET,
        "kind": "quality",
        "steps": model.steps(),
        "model": serde_json::from_str::<Value>(&model.document())?,
        "not_in_the_graphs": outside,
    });
    Ok(Exported::of_networks(networks, &model.parameters(), description)?)
}
