//! The convolutional variational autoencoder.

use std::path::Path;

use lesio_nn::{
    Device, EngineError, ImageBatch, Initialization, LoadError, Network, ParameterSet, SaveError, Shape,
    model_file,
};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, VaeConfig};
use crate::error::BuildError;
use crate::model::{
    ImageGradients, ModelError, Posterior, Reconstructor, RequestedGradients, VariationalModel,
};
use crate::network;
use crate::network_vae::NetworkVae;

const KIND: &str = "a variational autoencoder";
const VERSION: u32 = 1;

/// A convolutional (beta-)VAE: strided 4x4 convolutions down, transposed ones up.
///
/// ```
/// use lesio_nn::{Device, ImageBatch};
/// use lesio_vae::{Latent, Reconstructor, Vae, VaeConfig};
///
/// let config = VaeConfig::new(1, 16, 16).widths([8, 16]).latent(Latent::Dense { dimensions: 4 });
/// let vae = Vae::new(config, 1.0, 7, &Device::Cpu)?;
/// let images = [0.0; 3 * 16 * 16];
/// assert_eq!(vae.reconstruct(ImageBatch::new(&images, vae.image_shape())?)?.len(), images.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Vae {
    config: VaeConfig,
    networks: NetworkVae,
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
    /// For an invalid configuration, and if the device fails.
    pub fn new(config: VaeConfig, beta: f64, seed: u64, device: &Device) -> Result<Self, BuildError> {
        let parameters = initial_parameters(&config, seed)?;
        Self::from_parameters(config, beta, &parameters, device)
    }

    /// Makes a VAE of trained parameters.
    ///
    /// # Errors
    /// For an invalid configuration, for parameters that do not fit it, and if the device fails.
    pub fn from_parameters(
        config: VaeConfig,
        beta: f64,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Self, BuildError> {
        let (encoder, decoder) = (network::encoder(&config)?, network::decoder(&config)?);
        let networks = NetworkVae::new(&encoder, &decoder, config.likelihood, beta, parameters, device)?;
        Ok(Self { config, networks })
    }

    /// Reads a VAE from a file that contains nothing else; `lesio-anomaly`'s `Localizer` also has the preprocessing.
    ///
    /// # Errors
    /// For a file that cannot be read, is not a VAE, or contradicts its configuration.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let (parameters, document): (_, Document) =
            model_file::load(path, KIND, VERSION, model_file::DEFAULT_LIMIT)?;
        Self::from_parameters(document.config, document.beta, &parameters, device).map_err(
            |error| match error {
                BuildError::Parameters(source) => LoadError::Parameters { path: path.to_owned(), source },
                other => LoadError::Refused { path: path.to_owned(), reason: other.to_string() },
            },
        )
    }

    /// Writes the VAE to one safetensors file.
    ///
    /// # Errors
    /// If the file system or the device fails; an existing file then remains.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        let document = Document { config: self.config.clone(), beta: self.beta() };
        model_file::save(path, KIND, VERSION, &self.parameters()?, &document)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// A copy of the parameters of encoder and decoder.
    ///
    /// # Errors
    /// If the device fails.
    pub fn parameters(&self) -> Result<ParameterSet, EngineError> {
        self.networks.parameters()
    }
}

/// Encoder and decoder of a configuration.
///
/// # Errors
/// For an invalid configuration.
pub fn networks(config: &VaeConfig) -> Result<(Network, Network), ConfigError> {
    Ok((network::encoder(config)?, network::decoder(config)?))
}

/// Parameters of an untrained VAE.
///
/// # Errors
/// For an invalid configuration.
pub fn initial_parameters(config: &VaeConfig, seed: u64) -> Result<ParameterSet, ConfigError> {
    let (encoder, decoder) = networks(config)?;
    let mut parameters = ParameterSet::initialize(&encoder, Initialization::UniformFanIn, seed);
    parameters.extend(ParameterSet::initialize(&decoder, Initialization::UniformFanIn, seed));
    Ok(parameters)
}

impl Reconstructor for Vae {
    fn image_shape(&self) -> Shape {
        self.networks.image_shape()
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        self.networks.reconstruct(images)
    }
}

impl VariationalModel for Vae {
    fn encode(&self, images: ImageBatch<'_>) -> Result<Posterior, ModelError> {
        self.networks.encode(images)
    }

    fn decode(&self, latent: &[f32]) -> Result<Vec<f32>, ModelError> {
        self.networks.decode(latent)
    }

    fn beta(&self) -> f64 {
        self.networks.beta()
    }

    fn gradients(
        &self,
        images: ImageBatch<'_>,
        requested: RequestedGradients,
    ) -> Result<ImageGradients, ModelError> {
        self.networks.gradients(images, requested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Latent;
    use lesio_nn::ParameterError;

    fn model() -> Vae {
        let config = VaeConfig::new(2, 8, 12).widths([3, 5]).latent(Latent::Spatial { channels: 3 });
        Vae::new(config, 2.0, 11, &Device::Cpu).unwrap()
    }

    fn images() -> Vec<f32> {
        (0..2 * 2 * 8 * 12).map(|k| ((k * 37 + k / 7) % 101) as f32 / 101.0).collect()
    }

    #[test]
    fn nothing_in_nothing_out() {
        let model = model();
        let none = ImageBatch::new(&[], model.image_shape()).unwrap();
        let found = model.gradients(none, RequestedGradients::BOTH).unwrap();
        assert_eq!(found, ImageGradients::of_nothing(RequestedGradients::BOTH));
        assert!(model.reconstruct(none).unwrap().is_empty());
        assert!(model.encode(none).unwrap().mean.is_empty());
        assert!(model.decode(&[]).unwrap().is_empty());
    }

    #[test]
    fn images_of_another_shape_are_refused() {
        let model = model();
        for shape in [Shape::new(2, 12, 8), Shape::new(1, 8, 24), Shape::new(2, 8, 8)] {
            let values = vec![0.0; shape.len()];
            let error = model
                .gradients(ImageBatch::new(&values, shape).unwrap(), RequestedGradients::NOTHING)
                .unwrap_err();
            assert!(matches!(error, ModelError::Shape { found, .. } if found == shape), "{error}");
        }
        assert!(matches!(model.decode(&[0.0; 5]), Err(ModelError::Batch(_))));
    }

    #[test]
    fn a_file_gives_the_model_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vae.safetensors");
        let model = model();
        model.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let back = Vae::load(&path, &Device::Cpu).unwrap();
        assert_eq!((back.config(), back.beta()), (model.config(), 2.0));
        let (values, shape) = (images(), model.image_shape());
        let batch = ImageBatch::new(&values, shape).unwrap();
        assert_eq!(back.reconstruct(batch).unwrap(), model.reconstruct(batch).unwrap());
        back.save(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        let of_nothing =
            |beta| Vae::from_parameters(model.config().clone(), beta, &ParameterSet::new(), &Device::Cpu);
        assert!(matches!(of_nothing(f64::NAN), Err(BuildError::Config(_))));
        assert!(matches!(of_nothing(1.0), Err(BuildError::Parameters(ParameterError::Missing { .. }))));
        assert!(matches!(crate::Denoiser::load(&path, &Device::Cpu), Err(LoadError::Kind { .. })));
    }
}
