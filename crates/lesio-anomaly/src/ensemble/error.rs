//! Why members cannot be combined.

/// Why members cannot be combined.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EnsembleError {
    /// An ensemble without members.
    #[error("an ensemble needs at least one member")]
    NoMembers,
    /// The rule is made for another number of members.
    #[error("the rule needs {expected} members, there are {found}")]
    Count {
        /// Number of members.
        found: usize,
        /// Number of members that the rule needs.
        expected: String,
    },
    /// A member's map has another shape than the first one's.
    #[error("the map of member {member} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The member's index, from 0.
        member: usize,
        /// Its shape.
        found: Vec<usize>,
        /// The shape of the first.
        expected: Vec<usize>,
    },
    /// A member's map has another geometry than the first one's.
    #[error("the map of member {member} has another geometry than the first")]
    Geometry {
        /// The member's index, from 0.
        member: usize,
    },
    /// A member's normal subjects were not scored, or have no pixel.
    #[error("member {member} has no normal scores")]
    NotCalibrated {
        /// The member's index, from 0.
        member: usize,
    },
    /// Weights cannot be learned from these pixels.
    #[error("weights cannot be learned: {reason}")]
    Learning {
        /// Why.
        reason: String,
    },
}
