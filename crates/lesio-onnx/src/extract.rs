//! Conversion of a part of the intermediate graph to a network and its parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lesio_nn::{Bias, Convolution, Layer, Network, NetworkBuilder, NodeId, Parameter, ParameterSet, Shape};

use crate::args::Computed;
use crate::error::OnnxError;
use crate::ir::{Affine, Graph, Id, IrNode, Op, Weights};
use crate::lower::shape_of;
use crate::simplify::simplify;

/// The maximum number of weights of a layer that only selects values.
const LARGEST_SELECTION: usize = 1 << 24;

/// A network with its parameters.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Converted {
    /// The network.
    pub network: Network,
    /// The parameters of the network, and no others.
    pub parameters: ParameterSet,
}

/// Names of layers that are in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    taken: BTreeSet<String>,
    /// The next number to append to a name.
    next: BTreeMap<String, usize>,
}

impl Names {
    /// A name for the layer of a node: the name of the node, with dots and without the operator at its end.
    fn of(&mut self, node: &IrNode) -> String {
        let name = node.origin.name.trim_matches('/').replace('/', ".");
        let name = name.strip_suffix(&format!(".{}", node.origin.operator)).unwrap_or(&name);
        self.free(if name.is_empty() { &node.origin.operator } else { name })
    }

    fn free(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        let next = self.next.entry(free.clone()).or_insert(2);
        while !self.taken.insert(free.clone()) {
            free = format!("{name}_{next}");
            *next += 1;
        }
        free
    }
}

/// Builds the network from `inputs` to `outputs`.
///
/// # Errors
/// For outputs that depend on anything other than the inputs, and for operations that no layer expresses.
pub(crate) fn extract(
    graph: &Graph,
    inputs: &[(&str, &Computed)],
    outputs: &[Computed],
    names: &mut Names,
) -> Result<Converted, OnnxError> {
    let mut part = graph.clone();
    for (name, input) in inputs {
        let node = &mut part.nodes[input.id];
        // An input of the model keeps its shape: it may be an image that the model reads as a vector.
        if !matches!(node.op, Op::Input) {
            node.op = Op::Input;
            node.inputs.clear();
            node.shape = shape_of(&input.dims).unwrap_or(node.shape);
        }
        let mut origin = (*node.origin).clone();
        (*name).clone_into(&mut origin.name);
        node.origin = origin.into();
    }
    let mut ends = Vec::new();
    for output in outputs {
        let shape = shape_of(&output.dims).unwrap_or(part.shape(output.id));
        let origin = Arc::clone(&part.nodes[output.id].origin);
        ends.push(match part.shape(output.id) == shape {
            true => output.id,
            false => part.push(Op::Layer(Layer::Reshape(shape)), vec![output.id], shape, &origin),
        });
    }
    simplify(&mut part, &mut ends);
    let mut emission = Emission {
        builder: NetworkBuilder::new(),
        parameters: ParameterSet::new(),
        made: BTreeMap::new(),
        names,
    };
    // Inputs come first, in their order, even if they are not used.
    for (_, input) in inputs {
        let node = &part.nodes[input.id];
        let name = emission.names.free(&node.origin.name);
        let id = emission.builder.input(name, node.shape);
        emission.made.insert(input.id, id);
    }
    for id in part.order(&ends) {
        if !emission.made.contains_key(&id) {
            emission.node(&part, id)?;
        }
    }
    let ends: Vec<NodeId> = ends.iter().filter_map(|id| emission.made.get(id).copied()).collect();
    let network = emission.builder.finish(&ends)?;
    let parameters = emission.parameters;
    parameters.check(&[&network])?;
    Ok(Converted { network, parameters })
}

struct Emission<'n> {
    builder: NetworkBuilder,
    parameters: ParameterSet,
    made: BTreeMap<Id, NodeId>,
    names: &'n mut Names,
}

