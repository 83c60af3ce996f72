//! Restoration: the most probable normal image near an abnormal one (You et al. 2019, Chen et al. 2020).

use std::sync::Arc;

use lesio_nn::ImageBatch;
use lesio_vae::{ModelError, RequestedGradients, VariationalModel};

use crate::channels::mean_over_channels;
use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::predictors::entry::{Entry, Needs};
use crate::settings::restoration::RestorationConfig;
use crate::shared::{SharedPass, gradients_of};

pub(crate) const RESTORATION: Entry = Entry::new("restoration", Needs::ManyPasses, |parts| {
    let (config, width) = (parts.settings.restoration.clone(), parts.settings.width());
    Ok(Box::new(Restoration::for_width(parts.model()?, config, width)?))
});

/// Scores by `|x - X|` of the restored image `X`; channels are averaged.
#[derive(Debug)]
pub struct Restoration {
    model: Arc<dyn VariationalModel>,
    config: RestorationConfig,
    /// The constant `e` of the total variation.
    smoothness: f32,
}

/// `e` for inputs whose range is 1.
const SMOOTHNESS: f64 = 1e-6;

impl Restoration {
    /// Makes a restoration with a model.
    ///
    /// # Errors
    /// [`PredictError::Setting`] as [`RestorationConfig::validate`].
    pub fn new(model: Arc<dyn VariationalModel>, config: RestorationConfig) -> Result<Self, PredictError> {
        Self::for_width(model, config, 1.0)
    }

    /// The same for inputs whose range is `width` instead of 1.
    pub(crate) fn for_width(
        model: Arc<dyn VariationalModel>,
        config: RestorationConfig,
        width: f64,
    ) -> Result<Self, PredictError> {
        config.validate().map_err(|error| error.within("restoration"))?;
        let smoothness = (SMOOTHNESS * width * width) as f32;
        Ok(Self { model, config: config.scaled(width), smoothness })
    }

    /// Restores images `[n, c, h, w]`.
    ///
    /// # Errors
    /// Images that do not fit the model, or a failure of the device.
    pub fn restore(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        let (start, shape) = (images.values(), images.shape());
        let mut restored = start.to_vec();
        if images.is_empty() {
            return Ok(restored);
        }
        let (rate, limit) = (self.config.rate as f32, self.config.largest_change);
        let (weight, beta) = (self.config.total_variation as f32, self.model.beta() as f32);
        let missing = || ModelError::Missing { what: "a gradient" };
        for _ in 0..self.config.steps {
            let found =
                gradients_of(&*self.model, ImageBatch::new(&restored, shape)?, RequestedGradients::BOTH)?;
            let by_divergence = found.by_divergence.ok_or_else(missing)?;
            let by_reconstruction = found.by_reconstruction.ok_or_else(missing)?;
            let change: Vec<f32> = restored.iter().zip(start).map(|(a, b)| a - b).collect();
            let variation = total_variation_gradient(&change, self.smoothness, shape.height, shape.width);
            for (k, own) in restored.iter_mut().enumerate() {
                let slope = by_reconstruction[k] + by_divergence[k] * beta + weight * variation[k];
                *own -= (rate * slope).clamp(-limit, limit);
            }
        }
        Ok(restored)
    }

    /// How far each pixel was moved, `[n, c, h, w]`.
    fn values(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        let restored = self.restore(images)?;
        Ok(images.values().iter().zip(restored).map(|(x, restored)| (x - restored).abs()).collect())
    }
}

/// Gradient of the isotropic total variation `sum sqrt(dx^2 + dy^2 + e)` of planes, with forward
/// differences; `e` makes it smooth at 0.
fn total_variation_gradient(planes: &[f32], e: f32, height: usize, width: usize) -> Vec<f32> {
    let mut gradient = vec![0.0; planes.len()];
    for (plane, gradient) in
        planes.chunks_exact((height * width).max(1)).zip(gradient.chunks_exact_mut((height * width).max(1)))
    {
        for row in 0..height {
            for column in 0..width {
                let at = row * width + column;
                let right = if column + 1 < width { plane[at + 1] - plane[at] } else { 0.0 };
                let down = if row + 1 < height { plane[at + width] - plane[at] } else { 0.0 };
                let length = (right * right + down * down + e).sqrt();
                gradient[at] -= (right + down) / length;
                if column + 1 < width {
                    gradient[at + 1] += right / length;
                }
                if row + 1 < height {
                    gradient[at + width] += down / length;
                }
            }
        }
    }
    gradient
}

impl Predictor for Restoration {
    fn name(&self) -> String {
        RESTORATION.name.to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        Ok(mean_over_channels(&self.values(images)?, images))
    }

    fn score_channels(&self, pass: &SharedPass<'_>) -> Result<Option<Vec<f32>>, PredictError> {
        self.values(pass.images()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_variation_gradient_is_a_derivative() {
        let (h, w) = (4, 5);
        let plane: Vec<f32> = (0..h * w).map(|k| ((k * 13) % 7) as f32 / 7.0).collect();
        let value = |plane: &[f32]| -> f64 {
            let mut sum = 0.0;
            for row in 0..h {
                for column in 0..w {
                    let at = row * w + column;
                    let right =
                        if column + 1 < w { f64::from(plane[at + 1]) - f64::from(plane[at]) } else { 0.0 };
                    let down =
                        if row + 1 < h { f64::from(plane[at + w]) - f64::from(plane[at]) } else { 0.0 };
                    sum += (right * right + down * down + 1e-6).sqrt();
                }
            }
            sum
        };
        let gradient = total_variation_gradient(&plane, 1e-6, h, w);
        for k in 0..plane.len() {
            let moved = |delta: f32| {
                let mut plane = plane.clone();
                plane[k] += delta;
                value(&plane)
            };
            let expected = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            assert!((f64::from(gradient[k]) - expected).abs() < 1e-2, "{k}: {} {expected}", gradient[k]);
        }
    }
}
