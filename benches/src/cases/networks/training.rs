//! Training steps.

use std::path::{Path, PathBuf};

use lesio_nn::{AdamUpdate, Device, InputGradients, Mode, Network, Precision, TrainingEngine};

use super::data::first;
use super::{Passes, VaePass, Weights, training_multiply_adds};
use crate::Result;
use crate::cases::{Case, read};
use crate::networks::{IMAGE, Normalization, unet, vae};
use crate::objective::squared_error;
use crate::tensors::Tensors;

const RATE: f64 = 1e-4;
const BETA1: f64 = 0.9;
/// Steps of training whose losses are compared.
const CHECKED_STEPS: usize = 5;

/// What is trained, in the two halves of a step.
trait Training: Sized {
    /// Forward and backward; returns the loss.
    fn gradients(&mut self) -> Result<f64>;

    /// The update of a step, counted from 1.
    fn update(&mut self, update: &AdamUpdate) -> Result<()>;

    fn engines(&self) -> Vec<&dyn TrainingEngine>;

    fn step(&mut self, step: u64) -> Result<f64> {
        let loss = self.gradients()?;
        self.update(&adam(step))?;
        Ok(loss)
    }

    fn losses(&mut self) -> Result<Vec<f64>> {
        (1..=CHECKED_STEPS as u64).map(|step| self.step(step)).collect()
    }
}

/// Losses of the first steps from the initial weights; first gradients, and parameters after the
/// steps, from the clear ones.
fn checked(mut initial: impl Training, mut clear: impl Training) -> Result<Tensors> {
    let mut tensors = Tensors::default();
    let losses = initial.losses()?;
    tensors.insert_f64("losses", &[losses.len()], losses);
    clear.step(1)?;
    for engine in clear.engines() {
        // An engine does not show its gradients, but after the first step of all Adam's first moment
        // is (1 - beta1) times the gradient.
        let [moments, _] = engine.moments()?;
        for (name, moment) in moments.iter() {
            let gradient: Vec<f32> =
                moment.values().iter().map(|value| value / (1.0 - BETA1) as f32).collect();
            tensors.insert(format!("gradient.{name}"), moment.shape(), &gradient);
        }
    }
    for step in 2..=CHECKED_STEPS as u64 {
        clear.step(step)?;
    }
    for engine in clear.engines() {
        tensors.insert_parameters("trained.", &engine.parameters()?);
    }
    Ok(tensors)
}

/// A training step of the VAE: encoder, latent sample, decoder, loss, backward through both, Adam.
pub(crate) struct VaeTraining {
    data: PathBuf,
    device: Device,
    encoder: Box<dyn TrainingEngine>,
    decoder: Box<dyn TrainingEngine>,
    pass: VaePass,
    step: u64,
}

impl VaeTraining {
    pub(crate) fn new(
        data: &Path,
        batch: usize,
        weights: Weights,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        let (encoder, decoder) = vae(precision)?;
        let tensors = read(data, &weights.file("vae"))?;
        Ok(Self {
            data: data.to_owned(),
            device: device.clone(),
            encoder: engine(device, &encoder, &tensors, batch, InputGradients::Skip)?,
            decoder: engine(device, &decoder, &tensors, batch, InputGradients::Compute)?,
            pass: VaePass::new(data, batch)?,
            step: 0,
        })
    }
}

impl Training for VaeTraining {
    fn gradients(&mut self) -> Result<f64> {
        let Self { encoder, decoder, pass, .. } = self;
        encoder.clear_gradients();
        decoder.clear_gradients();
        pass.forward(encoder, decoder, Mode::Train)?;
        pass.backward(encoder, decoder, 1.0 / pass.batch as f32)
    }

    fn update(&mut self, update: &AdamUpdate) -> Result<()> {
        self.encoder.update(update)?;
        Ok(self.decoder.update(update)?)
    }

    fn engines(&self) -> Vec<&dyn TrainingEngine> {
        vec![&*self.encoder, &*self.decoder]
    }
}

impl Case for VaeTraining {
    fn run(&mut self) -> Result<()> {
        self.step += 1;
        Training::step(self, self.step).map(drop)
    }

    fn outputs(&mut self) -> Result<Tensors> {
        let precision = self.encoder.network().precision();
        let case = |weights| Self::new(&self.data, self.pass.batch, weights, precision, &self.device);
        checked(case(Weights::Initial)?, case(Weights::Clear)?)
    }

    fn multiply_adds(&self) -> Option<u64> {
        let sample = training_multiply_adds(self.encoder.network(), &[self.decoder.network()]);
        Some(sample * self.pass.batch as u64)
    }
}

/// A training step of the U-Net on the mean squared difference of its output and its input.
pub(crate) struct UNetTraining {
    data: PathBuf,
    device: Device,
    normalization: Normalization,
    net: Box<dyn TrainingEngine>,
    batch: usize,
    image: Vec<f32>,
    by_output: Vec<f32>,
    step: u64,
}

impl UNetTraining {
    pub(crate) fn new(
        data: &Path,
        batch: usize,
        normalization: Normalization,
        weights: Weights,
        device: &Device,
    ) -> Result<Self> {
        let name = match normalization {
            Normalization::None => "unet",
            Normalization::Group => "unet-gn",
        };
        let image = first(&read(data, "inputs")?, "image", batch * IMAGE.len())?;
        let tensors = read(data, &weights.file(name))?;
        Ok(Self {
            data: data.to_owned(),
            device: device.clone(),
            normalization,
            net: engine(device, &unet(normalization)?, &tensors, batch, InputGradients::Skip)?,
            batch,
            by_output: vec![0.0; image.len()],
            image,
            step: 0,
        })
    }
}

impl Training for UNetTraining {
    fn gradients(&mut self) -> Result<f64> {
        let Self { net, image, by_output, .. } = self;
        net.clear_gradients();
        Passes::forward(net, image, self.batch, Mode::Train)?;
        let loss = squared_error(Passes::output(net, 0), image, 1.0 / image.len() as f32, by_output);
        Passes::backward(net, &[by_output])?;
        Ok(loss)
    }

    fn update(&mut self, update: &AdamUpdate) -> Result<()> {
        Ok(self.net.update(update)?)
    }

    fn engines(&self) -> Vec<&dyn TrainingEngine> {
        vec![&*self.net]
    }
}

impl Case for UNetTraining {
    fn run(&mut self) -> Result<()> {
        self.step += 1;
        Training::step(self, self.step).map(drop)
    }

    fn outputs(&mut self) -> Result<Tensors> {
        let case = |weights| Self::new(&self.data, self.batch, self.normalization, weights, &self.device);
        checked(case(Weights::Initial)?, case(Weights::Clear)?)
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(training_multiply_adds(self.net.network(), &[]) * self.batch as u64)
    }
}

fn engine(
    device: &Device,
    network: &Network,
    tensors: &Tensors,
    batch: usize,
    inputs: InputGradients,
) -> Result<Box<dyn TrainingEngine>> {
    Ok(device.training_engine(network, &tensors.parameters(network)?, batch, inputs)?)
}

/// Plain Adam, as PyTorch's defaults have it.
fn adam(step: u64) -> AdamUpdate {
    AdamUpdate {
        rate: RATE,
        beta1: BETA1,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        step,
        gradient_scale: 1.0,
    }
}
