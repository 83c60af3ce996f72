//! A network as a value: layers with names, shapes and skips, and nothing about how it is computed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::layer::{Bias, Convolution, Layer};
use crate::parameters::{ParameterSpec, Role};
use crate::shape::Shape;

/// A reference to the value of a node while a network is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) usize);

impl NodeId {
    /// Position of the node in [`Network::nodes`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// One value inside a network: an input, or a layer applied to earlier values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    name: String,
    operation: Operation,
    shape: Shape,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// A value given by the caller.
    Input,
    /// A layer of the values of earlier nodes.
    Layer {
        /// The layer.
        layer: Layer,
        /// The nodes it reads.
        inputs: Vec<NodeId>,
    },
}

impl Node {
    /// The node's name; its parameters are called `name.weight`, `name.bias` and so on.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the node is.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Shape of one sample of its value.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }
}

/// A network: nodes in an order in which each reads earlier ones only, with checked shapes.
///
/// A candle module (`CandleNetwork`) and a CPU plan are made from it; both
/// compute the same numbers from the same [`ParameterSet`](crate::ParameterSet).
///
/// ```
/// use lesio_nn::{Activation, Convolution, Layer, NetworkBuilder, Shape};
///
/// let mut net = NetworkBuilder::new();
/// let image = net.input("image", Shape::new(1, 32, 32));
/// let down = net.layer("down", Layer::Convolution(Convolution::new(8, 4).stride(2).padding(1)), &[image])?;
/// let active = net.layer("active", Layer::Activation(Activation::RELU), &[down])?;
/// let up = net.layer("up", Layer::TransposedConvolution(Convolution::new(4, 4).stride(2).padding(1)), &[active])?;
/// let joined = net.layer("joined", Layer::Concatenate, &[up, image])?;
/// let out = net.layer("out", Layer::Convolution(Convolution::new(1, 3).padding(1)), &[joined])?;
/// let network = net.finish(&[out])?;
/// assert_eq!(network.output_shapes(), [Shape::new(1, 32, 32)]);
/// # Ok::<(), lesio_nn::NetworkError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    nodes: Vec<Node>,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    precision: Precision,
}

/// In what numbers a [`Plan`](crate::Plan) multiplies; it adds in `f32` always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Precision {
    /// In `f32`.
    #[default]
    Single,
    /// Factors of convolutions of at least 16 channels on both sides, forward and back to their inputs, are rounded
    /// to bfloat16 (8 significant bits), but for 3x3 convolutions of stride 1, which are as fast in `f32`. Gradients
    /// of parameters and their updates are computed in `f32`. Faster on processors with AVX-512 BF16; on others
    /// the same numbers but for rounding in `f32`, and slower.
    Bfloat16,
}

/// Why a network cannot be declared so.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Two nodes have one name.
    #[error("two nodes are called {name:?}")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A layer reads another number of values than it can.
    #[error("layer {name:?} reads {found} values, expected {expected}")]
    InputCount {
        /// The layer's name.
        name: String,
        /// How many it was given.
        found: usize,
        /// What it takes.
        expected: &'static str,
    },
    /// A layer does not fit the shape of what it reads.
    #[error("layer {name:?} does not fit its input of shape {input}: {reason}")]
    Shape {
        /// The layer's name.
        name: String,
        /// Shape of the (first) input.
        input: Shape,
        /// What does not fit.
        reason: String,
    },
    /// A node reference belongs to another network.
    #[error("layer {name:?} reads node {index}, but the network has {nodes} nodes")]
    UnknownNode {
        /// The layer's name, or "outputs".
        name: String,
        /// The node referred to.
        index: usize,
        /// Number of nodes so far.
        nodes: usize,
    },
    /// A network without input or output.
    #[error("a network needs at least one input and one output")]
    Empty,
    /// A network of more parameters, values or nodes than any device holds.
    #[error("with {name:?} the network has {found} {what}, expected at most {limit}")]
    Large {
        /// The node with which it becomes too large.
        name: String,
        /// What was counted: parameters, values per sample or nodes.
        what: &'static str,
        /// How many there are; [`u64::MAX`] where they cannot be counted.
        found: u64,
        /// The most that is allowed.
        limit: u64,
    },
}

