//! The direct regression of Robinson et al. (2018): REG-Net reads the image and the segmentation.

use lesio_nn::{Engine, EngineError, Network};

use crate::config::EstimatorConfig;
use crate::error::QualityBuildError;
use crate::methods::regression;
use crate::methods::wiring::{Batch, Outputs, Weigh, Wiring};

/// The regressor of image and segmentation.
pub(crate) fn network(config: &EstimatorConfig) -> Result<Network, QualityBuildError> {
    regression::network(config, &[("image", config.channels), ("segmentation", config.framing.labels.len())])
}

#[derive(Debug)]
pub(crate) struct Direct;

impl Wiring for Direct {
    fn pass(
        &self,
        networks: &mut [&mut dyn Engine],
        batch: &Batch<'_>,
        weigh: &mut Weigh<'_>,
    ) -> Result<(Outputs, Vec<f32>), EngineError> {
        let inputs = [batch.images, batch.masks];
        regression::pass(networks, &inputs, batch, Vec::new(), weigh, |by_image| Ok(by_image.to_vec()))
    }
}
