//! The configuration of candidates and trainings.

use lesio_nn::{AdamConfig, TrainConfig};
use lesio_settings::{SettingError, field_defaults, in_range, require};
use serde::{Deserialize, Serialize};

use crate::training::AdversarialTraining;

/// Bins of the Dice, each of a twentieth.
const BINS: usize = 20;
/// Most segmenters, stages and epochs of theirs.
const MOST_SEGMENTERS: usize = 100;
const MOST_STAGES: usize = 1000;
const MOST_EPOCHS: usize = 1_000_000;
/// Most slices, corruptions of a slice, and candidates for each twentieth of the Dice.
const MOST_SLICES: usize = 1_000_000;
const MOST_CORRUPTIONS: usize = 10_000;
const MOST_PER_BIN: usize = 1_000_000;
/// Most updates of a training, and samples of an update.
const MOST_UPDATES: usize = 1_000_000_000;
const MOST_SAMPLES: usize = 1 << 16;

/// The configuration of candidates and trainings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// Seed of all random numbers.
    pub seed: u64,
    /// Channels of each segmenter, finest first, of 1 to 100 segmenters. Each is trained twice, on either half of the training patients,
    /// and gives candidates for the other half: no patient's candidates come from a segmenter trained on that patient.
    #[serde(default = "PipelineDefaults::segmenters")]
    pub segmenters: Vec<Vec<usize>>,
    /// Epochs after which each segmenter gives candidates, ascending, up to a million; the last ends its training.
    #[serde(default = "PipelineDefaults::stages")]
    pub stages: Vec<usize>,
    /// Slices of a group of patients that candidates are made for, at most: of more, every second, third and so on.
    /// Default 1000, at most a million.
    #[serde(default = "PipelineDefaults::slices")]
    pub slices: usize,
    /// Corruptions tried for each slice, 0 to 10000. Default 12.
    #[serde(default = "PipelineDefaults::corruptions")]
    pub corruptions: usize,
    /// Candidates kept for each twentieth of the Dice, 1 to a million: for training. Default 400.
    #[serde(default = "PipelineDefaults::training_per_bin")]
    pub training_per_bin: usize,
    /// The same for validation and calibration. Default 30.
    #[serde(default = "PipelineDefaults::validation_per_bin")]
    pub validation_per_bin: usize,
    /// Updates of REC-Net, as of all others 1 to a billion. Default 1500.
    #[serde(default = "PipelineDefaults::reconstruction_steps")]
    pub reconstruction_steps: usize,
    /// Updates of each estimator but [`Method::SecondOpinion`](crate::Method::SecondOpinion). Default 4000.
    #[serde(default = "PipelineDefaults::estimator_steps")]
    pub estimator_steps: usize,
    /// Updates of [`Method::SecondOpinion`](crate::Method::SecondOpinion), of half a batch each. Default 60000: it
    /// learns from clean and attacked images, and improves long after the other methods have converged.
    #[serde(default = "PipelineDefaults::opinion_steps")]
    pub opinion_steps: usize,
    /// Updates of [`Method::SecondOpinion`](crate::Method::SecondOpinion) that follow those, at half their rate, under `finishing`. Default 2000; 0
    /// leaves them out.
    #[serde(default = "PipelineDefaults::finishing_steps")]
    pub finishing_steps: usize,
    /// Samples of an update, 1 to 65536. Default 16.
    #[serde(default = "PipelineDefaults::batch")]
    pub batch: usize,
    /// Adversarial training of [`Method::SecondOpinion`](crate::Method::SecondOpinion); the others are trained as published. A document may call it
    /// `hardening`.
    #[serde(alias = "hardening", default = "PipelineDefaults::adversarial")]
    pub adversarial: AdversarialTraining,
    /// Adversarial training of its last updates. Default: attacks of two steps, since one step is what a long training can learn to
    /// mislead. Two steps from the start (`adversarial`) take half as long again, and give an estimator that ten steps harm
    /// less, but that is worse on clean images and under one step.
    #[serde(default = "PipelineDefaults::finishing")]
    pub finishing: AdversarialTraining,
    /// Views that [`Method::SecondOpinion`](crate::Method::SecondOpinion) averages over when it is asked, 1, 2 or 4. Default 2.
    #[serde(default = "PipelineDefaults::views")]
    pub views: usize,
}

