//! Training, forward passes and input gradients of the measured networks.

use std::path::Path;

use lesio_nn::{
    AdamUpdate, CandleEngine, Initialization, InputGradients, Mode, Network, Operation, ParameterSet,
    TrainingEngine, random,
};

use super::{Case, read};
use crate::networks::{IMAGE, LATENT, Normalization, unet, vae_decoder, vae_encoder};
use crate::objective::{ElboGradients, negative_elbo, sample, squared_error};
use crate::tensors::Tensors;
use crate::Result;

/// Images in the file of inputs.
const IMAGES: usize = 32;
const RATE: f64 = 1e-4;
const BETA1: f64 = 0.9;
/// Steps of training whose losses are compared.
const CHECKED_STEPS: usize = 5;
const SEED: u64 = 20;

/// Writes the networks' initial parameters, and images and noise, to a folder.
///
/// # Errors
/// Files that cannot be written.
pub fn export(data: &Path) -> Result<()> {
    std::fs::create_dir_all(data)?;
    let write = |name: &str, networks: &[Network]| -> Result<()> {
        let mut tensors = Tensors::default();
        for network in networks {
            let parameters = ParameterSet::initialize(network, Initialization::UniformFanIn, SEED);
            tensors.insert_parameters("", &parameters);
        }
        tensors.write(&data.join(format!("{name}.safetensors")))
    };
    write("vae", &[vae_encoder()?, vae_decoder()?])?;
    write("unet", &[unet(Normalization::None)?])?;
    write("unet-gn", &[unet(Normalization::Group)?])?;

    let mut image = vec![0.0; IMAGES * IMAGE.len()];
    random::fill_normal(&mut random::named_generator(SEED, "image"), &mut image);
    image.iter_mut().for_each(|value| *value = (0.5 + 0.2 * *value).clamp(0.0, 1.0));
    let mut noise = vec![0.0; IMAGES * LATENT];
    random::fill_normal(&mut random::named_generator(SEED, "noise"), &mut noise);
    let mut tensors = Tensors::default();
    tensors.insert("image", &[IMAGES, IMAGE.channels, IMAGE.height, IMAGE.width], &image);
    tensors.insert("noise", &[IMAGES, LATENT], &noise);
    tensors.write(&data.join("inputs.safetensors"))
}

/// A training step of the VAE: encoder, latent sample, decoder, loss, backward through both, Adam.
pub(super) struct VaeTraining {
    encoder: Box<dyn TrainingEngine>,
    decoder: Box<dyn TrainingEngine>,
    pass: VaePass,
    step: u64,
}

impl VaeTraining {
    pub(super) fn new(data: &Path, batch: usize) -> Result<Self> {
        let parameters = read(data, "vae")?;
        Ok(Self {
            encoder: engine(&vae_encoder()?, &parameters, InputGradients::Skip)?,
            decoder: engine(&vae_decoder()?, &parameters, InputGradients::Compute)?,
            pass: VaePass::new(data, batch)?,
            step: 0,
        })
    }

    fn gradients(&mut self) -> Result<f64> {
        self.encoder.clear_gradients();
        self.decoder.clear_gradients();
        let scale = 1.0 / self.pass.batch as f32;
        let (encoder, decoder) = (self.encoder.as_mut(), self.decoder.as_mut());
        self.pass.forward(encoder, decoder, Mode::Train)?;
        self.pass.backward(encoder, decoder, scale)
    }

    fn update(&mut self) -> Result<()> {
        self.step += 1;
        self.encoder.update(&adam(self.step))?;
        Ok(self.decoder.update(&adam(self.step))?)
    }
}

impl Case for VaeTraining {
    fn run(&mut self) -> Result<()> {
        self.gradients()?;
        self.update()
    }

    fn outputs(&mut self) -> Result<Tensors> {
        let mut tensors = Tensors::default();
        let mut losses = Vec::new();
        for step in 0..CHECKED_STEPS {
            losses.push(self.gradients()?);
            self.update()?;
            if step == 0 {
                for engine in [&self.encoder, &self.decoder] {
                    insert_first_gradients(&mut tensors, engine.as_ref())?;
                }
            }
        }
        tensors.insert_parameters("trained.", &self.encoder.parameters()?);
        tensors.insert_parameters("trained.", &self.decoder.parameters()?);
        tensors.insert_f64("losses", &[losses.len()], losses);
        Ok(tensors)
    }