/// Most parameters of a network: a gigabyte in `f32`, and four of them while Adam trains it.
pub const LARGEST_PARAMETERS: u64 = 1 << 28;

/// Most values of one sample in all nodes of a network together, four gigabytes in `f32`.
pub const LARGEST_VALUES: u64 = 1 << 30;

/// Most nodes of a network.
const LARGEST_NODES: usize = 1 << 12;

/// Largest kernel, stride, padding, window and factor of a layer.
const LARGEST_STEP: usize = 1 << 16;

impl Network {
    /// The same network, computed by plans in another precision. Candle's modules compute in the type they are made
    /// with, whatever this says.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// In what numbers plans multiply. Default [`Precision::Single`].
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// All nodes; each reads earlier ones only.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The inputs, in the order in which they were declared.
    #[must_use]
    pub fn inputs(&self) -> &[NodeId] {
        &self.inputs
    }

    /// The outputs, in the order in which they were named.
    #[must_use]
    pub fn outputs(&self) -> &[NodeId] {
        &self.outputs
    }

    /// The node of a reference into this network.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0)
    }

    /// Shapes of one sample of each input.
    #[must_use]
    pub fn input_shapes(&self) -> Vec<Shape> {
        self.inputs.iter().map(|id| self.nodes[id.0].shape).collect()
    }

    /// Shapes of one sample of each output.
    #[must_use]
    pub fn output_shapes(&self) -> Vec<Shape> {
        self.outputs.iter().map(|id| self.nodes[id.0].shape).collect()
    }

    /// Names, shapes and roles of all parameters, in the order of the nodes.
    #[must_use]
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        let mut all = Vec::new();
        for node in &self.nodes {
            if let Operation::Layer { layer, inputs } = &node.operation {
                let input = inputs.first().map_or(node.shape, |id| self.nodes[id.0].shape);
                layer_parameters(&node.name, layer, input, &mut all);
            }
        }
        all
    }

    /// Number of multiply-add operations of one sample's forward pass in convolutions and linear layers.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        let mut sum = 0;
        for node in &self.nodes {
            let Operation::Layer { layer, inputs } = &node.operation else { continue };
            let Some(input) = inputs.first().map(|id| self.nodes[id.0].shape) else { continue };
            let window = |c: &Convolution| (c.kernel * c.kernel) as u64;
            sum += match layer {
                Layer::Convolution(c) => window(c) * (input.channels * node.shape.len()) as u64,
                Layer::TransposedConvolution(c) => window(c) * (c.channels * input.len()) as u64,
                Layer::Linear { features, .. } => (features * input.len()) as u64,
                _ => 0,
            };
        }
        sum
    }
}

/// Declares a [`Network`] node by node.
#[derive(Clone, Debug, Default)]
pub struct NetworkBuilder {
    nodes: Vec<Node>,
    inputs: Vec<NodeId>,
    names: BTreeSet<String>,
    /// What is wrong with an input, for [`NetworkBuilder::finish`] to report.
    fault: Option<NetworkError>,
    /// Values of one sample and parameters so far.
    values: u64,
    parameters: u64,
}

