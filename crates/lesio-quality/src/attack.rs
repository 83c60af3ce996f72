//! Attacks: changes of the image, within a bound for each pixel, that maximize the error of an estimate.

use lesio_nn::{EngineError, random};
use lesio_settings::{SettingError, field_defaults, in_range, setters};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::{EstimateError, InputError};
use crate::estimator::Estimator;
use crate::samples::Samples;

/// Samples that are computed at once.
const BATCH: usize = 16;
/// Stream of the random starts, apart from those of training.
const START_SEED: u64 = 0x5eed_a77a;

/// The algorithm of an attack. Segmentations are unchanged; gradients go through the whole estimator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum AttackKind {
    /// One step along the sign of the gradient (Goodfellow et al. 2015, as in Kurakin et al. 2016).
    Fgsm,
    /// Projected gradient descent (Madry et al. 2018): steps along the sign of the gradient, each brought back
    /// within the bound, from a random start within it.
    Pgd {
        /// Number of steps, 1 to 10000.
        steps: usize,
    },
}

/// Most steps of an attack.
pub(crate) const MOST_STEPS: usize = 10_000;
/// Largest strength of an attack: any image is lost in a tenth of it.
pub(crate) const LARGEST_STRENGTH: f32 = 1e3;

/// The unit of strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttackUnit {
    /// The standard deviation of each of the slice's channels.
    Std,
    /// The range of the intensities of each of the slice's channels, as if they were 0 to 1.
    Range,
}

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// The algorithm.
    pub kind: AttackKind,
    /// The largest change of a pixel, in `unit`; 0 to 1000.
    pub strength: f32,
    /// The unit of strength.
    pub unit: AttackUnit,
    /// Seed of random starts. Default 0.
    #[serde(default = "AttackDefaults::seed")]
    pub seed: u64,
}

impl Attack {
    /// An attack.
    #[must_use]
    pub fn new(kind: AttackKind, strength: f32, unit: AttackUnit) -> Self {
        Self { kind, strength, unit, seed: 0 }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("strength", self.strength, 0.0..=LARGEST_STRENGTH)?;
        match self.kind {
            AttackKind::Fgsm => Ok(()),
            AttackKind::Pgd { steps } => in_range("pgd.steps", steps, 1..=MOST_STEPS),
        }
    }

    /// The bound in deviations for a channel whose range is this many deviations.
    #[must_use]
    pub fn bound(&self, range: f32) -> f32 {
        match self.unit {
            AttackUnit::Std => self.strength,
            AttackUnit::Range => self.strength * range,
        }
    }

