//! The training loop: batches, updates, validation, early stopping, checkpoints.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::checkpoint::{self, Newest};
use super::config::{AVERAGED, TrainConfig};
use super::error::TrainError;
use super::objective::{Batch, Engines, Objective, Terms};
use super::progress::{Ending, EpochRecord, Event};
use super::state::State;
use crate::engine::EngineError;
use crate::mode::Mode;
use crate::parameters::ParameterSet;
use crate::random;

/// Largest norm of a gradient, after clipping, that is learned from. Adam's second moments hold squares in single
/// precision, which ends at 3.4e38: an infinite one would stop its weight for good, and no checkpoint could be resumed.
const STEEPEST: f64 = 1e18;

/// Trains the networks of an [`Objective`].
///
/// The order of samples follows from the seed and the epoch, so the position suffices to continue a training exactly.
pub struct Trainer<O, const N: usize> {
    objective: O,
    engines: Engines<N>,
    config: TrainConfig,
    state: State,
    best: Option<ParameterSet>,
    checkpoint: Option<(PathBuf, Duration)>,
    earlier: EarlierCheckpoint,
    /// The checkpoint from which this training continued.
    resumed: Option<PathBuf>,
    /// The newest file of that name, if it is damaged and not yet replaced.
    damaged: Option<PathBuf>,
    saved: bool,
}

/// How to treat the checkpoint of an earlier training with the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlierCheckpoint {
    /// [`Trainer::run`] fails with [`TrainError::CheckpointExists`], unless this training continued from it.
    #[default]
    Refuse,
    /// It is replaced by the first checkpoint of this training.
    Replace,
}

impl<O: std::fmt::Debug, const N: usize> std::fmt::Debug for Trainer<O, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("objective", &self.objective)
            .field("config", &self.config)
            .field("epoch", &self.state.epoch)
            .field("step", &self.state.step)
            .finish_non_exhaustive()
    }
}

impl<O: Objective<N>, const N: usize> Trainer<O, N> {
    /// A training that starts from the engines' present parameters.
    ///
    /// # Errors
    /// [`TrainError::Setting`] if a setting is out of range, [`TrainError::NoSamples`] without training samples.
    pub fn new(objective: O, engines: Engines<N>, config: TrainConfig) -> Result<Self, TrainError> {
        config.validate()?;
        if objective.samples() == 0 {
            return Err(TrainError::NoSamples);
        }
        Ok(Self {
            objective,
            engines,
            config,
            state: State::default(),
            best: None,
            checkpoint: None,
            earlier: EarlierCheckpoint::default(),
            resumed: None,
            damaged: None,
            saved: false,
        })
    }

    /// Writes a checkpoint to this file: at the end of every epoch, when the caller stops the training, and about once
    /// per `every`. The previous one is kept as `NAME.previous`.
    #[must_use]
    pub fn checkpoint(mut self, path: impl Into<PathBuf>, every: Duration) -> Self {
        self.checkpoint = Some((path.into(), every));
        self
    }

    /// Sets how to treat the checkpoint of an earlier training with the same name. Default
    /// [`EarlierCheckpoint::Refuse`], since it may represent hours of work.
    #[must_use]
    pub fn earlier_checkpoint(mut self, earlier: EarlierCheckpoint) -> Self {
        self.earlier = earlier;
        self
    }