impl NetworkBuilder {
    /// A network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares an input of a shape. A name used twice and a shape that is too large are reported by
    /// [`NetworkBuilder::finish`].
    pub fn input(&mut self, name: impl Into<String>, shape: Shape) -> NodeId {
        let name = name.into();
        if !self.names.insert(name.clone()) {
            self.fault.get_or_insert(NetworkError::DuplicateName { name: name.clone() });
        }
        if let Err(error) = self.count(&name, shape, &[]) {
            self.fault.get_or_insert(error);
        }
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node { name, operation: Operation::Input, shape });
        self.inputs.push(id);
        id
    }

    /// Applies a layer to earlier nodes.
    ///
    /// # Errors
    /// Refuses a name used before, a number of inputs the layer does not take, shapes it does not fit, and what
    /// makes the network larger than [`LARGEST_PARAMETERS`] or [`LARGEST_VALUES`]; nothing is allocated before.
    pub fn layer(
        &mut self,
        name: impl Into<String>,
        layer: Layer,
        inputs: &[NodeId],
    ) -> Result<NodeId, NetworkError> {
        let name = name.into();
        if !self.names.insert(name.clone()) {
            return Err(NetworkError::DuplicateName { name });
        }
        let mut shapes = Vec::with_capacity(inputs.len());
        for id in inputs {
            let node = self.nodes.get(id.0).ok_or_else(|| NetworkError::UnknownNode {
                name: name.clone(),
                index: id.0,
                nodes: self.nodes.len(),
            })?;
            check_count(&name, "values per sample", node.shape.len() as u64, LARGEST_VALUES)?;
            shapes.push(node.shape);
        }
        let shape = output_shape(&name, &layer, &shapes)?;
        let mut own = Vec::new();
        check_count(&name, "values per sample", shape.len() as u64, LARGEST_VALUES)?;
        layer_parameters(&name, &layer, shapes.first().copied().unwrap_or(shape), &mut own);
        self.count(&name, shape, &own)?;
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node { name, operation: Operation::Layer { layer, inputs: inputs.to_vec() }, shape });
        Ok(id)
    }

    /// Counts a node's values and parameters, and refuses what is too large.
    fn count(&mut self, name: &str, shape: Shape, own: &[ParameterSpec]) -> Result<(), NetworkError> {
        self.values = self.values.saturating_add(shape.len() as u64);
        self.parameters = own.iter().fold(self.parameters, |sum, spec| sum.saturating_add(spec.len() as u64));
        check_count(name, "values per sample", self.values, LARGEST_VALUES)?;
        check_count(name, "parameters", self.parameters, LARGEST_PARAMETERS)?;
        check_count(name, "nodes", self.nodes.len() as u64 + 1, LARGEST_NODES as u64)
    }

    /// Shape of a node declared before.
    #[must_use]
    pub fn shape(&self, id: NodeId) -> Option<Shape> {
        self.nodes.get(id.0).map(|node| node.shape)
    }

    /// The network with these outputs.
    ///
    /// # Errors
    /// Refuses a network without input or output, two inputs of one name, and inputs that are too large.
    pub fn finish(self, outputs: &[NodeId]) -> Result<Network, NetworkError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.inputs.is_empty() || outputs.is_empty() {
            return Err(NetworkError::Empty);
        }
        for id in outputs {
            if id.0 >= self.nodes.len() {
                let name = "outputs".to_owned();
                return Err(NetworkError::UnknownNode { name, index: id.0, nodes: self.nodes.len() });
            }
        }
        for id in &self.inputs {
            let node = &self.nodes[id.0];
            if node.shape.is_empty() {
                let reason = "an input needs at least one value".to_owned();
                return Err(NetworkError::Shape { name: node.name.clone(), input: node.shape, reason });
            }
        }
        let precision = Precision::default();
        Ok(Network { nodes: self.nodes, inputs: self.inputs, outputs: outputs.to_vec(), precision })
    }
}

/// Refuses more than `limit` of something, counted up to the node `name`.
fn check_count(name: &str, what: &'static str, found: u64, limit: u64) -> Result<(), NetworkError> {
    if found <= limit {
        return Ok(());
    }
    Err(NetworkError::Large { name: name.to_owned(), what, found, limit })
}

