//! What cases are called, and what is said of them.

use serde::{Deserialize, Serialize};

/// What the cases of a page are: it decides their names in texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CohortContent {
    /// Pictures: images, pixels, subjects.
    Pictures,
    /// Volumes: volumes, voxels, patients.
    Volumes,
    /// Both: cases, pixels, subjects.
    Mixed,
}

/// The names as the scripts take them.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Words {
    pub(super) case: &'static str,
    pub(super) cases: &'static str,
    pub(super) unit: &'static str,
    pub(super) units: &'static str,
    pub(super) subject: &'static str,
}

impl CohortContent {
    pub(super) fn words(self) -> Words {
        let words = |case, cases, unit, units, subject| Words { case, cases, unit, units, subject };
        match self {
            Self::Pictures => words("image", "images", "pixel", "pixels", "subject"),
            Self::Volumes => words("volume", "volumes", "voxel", "voxels", "patient"),
            Self::Mixed => words("case", "cases", "pixel", "pixels", "subject"),
        }
    }
}

/// What is said of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseStatus {
    /// Something in it stands out.
    Abnormal,
    /// It is unknown whether something does.
    CannotTell,
    /// The case could not be processed.
    Failed,
    /// Nothing stands out.
    Normal,
}
