//! A network that was taught to mark synthetic anomalies.

use lesio_nn::{
    Device, Differentiate, Engine, EngineError, ImageBatch, Inference, Network, ParameterSet, Shape,
};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::denoiser::DenoiserConfig;
use crate::error::BuildError;
use crate::model::{ModelError, Reconstructor, SegmentationModel, Segmented};
use crate::synthetic::SyntheticAnomalies;

/// Configuration of an [`AnomalySegmenter`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AnomalySegmenterConfig {
    /// The network. It has one channel more that comes out: the mark.
    pub network: DenoiserConfig,
    /// What it is taught: it finds what resembles this.
    pub anomalies: SyntheticAnomalies,
}

impl AnomalySegmenterConfig {
    /// A segmenter by this network of these anomalies.
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

    /// The network: image to the logit of being abnormal, and the restored image.
    ///
    /// # Errors
    /// A configuration that is refused.
    pub fn network(&self) -> Result<Network, ConfigError> {
        self.validate()?;
        self.network.u_net(1 + self.network.channels)
    }
}

/// A trained segmenter of anomalies: marks them, and restores the image besides, by one pass of one network.
///
/// It knows anomalies by what it was taught, [`AnomalySegmenterConfig::anomalies`].
#[derive(Debug)]
pub struct AnomalySegmenter {
    config: AnomalySegmenterConfig,
    network: Inference,
}

impl AnomalySegmenter {
    /// A segmenter of trained parameters.
    ///
    /// # Errors
    /// A configuration that is refused, parameters that do not fit it, or a failure of the device.
    pub fn from_parameters(
        config: AnomalySegmenterConfig,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Self, BuildError> {
        let network = config.network()?;
        parameters.check(&[&network])?;
        let network = Inference::new(&network, parameters, Differentiate::Nothing, device)?;
        Ok(Self { config, network })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &AnomalySegmenterConfig {
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

impl Reconstructor for AnomalySegmenter {
    fn image_shape(&self) -> Shape {
        self.config.network.image_shape()
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        Ok(self.segment(images)?.reconstruction)
    }
}

impl SegmentationModel for AnomalySegmenter {
    fn segment(&self, images: ImageBatch<'_>) -> Result<Segmented, ModelError> {
        let shape = self.image_shape();
        ModelError::check_shape(images, shape)?;
        let (mut logits, mut reconstruction) = (Vec::new(), Vec::new());
        if !images.is_empty() {
            let pass = self.network.run(&[images.values()], images.len())?;
            for output in pass.output(0).chunks_exact(shape.pixels() + shape.len()) {
                let (mark, restored) = output.split_at(shape.pixels());
                logits.extend_from_slice(mark);
                reconstruction.extend_from_slice(restored);
            }
        }
        Ok(Segmented { logits, reconstruction })
    }
}
