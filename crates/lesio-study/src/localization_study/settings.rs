//! The variations between the models of a study, and their budget.

use lesio_settings::{SettingError, in_range, require};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A variation of the models of a study.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variation {
    /// Weight of the divergence, 0 to 1e9.
    pub beta: f64,
    /// Latent dimensions, 1 to 65536.
    pub latent: usize,
    /// Standard deviation of the Gaussian likelihood, 1e-6 to 1e6.
    pub scale: f64,
}

impl Default for Variation {
    /// Beta 1, 128 latent dimensions, scale .1: what the others are compared with.
    fn default() -> Self {
        Self { beta: 1.0, latent: 128, scale: 0.1 }
    }
}

impl Variation {
    /// The models of a study: the default, then one thing varied at a time, the weight of the divergence first.
    #[must_use]
    pub fn grid() -> Vec<Self> {
        let base = Self::default();
        let betas = [0.0, 0.1, 4.0, 10.0].map(|beta| Self { beta, ..base });
        let latents = [32, 512].map(|latent| Self { latent, ..base });
        let scales = [0.05, 0.3].map(|scale| Self { scale, ..base });
        std::iter::once(base).chain(betas).chain(latents).chain(scales).collect()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("beta", self.beta, 0.0..=1e9)?;
        in_range("latent", self.latent, 1..=1 << 16)?;
        in_range("scale", self.scale, 1e-6..=1e6)
    }

    /// A name that is also used for files.
    #[must_use]
    pub fn name(&self) -> String {
        format!("beta{}-latent{}-scale{}", self.beta, self.latent, self.scale)
    }
}

/// The size and the training length of the models of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Rows and columns of the grid, 1 to 4096.
    pub size: usize,
    /// Channels at each resolution.
    pub widths: Vec<usize>,
    /// Passes over the training slices, 1 to a million.
    pub epochs: usize,
    /// Slices per update, 1 to 65536.
    pub batch: usize,
    /// Steps of projection and restoration, 1 to 10000.
    pub steps: usize,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Replicates of the bootstrap, 1 to a million.
    pub replicates: usize,
}

impl Budget {
    /// The settings in which another budget differs from this one, with both values.
    pub(super) fn difference(&self, other: &Self) -> String {
        let (Ok(Value::Object(own)), Ok(other)) = (serde_json::to_value(self), serde_json::to_value(other))
        else {
            return String::new();
        };
        let differing = own.iter().filter(|&(name, value)| other.get(name) != Some(value));
        let told = differing.map(|(name, value)| format!("{name} is {}, expected {value}", other[name]));
        told.collect::<Vec<_>>().join("; ")
    }

    /// Checks every setting. Settings of the model, its training, its predictors and the bootstrap are also checked by
    /// those types, before a study starts.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("size", self.size, 1..=4096)?;
        require(!self.widths.is_empty(), "widths", &self.widths, "at least one")?;
        in_range("epochs", self.epochs, 1..=1_000_000)?;
        in_range("batch", self.batch, 1..=1 << 16)?;
        in_range("steps", self.steps, 1..=10_000)?;
        in_range("replicates", self.replicates, 1..=1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use lesio_settings::mutation::refusals;

    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        assert!(Variation::grid().iter().all(|variation| variation.validate().is_ok()));
        let (valid, check) = (Variation::default, Variation::validate);
        let refused = refusals(valid(), check, [f64::NAN, f64::INFINITY, -1.0, 1e18]);
        refused("beta", |own, value| own.beta = value);
        refused("scale", |own, value| own.scale = value);
        refusals(valid(), check, [0, usize::MAX])("latent", |own, value| own.latent = value);
        let budget =
            Budget { size: 32, widths: vec![4], epochs: 1, batch: 4, steps: 2, seed: 1, replicates: 10 };
        let refused = refusals(budget, Budget::validate, [0, usize::MAX]);
        refused("size", |own, value| own.size = value);
        refused("epochs", |own, value| own.epochs = value);
        refused("batch", |own, value| own.batch = value);
        refused("steps", |own, value| own.steps = value);
        refused("replicates", |own, value| own.replicates = value);
    }
}