field_defaults!(PipelineDefaults: PipelineConfig::new(0) => {
    segmenters: Vec<Vec<usize>>,
    stages: Vec<usize>,
    slices: usize,
    corruptions: usize,
    training_per_bin: usize,
    validation_per_bin: usize,
    reconstruction_steps: usize,
    estimator_steps: usize,
    opinion_steps: usize,
    finishing_steps: usize,
    batch: usize,
    adversarial: AdversarialTraining,
    finishing: AdversarialTraining,
    views: usize,
});

impl PipelineConfig {
    /// The defaults, with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            segmenters: vec![vec![8, 16, 32], vec![16, 32, 48, 64]],
            stages: vec![1, 2, 3, 5, 8, 16],
            slices: 1000,
            corruptions: 12,
            training_per_bin: 400,
            validation_per_bin: 30,
            reconstruction_steps: 1500,
            estimator_steps: 4000,
            opinion_steps: 60000,
            finishing_steps: 2000,
            batch: 16,
            adversarial: AdversarialTraining::default(),
            finishing: AdversarialTraining::default().steps(2),
            views: 2,
        }
    }

    /// With all trainings longer or shorter by this factor (at least one step each). A training passes over its samples at
    /// least once, so with a factor below about 1/60 of the defaults there are also fewer candidates, as many as the updates
    /// of [`Method::SecondOpinion`](crate::Method::SecondOpinion) reach.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        let scale = |count: usize, factor: f64| ((count as f64 * factor).round() as usize).max(1);
        self.reconstruction_steps = scale(self.reconstruction_steps, factor);
        self.estimator_steps = scale(self.estimator_steps, factor);
        self.opinion_steps = scale(self.opinion_steps, factor);
        if self.finishing_steps > 0 {
            self.finishing_steps = scale(self.finishing_steps, factor);
        }
        // Segmenters take the least of the time, and their last stages are the candidates that matter in practice.
        for stage in &mut self.stages {
            *stage = scale(*stage, factor.sqrt());
        }
        self.stages.dedup();
        let reached = (self.opinion_steps * self.batch / 2 / BINS).max(1);
        self.training_per_bin = self.training_per_bin.min(reached);
        self.validation_per_bin = self.validation_per_bin.min(self.training_per_bin);
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("number of segmenters", self.segmenters.len(), 1..=MOST_SEGMENTERS)?;
        in_range("number of stages", self.stages.len(), 1..=MOST_STAGES)?;
        let ascending = self.stages.is_sorted_by(|a, b| a < b) && !self.stages.contains(&0);
        require(ascending, "stages", &self.stages, "ascending numbers of epochs from 1")?;
        let last = self.stages.last().copied().unwrap_or(0);
        in_range("last stage", last, 1..=MOST_EPOCHS)?;
        in_range("slices", self.slices, 1..=MOST_SLICES)?;
        in_range("corruptions", self.corruptions, 0..=MOST_CORRUPTIONS)?;
        in_range("training_per_bin", self.training_per_bin, 1..=MOST_PER_BIN)?;
        in_range("validation_per_bin", self.validation_per_bin, 1..=MOST_PER_BIN)?;
        in_range("reconstruction_steps", self.reconstruction_steps, 1..=MOST_UPDATES)?;
        in_range("estimator_steps", self.estimator_steps, 1..=MOST_UPDATES)?;
        in_range("opinion_steps", self.opinion_steps, 1..=MOST_UPDATES)?;
        in_range("finishing_steps", self.finishing_steps, 0..=MOST_UPDATES)?;
        in_range("batch", self.batch, 1..=MOST_SAMPLES)?;
        self.adversarial.validate().map_err(|error| error.within("adversarial"))?;
        self.finishing.validate().map_err(|error| error.within("finishing"))?;
        require([1, 2, 4].contains(&self.views), "views", self.views, "1, 2 or 4")
    }

    pub(crate) fn train_config(&self, samples: usize, steps: usize, batch: usize, seed: u64) -> TrainConfig {
        let warm_up = (steps as u64 / 20).clamp(1, 100);
        TrainConfig::default()
            .batch_size(batch)
            .epochs((steps * batch).div_ceil(samples.max(1)).max(1))
            .adam(AdamConfig::default().rate(2e-3).warm_up(warm_up).clip_norm(Some(2.0)))
            .patience(None)
            .seed(self.seed.wrapping_add(seed))
    }
}

