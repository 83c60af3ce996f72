//! Models against the truth of a data set: from localizers and cases to figures, tables and pictures.

mod config;
mod examples;
mod measurement;
mod record;
mod results;
mod run;
mod share;
mod work;

pub use config::{EvaluateConfig, ModelChoices};
pub use results::{ChosenMap, EvaluationResults};
pub use run::{evaluate, evaluate_share};
pub use share::{EvaluationShare, MeasuredCase, UnreadCase, merge_evaluations};
