//! REC-Net: reconstructs an image as it would be if its segmentation were correct.

use lesio_nn::{Activation, Device, Differentiate, Engine, EngineError, Inference, Network, ParameterSet};

use crate::config::EstimatorConfig;
use crate::error::QualityBuildError;
use crate::network::{Summary, u_net};

/// What stands where the segmentation was cut out: darker than any pixel of an image of deviation 1, so
/// that REC-Net cannot mistake the hole for tissue.
const BLANK: f32 = -3.0;

/// A trained REC-Net: reconstructs images from what lies outside their segmentations.
#[derive(Debug)]
pub struct RecNet {
    parameters: ParameterSet,
    network: Inference,
}

impl RecNet {
    /// Makes a REC-Net of trained parameters on a device, for the grid and widths of a configuration.
    ///
    /// # Errors
    /// For an invalid configuration, and for parameters that do not fit it.
    pub fn new(
        config: &EstimatorConfig,
        parameters: ParameterSet,
        device: &Device,
    ) -> Result<Self, QualityBuildError> {
        config.validate()?;
        let network = network(config)?;
        parameters.check(&[&network])?;
        let network = Inference::new(&network, &parameters, Differentiate::Nothing, device)?;
        Ok(Self { parameters, network })
    }

    /// The parameters.
    #[must_use]
    pub fn parameters(&self) -> &ParameterSet {
        &self.parameters
    }

    /// Reconstructs framed images `[n, h, w]` from what lies outside their segmentations `[n, h, w]`.
    ///
    /// # Errors
    /// Slices that are not of whole samples, and failures of the device.
    pub fn reconstruct(
        &self,
        images: &[f32],
        segmentations: &[u8],
        samples: usize,
    ) -> Result<Vec<f32>, EngineError> {
        if images.len() != segmentations.len() {
            let (what, found, expected) = ("segmentations".to_owned(), segmentations.len(), images.len());
            return Err(EngineError::Length { what, found, expected });
        }
        let blanked = blank(images, &outside(segmentations));
        Ok(self.network.run(&[&blanked], samples)?.output(0).to_vec())
    }
}

/// The network of REC-Net.
pub(crate) fn network(config: &EstimatorConfig) -> Result<Network, QualityBuildError> {
    let widths = &config.widths.reconstruction;
    u_net("rec", config.framing.grid, &[("blanked", 1)], 1, widths, Activation::RELU, Summary::Omit)
}

/// 1 where no label is.
pub(crate) fn outside(segmentations: &[u8]) -> Vec<f32> {
    segmentations.iter().map(|&index| f32::from(u8::from(index == 0))).collect()
}

/// An image with the segmentation cut out.
pub(crate) fn blank(images: &[f32], outside: &[f32]) -> Vec<f32> {
    images.iter().zip(outside).map(|(&image, &outside)| outside * image + (1.0 - outside) * BLANK).collect()
}
