//! The configuration of heart images.

use lesio_settings::{field_defaults, in_range, setters};
use serde::{Deserialize, Serialize};

use crate::phantom::{PhantomError, check_size};

/// The configuration of a [`HeartPhantom`](crate::HeartPhantom).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct HeartConfig {
    /// Rows and columns of a slice, each 16 to 1024.
    pub size: [usize; 2],
    /// Seed of the whole population: subject `n` is a function of it and of `n`.
    pub seed: u64,
    /// Millimeters across the shorter side, 80 to 1000. Default 170: the heart fills half of it.
    #[serde(default = "HeartDefaults::field_of_view")]
    pub field_of_view: f64,
    /// Slices of a volume, 1 to 512. Default 10, 9 mm apart.
    #[serde(default = "HeartDefaults::slices")]
    pub slices: usize,
    /// Deviation of the Rician noise in units of the intensities (blood is near 0.75), 0 to 1. Default
    /// 0.02.
    #[serde(default = "HeartDefaults::noise")]
    pub noise: f64,
    /// Logarithmic deviation of the bias field, 0 to 1. Default 0.12: surface coils are uneven.
    #[serde(default = "HeartDefaults::bias")]
    pub bias: f64,
}

impl HeartConfig {
    /// Slices of `size` rows and columns, with defaults otherwise.
    #[must_use]
    pub fn new(size: [usize; 2], seed: u64) -> Self {
        Self { size, seed, field_of_view: 170.0, slices: 10, noise: 0.02, bias: 0.12 }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`PhantomError::Size`] and [`PhantomError::Setting`] for a number outside the range stated with its field.
    pub fn validate(&self) -> Result<(), PhantomError> {
        check_size(self.size)?;
        in_range("field_of_view", self.field_of_view, 80.0..=1000.0)?;
        in_range("slices", self.slices, 1..=512)?;
        in_range("noise", self.noise, 0.0..=1.0)?;
        in_range("bias", self.bias, 0.0..=1.0)?;
        Ok(())
    }
}

setters!(HeartConfig { field_of_view: f64, slices: usize, noise: f64, bias: f64 });

field_defaults!(HeartDefaults: HeartConfig::new([16, 16], 0) => {
    field_of_view: f64,
    slices: usize,
    noise: f64,
    bias: f64,
});

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn documents_need_what_new_needs_and_hold_nothing_else() {
        let found = from_value::<HeartConfig>(json!({"size": [64, 48], "seed": 3, "slices": 7})).unwrap();
        assert_eq!(found, HeartConfig::new([64, 48], 3).slices(7));
        let error = from_value::<HeartConfig>(json!({"size": [64, 48], "seed": 3, "slice": 7})).unwrap_err();
        assert!(error.to_string().starts_with("unknown field `slice`"), "{error}");
    }
}
