//! Why a network cannot be declared.

use crate::shape::Shape;

/// Why a network cannot be declared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Two nodes have the same name.
    #[error("two nodes have the name {name:?}")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A layer has a wrong number of inputs.
    #[error("layer {name:?} reads {found} values, expected {expected}")]
    InputCount {
        /// The layer's name.
        name: String,
        /// How many it was given.
        found: usize,
        /// The expected number.
        expected: &'static str,
    },
    /// A layer does not fit the shape of what it reads.
    #[error("layer {name:?} does not fit its input of shape {input}: {reason}")]
    Shape {
        /// The layer's name.
        name: String,
        /// Shape of the (first) input.
        input: Shape,
        /// The mismatch.
        reason: String,
    },
    /// A node reference belongs to another network.
    #[error("layer {name:?} reads node {index}, but the network has {nodes} nodes")]
    UnknownNode {
        /// The layer's name, or "outputs".
        name: String,
        /// The node referred to.
        index: usize,
        /// Number of nodes so far.
        nodes: usize,
    },
    /// A network without input or output.
    #[error("a network needs at least one input and one output")]
    Empty,
    /// A network of more parameters, values or nodes than any device holds.
    #[error("with {name:?} the network has {found} {what}, expected at most {limit}")]
    Large {
        /// The node with which it becomes too large.
        name: String,
        /// What was counted: parameters, values per sample or nodes.
        what: &'static str,
        /// How many there are; [`u64::MAX`] if the count overflows.
        found: u64,
        /// The most that is allowed.
        limit: u64,
    },
}
