//! The layers from which networks are declared.

use serde::{Deserialize, Serialize};

use crate::shape::Shape;

/// Whether a layer adds a learned value to each output channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bias {
    /// One learned value per output channel.
    #[default]
    Learned,
    /// No bias; suitable before a normalization, which would remove it.
    None,
}

/// A layer: what it computes from its inputs, without its parameters.
///
/// Samples are `[channels, rows, columns]`. Parameters are kept by name in a
/// [`ParameterSet`](crate::ParameterSet), in the layouts given with each layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Layer {
    /// Cross-correlation with zero padding. Parameters: `weight [out, in, kernel, kernel]`, `bias [out]`.
    Convolution(Convolution),
    /// Transposed convolution, the adjoint of [`Layer::Convolution`] of the same kernel, stride and
    /// padding; output size `(in - 1) * stride + kernel - 2 * padding`.
    /// Parameters: `weight [in, out, kernel, kernel]`, `bias [out]`.
    TransposedConvolution(Convolution),
    /// A dense layer over the whole sample, flattened channel by channel, row by row.
    /// Parameters: `weight [out, in]`, `bias [out]`. Output: a vector.
    Linear {
        /// Number of output features.
        features: usize,
        /// Whether a bias is learned.
        bias: Bias,
    },
    /// Normalization of each group of channels of each sample to mean 0 and variance 1, then a
    /// learned scale and shift per channel. Parameters: `weight [channels]`, `bias [channels]`.
    GroupNormalization {
        /// Number of groups; divides the number of channels.
        groups: usize,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Normalization of each channel over batch and pixels in training, and by the running mean
    /// and variance otherwise. Parameters: `weight`, `bias`, `running_mean`, `running_variance`, all `[channels]`.
    BatchNormalization {
        /// Added to the variance.
        epsilon: f32,
        /// Share of the batch's statistics in the running ones after each training step.
        momentum: f32,
    },
    /// A function of each value.
    Activation(Activation),
    /// Maximum over windows that do not overlap; rows and columns that do not fill a window are dropped.
    MaxPool {
        /// Rows and columns of the window.
        window: [usize; 2],
    },
    /// Maximum over windows that may overlap. Pixels beyond the edges do not count; rows and columns that do not fill the
    /// last window are dropped. Output size `(in + 2 * padding - window) / stride + 1`.
    MaxPoolStrided {
        /// Rows and columns of the window, 1 to 1024.
        window: [usize; 2],
        /// Distance between windows along rows and columns, 1 to 1024.
        stride: [usize; 2],
        /// How far the first window reaches over the edge, along rows and columns; less than its size.
        padding: [usize; 2],
    },
    /// Mean over windows that do not overlap; rows and columns that do not fill a window are dropped.
    AveragePool {
        /// Rows and columns of the window.
        window: [usize; 2],
    },
    /// Each pixel repeated `factor` times along rows and columns.
    UpsampleNearest {
        /// Factor of enlargement.
        factor: usize,
    },
    /// Linear interpolation between pixel centers (half-pixel convention, edges repeated).
    UpsampleBilinear {
        /// Factor of enlargement.
        factor: usize,
    },
    /// Linear interpolation in which the corner pixels keep their places (`align_corners` elsewhere): of `n` pixels, pixel
    /// `k` of the enlarged image lies at `k (n - 1) / (n factor - 1)`.
    UpsampleBilinearCorners {
        /// Factor of enlargement.
        factor: usize,
    },
    /// The channels of all inputs one after the other; inputs agree in rows and columns.
    Concatenate,
    /// The sum of all inputs; inputs agree in shape.
    Add,
    /// The product of two inputs, value by value. An input of one channel, one row or one column is repeated along that
    /// axis, as by a gate or an attention map.
    Multiply,
    /// The same values, in order, as another shape.
    Reshape(Shape),
}

/// Kernel size, stride, padding and output channels of a (transposed) convolution.
///
/// The engines' work grows with the square of a stride, even where nearly all of the input is left out or the output is
/// nearly all zeros. Hence a stride is at most 1024, and a stride above the kernel at most so large that its square,
/// times input channels, times output channels, is within [`LARGEST_PARAMETERS`](crate::LARGEST_PARAMETERS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Convolution {
    /// Number of output channels.
    pub channels: usize,
    /// Rows and columns of the kernel, 1 to 65536.
    pub kernel: usize,
    /// Distance between windows along rows and columns, 1 to 1024.
    pub stride: usize,
    /// Zeros added on each side, up to 65536.
    pub padding: usize,
    /// Whether a bias is learned.
    pub bias: Bias,
}

impl Convolution {
    /// A convolution of stride 1 without padding, with a learned bias.
    #[must_use]
    pub const fn new(channels: usize, kernel: usize) -> Self {
        Self { channels, kernel, stride: 1, padding: 0, bias: Bias::Learned }
    }

    /// Sets the stride.
    #[must_use]
    pub const fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Sets the padding with zeros on each side.
    #[must_use]
    pub const fn padding(mut self, padding: usize) -> Self {
        self.padding = padding;
        self
    }

    /// Sets whether a bias is learned.
    #[must_use]
    pub const fn bias(mut self, bias: Bias) -> Self {
        self.bias = bias;
        self
    }
}

/// A function of each value. NaN stays NaN.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Activation {
    /// `x` if positive, otherwise `slope * x`; the derivative at 0 is `slope`. Slope 0 is the ReLU.
    LeakyRelu {
        /// Slope for negative values, at least 0 and below 1.
        slope: f32,
    },
    /// `x * sigmoid(x)` (also called swish).
    Silu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x * F(x)`, `F` the distribution function of the standard normal distribution.
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`, an approximation of [`Activation::Gelu`].
    GeluTanh,
}

impl Activation {
    /// The rectified linear unit.
    pub const RELU: Self = Self::LeakyRelu { slope: 0.0 };
}
