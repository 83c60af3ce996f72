//! A denoising network with skip connections: a model that only reconstructs.
//!
//! Kascenas et al. 2022 ("Denoising autoencoders for unsupervised anomaly detection in brain MRI")
//! found that a U-Net trained to remove coarse noise from normal images also removes lesions, and then outperforms
//! variational models by far.

use std::path::Path;

use lesio_nn::{
    Activation, Batch, Bias, Convolution, Device, Differentiate, Engine, EngineError, Engines, ImageBatch,
    Inference, Initialization, Layer, LoadError, Network, NetworkBuilder, NodeId, Objective, ParameterSet,
    SaveError, SettingError, Shape, Terms, TrainConfig, TrainingEngine, model_file,
};
use lesio_settings::{field_defaults, setters};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::augmentation::Augmentation;
use crate::config::{ConfigError, Normalization, check_activation, check_sizes};
use crate::corruption::Corruption;
use crate::error::BuildError;
use crate::examples::Examples;
use crate::model::{ModelError, Reconstructor};
use crate::network::normalization;
use crate::training::{check_samples, check_shape, draw_batch, fingerprint};

/// Configuration of a [`Denoiser`]: a U-Net of pairs of 3x3 convolutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct DenoiserConfig {
    /// Channels of an image, 1 to 1024.
    pub channels: usize,
    /// Rows of an image, up to 4096; divisible by 2 for each width after the first.
    pub height: usize,
    /// Columns of an image, up to 4096; divisible by 2 for each width after the first.
    pub width: usize,
    /// Channels at each resolution, finest first, 1 to 65536 each, at most 13 of them. Default 16, 32, 64, 96.
    #[serde(default = "DenoiserDefaults::widths")]
    pub widths: Vec<usize>,
    /// Normalization after each convolution. Default by groups.
    #[serde(default = "DenoiserDefaults::normalization")]
    pub normalization: Normalization,
    /// The function after each convolution. Default SiLU.
    #[serde(default = "DenoiserDefaults::activation")]
    pub activation: Activation,
}

field_defaults!(DenoiserDefaults: DenoiserConfig::new(1, 16, 16) => {
    widths: Vec<usize>,
    normalization: Normalization,
    activation: Activation,
});

/// The training of a [`Denoiser`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct DenoiserTraining {
    /// Epochs, batches, optimizer, patience and seed.
    pub train: TrainConfig,
    /// Augmentation of the images.
    pub augmentation: Augmentation,
    /// The noise to remove. Default coarse noise of deviation .2 on cells of 8 pixels.
    pub corruption: Corruption,
}

setters!(DenoiserTraining { train: TrainConfig, augmentation: Augmentation, corruption: Corruption });

impl Default for DenoiserTraining {
    fn default() -> Self {
        Self {
            train: TrainConfig::default(),
            augmentation: Augmentation::default(),
            corruption: Corruption::CoarseNoise { deviation: 0.2, cell: 8 },
        }
    }
}

impl DenoiserTraining {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.train.validate().map_err(|error| error.within("train"))?;
        self.augmentation.validate().map_err(|error| error.within("augmentation"))?;
        self.corruption.validate().map_err(|error| error.within("corruption"))
    }
}