/// Shape of a layer's output, or why it does not fit.
fn output_shape(name: &str, layer: &Layer, inputs: &[Shape]) -> Result<Shape, NetworkError> {
    let count = |expected| NetworkError::InputCount { name: name.to_owned(), found: inputs.len(), expected };
    let input = match (layer, inputs) {
        (Layer::Concatenate | Layer::Add, []) => return Err(count("at least one")),
        (Layer::Concatenate | Layer::Add, [first, ..]) | (_, [first]) => *first,
        _ => return Err(count("one")),
    };
    let misfit = |reason: String| NetworkError::Shape { name: name.to_owned(), input, reason };
    let positive = |what: &str, value: usize| {
        if value == 0 { Err(misfit(format!("{what} is 0"))) } else { Ok(value) }
    };
    let small = |what: &str, value: usize| {
        let large = || misfit(format!("{what} is {value}, expected at most {LARGEST_STEP}"));
        if value > LARGEST_STEP { Err(large()) } else { Ok(value) }
    };
    let shape = match layer {
        Layer::Convolution(c) => {
            positive("number of channels", c.channels)?;
            small("kernel", positive("kernel", c.kernel)?)?;
            small("stride", positive("stride", c.stride)?)?;
            small("padding", c.padding)?;
            let size = |n: usize| {
                (n + 2 * c.padding).checked_sub(c.kernel).map(|rest| rest / c.stride + 1).ok_or_else(|| {
                    misfit(format!(
                        "kernel {} is larger than the padded size {}",
                        c.kernel,
                        n + 2 * c.padding
                    ))
                })
            };
            Shape::new(c.channels, size(input.height)?, size(input.width)?)
        }
        Layer::TransposedConvolution(c) => {
            positive("number of channels", c.channels)?;
            small("kernel", positive("kernel", c.kernel)?)?;
            small("stride", positive("stride", c.stride)?)?;
            small("padding", c.padding)?;
            let size = |n: usize| {
                ((n.saturating_sub(1)) * c.stride + c.kernel)
                    .checked_sub(2 * c.padding)
                    .filter(|&size| size > 0)
                    .ok_or_else(|| misfit(format!("padding {} leaves nothing", c.padding)))
            };
            Shape::new(c.channels, size(input.height)?, size(input.width)?)
        }
        Layer::Linear { features, .. } => Shape::vector(positive("number of features", *features)?),
        Layer::GroupNormalization { groups, epsilon } => {
            if *groups == 0 || input.channels % groups != 0 {
                return Err(misfit(format!("{groups} groups do not divide {} channels", input.channels)));
            }
            check_epsilon(*epsilon).map_err(misfit)?;
            input
        }
        Layer::BatchNormalization { epsilon, momentum } => {
            check_epsilon(*epsilon).map_err(misfit)?;
            if !(0.0..=1.0).contains(momentum) {
                return Err(misfit(format!("momentum is {momentum}, expected 0 to 1")));
            }
            input
        }
        Layer::Activation(crate::Activation::LeakyRelu { slope }) if !(0.0..1.0).contains(slope) => {
            return Err(misfit(format!("slope is {slope}, expected at least 0 and below 1")));
        }
        Layer::Activation(_) => input,
        Layer::MaxPool { window } | Layer::AveragePool { window } => {
            let [rows, columns] = *window;
            positive("window", rows)?;
            positive("window", columns)?;
            if rows > input.height || columns > input.width {
                return Err(misfit(format!("window {rows}x{columns} is larger than the input")));
            }
            Shape::new(input.channels, input.height / rows, input.width / columns)
        }
        Layer::UpsampleNearest { factor } | Layer::UpsampleBilinear { factor } => {
            small("factor", positive("factor", *factor)?)?;
            Shape::new(input.channels, input.height * factor, input.width * factor)
        }
        Layer::Concatenate => {
            let mut channels = 0;
            for other in inputs {
                if (other.height, other.width) != (input.height, input.width) {
                    return Err(misfit(format!("another input has shape {other}")));
                }
                channels += other.channels;
            }
            Shape::new(channels, input.height, input.width)
        }
        Layer::Add => match inputs.iter().find(|other| **other != input) {
            Some(other) => return Err(misfit(format!("another input has shape {other}"))),
            None => input,
        },
        Layer::Reshape(shape) => {
            if shape.len() != input.len() {
                return Err(misfit(format!("{} values cannot take the shape {shape}", input.len())));
            }
            *shape
        }
    };
    Ok(shape)
}

