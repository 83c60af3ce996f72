//! Forward passes and input gradients with frozen weights.

use std::path::{Path, PathBuf};

use lesio_nn::{Differentiate, Mode, Network, Plan, PlanWeights, Precision};

use super::{Passes, VaePass, Weights, image_shape};
use crate::Result;
use crate::cases::{Case, read};
use crate::networks::{LATENT, vae};
use crate::tensors::Tensors;

/// A network with frozen weights.
struct Frozen {
    multiply_adds: u64,
    weights: PlanWeights,
    plan: Plan,
}

impl Frozen {
    fn new(network: &Network, tensors: &Tensors, batch: usize, differentiate: Differentiate) -> Result<Self> {
        Ok(Self {
            multiply_adds: network.multiply_adds() * batch as u64,
            weights: PlanWeights::new(network, &tensors.parameters(network)?)?,
            plan: Plan::new(network, batch, differentiate)?,
        })
    }
}

impl Passes for Frozen {
    fn forward(&mut self, input: &[f32], batch: usize, mode: Mode) -> Result<()> {
        Ok(self.plan.forward(&self.weights, &[input], batch, mode)?)
    }

    fn output(&self, index: usize) -> &[f32] {
        self.plan.output(index)
    }

    fn backward(&mut self, output_gradients: &[&[f32]]) -> Result<()> {
        Ok(self.plan.backward(&self.weights, output_gradients, None)?)
    }

    fn input_gradient(&self) -> &[f32] {
        self.plan.input_gradient(0)
    }
}

/// A forward pass of the VAE: encoder, latent sample with given noise, decoder.
pub(crate) struct VaeForward {
    encoder: Frozen,
    decoder: Frozen,
    pass: VaePass,
}

impl VaeForward {
    pub(crate) fn new(data: &Path, batch: usize, precision: Precision) -> Result<Self> {
        let (encoder, decoder) = vae(precision)?;
        let tensors = read(data, &Weights::Initial.file("vae"))?;
        Ok(Self {
            encoder: Frozen::new(&encoder, &tensors, batch, Differentiate::Nothing)?,
            decoder: Frozen::new(&decoder, &tensors, batch, Differentiate::Nothing)?,
            pass: VaePass::new(data, batch)?,
        })
    }
}

impl Case for VaeForward {
    fn run(&mut self) -> Result<()> {
        self.pass.forward(&mut self.encoder, &mut self.decoder, Mode::Evaluate)
    }

    fn outputs(&mut self) -> Result<Tensors> {
        self.run()?;
        let batch = self.pass.batch;
        let mut tensors = Tensors::default();
        tensors.insert("reconstruction", &image_shape(batch), self.decoder.output(0));
        tensors.insert("mean", &[batch, LATENT], self.encoder.output(0));
        tensors.insert("log_variance", &[batch, LATENT], self.encoder.output(1));
        Ok(tensors)
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(self.encoder.multiply_adds + self.decoder.multiply_adds)
    }
}

/// The gradient of the negative ELBO at z = mean with respect to the image; weights frozen.
pub(crate) struct VaeInputGradient {
    data: PathBuf,
    precision: Precision,
    encoder: Frozen,
    decoder: Frozen,
    pass: VaePass,
    gradient: Vec<f32>,
}

impl VaeInputGradient {
    pub(crate) fn new(data: &Path, batch: usize, weights: Weights, precision: Precision) -> Result<Self> {
        let (encoder, decoder) = vae(precision)?;
        let tensors = read(data, &weights.file("vae"))?;
        let mut pass = VaePass::new(data, batch)?;
        pass.noise.fill(0.0);
        Ok(Self {
            data: data.to_owned(),
            precision,
            encoder: Frozen::new(&encoder, &tensors, batch, Differentiate::Inputs)?,
            decoder: Frozen::new(&decoder, &tensors, batch, Differentiate::Inputs)?,
            gradient: vec![0.0; pass.image.len()],
            pass,
        })
    }
}

impl Case for VaeInputGradient {
    fn run(&mut self) -> Result<()> {
        let Self { encoder, decoder, pass, gradient, .. } = self;
        pass.forward(encoder, decoder, Mode::Evaluate)?;
        pass.backward(encoder, decoder, 1.0)?;
        // The image enters the loss itself too, opposite to the reconstruction.
        let parts = encoder.input_gradient().iter().zip(&pass.by.reconstruction);
        for (gradient, (through, by_reconstruction)) in gradient.iter_mut().zip(parts) {
            *gradient = through - by_reconstruction;
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensors> {
        let batch = self.pass.batch;
        let mut clear = Self::new(&self.data, batch, Weights::Clear, self.precision)?;
        clear.run()?;
        let mut tensors = Tensors::default();
        tensors.insert("gradient", &image_shape(batch), &clear.gradient);
        Ok(tensors)
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(2 * (self.encoder.multiply_adds + self.decoder.multiply_adds))
    }
}