impl DenoiserConfig {
    /// A denoiser of images of this size, with default settings.
    #[must_use]
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        Self {
            channels,
            height,
            width,
            widths: vec![16, 32, 64, 96],
            normalization: Normalization::Group,
            activation: Activation::Silu,
        }
    }

    /// Sets the channels at each resolution.
    #[must_use]
    pub fn widths(mut self, widths: impl Into<Vec<usize>>) -> Self {
        self.widths = widths.into();
        self
    }

    /// Shape of an image.
    #[must_use]
    pub fn image_shape(&self) -> Shape {
        Shape::new(self.channels, self.height, self.width)
    }

    /// Checks every setting. The size of the network is checked when it is declared, by [`DenoiserConfig::network`].
    ///
    /// # Errors
    /// [`ConfigError::Setting`] for a number out of the range stated with its field, [`ConfigError::Size`] for an image
    /// that cannot be halved that many times.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_sizes(self.image_shape(), &self.widths, self.widths.len().saturating_sub(1))?;
        Ok(check_activation(self.activation)?)
    }

    /// The network: image to image.
    ///
    /// # Errors
    /// For an invalid configuration.
    pub fn network(&self) -> Result<Network, ConfigError> {
        self.u_net(self.channels)
    }

    /// The same network with another number of output channels.
    pub(crate) fn u_net(&self, outputs: usize) -> Result<Network, ConfigError> {
        self.validate()?;
        let mut net = NetworkBuilder::new();
        let image = net.input("image", self.image_shape());
        let mut value = image;
        let mut skips = Vec::new();
        for (level, &width) in self.widths.iter().enumerate() {
            if level > 0 {
                skips.push(value);
                value =
                    net.layer(format!("down.{level}.pool"), Layer::AveragePool { window: [2, 2] }, &[value])?;
            }
            value = self.pair(&mut net, &format!("down.{level}"), width, value)?;
        }
        for (level, &width) in self.widths.iter().enumerate().rev().skip(1) {
            let larger =
                net.layer(format!("up.{level}.larger"), Layer::UpsampleNearest { factor: 2 }, &[value])?;
            let skip = skips.pop().unwrap_or(image);
            let joined = net.layer(format!("up.{level}.joined"), Layer::Concatenate, &[larger, skip])?;
            value = self.pair(&mut net, &format!("up.{level}"), width, joined)?;
        }
        let out = net.layer("out", Layer::Convolution(Convolution::new(outputs, 1)), &[value])?;
        Ok(net.finish(&[out])?)
    }

    fn pair(
        &self,
        net: &mut NetworkBuilder,
        name: &str,
        width: usize,
        mut value: NodeId,
    ) -> Result<NodeId, ConfigError> {
        let bias = if self.normalization == Normalization::None { Bias::Learned } else { Bias::None };
        for part in ["first", "second"] {
            let convolution = Convolution::new(width, 3).padding(1).bias(bias);
            value = net.layer(format!("{name}.{part}"), Layer::Convolution(convolution), &[value])?;
            if let Some(layer) = normalization(self.normalization, width) {
                value = net.layer(format!("{name}.{part}.norm"), layer, &[value])?;
            }
            value =
                net.layer(format!("{name}.{part}.active"), Layer::Activation(self.activation), &[value])?;
        }
        Ok(value)
    }
}

setters!(DenoiserConfig { normalization: Normalization, activation: Activation });

const KIND: &str = "a denoiser";
const VERSION: u32 = 1;

/// A trained denoiser: removes the noise from an image.
#[derive(Debug)]
pub struct Denoiser {
    config: DenoiserConfig,
    network: Inference,
}

impl Denoiser {
    /// Makes a denoiser of trained parameters.
    ///
    /// # Errors
    /// For an invalid configuration, for parameters that do not fit it, and if the device fails.
    pub fn from_parameters(
        config: DenoiserConfig,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Self, BuildError> {
        let network = config.network()?;
        parameters.check(&[&network])?;
        let network = Inference::new(&network, parameters, Differentiate::Nothing, device)?;
        Ok(Self { config, network })
    }

    /// Parameters of an untrained denoiser.
    ///
    /// # Errors
    /// For an invalid configuration.
    pub fn initial_parameters(config: &DenoiserConfig, seed: u64) -> Result<ParameterSet, ConfigError> {
        Ok(ParameterSet::initialize(&config.network()?, Initialization::HeNormal, seed))
    }

    /// Reads a denoiser from a file that contains nothing else.
    ///
    /// # Errors
    /// For a file that cannot be read, is not a denoiser, or contradicts its configuration.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let (parameters, config): (ParameterSet, _) =
            model_file::load(path, KIND, VERSION, model_file::DEFAULT_LIMIT)?;
        Self::from_parameters(config, &parameters, device).map_err(|error| match error {
            BuildError::Parameters(source) => LoadError::Parameters { path: path.to_owned(), source },
            other => LoadError::Refused { path: path.to_owned(), reason: other.to_string() },
        })
    }

    /// Writes the denoiser to one safetensors file.
    ///
    /// # Errors
    /// If the file system fails; an existing file then remains.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        model_file::save(path, KIND, VERSION, &self.parameters()?, &self.config)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &DenoiserConfig {
        &self.config
    }

    /// A copy of the parameters.
    ///
    /// # Errors
    /// If the device fails.
    pub fn parameters(&self) -> Result<ParameterSet, EngineError> {
        self.network.parameters()
    }
}

