//! Scores by the logits of a model that segments anomalies.

use std::sync::Arc;

use lesio_nn::ImageBatch;
use lesio_vae::{RequestedGradients, SegmentationModel};

use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::predictors::entry::{Entry, Needs};
use crate::shared::SharedPass;

pub(crate) const ANOMALY_LOGIT: Entry =
    Entry::new("anomaly-logit", Needs::Segmentation, |parts| Ok(Box::new(AnomalyLogit::new(parts.marks()?))));

/// The logit of being abnormal that a segmentation model gives each pixel.
#[derive(Debug)]
pub struct AnomalyLogit {
    model: Arc<dyn SegmentationModel>,
}

impl AnomalyLogit {
    /// The predictor for the logits of a model.
    #[must_use]
    pub fn new(model: Arc<dyn SegmentationModel>) -> Self {
        Self { model }
    }
}

impl Predictor for AnomalyLogit {
    fn name(&self) -> String {
        ANOMALY_LOGIT.name.to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        self.score_shared(&SharedPass::new(images, RequestedGradients::NOTHING))
    }

    fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        Ok(pass.segmentation(&self.model)?.logits.clone())
    }
}
