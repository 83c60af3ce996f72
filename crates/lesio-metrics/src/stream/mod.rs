//! Pixels outside of memory: what belongs to which region, gathering by patient, one pass over all, and what it found.

mod config;
mod measured;
mod patient_bins;
mod patients;
mod scores;
mod sweep;
mod true_pixels;
mod validation;

pub use config::MeasureConfig;
pub use measured::MeasuredPatients;
pub use patients::StreamedPatients;
pub use scores::StreamedScores;
pub use true_pixels::TruePixels;
pub use validation::StreamedValidation;
