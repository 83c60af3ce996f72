//! Where the parameters of a network lie in the plan's flat memory.

use lesio_kernels::{self as kernels, Precision};

use super::error::PlanError;
use super::graph::Graph;
use crate::layer::Layer;
use crate::network::{Network, Operation};
use crate::parameter_spec::ParameterSpec;
use crate::parameters::{Parameter, ParameterError, ParameterSet};
use crate::shape::Shape;

/// Places of all parameters of a network: trained ones in one array, running statistics in another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WeightLayout {
    pub(super) places: Vec<Place>,
    /// What each node's layer needs to know; by node.
    pub(super) layers: Vec<Option<LayerWeights>>,
    /// Number of trained values, padding included.
    pub(super) len: usize,
    /// Number of running statistics.
    pub(super) statistics: usize,
    /// Number of values packed from these for the kernels.
    pub(super) packed: usize,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) spec: ParameterSpec,
    pub(super) first: usize,
    order: Order,
}

/// How the values of a parameter are arranged.
#[derive(Clone, Debug, PartialEq)]
enum Order {
    Plain,
    Convolution(kernels::ConvolutionShape),
    /// A matrix whose rows and columns follow the storage of the layer's output and input.
    Linear {
        matrix: Matrix,
        output: Shape,
        input: Shape,
    },
    /// A vector that follows the storage of the layer's output.
    Stored(Shape),
}

/// A linear layer's matrix, and which side of it is the longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Matrix {
    pub(super) linear: kernels::Linear,
    pub(super) wide: Wide,
}

/// The longer side of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wide {
    Input,
    Output,
}

/// Where a layer finds its parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LayerWeights {
    Convolution {
        geometry: kernels::ConvolutionShape,
        weight: usize,
        bias: Option<usize>,
        /// Starts of the weights packed for the convolution and for its adjoint, in an array of their own.
        forward: usize,
        adjoint: usize,
    },
    Linear {
        matrix: Matrix,
        weight: usize,
        bias: Option<usize>,
    },
    Normalization {
        channels: usize,
        scale: usize,
        shift: usize,
        /// Start of running mean and variance among the statistics, for batch normalization.
        statistics: Option<usize>,
    },
}

impl LayerWeights {
    /// Where the layer's trained parameters begin.
    pub(super) fn first(&self) -> usize {
        match *self {
            Self::Convolution { weight, .. } | Self::Linear { weight, .. } => weight,
            Self::Normalization { scale, .. } => scale,
        }
    }
}

impl WeightLayout {
    pub(super) fn new(network: &Network, graph: &Graph) -> Result<Self, PlanError> {
        let mut layout = Self { places: Vec::new(), layers: Vec::new(), len: 0, statistics: 0, packed: 0 };
        let precision = network.precision();
        let mut specs = network.parameters().into_iter().peekable();
        for (index, node) in network.nodes().iter().enumerate() {
            let Operation::Layer { layer, inputs } = node.operation() else {
                layout.layers.push(None);
                continue;
            };
            let input =
                inputs.first().and_then(|id| network.node(*id)).map_or(node.shape(), |node| node.shape());
            let prefix = format!("{}.", node.name());
            let mut own = Vec::new();
            let is_own = |spec: &ParameterSpec| {
                spec.name.strip_prefix(&prefix).is_some_and(|what| !what.contains('.'))
            };
            while let Some(spec) = specs.next_if(is_own) {
                own.push(spec);
            }
            let shapes = [input, node.shape()];
            let weights = layout.place_layer(layer, shapes, graph, index, own, precision)?;
            layout.layers.push(weights);
        }
        Ok(layout)
    }

    fn place_layer(
        &mut self,
        layer: &Layer,
        [input, output]: [Shape; 2],
        graph: &Graph,
        node: usize,
        specs: Vec<ParameterSpec>,
        precision: Precision,
    ) -> Result<Option<LayerWeights>, PlanError> {
        let mut specs = specs.into_iter();
        Ok(match layer {
            Layer::Convolution(c) | Layer::TransposedConvolution(c) => {
                let (large, small) = match layer {
                    Layer::Convolution(_) => (input.channels, c.channels),
                    _ => (c.channels, input.channels),
                };
                let geometry = kernels::ConvolutionShape::new(c.kernel, c.stride, c.padding, large, small)?;
                let geometry = geometry.precision(precision);
                let weight = self.place(specs.next(), Order::Convolution(geometry), geometry.weights_len());
                let bias = specs.next().map(|spec| self.place(Some(spec), Order::Plain, c.channels));
                let forward = self.packed;
                let adjoint = forward + geometry.packed_len().next_multiple_of(kernels::LANES);
                self.packed = adjoint + geometry.adjoint_len().next_multiple_of(kernels::LANES);
                Some(LayerWeights::Convolution { geometry, weight, bias, forward, adjoint })
            }
            Layer::Linear { features, .. } => {
                let item = graph.item_of_node(node).map(|item| &graph.items[item]);
                let to = item.map_or(output, |item| item.storage);
                let from = item.map_or(input, |item| graph.items[item.inputs[0]].storage);
                let matrix = if input.len() >= *features {
                    Matrix { linear: kernels::Linear::new(*features, input.len())?, wide: Wide::Input }
                } else {
                    Matrix { linear: kernels::Linear::new(input.len(), *features)?, wide: Wide::Output }
                };
                let order = Order::Linear { matrix, output: to, input: from };
                let weight = self.place(specs.next(), order, matrix.linear.weights_len());
                let bias = specs.next().map(|spec| self.place(Some(spec), Order::Stored(to), *features));
                Some(LayerWeights::Linear { matrix, weight, bias })
            }
            Layer::GroupNormalization { .. } | Layer::BatchNormalization { .. } => {
                let channels = input.channels;
                let scale = self.place(specs.next(), Order::Plain, channels);
                let shift = self.place(specs.next(), Order::Plain, channels);
                let mut statistics = None;
                for spec in specs {
                    statistics.get_or_insert(self.statistics);
                    self.places.push(Place { spec, first: self.statistics, order: Order::Plain });
                    self.statistics += channels;
                }
                Some(LayerWeights::Normalization { channels, scale, shift, statistics })
            }
            _ => None,
        })
    }

