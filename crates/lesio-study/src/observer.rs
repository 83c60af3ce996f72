//! The progress reports of a workflow.

use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use lesio_nn::Event;

use crate::training_data::TrainingData;

/// Observes a workflow ([`train_localizer`](crate::train_localizer), [`evaluate`](crate::evaluate),
/// [`localize_folder`](crate::localize_folder) and so on): a progress bar, a log, a cancel button.
///
/// The default of every method ignores the report; `()` is the observer that ignores everything.
///
/// ```
/// use lesio_study::{Observer, Step};
///
/// #[derive(Default)]
/// struct Steps(Vec<String>);
///
/// impl Observer for Steps {
///     fn begin(&mut self, step: &Step, parts: usize) {
///         self.0.push(format!("{step}: {parts}"));
///     }
/// }
///
/// let mut steps = Steps::default();
/// steps.begin(&Step::Calibrating, 3);
/// assert_eq!(steps.0, ["calibrating: 3"]);
/// ```
pub trait Observer {
    /// A step with this many parts starts.
    fn begin(&mut self, step: &Step, parts: usize) {
        let _ = (step, parts);
    }

    /// This many parts of the current step are done.
    fn advance(&mut self, done: usize) {
        let _ = done;
    }

    /// The current step has ended.
    fn end(&mut self) {}

    /// The state of a training; `Break` ends the training early.
    fn training(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        let _ = event;
        ControlFlow::Continue(())
    }

    /// A fact for the user.
    fn notice(&mut self, notice: &Notice<'_>) {
        let _ = notice;
    }

    /// The text of an error for a report: by default its message with those of its causes. A program can add the
    /// options that would avoid the error.
    fn explain(&self, error: &(dyn Error + 'static)) -> String {
        explain(error)
    }
}

impl Observer for () {}

/// An error with its causes on one line.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A part of a workflow that takes time. Its text is for a progress bar.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Cases are read; the text names them, such as `train`.
    Reading(String),
    /// A network is trained.
    Training,
    /// Normal scores are collected for each position.
    NormalizingByPosition,
    /// Predictors are calibrated.
    Calibrating,
    /// A calibration is compared with normal subjects.
    CheckingCalibration,
    /// The weights of an ensemble are learned.
    LearningWeights,
    /// Thresholds and the best predictor are selected on validation subjects.
    Choosing,
    /// Test subjects are scored.
    Scoring,
    /// Images are mapped.
    Localizing,
    /// Lesions are put into normal images.
    InjectingLesions,
    /// Segmentations are graded.
    Grading,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reading(what) => write!(f, "reading {what}"),
            Self::Training => f.write_str("training"),
            Self::NormalizingByPosition => f.write_str("normalizing by position"),
            Self::Calibrating => f.write_str("calibrating"),
            Self::CheckingCalibration => f.write_str("checking the calibration"),
            Self::LearningWeights => f.write_str("learning weights"),
            Self::Choosing => f.write_str("selecting on the validation split"),
            Self::Scoring => f.write_str("scoring"),
            Self::Localizing => f.write_str("localizing"),
            Self::InjectingLesions => f.write_str("injecting lesions"),
            Self::Grading => f.write_str("grading"),
        }
    }
}

/// A fact for the user while a workflow runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// The data of a training.
    TrainingData(&'a TrainingData),
    /// A case could not be scored and is left out.
    CaseLeftOut {
        /// The cause.
        error: &'a (dyn Error + 'static),
    },
    /// The images are called otherwise than those of the model's training: they may be of another contrast.
    OtherChannel {
        /// The name of the model's channel.
        model: &'a str,
        /// The name of the channel of the cases.
        cases: &'a str,
    },
    /// A file holds several channels, which have no names: they are taken as those of the model, in its order. Channels
    /// with names are compared with those of the model, and these are not.
    UnnamedChannels {
        /// The names of the model's channels.
        model: &'a [String],
    },
    /// From here on, results of an earlier run in this folder are replaced, one case after the other. What describes that run
    /// as a whole, such as its arguments, no longer holds.
    ReplacingResults {
        /// The folder.
        folder: &'a Path,
    },
    /// A localizer was not calibrated, since no normal slice was left for that: it has no thresholds and no p-values.
    NotCalibrated,
    /// All cases are scored; figures and intervals are computed now.
    ComputingFigures,
    /// A predictor was selected that the user did not name.
    PredictorChosen {
        /// The predictor and the reason, in words.
        choice: &'a str,
    },
    /// The results of a case are written. It is not sent for results of an earlier run that are kept.
    CaseDone {
        /// The case.
        case: &'a str,
        /// The folder of its results.
        folder: &'a Path,
    },
    /// Results of an earlier run were kept ([`FinishedCases::Keep`](crate::FinishedCases::Keep)).
    CasesKept {
        /// The number of cases with such results, at least 1.
        kept: usize,
        /// The number of all cases of this run.
        cases: usize,
    },
    /// A case has no results.
    CaseFailed {
        /// The case.
        case: &'a str,
        /// The cause.
        error: &'a (dyn Error + 'static),
    },
    /// A model of a study is trained.
    ModelBegins {
        /// The domain of its images.
        domain: &'a str,
        /// The model.
        model: &'a str,
    },
    /// A model of a study is left out because the time is over.
    ModelLeftOut {
        /// The domain of its images.
        domain: &'a str,
        /// The model.
        model: &'a str,
    },
}
