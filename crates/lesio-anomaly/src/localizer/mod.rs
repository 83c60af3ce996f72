//! A trained model with its preprocessing, post-processing, calibration and provenance, in one file.

mod definition;
mod file;
mod scoring;

pub use definition::Localizer;
