//! A network computed by candle: any device, any precision, gradients by automatic differentiation.
//!
//! This is the reference for the CPU plan, the way onto a GPU, and what a caller extends with candle
//! operations of their own. It avoids what is wrong in candle 0.11: `max_pool2d`'s gradient is scaled
//! by the window's area, `upsample_nearest2d`'s overwrites what other readers of its input left there,
//! a strided convolution's fails on images that are not square, and `relu(NaN)` is 0.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result, Tensor, Var};

use crate::layer::{Activation, Convolution, Layer};
use crate::mode::Mode;
use crate::network::{Network, Node, Operation};
use crate::parameters::{Parameter, ParameterError, ParameterSet};

/// A [`Network`] with its parameters as candle tensors.
#[derive(Clone, Debug)]
pub struct CandleNetwork {
    network: Network,
    tensors: BTreeMap<String, Var>,
}

/// Mean and variance that a batch normalization found in a batch, as `[channels]`.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// Name of the layer.
    pub layer: String,
    /// Mean over batch and pixels.
    pub mean: Tensor,
    /// Unbiased variance over batch and pixels.
    pub variance: Tensor,
    /// Share of these in the running statistics.
    pub momentum: f32,
}

impl CandleNetwork {
    /// Puts a network's parameters on a device, in a precision (f32, or f64 to check gradients).
    ///
    /// Parameters of other networks in the set are left alone.
    ///
    /// # Errors
    /// A parameter that is missing or of another shape, or a failure of the device.
    pub fn new(network: &Network, parameters: &ParameterSet, dtype: DType, device: &Device) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for spec in network.parameters() {
            let parameter = parameters.get(&spec.name).ok_or_else(|| {
                candle_core::Error::wrap(ParameterError::Missing { name: spec.name.clone() })
            })?;
            if parameter.shape() != spec.shape {
                return Err(candle_core::Error::wrap(ParameterError::Shape {
                    name: spec.name,
                    found: parameter.shape().to_vec(),
                    expected: spec.shape,
                }));
            }
            let tensor =
                Tensor::from_slice(parameter.values(), parameter.shape(), device)?.to_dtype(dtype)?;
            tensors.insert(spec.name, Var::from_tensor(&tensor)?);
        }
        Ok(Self { network: network.clone(), tensors })
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The parameters as variables, in the order of their names.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.tensors.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// The variable of a parameter.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&Var> {
        self.tensors.get(name)
    }

    /// The parameters' present values.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn parameters(&self) -> Result<ParameterSet> {
        let mut set = ParameterSet::new();
        for (name, var) in &self.tensors {
            let values = var.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            if let Some(parameter) = Parameter::new(var.dims().to_vec(), values) {
                set.insert(name.clone(), parameter);
            }
        }
        Ok(set)
    }

    /// Computes the outputs `[n, channels, rows, columns]` of inputs `[n, channels, rows, columns]`,
    /// in evaluation mode. Differentiable in the inputs and in the parameters.
    ///
    /// # Errors
    /// Inputs of another number or shape than declared, or a failure of the device.
    pub fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        self.forward_mode(inputs, Mode::Evaluate).map(|(outputs, _)| outputs)
    }

    /// As [`CandleNetwork::forward`], in either mode; returns the statistics of the batch normalizations too.
    ///
    /// # Errors
    /// As [`CandleNetwork::forward`].
    pub fn forward_mode(&self, inputs: &[Tensor], mode: Mode) -> Result<(Vec<Tensor>, Vec<BatchStatistics>)> {
        let shapes = self.network.input_shapes();
        if inputs.len() != shapes.len() {
            candle_core::bail!("the network takes {} inputs, got {}", shapes.len(), inputs.len());
        }
        for (input, shape) in inputs.iter().zip(&shapes) {
            let (_, channels, height, width) = input.dims4()?;
            if (channels, height, width) != (shape.channels, shape.height, shape.width) {
                candle_core::bail!("an input has shape {:?}, expected [n, {shape}]", input.shape());
            }
        }
        let mut given = inputs.iter();
        let mut statistics = Vec::new();
        let mut values: Vec<Tensor> = Vec::with_capacity(self.network.nodes().len());
        for node in self.network.nodes() {
            let value = match node.operation() {
                Operation::Input => match given.next() {
                    Some(input) => input.clone(),
                    None => candle_core::bail!("input {} is missing", node.name()),
                },
                Operation::Layer { layer, inputs } => {
                    let inputs: Vec<&Tensor> = inputs.iter().map(|id| &values[id.index()]).collect();
                    self.apply(node, layer, &inputs, mode, &mut statistics)?
                }
            };
            values.push(value);
        }
        let outputs = self.network.outputs().iter().map(|id| values[id.index()].clone()).collect();
        Ok((outputs, statistics))
    }

    fn parameter(&self, node: &Node, what: &str) -> Result<&Tensor> {
        let name = format!("{}.{what}", node.name());
        match self.tensors.get(&name) {
            Some(var) => Ok(var.as_tensor()),
            None => Err(candle_core::Error::wrap(ParameterError::Missing { name })),
        }
    }

    fn apply(
        &self,
        node: &Node,
        layer: &Layer,
        inputs: &[&Tensor],
        mode: Mode,
        statistics: &mut Vec<BatchStatistics>,
    ) -> Result<Tensor> {
        let Some(&x) = inputs.first() else { candle_core::bail!("layer {} reads nothing", node.name()) };
        match layer {
            Layer::Convolution(c) => {
                let y = convolve(x, self.parameter(node, "weight")?, c)?;
                self.add_bias(node, &y)
            }
            Layer::TransposedConvolution(c) => {
                let y = x.contiguous()?.conv_transpose2d(
                    self.parameter(node, "weight")?,
                    c.padding,
                    0,
                    c.stride,
                    1,
                )?;
                self.add_bias(node, &y)
            }
            Layer::Linear { features, .. } => {
                let y = x.flatten_from(1)?.matmul(&self.parameter(node, "weight")?.t()?)?;
                self.add_bias(node, &y.reshape((x.dim(0)?, *features, 1, 1))?)
            }
            Layer::GroupNormalization { groups, epsilon } => {
                let flat = x.reshape((x.dim(0)?, *groups, ()))?;
                let mean = flat.mean_keepdim(D::Minus1)?;
                let centred = flat.broadcast_sub(&mean)?;
                let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
                let normal =
                    centred.broadcast_div(&(variance + f64::from(*epsilon))?.sqrt()?)?.reshape(x.shape())?;
                self.scale_and_shift(node, &normal)
            }
            Layer::BatchNormalization { epsilon, momentum } => {
                let channels = node.shape().channels;
                let (mean, variance) = match mode {
                    Mode::Evaluate => (
                        self.parameter(node, "running_mean")?.clone(),
                        self.parameter(node, "running_variance")?.clone(),
                    ),
                    Mode::Train => {
                        let rows = x.transpose(0, 1)?.contiguous()?.reshape((channels, ()))?;
                        let count = rows.dim(1)? as f64;
                        let mean = rows.mean_keepdim(1)?;
                        let variance = rows.broadcast_sub(&mean)?.sqr()?.mean_keepdim(1)?;
                        let unbiased = (variance.detach() * (count / (count - 1.0).max(1.0)))?;
                        statistics.push(BatchStatistics {
                            layer: node.name().to_owned(),
                            mean: mean.detach().flatten_all()?,
                            variance: unbiased.flatten_all()?,
                            momentum: *momentum,
                        });
                        (mean.flatten_all()?, variance.flatten_all()?)
                    }
                };
                let deviation = (variance + f64::from(*epsilon))?.sqrt()?.reshape((1, channels, 1, 1))?;
                let normal =
                    x.broadcast_sub(&mean.reshape((1, channels, 1, 1))?)?.broadcast_div(&deviation)?;
                self.scale_and_shift(node, &normal)
            }
            Layer::Activation(activation) => activate(x, *activation),
            Layer::MaxPool { window } => {
                // Pairwise maxima: candle's `maximum` has the right gradient, its `max_pool2d` has not.
                let parts = windows(x, *window)?;
                let mut parts = parts.into_iter();
                let Some(mut largest) = parts.next() else { candle_core::bail!("empty window") };
                for part in parts {
                    largest = largest.maximum(&part)?;
                }
                Ok(largest)
            }
            Layer::AveragePool { window } => {
                let parts = windows(x, *window)?;
                let count = parts.len() as f64;
                let mut sum =
                    x.narrow(2, 0, node.shape().height)?.narrow(3, 0, node.shape().width)?.zeros_like()?;
                for part in parts {
                    sum = (sum + part)?;
                }
                sum / count
            }
            Layer::UpsampleNearest { factor } => {
                let (n, c, h, w) = x.dims4()?;
                x.contiguous()?
                    .reshape((n, c, h, 1, w, 1))?
                    .broadcast_as((n, c, h, *factor, w, *factor))?
                    .contiguous()?
                    .reshape((n, c, h * factor, w * factor))
            }
            Layer::UpsampleBilinear { factor } => {
                let (n, c, h, w) = x.dims4()?;
                let columns = interpolation(w, *factor, x)?;
                let rows = interpolation(h, *factor, x)?;
                let wide = x.contiguous()?.reshape((n * c * h, w))?.matmul(&columns)?;
                let turned = wide.reshape((n * c, h, w * factor))?.transpose(1, 2)?.contiguous()?;
                let tall = turned.reshape((n * c * w * factor, h))?.matmul(&rows)?;
                tall.reshape((n * c, w * factor, h * factor))?.transpose(1, 2)?.contiguous()?.reshape((
                    n,
                    c,
                    h * factor,
                    w * factor,
                ))
            }
            Layer::Concatenate => Tensor::cat(inputs, 1),
            Layer::Add => {
                let mut sum = x.clone();
                for other in &inputs[1..] {
                    sum = (sum + *other)?;
                }
                Ok(sum)
            }
            Layer::Reshape(shape) => {
                x.contiguous()?.reshape((x.dim(0)?, shape.channels, shape.height, shape.width))
            }
        }
    }

    fn add_bias(&self, node: &Node, y: &Tensor) -> Result<Tensor> {
        match self.tensors.get(&format!("{}.bias", node.name())) {
            Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
            None => Ok(y.clone()),
        }
    }

    fn scale_and_shift(&self, node: &Node, normal: &Tensor) -> Result<Tensor> {
        let scale = self.parameter(node, "weight")?.reshape((1, (), 1, 1))?;
        let shift = self.parameter(node, "bias")?.reshape((1, (), 1, 1))?;
        normal.broadcast_mul(&scale)?.broadcast_add(&shift)
    }
}

