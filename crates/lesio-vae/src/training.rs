//! The evidence lower bound as an objective, and the training of a VAE.

use lesio_nn::{Batch, EngineError, Engines, Objective, Shape, Terms, TrainConfig, random};
use lesio_settings::{SettingError, in_range, require, setters};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::augmentation::Augmentation;
use crate::config::{ConfigError, VaeConfig};
use crate::corruption::Corruption;
use crate::examples::Examples;
use crate::likelihood::Likelihood;
use crate::model::{clamp_log_variance, dimension_divergence};

/// The training of a VAE.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct VaeTraining {
    /// Epochs, batches, optimizer, patience and seed.
    pub train: TrainConfig,
    /// The weight of the divergence and how it grows.
    pub divergence: Divergence,
    /// Augmentation of the images.
    pub augmentation: Augmentation,
    /// Corruption of the encoder's input.
    pub corruption: Corruption,
}

setters!(VaeTraining {
    train: TrainConfig,
    divergence: Divergence,
    augmentation: Augmentation,
    corruption: Corruption,
});

/// The divergence term of the loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Divergence {
    /// `beta * KL`; beta rises linearly from 0 over a share of the training (Higgins et al. 2017;
    /// Bowman et al. 2016 for the warm-up).
    Beta {
        /// The weight, 0 to 1e9. Default 1.
        #[serde(default = "default_beta")]
        beta: f64,
        /// Share of all updates until the weight is reached, 0 to 1. Default .1.
        #[serde(default = "default_warm_up")]
        warm_up: f64,
    },
    /// `gamma * |KL - C|`, C rising linearly from 0 to `nats` over a share of the training (Burgess et al. 2018).
    Capacity {
        /// The weight, 0 to 1e9.
        gamma: f64,
        /// The divergence allowed in the end, per image, in nats, 0 to 1e9.
        nats: f64,
        /// Share of all updates until it is reached, 0 to 1.
        share: f64,
    },
    /// `beta * sum max(KL of a dimension, nats)` (Kingma et al. 2016): divergence below the limit
    /// is free, which keeps a dimension in use. The limit applies to each image, not for the mean over a
    /// batch, so that an image's loss does not depend on the others.
    FreeBits {
        /// The weight, 0 to 1e9.
        beta: f64,
        /// Free nats per latent dimension, 0 to 1e9.
        nats: f64,
    },
}

/// Largest weight, and most nats.
pub(crate) const LARGEST_WEIGHT: f64 = 1e9;

impl VaeTraining {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.train.validate().map_err(|error| error.within("train"))?;
        self.divergence.validate().map_err(|error| error.within("divergence"))?;
        self.augmentation.validate().map_err(|error| error.within("augmentation"))?;
        self.corruption.validate().map_err(|error| error.within("corruption"))
    }
}

impl Default for Divergence {
    /// Beta 1, reached after a tenth of the training.
    fn default() -> Self {
        Self::Beta { beta: default_beta(), warm_up: default_warm_up() }
    }
}

fn default_beta() -> f64 {
    1.0
}

fn default_warm_up() -> f64 {
    0.1
}

impl Divergence {
    /// The weight that is used for scoring.
    #[must_use]
    pub fn beta(&self) -> f64 {
        match *self {
            Self::Beta { beta, .. } | Self::FreeBits { beta, .. } => beta,
            Self::Capacity { .. } => 1.0,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::Beta { beta, warm_up } => {
                in_range("beta.beta", beta, 0.0..=LARGEST_WEIGHT)?;
                in_range("beta.warm_up", warm_up, 0.0..=1.0)
            }
            Self::Capacity { gamma, nats, share } => {
                in_range("capacity.gamma", gamma, 0.0..=LARGEST_WEIGHT)?;
                in_range("capacity.nats", nats, 0.0..=LARGEST_WEIGHT)?;
                in_range("capacity.share", share, 0.0..=1.0)
            }
            Self::FreeBits { beta, nats } => {
                in_range("free-bits.beta", beta, 0.0..=LARGEST_WEIGHT)?;
                in_range("free-bits.nats", nats, 0.0..=LARGEST_WEIGHT)
            }
        }
    }

