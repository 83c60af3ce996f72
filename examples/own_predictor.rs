//! Your own predictor in a localizer: `cargo run --release --example own_predictor`

use std::{process::ExitCode, sync::Arc};

use lesio::anomaly::{Loading, PredictError, Predictor};
use lesio::nn::ImageBatch;
use lesio::prelude::*;
use lesio::vae::Reconstructor;
use lesio_examples::{Outcome, drawn::heads, parse, run, say};

/// Calibrate, save and load a localizer with your own predictor beside a built-in one
#[derive(clap::Parser)]
struct Args {}

/// The error of the reconstruction relative to the standard deviation of the image.
struct RelativeError(Arc<dyn Reconstructor>);

impl Predictor for RelativeError {
    fn name(&self) -> String {
        "relative-error".to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        let (expected, shape) = (self.0.reconstruct(images)?, images.shape());
        let mut scores = Vec::with_capacity(images.len() * shape.pixels());
        for (image, expected) in images.images().zip(expected.chunks(shape.len())) {
            let mean = image.iter().sum::<f32>() / shape.len() as f32;
            let variance = image.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / shape.len() as f32;
            let error = |pixel: usize| -> f32 {
                (pixel..shape.len()).step_by(shape.pixels()).map(|k| (image[k] - expected[k]).abs()).sum()
            };
            scores.extend((0..shape.pixels()).map(|pixel| error(pixel) / variance.sqrt().max(1e-6)));
        }
        Ok(scores)
    }
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let (Args {}, subjects) = (parse(), heads(0..8)?);
    let vae = Vae::new(VaeConfig::new(1, 32, 32).widths([8, 16]), 1.0, 7, &Device::Cpu)?;
    let preprocessing = Preprocessing::heads([32, 32]).fit(subjects[..4].iter().map(|own| &own.scan))?;
    let made = Localizer::new(Model::Vae(vae.into()), preprocessing, Provenance::new(7, "phantoms"))?;
    let own = |model: &Model| -> Arc<dyn Predictor> { Arc::new(RelativeError(model.reconstructor())) };
    let predictor = own(made.model());
    let names = [PredictorName::own(&predictor.name())?, PredictorName::PixelL1];
    let made = lesio::study::calibrate(made.with_predictor(predictor)?, &subjects[4..7], &names, |_| {})?;
    let path = std::env::temp_dir().join("lesio-own-predictor.safetensors");
    made.save(&path)?;
    let loading = Loading::new(&Device::Cpu).predictor("relative-error", move |model| Ok(own(model)))?;
    let loaded = Localizer::load_with(&path, &loading)?;
    let scored = loaded.score(&subjects[7].scan, &names)?;
    for score in &scored.scores {
        say!("{}: {:?}", score.predictor, loaded.judge(&scored, score.predictor, 0.25)?);
    }
    Ok(std::fs::remove_file(path)?)
}
