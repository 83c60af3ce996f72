//! The mode of a pass: training or evaluation.

/// The source of batch normalization's statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From the batch at hand; the running ones are to be updated.
    Train,
    /// From the running statistics, so that a row does not depend on the other rows of its batch.
    Evaluate,
}
