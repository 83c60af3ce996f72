//! The convolutional variational autoencoder.

use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};
use lesio_nn::{
    CandleNetwork, Initialization, LoadError, Network, ParameterError, ParameterSet, SaveError, model_file,
};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, VaeConfig};
use crate::fast::FastVae;
use crate::model::{
    Gradients, LOG_VARIANCE_RANGE, Posterior, Reconstruction, Reconstructor, VariationalModel, Wanted,
    gradients_by_autograd,
};
use crate::network;

const KIND: &str = "a variational autoencoder";
const VERSION: u32 = 1;

/// A convolutional (beta-)VAE: strided 4x4 convolutions down, transposed ones up.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use lesio_vae::{Latent, Reconstructor, Vae, VaeConfig};
///
/// let config = VaeConfig::new(1, 16, 16).widths([8, 16]).latent(Latent::Dense { dimensions: 4 });
/// let vae = Vae::new(config, 1.0, 7, &Device::Cpu)?;
/// let images = Tensor::zeros((3, 1, 16, 16), candle_core::DType::F32, &Device::Cpu)?;
/// assert_eq!(vae.reconstruct(&images)?.dims(), [3, 1, 16, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Vae {
    config: VaeConfig,
    beta: f64,
    parameters: ParameterSet,
    encoder: CandleNetwork,
    decoder: CandleNetwork,
    /// Both networks on the CPU's own engine, where the device is the CPU.
    fast: Option<FastVae>,
}

/// Why a VAE cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The parameters do not fit the configuration.
    #[error("the parameters do not fit the configuration")]
    Parameters(#[from] ParameterError),
    /// The CPU's engine cannot hold the networks.
    #[error("the networks cannot be planned")]
    Plan(#[from] lesio_nn::PlanError),
    /// The device failed.
    #[error("the networks cannot be put on the device")]
    Device(#[from] candle_core::Error),
}

#[derive(Serialize, Deserialize)]
struct Document {
    config: VaeConfig,
    beta: f64,
}

impl Vae {
    /// An untrained VAE; `beta` is the weight of the divergence in its bound.
    ///
    /// # Errors
    /// A configuration that is refused, or a failure of the device.
    pub fn new(
        config: VaeConfig,
        beta: f64,
        seed: u64,
        device: &Device,
    ) -> std::result::Result<Self, BuildError> {
        let parameters = initial_parameters(&config, seed)?;
        Self::from_parameters(config, beta, parameters, device)
    }

    /// A VAE of trained parameters.
    ///
    /// # Errors
    /// A configuration that is refused, parameters that do not fit it, or a failure of the device.
    pub fn from_parameters(
        config: VaeConfig,
        beta: f64,
        parameters: ParameterSet,
        device: &Device,
    ) -> std::result::Result<Self, BuildError> {
        if !(beta.is_finite() && beta >= 0.0) {
            return Err(ConfigError::Range(format!("beta is {beta}, expected at least 0")).into());
        }
        let (encoder, decoder) = (network::encoder(&config)?, network::decoder(&config)?);
        parameters.check(&[&encoder, &decoder])?;
        let fast = match device {
            Device::Cpu => Some(FastVae::new(&config, &encoder, &decoder, &parameters)?),
            _ => None,
        };
        let encoder = CandleNetwork::new(&encoder, &parameters, DType::F32, device)?;
        let decoder = CandleNetwork::new(&decoder, &parameters, DType::F32, device)?;
        Ok(Self { config, beta, parameters, encoder, decoder, fast })
    }

    /// Reads a VAE from a file of its own; see `lesio-anomaly`'s `Localizer` for one with its preprocessing.
    ///
    /// # Errors
    /// A file that cannot be read, is no VAE's, or does not fit its own configuration.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> std::result::Result<Self, LoadError> {
        let path = path.as_ref();
        let (parameters, document): (_, Document) =
            model_file::load(path, KIND, VERSION, model_file::DEFAULT_LIMIT)?;
        Self::from_parameters(document.config, document.beta, parameters, device).map_err(|error| match error
        {
            BuildError::Parameters(source) => LoadError::Parameters { path: path.to_owned(), source },
            other => LoadError::Refused { path: path.to_owned(), reason: other.to_string() },
        })
    }

    /// Writes the VAE to one safetensors file.
    ///
    /// # Errors
    /// A failure of the file system; what stood under the name still does.
    pub fn save(&self, path: impl AsRef<Path>) -> std::result::Result<(), SaveError> {
        let document = Document { config: self.config.clone(), beta: self.beta };
        model_file::save(path, KIND, VERSION, &self.parameters, &document)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The parameters of encoder and decoder.
    #[must_use]
    pub fn parameters(&self) -> &ParameterSet {
        &self.parameters
    }
}

/// Encoder and decoder of a configuration.
///
/// # Errors
/// A configuration that is refused.
pub fn networks(config: &VaeConfig) -> std::result::Result<(Network, Network), ConfigError> {
    Ok((network::encoder(config)?, network::decoder(config)?))
}

/// Parameters of an untrained VAE.
///
/// # Errors
/// A configuration that is refused.
pub fn initial_parameters(config: &VaeConfig, seed: u64) -> std::result::Result<ParameterSet, ConfigError> {
    let (encoder, decoder) = networks(config)?;
    let mut parameters = ParameterSet::initialize(&encoder, Initialization::UniformFanIn, seed);
    parameters.extend(ParameterSet::initialize(&decoder, Initialization::UniformFanIn, seed));
    Ok(parameters)
}

impl Reconstructor for Vae {
    fn reconstruct(&self, images: &Tensor) -> Result<Tensor> {
        if let Some(fast) = self.fast.as_ref().filter(|_| images.dtype() == DType::F32) {
            return Ok(fast.gradients(images, Wanted::NOTHING)?.mean);
        }
        Ok(self.decode(&self.encode(images)?.mean)?.mean.detach())
    }
}

impl VariationalModel for Vae {
    fn encode(&self, images: &Tensor) -> Result<Posterior> {
        let outputs = self.encoder.forward(std::slice::from_ref(images))?;
        let [mean, log_variance] = <[Tensor; 2]>::try_from(outputs).map_err(|outputs| {
            candle_core::Error::msg(format!("the encoder gave {} outputs", outputs.len()))
        })?;
        let [low, high] = LOG_VARIANCE_RANGE.map(f64::from);
        Ok(Posterior { mean, log_variance: log_variance.clamp(low, high)? })
    }

    fn decode(&self, latent: &Tensor) -> Result<Reconstruction> {
        let mut outputs = self.decoder.forward(std::slice::from_ref(latent))?;
        let Some(outputs) = outputs.pop() else { candle_core::bail!("the decoder gave no output") };
        Ok(Reconstruction { mean: self.config.likelihood.mean_tensor(&outputs)?, outputs })
    }

    fn log_likelihood(&self, images: &Tensor, reconstruction: &Reconstruction) -> Result<Tensor> {
        self.config.likelihood.loss_tensor(images, &reconstruction.outputs)?.neg()
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn gradients(&self, images: &Tensor, wanted: Wanted) -> Result<Gradients> {
        match &self.fast {
            Some(fast) if images.dtype() == DType::F32 => fast.gradients(images, wanted),
            _ => gradients_by_autograd(self, images, wanted),
        }
    }
}
