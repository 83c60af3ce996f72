//! From slices with their truth to trained estimators: the steps in order, each resumable.

use lesio_nn::{AdamConfig, Device, Objective, ParameterSet, TrainConfig};
use lesio_settings::{SettingError, in_range, require};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::augmentation::Augmentation;
use crate::candidates::{Candidate, Origin, UniformPool, corruptions};
use crate::config::{EstimatorConfig, Method};
use crate::error::InputError;
use crate::framing::Framing;
use crate::reconstruction::ReconstructionObjective;
use crate::samples::{Sample, Samples};
use crate::segmenter::{Segmenter, SegmenterConfig, SegmenterObjective};
use crate::segmenters::{Segmenters, centred_sample};
use crate::shelf::{Listener, Progress, RecipeError, Shelf, tell};
use crate::slices::{PatientGroups, TrueSlice};
use crate::training::{EstimatorObjective, EstimatorTraining, Hardening};

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

/// How candidates are made and estimators trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recipe {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Channels of each segmenter, finest first, of 1 to 100 segmenters. Each is trained twice, on either half of the training patients,
    /// and gives candidates for the other half: nobody's candidates come from a segmenter that saw them.
    pub segmenters: Vec<Vec<usize>>,
    /// Epochs after which each segmenter gives candidates, ascending, up to a million; the last ends its training.
    pub stages: Vec<usize>,
    /// Slices of a group of patients that candidates are made for, at most: of more, every second, third and so on.
    /// Default 1000, at most a million.
    pub slices: usize,
    /// Corruptions tried for each slice, 0 to 10000. Default 12.
    pub corruptions: usize,
    /// Candidates kept for each twentieth of the Dice, 1 to a million: for training. Default 400.
    pub training_per_bin: usize,
    /// The same for validation and calibration. Default 30.
    pub validation_per_bin: usize,
    /// Updates of REC-Net, as of all others 1 to a billion. Default 1500.
    pub reconstruction_steps: usize,
    /// Updates of each estimator but [`Method::SecondOpinion`]. Default 4000.
    pub estimator_steps: usize,
    /// Updates of [`Method::SecondOpinion`], of half a batch each. Default 60000: it has a picture to learn, clean and
    /// attacked, and gains from it when the others have long learnt what they can.
    pub opinion_steps: usize,
    /// Updates of [`Method::SecondOpinion`] that follow those, at half their rate, under `finishing`. Default 2000; 0
    /// leaves them out.
    pub finishing_steps: usize,
    /// Samples of an update, 1 to 65536. Default 16.
    pub batch: usize,
    /// Hardening of [`Method::SecondOpinion`]; the others are trained as published.
    pub hardening: Hardening,
    /// Hardening of its last updates. Default: attacks of two steps, since one step is what a long training can learn to
    /// mislead. Two steps from the start (`hardening`) take half as long again, and give an estimator that ten steps harm
    /// less, but that is worse on clean images and under one step.
    pub finishing: Hardening,
    /// Views that [`Method::SecondOpinion`] averages over when it is asked, 1, 2 or 4. Default 2.
    pub views: usize,
}

impl Recipe {
    /// The defaults, under a seed.
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
            hardening: Hardening::default(),
            finishing: Hardening::default().steps(2),
            views: 2,
        }
    }

    /// With all trainings longer or shorter by this factor (at least one step each).
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
        self.hardening.validate().map_err(|error| error.within("hardening"))?;
        self.finishing.validate().map_err(|error| error.within("finishing"))?;
        require([1, 2, 4].contains(&self.views), "views", self.views, "1, 2 or 4")
    }

    fn train_config(&self, samples: usize, steps: usize, batch: usize, seed: u64) -> TrainConfig {
        let mut adam = AdamConfig::default();
        adam.rate = 2e-3;
        adam.warm_up = (steps as u64 / 20).clamp(1, 100);
        adam.clip_norm = Some(2.0);
        let mut config = TrainConfig::default();
        config.batch_size = batch;
        config.epochs = (steps * batch).div_ceil(samples.max(1)).max(1);
        config.adam = adam;
        config.patience = None;
        config.seed = self.seed.wrapping_add(seed);
        config
    }
}

