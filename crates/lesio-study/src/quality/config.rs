//! What the study of quality measures.

use lesio_quality::Smoothing;
use lesio_settings::{SettingError, in_range, require, setters};
use serde::{Deserialize, Serialize};

/// Most test candidates for each twentieth of the Dice, and steps of an attack.
const MOST: usize = 10_000;
/// Largest strength of an attack that is studied.
const LARGEST_STRENGTH: f32 = 10.0;

/// What the study measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QualityStudyConfig {
    /// Seed of attacks, changes and bootstraps.
    pub seed: u64,
    /// Test candidates for each twentieth of the Dice, 1 to 10000. Default 12.
    pub per_bin: usize,
    /// Strengths of attacks and natural changes, above 0, at most 10. Default .05, .1, .2 and .3.
    pub strengths: Vec<f32>,
    /// Steps of projected gradient descent, 1 to 10000. Default 10.
    pub pgd_steps: usize,
    /// Noise, in deviations of the image, with which estimates of the second opinion are certified; each above 0, at most
    /// 100. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certify: Vec<f64>,
    /// Noisy copies of each candidate for this, as [`Smoothing::draws`]. Default 256.
    #[serde(default = "certify_draws")]
    pub certify_draws: usize,
}

fn certify_draws() -> usize {
    Smoothing::new(1.0).draws
}

impl QualityStudyConfig {
    /// The defaults, under a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let strengths = vec![0.05, 0.1, 0.2, 0.3];
        Self {
            seed,
            per_bin: 12,
            strengths,
            pgd_steps: 10,
            certify: Vec::new(),
            certify_draws: certify_draws(),
        }
    }

    /// With other strengths.
    #[must_use]
    pub fn strengths(mut self, strengths: impl Into<Vec<f32>>) -> Self {
        self.strengths = strengths.into();
        self
    }

    /// With estimates certified by noise of these deviations.
    #[must_use]
    pub fn certify(mut self, deviations: impl Into<Vec<f64>>) -> Self {
        self.certify = deviations.into();
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("per_bin", self.per_bin, 1..=MOST)?;
        let sound = self.strengths.iter().all(|&strength| strength > 0.0 && strength <= LARGEST_STRENGTH);
        require(sound, "strengths", &self.strengths, "numbers above 0, of at most 10")?;
        in_range("pgd_steps", self.pgd_steps, 1..=MOST)?;
        let smoothing = |&deviation| Smoothing::new(deviation).draws(self.certify_draws);
        self.certify.iter().map(smoothing).try_for_each(|own| own.validate())
    }
}

setters!(QualityStudyConfig { per_bin: usize, pgd_steps: usize, certify_draws: usize });
