//! A study of localization on two domains: predictors, weights of the divergence and models, with intervals.

mod cell;
mod claims;
mod domain;
mod report;
mod run;
mod settings;

pub use cell::{PredictorScore, StudyCell};
pub use claims::{Claim, ClaimStatus, claims};
pub use domain::Domain;
pub use report::StudyReport;
pub use run::{StudyConfig, StudyDomain, study_localization};
pub use settings::{Budget, Variation};