#[cfg(test)]
mod tests {
    use lesio_settings::mutation::with_unknown_fields;
    use serde::de::DeserializeOwned;
    use serde_json::{from_value, json};

    use super::*;
    use crate::{
        Attack, AttackKind, AttackUnit, EstimatorConfig, EstimatorTraining, Framing, Method, SegmenterConfig,
        Smoothing,
    };

    /// Checks that a document of a configuration is refused with one more field, wherever it stands.
    fn refuses_unknown_fields<T: Serialize + DeserializeOwned>(config: &T) {
        for change in with_unknown_fields(&json!(config)) {
            let error = from_value::<T>(change.document).map(|_| ()).unwrap_err().to_string();
            // The name of a variant is the only field of an enum.
            let is_named = error.starts_with("unknown field `newer`") || error.contains("a single key");
            assert!(is_named, "{}: {error}", change.place);
        }
    }

    #[test]
    fn misspelled_settings_are_named() {
        refuses_unknown_fields(&PipelineConfig::new(1));
        let training = EstimatorTraining::new(TrainConfig::default());
        refuses_unknown_fields(&training.adversarial(AdversarialTraining::default()));
        refuses_unknown_fields(&EstimatorConfig::new(Method::Direct, Framing::new([1])));
        refuses_unknown_fields(&SegmenterConfig::new([16, 16], 1, [4, 8]));
        refuses_unknown_fields(&Attack::new(AttackKind::Pgd { steps: 3 }, 0.1, AttackUnit::Std));
        refuses_unknown_fields(&Smoothing::new(0.25));
        let error = from_value::<PipelineConfig>(json!({"seed": 1, "segmentors": [[4]]})).unwrap_err();
        assert!(error.to_string().starts_with("unknown field `segmentors`"), "{error}");
    }

    #[test]
    fn documents_need_what_new_needs() {
        let read = |document| from_value::<PipelineConfig>(document);
        assert_eq!(read(json!({"seed": 7})).unwrap(), PipelineConfig::new(7));
        assert!(read(json!({"views": 2})).is_err());
        // The name of earlier versions.
        let mut expected = PipelineConfig::new(7);
        expected.adversarial = AdversarialTraining::new(0.5);
        assert_eq!(read(json!({"seed": 7, "hardening": {"strength": 0.5}})).unwrap(), expected);
        let attack = json!({"kind": "fgsm", "strength": 0.5, "unit": "range"});
        let expected = Attack::new(AttackKind::Fgsm, 0.5, AttackUnit::Range);
        assert_eq!(from_value::<Attack>(attack).unwrap(), expected);
        assert_eq!(from_value::<Smoothing>(json!({"deviation": 0.25})).unwrap(), Smoothing::new(0.25));
    }

    #[test]
    fn short_trainings_have_fewer_candidates() {
        let per_bin = |factor: f64| {
            let config = PipelineConfig::new(1).scaled(factor);
            config.validate().unwrap();
            (config.training_per_bin, config.validation_per_bin)
        };
        assert_eq!((per_bin(2.0), per_bin(0.1), per_bin(0.02)), ((400, 30), (400, 30), (400, 30)));
        assert_eq!((per_bin(0.001), per_bin(1e-4), per_bin(1e-9)), ((24, 24), (2, 2), (1, 1)));
    }
}
