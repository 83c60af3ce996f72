//! What can go wrong between a data set and a report on quality.

use std::path::{Path, PathBuf};

use lesio_image::GeometryError;
use lesio_io::ReadError;
use lesio_io::dataset::DatasetError;
use lesio_metrics::MetricError;
use lesio_nn::EngineError;
use lesio_phantom::PhantomError;
use lesio_quality::{CorruptionError, EstimateError, InputError, PipelineError};
use lesio_report::{PictureError, PlotError, ScaleError, TableError, WriteError};
use lesio_settings::SettingError;
use ndarray::ShapeError;

use crate::folder::FolderError;
use crate::presentation::PresentationError;

/// Why an estimator of quality could not be trained, studied or shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QualityStudyError {
    /// The data set cannot be listed.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A case cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A folder of segmentations cannot be listed.
    #[error("{}: cannot be listed", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of an earlier result cannot be removed.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A case cannot be used.
    #[error("case {case} cannot be used")]
    Case {
        /// The case.
        case: String,
        /// Why.
        source: Box<QualityStudyError>,
    },
    /// A file of a case cannot be used.
    #[error("{} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<QualityStudyError>,
    },
    /// A case is refused.
    #[error(transparent)]
    Input(#[from] InputError),
    /// An image is too large for the memory that it may take.
    #[error("{}: assessing it needs {need} bytes of memory, the limit is {limit}", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// What is needed, see [`QualityModel::working_bytes`](lesio_quality::QualityModel::working_bytes).
        need: u64,
        /// The limit of [`ReadOptions`](lesio_io::ReadOptions::max_bytes).
        limit: u64,
    },
    /// A volume cannot be written.
    #[error(transparent)]
    WriteVolume(#[from] lesio_io::ImageWriteError),
    /// The data hold nothing to work on, or patients of training and test mix.
    #[error("{what}")]
    Data {
        /// What is missing or mixed.
        what: String,
    },
    /// A setting is out of range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A training failed or was stopped.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// Quality could not be estimated.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
    /// The networks could not be computed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A metric is not defined.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A result cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A sample is not on the grid of the model.
    #[error("a sample is not on the grid of the model")]
    Shape(#[from] ShapeError),
    /// An image of the demonstration could not be drawn.
    #[error(transparent)]
    Phantom(#[from] PhantomError),
    /// A segmentation of the demonstration could not be made.
    #[error(transparent)]
    Corruption(#[from] CorruptionError),
    /// An image of the demonstration has no place.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// A result could not be shown.
    #[error(transparent)]
    Presentation(#[from] PresentationError),
}

impl QualityStudyError {
    /// This error, of a case.
    pub(super) fn of_case(self, case: &str) -> Self {
        Self::Case { case: case.to_owned(), source: Box::new(self) }
    }

    /// This error, of a file.
    pub(super) fn of_file(self, path: &Path) -> Self {
        Self::File { path: path.to_owned(), source: Box::new(self) }
    }
}

/// Errors of what is shown, each as a [`PresentationError`].
macro_rules! shown {
    ($($error:ty),*) => {
        $(impl From<$error> for QualityStudyError {
            fn from(error: $error) -> Self {
                Self::Presentation(error.into())
            }
        })*
    };
}

shown!(TableError, PlotError, PictureError, ScaleError);
