//! Cases and segmentations that could not be graded.

use lesio_io::dataset::Case;
use serde::{Deserialize, Serialize};

/// A case, or the segmentation of a case by one of several networks, that could not be graded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UngradedCase {
    /// The case.
    pub id: String,
    /// Its patient; empty in reports of earlier versions.
    #[serde(default)]
    pub patient: String,
    /// The network whose segmentation could not be graded; `None` where it is the case itself, or where there is one
    /// segmentation alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Why, with the causes.
    pub error: String,
    /// Its additional columns in a manifest: name and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<(String, String)>,
}

impl UngradedCase {
    pub(super) fn new(case: &Case, network: Option<&str>, error: String) -> Self {
        Self {
            id: case.id().to_owned(),
            patient: case.patient().to_owned(),
            network: network.map(str::to_owned),
            error,
            further: case.further().to_vec(),
        }
    }
}
