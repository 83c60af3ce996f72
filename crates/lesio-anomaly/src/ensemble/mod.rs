//! Ensembles: the scores of several predictors, models or seeds as one.

mod error;
mod learning;
mod learnt;
mod predictor;
mod rule;
mod scale;
mod selection;
#[cfg(test)]
mod tests;

pub use error::EnsembleError;
pub use learning::ValidationLesions;
pub use learnt::LearntWeights;
pub use predictor::Ensemble;
pub use rule::{EnsembleConfig, EnsembleRule};
pub use scale::MemberScale;
