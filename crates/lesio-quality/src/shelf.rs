//! Where the steps of a recipe keep their state, and what they tell while they run.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lesio_nn::{
    EarlierCheckpoint, Ending, Event, LoadError, Objective, ParameterSet, SaveError, TrainConfig, TrainError,
    Trainer, TrainingEngine, model_file,
};
use lesio_settings::SettingError;
use serde::{Deserialize, Serialize};

use crate::error::{BuildError, ConfigError, InputError};

/// How often a running training is saved.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// What the file of a finished step is.
const KIND: &str = "a finished training step";
const VERSION: u32 = 1;

/// What a step tells while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A step begins.
    Step {
        /// What it does.
        name: &'a str,
    },
    /// A network is being trained.
    Training(&'a Event<'a>),
    /// Slices or samples are being worked on.
    Items {
        /// How many are done.
        done: usize,
        /// How many there are.
        total: usize,
    },
}

/// Who listens to the progress; a break stops at the next chance, and what was done is kept.
pub type Listener<'a> = dyn FnMut(&Progress<'_>) -> ControlFlow<()> + 'a;

/// Why a step did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// There are too few patients or no slice that can be used.
    #[error("{what}")]
    Nothing {
        /// What is missing.
        what: String,
    },
    /// A slice is refused.
    #[error("slice {index} of case {case:?} is refused")]
    Slice {
        /// The case.
        case: String,
        /// The slice, counted from 0.
        index: usize,
        /// What is wrong.
        source: InputError,
    },
    /// A network cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An engine failed.
    #[error("the networks could not be computed")]
    Engine(#[from] lesio_nn::EngineError),
    /// A training failed.
    #[error("the training failed")]
    Train(#[from] TrainError),
    /// A finished step could not be saved.
    #[error("a finished step could not be saved")]
    Save(#[from] SaveError),
    /// A finished step could not be read.
    #[error("a finished step could not be read")]
    Load(#[from] LoadError),
    /// The listener stopped it.
    #[error("stopped; the same command goes on from here")]
    Stopped,
}

impl From<SettingError> for RecipeError {
    fn from(error: SettingError) -> Self {
        ConfigError::from(error).into()
    }
}

impl From<ConfigError> for RecipeError {
    fn from(error: ConfigError) -> Self {
        Self::Build(error.into())
    }
}

/// Where steps keep their state: a folder, or nothing.
///
/// A step that is found finished, on the same data and under the same configuration, is not done again; one that
/// was interrupted goes on where it was. Neither knows the device: a step may be taken up on another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    folder: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Finished {
    fingerprint: String,
}

impl Shelf {
    /// A shelf in a folder, which must exist.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }

    /// No shelf: nothing is kept.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{name}.safetensors")))
    }

    fn take(&self, name: &str, fingerprint: &str) -> Result<Option<ParameterSet>, RecipeError> {
        let Some(path) = self.file(name).filter(|path| path.exists()) else { return Ok(None) };
        let (parameters, finished): (ParameterSet, Finished) =
            model_file::load(&path, KIND, VERSION, model_file::DEFAULT_LIMIT)?;
        Ok((finished.fingerprint == fingerprint).then_some(parameters))
    }

    fn put(&self, name: &str, fingerprint: &str, parameters: &ParameterSet) -> Result<(), RecipeError> {
        if let Some(path) = self.file(name) {
            let finished = Finished { fingerprint: fingerprint.to_owned() };
            model_file::save(path, KIND, VERSION, parameters, &finished)?;
        }
        Ok(())
    }

    /// Trains, or takes up what was trained before; gives the parameters after each of these epochs, or
    /// where there are none those of the best epoch.
    pub(crate) fn train<O: Objective>(
        &self,
        name: &str,
        objective: O,
        engines: Vec<Box<dyn TrainingEngine>>,
        config: TrainConfig,
        stages: &[usize],
        listener: &mut Listener<'_>,
    ) -> Result<Vec<ParameterSet>, RecipeError> {
        let fingerprint = format!("{}, {:?}", objective.fingerprint(), config);
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
        tell(listener, &Progress::Step { name })?;
        let mut trainer = Trainer::new(objective, engines, config)?;
        if let Some(path) = self.file(&format!("{name}-checkpoint")) {
            trainer = trainer.checkpoint(&path, SAVE_EVERY);
            // What cannot be taken up, since it is of another configuration, is done anew.
            if path.exists()
                && let Err(error) = trainer.resume(&path)
            {
                let reason =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                tracing::warn!(path = %path.display(), reason, "a checkpoint does not fit and is replaced");
                trainer = trainer.earlier_checkpoint(EarlierCheckpoint::Replace);
            }
        }
        // Stages already on the shelf lie behind the checkpoint.
        for (number, file) in files.iter().enumerate().skip(found.len()) {
            let stage = stages.get(number).copied();
            let mut stopped = false;
            let reached = trainer.history().len();
            if stage.is_none_or(|stage| reached < stage) {
                let ending = trainer.run(|event| {
                    stopped |= listener(&Progress::Training(event)).is_break();
                    let at_stage =
                        matches!(event, Event::Epoch { record, .. } if stage == Some(record.epoch + 1));
                    if stopped || at_stage { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
                if stopped && ending == Ending::Stopped {
                    return Err(RecipeError::Stopped);
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

/// A finished step needs no checkpoint; one that cannot be removed does no harm.
fn remove_checkpoint(path: &Path) {
    for path in [path.to_owned(), path.with_added_extension("previous")] {
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "checkpoint could not be removed");
        }
    }
}

/// Tells the listener, and whether to stop.
pub(crate) fn tell(listener: &mut Listener<'_>, progress: &Progress<'_>) -> Result<(), RecipeError> {
    if listener(progress).is_break() { Err(RecipeError::Stopped) } else { Ok(()) }
}
