//! A network that was taught to mark synthetic anomalies.

use lesio_nn::{
    Device, Differentiate, Engine, EngineError, ImageBatch, Inference, Initialization, ParameterSet, Shape,
};

use crate::config::ConfigError;
use crate::error::BuildError;
use crate::model::{ModelError, Reconstructor, SegmentationModel, Segmented};
use crate::taught::TaughtConfig;

/// A trained segmenter of anomalies: marks them, and restores the image besides, by one pass of one network.
///
/// It knows anomalies by what it was taught, [`TaughtConfig::anomalies`].
#[derive(Debug)]
pub struct AnomalySegmenter {
    config: TaughtConfig,
    network: Inference,
}

impl AnomalySegmenter {
    /// A segmenter of trained parameters.
    ///
    /// # Errors
    /// A configuration that is refused, parameters that do not fit it, or a failure of the device.
    pub fn from_parameters(
        config: TaughtConfig,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Self, BuildError> {
        let network = config.segmenter()?;
        parameters.check(&[&network])?;
        let network = Inference::new(&network, parameters, Differentiate::Nothing, device)?;
        Ok(Self { config, network })
    }

    /// Parameters of an untrained segmenter.
    ///
    /// # Errors
    /// A configuration that is refused.
    pub fn initial_parameters(config: &TaughtConfig, seed: u64) -> Result<ParameterSet, ConfigError> {
        Ok(ParameterSet::initialize(&config.segmenter()?, Initialization::HeNormal, seed))
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

impl Reconstructor for AnomalySegmenter {
    fn image_shape(&self) -> Shape {
        self.config.image_shape()
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        Ok(self.segment(images)?.reconstruction)
    }
}

impl SegmentationModel for AnomalySegmenter {
    fn segment(&self, images: ImageBatch<'_>) -> Result<Segmented, ModelError> {
        let shape = self.image_shape();
        ModelError::check_shape(images, shape)?;
        let outputs = self.config.averaged(images, |images| match images.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(self.network.run(&[images.values()], images.len())?.output(0).to_vec()),
        })?;
        let (mut logits, mut reconstruction) = (Vec::new(), Vec::new());
        for output in outputs.chunks_exact(shape.pixels() + shape.len()) {
            let (mark, restored) = output.split_at(shape.pixels());
            logits.extend_from_slice(mark);
            reconstruction.extend_from_slice(restored);
        }
        Ok(Segmented { logits, reconstruction })
    }
}
