//! Networks that are taught with synthetic anomalies: what they share.

use lesio_nn::{Network, Shape};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::denoiser::DenoiserConfig;
use crate::synthetic::SyntheticAnomalies;

/// Configuration of a [`Restorer`](crate::Restorer) or of an [`AnomalySegmenter`](crate::AnomalySegmenter).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaughtConfig {
    /// The U-Net.
    pub network: DenoiserConfig,
    /// What it is taught: it finds what resembles this.
    pub anomalies: SyntheticAnomalies,
}

impl TaughtConfig {
    /// This network, taught these anomalies.
    #[must_use]
    pub fn new(network: DenoiserConfig, anomalies: SyntheticAnomalies) -> Self {
        Self { network, anomalies }
    }

    /// Shape of an image.
    #[must_use]
    pub fn image_shape(&self) -> Shape {
        self.network.image_shape()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`] as [`DenoiserConfig::validate`] and [`SyntheticAnomalies::validate`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.network.validate()?;
        Ok(self.anomalies.validate().map_err(|error| error.within("anomalies"))?)
    }

    /// The network of a restorer: image to image.
    ///
    /// # Errors
    /// A configuration that is refused.
    pub fn restorer(&self) -> Result<Network, ConfigError> {
        self.validate()?;
        self.network.network()
    }

    /// The network of a segmenter: image to the logit of being abnormal, followed by the restored image.
    ///
    /// # Errors
    /// A configuration that is refused.
    pub fn segmenter(&self) -> Result<Network, ConfigError> {
        self.validate()?;
        self.network.u_net(1 + self.network.channels)
    }
}
