//! The training loop: batches, updates, validation, early stopping, and the state from which a
//! training goes on.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lesio_settings::{SettingError, in_range, require};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, CheckpointError};
use crate::engine::{EngineError, TrainingEngine};
use crate::model_file::SaveError;
use crate::optimizer::AdamConfig;
use crate::parameters::ParameterSet;
use crate::random;

/// How long and how fast to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct TrainConfig {
    /// Passes over the training samples, 1 to a million. Default 30.
    pub epochs: usize,
    /// Samples per update, 1 to 65536; the last batch of an epoch may be smaller. Default 32.
    pub batch_size: usize,
    /// The optimizer.
    pub adam: AdamConfig,
    /// Epochs without a better validation loss after which training stops, 0 to a million; `None` never stops early.
    /// Default 10.
    pub patience: Option<usize>,
    /// Updates in a row that may be skipped because loss or gradient was not finite, before training
    /// is given up as diverged, 0 to a million. Default 5.
    pub skips: usize,
    /// Seed of the order of samples and of whatever noise the objective draws. Default 0.
    pub seed: u64,
    /// Updates over which parameters are averaged, each update's weight falling exponentially with its age: what is
    /// validated and given back is the mean, while training goes on from the parameters themselves (Polyak and
    /// Juditsky 1992; for training under attack, Rebuffi et al. 2021, arXiv:2103.01946). 8 to 1e12, since every eighth update
    /// counts. `None`, the default, averages nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub averaging: Option<f64>,
}

/// Updates from one that counts in an average to the next: taking parameters out of an engine takes time.
const AVERAGED: u64 = 8;

/// Most epochs, of patience too, and most updates skipped in a row.
const LARGEST_COUNT: usize = 1_000_000;
/// Most samples of a batch.
const LARGEST_BATCH: usize = 1 << 16;

impl TrainConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("epochs", self.epochs, 1..=LARGEST_COUNT)?;
        in_range("batch_size", self.batch_size, 1..=LARGEST_BATCH)?;
        if let Some(patience) = self.patience {
            in_range("patience", patience, 0..=LARGEST_COUNT)?;
        }
        in_range("skips", self.skips, 0..=LARGEST_COUNT)?;
        if let Some(updates) = self.averaging {
            in_range("averaging", updates, AVERAGED as f64..=1e12)?;
        }
        self.adam.validate().map_err(|error| error.within("adam"))
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 30,
            batch_size: 32,
            adam: AdamConfig::default(),
            patience: Some(10),
            skips: 5,
            seed: 0,
            averaging: None,
        }
    }
}

/// The batch of one update.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Batch<'a> {
    /// Indices of its samples.
    pub samples: &'a [usize],
    /// The epoch, counted from 0.
    pub epoch: usize,
    /// The update, counted from 0.
    pub step: u64,
    /// Number of updates of the whole training, for schedules.
    pub steps: u64,
    /// The training's seed: noise drawn from (seed, step) or (seed, epoch, sample) makes a resumed
    /// training equal to an uninterrupted one.
    pub seed: u64,
}

impl<'a> Batch<'a> {
    /// A batch outside of a training, as for validation: epoch and step 0.
    #[must_use]
    pub fn new(samples: &'a [usize], seed: u64) -> Self {
        Self { samples, epoch: 0, step: 0, steps: 0, seed }
    }
}

/// A loss and what it is made of, as means per sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// What is minimized.
    pub total: f64,
    /// Its parts and other figures, by name.
    pub parts: Vec<(String, f64)>,
}

impl Terms {
    /// A loss without parts.
    #[must_use]
    pub fn new(total: f64) -> Self {
        Self { total, parts: Vec::new() }
    }

    /// With a part.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.parts.push((name.to_owned(), value));
        self
    }

    /// A part by name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<f64> {
        self.parts.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }

    fn accumulate(&mut self, other: &Self, weight: f64) {
        self.total += other.total * weight;
        for (name, value) in &other.parts {
            match self.parts.iter_mut().find(|(own, _)| own == name) {
                Some((_, sum)) => *sum += value * weight,
                None => self.parts.push((name.clone(), value * weight)),
            }
        }
    }

    fn scaled(mut self, factor: f64) -> Self {
        self.total *= factor;
        self.parts.iter_mut().for_each(|(_, value)| *value *= factor);
        self
    }
}

