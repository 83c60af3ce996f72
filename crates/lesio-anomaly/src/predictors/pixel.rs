//! Scores by the distance between an image and its reconstruction.

use std::sync::Arc;

use lesio_nn::ImageBatch;
use lesio_vae::{Reconstructor, RequestedGradients, VariationalModel};
use serde::{Deserialize, Serialize};

use crate::channels::mean_over_channels;
use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::predictors::entry::{Entry, Made, Needs, Parts};
use crate::predictors::ssim::dissimilarity;
use crate::shared::SharedPass;

pub(crate) const INTENSITY: Entry = Entry::new("intensity", Needs::Nothing, |_| Ok(Box::new(PixelIntensity)));
pub(crate) const PIXEL_L1: Entry =
    Entry::new("pixel-l1", Needs::Reconstructor, |parts| pixel_error(parts, Distance::Absolute));
pub(crate) const PIXEL_POSITIVE: Entry =
    Entry::new("pixel-positive", Needs::Reconstructor, |parts| pixel_error(parts, Distance::Positive));
pub(crate) const PIXEL_NEGATIVE: Entry =
    Entry::new("pixel-negative", Needs::Reconstructor, |parts| pixel_error(parts, Distance::Negative));
pub(crate) const PIXEL_L2: Entry =
    Entry::new("pixel-l2", Needs::Reconstructor, |parts| pixel_error(parts, Distance::Squared));
pub(crate) const PIXEL_SSIM: Entry =
    Entry::new("pixel-ssim", Needs::Reconstructor, |parts| pixel_error(parts, Distance::Structural));
pub(crate) const PIXEL_NLL: Entry =
    Entry::new("pixel-nll", Needs::Variational, |parts| Ok(Box::new(PixelLikelihood::new(parts.model()?))));

fn pixel_error(parts: &Parts<'_>, distance: Distance) -> Made {
    Ok(Box::new(PixelError::new(parts.reconstructor()?, distance).range(parts.settings.inputs())))
}

/// How the distance of a pixel `x` from its reconstruction `y` is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Distance {
    /// `|x - y|`.
    Absolute,
    /// `max(x - y, 0)`: brighter than expected.
    Positive,
    /// `max(y - x, 0)`: darker than expected.
    Negative,
    /// `(x - y)^2`.
    Squared,
    /// `1 - SSIM`, structural similarity in a Gaussian window (Wang et al. 2004).
    Structural,
}

/// The pixel error of any model that reconstructs; channels are averaged.
#[derive(Debug)]
pub struct PixelError {
    model: Arc<dyn Reconstructor>,
    distance: Distance,
    range: [f32; 2],
}

impl PixelError {
    /// Makes the pixel error of a model with a distance.
    #[must_use]
    pub fn new(model: Arc<dyn Reconstructor>, distance: Distance) -> Self {
        Self { model, distance, range: [0.0, 1.0] }
    }

    /// For images of this range, two ascending values. [`Distance::Structural`] compares images that are brought from it to
    /// [0, 1]; the other distances do not depend on it. Default [0, 1].
    #[must_use]
    pub fn range(mut self, range: [f32; 2]) -> Self {
        self.range = range;
        self
    }

    /// Distances by channel, `[n, c, h, w]`.
    fn values(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        let (x, shape) = (pass.images().values(), pass.images().shape());
        let y = pass.reconstruction(&self.model)?;
        let of = |distance: fn(f32) -> f32| x.iter().zip(y.iter()).map(|(x, y)| distance(x - y)).collect();
        Ok(match self.distance {
            Distance::Absolute => of(f32::abs),
            Distance::Positive => of(positive_part),
            Distance::Negative => of(|difference| positive_part(-difference)),
            Distance::Squared => of(|difference| difference * difference),
            Distance::Structural => dissimilarity([x, &y], self.range, shape.height, shape.width),
        })
    }
}

/// The difference, or 0 if it is negative. What is not finite stays so and is an error of the map: 0 would be the most
/// normal score, and `f32::max` makes it of NaN, too.
fn positive_part(difference: f32) -> f32 {
    if difference.is_finite() { difference.max(0.0) } else { difference.abs() }
}

impl Predictor for PixelError {
    fn name(&self) -> String {
        match self.distance {
            Distance::Absolute => PIXEL_L1,
            Distance::Positive => PIXEL_POSITIVE,
            Distance::Negative => PIXEL_NEGATIVE,
            Distance::Squared => PIXEL_L2,
            Distance::Structural => PIXEL_SSIM,
        }
        .name
        .to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        self.score_shared(&SharedPass::new(images, RequestedGradients::NOTHING))
    }

    fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        Ok(mean_over_channels(&self.values(pass)?, pass.images()))
    }

    fn score_channels(&self, pass: &SharedPass<'_>) -> Result<Option<Vec<f32>>, PredictError> {
        self.values(pass).map(Some)
    }
}

/// `-log p(x | z)` of each pixel under a variational model, in nats; channels are averaged.
#[derive(Debug)]
pub struct PixelLikelihood {
    model: Arc<dyn VariationalModel>,
}

impl PixelLikelihood {
    /// The negative log-likelihood of pixels under a model.
    #[must_use]
    pub fn new(model: Arc<dyn VariationalModel>) -> Self {
        Self { model }
    }
}

impl Predictor for PixelLikelihood {
    fn name(&self) -> String {
        PIXEL_NLL.name.to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        self.score_shared(&SharedPass::new(images, RequestedGradients::NOTHING))
    }

    fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        Ok(mean_over_channels(&pass.gradients(&self.model, RequestedGradients::NOTHING)?.loss, pass.images()))
    }

    fn score_channels(&self, pass: &SharedPass<'_>) -> Result<Option<Vec<f32>>, PredictError> {
        Ok(Some(pass.gradients(&self.model, RequestedGradients::NOTHING)?.loss.clone()))
    }
}

/// The value of the pixel itself, the baseline that every model has to beat; channels are averaged.
#[derive(Clone, Copy, Debug, Default)]
pub struct PixelIntensity;

impl Predictor for PixelIntensity {
    fn name(&self) -> String {
        INTENSITY.name.to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        Ok(mean_over_channels(images.values(), images))
    }

    fn score_channels(&self, pass: &SharedPass<'_>) -> Result<Option<Vec<f32>>, PredictError> {
        Ok(Some(pass.images().values().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_is_not_finite_is_no_score_of_0() {
        assert_eq!([1.5, 0.0, -0.0, -2.0].map(positive_part), [1.5, 0.0, 0.0, 0.0]);
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!positive_part(broken).is_finite() && !positive_part(-broken).is_finite(), "{broken}");
        }
    }
}