    /// Attacks an estimator, and returns the changed images of samples, `[n, channels, h, w]`.
    ///
    /// The attack increases the squared error of the mean Dice over the labels, whose truth it knows: it raises
    /// estimates that are too high, and lowers estimates that are too low. At strength 0 the images are unchanged.
    ///
    /// # Errors
    /// Those of [`Attack::validate`]; failures of the device.
    pub fn perturb(
        &self,
        estimator: &Estimator,
        samples: &Samples,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<f32>, EstimateError> {
        self.validate().map_err(InputError::from)?;
        let all: Vec<usize> = (0..samples.len()).collect();
        let mut perturbed = Vec::new();
        for chunk in all.chunks(BATCH) {
            let batch = samples.select(chunk);
            let clean = batch.images();
            // Of each channel of each sample.
            let ranges = batch.iter().flat_map(|sample| &sample.ranges);
            let bounds: Vec<f32> = ranges.map(|&range| self.bound(range)).collect();
            let (mut images, steps, share) = match self.kind {
                AttackKind::Fgsm => (clean.clone(), 1, 1.0),
                AttackKind::Pgd { steps } => {
                    (self.random_start(chunk, &clean, &bounds), steps, STEP / steps.max(1) as f32)
                }
            };
            for _ in 0..steps {
                let gradient = error_gradient(estimator, &batch, &images)?;
                step(&mut images, &clean, &gradient, &bounds, share);
            }
            perturbed.extend(images);
            progress(chunk.len());
        }
        Ok(perturbed)
    }

    fn random_start(&self, chunk: &[usize], clean: &[f32], bounds: &[f32]) -> Vec<f32> {
        let mut images = clean.to_vec();
        let [values, channels] = [clean.len(), bounds.len()].map(|all| (all / chunk.len().max(1)).max(1));
        let samples = images.chunks_exact_mut(values).zip(bounds.chunks_exact(channels)).zip(chunk);
        for ((image, bounds), &sample) in samples {
            let mut generator = random::generator(self.seed ^ START_SEED, sample as u64);
            for (channel, &bound) in image.chunks_exact_mut((values / channels).max(1)).zip(bounds) {
                for value in channel {
                    *value += bound * generator.random_range(-1.0..=1.0f32);
                }
            }
        }
        images
    }
}

setters!(Attack { seed: u64 });

field_defaults!(AttackDefaults: Attack::new(AttackKind::Fgsm, 0.0, AttackUnit::Std) => { seed: u64 });

/// Length of all steps of a projected descent together, in bounds: enough to cross from one side to the
/// other with some to spare.
const STEP: f32 = 2.5;

/// The gradient of each sample's squared error, but for a positive factor: signs are all that is used.
fn error_gradient(estimator: &Estimator, batch: &Samples, images: &[f32]) -> Result<Vec<f32>, EngineError> {
    let labels = estimator.config().framing.labels.len();
    let truth: Vec<f32> = batch.iter().map(|sample| sample.mean_dice() as f32).collect();
    let weigh = |dice: &[f32]| error_weights(dice, &truth, labels);
    estimator.image_gradient(images, &batch.segmentations(), &weigh)
}

/// Weights of each Dice by which the error of the mean grows.
pub(crate) fn error_weights(estimated: &[f32], truth: &[f32], labels: usize) -> Vec<f32> {
    estimated
        .chunks_exact(labels.max(1))
        .zip(truth)
        .flat_map(|(estimated, &truth)| {
            let mean = estimated.iter().sum::<f32>() / labels as f32;
            std::iter::repeat_n(if mean < truth { -1.0 } else { 1.0 }, labels)
        })
        .collect()
}

/// Moves images by a share of their bounds along the sign of the gradient, and back within the bounds
/// around `clean`. Where the gradient is 0 nothing moves.
pub(crate) fn step(images: &mut [f32], clean: &[f32], gradient: &[f32], bounds: &[f32], share: f32) {
    let pixels = (images.len() / bounds.len().max(1)).max(1);
    let rows =
        images.chunks_exact_mut(pixels).zip(clean.chunks_exact(pixels)).zip(gradient.chunks_exact(pixels));
    for (((image, clean), gradient), &bound) in rows.zip(bounds) {
        for ((value, &clean), &gradient) in image.iter_mut().zip(clean).zip(gradient) {
            let sign = if gradient == 0.0 || gradient.is_nan() { 0.0 } else { gradient.signum() };
            *value = (*value + share * bound * sign).max(clean - bound).min(clean + bound);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        for strength in [f32::NAN, f32::INFINITY, -0.1, 1e9] {
            let attack = Attack::new(AttackKind::Fgsm, strength, AttackUnit::Std);
            assert_eq!(attack.validate().unwrap_err().setting, "strength");
        }
        for steps in [0, 1_000_000_000, usize::MAX] {
            let attack = Attack::new(AttackKind::Pgd { steps }, 0.1, AttackUnit::Range);
            assert_eq!(attack.validate().unwrap_err().setting, "pgd.steps");
        }
        assert_eq!(Attack::new(AttackKind::Pgd { steps: 20 }, 0.0, AttackUnit::Std).validate(), Ok(()));
    }

    #[test]
    fn steps_stay_within_their_bounds() {
        let clean = [0.0, 1.0, 2.0, 3.0];
        let mut images = clean;
        step(&mut images, &clean, &[1.0, -2.0, 0.0, f32::NAN], &[0.1, 0.5], 1.0);
        assert_eq!(images, [0.1, 0.9, 2.0, 3.0]);
        step(&mut images, &clean, &[1.0, 1.0, 5.0, -5.0], &[0.1, 0.5], 0.5);
        assert_eq!(images, [0.1, 0.95, 2.25, 2.75]);
        step(&mut images, &clean, &[0.0; 4], &[0.1, 0.2], 1.0);
        assert_eq!(images, [0.1, 0.95, 2.2, 2.8]);
    }

    #[test]
    fn the_error_of_the_mean_grows() {
        assert_eq!(error_weights(&[0.2, 0.4, 0.9, 0.7], &[0.5, 0.5], 2), [-1.0, -1.0, 1.0, 1.0]);
        let attack = Attack::new(AttackKind::Fgsm, 0.1, AttackUnit::Range);
        assert_eq!(attack.bound(5.0), 0.5);
    }
}
