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
    /// Channels, and pixels of a channel.
    size: [usize; 2],
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
        Ok(Self { parameters, network, size: [config.channels, config.framing.pixels()] })
    }

    /// The parameters.
    #[must_use]
    pub fn parameters(&self) -> &ParameterSet {
        &self.parameters
    }

    /// Reconstructs framed images `[n, channels, h, w]` from what lies outside their segmentations `[n, h, w]`.
    ///
    /// # Errors
    /// Slices that are not of whole samples, and failures of the device.
    pub fn reconstruct(
        &self,
        images: &[f32],
        segmentations: &[u8],
        samples: usize,
    ) -> Result<Vec<f32>, EngineError> {
        let [channels, pixels] = self.size;
        let (of_image, of_segmentation) = (samples * channels * pixels, samples * pixels);
        for (what, found, expected) in
            [("images", images.len(), of_image), ("segmentations", segmentations.len(), of_segmentation)]
        {
            if found != expected {
                return Err(EngineError::Length { what: what.to_owned(), found, expected });
            }
        }
        let blanked = blank(images, &outside(segmentations), channels, pixels);
        Ok(self.network.run(&[&blanked], samples)?.output(0).to_vec())
    }
}

/// The network of REC-Net.
pub(crate) fn network(config: &EstimatorConfig) -> Result<Network, QualityBuildError> {
    let widths = &config.widths.reconstruction;
    u_net(
        "rec",
        config.framing.grid,
        &[("blanked", config.channels)],
        config.channels,
        widths,
        Activation::RELU,
        Summary::Omit,
    )
}

/// 1 where no label is.
pub(crate) fn outside(segmentations: &[u8]) -> Vec<f32> {
    segmentations.iter().map(|&index| f32::from(u8::from(index == 0))).collect()
}

/// Images `[n, channels, h, w]` with the segmentations cut out, from `outside`, `[n, h, w]`: whole samples.
pub(crate) fn blank(images: &[f32], outside: &[f32], channels: usize, pixels: usize) -> Vec<f32> {
    let mut blanked = Vec::with_capacity(images.len());
    for (image, outside) in images.chunks_exact(channels * pixels).zip(outside.chunks_exact(pixels)) {
        for channel in image.chunks_exact(pixels) {
            let values = channel.iter().zip(outside);
            blanked.extend(values.map(|(&image, &outside)| outside * image + (1.0 - outside) * BLANK));
        }
    }
    blanked
}