    /// Continues from the newest intact checkpoint of this name (the file or `NAME.previous`).
    ///
    /// # Errors
    /// Without an intact checkpoint, and for one of another configuration, other data or other networks.
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<(), TrainError> {
        let fingerprint = self.objective.fingerprint();
        let batches = self.objective.samples().div_ceil(self.config.batch_size);
        let saved = checkpoint::load(path.as_ref(), &self.config, &fingerprint, &self.engines, batches)?;
        for (engine, state) in self.engines.iter_mut().zip(&saved.engines) {
            engine.restore(state)?;
        }
        self.state = saved.state;
        self.best = saved.best;
        self.resumed = Some(path.as_ref().to_owned());
        self.damaged = (saved.newest == Newest::Damaged).then(|| path.as_ref().to_owned());
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

    /// Trains until all epochs are done, patience is exhausted, or `observe` breaks.
    ///
    /// # Errors
    /// If an engine or a file fails, if loss or gradient are repeatedly not finite or the gradient is too large, for
    /// the checkpoint of another training with the same name, and after the first epoch, if a checkpoint cannot hold
    /// the losses of all.
    pub fn run(
        &mut self,
        mut observe: impl FnMut(&Event<'_>) -> ControlFlow<()>,
    ) -> Result<Ending, TrainError> {
        let samples = self.objective.samples();
        if let Some((path, _)) = &self.checkpoint {
            if !self.owns(path) && self.earlier == EarlierCheckpoint::Refuse && checkpoint::exists(path) {
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
            self.check_epochs()?;
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

    /// The parameters of all networks: those of the best epoch by [`Objective::criterion`], or the last ones
    /// without a validation; their mean if they are averaged.
    ///
    /// # Errors
    /// If the device fails.
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

    /// The means if there are any, otherwise the parameters.
    fn found_parameters(&self) -> Result<ParameterSet, EngineError> {
        let mut all = ParameterSet::new();
        for engine in &self.engines {
            all.extend(match engine.mean()? {
                Some(mean) => mean,
                None => engine.parameters()?,
            });
        }
        Ok(all)
    }

    /// Whether a checkpoint of this name is this training's.
    fn owns(&self, path: &Path) -> bool {
        self.saved || self.resumed.as_deref() == Some(path)
    }

    /// After the first epoch, whose losses show how long a record is: whether a checkpoint can hold those of all.
    fn check_epochs(&self) -> Result<(), TrainError> {
        let (Some(_), [record]) = (&self.checkpoint, self.state.history.as_slice()) else { return Ok(()) };
        let (epochs, most) = (self.config.epochs, checkpoint::most_epochs(record));
        if epochs > most { Err(TrainError::Epochs { epochs, most }) } else { Ok(()) }
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
        for engine in &mut self.engines {
            engine.set_mode(Mode::Train);
            engine.clear_gradients();
        }
        let terms = self.objective.learn(&mut self.engines, &batch)?;
        let mut squared = 0.0;
        for engine in &self.engines {
            squared += engine.squared_gradient_norm()?;
        }
        let gradient_norm = squared.sqrt();
        self.state.cursor += 1;
        self.state.step += 1;
        let update = self.config.adam.update(step, steps, gradient_norm);
        // False for NaN. With such gradients, finite weights and rate, moments and weights stay finite.
        let bounded = gradient_norm * update.gradient_scale <= STEEPEST;
        if !(terms.total.is_finite() && bounded) {
            self.state.skipped += 1;
            if self.state.skipped > self.config.skips {
                let mut paths = self.checkpoint.iter().map(|(path, _)| path);
                let checkpoint = paths.find(|path| self.owns(path)).cloned();
                return Err(TrainError::Diverged { step, skipped: self.state.skipped, checkpoint });
            }
            return Ok(observe(&Event::Skipped { step, loss: terms.total, gradient_norm }));
        }
        self.state.skipped = 0;
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
        let sums = std::mem::take(&mut self.state.sums);
        let training = match self.state.summed > 0.0 {
            true => sums.scaled(1.0 / self.state.summed),
            // Every update was skipped.
            false => Terms::new(f64::NAN),
        };
        let record = EpochRecord { epoch: self.state.epoch, training, validation };
        let mut best = false;
        if let Some(terms) = &record.validation {
            let criterion = self.objective.criterion(terms);
            best = criterion.is_finite() && self.state.best.is_none_or(|(_, lowest)| criterion < lowest);
            if best {
                self.state.best = Some((record.epoch, criterion));
                self.best = Some(self.found_parameters()?);
            }
        }
        self.state.summed = 0.0;
        self.state.cursor = 0;
        self.state.epoch += 1;
        self.state.history.push(record.clone());
        Ok(observe(&Event::Epoch { record: &record, epochs: self.config.epochs, best }))
    }

    /// Adds the parameters after this update to their mean.
    fn average_parameters(&mut self) -> Result<(), EngineError> {
        let Some(updates) = self.config.averaging else { return Ok(()) };
        if !self.state.step.is_multiple_of(AVERAGED) {
            return Ok(());
        }
        // At first the mean of all, so that the initial parameters lose their influence quickly.
        let counted = (self.state.step / AVERAGED) as f64;
        let share = (AVERAGED as f64 / updates).max(1.0 / counted) as f32;
        self.engines.iter_mut().try_for_each(|engine| engine.average(share))
    }

    /// The loss on validation samples, with the mean of the parameters if there is one.
    fn validate(&mut self) -> Result<Option<Terms>, EngineError> {
        for engine in &mut self.engines {
            engine.set_mode(Mode::Evaluate);
            engine.exchange_mean()?;
        }
        let validation = self.objective.validate(&mut self.engines);
        self.engines.iter_mut().try_for_each(|engine| engine.exchange_mean())?;
        validation
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let Some((path, _)) = &self.checkpoint else { return Ok(()) };
        let fingerprint = self.objective.fingerprint();
        let newest = if self.damaged.as_ref() == Some(path) { Newest::Damaged } else { Newest::Intact };
        let (state, best) = (&self.state, self.best.as_ref());
        checkpoint::save(path, &self.config, &fingerprint, state, &self.engines, best, newest)?;
        self.saved = true;
        self.damaged = None;
        Ok(())
    }
}
