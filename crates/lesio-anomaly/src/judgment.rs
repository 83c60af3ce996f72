//! The verdict on a subject, compared with the normal subjects of a calibration.

use std::fmt;

use serde::Serialize;

use crate::resolution::CalibrationDoubt;

/// The verdict on a subject: see [`NormalScores::judge`](crate::NormalScores::judge).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Judgment {
    /// No score is abnormal at this level.
    Normal {
        /// Its p-value.
        p_value: f64,
    },
    /// Some score is abnormal at this level.
    Abnormal {
        /// Its p-value.
        p_value: f64,
    },
    /// The subject scores higher than all normal subjects, but there are too few of them for this level.
    Undecided {
        /// Its p-value, the smallest possible one.
        p_value: f64,
    },
    /// The subject cannot be compared with the normal subjects.
    Incomparable(Incomparable),
}

/// Why a subject cannot be compared with the normal subjects of a calibration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Incomparable {
    /// It has no score: it has no foreground, or so little that filters and the network's grid leave nothing of it.
    /// Also for a map that was changed to hold NaN.
    NoScore,
    /// The normal subjects are not comparable, by their kind, resolution, extent or foreground, or the values of the scan
    /// lie outside the range of the model's images.
    Calibration(CalibrationDoubt),
}

/// Why a subject has no score.
const NO_SCORE: &str =
    "nothing of it was scored: it has no foreground that filters and the network's grid leave";

impl fmt::Display for Incomparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScore => f.write_str(NO_SCORE),
            Self::Calibration(doubt) => doubt.fmt(f),
        }
    }
}
