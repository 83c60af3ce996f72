//! Segmentation quality from a data set to a model, a study and a page.
//!
//! [`QualityDataConfig::read`] splits a data set of volumes with labels by patient, and
//! [`QualityDataConfig::read_training`] leaves the test patients out. [`train_quality`] makes one model of it;
//! [`QualityStudyConfig::run`] makes a model of every method and measures them, clean, under attack and under natural
//! changes; [`evaluate_quality`] measures a model on segmentations by networks in use; [`grade_folder`] grades the segmentations of a data set, and
//! [`GradedFile::read`] that of a file. The first two keep what is finished in a folder, and report to a [`QualityObserver`]; none prints.

mod assessment;
mod certification;
mod config;
mod data;
mod demonstration;
mod error;
mod evaluation;
mod figures;
mod given;
mod grading;
mod measure;
mod networks;
mod page;
mod predictions;
mod progress;
mod schema;
mod study;
mod tables;
mod training;
mod ungraded;

pub use assessment::GradedFile;
pub use config::QualityStudyConfig;
pub use data::{QualityData, QualityDataConfig, patients};
pub use demonstration::demonstrate;
pub use error::QualityStudyError;
pub use evaluation::{
    GradedPatients, IntervalSource, QualityEvaluation, QualityEvaluationConfig, evaluate_quality,
};
pub use grading::{GradeConfig, GradedCase, GradingReport, grade_folder};
pub use measure::QualityStudy;
pub use networks::{ALL_NETWORKS, NetworkFolder};
pub use predictions::{GradeBesideTruth, GradeLevel, NetworkCounts, NetworkFigures, PredictionGrades};
pub use progress::{QualityObserver, QualityProgress};
pub use schema::{Perturbation, QualityReport, QualityRow};
pub use tables::tables;
pub use training::{TrainedQuality, train_quality};
pub use ungraded::UngradedCase;
