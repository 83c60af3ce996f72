//! A network computed by candle: any device, any precision, gradients by automatic differentiation.
//!
//! This is the reference for the CPU plan, the implementation for GPUs, and a basis that callers can extend with their
//! own candle operations.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, Var};

use super::layers;
use crate::layer::Layer;
use crate::mode::Mode;
use crate::network::{Network, Node, Operation};
use crate::parameters::{Parameter, ParameterError, ParameterSet};

/// A [`Network`] with its parameters as candle tensors.
#[derive(Clone, Debug)]
pub struct CandleNetwork {
    network: Network,
    tensors: BTreeMap<String, Var>,
}

/// Whether automatic differentiation follows the parameters.
#[derive(Clone, Copy, PartialEq)]
enum Parameters {
    Tracked,
    Detached,
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
    /// Parameters of other networks in the set are ignored.
    ///
    /// # Errors
    /// For a parameter that is missing or of another shape, and if the device fails.
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
    /// For inputs of another number or shape than declared, and if the device fails.
    pub fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        self.forward_mode(inputs, Mode::Evaluate).map(|(outputs, _)| outputs)
    }

    /// Like [`CandleNetwork::forward`], in either mode; returns the statistics of the batch normalizations too.
    ///
    /// # Errors
    /// Those of [`CandleNetwork::forward`].
    pub fn forward_mode(&self, inputs: &[Tensor], mode: Mode) -> Result<(Vec<Tensor>, Vec<BatchStatistics>)> {
        let (values, statistics) = self.every_value(inputs, mode, Parameters::Tracked)?;
        let outputs = self.network.outputs().iter().map(|id| values[id.index()].clone()).collect();
        Ok((outputs, statistics))
    }

    /// The value of every node, of which automatic differentiation follows none.
    pub(super) fn values(
        &self,
        inputs: &[Tensor],
        mode: Mode,
    ) -> Result<(Vec<Tensor>, Vec<BatchStatistics>)> {
        self.every_value(inputs, mode, Parameters::Detached)
    }

    /// The value of one layer, which automatic differentiation follows.
    pub(super) fn tracked(
        &self,
        node: &Node,
        layer: &Layer,
        inputs: &[&Tensor],
        mode: Mode,
    ) -> Result<Tensor> {
        Pass { network: self, mode, parameters: Parameters::Tracked, statistics: Vec::new() }
            .apply(node, layer, inputs)
    }

    /// A parameter of a layer, which automatic differentiation does not follow.
    pub(super) fn parameter(&self, node: &Node, what: &str) -> Result<Tensor> {
        self.given(node, what, Parameters::Detached)
    }

    fn every_value(
        &self,
        inputs: &[Tensor],
        mode: Mode,
        parameters: Parameters,
    ) -> Result<(Vec<Tensor>, Vec<BatchStatistics>)> {
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
        let mut pass = Pass { network: self, mode, parameters, statistics: Vec::new() };
        let mut values: Vec<Tensor> = Vec::with_capacity(self.network.nodes().len());
        for node in self.network.nodes() {
            let value = match node.operation() {
                Operation::Input => match given.next() {
                    Some(input) => input.clone(),
                    None => candle_core::bail!("input {} is missing", node.name()),
                },
                Operation::Layer { layer, inputs } => {
                    let inputs: Vec<&Tensor> = inputs.iter().map(|id| &values[id.index()]).collect();
                    pass.apply(node, layer, &inputs)?
                }
            };
            values.push(value);
        }
        Ok((values, pass.statistics))
    }

    fn given(&self, node: &Node, what: &str, parameters: Parameters) -> Result<Tensor> {
        let name = format!("{}.{what}", node.name());
        match (self.tensors.get(&name), parameters) {
            (Some(var), Parameters::Tracked) => Ok(var.as_tensor().clone()),
            (Some(var), Parameters::Detached) => Ok(var.as_detached_tensor()),
            (None, _) => Err(candle_core::Error::wrap(ParameterError::Missing { name })),
        }
    }
}

