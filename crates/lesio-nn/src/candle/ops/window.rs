//! The windows of a convolution.

use candle_core::{Result, Tensor};

/// Kernel size, stride and padding of a convolution, the same along rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
}

impl Window {
    /// A square kernel of `kernel` rows and columns, with stride 1 and no padding.
    #[must_use]
    pub const fn new(kernel: usize) -> Self {
        Self { kernel, stride: 1, padding: 0 }
    }

    /// The distance between windows.
    #[must_use]
    pub const fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Zeros added on each side.
    #[must_use]
    pub const fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    pub(super) fn check(self, weight: &Tensor) -> Result<()> {
        match weight.dims4()? {
            (_, _, rows, columns) if [rows, columns] == [self.kernel; 2] => Ok(()),
            _ => candle_core::bail!("weights {:?} do not fit a kernel of {}", weight.shape(), self.kernel),
        }
    }
}
