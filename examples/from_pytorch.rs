//! A localizer with weights from PyTorch: a VAE of the public collection disentangling-vae.
//!
//! `cargo run --release --example from_pytorch -- VAE.pth image.png`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use lesio::anomaly::OwnModel;
use lesio::image::{Image, Intensity, LinearScale};
use lesio::nn::StateDict;
use lesio::prelude::*;
use lesio::vae::NetworkVae;
use lesio_examples::burgess::{names, networks};
use lesio_examples::{Outcome, parse, run, say};

/// Compute an anomaly map with weights from PyTorch: a VAE of the public collection disentangling-vae
#[derive(Parser)]
struct Args {
    /// The state_dict of the VAE: .pth or .safetensors
    weights: PathBuf,
    /// A picture with as many channels as the model
    picture: PathBuf,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let Args { weights, picture } = parse();
    let image: Image = read_image(picture)?;
    let [encoder, decoder] = networks(image.channels())?;
    // An error lists every missing or unexpected parameter.
    let parameters = StateDict::read(&weights)?.parameters(&[&encoder, &decoder], &names());
    let parameters = parameters.map_err(|error| format!("{weights:?} cannot be used: {error}"))?;
    let vae = NetworkVae::new(&encoder, &decoder, Likelihood::Bernoulli, 1.0, &parameters, &Device::Cpu)?;
    let model = OwnModel::variational("burgess", Arc::new(vae))?.parameters(parameters);
    let bytes = Intensity::Range(LinearScale::new(0.0, 255.0)?);
    let preprocessing = Preprocessing::new([64, 64]).intensity(bytes).fit([] as [Scan; 0])?;
    let localizer = Localizer::new(model.into(), preprocessing, Provenance::new(0, "disentangling-vae"))?;
    let scored = localizer.score(&image.into(), &[PredictorName::GradKl])?;
    let highest = scored.scores[0].raw.data().iter().copied().fold(f32::MIN, f32::max);
    say!("grad-kl: the highest score is {highest:.4}");
    Ok(())
}
