//! Networks that are taught with synthetic anomalies: what they share.

use lesio_nn::{ImageBatch, Network, Shape};
use lesio_settings::setters;
use serde::{Deserialize, Serialize};

use crate::augmentation::Mirror;
use crate::config::ConfigError;
use crate::denoiser::DenoiserConfig;
use crate::model::ModelError;
use crate::synthetic::SyntheticAnomalies;

/// Configuration of a [`Restorer`](crate::Restorer) or of an [`AnomalySegmenter`](crate::AnomalySegmenter).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaughtConfig {
    /// The U-Net.
    pub network: DenoiserConfig,
    /// What it is taught: it finds what resembles this.
    pub anomalies: SyntheticAnomalies,
    /// Whether outputs are the mean of those for the image and for its mirror image, at the price of a second pass.
    /// Default never; right wherever training images are mirrored, too.
    #[serde(default)]
    pub test_time_mirror: Mirror,
}

setters!(TaughtConfig { test_time_mirror: Mirror });

impl TaughtConfig {
    /// This network, taught these anomalies.
    #[must_use]
    pub fn new(network: DenoiserConfig, anomalies: SyntheticAnomalies) -> Self {
        Self { network, anomalies, test_time_mirror: Mirror::Never }
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

    /// What `pass` gives for images, averaged with the mirror images' where that is asked for. Its output has rows as wide as
    /// the images'.
    pub(crate) fn averaged(
        &self,
        images: ImageBatch<'_>,
        pass: impl Fn(ImageBatch<'_>) -> Result<Vec<f32>, ModelError>,
    ) -> Result<Vec<f32>, ModelError> {
        let mut outputs = pass(images)?;
        if self.test_time_mirror == Mirror::LeftRight && !images.is_empty() {
            let width = self.image_shape().width;
            let mut values = images.values().to_vec();
            mirror(&mut values, width);
            let mut others = pass(ImageBatch::new(&values, self.image_shape())?)?;
            mirror(&mut others, width);
            outputs.iter_mut().zip(&others).for_each(|(own, other)| *own = 0.5 * (*own + other));
        }
        Ok(outputs)
    }
}

fn mirror(values: &mut [f32], width: usize) {
    values.chunks_exact_mut(width).for_each(<[f32]>::reverse);
}
