//! The divergence's gradient combined with the pixel's likelihood (Zimmerer et al. 2019).

use std::sync::Arc;

use lesio_nn::ImageBatch;
use lesio_vae::{RequestedGradients, VariationalModel};
use serde::{Deserialize, Serialize};

use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::predictors::entry::{Entry, Made, Needs, Parts};
use crate::predictors::gradient::{GradientPredictor, Target};
use crate::predictors::pixel::PixelLikelihood;
use crate::settings::gradient::GradientConfig;
use crate::shared::SharedPass;

pub(crate) const COMBI_PRODUCT: Entry =
    Entry::new("combi-product", Needs::Variational, |parts| combined(parts, Combination::Product));
pub(crate) const COMBI_SUM: Entry =
    Entry::new("combi-sum", Needs::Variational, |parts| combined(parts, Combination::Sum));

fn combined(parts: &Parts<'_>, combination: Combination) -> Made {
    Ok(Box::new(Combined::new(parts.model()?, combination, parts.settings.gradients())?))
}

/// How the two are combined. All values are scaled within each image, never over a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combination {
    /// The gradient, scaled to [0, 1], times the likelihood's `-log p` above its lowest value in the image,
    /// in nats: the error keeps its size, so images compare.
    Product,
    /// The sum of both, each scaled to [0, 1].
    Sum,
}

/// `grad-kl` combined with `pixel-nll`.
///
/// The `-log p` of a density has no natural zero and may be negative, and a product with negative values would reverse
/// the order of the gradients. So its lowest value in the image is subtracted.
#[derive(Debug)]
pub struct Combined {
    gradient: GradientPredictor,
    likelihood: PixelLikelihood,
    combination: Combination,
}

impl Combined {
    /// The combination for a model.
    ///
    /// # Errors
    /// Those of [`GradientPredictor::new`].
    pub fn new(
        model: Arc<dyn VariationalModel>,
        combination: Combination,
        config: GradientConfig,
    ) -> Result<Self, PredictError> {
        let gradient = GradientPredictor::new(model.clone(), Target::Divergence, config)?;
        Ok(Self { gradient, likelihood: PixelLikelihood::new(model), combination })
    }

    /// Combines maps `[.., h, w]`, each scaled separately.
    fn combine(&self, mut gradient: Vec<f32>, mut likelihood: Vec<f32>, pass: &SharedPass<'_>) -> Vec<f32> {
        let pixels = pass.images().shape().pixels().max(1);
        for (a, b) in gradient.chunks_exact_mut(pixels).zip(likelihood.chunks_exact_mut(pixels)) {
            scale_to_unit(a);
            match self.combination {
                Combination::Product => {
                    let lowest = b.iter().copied().fold(f32::INFINITY, f32::min);
                    a.iter_mut().zip(&*b).for_each(|(a, &b)| *a *= b - lowest);
                }
                Combination::Sum => {
                    scale_to_unit(b);
                    a.iter_mut().zip(&*b).for_each(|(a, &b)| *a += b);
                }
            }
        }
        gradient
    }
}

impl Predictor for Combined {
    fn name(&self) -> String {
        match self.combination {
            Combination::Product => COMBI_PRODUCT,
            Combination::Sum => COMBI_SUM,
        }
        .name
        .to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        self.score_shared(&SharedPass::new(images, self.gradient.requested_gradients()))
    }

    fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        let (gradient, likelihood) = (self.gradient.score_shared(pass)?, self.likelihood.score_shared(pass)?);
        Ok(self.combine(gradient, likelihood, pass))
    }

    /// Each channel is scaled separately, so the mean of these maps differs from [`Predictor::score`].
    fn score_channels(&self, pass: &SharedPass<'_>) -> Result<Option<Vec<f32>>, PredictError> {
        let parts = (self.gradient.score_channels(pass)?, self.likelihood.score_channels(pass)?);
        let (Some(gradient), Some(likelihood)) = parts else { return Ok(None) };
        Ok(Some(self.combine(gradient, likelihood, pass)))
    }

    fn requested_gradients(&self) -> RequestedGradients {
        self.gradient.requested_gradients()
    }
}

/// Scales values to [0, 1]; a constant map becomes 0.
fn scale_to_unit(values: &mut [f32]) {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // Division, because the inverse of a tiny range may be infinite.
    let range = if high > low { high - low } else { 1.0 };
    values.iter_mut().for_each(|value| *value = (*value - low) / range);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_reaches_from_0_to_1() {
        let mut values = [3.0, -1.0, 1.0];
        scale_to_unit(&mut values);
        assert_eq!(values, [1.0, 0.0, 0.5]);
        let mut constant = [2.0; 3];
        scale_to_unit(&mut constant);
        assert_eq!(constant, [0.0; 3]);
        scale_to_unit(&mut []);
        let mut tiny = [0.0, 1e-45];
        scale_to_unit(&mut tiny);
        assert_eq!(tiny, [0.0, 1.0]);
    }
}
