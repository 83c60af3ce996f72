//! Layers as candle operations, for models composed by hand.
//!
//! candle 0.11 computes some of these layers slowly, and some of their gradients wrong. The functions here
//! take and return candle tensors and take part in candle's automatic differentiation. They compute only
//! the gradients of tracked arguments, so that frozen weights cost nothing in the backward pass.
//!
//! Tensors of f32 on the CPU are computed by the kernels of the plan. On other devices and in other
//! precisions the layers are composed of candle's operations, as in
//! [`CandleNetwork`](crate::candle::CandleNetwork).
//!
//! A network that can be declared as a [`Network`](crate::Network) is faster in a [`Plan`](crate::Plan):
//! it keeps its buffers, its packed weights and the kernels' order of channels from layer to layer, where
//! each operation here converts from candle's order and back. Results agree within rounding, and do not
//! depend on the number of threads or on the other samples of a batch where the kernels compute them.
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! use lesio_nn::candle::ops::{self, Window};
//!
//! let device = Device::Cpu;
//! let image = Var::randn(0f32, 1.0, (2, 3, 16, 16), &device)?;
//! // Frozen: a tensor that is not a variable.
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
mod window;

use candle_core::{DType, Device, Result, Tensor};
use lesio_kernels::{Grouping, NormalizationSettings, Pooling, Upsampling};

use convolution::{Convolve, Direction, convolve};
use normalization::Normalize;
use pooling::Pool;
use upsampling::Upsample;
pub use window::Window;

use super::layers;

/// Cross-correlation of images `[n, in, rows, columns]` with weights `[out, in, kernel, kernel]`, plus a
/// bias `[out]`: images `[n, out, (rows + 2 * padding - kernel) / stride + 1, ...]`.
///
/// # Errors
/// For tensors whose shapes, types or devices do not fit each other, and for shapes that do not fit the window.
pub fn convolution(image: &Tensor, weight: &Tensor, bias: Option<&Tensor>, window: Window) -> Result<Tensor> {
    if has_kernels(image) {
        return convolve(image, weight, bias, Convolve { window, direction: Direction::Plain });
    }
    window.check(weight)?;
    with_bias(&layers::convolution(image, weight, window.stride, window.padding)?, bias)
}

/// Transposed convolution, the adjoint of [`convolution`], of images `[n, in, rows, columns]` with weights
/// `[in, out, kernel, kernel]`, plus a bias `[out]`: images `[n, out, (rows - 1) * stride + kernel - 2 *
/// padding, ...]`.
///
/// # Errors
/// Those of [`convolution`].
pub fn transposed_convolution(
    image: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    window: Window,
) -> Result<Tensor> {
    if has_kernels(image) {
        return convolve(image, weight, bias, Convolve { window, direction: Direction::Transposed });
    }
    window.check(weight)?;
    with_bias(&layers::transposed_convolution(image, weight, window.stride, window.padding)?, bias)
}

/// Maximum over windows `[rows, columns]` that do not overlap; pixels that do not fill a window are left out. Of
/// equal largest values, the first in reading order gets the gradient.
///
/// # Errors
/// Tensors that are not images `[n, channels, rows, columns]`, and windows that are empty or larger than the image.
pub fn max_pool(image: &Tensor, window: [usize; 2]) -> Result<Tensor> {
    if has_kernels(image) {
        return image.contiguous()?.apply_op1(Pool { pooling: Pooling::Maximum, window });
    }
    layers::max_pool(image, window)
}

/// Mean over windows `[rows, columns]` that do not overlap; pixels that do not fill a window are left out.
///
/// # Errors
/// Those of [`max_pool`].
pub fn average_pool(image: &Tensor, window: [usize; 2]) -> Result<Tensor> {
    if has_kernels(image) {
        return image.contiguous()?.apply_op1(Pool { pooling: Pooling::Mean, window });
    }
    layers::average_pool(image, window)
}

/// Each pixel repeated `factor` times along rows and columns.
///
/// # Errors
/// Tensors that are not images `[n, channels, rows, columns]`, and a factor of 0.
pub fn upsample_nearest(image: &Tensor, factor: usize) -> Result<Tensor> {
    if has_kernels(image) {
        return image.contiguous()?.apply_op1(Upsample { upsampling: Upsampling::Nearest, factor });
    }
    layers::upsample_nearest(image, factor)
}

/// Linear interpolation between pixel centers (half-pixel convention, edges repeated).
///
/// # Errors
/// Those of [`upsample_nearest`].
pub fn upsample_bilinear(image: &Tensor, factor: usize) -> Result<Tensor> {
    if has_kernels(image) {
        return image.contiguous()?.apply_op1(Upsample { upsampling: Upsampling::Bilinear, factor });
    }
    layers::upsample_bilinear(image, factor)
}

/// Normalization of each of `groups` groups of channels of each sample to mean 0 and variance 1, then a
/// scale `[channels]` and a shift `[channels]`. `epsilon` is added to the variance.
///
/// # Errors
/// Tensors that do not fit each other, and groups that do not divide the channels.
pub fn group_normalization(
    image: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    groups: usize,
    epsilon: f32,
) -> Result<Tensor> {
    if has_kernels(image) {
        let operation = Normalize(NormalizationSettings { grouping: Grouping::Groups(groups), epsilon });
        return image.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, operation);
    }
    layers::group_normalization(image, scale, shift, groups, epsilon)
}

fn has_kernels(image: &Tensor) -> bool {
    matches!(image.device(), Device::Cpu) && image.dtype() == DType::F32
}

fn with_bias(image: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        Some(bias) => layers::add_bias(image, bias),
        None => Ok(image.clone()),
    }
}
