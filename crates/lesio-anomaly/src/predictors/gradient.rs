//! Scores by the gradient of a term of the bound with respect to the pixel.

use std::sync::Arc;

use lesio_nn::{ImageBatch, random};
use lesio_settings::{SettingError, in_range, setters};
use lesio_vae::{ModelError, RequestedGradients, VariationalModel};
use serde::{Deserialize, Serialize};

use crate::channels::mean_over_channels;
use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::shared::SharedPass;
use crate::smoothing::{LARGEST_DEVIATION, smooth};

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

/// Smoothing of gradient maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct GradientConfig {
    /// Standard deviation in pixels of the Gaussian that smooths the map, up to 4096; 0 turns it off. Default 1.5: the
    /// raw gradient of a strided network contains a fine grid pattern that comes from the network, not from the image.
    pub smoothing: f64,
    /// SmoothGrad (Smilkov et al. 2017): the mean of the absolute gradients at this many noisy copies of
    /// the image, up to 1000; 0 uses the image itself. Default 0.
    pub copies: usize,
    /// Standard deviation of the copies' noise, 0 to 1000. Default .05, a twentieth of the range of
    /// a prepared image.
    pub deviation: f64,
    /// Seed of the noise, which is the same for every image. Default 0.
    pub seed: u64,
}

setters!(GradientConfig { smoothing: f64, copies: usize, deviation: f64, seed: u64 });

impl Default for GradientConfig {
    fn default() -> Self {
        Self { smoothing: 1.5, copies: 0, deviation: 0.05, seed: 0 }
    }
}

/// Most noisy copies: twenty times as many as the method's authors used.
const MOST_COPIES: usize = 1000;

impl GradientConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("smoothing", self.smoothing, 0.0..=LARGEST_DEVIATION)?;
        in_range("copies", self.copies, 0..=MOST_COPIES)?;
        in_range("deviation", self.deviation, 0.0..=1e3)
    }

    /// The same for inputs whose range is `width` instead of 1.
    pub(crate) fn scaled(self, width: f64) -> Self {
        Self { deviation: self.deviation * width, ..self }
    }
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
            Target::Divergence => "grad-kl",
            Target::Reconstruction => "grad-rec",
            Target::Bound => "grad-elbo",
        }
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
