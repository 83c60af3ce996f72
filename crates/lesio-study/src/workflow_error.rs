//! Errors of workflows.

use std::path::PathBuf;

use lesio_anomaly::{PredictError, PredictorName};
use lesio_image::ScanError;
use lesio_io::ReadError;
use lesio_io::dataset::DatasetError;
use lesio_metrics::MetricError;
use lesio_nn::SaveError;
use lesio_report::{PictureError, PlotError, TableError};
use lesio_settings::SettingError;

use crate::error::StudyError;
use crate::folder::FolderError;
use crate::injection::InjectionError;
use crate::presentation::PresentationError;
use crate::quality::QualityStudyError;

/// Why a workflow ([`evaluate`](crate::evaluate), [`localize_folder`](crate::localize_folder) and so on) failed.
///
/// Errors of the parts are passed on unchanged; the other variants are errors of workflows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkflowError {
    /// Of training, calibration or evaluation.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// Of an estimator of quality.
    #[error(transparent)]
    Quality(#[from] QualityStudyError),
    /// Of scoring.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// Of a folder for results.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Of a data set.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Of a file that is read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Of the channels of a scan.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Of a map or an image that is written.
    #[error(transparent)]
    WriteImage(#[from] lesio_io::ImageWriteError),
    /// Of a table, a report or a picture that is written.
    #[error(transparent)]
    WriteFile(#[from] lesio_io::atomic::WriteError),
    /// Of a model that is saved.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// Of a report's tables and pictures.
    #[error(transparent)]
    Presentation(#[from] PresentationError),
    /// Of a table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Of a plot.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// Of a picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// Of a metric.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// Of a setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Of a result in JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Of the settings of lesions.
    #[error(transparent)]
    InjectionConfig(InjectionError),
    /// Of lesions that are put into a case.
    #[error("case {case}: {}", crate::observer::explain(.cause))]
    Injection {
        /// The case.
        case: String,
        /// Why. Its message, with its causes, is part of this one.
        cause: InjectionError,
    },
    /// The file exists, and replacing it was not requested.
    #[error("{} exists", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The folder for results in BIDS holds data of others.
    #[error("{} exists, and lesio did not write it: choose another folder for results", .path.display())]
    NotByLesio {
        /// The first such file or folder.
        path: PathBuf,
    },
    /// A run that continues an earlier one would replace its results of other files.
    #[error(
        "{}: holds results of {found}, expected those of {expected}: continuing would replace them; choose another \
         folder for results, or replace them all", .record.display()
    )]
    OtherFiles {
        /// The record of the case.
        record: PathBuf,
        /// The names of its files.
        found: String,
        /// The names of the files of this run.
        expected: String,
    },
    /// The record of an earlier run cannot be removed.
    #[error("{}: cannot be removed: {cause}", .path.display())]
    Forget {
        /// The record.
        path: PathBuf,
        /// The error of the system. Its message is part of this one.
        cause: std::io::Error,
    },
    /// The measurements of a case by an earlier run or another machine cannot be used.
    #[error("{}: {cause}", .path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why. Its message is part of this one.
        cause: std::io::Error,
    },
    /// The results of finished cases cannot be stored or read, see [`LocalizedCases`](crate::LocalizedCases).
    #[error("the results of finished cases cannot be stored or read")]
    Results(#[source] std::io::Error),
    /// Reports of shards cannot be joined.
    #[error("the reports cannot be joined: {why}")]
    Merge {
        /// Why.
        why: String,
    },
    /// The folder for results is inside the data set.
    #[error("{} lies in {}: its results would be read as data", .folder.display(), .data.display())]
    ResultsInData {
        /// The folder.
        folder: PathBuf,
        /// That of the data set.
        data: PathBuf,
    },
    /// Results in BIDS of what is not called as in BIDS.
    #[error(
        "case {case} has no name of BIDS: results are a derivative of BIDS where the images are of the layout bids"
    )]
    NotBids {
        /// The case.
        case: String,
    },
    /// A predictor compares all channels at once.
    #[error("{predictor} has no score of a single channel")]
    NoChannelMaps {
        /// The predictor.
        predictor: PredictorName,
    },
    /// A family-wise level needs more normal subjects than the calibration has.
    #[error(
        "a family-wise level of {level} needs {needed} normal subjects, the model was calibrated on {subjects}"
    )]
    TooFewNormals {
        /// The level.
        level: f64,
        /// Number of normal subjects that it needs.
        needed: f64,
        /// Number of normal subjects in the calibration.
        subjects: usize,
    },
    /// A file changed between two reads.
    #[error("the file was changed during the work on it")]
    Changed,
    /// A case without an image or a tissue map, or a picture without a slice.
    #[error("a {whole} without {part}")]
    Without {
        /// The incomplete object.
        whole: &'static str,
        /// The missing part.
        part: &'static str,
    },
    /// A test case has no truth.
    #[error("case {case} has no mask")]
    NoMask {
        /// The case.
        case: String,
    },
    /// No predictor can be selected, since no validation case has a lesion.
    #[error("the selection of a predictor needs lesions, and the validation split has none")]
    NoLesionsToChooseBy,
    /// A case of several channels: lesions are injected into images of one.
    #[error("case {case} has {found} channels: lesions are injected into images of one channel")]
    SeveralChannels {
        /// The case.
        case: String,
        /// Number of its channels.
        found: usize,
    },
    /// The images have the name of the masks that are written.
    #[error("the image cannot have the name {name} of the masks")]
    MaskName {
        /// The name.
        name: String,
    },
    /// A cell of a study on disk cannot be read.
    #[error("{}: {cause}", .path.display())]
    ReadCell {
        /// The file.
        path: PathBuf,
        /// The error of the system. Its message is part of this one.
        cause: std::io::Error,
    },
    /// A file is not a cell of a study.
    #[error("{} is not a cell of this study: {cause}", .path.display())]
    NoCell {
        /// The file.
        path: PathBuf,
        /// The cause. Its message is part of this one.
        cause: serde_json::Error,
    },
    /// A cell of a study was made with another budget.
    #[error("{} was made with another budget: {difference}; choose another folder, or remove it", .path.display())]
    OtherBudget {
        /// The file.
        path: PathBuf,
        /// The settings that differ, with the value in the file and the expected one.
        difference: String,
    },
}
