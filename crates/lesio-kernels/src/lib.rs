//! Convolution kernels for CPUs with run-time dispatch: the one crate of lesio that holds unsafe code.

mod activation;
mod adam;
mod bfloat16;
mod buffer;
mod convolution;
mod error;
mod images;
mod layout;
mod linear;
mod normalization;
mod period;
mod raw;
mod resampling;
mod scatter;
mod sums;
mod winograd;

pub use activation::{Function, activate, activation_gradient};
pub use adam::AdamUpdate;
pub use bfloat16::Precision;
pub use buffer::Buffer;
pub use convolution::{Convolution, Epilogue};
pub use error::KernelError;
pub use images::{
    Combine, Images, ImagesMut, Rectifier, clear, from_planes, rectify_gradient, to_planes, transfer,
};
pub use layout::{Border, ImageLayout, LANES};
pub use linear::Linear;
pub use normalization::{Grouping, Moments, Normalization, Statistics};
pub use raw::{Isa, Workers, with_workers};
pub use resampling::{Pooling, Upsampling, pool, pool_gradient, upsample, upsample_gradient};
pub use sums::{accumulate, channel_totals, column_sums, sum_of_squares, totals_scratch_len};
