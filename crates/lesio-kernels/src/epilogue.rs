//! The epilogue of a kernel: processing of results before they are written.

use crate::images::{Combine, Rectifier};

/// The processing of a result before it is written.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// Whether the result replaces the output or is added to it.
    pub combine: Combine,
    /// Added to each channel.
    pub bias: Option<&'a [f32]>,
    /// Negative results are multiplied by this; 1 changes nothing, 0 is the rectified linear unit.
    pub slope: f32,
    /// The result is a gradient and is multiplied by the derivative of a rectifier.
    pub rectifier: Option<Rectifier<'a>>,
}

impl Default for Epilogue<'_> {
    /// Replaces the output, nothing else.
    fn default() -> Self {
        Self { combine: Combine::Replace, bias: None, slope: 1.0, rectifier: None }
    }
}