/// What is trained: it turns a batch into a loss and its gradients.
pub trait Objective {
    /// Number of training samples.
    fn samples(&self) -> usize;

    /// Computes the loss of a batch and leaves its gradients in the engines, which arrive cleared.
    ///
    /// # Errors
    /// What the engines report.
    fn learn(
        &mut self,
        engines: &mut [Box<dyn TrainingEngine>],
        batch: &Batch<'_>,
    ) -> Result<Terms, EngineError>;

    /// Computes the loss on validation samples; `None` where there are none.
    ///
    /// # Errors
    /// What the engines report.
    fn validate(&mut self, engines: &mut [Box<dyn TrainingEngine>]) -> Result<Option<Terms>, EngineError>;

    /// A text that differs whenever data or configuration differ: a training is not resumed under another.
    fn fingerprint(&self) -> String;
}

/// What a training reports while it runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An update was made.
    Step {
        /// The epoch, counted from 0.
        epoch: usize,
        /// The update, counted from 0.
        step: u64,
        /// Updates of the whole training.
        steps: u64,
        /// The batch's loss.
        terms: &'a Terms,
        /// Euclidean norm of the gradient before clipping.
        gradient_norm: f64,
        /// The learning rate.
        rate: f64,
        /// Samples per second of this update.
        throughput: f64,
    },
    /// An update was left out because loss or gradient were not finite.
    Skipped {
        /// The update, counted from 0.
        step: u64,
        /// The batch's loss.
        loss: f64,
        /// Euclidean norm of the gradient.
        gradient_norm: f64,
    },
    /// An epoch is over.
    Epoch {
        /// Its record.
        record: &'a EpochRecord,
        /// Epochs planned.
        epochs: usize,
        /// Whether its validation loss is the best so far.
        best: bool,
    },
}

/// Losses of one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch, counted from 0.
    pub epoch: usize,
    /// Mean training loss while the parameters changed.
    pub training: Terms,
    /// Validation loss at the epoch's end.
    pub validation: Option<Terms>,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// All epochs were run.
    Complete,
    /// The validation loss had not improved for long enough.
    Patience,
    /// The caller stopped it; it can go on from its checkpoint.
    Stopped,
}

