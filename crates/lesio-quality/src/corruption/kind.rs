//! How a segmentation is wrong.

use serde::{Deserialize, Serialize};

/// How a segmentation is wrong. Every kind runs from strength 0, the segmentation itself, to strength
/// 1, and with one seed it does so gradually: what is wrong at one strength is so at every higher one,
/// but for [`CorruptionKind::Shift`], [`CorruptionKind::Warp`] and [`CorruptionKind::OtherSubject`].
///
/// Slices are those of the last axis, and all but [`CorruptionKind::MissingSlices`] work within slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CorruptionKind {
    /// Moved in a random direction; at 1 by its own extent, past itself.
    Shift,
    /// Each label loses its rim; at 1 all of it.
    Erode,
    /// Labels grow outwards, and one of them into the others; at 1 by the segmentation's radius.
    Dilate,
    /// Blobs are missing, the strength's share of each label.
    Holes,
    /// Slices are missing, the strength's share of them.
    MissingSlices,
    /// In blobs, the strength's share of each label, labels take each other's place. Needs two labels.
    SwapLabels,
    /// Turns into another subject's segmentation, which it is at 1. Needs [`Corruptor::other`](crate::Corruptor::other).
    OtherSubject,
    /// Boundaries are bent by a smooth displacement, at 1 by about a third of the segmentation's diameter.
    Warp,
}

impl CorruptionKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::Shift,
        Self::Erode,
        Self::Dilate,
        Self::Holes,
        Self::MissingSlices,
        Self::SwapLabels,
        Self::OtherSubject,
        Self::Warp,
    ];
}
