//! REC-Net and REG-Net (Zhou, Deng and Wu, arXiv:1903.08773): REC-Net reconstructs the image from what the segmentation
//! leaves of it, REG-Net reads the difference to the image, and the segmentation.

use lesio_nn::{Engine, EngineError, Inference, Network};

use crate::config::EstimatorConfig;
use crate::error::QualityBuildError;
use crate::methods::regression;
use crate::methods::wiring::{Batch, Outputs, Weigh, Wiring, check};
use crate::reconstructor::blank;

/// The regressor of difference and segmentation.
pub(crate) fn network(config: &EstimatorConfig) -> Result<Network, QualityBuildError> {
    regression::network(
        config,
        &[("difference", config.channels), ("segmentation", config.framing.labels.len())],
    )
}

#[derive(Debug)]
pub(crate) struct RecReg {
    /// REC-Net, which gives gradients by its input.
    pub(crate) reconstructor: Inference,
}

impl Wiring for RecReg {
    fn pass(
        &self,
        networks: &mut [&mut dyn Engine],
        batch: &Batch<'_>,
        weigh: &mut Weigh<'_>,
    ) -> Result<(Outputs, Vec<f32>), EngineError> {
        let outside = outside(batch);
        let blanked = blank(batch.images, &outside, batch.channels, batch.pixels);
        let mut reconstructor = self.reconstructor.run(&[&blanked], batch.samples)?;
        let reconstruction = reconstructor.output(0).to_vec();
        let difference: Vec<f32> =
            batch.images.iter().zip(&reconstruction).map(|(image, own)| image - own).collect();
        let inputs = [&difference, batch.masks];
        regression::pass(networks, &inputs, batch, reconstruction, weigh, |by_difference| {
            // The difference holds the image itself, and its reconstruction.
            let by_reconstruction: Vec<f32> = by_difference.iter().map(|gradient| -gradient).collect();
            reconstructor.backward(&[&by_reconstruction])?;
            let by_blanked = reconstructor.input_gradient(0);
            check("the gradient of REC-Net", by_blanked.len(), by_difference.len())?;
            let mut by_images = by_difference.to_vec();
            let sums = by_images.chunks_exact_mut(batch.pixels).zip(by_blanked.chunks_exact(batch.pixels));
            for (channel, (sums, blanked)) in sums.enumerate() {
                let first = channel / batch.channels * batch.pixels;
                let outside = &outside[first..first + batch.pixels];
                sums.iter_mut()
                    .zip(blanked)
                    .zip(outside)
                    .for_each(|((sum, own), outside)| *sum += own * outside);
            }
            Ok(by_images)
        })
    }
}

/// 1 where no label is, `[n, h, w]`.
fn outside(batch: &Batch<'_>) -> Vec<f32> {
    let pixels = batch.pixels;
    let mut all = vec![1.0; batch.samples * pixels];
    let samples = batch.masks.chunks_exact((batch.labels * pixels).max(1));
    for (outside, planes) in all.chunks_exact_mut(pixels.max(1)).zip(samples) {
        for label in planes.chunks_exact(pixels) {
            outside.iter_mut().zip(label).for_each(|(outside, &inside)| *outside *= 1.0 - inside);
        }
    }
    all
}
