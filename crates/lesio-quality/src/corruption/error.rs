//! Why a segmentation cannot be corrupted.

/// Why a segmentation cannot be corrupted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptionError {
    /// There is no segmentation to corrupt: all labels are 0.
    #[error("segmentation of shape {shape:?} has no label but 0")]
    Empty {
        /// Its shape.
        shape: [usize; 3],
    },
    /// The segmentation lacks the label whose Dice is asked for.
    #[error("segmentation has no voxel of label {label}")]
    LabelAbsent {
        /// The label.
        label: u8,
    },
    /// Another subject's segmentation has another shape.
    #[error("the other segmentation has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Shape found.
        found: [usize; 3],
        /// Shape of the segmentation to corrupt.
        expected: [usize; 3],
    },
    /// Labels cannot be swapped where there is one.
    #[error("only label {label} is there, expected two or more to swap")]
    OneLabel {
        /// The label.
        label: u8,
    },
    /// No other subject's segmentation was given.
    #[error("no other subject's segmentation was given")]
    NoOther,
    /// A strength or target is not a number within 0 to 1.
    #[error("{name} is {found}, expected a number within 0 to 1")]
    Range {
        /// What it is.
        name: &'static str,
        /// Value found.
        found: f64,
    },
}
