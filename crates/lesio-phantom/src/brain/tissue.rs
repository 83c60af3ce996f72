//! The labels of a brain image.

use serde::{Deserialize, Serialize};

/// The tissue of a pixel of a brain phantom; the values are the phantom's labels.
///
/// The boundary voxels go to the tissue that fills most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Tissue {
    /// Outside the brain: air, scalp and skull.
    Outside = 0,
    /// Cerebrospinal fluid, in the ventricles, the sulci and around the brain.
    Fluid = 1,
    /// Cortex.
    Gray = 2,
    /// White matter.
    White = 3,
    /// Caudate, putamen, pallidum and thalamus.
    DeepGray = 4,
}

impl Tissue {
    /// The label in [`Phantom::labels`](crate::Phantom::labels).
    #[must_use]
    pub fn label(self) -> u8 {
        self as u8
    }
}