impl Reconstructor for Denoiser {
    fn image_shape(&self) -> Shape {
        self.config.image_shape()
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        ModelError::check_shape(images, self.image_shape())?;
        if images.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.network.run(&[images.values()], images.len())?.output(0).to_vec())
    }
}

/// The squared error of the denoised image, as the mean over all its values, for a
/// [`Trainer`](lesio_nn::Trainer) with the denoiser as its one engine.
///
/// Noise is added only inside an example's region; the error counts everywhere, so that the network learns to keep the
/// background unchanged. Validation images get noise too, the same in every epoch.
#[derive(Debug)]
pub struct DenoiserObjective {
    training: DenoiserTraining,
    examples: Examples,
    validation: Examples,
    fingerprint: String,
    clean: Vec<f32>,
    seen: Vec<f32>,
    gradient: Vec<f32>,
}

impl DenoiserObjective {
    /// An objective on training and validation images; validation may be empty.
    ///
    /// # Errors
    /// For settings out of range, and for images of another shape than the model's.
    pub fn new(
        config: &DenoiserConfig,
        training: DenoiserTraining,
        examples: Examples,
        validation: Examples,
    ) -> Result<Self, ConfigError> {
        config.network()?;
        training.validate()?;
        check_shape(config.image_shape(), &[&examples, &validation])?;
        let fingerprint = fingerprint(&(config, &training), &examples, &validation);
        let (clean, seen, gradient) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { training, examples, validation, fingerprint, clean, seen, gradient })
    }

    /// Denoises a batch of `set` for an epoch; returns the mean squared error and leaves its gradient.
    fn pass(
        &mut self,
        engine: &mut dyn TrainingEngine,
        batch: &Batch<'_>,
        validation: bool,
    ) -> Result<f64, EngineError> {
        let set = if validation { &self.validation } else { &self.examples };
        check_samples(batch.samples, set)?;
        let still = Augmentation::default();
        let augmentation = if validation { &still } else { &self.training.augmentation };
        draw_batch(batch, set, augmentation, &self.training.corruption, &mut self.clean, &mut self.seen);
        let samples = batch.samples.len();
        engine.forward(&[&self.seen], samples)?;
        let output = engine.output(0);
        self.gradient.resize(output.len(), 0.0);
        let size = set.shape().len();
        let scale = 2.0 / output.len().max(1) as f32;
        let sums: Vec<f64> = self
            .gradient
            .par_chunks_exact_mut(size)
            .zip(output.par_chunks_exact(size))
            .zip(self.clean.par_chunks_exact(size))
            .map(|((gradient, output), clean)| {
                let mut sum = 0.0;
                for ((gradient, &y), &x) in gradient.iter_mut().zip(output).zip(clean) {
                    let difference = y - x;
                    sum += f64::from(difference) * f64::from(difference);
                    *gradient = scale * difference;
                }
                sum
            })
            .collect();
        let error = sums.iter().sum::<f64>() / output.len().max(1) as f64;
        if !validation {
            engine.backward(&[&self.gradient])?;
        }
        Ok(error)
    }
}

impl Objective<1> for DenoiserObjective {
    fn samples(&self) -> usize {
        self.examples.len()
    }

    fn learn(&mut self, [engine]: &mut Engines<1>, batch: &Batch<'_>) -> Result<Terms, EngineError> {
        let error = self.pass(engine.as_mut(), batch, false)?;
        Ok(Terms::new(error).with("squared error", error))
    }

    fn validate(&mut self, [engine]: &mut Engines<1>) -> Result<Option<Terms>, EngineError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let all: Vec<usize> = (0..self.validation.len()).collect();
        let mut sum = 0.0;
        for samples in all.chunks(self.training.train.batch_size.max(1)) {
            // The same noise in every epoch, so that epochs can be compared.
            let batch = Batch::new(samples, self.training.train.seed);
            sum += self.pass(engine.as_mut(), &batch, true)? * samples.len() as f64;
        }
        let error = sum / all.len() as f64;
        Ok(Some(Terms::new(error).with("squared error", error)))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}
