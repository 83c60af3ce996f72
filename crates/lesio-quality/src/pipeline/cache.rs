//! Storage for the steps of a pipeline.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lesio_nn::{
    Batch, EarlierCheckpoint, Ending, EngineError, Engines, Event, Objective, ParameterSet, Terms,
    TrainConfig, Trainer, checkpoint_exists, model_file,
};
use serde::{Deserialize, Serialize};

use crate::pipeline::progress::{PipelineError, PipelineObserver, PipelineProgress, report};

/// How often a running training is saved.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// What the file of a finished step is.
const KIND: &str = "a finished training step";
const VERSION: u32 = 1;

/// Storage for the state of steps: a folder, or nothing.
///
/// A step that is already finished, with the same data and configuration, is not repeated; an interrupted one
/// continues. The state does not depend on the device: a step can be continued on another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepCache {
    folder: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Finished {
    fingerprint: String,
}

/// An objective that is told apart by its stages, too: the checkpoint of a training with others may lie beyond one of
/// these, whose parameters are gone.
struct Staged<'a, O> {
    objective: O,
    stages: &'a [usize],
}

impl<O: Objective<N>, const N: usize> Objective<N> for Staged<'_, O> {
    fn samples(&self) -> usize {
        self.objective.samples()
    }

    fn learn(&mut self, engines: &mut Engines<N>, batch: &Batch<'_>) -> Result<Terms, EngineError> {
        self.objective.learn(engines, batch)
    }

    fn validate(&mut self, engines: &mut Engines<N>) -> Result<Option<Terms>, EngineError> {
        self.objective.validate(engines)
    }

    fn criterion(&self, validation: &Terms) -> f64 {
        self.objective.criterion(validation)
    }

    fn fingerprint(&self) -> String {
        let own = self.objective.fingerprint();
        if self.stages.is_empty() { own } else { format!("{own}, stages {:?}", self.stages) }
    }
}

impl StepCache {
    /// A cache in a folder, which must exist.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }

    /// No cache: nothing is stored.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{name}.safetensors")))
    }

    fn take(&self, name: &str, fingerprint: &str) -> Result<Option<ParameterSet>, PipelineError> {
        let Some(path) = self.file(name).filter(|path| path.exists()) else { return Ok(None) };
        let (parameters, finished): (ParameterSet, Finished) =
            model_file::load(&path, KIND, VERSION, model_file::DEFAULT_LIMIT)?;
        Ok((finished.fingerprint == fingerprint).then_some(parameters))
    }

    fn put(&self, name: &str, fingerprint: &str, parameters: &ParameterSet) -> Result<(), PipelineError> {
        if let Some(path) = self.file(name) {
            let finished = Finished { fingerprint: fingerprint.to_owned() };
            model_file::save(path, KIND, VERSION, parameters, &finished)?;
        }
        Ok(())
    }

    /// Trains, or takes up what was trained before; gives the parameters after each of these epochs, or
    /// where there are none those of the best epoch.
    pub(crate) fn train<const N: usize>(
        &self,
        name: &str,
        objective: impl Objective<N>,
        engines: Engines<N>,
        config: TrainConfig,
        stages: &[usize],
        observer: &mut PipelineObserver<'_>,
    ) -> Result<Vec<ParameterSet>, PipelineError> {
        let objective = Staged { objective, stages };
        let fingerprint = format!("{}, {:?}", Objective::<N>::fingerprint(&objective), config);
        let files: Vec<String> = match stages {
            [] => vec![name.to_owned()],
            stages => stages.iter().map(|stage| format!("{name}-{stage}")).collect(),
        };
        let mut found = Vec::new();
        for file in &files {
            match self.take(file, &fingerprint)? {
                Some(parameters) => found.push(parameters),
                None => break,
            }
        }
        if found.len() == files.len() {
            return Ok(found);
        }
        report(observer, &PipelineProgress::Step { name })?;
        let mut trainer = Trainer::new(objective, engines, config)?;
        if let Some(path) = self.file(&format!("{name}-checkpoint")) {
            trainer = trainer.checkpoint(&path, SAVE_EVERY);
            // What cannot be taken up, since it is of another configuration, is done anew.
            if checkpoint_exists(&path)
                && let Err(error) = trainer.resume(&path)
            {
                let reason =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                tracing::warn!(path = %path.display(), reason, "a checkpoint does not fit and is replaced");
                trainer = trainer.earlier_checkpoint(EarlierCheckpoint::Replace);
            }
        }
        // Stages already in the cache lie behind the checkpoint.
        for (number, file) in files.iter().enumerate().skip(found.len()) {
            let stage = stages.get(number).copied();
            let mut stopped = false;
            let reached = trainer.history().len();
            if stage.is_none_or(|stage| reached < stage) {
                let ending = trainer.run(|event| {
                    stopped |= observer(&PipelineProgress::Training(event)).is_break();
                    let at_stage =
                        matches!(event, Event::Epoch { record, .. } if stage == Some(record.epoch + 1));
                    if stopped || at_stage { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
                if stopped && ending == Ending::Stopped {
                    return Err(PipelineError::Stopped);
                }
            }
            let parameters = trainer.parameters()?;
            self.put(file, &fingerprint, &parameters)?;
            found.push(parameters);
        }
        if let Some(path) = self.file(&format!("{name}-checkpoint")) {
            remove_checkpoint(&path);
        }
        Ok(found)
    }
}

/// A finished step needs no checkpoint; one that cannot be removed does no harm. The newest is removed last: a process
/// that is killed in between leaves the state at the end, not one before it.
fn remove_checkpoint(path: &Path) {
    for path in [path.with_added_extension("previous"), path.to_owned()] {
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "checkpoint could not be removed");
        }
    }
}
