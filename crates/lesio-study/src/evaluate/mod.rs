//! Models against the truth of a data set: from localizers and cases to figures, tables and pictures.

mod config;
mod examples;
mod measurements;
mod measuring;
mod record;
mod results;
mod run;
mod work;

pub use config::{EvaluateConfig, ModelChoices};
pub use measurements::{CohortMeasurements, MeasuredCase};
pub use results::{ChosenMap, EvaluationResults};
pub use run::{evaluate, measure_cases, offered_predictors};
