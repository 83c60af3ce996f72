//! The networks' cases: what they share, and the files of parameters and inputs.

mod data;
mod frozen;
mod imported;
mod training;

pub(super) use data::Weights;
pub use data::export;
pub(super) use frozen::{VaeForward, VaeInputGradient};
pub(super) use imported::ImportedForward;
pub(super) use training::{UNetTraining, VaeTraining};

use std::path::Path;

use lesio_nn::{Engine, FixedEngine, Mode, Network, TrainingEngine};

use super::read;
use crate::Result;
use crate::networks::{IMAGE, LATENT};
use crate::objective::{ElboGradients, negative_elbo, sample};
use data::first;

/// A network's passes forward and back, with weights that are trained or frozen.
trait Passes {
    fn forward(&mut self, input: &[f32], batch: usize, mode: Mode) -> Result<()>;
    fn output(&self, index: usize) -> &[f32];
    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<()>;
    fn input_gradient(&self) -> &[f32];
}

/// In training.
impl Passes for Box<dyn TrainingEngine> {
    fn forward(&mut self, input: &[f32], batch: usize, mode: Mode) -> Result<()> {
        self.set_mode(mode);
        Ok((**self).forward(&[input], batch)?)
    }

    fn output(&self, index: usize) -> &[f32] {
        (**self).output(index)
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<()> {
        Ok((**self).backward(output_gradients)?)
    }

    fn input_gradient(&self) -> &[f32] {
        (**self).input_gradient(0)
    }
}

/// With frozen weights.
impl Passes for FixedEngine<'_> {
    fn forward(&mut self, input: &[f32], batch: usize, _: Mode) -> Result<()> {
        Ok(Engine::forward(self, &[input], batch)?)
    }

    fn output(&self, index: usize) -> &[f32] {
        Engine::output(self, index)
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<()> {
        Ok(Engine::backward(self, output_gradients)?)
    }

    fn input_gradient(&self) -> &[f32] {
        Engine::input_gradient(self, 0)
    }
}

/// A batch's way through the VAE's encoder and decoder, and back.
struct VaePass {
    batch: usize,
    image: Vec<f32>,
    noise: Vec<f32>,
    latent: Vec<f32>,
    by: ElboGradients,
}

impl VaePass {
    fn new(data: &Path, batch: usize) -> Result<Self> {
        let inputs = read(data, "inputs")?;
        Ok(Self {
            batch,
            image: first(&inputs, "image", batch * IMAGE.len())?,
            noise: first(&inputs, "noise", batch * LATENT)?,
            latent: vec![0.0; batch * LATENT],
            by: ElboGradients::zeros(batch * IMAGE.len(), batch * LATENT),
        })
    }

    fn forward(&mut self, encoder: &mut impl Passes, decoder: &mut impl Passes, mode: Mode) -> Result<()> {
        encoder.forward(&self.image, self.batch, mode)?;
        sample(encoder.output(0), encoder.output(1), &self.noise, &mut self.latent);
        decoder.forward(&self.latent, self.batch, mode)
    }

    /// The loss times `scale`, and its gradients as far as the two networks compute them.
    fn backward(&mut self, encoder: &mut impl Passes, decoder: &mut impl Passes, scale: f32) -> Result<f64> {
        let (mean, log_variance) = (encoder.output(0), encoder.output(1));
        let loss = negative_elbo(&self.image, decoder.output(0), mean, log_variance, scale, &mut self.by);
        decoder.backward(&[&self.by.reconstruction])?;
        self.by.add_latent(decoder.input_gradient(), log_variance, &self.noise);
        encoder.backward(&[&self.by.mean, &self.by.log_variance])?;
        Ok(loss)
    }
}

/// Multiply-adds of one sample's training step: three passes over the networks, less the gradient of
/// the image that `reading` takes in.
fn training_multiply_adds(reading: &Network, others: &[&Network]) -> u64 {
    let mut nodes = reading.nodes().iter();
    let layer = nodes.find(|node| !matches!(node.operation(), lesio_nn::Operation::Input));
    let weight = reading.parameters().first().map_or(0, |weight| weight.len());
    let first_layer = (weight * layer.map_or(0, |node| node.shape().pixels())) as u64;
    let all = reading.multiply_adds() + others.iter().map(|network| network.multiply_adds()).sum::<u64>();
    3 * all - first_layer
}

fn image_shape(batch: usize) -> [usize; 4] {
    [batch, IMAGE.channels, IMAGE.height, IMAGE.width]
}
