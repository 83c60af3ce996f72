//! Records of metrics that could not be computed.

use lesio_report::Scope;
use serde::{Deserialize, Serialize};

/// A patient, or a whole scope, with metrics that could not be computed. All others count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Incomplete {
    /// The patient; `None` for all patients of the scope together.
    pub patient: Option<String>,
    /// The scope; `None` for every scope.
    pub scope: Option<Scope>,
    /// What is missing.
    pub missing: Missing,
    /// The consequence, in words.
    pub consequence: String,
}

/// What a patient or a scope lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Missing {
    /// No pixel is normal.
    NormalPixels,
    /// No pixel is lesion.
    Lesions,
    /// No map: a case could not be scored, such as one without foreground.
    Scores,
}
