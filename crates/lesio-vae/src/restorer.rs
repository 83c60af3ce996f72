//! A network that was taught to paint synthetic anomalies away.

use lesio_nn::{Device, EngineError, ImageBatch, Network, ParameterSet, Shape};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::denoiser::{Denoiser, DenoiserConfig};
use crate::error::BuildError;
use crate::model::{ModelError, Reconstructor};
use crate::synthetic::SyntheticAnomalies;

/// Configuration of a [`Restorer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestorerConfig {
    /// The network.
    pub network: DenoiserConfig,
    /// What it is taught: it finds what resembles this.
    pub anomalies: SyntheticAnomalies,
}

impl RestorerConfig {
    /// A restorer by this network of these anomalies.
    #[must_use]
    pub fn new(network: DenoiserConfig, anomalies: SyntheticAnomalies) -> Self {
        Self { network, anomalies }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`] as [`DenoiserConfig::validate`] and [`SyntheticAnomalies::validate`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.network.validate()?;
        Ok(self.anomalies.validate().map_err(|error| error.within("anomalies"))?)
    }

    /// The network: image to image.
    ///
    /// # Errors
    /// A configuration that is refused.
    pub fn network(&self) -> Result<Network, ConfigError> {
        self.validate()?;
        self.network.network()
    }
}

/// A trained restorer: gives an image back without what it takes for an anomaly.
///
/// It knows anomalies by what it was taught, [`RestorerConfig::anomalies`]. A [`Denoiser`] is the same network, taught to
/// remove noise.
#[derive(Debug)]
pub struct Restorer {
    config: RestorerConfig,
    network: Denoiser,
}

impl Restorer {
    /// A restorer of trained parameters.
    ///
    /// # Errors
    /// A configuration that is refused, parameters that do not fit it, or a failure of the device.
    pub fn from_parameters(
        config: RestorerConfig,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Self, BuildError> {
        config.validate()?;
        let network = Denoiser::from_parameters(config.network.clone(), parameters, device)?;
        Ok(Self { config, network })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &RestorerConfig {
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
        self.network.reconstruct(images)
    }
}
