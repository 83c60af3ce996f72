//! A pass layer by layer: its values, and the gradients back through them.
//!
//! candle's own automatic differentiation starts the gradient of every tensor at 0 and adds to it, and computes those of
//! frozen weights, too. Here each layer's gradients are computed where they are wanted, once; those of layers without a
//! rule of their own still come from candle.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var, bail};

use super::layers::{self, Direction, Filter};
use super::network::{BatchStatistics, CandleNetwork};
use crate::layer::Layer;
use crate::mode::Mode;
use crate::network::{Node, Operation};
use crate::plan::Differentiate;

/// The value of every layer of a network in one pass.
#[derive(Debug)]
pub(super) struct Tape {
    mode: Mode,
    values: Vec<Tensor>,
}

/// What a backward pass found.
#[derive(Debug)]
pub(super) struct Gradients {
    /// By each input, where they were wanted and the outputs depend on it.
    pub(super) inputs: Vec<Option<Tensor>>,
    /// By the parameters that are trained, where they were wanted.
    pub(super) parameters: BTreeMap<String, Tensor>,
}

impl Tape {
    /// Computes the layers' values from inputs `[n, channels, rows, columns]`.
    pub(super) fn record(
        network: &CandleNetwork,
        inputs: &[Tensor],
        mode: Mode,
    ) -> Result<(Self, Vec<BatchStatistics>)> {
        let (values, statistics) = network.values(inputs, mode)?;
        Ok((Self { mode, values }, statistics))
    }

    /// The values of the network's outputs.
    pub(super) fn outputs(&self, network: &CandleNetwork) -> Vec<Tensor> {
        network.network().outputs().iter().map(|id| self.values[id.index()].clone()).collect()
    }

    /// The gradients of what has these gradients by the outputs.
    pub(super) fn gradients(
        &self,
        network: &CandleNetwork,
        by_outputs: Vec<Tensor>,
        differentiate: Differentiate,
    ) -> Result<Gradients> {
        let nodes = network.network().nodes();
        let wanted = wanted(nodes, differentiate);
        let mut held: Vec<Option<Tensor>> = vec![None; nodes.len()];
        for (id, gradient) in network.network().outputs().iter().zip(by_outputs) {
            add(&mut held[id.index()], gradient)?;
        }
        let mut parameters = BTreeMap::new();
        for (index, node) in nodes.iter().enumerate().rev() {
            let Operation::Layer { layer, inputs } = node.operation() else { continue };
            if !wanted[index] {
                continue;
            }
            let Some(gradient) = held[index].take() else { continue };
            let values: Vec<&Tensor> = inputs.iter().map(|id| &self.values[id.index()]).collect();
            let step = Step {
                network,
                node,
                mode: self.mode,
                values,
                by_inputs: inputs.iter().map(|id| wanted[id.index()]).collect(),
                by_parameters: differentiate.parameters(),
            };
            let found = step.back(layer, &gradient)?;
            for (id, found) in inputs.iter().zip(found.inputs) {
                if let Some(found) = found {
                    add(&mut held[id.index()], found)?;
                }
            }
            parameters.extend(found.parameters);
        }
        let is_input = |node: &Node| matches!(node.operation(), Operation::Input);
        let inputs =
            nodes.iter().zip(held).filter(|(node, _)| is_input(node)).map(|(_, held)| held).collect();
        Ok(Gradients { inputs, parameters })
    }
}

/// Which nodes' gradients lead to what is asked for.
fn wanted(nodes: &[Node], differentiate: Differentiate) -> Vec<bool> {
    let mut wanted = Vec::with_capacity(nodes.len());
    for node in nodes {
        wanted.push(match node.operation() {
            Operation::Input => differentiate.inputs(),
            Operation::Layer { layer, inputs } => {
                let trained = differentiate.parameters() && has_parameters(layer);
                trained || inputs.iter().any(|id| wanted[id.index()])
            }
        });
    }
    wanted
}

fn has_parameters(layer: &Layer) -> bool {
    matches!(
        layer,
        Layer::Convolution(_)
            | Layer::TransposedConvolution(_)
            | Layer::Linear { .. }
            | Layer::GroupNormalization { .. }
            | Layer::BatchNormalization { .. }
    )
}

fn add(held: &mut Option<Tensor>, gradient: Tensor) -> Result<()> {
    *held = Some(match held.take() {
        Some(held) => (held + gradient)?,
        None => gradient,
    });
    Ok(())
}

/// The way back through one layer.
struct Step<'a> {
    network: &'a CandleNetwork,
    node: &'a Node,
    mode: Mode,
    values: Vec<&'a Tensor>,
    by_inputs: Vec<bool>,
    by_parameters: bool,
}

