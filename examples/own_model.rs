//! Your own model, written with candle-nn, in a localizer: `cargo run --release --example own_model`

use std::{process::ExitCode, sync::Arc};

use candle_core::{DType, Device as Candle, Result, Tensor};
use candle_nn::{Linear, Module, VarBuilder, VarMap, linear};
use lesio::anomaly::{Loading, OwnModel};
use lesio::nn::Shape;
use lesio::prelude::*;
use lesio::vae::candle::{self, CandleModel, CandlePosterior, CandleReconstruction, FromCandle};
use lesio_examples::{Outcome, drawn::heads, parse, run, say};

/// Calibrate, apply, save and load a localizer with your own model, written with candle-nn
#[derive(clap::Parser)]
struct Args {}
struct Perceptron(Linear, Linear);

fn model(vb: &VarBuilder<'_>) -> Result<OwnModel> {
    let own = Perceptron(linear(1024, 32, vb.pp("encoder"))?, linear(16, 1024, vb.pp("decoder"))?);
    let own = Arc::new(FromCandle::new(own, Shape::new(1, 32, 32), Candle::Cpu));
    OwnModel::variational("perceptron", own).map_err(candle_core::Error::wrap)
}

impl CandleModel for Perceptron {
    fn encode(&self, images: &Tensor) -> Result<CandlePosterior> {
        let both = self.0.forward(&images.flatten_from(1)?)?;
        Ok(CandlePosterior { mean: both.narrow(1, 0, 16)?, log_variance: both.narrow(1, 16, 16)? })
    }

    fn decode(&self, latent: &Tensor) -> Result<CandleReconstruction> {
        let mean = self.1.forward(latent)?.reshape(((), 1, 32, 32))?;
        Ok(CandleReconstruction { outputs: mean.clone(), mean })
    }

    fn log_likelihood(&self, images: &Tensor, expected: &CandleReconstruction) -> Result<Tensor> {
        (images - &expected.mean)?.sqr()? * -50.0
    }
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let (Args {}, weights, cpu) = (parse(), VarMap::new(), &Candle::Cpu);
    let own = model(&VarBuilder::from_varmap(&weights, DType::F32, cpu))?; // Here candle-nn trains the weights.
    let own = own.parameters(candle::parameters(weights.data().lock().map_err(|_| "poisoned")?.clone())?);
    let (subjects, names) = (heads(0..8)?, [PredictorName::GradKl, PredictorName::PixelL1]);
    let preprocessing = Preprocessing::heads([32, 32]).fit(subjects[..4].iter().map(|one| &one.scan))?;
    let made = Localizer::new(own.into(), preprocessing, Provenance::default())?;
    let made = lesio::study::calibrate(made, &subjects[4..7], &names, |_| {})?;
    let path = std::env::temp_dir().join("lesio-own-model.safetensors");
    made.save(&path)?;
    let load = |saved: &_| model(&VarBuilder::from_tensors(candle::tensors(saved, cpu)?, DType::F32, cpu));
    let loading = Loading::new(&Device::Cpu).model("perceptron", move |saved, _, _| Ok(load(saved)?));
    let loaded = Localizer::load_with(&path, &loading)?;
    let map = |own: &Localizer| own.score(&subjects[7].scan, &names).map(|all| all.scores[0].raw.clone());
    say!("maps are the same after saving and loading: {}", map(&made)? == map(&loaded)?);
    Ok(std::fs::remove_file(path)?)
}