    fn multiply_adds(&self) -> Option<u64> {
        let [encoder, decoder] = [self.encoder.network(), self.decoder.network()];
        let batch = self.pass.batch as u64;
        Some(batch * (3 * (encoder.multiply_adds() + decoder.multiply_adds()) - first_layer(encoder)))
    }
}

/// A forward pass of the VAE: encoder, latent sample with given noise, decoder.
pub(super) struct VaeForward {
    encoder: Box<dyn TrainingEngine>,
    decoder: Box<dyn TrainingEngine>,
    pass: VaePass,
}

impl VaeForward {
    pub(super) fn new(data: &Path, batch: usize) -> Result<Self> {
        let parameters = read(data, "vae")?;
        Ok(Self {
            encoder: engine(&vae_encoder()?, &parameters, InputGradients::Skip)?,
            decoder: engine(&vae_decoder()?, &parameters, InputGradients::Skip)?,
            pass: VaePass::new(data, batch)?,
        })
    }
}

impl Case for VaeForward {
    fn run(&mut self) -> Result<()> {
        self.pass.forward(self.encoder.as_mut(), self.decoder.as_mut(), Mode::Evaluate)
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
        let sum = self.encoder.network().multiply_adds() + self.decoder.network().multiply_adds();
        Some(sum * self.pass.batch as u64)
    }
}

/// The gradient of the negative ELBO at z = mean with respect to the image; weights frozen.
pub(super) struct VaeInputGradient {
    encoder: Box<dyn TrainingEngine>,
    decoder: Box<dyn TrainingEngine>,
    pass: VaePass,
    gradient: Vec<f32>,
}

impl VaeInputGradient {
    pub(super) fn new(data: &Path, batch: usize) -> Result<Self> {
        let parameters = read(data, "vae")?;
        let mut pass = VaePass::new(data, batch)?;
        pass.noise.fill(0.0);
        Ok(Self {
            encoder: engine(&vae_encoder()?, &parameters, InputGradients::Compute)?,
            decoder: engine(&vae_decoder()?, &parameters, InputGradients::Compute)?,
            gradient: vec![0.0; pass.image.len()],
            pass,
        })
    }
}

impl Case for VaeInputGradient {
    fn run(&mut self) -> Result<()> {
        let (encoder, decoder) = (self.encoder.as_mut(), self.decoder.as_mut());
        self.pass.forward(encoder, decoder, Mode::Evaluate)?;
        self.pass.backward(encoder, decoder, 1.0)?;
        // The image enters the loss itself too, opposite to the reconstruction.
        let through = self.encoder.input_gradient(0).iter().zip(&self.pass.by.reconstruction);
        for (gradient, (through, by_reconstruction)) in self.gradient.iter_mut().zip(through) {
            *gradient = through - by_reconstruction;
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensors> {
        self.run()?;
        let mut tensors = Tensors::default();
        tensors.insert("gradient", &image_shape(self.pass.batch), &self.gradient);
        Ok(tensors)
    }

    fn multiply_adds(&self) -> Option<u64> {
        let sum = self.encoder.network().multiply_adds() + self.decoder.network().multiply_adds();
        Some(2 * sum * self.pass.batch as u64)
    }
}

/// A batch's way through encoder and decoder, and back.
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

    fn forward(
        &mut self,
        encoder: &mut dyn TrainingEngine,
        decoder: &mut dyn TrainingEngine,
        mode: Mode,
    ) -> Result<()> {
        encoder.forward(&[&self.image], self.batch, mode)?;
        sample(encoder.output(0), encoder.output(1), &self.noise, &mut self.latent);
        Ok(decoder.forward(&[&self.latent], self.batch, mode)?)
    }

    fn backward(
        &mut self,
        encoder: &mut dyn TrainingEngine,
        decoder: &mut dyn TrainingEngine,
        scale: f32,
    ) -> Result<f64> {
        let (mean, log_variance) = (encoder.output(0), encoder.output(1));
        let loss = negative_elbo(&self.image, decoder.output(0), mean, log_variance, scale, &mut self.by);
        decoder.backward(&[&self.by.reconstruction])?;
        self.by.add_latent(decoder.input_gradient(0), log_variance, &self.noise);
        encoder.backward(&[&self.by.mean, &self.by.log_variance])?;
        Ok(loss)
    }
}

/// A training step of the U-Net on the mean squared difference of its output and its input.
pub(super) struct UNetTraining {
    net: Box<dyn TrainingEngine>,
    batch: usize,
    image: Vec<f32>,
    by_output: Vec<f32>,
    step: u64,
}

impl UNetTraining {
    pub(super) fn new(data: &Path, batch: usize, normalization: Normalization) -> Result<Self> {
        let file = match normalization {
            Normalization::None => "unet",
            Normalization::Group => "unet-gn",
        };
        let image = first(&read(data, "inputs")?, "image", batch * IMAGE.len())?;
        Ok(Self {
            net: engine(&unet(normalization)?, &read(data, file)?, InputGradients::Skip)?,
            batch,
            by_output: vec![0.0; image.len()],
            image,
            step: 0,
        })
    }

