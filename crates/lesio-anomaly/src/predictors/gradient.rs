//! Scores by the gradient of a term of the bound with respect to the pixel.

use std::sync::Arc;

use lesio_nn::{ImageBatch, random};
use lesio_vae::{ModelError, RequestedGradients, VariationalModel};
use serde::{Deserialize, Serialize};

use crate::channels::mean_over_channels;
use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::predictors::entry::{Entry, Made, Needs, Parts};
use crate::settings::gradient::GradientConfig;
use crate::shared::SharedPass;
use crate::smoothing::smooth;

pub(crate) const GRAD_KL: Entry =
    Entry::new("grad-kl", Needs::Variational, |parts| gradient(parts, Target::Divergence));
pub(crate) const GRAD_REC: Entry =
    Entry::new("grad-rec", Needs::Variational, |parts| gradient(parts, Target::Reconstruction));
pub(crate) const GRAD_ELBO: Entry =
    Entry::new("grad-elbo", Needs::Variational, |parts| gradient(parts, Target::Bound));

fn gradient(parts: &Parts<'_>, target: Target) -> Made {
    Ok(Box::new(GradientPredictor::new(parts.model()?, target, parts.settings.gradients())?))
}

/// The term whose gradient with respect to the pixels is the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Target {
    /// The divergence of the posterior from the prior.
    Divergence,
    /// The reconstruction term `-log p(x | z)` summed over pixels.
    Reconstruction,
    /// The whole negative bound: reconstruction term plus beta times the divergence.
    Bound,
}

/// The absolute gradient of a [`Target`] at the posterior's mean; channels are averaged.
#[derive(Debug)]
pub struct GradientPredictor {
    model: Arc<dyn VariationalModel>,
    target: Target,
    config: GradientConfig,
}

impl GradientPredictor {
    /// The gradient of a target.
    ///
    /// # Errors
    /// [`PredictError::Setting`] as [`GradientConfig::validate`].
    pub fn new(
        model: Arc<dyn VariationalModel>,
        target: Target,
        config: GradientConfig,
    ) -> Result<Self, PredictError> {
        config.validate().map_err(|error| error.within("gradient"))?;
        Ok(Self { model, target, config })
    }

    fn requested(&self) -> RequestedGradients {
        match self.target {
            Target::Divergence => RequestedGradients::DIVERGENCE,
            Target::Reconstruction => RequestedGradients::RECONSTRUCTION,
            Target::Bound => RequestedGradients::BOTH,
        }
    }

    /// Absolute gradients by channel, `[n, c, h, w]`, before smoothing.
    fn raw(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        let found = pass.gradients(&self.model, self.requested())?;
        let missing = || ModelError::Missing { what: "a gradient" };
        let by_divergence = || found.by_divergence.as_ref().ok_or_else(missing);
        let by_reconstruction = || found.by_reconstruction.as_ref().ok_or_else(missing);
        let magnitudes = |gradient: &[f32]| gradient.iter().map(|value| value.abs()).collect();
        Ok(match self.target {
            Target::Divergence => magnitudes(by_divergence()?),
            Target::Reconstruction => magnitudes(by_reconstruction()?),
            Target::Bound => {
                let beta = self.model.beta() as f32;
                let pairs = by_reconstruction()?.iter().zip(by_divergence()?);
                pairs.map(|(reconstruction, divergence)| (reconstruction + divergence * beta).abs()).collect()
            }
        })
    }

    /// Maps of one pass, or the mean over noisy copies; `of` converts gradients by channel to maps.
    fn maps(
        &self,
        pass: &SharedPass<'_>,
        of: impl Fn(Vec<f32>, ImageBatch<'_>) -> Vec<f32>,
    ) -> Result<Vec<f32>, PredictError> {
        let (images, shape) = (pass.images(), pass.images().shape());
        let mut maps = if self.config.copies == 0 || images.is_empty() {
            of(self.raw(pass)?, images)
        } else {
            let mut sum: Vec<f32> = Vec::new();
            let (mut noise, deviation) = (vec![0.0; shape.len()], self.config.deviation as f32);
            for copy in 0..self.config.copies {
                random::fill_normal(&mut random::generator(self.config.seed, copy as u64), &mut noise);
                let rows = images.images().flat_map(|row| row.iter().zip(&noise));
                let noisy: Vec<f32> = rows.map(|(value, noise)| value + noise * deviation).collect();
                let noisy = ImageBatch::new(&noisy, shape)?;
                let own = of(self.raw(&SharedPass::new(noisy, self.requested()))?, noisy);
                sum.resize(own.len(), 0.0);
                sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
            }
            let scale = 1.0 / self.config.copies as f32;
            sum.iter_mut().for_each(|value| *value *= scale);
            sum
        };
        smooth(&mut maps, shape.height, shape.width, self.config.smoothing);
        Ok(maps)
    }
}

impl Predictor for GradientPredictor {
    fn name(&self) -> String {
        match self.target {
            Target::Divergence => GRAD_KL,
            Target::Reconstruction => GRAD_REC,
            Target::Bound => GRAD_ELBO,
        }
        .name
        .to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        self.score_shared(&SharedPass::new(images, self.requested()))
    }

    fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        self.maps(pass, |values, images| mean_over_channels(&values, images))
    }

    fn score_channels(&self, pass: &SharedPass<'_>) -> Result<Option<Vec<f32>>, PredictError> {
        self.maps(pass, |values, _| values).map(Some)
    }

    fn requested_gradients(&self) -> RequestedGradients {
        if self.config.copies == 0 { self.requested() } else { RequestedGradients::NOTHING }
    }
}
