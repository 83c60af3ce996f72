//! Settings of restorations.

use lesio_settings::{SettingError, in_range, setters};
use serde::{Deserialize, Serialize};

use super::projection::MOST_STEPS;

/// How an image is restored: by `steps` steps of gradient ascent on `ELBO(X) - l TV(X - x)` from `X = x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct RestorationConfig {
    /// Number of steps, 1 to 10000. Default 100.
    pub steps: usize,
    /// Step length times the gradient in nats, 0 to a million. Default 1e-4, which with a likelihood of deviation .1
    /// moves a pixel by a hundredth of its error per step.
    pub rate: f64,
    /// The weight `l` of the total variation, in nats, 0 to 1e9. Default 3.
    pub total_variation: f64,
    /// Largest change of a pixel in one step, 0 to a million. Default .01: it limits the effect of single large
    /// gradients.
    pub largest_change: f32,
}

setters!(RestorationConfig { steps: usize, rate: f64, total_variation: f64, largest_change: f32 });

impl Default for RestorationConfig {
    fn default() -> Self {
        Self { steps: 100, rate: 1e-4, total_variation: 3.0, largest_change: 0.01 }
    }
}

impl RestorationConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("steps", self.steps, 1..=MOST_STEPS)?;
        in_range("rate", self.rate, 0.0..=1e6)?;
        in_range("total_variation", self.total_variation, 0.0..=1e9)?;
        in_range("largest_change", self.largest_change, 0.0..=1e6)
    }

    /// The same for inputs whose range is `width` instead of 1: restorations of inputs that are scaled are scaled alike.
    pub(crate) fn scaled(self, width: f64) -> Self {
        Self {
            rate: self.rate * width * width,
            total_variation: self.total_variation / width,
            largest_change: (f64::from(self.largest_change) * width) as f32,
            ..self
        }
    }
}
