//! The parts shared by networks trained with synthetic anomalies.

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
    /// The synthetic anomalies of its training: it detects similar ones.
    pub anomalies: SyntheticAnomalies,
    /// Whether outputs are averaged over the image and its mirror image, which costs a second pass. Default never;
    /// useful if training images are mirrored, too.
    #[serde(default)]
    pub test_time_mirror: Mirror,
}

setters!(TaughtConfig { test_time_mirror: Mirror });

impl TaughtConfig {
    /// This network, to be trained with these anomalies.
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
    /// For an invalid configuration.
    pub fn restorer(&self) -> Result<Network, ConfigError> {
        self.validate()?;
        self.network.network()
    }

    /// The network of a segmenter: image to the logit of being abnormal, followed by the restored image.
    ///
    /// # Errors
    /// For an invalid configuration.
    pub fn segmenter(&self) -> Result<Network, ConfigError> {
        self.validate()?;
        self.network.u_net(1 + self.network.channels)
    }

    /// The output of `pass` for images, averaged with that for the mirror images if requested. The output has rows as
    /// wide as those of the images.
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
