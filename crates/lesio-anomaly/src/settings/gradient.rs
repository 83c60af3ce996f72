//! Settings of gradient maps.

use lesio_settings::{SettingError, in_range, setters};
use serde::{Deserialize, Serialize};

use crate::smoothing::LARGEST_DEVIATION;

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