/// Why a training could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting is out of range.
    #[error("training cannot start")]
    Setting(#[from] SettingError),
    /// There is nothing to train on.
    #[error("training cannot start: there are no training samples")]
    NoSamples,
    /// An engine failed.
    #[error("the networks could not be computed")]
    Engine(#[from] EngineError),
    /// Loss or gradient stayed not finite.
    #[error("training diverged at update {step}: {skipped} updates in a row had no finite loss and gradient{}", last_good(.checkpoint))]
    Diverged {
        /// The update, counted from 0.
        step: u64,
        /// Updates skipped in a row.
        skipped: usize,
        /// The checkpoint before, if any was written.
        checkpoint: Option<PathBuf>,
    },
    /// A checkpoint could not be written.
    #[error("the checkpoint could not be written")]
    Save(#[from] SaveError),
    /// A checkpoint could not be taken up.
    #[error("the training cannot go on from its checkpoint")]
    Resume(#[from] CheckpointError),
    /// The file of the checkpoint exists, and this training neither went on from it nor may replace it.
    #[error("{} is the checkpoint of an earlier training, which would be lost", .path.display())]
    CheckpointExists {
        /// The file.
        path: PathBuf,
    },
}

fn last_good(checkpoint: &Option<PathBuf>) -> String {
    checkpoint
        .as_ref()
        .map_or_else(String::new, |path| format!("; the last good state is {}", path.display()))
}

/// Where a training stands, between two updates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The epoch, counted from 0: that of as many records in the history.
    pub(crate) epoch: usize,
    /// Batches of this epoch that are done.
    pub(crate) cursor: usize,
    pub(crate) step: u64,
    pub(crate) skipped: usize,
    pub(crate) sums: Terms,
    pub(crate) summed: f64,
    pub(crate) best: Option<(usize, f64)>,
    pub(crate) history: Vec<EpochRecord>,
}

impl State {
    /// Refuses a state that no training of this configuration has between two updates.
    pub(crate) fn validate(&self, config: &TrainConfig, batches: usize) -> Result<(), SettingError> {
        in_range("epoch", self.epoch, 0..=config.epochs)?;
        // All batches are done where a training was stopped between its last update and the end of the epoch.
        in_range("cursor", self.cursor, 0..=batches)?;
        let step = (self.epoch as u64).saturating_mul(batches as u64).saturating_add(self.cursor as u64);
        require(self.step == step, "step", self.step, format!("{step} by epoch and cursor"))?;
        in_range("skipped", self.skipped, 0..=config.skips)?;
        in_range("summed", self.summed, 0.0..=1e18)?;
        let records = self.history.iter().enumerate().all(|(place, record)| record.epoch == place);
        let found = self.history.len();
        require(found == self.epoch && records, "history", found, format!("{} epochs in order", self.epoch))?;
        match self.best {
            Some((epoch, _)) => require(epoch < self.epoch, "best", epoch, format!("below {}", self.epoch)),
            None => Ok(()),
        }
    }
}

/// Trains the networks of an [`Objective`].
///
/// The order of samples follows from the seed and the epoch, so nothing but the position has to be
/// kept for a training to go on exactly where it was.
pub struct Trainer<O> {
    objective: O,
    engines: Vec<Box<dyn TrainingEngine>>,
    config: TrainConfig,
    state: State,
    best: Option<ParameterSet>,
    /// The mean of the parameters of all engines, where they are averaged.
    average: Option<ParameterSet>,
    checkpoint: Option<(PathBuf, Duration)>,
    earlier: EarlierCheckpoint,
    /// The checkpoint that this training went on from.
    resumed: Option<PathBuf>,
    saved: bool,
}

/// What becomes of the checkpoint of an earlier training, under the name of this one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlierCheckpoint {
    /// [`Trainer::run`] fails with [`TrainError::CheckpointExists`], unless this training went on from it.
    #[default]
    Refuse,
    /// It is replaced by the first checkpoint of this training.
    Replace,
}

impl<O: std::fmt::Debug> std::fmt::Debug for Trainer<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("objective", &self.objective)
            .field("config", &self.config)
            .field("epoch", &self.state.epoch)
            .field("step", &self.state.step)
            .finish_non_exhaustive()
    }
}

impl<O: Objective> Trainer<O> {
    /// A training from the engines' present parameters.
    ///
    /// # Errors
    /// [`TrainError::Setting`] where a setting is out of range, [`TrainError::NoSamples`] where there is nothing to train
    /// on.
    pub fn new(
        objective: O,
        engines: Vec<Box<dyn TrainingEngine>>,
        config: TrainConfig,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        if objective.samples() == 0 {
            return Err(TrainError::NoSamples);
        }
        let state = State::default();
        let (best, average) = (None, None);
        let (checkpoint, earlier, resumed) = (None, EarlierCheckpoint::default(), None);
        Ok(Self {
            objective,
            engines,
            config,
            state,
            best,
            average,
            checkpoint,
            earlier,
            resumed,
            saved: false,
        })
    }

    /// Keeps a checkpoint in this file: at the end of every epoch, when the caller stops the training,
    /// and about as often as `every`. The one before it is kept too, as `NAME.previous`.
    #[must_use]
    pub fn checkpoint(mut self, path: impl Into<PathBuf>, every: Duration) -> Self {
        self.checkpoint = Some((path.into(), every));
        self
    }

    /// Says what becomes of the checkpoint of an earlier training under the same name. Default
    /// [`EarlierCheckpoint::Refuse`], since hours of work may be in it.
    #[must_use]
    pub fn earlier_checkpoint(mut self, earlier: EarlierCheckpoint) -> Self {
        self.earlier = earlier;
        self
    }