impl Emission<'_> {
    fn node(&mut self, graph: &Graph, id: Id) -> Result<(), OnnxError> {
        let node = &graph.nodes[id];
        let refuse = |reason: &str| {
            Err(OnnxError::Unsupported { node: (*node.origin).clone(), reason: reason.to_owned() })
        };
        let inputs: Vec<NodeId> =
            node.inputs.iter().filter_map(|input| self.made.get(input).copied()).collect();
        let before = node.inputs.first().map_or(node.shape, |&input| graph.shape(input));
        let name = self.names.of(node);
        let made = match &node.op {
            Op::Input => {
                return Err(OnnxError::Model(format!(
                    "computes its outputs from {:?} too, which is none of the network's inputs",
                    node.origin.name
                )));
            }
            Op::Convolution(convolution, weights) => {
                let shape =
                    vec![convolution.channels, before.channels, convolution.kernel, convolution.kernel];
                self.weighted(&name, Layer::Convolution(*convolution), inputs, shape, weights)?
            }
            Op::TransposedConvolution(convolution, weights) => {
                let shape =
                    vec![before.channels, convolution.channels, convolution.kernel, convolution.kernel];
                self.weighted(&name, Layer::TransposedConvolution(*convolution), inputs, shape, weights)?
            }
            Op::Linear(weights) => {
                let features = weights.weight.len().checked_div(before.len()).unwrap_or(0);
                self.linear(&name, features, before, inputs, weights)?
            }
            Op::GroupNormalization { groups, epsilon, affine } => {
                let layer = Layer::GroupNormalization { groups: *groups, epsilon: *epsilon };
                self.affine(&name, layer, inputs, affine, before.channels)?
            }
            Op::Affine(affine) => {
                // Fixed statistics that change nothing, since the square root of 0 + 1 is 1.
                let layer = Layer::BatchNormalization { epsilon: 1.0, momentum: 0.0 };
                for what in ["running_mean", "running_variance"] {
                    self.parameter(&name, what, vec![before.channels], vec![0.0; before.channels]);
                }
                self.affine(&name, layer, inputs, affine, before.channels)?
            }
            Op::Layer(layer) => self.builder.layer(name.as_str(), layer.clone(), &inputs)?,
            Op::Channels(channels) => {
                let convolution = Convolution::new(channels.len(), 1).bias(Bias::None);
                let Some(weight) = selection(channels, before.channels) else {
                    return refuse(&beyond(channels.len(), before.channels, "channels"));
                };
                let shape = vec![channels.len(), before.channels, 1, 1];
                let weights = Weights { weight, bias: None };
                self.weighted(&name, Layer::Convolution(convolution), inputs, shape, &weights)?
            }
            Op::Values(elements) => {
                let Some(weight) = selection(elements, before.len()) else {
                    return refuse(&beyond(elements.len(), before.len(), "values"));
                };
                self.linear(&name, elements.len(), before, inputs, &Weights { weight, bias: None })?
            }
            Op::Pad([[top, bottom], [left, right]]) => {
                let (channels, kernel) = (before.channels, top + bottom + 1);
                if top + bottom != left + right {
                    return refuse(
                        "it adds another number of rows than of columns, and no convolution follows",
                    );
                }
                let size = channels.saturating_mul(channels).saturating_mul(kernel * kernel);
                if size > LARGEST_SELECTION {
                    return refuse(&format!(
                        "it pads by a convolution of {size} weights, expected at most {LARGEST_SELECTION}"
                    ));
                }
                let mut weight = vec![0.0; size];
                for channel in 0..channels {
                    weight[((channel * channels + channel) * kernel + top) * kernel + left] = 1.0;
                }
                let convolution = Convolution::new(channels, kernel).bias(Bias::None);
                let shape = vec![channels, channels, kernel, kernel];
                let weights = Weights { weight: weight.into(), bias: None };
                self.weighted(&name, Layer::TransposedConvolution(convolution), inputs, shape, &weights)?
            }
            Op::Multiply => self.builder.layer(name.as_str(), Layer::Multiply, &inputs)?,
            Op::Power(exponent) => {
                return refuse(&format!("it raises values to the power of {exponent}, expected 1, 2 or 3"));
            }
            Op::Erf | Op::Exp => {
                return refuse(
                    "it stands alone: it is known as a part of GELU or of the sampling of a latent vector",
                );
            }
            Op::Function => return refuse("it has no counterpart among lesio's layers"),
            Op::Filled(_) => return refuse("it makes a constant whose shape depends on the batch"),
            Op::Random => return refuse("it draws random numbers: state which tensor is the latent vector"),
        };
        let made = match self.builder.shape(made) {
            Some(shape) if shape != node.shape => {
                let name = self.names.free(&format!("{name}.shape"));
                self.builder.layer(name, Layer::Reshape(node.shape), &[made])?
            }
            _ => made,
        };
        self.made.insert(id, made);
        Ok(())
    }

    fn parameter(&mut self, name: &str, what: &str, shape: Vec<usize>, values: Vec<f32>) {
        // A parameter whose values do not fit its shape is left out; the final check of the parameters reports it.
        if let Some(parameter) = Parameter::new(shape, values) {
            self.parameters.insert(format!("{name}.{what}"), parameter);
        }
    }

    fn weighted(
        &mut self,
        name: &str,
        mut layer: Layer,
        inputs: Vec<NodeId>,
        shape: Vec<usize>,
        weights: &Weights,
    ) -> Result<NodeId, OnnxError> {
        if let Layer::Convolution(own) | Layer::TransposedConvolution(own) = &mut layer {
            own.bias = if weights.bias.is_some() { Bias::Learned } else { Bias::None };
        }
        let made = self.builder.layer(name, layer, &inputs)?;
        self.parameter(name, "weight", shape, weights.weight.to_vec());
        if let Some(bias) = &weights.bias {
            self.parameter(name, "bias", vec![bias.len()], bias.clone());
        }
        Ok(made)
    }

    fn linear(
        &mut self,
        name: &str,
        features: usize,
        before: Shape,
        inputs: Vec<NodeId>,
        weights: &Weights,
    ) -> Result<NodeId, OnnxError> {
        let bias = if weights.bias.is_some() { Bias::Learned } else { Bias::None };
        self.weighted(name, Layer::Linear { features, bias }, inputs, vec![features, before.len()], weights)
    }

    fn affine(
        &mut self,
        name: &str,
        layer: Layer,
        inputs: Vec<NodeId>,
        affine: &Affine,
        channels: usize,
    ) -> Result<NodeId, OnnxError> {
        let made = self.builder.layer(name, layer, &inputs)?;
        let spread = |of: &dyn Fn(usize) -> f32| (0..channels).map(of).collect::<Vec<f32>>();
        self.parameter(name, "weight", vec![channels], spread(&|k| affine.scale_at(k)));
        self.parameter(name, "bias", vec![channels], spread(&|k| affine.shift_at(k)));
        Ok(made)
    }
}

/// The reason why a selection is an error.
fn beyond(chosen: usize, of: usize, what: &str) -> String {
    format!("it selects {chosen} of {of} {what}: the product of both may be {LARGEST_SELECTION} at most")
}

/// A matrix of 0 and 1 that selects values.
fn selection(rows: &[usize], columns: usize) -> Option<Arc<[f32]>> {
    let size = rows.len().checked_mul(columns).filter(|&size| size <= LARGEST_SELECTION)?;
    let mut weight = vec![0.0; size];
    for (row, &column) in rows.iter().enumerate() {
        *weight.get_mut(row * columns + column)? = 1.0;
    }
    Some(weight.into())
}
