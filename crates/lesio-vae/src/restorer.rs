//! A network that was taught to paint synthetic anomalies away.

use lesio_nn::{Device, EngineError, ImageBatch, Initialization, ParameterSet, Shape};

use crate::config::ConfigError;
use crate::denoiser::Denoiser;
use crate::error::BuildError;
use crate::model::{ModelError, Reconstructor};
use crate::taught::TaughtConfig;

/// A trained restorer: gives an image back without what it takes for an anomaly.
///
/// It knows anomalies by what it was taught, [`TaughtConfig::anomalies`]. A [`Denoiser`] is the same network, taught to
/// remove noise.
#[derive(Debug)]
pub struct Restorer {
    config: TaughtConfig,
    network: Denoiser,
}

impl Restorer {
    /// A restorer of trained parameters.
    ///
    /// # Errors
    /// A configuration that is refused, parameters that do not fit it, or a failure of the device.
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
    /// A configuration that is refused.
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
    /// A failure of the device.
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