    /// Loss of an image's divergence, and the factor on the gradient of each dimension's.
    fn loss(&self, dimensions: &[f64], progress: f64, factors: &mut [f32]) -> f64 {
        let reached = |share: f64| if share > 0.0 { (progress / share).min(1.0) } else { 1.0 };
        let sum: f64 = dimensions.iter().sum();
        match *self {
            Self::Beta { beta, warm_up } => {
                let weight = beta * reached(warm_up);
                factors.fill(weight as f32);
                weight * sum
            }
            Self::Capacity { gamma, nats, share } => {
                let distance = sum - nats * reached(share);
                // The subgradient at the capacity itself is 0; `signum` of 0 is 1.
                let slope = if distance == 0.0 { 0.0 } else { distance.signum() };
                factors.fill((gamma * slope) as f32);
                gamma * distance.abs()
            }
            Self::FreeBits { beta, nats } => {
                let mut loss = 0.0;
                for (factor, &own) in factors.iter_mut().zip(dimensions) {
                    *factor = if own > nats { beta as f32 } else { 0.0 };
                    loss += beta * own.max(nats);
                }
                loss
            }
        }
    }
}

/// Position of the encoder and the decoder among a trainer's engines.
pub const ENGINES: [&str; 2] = ["encoder", "decoder"];

/// The negative evidence lower bound on a set of images, for a [`Trainer`](lesio_nn::Trainer) with the
/// encoder and the decoder as its engines, in this order.
///
/// The loss is in nats per image: `-log p(x | z)` summed over pixels plus the divergence term, with one
/// draw of `z` per image. `x` is the augmented image, while `z` is encoded from the corrupted image. In validation, `z`
/// is the posterior's mean, images are neither augmented nor corrupted, and the divergence term is that of the end of
/// the training.
#[derive(Debug)]
pub struct VaeObjective {
    config: VaeConfig,
    training: VaeTraining,
    examples: Examples,
    validation: Examples,
    fingerprint: String,
    buffers: Buffers,
}

#[derive(Debug, Default)]
struct Buffers {
    clean: Vec<f32>,
    seen: Vec<f32>,
    noise: Vec<f32>,
    latent: Vec<f32>,
    by_output: Vec<f32>,
    by_mean: Vec<f32>,
    by_log_variance: Vec<f32>,
    factors: Vec<f32>,
}

/// Independent streams of random numbers for one image in one epoch.
pub(crate) const CORRUPTION_SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const NOISE_SEED: u64 = 0xc2b2_ae3d_27d4_eb4f;

impl VaeObjective {
    /// An objective on training and validation images; validation may be empty.
    ///
    /// # Errors
    /// For settings out of range, and for images of another shape than the model's.
    pub fn new(
        config: VaeConfig,
        training: VaeTraining,
        examples: Examples,
        validation: Examples,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        training.validate()?;
        check_shape(config.image_shape(), &[&examples, &validation])?;
        check_values(&config.likelihood, &training.augmentation, &[&examples, &validation])?;
        let fingerprint = fingerprint(&(&config, &training), &examples, &validation);
        Ok(Self { config, training, examples, validation, fingerprint, buffers: Buffers::default() })
    }

    /// The training configuration.
    #[must_use]
    pub fn training(&self) -> &VaeTraining {
        &self.training
    }
}

/// Returns an error for images of another shape than the model's. A set without images has no shape of its own.
pub(crate) fn check_shape(expected: Shape, sets: &[&Examples]) -> Result<(), SettingError> {
    match sets.iter().find(|set| !set.is_empty() && set.shape() != expected) {
        Some(set) => {
            let (found, expected) = (set.shape().to_string(), expected.to_string());
            Err(SettingError { setting: "shape of the images".into(), found, expected })
        }
        None => Ok(()),
    }
}

