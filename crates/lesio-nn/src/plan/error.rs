//! Why a plan cannot be made or run.

use lesio_kernels::KernelError;

use crate::parameters::ParameterError;

/// Why a plan cannot be made or run. No data were changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A parameter is missing or has another shape.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// Another number of slices than the network has inputs or outputs.
    #[error("{found} {what} given, expected {expected}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many were given.
        found: usize,
        /// How many the network has.
        expected: usize,
    },
    /// A slice of wrong length.
    #[error("{what} {index} holds {found} values, expected {expected}")]
    Length {
        /// What it is.
        what: &'static str,
        /// Its index in the order of the network.
        index: usize,
        /// Values it holds.
        found: usize,
        /// Values that the samples take.
        expected: usize,
    },
    /// More samples than the plan was made for.
    #[error("{samples} samples, but the plan holds {capacity}")]
    Capacity {
        /// Number of samples given.
        samples: usize,
        /// Number of samples that the plan holds.
        capacity: usize,
    },
    /// Buffers with more values than the limit.
    #[error(
        "a batch of {capacity} samples takes {values} values, expected at most {limit}: make the batch smaller"
    )]
    Large {
        /// Number of samples.
        capacity: usize,
        /// Values of all buffers.
        values: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// Weights that take more values than the limit in the order of the kernels, which rounds channels up.
    #[error("in the order of the kernels the weights take {values} values, expected at most {limit}")]
    LargeWeights {
        /// Values of the weights as they are trained, and packed for each pass.
        values: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// A backward pass for gradients that the plan was not made for.
    #[error("the plan was not made for gradients of the {what}")]
    NotPrepared {
        /// Gradients of what.
        what: &'static str,
    },
    /// A backward pass without a forward pass before it.
    #[error("a backward pass needs a forward pass before it")]
    NoForwardPass,
    /// Weights, gradients or moments that belong to another network.
    #[error("the {what} belong to another network")]
    OtherNetwork {
        /// What they are.
        what: &'static str,
    },
    /// A size that does not fit the address space, or buffers that do not fit a kernel.
    #[error("the buffers cannot be laid out")]
    Layout(#[from] KernelError),
}
