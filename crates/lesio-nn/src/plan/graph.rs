//! The network as the plan computes it: without dead layers and reshapes, and with fused activations.
//!
//! Values are kept channels last. A reshape between a vector and an image would have to reorder them,
//! unless the vector is kept in the image's order from the start: a vector's *storage* is the shape of
//! the image whose order it keeps, and a linear layer beside it permutes its weights instead.

use lesio_kernels::{Function, Pooling, Upsampling, Windows};

use crate::layer::{Activation, Layer};
use crate::network::{Network, NodeId, Operation};
use crate::shape::Shape;

/// One value of the plan.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) task: Task,
    /// Items it reads; all before it.
    pub(super) inputs: Vec<usize>,
    /// The shape whose channels-last order it is kept in.
    pub(super) storage: Shape,
    /// Slope of a leaky rectifier fused onto it; 1 where there is none.
    pub(super) slope: f32,
}

/// How a value is computed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Task {
    /// Given by the caller: the index of the input.
    Input(usize),
    /// A layer with parameters: the index of its node.
    Convolution(usize),
    TransposedConvolution(usize),
    Linear(usize),
    GroupNormalization(usize),
    BatchNormalization(usize),
    /// A function that is not fused.
    Activation(Function),
    Pool(Pooling, [usize; 2]),
    PoolWindows(Windows),
    Upsample(Upsampling, usize),
    Concatenate,
    Add,
    Multiply,
    /// The same values in another order.
    Reorder,
}

/// The items of a network and what its inputs and outputs became.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    pub(super) items: Vec<Item>,
    /// Items of the network's inputs; `None` where no output depends on them.
    pub(super) inputs: Vec<Option<usize>>,
    /// Items of the network's outputs.
    pub(super) outputs: Vec<usize>,
}

impl Graph {
    pub(super) fn new(network: &Network) -> Self {
        Lowering::new(network).run()
    }

    /// For each item, the items that read it, in their order; one that reads it twice stands twice.
    pub(super) fn users(&self) -> Vec<Vec<usize>> {
        let mut users = vec![Vec::new(); self.items.len()];
        for (index, item) in self.items.iter().enumerate() {
            for &input in &item.inputs {
                users[input].push(index);
            }
        }
        users
    }

    /// The item of a node's layer with parameters, if it is alive.
    pub(super) fn item_of_node(&self, node: usize) -> Option<usize> {
        self.items.iter().position(|item| item.task.node() == Some(node))
    }
}

impl Task {
    /// The node whose parameters it uses.
    pub(super) fn node(&self) -> Option<usize> {
        match *self {
            Self::Convolution(node)
            | Self::TransposedConvolution(node)
            | Self::Linear(node)
            | Self::GroupNormalization(node)
            | Self::BatchNormalization(node) => Some(node),
            _ => None,
        }
    }
}

/// The translation of a network.
struct Lowering<'n> {
    network: &'n Network,
    /// Nodes that read each node, live ones only.
    users: Vec<Vec<usize>>,
    is_output: Vec<bool>,
    live: Vec<bool>,
    items: Vec<Item>,
    item_of: Vec<Option<usize>>,
}

impl<'n> Lowering<'n> {
    fn new(network: &'n Network) -> Self {
        let nodes = network.nodes();
        let mut live = vec![false; nodes.len()];
        let mut is_output = vec![false; nodes.len()];
        for output in network.outputs() {
            live[output.index()] = true;
            is_output[output.index()] = true;
        }
        let mut users = vec![Vec::new(); nodes.len()];
        for (index, node) in nodes.iter().enumerate().rev() {
            if let Operation::Layer { inputs, .. } = node.operation()
                && live[index]
            {
                for input in inputs {
                    live[input.index()] = true;
                    users[input.index()].push(index);
                }
            }
        }
        Self { network, users, is_output, live, items: Vec::new(), item_of: vec![None; nodes.len()] }
    }

    fn run(mut self) -> Graph {
        for index in 0..self.network.nodes().len() {
            if self.live[index] {
                self.item_of[index] = Some(self.lower(index));
            }
        }
        let item = |id: &NodeId| self.item_of[id.index()];
        Graph {
            inputs: self.network.inputs().iter().map(item).collect(),
            outputs: self.network.outputs().iter().filter_map(item).collect(),
            items: self.items,
        }
    }

    /// The item of a live node; those before it have theirs.
    fn lower(&mut self, index: usize) -> usize {
        let node = &self.network.nodes()[index];
        let (layer, inputs) = match node.operation() {
            Operation::Input => {
                let position = self.network.inputs().iter().position(|id| id.index() == index).unwrap_or(0);
                let storage = self.wanted_storage(index).unwrap_or(node.shape());
                return self.push(Task::Input(position), Vec::new(), storage);
            }
            Operation::Layer { layer, inputs } => (layer, inputs),
        };
        let nodes: Vec<usize> = inputs.iter().map(|id| id.index()).collect();
        let first = nodes[0];
        let given = self.item(first);
        let stored = self.items[given].storage;
        let task = match layer {
            Layer::Convolution(_) => Task::Convolution(index),
            Layer::TransposedConvolution(_) => Task::TransposedConvolution(index),
            Layer::GroupNormalization { .. } => Task::GroupNormalization(index),
            Layer::BatchNormalization { .. } => Task::BatchNormalization(index),
            Layer::MaxPool { window } => Task::Pool(Pooling::Maximum, *window),
            Layer::AveragePool { window } => Task::Pool(Pooling::Mean, *window),
            Layer::UpsampleNearest { factor } => Task::Upsample(Upsampling::Nearest, *factor),
            Layer::UpsampleBilinear { factor } => Task::Upsample(Upsampling::Bilinear, *factor),
            Layer::UpsampleBilinearCorners { factor } => Task::Upsample(Upsampling::BilinearCorners, *factor),
            Layer::Concatenate => Task::Concatenate,
            Layer::Add => Task::Add,
            Layer::Multiply => Task::Multiply,
            Layer::MaxPoolStrided { window, stride, padding } => {
                Task::PoolWindows(Windows { size: *window, stride: *stride, padding: *padding })
            }
            Layer::Linear { .. } => {
                let storage = self.wanted_storage(index).unwrap_or(node.shape());
                return self.push(Task::Linear(index), vec![given], storage);
            }
            Layer::Reshape(_) => {
                return match self.wanted_storage(index) {
                    Some(wanted) if wanted != stored => self.push(Task::Reorder, vec![given], wanted),
                    _ => given,
                };
            }
            Layer::Activation(activation) => {
                if let Activation::LeakyRelu { slope } = activation
                    && self.may_fuse(first)
                {
                    self.items[given].slope = *slope;
                    return given;
                }
                return self.push(Task::Activation(function(*activation)), vec![given], stored);
            }
        };
        // These layers know channels, rows and columns: their inputs must lie in their own shape's order.
        let items = nodes.iter().map(|&node| self.in_own_order(node)).collect();
        self.push(task, items, node.shape())
    }

