//! The labels of a heart image.

use serde::{Deserialize, Serialize};

/// The structure at a pixel of a heart phantom; the values are the phantom's labels, as in ACDC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum HeartPart {
    /// Everything else: lung, liver, fat, chest wall, air.
    Background = 0,
    /// Cavity of the right ventricle.
    RightVentricle = 1,
    /// Wall of the left ventricle.
    Myocardium = 2,
    /// Cavity of the left ventricle with its papillary muscles and trabeculae, as ACDC draws it.
    LeftVentricle = 3,
}

impl HeartPart {
    /// The label in [`Phantom::labels`](crate::Phantom::labels).
    #[must_use]
    pub fn label(self) -> u8 {
        self as u8
    }
}