    fn gradients(&mut self) -> Result<f64> {
        self.net.clear_gradients();
        self.net.forward(&[&self.image], self.batch, Mode::Train)?;
        let scale = 1.0 / self.image.len() as f32;
        let loss = squared_error(self.net.output(0), &self.image, scale, &mut self.by_output);
        self.net.backward(&[&self.by_output])?;
        Ok(loss)
    }

    fn update(&mut self) -> Result<()> {
        self.step += 1;
        Ok(self.net.update(&adam(self.step))?)
    }
}

impl Case for UNetTraining {
    fn run(&mut self) -> Result<()> {
        self.gradients()?;
        self.update()
    }

    fn outputs(&mut self) -> Result<Tensors> {
        let mut tensors = Tensors::default();
        let mut losses = Vec::new();
        for step in 0..CHECKED_STEPS {
            losses.push(self.gradients()?);
            self.update()?;
            if step == 0 {
                insert_first_gradients(&mut tensors, self.net.as_ref())?;
            }
        }
        tensors.insert_parameters("trained.", &self.net.parameters()?);
        tensors.insert_f64("losses", &[losses.len()], losses);
        Ok(tensors)
    }

    fn multiply_adds(&self) -> Option<u64> {
        let network = self.net.network();
        Some(self.batch as u64 * (3 * network.multiply_adds() - first_layer(network)))
    }
}

fn engine(
    network: &Network,
    parameters: &Tensors,
    input_gradients: InputGradients,
) -> Result<Box<dyn TrainingEngine>> {
    let parameters = parameters.parameters(network)?;
    Ok(Box::new(CandleEngine::new(network, &parameters, &candle_core::Device::Cpu, input_gradients)?))
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

/// The gradients of the first step of all, which an engine does not show: after it, Adam's first
/// moment is `(1 - beta1)` times the gradient.
fn insert_first_gradients(tensors: &mut Tensors, engine: &dyn TrainingEngine) -> Result<()> {
    let [moments, _] = engine.moments()?;
    for (name, moment) in moments.iter() {
        let gradient: Vec<f32> = moment.values().iter().map(|value| value / (1.0 - BETA1) as f32).collect();
        tensors.insert(format!("gradient.{name}"), moment.shape(), &gradient);
    }
    Ok(())
}

/// Multiply-adds of the layer that reads the image, whose input gradient training does not need.
fn first_layer(network: &Network) -> u64 {
    let first = network.parameters().first().map_or(0, |weight| weight.len());
    let pixels = network.nodes().iter().find(|node| !matches!(node.operation(), Operation::Input));
    (first * pixels.map_or(0, |node| node.shape().pixels())) as u64
}

fn first(tensors: &Tensors, name: &str, len: usize) -> Result<Vec<f32>> {
    let (_, values) = tensors.f32(name)?;
    let values = values.get(..len).ok_or_else(|| format!("{name} holds {} values, {len} are needed", values.len()))?;
    Ok(values.to_vec())
}

fn image_shape(batch: usize) -> [usize; 4] {
    [batch, IMAGE.channels, IMAGE.height, IMAGE.width]
}