/// Returns an error for images without a valid likelihood: a Bernoulli's `-log p` has no lower bound for values outside
/// [0, 1], and training would diverge.
fn check_values(
    likelihood: &Likelihood,
    augmentation: &Augmentation,
    sets: &[&Examples],
) -> Result<(), SettingError> {
    if *likelihood != Likelihood::Bernoulli {
        return Ok(());
    }
    let expected = "0, since a Bernoulli likelihood needs values in [0, 1]";
    require(augmentation.brightness == 0.0, "augmentation.brightness", augmentation.brightness, expected)?;
    require(augmentation.shading == 0.0, "augmentation.shading", augmentation.shading, expected)?;
    let mut values = sets.iter().flat_map(|set| (0..set.len()).flat_map(|index| set.image(index)));
    match values.find(|value| !(0.0..=1.0).contains(*value)) {
        Some(value) => {
            let expected = "in [0, 1], as a Bernoulli likelihood needs it";
            Err(SettingError::new("a value of the images", value, expected))
        }
        None => Ok(()),
    }
}

/// Returns an error for samples that a set does not have.
pub(crate) fn check_samples(samples: &[usize], examples: &Examples) -> Result<(), EngineError> {
    match samples.iter().find(|&&sample| sample >= examples.len()) {
        Some(&sample) => Err(EngineError::Length {
            what: format!("the set of examples, from which sample {sample} is requested,"),
            found: examples.len(),
            expected: sample.saturating_add(1),
        }),
        None => Ok(()),
    }
}

/// A fingerprint that distinguishes trainings on images.
pub(crate) fn fingerprint(config: &impl Serialize, examples: &Examples, validation: &Examples) -> String {
    let of = |images: &Examples| (images.len(), images.checksum());
    lesio_nn::fingerprint(config, "images", of(examples), of(validation))
}

/// Fills `clean` with the augmented images of a batch and `seen` with the corrupted input of the network.
pub(crate) fn draw_batch(
    batch: &Batch<'_>,
    examples: &Examples,
    augmentation: &Augmentation,
    corruption: &Corruption,
    clean: &mut Vec<f32>,
    seen: &mut Vec<f32>,
) {
    let shape = examples.shape();
    clean.resize(batch.samples.len() * shape.len(), 0.0);
    seen.resize(clean.len(), 0.0);
    clean
        .par_chunks_exact_mut(shape.len())
        .zip(seen.par_chunks_exact_mut(shape.len()))
        .zip(batch.samples)
        .for_each(|((clean, seen), &sample)| {
            let stream = (batch.epoch * examples.len() + sample) as u64;
            let mut generator = random::generator(batch.seed ^ CORRUPTION_SEED, stream);
            clean.copy_from_slice(examples.image(sample));
            let mut region = examples.region(sample).map(<[bool]>::to_vec);
            augmentation.apply(&mut generator, shape, clean, region.as_deref_mut());
            seen.copy_from_slice(clean);
            corruption.apply(&mut generator, shape, seen, region.as_deref());
        });
}

/// Sums over one image of the reconstruction term; fills the gradient by the decoder's outputs, times `scale`.
fn reconstruction_loss(
    likelihood: &Likelihood,
    image: &[f32],
    outputs: &[f32],
    scale: f32,
    by: &mut [f32],
) -> f64 {
    let size = image.len();
    let learned = likelihood.outputs() == 2;
    let mut sum = 0.0;
    for (pixel, &x) in image.iter().enumerate() {
        let term = likelihood.term(x, outputs[pixel], if learned { outputs[size + pixel] } else { 0.0 });
        sum += f64::from(term.loss);
        by[pixel] = term.by_output * scale;
        if learned {
            by[size + pixel] = term.by_log_scale * scale;
        }
    }
    sum
}

