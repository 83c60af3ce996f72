//! The segmentation alone: what can be known without looking at the image.

use lesio_nn::{Engine, EngineError, Network};

use crate::config::EstimatorConfig;
use crate::error::QualityBuildError;
use crate::methods::regression;
use crate::methods::wiring::{Batch, Outputs, Weigh, Wiring};

/// The regressor of the segmentation.
pub(crate) fn network(config: &EstimatorConfig) -> Result<Network, QualityBuildError> {
    regression::network(config, &[("segmentation", config.framing.labels.len())])
}

#[derive(Debug)]
pub(crate) struct ShapeOnly;

impl Wiring for ShapeOnly {
    fn pass(
        &self,
        networks: &mut [&mut dyn Engine],
        batch: &Batch<'_>,
        weigh: &mut Weigh<'_>,
    ) -> Result<(Outputs, Vec<f32>), EngineError> {
        // No change of the image changes the estimate.
        let nothing = |_: &[f32]| Ok(vec![0.0; batch.images.len()]);
        regression::pass(networks, &[batch.masks], batch, Vec::new(), weigh, nothing)
    }
}