    fn item(&self, node: usize) -> usize {
        // Nodes read earlier ones only, and whatever a live node reads is alive.
        self.item_of[node].unwrap_or(0)
    }

    fn push(&mut self, task: Task, inputs: Vec<usize>, storage: Shape) -> usize {
        self.items.push(Item { task, inputs, storage, slope: 1.0 });
        self.items.len() - 1
    }

    fn in_own_order(&mut self, node: usize) -> usize {
        let (item, shape) = (self.item(node), self.network.nodes()[node].shape());
        if self.items[item].storage == shape { item } else { self.push(Task::Reorder, vec![item], shape) }
    }

    /// The shape in whose order the readers of a node want it, if one cares.
    fn wanted_storage(&self, node: usize) -> Option<Shape> {
        self.users[node].iter().find_map(|&user| match self.network.nodes()[user].operation() {
            Operation::Input => None,
            Operation::Layer { layer, .. } => match layer {
                Layer::Linear { .. } => None,
                Layer::Activation(_) | Layer::Reshape(_) => self.wanted_storage(user),
                _ => Some(self.network.nodes()[node].shape()),
            },
        })
    }

    /// Whether nobody but one reader sees a node's value (or that of the node it reshapes) and its layer
    /// can rectify what it writes.
    fn may_fuse(&self, node: usize) -> bool {
        if self.users[node].len() != 1 || self.is_output[node] {
            return false;
        }
        match self.network.nodes()[node].operation() {
            Operation::Input => false,
            Operation::Layer { layer, inputs } => match layer {
                Layer::Reshape(_) => {
                    let before = inputs[0].index();
                    self.item(node) == self.item(before) && self.may_fuse(before)
                }
                Layer::Convolution(_)
                | Layer::TransposedConvolution(_)
                | Layer::Linear { .. }
                | Layer::GroupNormalization { .. }
                | Layer::BatchNormalization { .. } => true,
                _ => false,
            },
        }
    }
}

fn function(activation: Activation) -> Function {
    match activation {
        Activation::LeakyRelu { slope } => Function::LeakyRelu { slope },
        Activation::Silu => Function::Silu,
        Activation::Sigmoid => Function::Sigmoid,
        Activation::Tanh => Function::Tanh,
        Activation::Gelu => Function::Gelu,
        Activation::GeluTanh => Function::GeluTanh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bias, Convolution, NetworkBuilder};

    #[test]
    fn a_decoder_needs_no_reordering_and_no_activation_of_its_own() {
        let mut net = NetworkBuilder::new();
        let z = net.input("z", Shape::vector(5));
        let dead = net.layer("dead", Layer::Linear { features: 3, bias: Bias::Learned }, &[z]).unwrap();
        let wide = net.layer("wide", Layer::Linear { features: 48, bias: Bias::Learned }, &[z]).unwrap();
        let image = net.layer("image", Layer::Reshape(Shape::new(3, 4, 4)), &[wide]).unwrap();
        let active = net.layer("active", Layer::Activation(Activation::RELU), &[image]).unwrap();
        let up = Convolution::new(2, 4).stride(2).padding(1);
        let out = net.layer("out", Layer::TransposedConvolution(up), &[active]).unwrap();
        let _ = dead;
        let graph = Graph::new(&net.finish(&[out]).unwrap());
        let tasks: Vec<&Task> = graph.items.iter().map(|item| &item.task).collect();
        assert_eq!(tasks, [&Task::Input(0), &Task::Linear(2), &Task::TransposedConvolution(5)]);
        assert_eq!((graph.items[1].storage, graph.items[1].slope), (Shape::new(3, 4, 4), 0.0));
    }

    #[test]
    fn a_value_that_two_shapes_want_is_reordered_once() {
        let mut net = NetworkBuilder::new();
        let a = net.input("a", Shape::new(2, 4, 4));
        let other = net.layer("other", Layer::Reshape(Shape::new(4, 2, 4)), &[a]).unwrap();
        let c = net.layer("c", Layer::Convolution(Convolution::new(1, 1)), &[other]).unwrap();
        let d = net.layer("d", Layer::Convolution(Convolution::new(1, 1)), &[a]).unwrap();
        let graph = Graph::new(&net.finish(&[c, d]).unwrap());
        let reorders = graph.items.iter().filter(|item| item.task == Task::Reorder).count();
        assert_eq!(reorders, 1);
    }
}
