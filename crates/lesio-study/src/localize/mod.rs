//! Anomaly maps of every image of a data set, with pictures and lesions.

mod case;
mod cases;
mod cohort;
mod config;
mod derivative;
mod files;
mod folder;
mod pages;
mod picture;
mod record;
mod report;
mod tables;
mod volume;
mod work;

pub use case::{LocalizedCase, MappedPredictor};
pub use cases::LocalizedCases;
pub use config::{
    CaseFolders, ChannelMaps, FinishedCases, LocalizeConfig, OutputLayout, ReportPages, WrittenMaps,
};
pub use folder::localize_folder;
pub use report::{FailedCase, LocalizationReport};
