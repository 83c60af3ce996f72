//! A network trained to remove synthetic anomalies.

use lesio_nn::{Device, EngineError, ImageBatch, Initialization, ParameterSet, Shape};

use crate::config::ConfigError;
use crate::denoiser::Denoiser;
use crate::error::BuildError;
use crate::model::{ModelError, Reconstructor};
use crate::taught::TaughtConfig;

/// A trained restorer: reconstructs an image without its anomalies.
///
/// It removes anomalies like those of its training, [`TaughtConfig::anomalies`]. A [`Denoiser`] is the same network,
/// trained to remove noise.
#[derive(Debug)]
pub struct Restorer {
    config: TaughtConfig,
    network: Denoiser,
}

impl Restorer {
    /// Makes a restorer of trained parameters.
    ///
    /// # Errors
    /// For an invalid configuration, for parameters that do not fit it, and if the device fails.
    pub fn from_parameters(
        config: TaughtConfig,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Self, BuildError> {
        config.validate()?;
        let network = Denoiser::from_parameters(config.network.clone(), parameters, device)?;
        Ok(Self { config, network })
    }

    /// Parameters of an untrained restorer.
    ///
    /// # Errors
    /// For an invalid configuration.
    pub fn initial_parameters(config: &TaughtConfig, seed: u64) -> Result<ParameterSet, ConfigError> {
        Ok(ParameterSet::initialize(&config.restorer()?, Initialization::HeNormal, seed))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &TaughtConfig {
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

impl Reconstructor for Restorer {
    fn image_shape(&self) -> Shape {
        self.network.image_shape()
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        self.config.averaged(images, |images| self.network.reconstruct(images))
    }
}
