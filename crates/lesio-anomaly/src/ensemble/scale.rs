//! The scale on which members of an ensemble are combined.

use serde::{Deserialize, Serialize};

/// The common scale on which members are combined. Raw scores of one member may be nats, of another
/// pixel values; what normal pixels score makes them comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MemberScale {
    /// `-log10` of the share of normal pixels that score as high ([`NormalScores::surprise`](crate::NormalScores::surprise)), whatever
    /// their distribution: at least 0. The default.
    #[default]
    Surprise,
    /// Standard deviations above the mean of the normal pixels ([`NormalScores::deviations`](crate::NormalScores::deviations)): keeps
    /// differences below the usual too.
    Deviations,
}