/// Candidates of one group of patients, from segmenters that never saw them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CandidatePool {
    /// All candidates, in the order of their slices.
    pub candidates: Vec<Candidate>,
}

impl Recipe {
    /// Trains segmenters on a device, on either half of the training patients; the outer list is by half.
    ///
    /// # Errors
    /// Fewer than two patients, slices that are refused, and a training that fails.
    pub fn segmenters(
        &self,
        framing: &Framing,
        classes: &[u8],
        slices: &[TrueSlice],
        shelf: &Shelf,
        device: &Device,
        listener: &mut Listener<'_>,
    ) -> Result<Segmenters, RecipeError> {
        self.validate()?;
        let halves = PatientGroups::deal(slices.iter().map(|slice| &slice.patient), &[1.0, 1.0], self.seed);
        if halves.patients(1).next().is_none() || halves.patients(0).next().is_none() {
            let what = "there are fewer than two training patients to share between segmenters".to_owned();
            return Err(RecipeError::Nothing { what });
        }
        let mut trained = Vec::new();
        for half in 0..2 {
            let mut samples = Samples::new();
            for slice in slices.iter().filter(|slice| halves.group(&slice.patient) == Some(half)) {
                samples.extend(centred_sample(framing, classes, slice)?);
            }
            for (number, widths) in self.segmenters.iter().enumerate() {
                let config = SegmenterConfig::new(framing.grid, classes.len(), widths.clone());
                let epochs = self.stages.last().copied().unwrap_or(1);
                let mut train = self.train_config(samples.len(), 1, self.batch, (10 * half + number) as u64);
                train.epochs = epochs;
                train.adam.warm_up = 20;
                let objective =
                    SegmenterObjective::new(config.clone(), &train, Augmentation::default(), samples.clone());
                let engines = SegmenterObjective::engines(&config, train.seed, device)?;
                let name = format!("segmenter-{half}-{number}");
                let stages = shelf.train(&name, objective, engines, train, &self.stages, listener)?;
                for (stage, parameters) in stages.iter().enumerate() {
                    let origin = Origin::Segmenter { number, stage };
                    trained.push((half, origin, Segmenter::new(config.clone(), parameters, device)?));
                }
            }
        }
        Ok(Segmenters { framing: framing.clone(), classes: classes.to_vec(), halves, trained })
    }

