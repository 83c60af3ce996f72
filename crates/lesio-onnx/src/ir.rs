//! The intermediate graph between ONNX and lesio's networks: layers with their weights, and operations that only
//! occur as parts of patterns.

use std::sync::Arc;

use lesio_nn::{Convolution, Layer, Shape};

use crate::error::NodeName;

/// The index of a node of a [`Graph`].
pub(crate) type Id = usize;

#[derive(Clone, Debug)]
pub(crate) struct IrNode {
    pub(crate) op: Op,
    /// The nodes whose results it reads.
    pub(crate) inputs: Vec<Id>,
    pub(crate) shape: Shape,
    /// The ONNX node from which it was converted.
    pub(crate) origin: Arc<NodeName>,
}

/// An operation with its weights.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Input,
    Convolution(Convolution, Weights),
    TransposedConvolution(Convolution, Weights),
    Linear(Weights),
    GroupNormalization {
        groups: usize,
        epsilon: f32,
        affine: Affine,
    },
    /// A scale and a shift for each channel.
    Affine(Affine),
    /// A layer without weights.
    Layer(Layer),
    /// A selection of the channels of its input.
    Channels(Arc<[usize]>),
    /// A selection of the values of its input, in row-major order, as a vector.
    Values(Arc<[usize]>),
    /// Number of zeros before and after, along rows and along columns.
    Pad([[usize; 2]; 2]),
    /// From here on, operations without a layer: they occur in patterns, or in the sampling of a latent vector.
    Multiply,
    /// A power other than the square and the cube, which are products.
    Power(f32),
    Erf,
    Exp,
    Random,
    /// A function whose result has the shape of its input.
    Function,
    /// One number, as often as the batch is large.
    Filled(f32),
}

/// Weights in the layout of the layer, and an optional bias for each output channel.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    pub(crate) weight: Arc<[f32]>,
    pub(crate) bias: Option<Vec<f32>>,
}

/// `scale * x + shift`, each with one value or one for each channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Affine {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

impl Affine {
    pub(crate) fn scalar(scale: f32, shift: f32) -> Self {
        Self { scale: vec![scale], shift: vec![shift] }
    }

    pub(crate) fn scale_at(&self, channel: usize) -> f32 {
        if let [one] = self.scale[..] { one } else { self.scale[channel] }
    }

    pub(crate) fn shift_at(&self, channel: usize) -> f32 {
        if let [one] = self.shift[..] { one } else { self.shift[channel] }
    }

    /// The scale and the shift, if they are the same for all channels.
    pub(crate) fn as_scalar(&self) -> Option<(f32, f32)> {
        let same = |values: &[f32]| values.first().copied().filter(|first| values.iter().all(|v| v == first));
        Some((same(&self.scale)?, same(&self.shift)?))
    }

    /// The composition that applies `first` and then this.
    pub(crate) fn after(&self, first: &Self) -> Self {
        let count = [&self.scale, &self.shift, &first.scale, &first.shift].iter().map(|v| v.len()).max();
        let (scale, shift) = (0..count.unwrap_or(1))
            .map(|k| {
                let (a, b) = (f64::from(self.scale_at(k)), f64::from(self.shift_at(k)));
                let (c, d) = (f64::from(first.scale_at(k)), f64::from(first.shift_at(k)));
                ((a * c) as f32, (a * d + b) as f32)
            })
            .unzip();
        Self { scale, shift }
    }
}

/// A graph in which each node reads only earlier nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<IrNode>,
}

impl Graph {
    pub(crate) fn push(&mut self, op: Op, inputs: Vec<Id>, shape: Shape, origin: &Arc<NodeName>) -> Id {
        self.nodes.push(IrNode { op, inputs, shape, origin: Arc::clone(origin) });
        self.nodes.len() - 1
    }

    pub(crate) fn shape(&self, id: Id) -> Shape {
        self.nodes[id].shape
    }

    /// The nodes that `ends` depend on, each after its inputs.
    pub(crate) fn order(&self, ends: &[Id]) -> Vec<Id> {
        let mut order = Vec::new();
        let mut seen = vec![false; self.nodes.len()];
        let mut stack: Vec<(Id, usize)> = Vec::new();
        for &end in ends {
            if !std::mem::replace(&mut seen[end], true) {
                stack.push((end, 0));
            }
            while let Some((id, next)) = stack.pop() {
                match self.nodes[id].inputs.get(next) {
                    None => order.push(id),
                    Some(&input) => {
                        stack.push((id, next + 1));
                        if !std::mem::replace(&mut seen[input], true) {
                            stack.push((input, 0));
                        }
                    }
                }
            }
        }
        order
    }
}