/// Cross-correlation whose windows fill the padded image exactly: candle's gradient takes the rows left
/// over at the bottom for those at the right too.
fn convolve(x: &Tensor, weight: &Tensor, c: &Convolution) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let used = |n: usize| ((n + 2 * c.padding - c.kernel) / c.stride) * c.stride + c.kernel;
    let exact = used(h) == h + 2 * c.padding && used(w) == w + 2 * c.padding;
    if exact {
        return x.contiguous()?.conv2d(weight, c.padding, c.stride, 1, 1);
    }
    let mut padded = x.clone();
    for (axis, size) in [(2, h), (3, w)] {
        padded = padded.pad_with_zeros(axis, c.padding, c.padding)?.narrow(axis, 0, used(size))?;
    }
    padded.contiguous()?.conv2d(weight, 0, c.stride, 1, 1)
}

/// NaN stays NaN in all of them.
fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::LeakyRelu { slope } => x.gt(0.0)?.where_cond(x, &(x * f64::from(slope))?),
        Activation::Silu => x * sigmoid(x)?,
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}

/// `1 / (1 + exp(-x))`, by the hyperbolic tangent, which overflows nowhere.
fn sigmoid(x: &Tensor) -> Result<Tensor> {
    ((x * 0.5)?.tanh()? + 1.0)? * 0.5
}

