//! The neighborhoods on a grid.

use serde::{Deserialize, Serialize};

/// Which neighbors are connected.
///
/// In a plane [`Connectivity::Edge`] and [`Connectivity::Vertex`] are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connectivity {
    /// Neighbors that share a face: 4 in a plane, 6 in a volume.
    #[serde(alias = "faces")]
    Face,
    /// Neighbors that share a face or an edge: 8 in a plane, 18 in a volume.
    #[serde(alias = "edges")]
    Edge,
    /// Neighbors that share a face, an edge or a corner: 8 in a plane, 26 in a volume.
    #[serde(alias = "corners")]
    Vertex,
}

impl Connectivity {
    /// Largest gap along the last axis between two connected runs, for rows that differ by `steps` along the other
    /// axes; `None` if runs of such rows are never connected.
    pub(crate) fn slack(self, steps: usize) -> Option<usize> {
        let reach = match self {
            Self::Face => 1,
            Self::Edge => 2,
            Self::Vertex => 3,
        };
        (steps <= reach).then(|| (reach - steps).min(1))
    }
}
