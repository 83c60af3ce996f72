//! The phase of the heart beat.

use serde::{Deserialize, Serialize};

/// The phase of the heart beat in which an image is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardiacPhase {
    /// The ventricles are full and their walls thin.
    #[default]
    EndDiastole,
    /// The ventricles are contracted and their walls thick.
    EndSystole,
}
