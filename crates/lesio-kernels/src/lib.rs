//! Convolution kernels for CPUs with run-time dispatch. All unsafe code of lesio's CPU engine is here.
//!
//! Images are channel-last with a border of zeros: an [`ImageLayout`] says how, [`from_planes`] and [`to_planes`]
//! convert from `[n, channels, rows, columns]` and back. [`ConvolutionShape`] computes a convolution, its adjoint (a
//! transposed convolution, and the gradient by the input) and the gradient of its weights. [`Linear`],
//! [`NormalizationSettings`], [`pool`], [`upsample`] and [`activate`] are the other layers, each with its gradients, and
//! [`AdamUpdate`] the optimizer's step. All run on the threads of the current rayon pool inside [`with_workers`], for the
//! instructions of an [`Isa`]. Results do not depend on the number of threads or on the other images of a batch.
//!
//! Most users want networks instead: `lesio-nn` plans these kernels for a whole network.
//!
//! ```
//! use lesio_kernels::{
//!     Buffer, Combine, ConvolutionShape, Epilogue, ImageLayout, Images, ImagesMut, Isa, from_planes, to_planes, with_workers,
//! };
//!
//! // A 3x3 kernel, stride 1, padding 1, one channel in and one out.
//! let convolution = ConvolutionShape::new(3, 1, 1, 1, 1)?;
//! let size = [8, 8];
//! let input = ImageLayout::new(1, 8, 8, convolution.input_border(size, size))?;
//! let output = ImageLayout::new(1, 8, 8, convolution.output_border(size, size))?;
//!
//! // Each pixel of the result is twice the pixel above it.
//! let mut weights = Buffer::zeros(convolution.weights_len());
//! weights[convolution.weight_index(0, 0, 0, 1)] = 2.0;
//!
//! let planes: Vec<f32> = (0..64).map(|pixel| pixel as f32).collect();
//! let mut image = Buffer::zeros(input.len(1)?);
//! let mut result = Buffer::zeros(output.len(1)?);
//! let mut packed = Buffer::zeros(convolution.packed_len());
//! let mut doubled = vec![0.0; 64];
//! with_workers(Isa::best(), |workers| {
//!     from_planes(workers, 1, &planes, ImagesMut::new(&mut image, &input), Combine::Replace)?;
//!     convolution.pack(workers, &weights, &mut packed)?;
//!     let (from, to) = (Images::new(&image, &input), ImagesMut::new(&mut result, &output));
//!     convolution.forward_packed(workers, 1, from, &weights, &packed, to, Epilogue::default())?;
//!     to_planes(workers, 1, Images::new(&result, &output), &mut doubled)
//! })?;
//! assert_eq!((doubled[0], doubled[8], doubled[63]), (0.0, 0.0, 110.0));
//! # Ok::<(), lesio_kernels::KernelError>(())
//! ```

// docs.rs labels items with the feature that enables them.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod activation;
mod adam;
mod bfloat16;
mod buffer;
mod col2im;
mod convolution;
mod epilogue;
mod error;
mod images;
mod layout;
mod linear;
mod normalization;
mod period;
mod product;
mod raw;
mod resampling;
mod strided_pooling;
mod sums;
mod winograd;

pub use activation::{Function, activate, activation_gradient};
pub use adam::AdamUpdate;
pub use bfloat16::Precision;
pub use buffer::Buffer;
pub use convolution::ConvolutionShape;
pub use epilogue::Epilogue;
pub use error::KernelError;
pub use images::{
    Combine, Images, ImagesMut, Rectifier, clear, from_planes, rectify_gradient, to_planes, transfer,
};
pub use layout::{Border, ImageLayout, LANES};
pub use linear::Linear;
pub use normalization::{Grouping, Moments, NormalizationSettings, Statistics};
pub use product::{multiply, product_gradient};
pub use raw::{Isa, Workers, with_workers};
pub use resampling::{Pooling, Upsampling, pool, pool_gradient, upsample, upsample_gradient};
pub use strided_pooling::{Windows, pool_windows, pool_windows_gradient};
pub use sums::{accumulate, channel_totals, column_sums, sum_of_squares, totals_scratch_len};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
