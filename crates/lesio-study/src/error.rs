//! Errors of training and evaluation.

use std::path::PathBuf;

use lesio_anomaly::PredictError;
use lesio_image::{GridError, ImageError, PreprocessError};
use lesio_io::ReadError;
use lesio_metrics::MetricError;
use lesio_nn::{EngineError, TrainError};
use lesio_settings::SettingError;
use lesio_vae::{BuildError, ConfigError, ExamplesError};

/// Why a training or an evaluation could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// A case could not be read.
    #[error("case {case:?} could not be read")]
    Read {
        /// The case.
        case: String,
        /// The cause.
        source: ReadError,
    },
    /// A case could not be brought to the network's grid.
    #[error("case {case:?} could not be preprocessed")]
    Preprocess {
        /// The case.
        case: String,
        /// The cause.
        source: PreprocessError,
    },
    /// The truth of a case does not match the grid of its image.
    #[error("the truth of case {case:?} does not fit its image")]
    Truth {
        /// The case.
        case: String,
        /// The cause.
        source: TruthError,
    },
    /// A case exceeds the memory limit.
    #[error("case {case:?} is {what}: work on it needs {need} bytes of memory, the limit is {limit}")]
    Memory {
        /// The case.
        case: String,
        /// What it is.
        what: String,
        /// The memory that is needed, see [`Subject::working_bytes`](crate::Subject::working_bytes).
        need: u64,
        /// The limit of [`ReadOptions`](lesio_io::ReadOptions::max_bytes).
        limit: u64,
    },
    /// The preprocessing could not be fitted.
    #[error("the preprocessing could not be fitted")]
    Fit(#[from] PreprocessError),
    /// A case could not be scored.
    #[error("case {case:?} could not be scored")]
    Score {
        /// The case.
        case: String,
        /// The cause.
        source: PredictError,
    },
    /// A setting is out of range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// An array has another shape than what it belongs to.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The array.
        what: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape of what it belongs to.
        expected: Vec<usize>,
    },
    /// Patients belong to two parts of a study, of which one trains or chooses what the other measures.
    #[error("the {} and the {} cases have patients in common: {}", parts[0], parts[1], named(patients, *count))]
    SharedPatients {
        /// The parts.
        parts: [&'static str; 2],
        /// The first such patients, ten at most.
        patients: Vec<String>,
        /// The number of such patients.
        count: usize,
    },
    /// Subjects are not those that the training of a localizer held out.
    #[error(
        "the model {label:?} was calibrated on {expected}, the cases held out here give {found}: use the data and the \
         options of its training, which must have been without validation data"
    )]
    NotHeldOut {
        /// The localizer.
        label: String,
        /// Number and checksum of the subjects' normal slices on the network's grid.
        found: String,
        /// Those of its training.
        expected: String,
    },
    /// Two objects have the same name, which would mix their results.
    #[error("{what} {name:?} occurs more than once")]
    Repeated {
        /// The kind of object.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A file could not be read.
    #[error("could not read {path:?}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The data contain nothing to work on.
    #[error("{what}")]
    Nothing {
        /// What is missing.
        what: String,
    },
    /// A table of lesions cannot be read.
    #[error("the table of lesions cannot be read: {reason}")]
    Table {
        /// The cause, with its position.
        reason: String,
    },
    /// Volumes and images are mixed, or channels differ.
    #[error("case {case:?} is {found}, the others are {expected}")]
    Mixed {
        /// The case.
        case: String,
        /// What it is.
        found: String,
        /// What the first case is.
        expected: String,
    },
    /// A training image is invalid.
    #[error("a training image is invalid")]
    Examples(#[from] ExamplesError),
    /// A model's configuration is invalid.
    #[error("the model's configuration is invalid")]
    Config(#[from] ConfigError),
    /// A model cannot be made of its parameters.
    #[error("the model cannot be made")]
    Build(#[from] BuildError),
    /// A localizer cannot be put together.
    #[error("the localizer cannot be put together")]
    Localizer(#[from] PredictError),
    /// Models of different numbers of channels cannot be members of one ensemble.
    #[error(
        "the models {:?} and {:?} cannot be combined: the first takes images of {} channels, the second of {}",
        labels[0], labels[1], channels[0], channels[1]
    )]
    Channels {
        /// Labels of the models.
        labels: [String; 2],
        /// Their numbers of channels.
        channels: [usize; 2],
    },
    /// Volumes and pictures together train no model.
    #[error("{volume:?} is a volume and {picture:?} a picture: train a model on one kind")]
    MixedKinds {
        /// The first volume.
        volume: String,
        /// The first picture.
        picture: String,
    },
    /// Two localizers of an ensemble are equal.
    #[error("{:?} and {:?} are the same model, which an ensemble would count twice", labels[0], labels[1])]
    SameModel {
        /// Their labels.
        labels: [String; 2],
    },
    /// Predictors cannot be combined.
    #[error("the predictors cannot be combined")]
    Ensemble(#[from] lesio_anomaly::EnsembleError),
    /// An engine failed.
    #[error("the network cannot be computed")]
    Engine(#[from] EngineError),
    /// The training failed.
    #[error("the training failed")]
    Train(#[from] TrainError),
    /// A metric is undefined.
    #[error("a metric could not be computed")]
    Metric(#[from] MetricError),
}

/// Why a truth does not match the grid of its image.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TruthError {
    /// The truth of a volume has another position.
    #[error(transparent)]
    Grid(GridError),
    /// The truth of an image has another size.
    #[error(transparent)]
    Size(ImageError),
}

/// The first names of a list, and the number of the others.
fn named(first: &[String], count: usize) -> String {
    let more = match count.saturating_sub(first.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    first.join(", ") + &more
}
