//! The training of estimators, on clean and on attacked images.

use lesio_nn::TrainConfig;
use lesio_settings::{SettingError, in_range, setters};
use serde::{Deserialize, Serialize};

use crate::attack::{LARGEST_STRENGTH, MOST_STEPS};
use crate::augmentation::SampleAugmentation;

/// Bounds of attacks are the widest times a uniform draw to this power: wide ones mostly when a training begins, narrow
/// ones mostly when it ends. A network that had learned from wide ones gained more from narrow ones than it lost.
const FIRST_EXPONENT: f32 = 0.5;
/// The power when a training ends.
const LAST_EXPONENT: f32 = 2.0;

/// The training of an estimator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct EstimatorTraining {
    /// Epochs, batches, optimizer, patience and seed.
    pub train: TrainConfig,
    /// Augmentation of the samples.
    pub augmentation: SampleAugmentation,
    /// Training on attacked images; `None`, the default, for clean ones only. A document calls it `hardening`.
    #[serde(rename = "hardening")]
    pub adversarial: Option<AdversarialTraining>,
}

impl EstimatorTraining {
    /// Training by these epochs, batches and seed.
    #[must_use]
    pub fn new(train: TrainConfig) -> Self {
        Self { train, ..Self::default() }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.train.validate().map_err(|error| error.within("train"))?;
        self.augmentation.validate().map_err(|error| error.within("augmentation"))?;
        let adversarial = self.adversarial.as_ref().map_or(Ok(()), AdversarialTraining::validate);
        adversarial.map_err(|error| error.within("adversarial"))
    }

    /// Adds training on attacked images.
    #[must_use]
    pub fn adversarial(mut self, adversarial: AdversarialTraining) -> Self {
        self.adversarial = Some(adversarial);
        self
    }
}

setters!(EstimatorTraining { augmentation: SampleAugmentation });

/// Adversarial training: on images that an attack on the present state of the estimator has changed, besides those it
/// started from.
///
/// Each sample draws a bound of its own, and every third attack starts at a random place within it: against one
/// step from the image itself alone, networks learn to bend their gradients instead of becoming robust
/// (Wong, Rice and Kolter 2020, "Fast is better than free"). The passes of the attack are learned from as well, since
/// they give the gradients by the parameters along with those by the image (Shafahi et al. 2019, "Adversarial
/// training for free!"): clean images cost nothing more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct AdversarialTraining {
    /// The largest bound, in deviations, 1e-6 to 1000; the mean one falls from two thirds of it to one third over a training. Default .3.
    pub strength: f32,
    /// Share of the samples that no attack changes, 0 to 1. Default 0: the passes of the attack show clean images.
    pub clean: f32,
    /// Steps of the attack, 1 to 10000, each a pass forth and back that is learned from. Default 1, the cheapest: over
    /// long trainings a network can learn to mislead one step (see docs/notebook.md), which shows under attacks of more
    /// steps alone.
    pub steps: usize,
}

impl Default for AdversarialTraining {
    fn default() -> Self {
        Self { strength: 0.3, clean: 0.0, steps: 1 }
    }
}

impl AdversarialTraining {
    /// Training against attacks up to a bound.
    #[must_use]
    pub fn new(strength: f32) -> Self {
        Self { strength, ..Self::default() }
    }

    /// Steps of the attacks that help to choose among epochs: twice those of training, so that misleading the latter is not
    /// taken for robustness. One stays one, which cannot tell: judged by more, a long training would be taken from before
    /// its end, while the updates that follow it mend the end.
    pub(crate) fn held_out_steps(&self) -> usize {
        if self.steps == 1 { 1 } else { 2 * self.steps }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("strength", self.strength, 1e-6..=LARGEST_STRENGTH)?;
        in_range("clean", self.clean, 0.0..=1.0)?;
        in_range("steps", self.steps, 1..=MOST_STEPS)
    }
}

setters!(AdversarialTraining { clean: f32, steps: usize });

/// The power of the draws of an epoch, counted from 0: each epoch's is that of the one before times the same factor.
pub(crate) fn exponent(epoch: usize, epochs: usize) -> f32 {
    let done = (epoch as f32 + 0.5) / epochs.max(1) as f32;
    FIRST_EXPONENT * (LAST_EXPONENT / FIRST_EXPONENT).powf(done)
}

/// Length of one step of several in training, as a share of the bound: together they reach it, with some to spare.
pub(crate) fn step_share(steps: usize) -> f32 {
    (1.25 / steps as f32).max(0.25)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_attacks_come_first_and_narrow_ones_last() {
        let mean = |epoch: usize| 1.0 / (1.0 + exponent(epoch, 40));
        assert!((mean(0) - 0.66).abs() < 0.01 && (mean(39) - 0.34).abs() < 0.01);
        assert!((1..40).all(|epoch| mean(epoch) < mean(epoch - 1)));
        // One epoch has the middle of both.
        assert!((exponent(0, 1) - 1.0).abs() < 1e-6);
    }
}
