//! The configuration of brain images.

use lesio_settings::{field_defaults, in_range, require, setters};
use serde::{Deserialize, Serialize};

use super::contrast::Contrast;
use crate::phantom::{PhantomError, check_size};

/// The configuration of a [`BrainPhantom`](crate::BrainPhantom).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct BrainConfig {
    /// Rows and columns of a slice, each 16 to 1024. Gyri need about 96 to be distinguishable.
    pub size: [usize; 2],
    /// The simulated sequence.
    pub contrast: Contrast,
    /// Seed of the whole population: subject `n` is a function of it and of `n`.
    pub seed: u64,
    /// Millimeters across the shorter side, 100 to 1000. Default 224: a head fills nine tenths of it.
    #[serde(default = "BrainDefaults::field_of_view")]
    pub field_of_view: f64,
    /// Slices of a volume, 1 to 512. Default 20, which over the default heights puts them 3.3 mm apart.
    #[serde(default = "BrainDefaults::slices")]
    pub slices: usize,
    /// Lowest and highest slice of a volume, in millimeters above the plane through the commissures,
    /// within -10 to 64. Default -4 to 60: from the thalamus to near the vertex.
    #[serde(default = "BrainDefaults::heights")]
    pub heights: [f64; 2],
    /// Between which heights [`BrainPhantom::slice`](crate::BrainPhantom::slice) draws the one slice of a subject. Default 2 to 26,
    /// where the ventricles show.
    #[serde(default = "BrainDefaults::slice_heights")]
    pub slice_heights: [f64; 2],
    /// Deviation of the Rician noise in units of the intensities (white matter is near 0.5 in FLAIR and
    /// near 0.8 in T1), 0 to 1. Default 0.015, that of a good clinical scan.
    #[serde(default = "BrainDefaults::noise")]
    pub noise: f64,
    /// Logarithmic deviation of the bias field, 0 to 1. Default 0.08: some 15 % between head's ends.
    #[serde(default = "BrainDefaults::bias")]
    pub bias: f64,
}

impl BrainConfig {
    /// Slices of `size` rows and columns, with defaults otherwise.
    #[must_use]
    pub fn new(size: [usize; 2], contrast: Contrast, seed: u64) -> Self {
        Self {
            size,
            contrast,
            seed,
            field_of_view: 224.0,
            slices: 20,
            heights: [-4.0, 60.0],
            slice_heights: [2.0, 26.0],
            noise: 0.015,
            bias: 0.08,
        }
    }

    /// Sets [`BrainConfig::heights`].
    #[must_use]
    pub fn heights(mut self, lowest: f64, highest: f64) -> Self {
        self.heights = [lowest, highest];
        self
    }

    /// Sets [`BrainConfig::slice_heights`].
    #[must_use]
    pub fn slice_heights(mut self, lowest: f64, highest: f64) -> Self {
        self.slice_heights = [lowest, highest];
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`PhantomError::Size`] and [`PhantomError::Setting`] for a number outside the range stated with its field.
    pub fn validate(&self) -> Result<(), PhantomError> {
        check_size(self.size)?;
        in_range("field_of_view", self.field_of_view, 100.0..=1000.0)?;
        in_range("slices", self.slices, 1..=512)?;
        for (name, [low, high]) in [("heights", self.heights), ("slice_heights", self.slice_heights)] {
            in_range(name, low, -10.0..=64.0)?;
            in_range(name, high, low..=64.0)?;
        }
        let [low, high] = self.heights;
        require(self.slices == 1 || low < high, "heights", high, "more than the lower height")?;
        in_range("noise", self.noise, 0.0..=1.0)?;
        in_range("bias", self.bias, 0.0..=1.0)?;
        Ok(())
    }
}

setters!(BrainConfig { field_of_view: f64, slices: usize, noise: f64, bias: f64 });

field_defaults!(BrainDefaults: BrainConfig::new([16, 16], Contrast::default(), 0) => {
    field_of_view: f64,
    slices: usize,
    heights: [f64; 2],
    slice_heights: [f64; 2],
    noise: f64,
    bias: f64,
});

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn documents_need_what_new_needs_and_hold_nothing_else() {
        let read = |document| from_value::<BrainConfig>(document);
        let found = read(json!({"size": [64, 48], "contrast": "t1", "seed": 3})).unwrap();
        assert_eq!(found, BrainConfig::new([64, 48], Contrast::T1, 3));
        let found =
            read(json!({"size": [64, 48], "contrast": "t1", "seed": 3, "heights": [0.0, 9.0]})).unwrap();
        assert_eq!(found, BrainConfig::new([64, 48], Contrast::T1, 3).heights(0.0, 9.0));
        let error = read(json!({"size": [64, 48], "contrast": "t1", "seed": 3, "nois": 0.1})).unwrap_err();
        assert!(error.to_string().starts_with("unknown field `nois`"), "{error}");
        let error = read(json!({"size": [64, 48], "seed": 3})).unwrap_err();
        assert_eq!(error.to_string(), "missing field `contrast`");
    }
}