impl Objective<2> for VaeObjective {
    fn samples(&self) -> usize {
        self.examples.len()
    }

    fn learn(
        &mut self,
        [encoder, decoder]: &mut Engines<2>,
        batch: &Batch<'_>,
    ) -> Result<Terms, EngineError> {
        if batch.samples.is_empty() {
            return Ok(Terms::new(0.0));
        }
        check_samples(batch.samples, &self.examples)?;
        let buffers = &mut self.buffers;
        let training = &self.training;
        draw_batch(
            batch,
            &self.examples,
            &training.augmentation,
            &training.corruption,
            &mut buffers.clean,
            &mut buffers.seen,
        );
        let samples = batch.samples.len();
        let per_sample = 1.0 / samples as f32;
        encoder.forward(&[&buffers.seen], samples)?;
        let (mean, log_variance) = (encoder.output(0), encoder.output(1));
        let dimensions = self.config.latent_shape().len();
        buffers.noise.resize(samples * dimensions, 0.0);
        for (noise, &sample) in buffers.noise.chunks_exact_mut(dimensions).zip(batch.samples) {
            let stream = (batch.epoch * self.examples.len() + sample) as u64;
            random::fill_normal(&mut random::generator(batch.seed ^ NOISE_SEED, stream), noise);
        }
        buffers.latent.clear();
        buffers.latent.extend(
            mean.iter()
                .zip(log_variance)
                .zip(&buffers.noise)
                .map(|((&m, &l), &e)| m + (0.5 * clamp_log_variance(l)).exp() * e),
        );
        decoder.forward(&[&buffers.latent], samples)?;

        let likelihood = self.config.likelihood;
        let size = self.config.image_shape().len();
        let outputs = decoder.output(0);
        buffers.by_output.resize(outputs.len(), 0.0);
        let stride = outputs.len() / samples;
        let losses: Vec<f64> = buffers
            .clean
            .par_chunks_exact(size)
            .zip(outputs.par_chunks_exact(stride))
            .zip(buffers.by_output.par_chunks_exact_mut(stride))
            .map(|((image, outputs), by)| reconstruction_loss(&likelihood, image, outputs, per_sample, by))
            .collect();
        decoder.backward(&[&buffers.by_output])?;

        let by_latent = decoder.input_gradient(0);
        let progress = batch.step as f64 / batch.steps.max(1) as f64;
        buffers.by_mean.resize(mean.len(), 0.0);
        buffers.by_log_variance.resize(mean.len(), 0.0);
        buffers.factors.resize(dimensions, 0.0);
        let (mut divergence, mut divergence_loss) = (0.0, 0.0);
        for sample in 0..samples {
            let range = sample * dimensions..(sample + 1) * dimensions;
            let own: Vec<f64> = range
                .clone()
                .map(|k| dimension_divergence(mean[k], clamp_log_variance(log_variance[k])))
                .collect();
            divergence += own.iter().sum::<f64>();
            divergence_loss += training.divergence.loss(&own, progress, &mut buffers.factors);
            for (dimension, k) in range.enumerate() {
                let factor = buffers.factors[dimension] * per_sample;
                let clamped = clamp_log_variance(log_variance[k]);
                let deviation = (0.5 * clamped).exp();
                buffers.by_mean[k] = by_latent[k] + factor * mean[k];
                let slope = 0.5 * by_latent[k] * buffers.noise[k] * deviation
                    + 0.5 * factor * (deviation * deviation - 1.0);
                buffers.by_log_variance[k] = if clamped == log_variance[k] { slope } else { 0.0 };
            }
        }
        encoder.backward(&[&buffers.by_mean, &buffers.by_log_variance])?;
        let count = samples as f64;
        let reconstruction = losses.iter().sum::<f64>() / count;
        Ok(Terms::new(reconstruction + divergence_loss / count)
            .with("reconstruction", reconstruction)
            .with("divergence", divergence / count))
    }