fn check_epsilon(epsilon: f32) -> Result<(), String> {
    if epsilon.is_finite() && epsilon > 0.0 {
        Ok(())
    } else {
        Err(format!("epsilon is {epsilon}, expected a positive number"))
    }
}

fn layer_parameters(name: &str, layer: &Layer, input: Shape, all: &mut Vec<ParameterSpec>) {
    let mut push = |what: &str, shape: Vec<usize>, role: Role| {
        all.push(ParameterSpec { name: format!("{name}.{what}"), shape, role });
    };
    match layer {
        Layer::Convolution(c) => {
            let fan_in = input.channels * c.kernel * c.kernel;
            push("weight", vec![c.channels, input.channels, c.kernel, c.kernel], Role::Weight { fan_in });
            if c.bias == Bias::Learned {
                push("bias", vec![c.channels], Role::Bias { fan_in });
            }
        }
        Layer::TransposedConvolution(c) => {
            // Each output pixel sees kernel / stride taps along each axis.
            let taps = (c.kernel * c.kernel).div_ceil(c.stride * c.stride);
            let fan_in = input.channels * taps;
            push("weight", vec![input.channels, c.channels, c.kernel, c.kernel], Role::Weight { fan_in });
            if c.bias == Bias::Learned {
                push("bias", vec![c.channels], Role::Bias { fan_in });
            }
        }
        Layer::Linear { features, bias } => {
            let fan_in = input.len();
            push("weight", vec![*features, fan_in], Role::Weight { fan_in });
            if *bias == Bias::Learned {
                push("bias", vec![*features], Role::Bias { fan_in });
            }
        }
        Layer::GroupNormalization { .. } => {
            push("weight", vec![input.channels], Role::Scale);
            push("bias", vec![input.channels], Role::Shift);
        }
        Layer::BatchNormalization { .. } => {
            push("weight", vec![input.channels], Role::Scale);
            push("bias", vec![input.channels], Role::Shift);
            push("running_mean", vec![input.channels], Role::RunningMean);
            push("running_variance", vec![input.channels], Role::RunningVariance);
        }
        Layer::Activation(_)
        | Layer::MaxPool { .. }
        | Layer::AveragePool { .. }
        | Layer::UpsampleNearest { .. }
        | Layer::UpsampleBilinear { .. }
        | Layer::Concatenate
        | Layer::Add
        | Layer::Reshape(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let mut net = NetworkBuilder::new();
        let a = net.input("a", Shape::new(3, 8, 6));
        let b = net.input("b", Shape::new(3, 8, 7));
        let bad = |net: &mut NetworkBuilder, layer, inputs: &[NodeId]| {
            let mut copy = net.clone();
            copy.layer("l", layer, inputs).unwrap_err().to_string()
        };
        assert!(bad(&mut net, Layer::Concatenate, &[a, b]).contains("[3, 8, 7]"));
        assert!(bad(&mut net, Layer::Convolution(Convolution::new(1, 9)), &[a]).contains("kernel 9"));
        assert!(
            bad(&mut net, Layer::GroupNormalization { groups: 2, epsilon: 1e-5 }, &[a]).contains("2 groups")
        );
        assert!(bad(&mut net, Layer::Reshape(Shape::vector(7)), &[a]).contains("144 values"));
        assert!(bad(&mut net, Layer::Add, &[]).contains("at least one"));
        assert!(bad(&mut net, Layer::MaxPool { window: [9, 2] }, &[a]).contains("window 9x2"));
        assert!(matches!(
            net.layer("a", Layer::Add, &[a]),
            Err(NetworkError::DuplicateName { name }) if name == "a"
        ));
        let other = NodeId(99);
        assert!(matches!(net.clone().finish(&[other]), Err(NetworkError::UnknownNode { index: 99, .. })));
        assert_eq!(net.finish(&[]).unwrap_err(), NetworkError::Empty);
    }

    /// Sizes whose products overflow, and those that only no memory holds, are refused before anything is allocated.
    #[test]
    fn what_no_memory_holds_is_refused() {
        let convolution =
            |channels, kernel| Layer::Convolution(Convolution::new(channels, kernel).padding(1));
        let linear = |features| Layer::Linear { features, bias: Bias::Learned };
        let (parameters, values) = ("parameters", "values per sample");
        for (input, layer, what) in [
            (Shape::new(65_536, 4, 4), convolution(65_536, 3), parameters),
            (Shape::new(1 << 14, 1, 1), linear(1 << 15), parameters),
            (Shape::new(1, 1 << 16, 1 << 16), convolution(1, 3), values),
            (Shape::new(usize::MAX, usize::MAX, 2), convolution(1, 3), values),
            (Shape::new(1, 64, 64), convolution(usize::MAX, 3), values),
            (Shape::new(1, 64, 64), linear(usize::MAX), values),
            (Shape::new(1, 1 << 13, 1 << 13), convolution(16, 3), values),
        ] {
            let mut net = NetworkBuilder::new();
            let image = net.input("image", input);
            let error = net.layer("l", layer.clone(), &[image]).unwrap_err();
            assert!(
                matches!(&error, NetworkError::Large { what: found, found: count, limit, .. }
                    if *found == what && count > limit),
                "{input} {layer:?}: {error}"
            );
        }
        let mut net = NetworkBuilder::new();
        let image = net.input("image", Shape::new(1, 64, 64));
        let steps = [
            Layer::Convolution(Convolution::new(1, usize::MAX).padding(usize::MAX)),
            Layer::Convolution(Convolution::new(1, 3).padding(usize::MAX / 2)),
            Layer::TransposedConvolution(Convolution::new(1, 3).stride(usize::MAX)),
            Layer::UpsampleNearest { factor: usize::MAX },
            Layer::MaxPool { window: [usize::MAX, usize::MAX] },
        ];
        for layer in steps {
            let error = net.clone().layer("l", layer.clone(), &[image]).unwrap_err();
            assert!(matches!(error, NetworkError::Shape { .. }), "{layer:?}: {error}");
        }
        let mut net = NetworkBuilder::new();
        let image = net.input("image", Shape::new(1, 1 << 16, 1 << 16));
        assert!(matches!(net.finish(&[image]), Err(NetworkError::Large { .. })));
        let mut net = NetworkBuilder::new();
        let mut last = net.input("image", Shape::new(1, 1, 1));
        let error = (0..5000).find_map(|k| match net.layer(k.to_string(), Layer::Add, &[last]) {
            Ok(id) => {
                last = id;
                None
            }
            Err(error) => Some(error),
        });
        assert!(matches!(error, Some(NetworkError::Large { what: "nodes", .. })), "{error:?}");
    }

    #[test]
    fn transposed_convolution_undoes_the_size_of_a_convolution() {
        let convolution = Convolution::new(2, 4).stride(2).padding(1);
        let mut net = NetworkBuilder::new();
        let image = net.input("image", Shape::new(1, 12, 20));
        let down = net.layer("down", Layer::Convolution(convolution), &[image]).unwrap();
        assert_eq!(net.shape(down), Some(Shape::new(2, 6, 10)));
        let up = net.layer("up", Layer::TransposedConvolution(convolution), &[down]).unwrap();
        assert_eq!(net.shape(up), Some(Shape::new(2, 12, 20)));
        let network = net.finish(&[up]).unwrap();
        let shapes: Vec<_> = network.parameters().into_iter().map(|p| (p.name, p.shape)).collect();
        assert_eq!(shapes[0], ("down.weight".to_owned(), vec![2, 1, 4, 4]));
        assert_eq!(shapes[2], ("up.weight".to_owned(), vec![2, 2, 4, 4]));
        // 2 * 1 * 16 taps * 60 pixels down, 2 * 2 * 16 * 60 up.
        assert_eq!(network.multiply_adds(), 1920 + 3840);
    }
}