    /// Puts a trained parameter at the end, beginning at a cache line.
    fn place(&mut self, spec: Option<ParameterSpec>, order: Order, len: usize) -> usize {
        let first = self.len;
        if let Some(spec) = spec {
            self.places.push(Place { spec, first, order });
        }
        self.len += len.next_multiple_of(kernels::LANES);
        first
    }

    /// Reads this network's parameters out of a set, which may hold more.
    pub(super) fn read(
        &self,
        set: &ParameterSet,
        trained: &mut [f32],
        mut statistics: Option<&mut [f32]>,
    ) -> Result<(), PlanError> {
        for place in &self.places {
            let is_trained = place.spec.role.is_trained();
            if !is_trained && statistics.is_none() {
                continue;
            }
            let name = || place.spec.name.clone();
            let parameter =
                set.get(&place.spec.name).ok_or_else(|| ParameterError::Missing { name: name() })?;
            if parameter.shape() != place.spec.shape {
                return Err(PlanError::Parameter(ParameterError::Shape {
                    name: name(),
                    found: parameter.shape().to_vec(),
                    expected: place.spec.shape.clone(),
                }));
            }
            match (&mut statistics, is_trained) {
                (Some(statistics), false) => place.read(parameter.values(), statistics),
                _ => place.read(parameter.values(), trained),
            }
        }
        Ok(())
    }

    /// The parameters as a set; without statistics, the trained ones alone.
    pub(super) fn write(&self, trained: &[f32], statistics: Option<&[f32]>) -> ParameterSet {
        let mut set = ParameterSet::new();
        for place in &self.places {
            let values = match (place.spec.role.is_trained(), statistics) {
                (true, _) => place.write(trained),
                (false, Some(statistics)) => place.write(statistics),
                (false, None) => continue,
            };
            // `write` gives as many values as the shape has.
            if let Some(parameter) = Parameter::new(place.spec.shape.clone(), values) {
                set.insert(place.spec.name.clone(), parameter);
            }
        }
        set
    }
}

impl Place {
    fn read(&self, canonical: &[f32], packed: &mut [f32]) {
        let index = self.index();
        for (position, &value) in canonical.iter().enumerate() {
            packed[self.first + index(position)] = value;
        }
    }

    fn write(&self, packed: &[f32]) -> Vec<f32> {
        let index = self.index();
        (0..self.spec.len()).map(|position| packed[self.first + index(position)]).collect()
    }

    /// Where a value of the canonical order lies behind `first`.
    fn index(&self) -> Box<dyn Fn(usize) -> usize + '_> {
        match &self.order {
            Order::Plain => Box::new(|position| position),
            Order::Stored(shape) => Box::new(|position| stored_position(*shape, position)),
            Order::Convolution(geometry) => {
                // Both kinds are [small side, large side, row, column]: see `kernels::ConvolutionShape`.
                let [_, large, rows, columns] = self.spec.shape[..] else {
                    return Box::new(|position| position);
                };
                Box::new(move |position| {
                    let (rest, column) = (position / columns, position % columns);
                    let (rest, row) = (rest / rows, rest % rows);
                    geometry.weight_index(rest / large, rest % large, row, column)
                })
            }
            Order::Linear { matrix, output, input } => Box::new(move |position| {
                let to = stored_position(*output, position / input.len());
                let from = stored_position(*input, position % input.len());
                match matrix.wide {
                    Wide::Input => matrix.linear.weight_index(to, from),
                    Wide::Output => matrix.linear.weight_index(from, to),
                }
            }),
        }
    }
}

/// Where the value of an index in `[channels, rows, columns]` lies, channels last.
fn stored_position(shape: Shape, index: usize) -> usize {
    let (channel, pixel) = (index / shape.pixels(), index % shape.pixels());
    pixel * shape.channels + channel
}
