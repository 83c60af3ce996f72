//! Which elements of a grid are neighbors.

use serde::{Deserialize, Serialize};

/// Which neighbors belong together.
///
/// In a plane [`Connectivity::Edge`] and [`Connectivity::Vertex`] are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connectivity {
    /// Those that share a face: 4 in a plane, 6 in a volume.
    #[serde(alias = "faces")]
    Face,
    /// Those that share a face or an edge: 8 in a plane, 18 in a volume.
    #[serde(alias = "edges")]
    Edge,
    /// Those that share a face, an edge or a corner: 8 in a plane, 26 in a volume.
    #[serde(alias = "corners")]
    Vertex,
}

impl Connectivity {
    /// How far apart along the last axis two touching runs may be, for rows that differ by
    /// `steps` of the other axes; `None` where no runs of such rows touch.
    pub(crate) fn slack(self, steps: usize) -> Option<usize> {
        let reach = match self {
            Self::Face => 1,
            Self::Edge => 2,
            Self::Vertex => 3,
        };
        (steps <= reach).then(|| (reach - steps).min(1))
    }
}