    fn validate(&mut self, [encoder, decoder]: &mut Engines<2>) -> Result<Option<Terms>, EngineError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let size = self.config.image_shape().len();
        let dimensions = self.config.latent_shape().len();
        let (mut reconstruction, mut divergence, mut divergence_loss) = (0.0, 0.0, 0.0);
        let all: Vec<usize> = (0..self.validation.len()).collect();
        let mut scratch = Vec::new();
        let mut factors = vec![0.0; dimensions];
        for chunk in all.chunks(self.training.train.batch_size.max(1)) {
            let images: Vec<f32> =
                chunk.iter().flat_map(|&index| self.validation.image(index)).copied().collect();
            encoder.forward(&[&images], chunk.len())?;
            let (mean, log_variance) = (encoder.output(0).to_vec(), encoder.output(1));
            for (mean, log_variance) in
                mean.chunks_exact(dimensions).zip(log_variance.chunks_exact(dimensions))
            {
                let own: Vec<f64> = mean
                    .iter()
                    .zip(log_variance)
                    .map(|(&mean, &log_variance)| {
                        dimension_divergence(mean, clamp_log_variance(log_variance))
                    })
                    .collect();
                divergence += own.iter().sum::<f64>();
                divergence_loss += self.training.divergence.loss(&own, 1.0, &mut factors);
            }
            decoder.forward(&[&mean], chunk.len())?;
            let outputs = decoder.output(0);
            let stride = outputs.len() / chunk.len();
            scratch.resize(stride, 0.0);
            for (image, outputs) in images.chunks_exact(size).zip(outputs.chunks_exact(stride)) {
                reconstruction +=
                    reconstruction_loss(&self.config.likelihood, image, outputs, 0.0, &mut scratch);
            }
        }
        let count = all.len() as f64;
        let (reconstruction, divergence) = (reconstruction / count, divergence / count);
        // With its final weight or capacity: comparable between epochs, unlike the loss during a warm-up.
        let total = reconstruction + divergence_loss / count;
        Ok(Some(Terms::new(total).with("reconstruction", reconstruction).with("divergence", divergence)))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

#[cfg(test)]
mod tests {
    use lesio_settings::mutation::refusals;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::{DenoiserConfig, DenoiserTraining, SyntheticAnomalies, SyntheticTraining, TaughtConfig};

