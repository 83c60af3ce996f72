//! Layers in f32 on a CUDA card, by kernels of lesio's own where candle's are slow or have no gradient.
//!
//! Products of matrices are cuBLAS's, through candle. All results are the same bytes from run to run.

mod adam;
mod filter;
mod kernels;
mod launch;
mod operations;

use candle_core::{DType, Device, Tensor};

pub(super) use adam::adam;
pub(super) use filter::{adjoint, plain, products, transposed_gradients};
pub(super) use kernels::{channel_sums, read, some_channels, square_sum};
pub(crate) use launch::keep_memory;
pub(super) use operations::{
    Gradient, activate, add_bias, group_normalization, group_normalization_gradients, pool, upsample,
};

/// Whether a tensor is computed by the functions of this module.
pub(super) fn has_kernels(x: &Tensor) -> bool {
    matches!(x.device(), Device::Cuda(_)) && x.dtype() == DType::F32
}
