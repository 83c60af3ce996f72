//! Models against the truth of a data set: from localizers and cases to figures, tables and pictures.

mod config;
mod examples;
mod results;
mod run;

pub use config::{EvaluateConfig, ModelChoices};
pub use results::{ChosenMap, EvaluationResults};
pub use run::evaluate;