    /// Checks that a document with a field of this name is refused by the name, wherever in it the field stands.
    fn refuses<T: DeserializeOwned>(name: &str, document: Value) {
        let error = serde_json::from_value::<T>(document).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("unknown field `{name}`")), "{name}: {error}");
    }

    #[test]
    fn a_set_without_images_has_no_shape() {
        let of = |channels: usize| Examples::new(Shape::new(channels, 4, 4));
        let mut two = of(2);
        two.push(&[0.0; 32]).unwrap();
        assert!(check_shape(two.shape(), &[&two, &of(1)]).is_ok());
        let mut one = of(1);
        one.push(&[0.0; 16]).unwrap();
        assert!(check_shape(two.shape(), &[&two, &one]).is_err());
    }

    #[test]
    fn misspelled_settings_are_named() {
        refuses::<VaeTraining>("trains", json!({"trains": {}}));
        refuses::<VaeTraining>("epoch", json!({"train": {"epoch": 7}}));
        refuses::<VaeTraining>("shifts", json!({"augmentation": {"shifts": 3}}));
        refuses::<VaeTraining>("warmup", json!({"divergence": {"beta": {"beta": 1.0, "warmup": 0.2}}}));
        refuses::<VaeTraining>(
            "cells",
            json!({"corruption": {"coarse-noise": {"deviation": 0.2, "cells": 8}}}),
        );
        refuses::<DenoiserTraining>("noise", json!({"noise": {}}));
        refuses::<SyntheticTraining>("corruption", json!({"corruption": "none"}));
        let network = json!({"channels": 1, "height": 32, "width": 16});
        let found: DenoiserConfig = serde_json::from_value(network.clone()).unwrap();
        assert_eq!(found, DenoiserConfig::new(1, 32, 16));
        let mut misspelled = network;
        misspelled["width_s"] = json!([4]);
        refuses::<DenoiserConfig>("width_s", misspelled);
        let mut anomalies = json!(SyntheticAnomalies::medical());
        anomalies["gradal"] = json!(0.5);
        refuses::<SyntheticAnomalies>("gradal", anomalies);
        let taught =
            TaughtConfig::new(DenoiserConfig::new(1, 32, 16), SyntheticAnomalies::natural().own("rust", 0.5));
        for place in [
            "",
            "/network",
            "/anomalies/contents/0",
            "/anomalies/contents/2/content/foreign",
            "/anomalies/own/0",
        ] {
            let mut document = json!(taught);
            document.pointer_mut(place).unwrap()["mirror"] = json!("both");
            refuses::<TaughtConfig>("mirror", document);
        }
    }

    #[test]
    fn a_divergence_needs_its_name_alone() {
        let read = |document: Value| serde_json::from_value::<Divergence>(document).unwrap();
        assert_eq!(read(json!({"beta": {}})), Divergence::default());
        assert_eq!(read(json!({"beta": {"beta": 4.0}})), Divergence::Beta { beta: 4.0, warm_up: 0.1 });
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        fn capacity(gamma: f64, nats: f64, share: f64) -> Divergence {
            Divergence::Capacity { gamma, nats, share }
        }
        let values = [f64::NAN, f64::INFINITY, -1.0, 1e18];
        let check = |divergence: &Divergence| VaeTraining::default().divergence(*divergence).validate();
        let refused = refusals(Divergence::default(), check, values);
        refused("divergence.beta.beta", |own, beta| *own = Divergence::Beta { beta, warm_up: 0.1 });
        refused("divergence.beta.warm_up", |own, warm_up| *own = Divergence::Beta { beta: 1.0, warm_up });
        refused("divergence.capacity.gamma", |own, gamma| *own = capacity(gamma, 1.0, 0.5));
        refused("divergence.capacity.nats", |own, nats| *own = capacity(1.0, nats, 0.5));
        refused("divergence.capacity.share", |own, share| *own = capacity(1.0, 1.0, share));
        refused("divergence.free-bits.beta", |own, beta| *own = Divergence::FreeBits { beta, nats: 1.0 });
        refused("divergence.free-bits.nats", |own, nats| *own = Divergence::FreeBits { beta: 1.0, nats });
        let (valid, check) = (VaeTraining::default, VaeTraining::validate);
        let refused = refusals(valid(), check, values);
        refused("corruption.squares.side", |own, side| {
            own.corruption = Corruption::Squares { count: 1, side };
        });
        refused("corruption.coarse-noise.deviation", |own, deviation| {
            own.corruption = Corruption::CoarseNoise { deviation, cell: 2 };
        });
        refused("augmentation.brightness", |own, value| own.augmentation.brightness = value as f32);
        refused("augmentation.shading", |own, value| own.augmentation.shading = value as f32);
        let refused = refusals(valid(), check, [0, 1 << 40, usize::MAX]);
        refused("corruption.squares.count", |own, count| {
            own.corruption = Corruption::Squares { count, side: 0.5 };
        });
        refused("corruption.coarse-noise.cell", |own, cell| {
            own.corruption = Corruption::CoarseNoise { deviation: 0.1, cell };
        });
        let refused = refusals(valid(), check, [usize::MAX]);
        refused("augmentation.shift", |own, value| own.augmentation.shift = value);
        refusals(valid(), check, [0])("train.batch_size", |own, value| own.train.batch_size = value);
    }
}
