//! Layers as candle operations over the same kernels as the plan, for models composed by hand.
//!
//! candle 0.11 computes some of these layers slowly, and some of their gradients wrong (see
//! [`CandleNetwork`](crate::candle::CandleNetwork)). The functions here take and give candle tensors and take part
//! in candle's automatic differentiation, with two differences: they run on the CPU in f32 alone, and they
//! compute the gradients of tracked arguments and no others, so that frozen weights cost nothing on the
//! way back.
//!
//! A network that can be declared as a [`Network`](crate::Network) is faster in a [`Plan`](crate::Plan):
//! it keeps its buffers, its packed weights and the kernels' order of channels from layer to layer, where
//! each operation here converts from candle's order and back. Results agree within rounding, and do not
//! depend on the number of threads or on the other samples of a batch.
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! use lesio_nn::candle::ops::{self, Window};
//!
//! let device = Device::Cpu;
//! let image = Var::randn(0f32, 1.0, (2, 3, 16, 16), &device)?;
//! // Frozen: a tensor that is no variable.
//! let weight = Tensor::ones((8, 3, 3, 3), DType::F32, &device)?;
//! let bias = Tensor::zeros(8, DType::F32, &device)?;
//!
//! let window = Window::new(3).padding(1);
//! let features = ops::convolution(&image, &weight, Some(&bias), window)?;
//! let pooled = ops::max_pool(&features, [2, 2])?;
//! assert_eq!(pooled.dims4()?, (2, 8, 8, 8));
//!
//! let gradients = pooled.sqr()?.sum_all()?.backward()?;
//! assert_eq!(gradients.get(&image).map(|gradient| gradient.dims4()).transpose()?, Some((2, 3, 16, 16)));
//! assert!(gradients.get(&weight).is_none());
//! # Ok::<(), candle_core::Error>(())
//! ```

mod convolution;
mod normalization;
mod pooling;
mod tensors;
mod upsampling;

use candle_core::{Result, Tensor};
use lesio_kernels::{Grouping, Normalization, Pooling, Upsampling};

use convolution::{Convolve, Direction, convolve};
use normalization::Normalize;
use pooling::Pool;
use upsampling::Upsample;

/// Kernel size, stride and padding of a convolution, the same along rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    kernel: usize,
    stride: usize,
    padding: usize,
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
}

/// Cross-correlation of images `[n, in, rows, columns]` with weights `[out, in, kernel, kernel]`, plus a
/// bias `[out]`: images `[n, out, (rows + 2 * padding - kernel) / stride + 1, ...]`.
///
/// # Errors
/// Tensors that are not f32 on the CPU, or whose shapes do not fit each other or the window.
pub fn convolution(image: &Tensor, weight: &Tensor, bias: Option<&Tensor>, window: Window) -> Result<Tensor> {
    convolve(image, weight, bias, Convolve { window, direction: Direction::Plain })
}

/// Transposed convolution, the adjoint of [`convolution`], of images `[n, in, rows, columns]` with weights
/// `[in, out, kernel, kernel]`, plus a bias `[out]`: images `[n, out, (rows - 1) * stride + kernel - 2 *
/// padding, ...]`.
///
/// # Errors
/// As [`convolution`].
pub fn transposed_convolution(
    image: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    window: Window,
) -> Result<Tensor> {
    convolve(image, weight, bias, Convolve { window, direction: Direction::Transposed })
}

/// Maximum over windows `[rows, columns]` that do not overlap; what does not fill a window is left out. Of
/// equal largest values the first in reading order takes the gradient.
///
/// # Errors
/// Tensors that are not f32 images on the CPU, and windows that are empty or larger than the image.
pub fn max_pool(image: &Tensor, window: [usize; 2]) -> Result<Tensor> {
    image.contiguous()?.apply_op1(Pool { pooling: Pooling::Maximum, window })
}

/// Mean over windows `[rows, columns]` that do not overlap; what does not fill a window is left out.
///
/// # Errors
/// As [`max_pool`].
pub fn average_pool(image: &Tensor, window: [usize; 2]) -> Result<Tensor> {
    image.contiguous()?.apply_op1(Pool { pooling: Pooling::Mean, window })
}

/// Each pixel repeated `factor` times along rows and columns.
///
/// # Errors
/// Tensors that are not f32 images on the CPU, and a factor of 0.
pub fn upsample_nearest(image: &Tensor, factor: usize) -> Result<Tensor> {
    image.contiguous()?.apply_op1(Upsample { upsampling: Upsampling::Nearest, factor })
}

/// Linear interpolation between pixel centres (half-pixel convention, edges repeated).
///
/// # Errors
/// As [`upsample_nearest`].
pub fn upsample_bilinear(image: &Tensor, factor: usize) -> Result<Tensor> {
    image.contiguous()?.apply_op1(Upsample { upsampling: Upsampling::Bilinear, factor })
}

/// Normalization of each of `groups` groups of channels of each sample to mean 0 and variance 1, then a
/// scale `[channels]` and a shift `[channels]`. `epsilon` is added to the variance.
///
/// # Errors
/// Tensors that are not f32 on the CPU or do not fit each other, and groups that do not divide the channels.
pub fn group_normalization(
    image: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    groups: usize,
    epsilon: f32,
) -> Result<Tensor> {
    let normalization = Normalization { grouping: Grouping::Groups(groups), epsilon };
    image.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, Normalize(normalization))
}
