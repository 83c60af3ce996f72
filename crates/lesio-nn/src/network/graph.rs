//! Networks and their nodes.

use lesio_kernels::Precision;

use super::shapes::layer_parameters;
use crate::layer::{Convolution, Layer};
use crate::parameter_spec::ParameterSpec;
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
    pub(super) name: String,
    pub(super) operation: Operation,
    pub(super) shape: Shape,
}

/// The kind of a node.
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

    /// The kind of the node.
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

/// A network: nodes with checked shapes, in an order in which each reads only earlier ones.
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
///
/// With serde it is written as the list of its nodes. A document that is read is checked as a declaration is.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    pub(super) nodes: Vec<Node>,
    pub(super) inputs: Vec<NodeId>,
    pub(super) outputs: Vec<NodeId>,
    pub(super) precision: Precision,
}

impl Network {
    /// The same network, computed by plans in another precision. It has no effect on candle modules, which compute
    /// in the type of their parameters.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The number format of products in plans; sums are always in `f32`. Default [`Precision::Single`].
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
