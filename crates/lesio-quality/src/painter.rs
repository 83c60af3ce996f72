//! A trained REC-Net.

use lesio_nn::{Device, Differentiate, EngineError, Inference, ParameterSet};

use crate::chain::blank;
use crate::config::EstimatorConfig;
use crate::error::BuildError;

/// Paints what images would be if their segmentations were right.
pub struct Painter {
    parameters: ParameterSet,
    network: Inference,
}

impl std::fmt::Debug for Painter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Painter").finish_non_exhaustive()
    }
}

impl Painter {
    /// A REC-Net of trained parameters on a device, for the grid and widths of a configuration.
    ///
    /// # Errors
    /// A configuration that is refused, and parameters that do not fit it.
    pub fn new(
        config: &EstimatorConfig,
        parameters: ParameterSet,
        device: &Device,
    ) -> Result<Self, BuildError> {
        let network = config.reconstructor()?;
        parameters.check(&[&network])?;
        let network = Inference::new(&network, &parameters, Differentiate::Nothing, device)?;
        Ok(Self { parameters, network })
    }

    /// The parameters.
    #[must_use]
    pub fn parameters(&self) -> &ParameterSet {
        &self.parameters
    }

    /// Paints framed images `[n, h, w]` anew from what lies outside their segmentations `[n, h, w]`.
    ///
    /// # Errors
    /// Slices that are not of whole samples, and failures of the device.
    pub fn paint(
        &self,
        images: &[f32],
        segmentations: &[u8],
        samples: usize,
    ) -> Result<Vec<f32>, EngineError> {
        if images.len() != segmentations.len() {
            let (what, found, expected) = ("segmentations".to_owned(), segmentations.len(), images.len());
            return Err(EngineError::Length { what, found, expected });
        }
        let outside: Vec<f32> = segmentations.iter().map(|&index| f32::from(u8::from(index == 0))).collect();
        self.network.run(&[&blank(images, &outside)], samples, |pass| Ok(pass.output(0).to_vec()))
    }
}