    /// Goes on from the newest intact checkpoint under `path` (it or `NAME.previous`).
    ///
    /// # Errors
    /// No intact checkpoint, or one of another configuration, other data or other networks.
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<(), TrainError> {
        let fingerprint = self.objective.fingerprint();
        let batches = self.objective.samples().div_ceil(self.config.batch_size);
        let saved = checkpoint::load(path.as_ref(), &self.config, &fingerprint, &self.engines, batches)?;
        for (engine, (parameters, moments)) in self.engines.iter_mut().zip(&saved.engines) {
            engine.restore(parameters, Some(moments))?;
        }
        self.state = saved.state;
        self.best = saved.best;
        self.average = saved.average;
        self.resumed = Some(path.as_ref().to_owned());
        Ok(())
    }

    /// Losses of the epochs so far.
    #[must_use]
    pub fn history(&self) -> &[EpochRecord] {
        &self.state.history
    }

    /// Updates made so far.
    #[must_use]
    pub fn steps_done(&self) -> u64 {
        self.state.step
    }

    /// Trains until the epochs are over, patience is, or `observe` breaks.
    ///
    /// # Errors
    /// Engines or files that fail, a loss that stays not finite, and the checkpoint of another training under the name of
    /// this one's.
    pub fn run(
        &mut self,
        mut observe: impl FnMut(&Event<'_>) -> ControlFlow<()>,
    ) -> Result<Ending, TrainError> {
        let samples = self.objective.samples();
        if let Some((path, _)) = &self.checkpoint {
            let own = self.saved || self.resumed.as_ref() == Some(path);
            if !own && self.earlier == EarlierCheckpoint::Refuse && checkpoint::exists(path) {
                return Err(TrainError::CheckpointExists { path: path.clone() });
            }
            checkpoint::sweep(path)?;
        }
        let batches = samples.div_ceil(self.config.batch_size);
        let steps = (batches as u64).saturating_mul(self.config.epochs as u64);
        let mut last_saved = Instant::now();
        while self.state.epoch < self.config.epochs {
            if self.out_of_patience() {
                return Ok(Ending::Patience);
            }
            let epoch = self.state.epoch;
            let order = random::permutation(&mut random::generator(self.config.seed, epoch as u64), samples);
            while self.state.cursor < batches {
                let flow = self.step(&order, steps, &mut observe)?;
                if flow.is_break() {
                    self.save()?;
                    return Ok(Ending::Stopped);
                }
                if self.checkpoint.as_ref().is_some_and(|(_, every)| last_saved.elapsed() >= *every) {
                    self.save()?;
                    last_saved = Instant::now();
                }
            }
            let flow = self.finish_epoch(&mut observe)?;
            self.save()?;
            last_saved = Instant::now();
            if flow.is_break() {
                return Ok(Ending::Stopped);
            }
        }
        Ok(if self.out_of_patience() && self.config.patience.is_some() {
            Ending::Patience
        } else {
            Ending::Complete
        })
    }

    /// The parameters of all networks: those of the best validation loss, or the last where nothing
    /// was validated; their mean where they are averaged.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn parameters(&self) -> Result<ParameterSet, EngineError> {
        match &self.best {
            Some(best) => Ok(best.clone()),
            None => self.found_parameters(),
        }
    }

    /// The objective.
    #[must_use]
    pub fn objective(&self) -> &O {
        &self.objective
    }

    /// The mean where there is one, else the parameters as they are.
    fn found_parameters(&self) -> Result<ParameterSet, EngineError> {
        self.average.as_ref().map_or_else(|| self.present_parameters(), |average| Ok(average.clone()))
    }

    fn present_parameters(&self) -> Result<ParameterSet, EngineError> {
        let mut all = ParameterSet::new();
        for engine in &self.engines {
            all.extend(engine.parameters()?);
        }
        Ok(all)
    }

    fn out_of_patience(&self) -> bool {
        match (self.config.patience, self.state.best) {
            (Some(patience), Some((epoch, _))) => self.state.epoch > epoch + patience,
            _ => false,
        }
    }