/// The pixels at each place of a window, each as an image of one pixel per window.
fn windows(x: &Tensor, [rows, columns]: [usize; 2]) -> Result<Vec<Tensor>> {
    let (n, c, h, w) = x.dims4()?;
    let (out_h, out_w) = (h / rows, w / columns);
    let split = x
        .narrow(2, 0, out_h * rows)?
        .narrow(3, 0, out_w * columns)?
        .contiguous()?
        .reshape((n, c, out_h, rows, out_w, columns))?;
    let mut parts = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let part = split.narrow(3, row, 1)?.narrow(5, column, 1)?;
            parts.push(part.contiguous()?.reshape((n, c, out_h, out_w))?);
        }
    }
    Ok(parts)
}

/// The matrix `[size, size * factor]` of linear interpolation between pixel centres.
fn interpolation(size: usize, factor: usize, like: &Tensor) -> Result<Tensor> {
    let enlarged = size * factor;
    let mut matrix = vec![0f64; size * enlarged];
    for target in 0..enlarged {
        let position = (target as f64 + 0.5) / factor as f64 - 0.5;
        let position = position.clamp(0.0, (size - 1) as f64);
        let low = position.floor() as usize;
        let high = (low + 1).min(size - 1);
        let share = position - low as f64;
        matrix[low * enlarged + target] += 1.0 - share;
        matrix[high * enlarged + target] += share;
    }
    Tensor::from_vec(matrix, (size, enlarged), like.device())?.to_dtype(like.dtype())
}
