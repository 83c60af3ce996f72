//! Adam and its schedule of learning rates.

use lesio_kernels::AdamUpdate;
use lesio_settings::{SettingError, in_range, setters};
use serde::{Deserialize, Serialize};

/// Most steps of a warm-up.
const LARGEST_WARM_UP: u64 = 1 << 40;

/// The schedule of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// A constant rate (after the warm-up).
    Constant,
    /// Falls from the rate to `rate * floor` along half a cosine.
    Cosine {
        /// Fraction of the rate at the end, 0 to 1.
        floor: f64,
    },
}

impl Default for Schedule {
    /// A cosine with floor .05: it removes most of Adam's late noise, and there is no step to choose at which the rate
    /// drops.
    fn default() -> Self {
        Self::Cosine { floor: 0.05 }
    }
}

/// Adam (Kingma and Ba 2015, arXiv:1412.6980) with decoupled weight decay (Loshchilov and Hutter 2019).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// Learning rate at its highest. 1e-12 to 1000. Default 1e-3, which suits networks of some
    /// million weights with normalized inputs.
    pub rate: f64,
    /// Decay of the first moment, from 0 to below 1. Default .9.
    pub beta1: f64,
    /// Decay of the second moment, from 0 to below 1. Default .999.
    pub beta2: f64,
    /// Added to the root of the second moment, 1e-30 to 1. Default 1e-8.
    pub epsilon: f64,
    /// Fraction of each weight that is subtracted per step, times the rate; 0 to 1000. Default 0.
    pub weight_decay: f64,
    /// Steps over which the rate rises linearly from 0, up to 2^40. Default 100: the first second moments are noisy.
    pub warm_up: u64,
    /// The schedule after the warm-up.
    pub schedule: Schedule,
    /// Gradients above this Euclidean norm, 1e-12 to 1e12, are scaled down to it; `None` turns that off. Default
    /// `None`.
    pub clip_norm: Option<f64>,
}

setters!(AdamConfig {
    rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    warm_up: u64,
    schedule: Schedule,
    clip_norm: Option<f64>,
});

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            warm_up: 100,
            schedule: Schedule::default(),
            clip_norm: None,
        }
    }
}

impl AdamConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        let share = 0.0..=1.0 - 1e-9;
        in_range("rate", self.rate, 1e-12..=1e3)?;
        in_range("beta1", self.beta1, share.clone())?;
        in_range("beta2", self.beta2, share)?;
        in_range("epsilon", self.epsilon, 1e-30..=1.0)?;
        in_range("weight_decay", self.weight_decay, 0.0..=1e3)?;
        in_range("warm_up", self.warm_up, 0..=LARGEST_WARM_UP)?;
        if let Schedule::Cosine { floor } = self.schedule {
            in_range("schedule.cosine.floor", floor, 0.0..=1.0)?;
        }
        self.clip_norm.map_or(Ok(()), |norm| in_range("clip_norm", norm, 1e-12..=1e12))
    }

    /// The learning rate of a step, starting from 0, of `total` steps.
    #[must_use]
    pub fn rate_at(&self, step: u64, total: u64) -> f64 {
        if step < self.warm_up {
            return self.rate * (step + 1) as f64 / self.warm_up as f64;
        }
        let floor = match self.schedule {
            Schedule::Constant => return self.rate,
            Schedule::Cosine { floor } => floor,
        };
        let span = total.saturating_sub(self.warm_up).max(1) as f64;
        let position = ((step - self.warm_up) as f64 / span).min(1.0);
        self.rate * (floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * position).cos()))
    }

    /// The coefficients of the update of a step, starting from 0.
    #[must_use]
    pub fn update(&self, step: u64, total: u64, gradient_norm: f64) -> AdamUpdate {
        let gradient_scale = match self.clip_norm {
            Some(limit) if gradient_norm > limit => limit / gradient_norm,
            _ => 1.0,
        };
        AdamUpdate {
            rate: self.rate_at(step, total),
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
            step: step + 1,
            gradient_scale,
        }
    }
}

#[cfg(test)]
mod tests {
    use lesio_settings::mutation::refusals;

    use super::*;

    #[test]
    fn the_rate_rises_and_falls() {
        let config = AdamConfig { rate: 1.0, warm_up: 10, ..AdamConfig::default() };
        assert!((config.rate_at(0, 110) - 0.1).abs() < 1e-12);
        assert!((config.rate_at(10, 110) - 1.0).abs() < 1e-12);
        assert!((config.rate_at(60, 110) - 0.525).abs() < 1e-12);
        assert!((config.rate_at(110, 110) - 0.05).abs() < 1e-12);
        assert!((config.rate_at(500, 110) - 0.05).abs() < 1e-12);
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        let (valid, check) = (AdamConfig::default, AdamConfig::validate);
        let refused = refusals(valid(), check, [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e18]);
        refused("rate", |config, value| config.rate = value);
        refused("beta1", |config, value| config.beta1 = value);
        refused("beta2", |config, value| config.beta2 = value);
        refused("epsilon", |config, value| config.epsilon = value);
        refused("weight_decay", |config, value| config.weight_decay = value);
        refused("clip_norm", |config, value| config.clip_norm = Some(value));
        refused("schedule.cosine.floor", |config, floor| config.schedule = Schedule::Cosine { floor });
        refusals(valid(), check, [0.0])("rate", |config, value| config.rate = value);
        refusals(valid(), check, [1.0])("beta2", |config, value| config.beta2 = value);
        refusals(valid(), check, [u64::MAX])("warm_up", |config, value| config.warm_up = value);
    }

    #[test]
    fn clipping_scales_to_the_limit() {
        let config = AdamConfig { clip_norm: Some(2.0), ..AdamConfig::default() };
        assert_eq!(config.update(0, 1, 8.0).gradient_scale, 0.25);
        assert_eq!(config.update(0, 1, 1.0).gradient_scale, 1.0);
    }
}
