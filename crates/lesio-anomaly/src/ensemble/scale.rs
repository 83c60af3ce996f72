//! The common scale for combining members of an ensemble.

use serde::{Deserialize, Serialize};

/// The common scale for combining members. Raw scores of one member may be nats, those of another pixel values; the
/// scores of normal pixels make them comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MemberScale {
    /// `-log10` of the share of normal pixels that score as high ([`NormalScores::surprise`](crate::NormalScores::surprise)), whatever
    /// their distribution: at least 0. The default.
    #[default]
    Surprise,
    /// Standard deviations above the mean of the normal pixels
    /// ([`NormalScores::deviations`](crate::NormalScores::deviations)): it also keeps differences below the mean.
    Deviations,
}
