//! The convolutional variational autoencoder.

use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};
use lesio_nn::{
    CandleNetwork, Initialization, LoadError, Network, ParameterError, ParameterSet, SaveError, model_file,
};
use lesio_settings::in_range;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, VaeConfig};
use crate::fast::FastVae;
use crate::model::{
    Gradients, LOG_VARIANCE_RANGE, Posterior, Reconstruction, Reconstructor, VariationalModel, Wanted,
    gradients_by_autograd,
};
use crate::network;
use crate::training::LARGEST_WEIGHT;

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
    /// An untrained VAE; `beta` is the weight of the divergence in its bound, 0 to 1e9.
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
        in_range("beta", beta, 0.0..=LARGEST_WEIGHT).map_err(ConfigError::from)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Latent, Normalization};
    use crate::likelihood::Likelihood;

    const LIKELIHOODS: [Likelihood; 4] = [
        Likelihood::Gaussian { scale: 0.3 },
        Likelihood::GaussianLearned,
        Likelihood::Laplace { scale: 0.2 },
        Likelihood::Bernoulli,
    ];

    /// The same model with candle's networks in double precision, so that differences mean something.
    fn in_f64(vae: &Vae) -> Vae {
        let (encoder, decoder) = networks(&vae.config).unwrap();
        let net = |net| CandleNetwork::new(&net, &vae.parameters, DType::F64, &Device::Cpu).unwrap();
        Vae {
            config: vae.config.clone(),
            beta: vae.beta,
            parameters: vae.parameters.clone(),
            encoder: net(encoder),
            decoder: net(decoder),
            fast: None,
        }
    }

    fn images(dtype: DType) -> Tensor {
        let values: Vec<f64> =
            (0..2 * 2 * 8 * 12).map(|k| f64::from((k * 37 + k / 7) % 101) / 101.0).collect();
        Tensor::from_vec(values, (2, 2, 8, 12), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    }

    fn models() -> Vec<Vae> {
        let latents = [Latent::Dense { dimensions: 4 }, Latent::Spatial { channels: 3 }];
        let normalizations = [Normalization::None, Normalization::Group, Normalization::Batch];
        let mut all = Vec::new();
        for (number, likelihood) in LIKELIHOODS.into_iter().enumerate() {
            for latent in latents {
                let config = VaeConfig::new(2, 8, 12)
                    .widths([3, 5])
                    .latent(latent)
                    .likelihood(likelihood)
                    .normalization(normalizations[number % 3]);
                all.push(Vae::new(config, 2.0, 11, &Device::Cpu).unwrap());
            }
        }
        all
    }

    /// Both gradients, pixel by pixel, are derivatives of the terms, which go through encoder and decoder.
    #[test]
    fn gradients_are_central_differences() {
        for model in models() {
            let exact = in_f64(&model);
            let x = images(DType::F64);
            let found = exact.gradients(&x, Wanted::BOTH).unwrap();
            let (by_divergence, by_reconstruction) =
                (flat(&found.by_divergence.unwrap()), flat(&found.by_reconstruction.unwrap()));
            let start = flat(&x);
            let terms = |values: Vec<f64>| {
                let x = Tensor::from_vec(values, x.shape(), &Device::Cpu).unwrap();
                let found = exact.gradients(&x, Wanted::NOTHING).unwrap();
                [flat(&found.divergence).iter().sum::<f64>(), flat(&found.loss).iter().sum::<f64>()]
            };
            let scale = |values: &[f64]| values.iter().fold(0.0f64, |a, b| a.max(b.abs()));
            for k in (0..start.len()).step_by(7) {
                let moved = |delta: f64| {
                    let mut values = start.clone();
                    values[k] += delta;
                    terms(values)
                };
                let (up, down) = (moved(1e-6), moved(-1e-6));
                for (term, gradient) in [&by_divergence, &by_reconstruction].into_iter().enumerate() {
                    let expected = (up[term] - down[term]) / 2e-6;
                    let error = (gradient[k] - expected).abs();
                    assert!(
                        error < 1e-5 * scale(gradient) + 1e-7,
                        "{:?}, term {term}, pixel {k}: {}, expected {expected}",
                        model.config.likelihood,
                        gradient[k]
                    );
                }
            }
        }
    }

    /// The CPU's own engine gives what candle gives, in everything that predictors read.
    #[test]
    fn the_fast_engine_agrees() {
        for model in models() {
            let fast = model.gradients(&images(DType::F32), Wanted::BOTH).unwrap();
            let exact = in_f64(&model).gradients(&images(DType::F64), Wanted::BOTH).unwrap();
            let pairs = [
                (fast.mean, exact.mean),
                (fast.loss, exact.loss),
                (fast.divergence, exact.divergence),
                (fast.by_divergence.unwrap(), exact.by_divergence.unwrap()),
                (fast.by_reconstruction.unwrap(), exact.by_reconstruction.unwrap()),
            ];
            for (part, (fast, exact)) in pairs.into_iter().enumerate() {
                assert_eq!(fast.dims(), exact.dims());
                let (fast, exact) = (flat(&fast), flat(&exact));
                let scale = exact.iter().fold(0.0f64, |a, b| a.max(b.abs()));
                for (a, b) in fast.iter().zip(&exact) {
                    assert!(
                        (a - b).abs() < 2e-5 * scale,
                        "{:?} part {part}: {a} {b}",
                        model.config.likelihood
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_in_nothing_out() {
        let model = &models()[0];
        let none = Tensor::zeros((0, 2, 8, 12), DType::F32, &Device::Cpu).unwrap();
        for model in [model, &in_f64(model)] {
            let found = model.gradients(&none, Wanted::BOTH).unwrap();
            assert_eq!(found.by_reconstruction.unwrap().dims(), [0, 2, 8, 12]);
            assert_eq!(found.divergence.dims(), [0]);
        }
        assert_eq!(model.reconstruct(&none).unwrap().dims(), [0, 2, 8, 12]);
    }

    #[test]
    fn images_of_another_shape_are_refused() {
        let model = &models()[0];
        for dims in [(1, 2, 12, 8), (1, 1, 8, 24), (1, 2, 8, 8)] {
            let other = Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
            let message = model.gradients(&other, Wanted::NOTHING).unwrap_err().to_string();
            assert!(message.contains("expected"), "{message}");
        }
    }

    #[test]
    fn a_file_gives_the_model_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vae.safetensors");
        for model in models() {
            model.save(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let back = Vae::load(&path, &Device::Cpu).unwrap();
            assert_eq!((back.config(), back.beta()), (model.config(), 2.0));
            let x = images(DType::F32);
            assert_eq!(flat(&back.reconstruct(&x).unwrap()), flat(&model.reconstruct(&x).unwrap()));
            back.save(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        let refused =
            Vae::from_parameters(models()[0].config.clone(), f64::NAN, ParameterSet::new(), &Device::Cpu);
        assert!(matches!(refused, Err(BuildError::Config(_))));
        let missing =
            Vae::from_parameters(models()[0].config.clone(), 1.0, ParameterSet::new(), &Device::Cpu);
        assert!(matches!(missing, Err(BuildError::Parameters(ParameterError::Missing { .. }))));
        assert!(matches!(crate::Denoiser::load(&path, &Device::Cpu), Err(LoadError::Kind { .. })));
    }
}
