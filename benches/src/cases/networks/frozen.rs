//! Forward passes and input gradients with frozen weights.

use std::path::{Path, PathBuf};

use lesio_nn::{Device, Differentiate, Inference, Mode, Precision};

use super::{Passes, VaePass, Weights, image_shape};
use crate::Result;
use crate::cases::{Case, read};
use crate::networks::{LATENT, vae};
use crate::tensors::Tensors;

/// A forward pass of the VAE: encoder, latent sample with given noise, decoder.
pub(crate) struct VaeForward {
    encoder: Inference,
    decoder: Inference,
    pass: VaePass,
}

impl VaeForward {
    pub(crate) fn new(data: &Path, batch: usize, precision: Precision, device: &Device) -> Result<Self> {
        let (encoder, decoder) = vae(precision)?;
        let tensors = read(data, &Weights::Initial.file("vae"))?;
        Ok(Self {
            encoder: Inference::new(
                &encoder,
                &tensors.parameters(&encoder)?,
                Differentiate::Nothing,
                device,
            )?,
            decoder: Inference::new(
                &decoder,
                &tensors.parameters(&decoder)?,
                Differentiate::Nothing,
                device,
            )?,
            pass: VaePass::new(data, batch)?,
        })
    }
}

impl Case for VaeForward {
    fn run(&mut self) -> Result<()> {
        let (mut encoder, mut decoder) = (self.encoder.engine(), self.decoder.engine());
        self.pass.forward(&mut encoder, &mut decoder, Mode::Evaluate)
    }

    fn outputs(&mut self) -> Result<Tensors> {
        let (mut encoder, mut decoder) = (self.encoder.engine(), self.decoder.engine());
        self.pass.forward(&mut encoder, &mut decoder, Mode::Evaluate)?;
        let batch = self.pass.batch;
        let mut tensors = Tensors::default();
        tensors.insert("reconstruction", &image_shape(batch), Passes::output(&decoder, 0));
        tensors.insert("mean", &[batch, LATENT], Passes::output(&encoder, 0));
        tensors.insert("log_variance", &[batch, LATENT], Passes::output(&encoder, 1));
        Ok(tensors)
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(multiply_adds(&self.encoder, &self.decoder, &self.pass))
    }
}

/// The gradient of the negative ELBO at z = mean with respect to the image; weights frozen.
pub(crate) struct VaeInputGradient {
    data: PathBuf,
    precision: Precision,
    device: Device,
    encoder: Inference,
    decoder: Inference,
    pass: VaePass,
    gradient: Vec<f32>,
}

impl VaeInputGradient {
    pub(crate) fn new(
        data: &Path,
        batch: usize,
        weights: Weights,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        let (encoder, decoder) = vae(precision)?;
        let tensors = read(data, &weights.file("vae"))?;
        let mut pass = VaePass::new(data, batch)?;
        pass.noise.fill(0.0);
        Ok(Self {
            data: data.to_owned(),
            precision,
            device: device.clone(),
            encoder: Inference::new(&encoder, &tensors.parameters(&encoder)?, Differentiate::Inputs, device)?,
            decoder: Inference::new(&decoder, &tensors.parameters(&decoder)?, Differentiate::Inputs, device)?,
            gradient: vec![0.0; pass.image.len()],
            pass,
        })
    }
}

impl Case for VaeInputGradient {
    fn run(&mut self) -> Result<()> {
        let Self { encoder, decoder, pass, gradient, .. } = self;
        let (mut encoder, mut decoder) = (encoder.engine(), decoder.engine());
        pass.forward(&mut encoder, &mut decoder, Mode::Evaluate)?;
        pass.backward(&mut encoder, &mut decoder, 1.0)?;
        // The image enters the loss itself too, opposite to the reconstruction.
        let parts = Passes::input_gradient(&encoder).iter().zip(&pass.by.reconstruction);
        for (gradient, (through, by_reconstruction)) in gradient.iter_mut().zip(parts) {
            *gradient = through - by_reconstruction;
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensors> {
        let batch = self.pass.batch;
        let mut clear = Self::new(&self.data, batch, Weights::Clear, self.precision, &self.device)?;
        clear.run()?;
        let mut tensors = Tensors::default();
        tensors.insert("gradient", &image_shape(batch), &clear.gradient);
        Ok(tensors)
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(2 * multiply_adds(&self.encoder, &self.decoder, &self.pass))
    }
}

fn multiply_adds(encoder: &Inference, decoder: &Inference, pass: &VaePass) -> u64 {
    (encoder.network().multiply_adds() + decoder.network().multiply_adds()) * pass.batch as u64
}