    fn step(
        &mut self,
        order: &[usize],
        steps: u64,
        observe: &mut impl FnMut(&Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, TrainError> {
        let started = Instant::now();
        let from = self.state.cursor * self.config.batch_size;
        let to = (from + self.config.batch_size).min(order.len());
        let (epoch, step) = (self.state.epoch, self.state.step);
        let batch = Batch { samples: &order[from..to], epoch, step, steps, seed: self.config.seed };
        self.engines.iter_mut().for_each(|engine| engine.clear_gradients());
        let terms = self.objective.learn(&mut self.engines, &batch)?;
        let mut squared = 0.0;
        for engine in &self.engines {
            squared += engine.squared_gradient_norm()?;
        }
        let gradient_norm = squared.sqrt();
        self.state.cursor += 1;
        self.state.step += 1;
        // With finite weights, gradients and rate, Adam's update is bounded, so the weights stay finite.
        if !(terms.total.is_finite() && gradient_norm.is_finite()) {
            self.state.skipped += 1;
            if self.state.skipped > self.config.skips {
                let checkpoint =
                    self.checkpoint.as_ref().filter(|_| self.saved).map(|(path, _)| path.clone());
                return Err(TrainError::Diverged { step, skipped: self.state.skipped, checkpoint });
            }
            return Ok(observe(&Event::Skipped { step, loss: terms.total, gradient_norm }));
        }
        self.state.skipped = 0;
        let update = self.config.adam.update(step, steps, gradient_norm);
        for engine in &mut self.engines {
            engine.update(&update)?;
        }
        self.average_parameters()?;
        let count = (to - from) as f64;
        self.state.sums.accumulate(&terms, count);
        self.state.summed += count;
        let throughput = count / started.elapsed().as_secs_f64().max(1e-9);
        let rate = update.rate;
        Ok(observe(&Event::Step { epoch, step, steps, terms: &terms, gradient_norm, rate, throughput }))
    }

    fn finish_epoch(
        &mut self,
        observe: &mut impl FnMut(&Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, TrainError> {
        let validation = self.validate()?;
        let training = std::mem::take(&mut self.state.sums).scaled(1.0 / self.state.summed.max(1.0));
        let record = EpochRecord { epoch: self.state.epoch, training, validation };
        let mut best = false;
        if let Some(loss) = record.validation.as_ref().map(|terms| terms.total) {
            best = loss.is_finite() && self.state.best.is_none_or(|(_, lowest)| loss < lowest);
            if best {
                self.state.best = Some((record.epoch, loss));
                self.best = Some(self.found_parameters()?);
            }
        }
        self.state.summed = 0.0;
        self.state.cursor = 0;
        self.state.epoch += 1;
        self.state.history.push(record.clone());
        Ok(observe(&Event::Epoch { record: &record, epochs: self.config.epochs, best }))
    }

    /// Lets the parameters after this update count in their mean.
    fn average_parameters(&mut self) -> Result<(), EngineError> {
        let Some(updates) = self.config.averaging else { return Ok(()) };
        if !self.state.step.is_multiple_of(AVERAGED) {
            return Ok(());
        }
        let present = self.present_parameters()?;
        let Some(average) = &mut self.average else {
            self.average = Some(present);
            return Ok(());
        };
        // At the beginning the mean of all, so that the first parameters do not linger.
        let counted = (self.state.step / AVERAGED) as f64;
        let share = (AVERAGED as f64 / updates).max(1.0 / counted) as f32;
        for (name, parameter) in present.iter() {
            let Some(mean) = average.get_mut(name) else { continue };
            for (mean, value) in mean.values_mut().iter_mut().zip(parameter.values()) {
                *mean += share * (value - *mean);
            }
        }
        Ok(())
    }

    /// The loss on validation samples, under the mean of the parameters where there is one.
    fn validate(&mut self) -> Result<Option<Terms>, EngineError> {
        let Some(average) = &self.average else { return self.objective.validate(&mut self.engines) };
        let mut present = Vec::new();
        for engine in &mut self.engines {
            present.push((engine.parameters()?, engine.moments()?));
            engine.restore(average, None)?;
        }
        let validation = self.objective.validate(&mut self.engines);
        for (engine, (parameters, moments)) in self.engines.iter_mut().zip(&present) {
            engine.restore(parameters, Some(moments))?;
        }
        validation
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let Some((path, _)) = &self.checkpoint else { return Ok(()) };
        let fingerprint = self.objective.fingerprint();
        let kept = [self.best.as_ref(), self.average.as_ref()];
        checkpoint::save(path, &self.config, &fingerprint, &self.state, &self.engines, kept)?;
        self.saved = true;
        Ok(())
    }
}