impl Step<'_> {
    fn back(&self, layer: &Layer, gradient: &Tensor) -> Result<Gradients> {
        let Some(&x) = self.values.first() else { bail!("layer {} reads nothing", self.node.name()) };
        let by_x = self.by_inputs.first().is_some_and(|&wanted| wanted);
        let filter = |stride, padding, direction| {
            let (filter, weight) =
                (Filter { stride, padding, direction }, self.network.parameter(self.node, "weight")?);
            let by_bias = || layers::channel_sums(gradient);
            if by_x && self.by_parameters {
                let [by_x, by_weight] = filter.gradients(x, &weight, gradient)?;
                return self.with_parameters(Some(by_x), || Ok(by_weight), by_bias);
            }
            let by_x = by_x.then(|| filter.by_x(x, &weight, gradient)).transpose()?;
            self.with_parameters(by_x, || filter.by_weight(x, &weight, gradient), by_bias)
        };
        match layer {
            Layer::Convolution(c) => filter(c.stride, c.padding, Direction::Plain),
            Layer::TransposedConvolution(c) => filter(c.stride, c.padding, Direction::Transposed),
            Layer::Linear { features, .. } => {
                let weight = self.network.parameter(self.node, "weight")?;
                let gradient = gradient.contiguous()?.reshape((x.dim(0)?, *features))?;
                let by_x = by_x.then(|| gradient.matmul(&weight)?.reshape(x.shape())).transpose()?;
                let by_weight = || gradient.t()?.matmul(&x.contiguous()?.flatten_from(1)?);
                self.with_parameters(by_x, by_weight, || layers::channel_sums(&columns(&gradient)?))
            }
            Layer::Concatenate => {
                let mut start = 0;
                let mut found = Vec::with_capacity(self.values.len());
                for (value, &wanted) in self.values.iter().zip(&self.by_inputs) {
                    let channels = value.dim(1)?;
                    let part = || layers::some_channels(gradient, start, channels);
                    found.push(wanted.then(part).transpose()?);
                    start += channels;
                }
                Ok(Gradients { inputs: found, parameters: BTreeMap::new() })
            }
            Layer::Add => {
                let parts = self.by_inputs.iter().map(|wanted| wanted.then(|| gradient.clone()));
                Ok(Gradients { inputs: parts.collect(), parameters: BTreeMap::new() })
            }
            Layer::Reshape(_) => {
                let by_x = by_x.then(|| gradient.contiguous()?.reshape(x.shape())).transpose()?;
                Ok(Gradients { inputs: vec![by_x], parameters: BTreeMap::new() })
            }
            #[cfg(feature = "cuda")]
            layer if super::cuda::has_kernels(x) => match self.by_kernels(layer, x, gradient)? {
                Some(found) => Ok(found),
                None => self.by_candle(layer, gradient),
            },
            layer => self.by_candle(layer, gradient),
        }
    }

    /// The gradients by a weight and a bias, where they are wanted.
    fn with_parameters(
        &self,
        by_x: Option<Tensor>,
        by_weight: impl FnOnce() -> Result<Tensor>,
        by_bias: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Gradients> {
        let mut parameters = BTreeMap::new();
        if self.by_parameters {
            let name = |what: &str| format!("{}.{what}", self.node.name());
            parameters.insert(name("weight"), by_weight()?);
            if self.network.variable(&name("bias")).is_some() {
                parameters.insert(name("bias"), by_bias()?);
            }
        }
        Ok(Gradients { inputs: vec![by_x], parameters })
    }

    /// By the kernels for CUDA, where there is one.
    #[cfg(feature = "cuda")]
    fn by_kernels(&self, layer: &Layer, x: &Tensor, gradient: &Tensor) -> Result<Option<Gradients>> {
        use lesio_kernels::{Pooling, Upsampling};

        use super::cuda::{Gradient, group_normalization_gradients};
        use crate::layer::Activation;

        let through = match layer {
            Layer::GroupNormalization { groups, epsilon } => {
                let scale = self.network.parameter(self.node, "weight")?;
                let [by_x, by_scale, by_shift] =
                    group_normalization_gradients(x, &scale, gradient, *groups, *epsilon)?;
                return self.with_parameters(Some(by_x), || Ok(by_scale), || Ok(by_shift)).map(Some);
            }
            Layer::Activation(Activation::Gelu | Activation::GeluTanh) => return Ok(None),
            Layer::Activation(activation) => Gradient::Activation(*activation),
            Layer::MaxPool { window } => Gradient::Pool { pooling: Pooling::Maximum, window: *window },
            Layer::AveragePool { window } => Gradient::Pool { pooling: Pooling::Mean, window: *window },
            Layer::UpsampleNearest { factor } => {
                Gradient::Upsampling { upsampling: Upsampling::Nearest, factor: *factor }
            }
            Layer::UpsampleBilinear { factor } => {
                Gradient::Upsampling { upsampling: Upsampling::Bilinear, factor: *factor }
            }
            _ => return Ok(None),
        };
        let by_x = through.by_input(x, gradient)?;
        Ok(Some(Gradients { inputs: vec![Some(by_x)], parameters: BTreeMap::new() }))
    }

    /// By candle's automatic differentiation of this layer alone.
    fn by_candle(&self, layer: &Layer, gradient: &Tensor) -> Result<Gradients> {
        let inputs: Vec<Var> =
            self.values.iter().map(|value| Var::from_tensor(value)).collect::<Result<_>>()?;
        let tracked: Vec<&Tensor> = inputs.iter().map(Var::as_tensor).collect();
        let value = self.network.tracked(self.node, layer, &tracked, self.mode)?;
        let store = (value * gradient)?.sum_all()?.backward()?;
        let mut parameters = BTreeMap::new();
        if self.by_parameters {
            for what in ["weight", "bias"] {
                let name = format!("{}.{what}", self.node.name());
                if let Some(found) = self.network.variable(&name).and_then(|var| store.get(var)) {
                    parameters.insert(name, found.detach());
                }
            }
        }
        let inputs = inputs.iter().map(|var| store.get(var).map(Tensor::detach)).collect();
        Ok(Gradients { inputs, parameters })
    }
}

/// Features `[n, features]` as images of one pixel.
fn columns(features: &Tensor) -> Result<Tensor> {
    features.unsqueeze(2)?.unsqueeze(3)
}