/// One pass through a network.
struct Pass<'a> {
    network: &'a CandleNetwork,
    mode: Mode,
    parameters: Parameters,
    statistics: Vec<BatchStatistics>,
}

impl Pass<'_> {
    fn apply(&mut self, node: &Node, layer: &Layer, inputs: &[&Tensor]) -> Result<Tensor> {
        let Some(&x) = inputs.first() else { candle_core::bail!("layer {} reads nothing", node.name()) };
        match layer {
            Layer::Convolution(c) => {
                let y = layers::convolution(x, &self.parameter(node, "weight")?, c.stride, c.padding)?;
                self.add_bias(node, &y)
            }
            Layer::TransposedConvolution(c) => {
                let weight = self.parameter(node, "weight")?;
                self.add_bias(node, &layers::transposed_convolution(x, &weight, c.stride, c.padding)?)
            }
            Layer::Linear { features, .. } => {
                let y = x.flatten_from(1)?.matmul(&self.parameter(node, "weight")?.t()?)?;
                self.add_bias(node, &y.reshape((x.dim(0)?, *features, 1, 1))?)
            }
            Layer::GroupNormalization { groups, epsilon } => {
                let (scale, shift) = (self.parameter(node, "weight")?, self.parameter(node, "bias")?);
                layers::group_normalization(x, &scale, &shift, *groups, *epsilon)
            }
            Layer::BatchNormalization { epsilon, momentum } => {
                let channels = node.shape().channels;
                let (mean, variance) = match self.mode {
                    Mode::Evaluate => {
                        (self.parameter(node, "running_mean")?, self.parameter(node, "running_variance")?)
                    }
                    Mode::Train => {
                        let rows = x.transpose(0, 1)?.contiguous()?.reshape((channels, ()))?;
                        let count = rows.dim(1)? as f64;
                        let mean = rows.mean_keepdim(1)?;
                        let variance = rows.broadcast_sub(&mean)?.sqr()?.mean_keepdim(1)?;
                        let unbiased = (variance.detach() * (count / (count - 1.0).max(1.0)))?;
                        self.statistics.push(BatchStatistics {
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
            Layer::Activation(activation) => layers::activate(x, *activation),
            Layer::MaxPool { window } => layers::max_pool(x, *window),
            Layer::AveragePool { window } => layers::average_pool(x, *window),
            Layer::UpsampleNearest { factor } => layers::upsample_nearest(x, *factor),
            Layer::UpsampleBilinear { factor } => layers::upsample_bilinear(x, *factor),
            Layer::UpsampleBilinearCorners { factor } => layers::upsample_bilinear_corners(x, *factor),
            Layer::Concatenate => Tensor::cat(inputs, 1),
            Layer::Add => {
                let mut sum = x.clone();
                for other in &inputs[1..] {
                    sum = (sum + *other)?;
                }
                Ok(sum)
            }
            Layer::Multiply => x.broadcast_mul(inputs[1]),
            Layer::MaxPoolStrided { window, stride, padding } => {
                layers::max_pool_strided(x, *window, *stride, *padding)
            }
            Layer::Reshape(shape) => {
                x.contiguous()?.reshape((x.dim(0)?, shape.channels, shape.height, shape.width))
            }
        }
    }

    fn parameter(&self, node: &Node, what: &str) -> Result<Tensor> {
        self.network.given(node, what, self.parameters)
    }

    fn add_bias(&self, node: &Node, y: &Tensor) -> Result<Tensor> {
        match self.network.tensors.contains_key(&format!("{}.bias", node.name())) {
            true => layers::add_bias(y, &self.parameter(node, "bias")?),
            false => Ok(y.clone()),
        }
    }

    fn scale_and_shift(&self, node: &Node, normal: &Tensor) -> Result<Tensor> {
        layers::scale_and_shift(normal, &self.parameter(node, "weight")?, &self.parameter(node, "bias")?)
    }
}
