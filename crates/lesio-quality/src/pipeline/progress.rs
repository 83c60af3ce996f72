//! Progress reports and errors of the steps of a pipeline.

use std::ops::ControlFlow;

use lesio_nn::{Event, LoadError, SaveError, TrainError};
use lesio_settings::SettingError;

use crate::error::{InputError, QualityBuildError};
use crate::slices::TrueSlice;

/// The progress of a step.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipelineProgress<'a> {
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

/// Takes the progress; a break stops at the next chance, and what was done is kept.
pub type PipelineObserver<'a> = dyn FnMut(&PipelineProgress<'_>) -> ControlFlow<()> + 'a;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// There are too few patients or no slice that can be used.
    #[error("{what}")]
    Nothing {
        /// What is missing.
        what: String,
    },
    /// Patients are for training and held out: intervals that are calibrated on what was learned are too narrow.
    #[error("the training and the held-out slices have patients in common: {}", named(patients, *count))]
    SharedPatients {
        /// The first such patients, ten at most.
        patients: Vec<String>,
        /// The number of such patients.
        count: usize,
    },
    /// A slice is invalid.
    #[error("slice {index} of case {case:?} is invalid")]
    Slice {
        /// The case.
        case: String,
        /// The slice, from 0.
        index: usize,
        /// The cause.
        source: InputError,
    },
    /// A network cannot be made.
    #[error(transparent)]
    Build(#[from] QualityBuildError),
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
    /// The observer stopped it.
    #[error("stopped; the same command continues from here")]
    Stopped,
}

/// The first names of a list, and the number of the others.
fn named(first: &[String], count: usize) -> String {
    let more = match count.saturating_sub(first.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    first.join(", ") + &more
}

impl From<SettingError> for PipelineError {
    fn from(error: SettingError) -> Self {
        Self::Build(error.into())
    }
}

impl PipelineError {
    /// The error of an invalid slice.
    pub(crate) fn of_slice(slice: &TrueSlice) -> impl FnOnce(InputError) -> Self {
        |source| Self::Slice { case: slice.case.clone(), index: slice.index, source }
    }
}

/// Reports the progress, and whether to stop.
pub(crate) fn report(
    observer: &mut PipelineObserver<'_>,
    progress: &PipelineProgress<'_>,
) -> Result<(), PipelineError> {
    if observer(progress).is_break() { Err(PipelineError::Stopped) } else { Ok(()) }
}
