//! What a workflow reports while it runs.

use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use lesio_nn::Event;

use crate::training_data::TrainingData;

/// Listens to a workflow ([`train_localizer`](crate::train_localizer), [`evaluate`](crate::evaluate),
/// [`localize_folder`](crate::localize_folder) and so on): a progress bar, a log, a cancel button.
///
/// Every method has a default that ignores what is reported; `()` is the observer that ignores everything.
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
    /// A step of this many parts begins.
    fn begin(&mut self, step: &Step, parts: usize) {
        let _ = (step, parts);
    }

    /// So many parts of the current step are done.
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

    /// A fact that a user wants to know.
    fn notice(&mut self, notice: &Notice<'_>) {
        let _ = notice;
    }

    /// An error in the words of a report: by default its message with those of its causes. A program adds the options
    /// that would have avoided it.
    fn explain(&self, error: &(dyn Error + 'static)) -> String {
        explain(error)
    }
}

impl Observer for () {}

/// An error with its causes in one line.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A part of a workflow that takes time. Its text is for a progress bar.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Cases are read: which, such as `train`.
    Reading(String),
    /// A network is trained.
    Training,
    /// Normal scores are gathered for each position.
    NormalizingByPosition,
    /// Predictors are calibrated.
    Calibrating,
    /// A calibration is compared with normal subjects.
    CheckingCalibration,
    /// The weights of an ensemble are learnt.
    LearningWeights,
    /// Thresholds and the best predictor are chosen on validation subjects.
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
            Self::NormalizingByPosition => f.write_str("gathering what is usual by place"),
            Self::Calibrating => f.write_str("calibrating"),
            Self::CheckingCalibration => f.write_str("checking the calibration"),
            Self::LearningWeights => f.write_str("learning weights"),
            Self::Choosing => f.write_str("choosing on the validation split"),
            Self::Scoring => f.write_str("scoring"),
            Self::Localizing => f.write_str("localizing"),
            Self::InjectingLesions => f.write_str("injecting lesions"),
            Self::Grading => f.write_str("grading"),
        }
    }
}

/// A fact that a user wants to know while a workflow runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// What a training learns from.
    TrainingData(&'a TrainingData),
    /// A case could not be scored and is left out.
    CaseLeftOut {
        /// Why.
        error: &'a (dyn Error + 'static),
    },
    /// All cases are scored; figures and intervals are computed now.
    ComputingFigures,
    /// A predictor was taken that nobody named.
    PredictorChosen {
        /// Which, and why in words.
        choice: &'a str,
    },
    /// The results of a case are written.
    CaseDone {
        /// The case.
        case: &'a str,
        /// Where its results are.
        folder: &'a Path,
    },
    /// A case has no results.
    CaseFailed {
        /// The case.
        case: &'a str,
        /// Why.
        error: &'a (dyn Error + 'static),
    },
    /// A model of a study is trained.
    ModelBegins {
        /// The domain of its images.
        domain: &'a str,
        /// The model.
        model: &'a str,
    },
    /// A model of a study is left out: the time is spent.
    ModelLeftOut {
        /// The domain of its images.
        domain: &'a str,
        /// The model.
        model: &'a str,
    },
}
