//! A network trained to segment synthetic anomalies.

use lesio_nn::{
    Device, Differentiate, Engine, EngineError, ImageBatch, Inference, Initialization, ParameterSet, Shape,
};

use crate::config::ConfigError;
use crate::error::BuildError;
use crate::model::{ModelError, Reconstructor, SegmentationModel, Segmented};
use crate::taught::TaughtConfig;

/// A trained segmenter: segments anomalies and restores the image in one pass of one network.
///
/// It detects anomalies like those of its training, [`TaughtConfig::anomalies`].
#[derive(Debug)]
pub struct AnomalySegmenter {
    config: TaughtConfig,
    network: Inference,
}

impl AnomalySegmenter {
    /// Makes a segmenter of trained parameters.
    ///
    /// # Errors
    /// For an invalid configuration, for parameters that do not fit it, and if the device fails.
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
    /// For an invalid configuration.
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
    /// If the device fails.
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