    /// Makes candidates for slices: what segmenters that never saw the patient give, and corruptions.
    ///
    /// # Errors
    /// Slices that are refused, and failures of the device.
    pub fn candidates(
        &self,
        segmenters: &Segmenters,
        slices: &[TrueSlice],
        listener: &mut Listener<'_>,
    ) -> Result<CandidatePool, RecipeError> {
        self.validate()?;
        tell(listener, &Progress::Step { name: "candidates" })?;
        let graded = segmenters.framing.labels.clone();
        let holders: Vec<usize> = (0..slices.len())
            .filter(|&k| slices[k].truth.iter().any(|label| graded.contains(label)))
            .collect();
        let mut given = Vec::new();
        let stride = slices.len().div_ceil(self.slices.max(1)).max(1);
        for (number, slice) in slices.iter().enumerate().step_by(stride) {
            tell(listener, &Progress::Items { done: number, total: slices.len() })?;
            let mut own = Vec::new();
            for (origin, labels) in segmenters.segment(slice, self.seed ^ number as u64)? {
                let candidate = Candidate::new(number, origin, &labels, &slice.truth.view(), &graded);
                own.extend(candidate.map_err(|source| refused(slice, source))?);
            }
            given.push((number, own));
        }
        let corrupted = given
            .par_iter()
            .map(|(number, own)| {
                let (number, slice) = (*number, &slices[*number]);
                // Another patient's slice, by a stride that visits all of them in turn.
                let other = holders
                    .iter()
                    .cycle()
                    .skip((number * 7919) % holders.len().max(1))
                    .take(holders.len())
                    .find(|&&k| slices[k].patient != slice.patient)
                    .map_or(slice, |&k| &slices[k]);
                let own: Vec<&Candidate> = own.iter().collect();
                corruptions(slice, number, &own, other, &graded, self.corruptions, self.seed)
                    .map_err(|source| refused(slice, source))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let all = given
            .into_iter()
            .zip(corrupted)
            .flat_map(|((_, own), corrupted)| own.into_iter().chain(corrupted));
        let all: Vec<Candidate> = all.collect();
        tell(listener, &Progress::Items { done: slices.len(), total: slices.len() })?;
        Ok(CandidatePool { candidates: all })
    }

    /// Trains REC-Net on a device, on slices framed by their truth.
    ///
    /// # Errors
    /// Slices that are refused, and a training that fails.
    pub fn reconstruction(
        &self,
        config: &EstimatorConfig,
        slices: &[TrueSlice],
        shelf: &Shelf,
        device: &Device,
        listener: &mut Listener<'_>,
    ) -> Result<ParameterSet, RecipeError> {
        self.validate()?;
        let mut samples = Samples::new();
        for slice in slices {
            let refused = |source| refused(slice, source);
            let (image, truth) = (slice.image.view(), slice.truth.view());
            if truth.iter().any(|label| config.framing.labels.contains(label)) {
                let sample =
                    Sample::new(&config.framing, &config.classes, &slice.patient, &image, &truth, &truth);
                samples.extend(sample.map_err(refused)?);
            }
        }
        let train = self.train_config(samples.len(), self.reconstruction_steps, self.batch, 100);
        let augmentation = Augmentation::default();
        let engines = ReconstructionObjective::engines(config, train.seed, device)?;
        let objective =
            ReconstructionObjective::new(config, train.clone(), augmentation, samples, Samples::new());
        let parameters = shelf.train("reconstruction", objective, engines, train, &[], listener)?;
        Ok(parameters.into_iter().next().unwrap_or_default())
    }

    /// Trains an estimator on a device, on training and validation samples; `foundation` are the parameters of what it builds upon: of REC-Net for [`Method::RecReg`], of
    /// [`Method::ShapeOnly`] for [`Method::SecondOpinion`]. Others build upon nothing.
    ///
    /// Returns its parameters, those of the foundation among them where it has one, and what it was trained on.
    ///
    /// # Errors
    /// Samples that do not fit the configuration, and a training that fails.
    pub fn estimator(
        &self,
        config: &EstimatorConfig,
        foundation: &ParameterSet,
        samples: [&Samples; 2],
        shelf: &Shelf,
        device: &Device,
        listener: &mut Listener<'_>,
    ) -> Result<(ParameterSet, String), RecipeError> {
        self.validate()?;
        // Views are of what is asked, not of what is learnt.
        let config = &config.clone().views(1);
        let lesson = Lesson { config, foundation, samples, shelf, device };
        let (mut parameters, fingerprint) = if config.method == Method::SecondOpinion {
            self.second_opinion(&lesson, listener)?
        } else {
            let train = self.train_config(samples[0].len(), self.estimator_steps, self.batch, 200);
            let initial = config.initial_parameters(train.seed)?;
            lesson.learn(config.method.name(), EstimatorTraining::new(train), &initial, None, listener)?
        };
        if config.foundation()?.is_some() {
            parameters.extend(foundation.clone());
        }
        Ok((parameters, fingerprint))
    }

    fn second_opinion(
        &self,
        lesson: &Lesson<'_>,
        listener: &mut Listener<'_>,
    ) -> Result<(ParameterSet, String), RecipeError> {
        let options = |steps: usize, seed: u64, hardening: &Hardening| {
            // A hardened update learns from each sample several times: smaller batches give more updates in the same time.
            let mut train = self.train_config(lesson.samples[0].len(), steps, self.batch.div_ceil(2), seed);
            // Attacks change with the network: its parameters wander, and their mean is better than any of them.
            train.averaging = Some((steps as f64 / 20.0).clamp(8.0, 1000.0));
            // It must be right about pixels, of patients that differ more than the few that teach.
            let augmentation = Augmentation::default().warped(20.0, 0.2).varied(3.0, 0.2, 0.6);
            EstimatorTraining::new(train).hardening(hardening.clone()).augmentation(augmentation)
        };
        let long = options(self.opinion_steps, 200, &self.hardening);
        let mut last = options(self.finishing_steps, 300, &self.finishing);
        last.train.adam.rate /= 2.0;
        let name = lesson.config.method.name();
        let initial = lesson.config.initial_parameters(long.train.seed)?;
        let (parameters, fingerprint) = lesson.learn(name, long, &initial, None, listener)?;
        if self.finishing_steps == 0 {
            return Ok((parameters, fingerprint));
        }
        lesson.learn(&format!("{name}-finish"), last, &parameters, Some(&fingerprint), listener)
    }

    /// Chooses candidates evenly over their Dice and frames them as samples.
    ///
    /// # Errors
    /// Slices that are refused.
    pub fn samples(
        &self,
        framing: &Framing,
        classes: &[u8],
        slices: &[TrueSlice],
        pool: &CandidatePool,
        per_bin: usize,
    ) -> Result<Samples, RecipeError> {
        let own =
            |candidate: &Candidate| slices.get(candidate.slice).map_or("", |slice| slice.patient.as_str());
        let dice: Vec<f64> = pool.candidates.iter().map(Candidate::mean_dice).collect();
        let corrupted: Vec<bool> = pool
            .candidates
            .iter()
            .map(|candidate| !matches!(candidate.origin, Origin::Segmenter { .. }))
            .collect();
        let patients: Vec<&str> = pool.candidates.iter().map(own).collect();
        let chosen = UniformPool::new(per_bin).seed(self.seed).choose(&dice, &corrupted, &patients)?;
        let mut samples = Samples::new();
        for candidate in chosen.into_iter().filter_map(|position| pool.candidates.get(position)) {
            let Some(slice) = slices.get(candidate.slice) else { continue };
            let refused = |source| refused(slice, source);
            let labels = candidate.labels();
            let (image, truth) = (slice.image.view(), slice.truth.view());
            samples.extend(
                Sample::new(framing, classes, &slice.patient, &image, &labels.view(), &truth)
                    .map_err(refused)?,
            );
        }
        if samples.is_empty() {
            let what = format!("no candidate holds one of the labels {:?}", framing.labels);
            return Err(RecipeError::Nothing { what });
        }
        Ok(samples)
    }
}

/// What an estimator learns from, and where its trainings are kept.
struct Lesson<'a> {
    config: &'a EstimatorConfig,
    foundation: &'a ParameterSet,
    /// Training and validation.
    samples: [&'a Samples; 2],
    shelf: &'a Shelf,
    device: &'a Device,
}

impl Lesson<'_> {
    /// Trains from these parameters; `origin` tells how they were learnt, if they were. Returns what was found, and how
    /// that was learnt.
    fn learn(
        &self,
        name: &str,
        options: EstimatorTraining,
        start: &ParameterSet,
        origin: Option<&str>,
        listener: &mut Listener<'_>,
    ) -> Result<(ParameterSet, String), RecipeError> {
        let train = options.train.clone();
        let engines = EstimatorObjective::engines(self.config, start, self.device)?;
        let [training, validation] = self.samples.map(Clone::clone);
        let (config, foundation) = (self.config.clone(), self.foundation);
        let objective =
            EstimatorObjective::new(config, options, foundation, training, validation, self.device)?;
        let objective = objective.after(origin);
        let fingerprint = objective.fingerprint();
        let trained = self.shelf.train(name, objective, engines, train, &[], listener)?;
        Ok((trained.into_iter().next().unwrap_or_default(), fingerprint))
    }
}

fn refused(slice: &TrueSlice, source: InputError) -> RecipeError {
    RecipeError::Slice { case: slice.case.clone(), index: slice.index, source }
}
