//! Scores by how much a term of the bound would change with the pixel.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use lesio_nn::random;
use lesio_settings::{SettingError, in_range};
use lesio_vae::{VariationalModel, Wanted};
use serde::{Deserialize, Serialize};

use crate::error::PredictError;
use crate::planes::Planes;
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

/// How gradient maps are steadied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct GradientConfig {
    /// Standard deviation in pixels of the Gaussian that smooths the map, up to 4096; 0 leaves it. Default 1.5: the
    /// raw gradient of a strided network has a fine grid in it that is the network's, not the image's.
    pub smoothing: f64,
    /// SmoothGrad (Smilkov et al. 2017): the mean of the absolute gradients at this many noisy copies of
    /// the image, up to 1000; 0 takes the image itself. Default 0.
    pub copies: usize,
    /// Standard deviation of the copies' noise, 0 to 1000. Default .05, a twentieth of the range of a prepared image.
    pub deviation: f64,
    /// Seed of the noise, which is the same for every image. Default 0.
    pub seed: u64,
}

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
}

/// The absolute gradient of a [`Target`] at the posterior's mean; channels are averaged.
pub struct GradientPredictor {
    model: Arc<dyn VariationalModel>,
    target: Target,
    config: GradientConfig,
}

impl std::fmt::Debug for GradientPredictor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GradientPredictor")
            .field("target", &self.target)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
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

    fn wanted(&self) -> Wanted {
        match self.target {
            Target::Divergence => Wanted::DIVERGENCE,
            Target::Reconstruction => Wanted::RECONSTRUCTION,
            Target::Bound => Wanted::BOTH,
        }
    }

    /// Absolute gradients as maps, before smoothing.
    fn raw(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        let found = pass.gradients(&self.model, self.wanted())?;
        let missing = || candle_core::Error::msg("the model gave no gradient although one was wanted");
        let gradient = match self.target {
            Target::Divergence => found.by_divergence.ok_or_else(missing)?,
            Target::Reconstruction => found.by_reconstruction.ok_or_else(missing)?,
            Target::Bound => {
                let divergence = found.by_divergence.ok_or_else(missing)?;
                (found.by_reconstruction.ok_or_else(missing)? + (divergence * self.model.beta())?)?
            }
        };
        let gradient = Planes::of(&gradient)?;
        let maps = gradient.maps(&Device::Cpu, |k| gradient.values[k].abs())?;
        Ok(maps.flatten_all()?.to_vec1()?)
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

    fn score(&self, images: &Tensor) -> Result<Tensor, PredictError> {
        self.score_shared(&SharedPass::new(images, self.wanted()))
    }

    fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Tensor, PredictError> {
        let (n, c, h, w) = pass.images().dims4()?;
        let mut maps = if self.config.copies == 0 || n == 0 {
            self.raw(pass)?
        } else {
            let mut sum = vec![0.0; n * h * w];
            for copy in 0..self.config.copies {
                let mut noise = vec![0.0; c * h * w];
                random::fill_normal(&mut random::generator(self.config.seed, copy as u64), &mut noise);
                let noise =
                    (Tensor::from_vec(noise, (1, c, h, w), pass.images().device())? * self.config.deviation)?;
                let noisy = pass.images().broadcast_add(&noise)?;
                let own = self.raw(&SharedPass::new(&noisy, self.wanted()))?;
                sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
            }
            let scale = 1.0 / self.config.copies as f32;
            sum.iter_mut().for_each(|value| *value *= scale);
            sum
        };
        smooth(&mut maps, h, w, self.config.smoothing);
        Ok(Tensor::from_vec(maps, (n, h, w), pass.images().device())?)
    }

    fn wants(&self) -> Wanted {
        if self.config.copies == 0 { self.wanted() } else { Wanted::NOTHING }
    }
}
