//! Ensembles: the scores of several predictors, models or seeds as one.

mod error;
mod learned;
mod learning;
mod predictor;
mod rule;
mod scale;
mod selection;
#[cfg(test)]
mod tests;

pub use error::EnsembleError;
pub use learned::LearnedWeights;
pub use learning::ValidationLesions;
pub use predictor::Ensemble;
pub use rule::{EnsembleConfig, EnsembleRule};
pub use scale::MemberScale;
