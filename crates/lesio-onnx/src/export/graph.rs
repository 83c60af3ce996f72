//! Conversion of networks to ONNX graphs.

use std::collections::{BTreeMap, BTreeSet};

use lesio_nn::{Activation, Convolution, Layer, Network, Operation, ParameterSet, Shape};
use prost::Message;

use super::error::ExportError;
use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    attribute, data_type,
};

/// The version of the operator set that lesio writes.
pub const OPSET: i64 = 17;

/// The version of the file format that belongs to this operator set.
const IR_VERSION: i64 = 8;

/// The name of the batch axis.
const BATCH: &str = "n";

/// A value of the graph: its name and its axes without the batch.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
}

/// An ONNX graph that is built node by node.
#[derive(Debug, Default)]
pub(super) struct GraphWriter {
    graph: GraphProto,
    names: BTreeSet<String>,
    /// The names of outputs, which nodes and constants must not take.
    reserved: BTreeSet<String>,
    /// The constants of parameters, by name and shape. A graph holds the weights of a network that it computes several
    /// times only once.
    parameters: BTreeMap<(String, Vec<usize>), String>,
    metadata: Vec<StringStringEntryProto>,
}

impl GraphWriter {
    /// An empty graph whose outputs will have these names. The names are reserved, since a server asks for outputs by
    /// name: a node or a constant with the name of an output gets another name.
    pub(super) fn new<'a>(outputs: impl IntoIterator<Item = &'a str>) -> Self {
        Self { reserved: outputs.into_iter().map(str::to_owned).collect(), ..Self::default() }
    }

    /// Adds an input to the graph: vectors have one axis, images three. Inputs are added before nodes, so that they
    /// keep their names.
    pub(super) fn input(&mut self, name: &str, shape: Shape) -> Value {
        let value = Value { name: self.interface_name(name), dims: axes(shape) };
        self.graph.input.push(info(&value));
        value
    }

    /// Adds a value to the outputs of the graph, under a name that was reserved.
    pub(super) fn output(&mut self, name: &str, value: &Value) {
        let named = Value { name: self.interface_name(name), dims: value.dims.clone() };
        self.push("Identity", &[&value.name], vec![], &named.name);
        self.graph.output.push(info(&named));
    }

    /// Adds an entry to the metadata of the file.
    pub(super) fn metadata(&mut self, key: &str, value: impl Into<String>) {
        self.metadata.push(StringStringEntryProto { key: key.to_owned(), value: value.into() });
    }

    pub(super) fn to_bytes(&self, name: &str) -> Vec<u8> {
        let mut graph = self.graph.clone();
        name.clone_into(&mut graph.name);
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "lesio".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            metadata_props: self.metadata.clone(),
        };
        model.encode_to_vec()
    }

    /// The name of an input or an output: unchanged, unless an earlier input or output has it.
    fn interface_name(&mut self, name: &str) -> String {
        if self.names.insert(name.to_owned()) { name.to_owned() } else { self.free(name) }
    }

    /// A name that is neither used nor reserved.
    fn free(&mut self, name: &str) -> String {
        let numbered = (2..).map(|k| format!("{name}_{k}"));
        let mut all = std::iter::once(name.to_owned()).chain(numbered);
        let free =
            all.find(|name| !self.names.contains(name) && !self.reserved.contains(name)).unwrap_or_default();
        self.names.insert(free.clone());
        free
    }

    fn push(&mut self, operator: &str, inputs: &[&str], attributes: Vec<AttributeProto>, output: &str) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: format!("{output}.{operator}"),
            op_type: operator.to_owned(),
            attribute: attributes,
            domain: String::new(),
        });
    }

    /// Adds an operation whose result has these axes.
    pub(super) fn op(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
        dims: Vec<usize>,
    ) -> Value {
        let name = self.free(name);
        self.push(operator, inputs, attributes, &name);
        Value { name, dims }
    }

    /// Adds a constant of floats.
    pub(super) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, dims, data_type::FLOAT, raw_data)
    }

    /// The constant of a parameter, which is added once.
    fn parameter(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let key = (name.to_owned(), dims.to_vec());
        if let Some(known) = self.parameters.get(&key) {
            return known.clone();
        }
        let constant = self.floats(name, dims, values);
        self.parameters.insert(key, constant.clone());
        constant
    }

    /// Adds a constant list of integers.
    pub(super) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, &[values.len()], data_type::INT64, raw_data)
    }

    fn constant(&mut self, name: &str, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let name = self.free(name);
        let dims = dims.iter().map(|&length| length as i64).collect();
        self.graph.initializer.push(TensorProto {
            name: name.clone(),
            dims,
            data_type,
            raw_data,
            ..TensorProto::default()
        });
        name
    }

    /// Adds `scale * x + shift`.
    pub(super) fn line(&mut self, name: &str, x: &Value, scale: f32, shift: f32) -> Value {
        let scale = self.floats(&format!("{name}.scale"), &[], &[scale]);
        let shift = self.floats(&format!("{name}.shift"), &[], &[shift]);
        let scaled = self.op("Mul", &format!("{name}.scaled"), &[&x.name, &scale], vec![], x.dims.clone());
        self.op("Add", name, &[&scaled.name, &shift], vec![], x.dims.clone())
    }

    /// Adds a reflection of images along some axes.
    pub(super) fn mirrored(&mut self, name: &str, x: &Value, axes: &[i64]) -> Value {
        let bounds = [("starts", -1), ("ends", -i64::MAX), ("steps", -1)];
        let [starts, ends, steps] =
            bounds.map(|(what, value)| self.integers(&format!("{name}.{what}"), &vec![value; axes.len()]));
        let axes = self.integers(&format!("{name}.axes"), axes);
        self.op("Slice", name, &[&x.name, &starts, &ends, &axes, &steps], vec![], x.dims.clone())
    }

    /// Adds the nodes of a network with one input; returns its outputs. All networks of a graph share their parameters.
    pub(super) fn network(
        &mut self,
        network: &Network,
        parameters: &ParameterSet,
        given: &[Value],
    ) -> Result<Vec<Value>, ExportError> {
        let mut given = given.iter();
        let mut values: Vec<Value> = Vec::new();
        for node in network.nodes() {
            let value = match node.operation() {
                Operation::Input => {
                    let missing = || ExportError::Missing { name: node.name().to_owned() };
                    given.next().cloned().ok_or_else(missing)?
                }
                Operation::Layer { layer, inputs } => {
                    let inputs: Vec<Value> =
                        inputs.iter().filter_map(|id| values.get(id.index()).cloned()).collect();
                    Writing { graph: &mut *self, parameters, name: node.name() }.layer(
                        layer,
                        inputs,
                        node.shape(),
                    )?
                }
                other => {
                    return Err(ExportError::Layer {
                        name: node.name().to_owned(),
                        layer: format!("{other:?}"),
                    });
                }
            };
            values.push(value);
        }
        Ok(network.outputs().iter().filter_map(|id| values.get(id.index()).cloned()).collect())
    }
}

/// A layer that is being written into a graph.
struct Writing<'a> {
    graph: &'a mut GraphWriter,
    parameters: &'a ParameterSet,
    name: &'a str,
}

impl Writing<'_> {
    fn layer(&mut self, layer: &Layer, inputs: Vec<Value>, shape: Shape) -> Result<Value, ExportError> {
        let name = self.name.to_owned();
        let image = vec![shape.channels, shape.height, shape.width];
        let Some(x) = inputs.first().cloned() else {
            return Err(ExportError::Layer { name, layer: "without inputs".to_owned() });
        };
        Ok(match layer {
            Layer::Convolution(c) => self.convolution("Conv", *c, &x, image)?,
            Layer::TransposedConvolution(c) => self.convolution("ConvTranspose", *c, &x, image)?,
            Layer::Linear { .. } => {
                let axis = vec![integer("axis", 1)];
                let length = x.dims.iter().product();
                let flat = match x.dims.len() {
                    1 => x,
                    _ => self.graph.op("Flatten", &format!("{name}.flat"), &[&x.name], axis, vec![length]),
                };
                let mut names = vec![flat.name, self.parameter("weight")?];
                names.extend(self.optional("bias"));
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.graph.op("Gemm", &name, &names, vec![integer("transB", 1)], vec![shape.channels])
            }
            Layer::GroupNormalization { groups, epsilon } => {
                self.group_normalization(*groups, *epsilon, &x, image)?
            }
            Layer::BatchNormalization { epsilon, .. } => {
                let mut names = vec![x.name];
                for what in ["weight", "bias", "running_mean", "running_variance"] {
                    names.push(self.parameter(what)?);
                }
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.graph.op("BatchNormalization", &name, &names, vec![float("epsilon", *epsilon)], x.dims)
            }
            Layer::Activation(activation) => self.activation(*activation, &x)?,
            Layer::MaxPool { window } => self.pool("MaxPool", *window, &x, image),
            Layer::AveragePool { window } => self.pool("AveragePool", *window, &x, image),
            Layer::UpsampleNearest { factor } => {
                let how = [text("mode", "nearest"), text("nearest_mode", "floor")];
                self.enlarge(*factor, &x, image, "asymmetric", how)
            }
            Layer::UpsampleBilinear { factor } => {
                self.enlarge(*factor, &x, image, "half_pixel", [text("mode", "linear")])
            }
            Layer::UpsampleBilinearCorners { factor } => {
                self.enlarge(*factor, &x, image, "align_corners", [text("mode", "linear")])
            }
            Layer::Concatenate => {
                let inputs: Vec<Value> = inputs.iter().map(|value| self.image(value)).collect();
                let names: Vec<&str> = inputs.iter().map(|value| value.name.as_str()).collect();
                self.graph.op("Concat", &name, &names, vec![integer("axis", 1)], image)
            }
            Layer::Add => {
                let inputs: Vec<Value> = inputs.iter().map(|value| self.image(value)).collect();
                let names: Vec<&str> = inputs.iter().map(|value| value.name.as_str()).collect();
                self.graph.op("Sum", &name, &names, vec![], image)
            }
            Layer::Multiply => {
                let inputs: Vec<Value> = inputs.iter().map(|value| self.image(value)).collect();
                let names: Vec<&str> = inputs.iter().map(|value| value.name.as_str()).collect();
                self.graph.op("Mul", &name, &names, vec![], image)
            }
            Layer::MaxPoolStrided { window, stride, padding } => {
                let x = self.image(&x);
                let pair = |pair: [usize; 2]| pair.map(|length| length as i64).to_vec();
                let attributes = vec![
                    integers("kernel_shape", pair(*window)),
                    integers("strides", pair(*stride)),
                    integers("pads", [pair(*padding), pair(*padding)].concat()),
                ];
                self.graph.op("MaxPool", &name, &[&x.name], attributes, image)
            }
            Layer::Reshape(shape) => {
                let dims = axes(*shape);
                self.reshaped(&x, dims)
            }
            other => return Err(ExportError::Layer { name, layer: format!("{other:?}") }),
        })
    }

    fn convolution(
        &mut self,
        operator: &str,
        c: Convolution,
        x: &Value,
        image: Vec<usize>,
    ) -> Result<Value, ExportError> {
        let x = self.image(x);
        let mut names = vec![x.name, self.parameter("weight")?];
        names.extend(self.optional("bias"));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (kernel, stride, padding) = (c.kernel as i64, c.stride as i64, c.padding as i64);
        let attributes = vec![
            integers("kernel_shape", vec![kernel; 2]),
            integers("strides", vec![stride; 2]),
            integers("pads", vec![padding; 4]),
        ];
        Ok(self.graph.op(operator, self.name, &names, attributes, image))
    }

    /// Adds the nodes that exporters usually write: each group is reshaped to a channel, normalized, and reshaped
    /// back.
    fn group_normalization(
        &mut self,
        groups: usize,
        epsilon: f32,
        x: &Value,
        image: Vec<usize>,
    ) -> Result<Value, ExportError> {
        let name = self.name;
        let x = self.image(x);
        let values = image.iter().product::<usize>() / groups.max(1);
        let grouped = self.reshaped(&x, vec![groups, values]);
        let ones = self.graph.floats(&format!("{name}.ones"), &[groups], &vec![1.0; groups]);
        let zeros = self.graph.floats(&format!("{name}.zeros"), &[groups], &vec![0.0; groups]);
        let normal = self.graph.op(
            "InstanceNormalization",
            &format!("{name}.normal"),
            &[&grouped.name, &ones, &zeros],
            vec![float("epsilon", epsilon)],
            vec![groups, values],
        );
        let back = self.reshaped(&normal, image.clone());
        let channels = [image[0], 1, 1];
        let scale = self.shaped_parameter("weight", &channels)?;
        let scaled =
            self.graph.op("Mul", &format!("{name}.scaled"), &[&back.name, &scale], vec![], image.clone());
        let shift = self.shaped_parameter("bias", &channels)?;
        Ok(self.graph.op("Add", name, &[&scaled.name, &shift], vec![], image))
    }

    fn activation(&mut self, activation: Activation, x: &Value) -> Result<Value, ExportError> {
        let (name, dims) = (self.name, x.dims.clone());
        let part = |part: &str| format!("{name}.{part}");
        Ok(match activation {
            Activation::LeakyRelu { slope: 0.0 } => self.graph.op("Relu", name, &[&x.name], vec![], dims),
            Activation::LeakyRelu { slope } => {
                self.graph.op("LeakyRelu", name, &[&x.name], vec![float("alpha", slope)], dims)
            }
            Activation::Sigmoid => self.graph.op("Sigmoid", name, &[&x.name], vec![], dims),
            Activation::Tanh => self.graph.op("Tanh", name, &[&x.name], vec![], dims),
            Activation::Silu => {
                let gate = self.graph.op("Sigmoid", &part("gate"), &[&x.name], vec![], dims.clone());
                self.graph.op("Mul", name, &[&x.name, &gate.name], vec![], dims)
            }
            Activation::Gelu => {
                let inner = self.graph.line(&part("inner"), x, std::f32::consts::FRAC_1_SQRT_2, 0.0);
                let error = self.graph.op("Erf", &part("erf"), &[&inner.name], vec![], dims.clone());
                let gate = self.graph.line(&part("gate"), &error, 0.5, 0.5);
                self.graph.op("Mul", name, &[&x.name, &gate.name], vec![], dims)
            }
            Activation::GeluTanh => {
                let three = self.graph.floats(&part("three"), &[], &[3.0]);
                let cube = self.graph.op("Pow", &part("cube"), &[&x.name, &three], vec![], dims.clone());
                let cube = self.graph.line(&part("part"), &cube, 0.044_715, 0.0);
                let sum = self.graph.op("Add", &part("sum"), &[&x.name, &cube.name], vec![], dims.clone());
                let inner = self.graph.line(&part("inner"), &sum, 0.797_884_6, 0.0);
                let tanh = self.graph.op("Tanh", &part("tanh"), &[&inner.name], vec![], dims.clone());
                let gate = self.graph.line(&part("gate"), &tanh, 0.5, 0.5);
                self.graph.op("Mul", name, &[&x.name, &gate.name], vec![], dims)
            }
            other => return Err(ExportError::Layer { name: name.to_owned(), layer: format!("{other:?}") }),
        })
    }

    fn pool(&mut self, operator: &str, window: [usize; 2], x: &Value, image: Vec<usize>) -> Value {
        let x = self.image(x);
        let window: Vec<i64> = window.iter().map(|&length| length as i64).collect();
        let attributes = vec![integers("kernel_shape", window.clone()), integers("strides", window)];
        self.graph.op(operator, self.name, &[&x.name], attributes, image)
    }

    fn enlarge(
        &mut self,
        factor: usize,
        x: &Value,
        image: Vec<usize>,
        place: &str,
        how: impl IntoIterator<Item = AttributeProto>,
    ) -> Value {
        let x = self.image(x);
        let factor = factor as f32;
        let factors = self.graph.floats(&format!("{}.factors", self.name), &[4], &[1.0, 1.0, factor, factor]);
        let attributes = how.into_iter().chain([text("coordinate_transformation_mode", place)]).collect();
        self.graph.op("Resize", self.name, &[&x.name, "", &factors], attributes, image)
    }

    /// A value reshaped to the four axes of images.
    fn image(&mut self, value: &Value) -> Value {
        match value.dims[..] {
            [_, _, _] => value.clone(),
            _ => {
                let channels = value.dims.iter().product();
                self.reshaped(value, vec![channels, 1, 1])
            }
        }
    }

    fn reshaped(&mut self, value: &Value, dims: Vec<usize>) -> Value {
        let lengths: Vec<i64> = std::iter::once(0).chain(dims.iter().map(|&length| length as i64)).collect();
        let shape = self.graph.integers(&format!("{}.shape", self.name), &lengths);
        self.graph.op("Reshape", &format!("{}.reshaped", self.name), &[&value.name, &shape], vec![], dims)
    }

    fn parameter(&mut self, what: &str) -> Result<String, ExportError> {
        self.optional(what).ok_or_else(|| ExportError::Missing { name: format!("{}.{what}", self.name) })
    }

    fn optional(&mut self, what: &str) -> Option<String> {
        let name = format!("{}.{what}", self.name);
        let parameter = self.parameters.get(&name)?;
        Some(self.graph.parameter(&name, parameter.shape(), parameter.values()))
    }

    /// A parameter in another shape.
    fn shaped_parameter(&mut self, what: &str, dims: &[usize]) -> Result<String, ExportError> {
        let name = format!("{}.{what}", self.name);
        match self.parameters.get(&name) {
            Some(parameter) => Ok(self.graph.parameter(&name, dims, parameter.values())),
            None => Err(ExportError::Missing { name }),
        }
    }
}

/// The axes of a value: one for a vector, three for an image.
fn axes(shape: Shape) -> Vec<usize> {
    match shape.pixels() {
        1 => vec![shape.channels],
        _ => vec![shape.channels, shape.height, shape.width],
    }
}

fn info(value: &Value) -> ValueInfoProto {
    let known = |length: &usize| DimensionProto { value: Some(*length as i64), parameter: None };
    let batch = DimensionProto { value: None, parameter: Some(BATCH.to_owned()) };
    let dim = std::iter::once(batch).chain(value.dims.iter().map(known)).collect();
    let tensor = TensorTypeProto { element: data_type::FLOAT, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: value.name.clone(), kind: Some(TypeProto { tensor: Some(tensor) }) }
}

fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i: value, kind: attribute::INT, ..AttributeProto::default() }
}

fn integers(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto { name: name.to_owned(), ints: values, kind: attribute::INTS, ..AttributeProto::default() }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), f: value, kind: attribute::FLOAT, ..AttributeProto::default() }
}

fn text(name: &str, value: &str) -> AttributeProto {
    let s = value.as_bytes().to_vec();
    AttributeProto { name: name.to_owned(), s, kind: attribute::STRING, ..AttributeProto::default() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lesio_nn::{Bias, Initialization, NetworkBuilder};

    use super::*;

    /// The kinds that serde knows: "unknown variant `none`, expected one of `convolution`, ...".
    fn kinds<T: std::fmt::Debug>(read: serde_json::Result<T>) -> BTreeSet<String> {
        read.unwrap_err().to_string().split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    /// The kind of a layer or an activation: `"add"`, or `{"linear": ...}`.
    fn kind(value: serde_json::Value) -> String {
        let name = value.as_str().map(str::to_owned);
        name.unwrap_or_else(|| value.as_object().unwrap().keys().next().unwrap().clone())
    }

    /// Layers and activations are of another crate, where they are `#[non_exhaustive]`: the compiler does not name those
    /// that are missing here.
    #[test]
    fn layers_and_activations_of_every_kind_are_written() {
        let (window, shape) = ([2, 2], Shape::new(2, 4, 4));
        let activations = [
            Activation::RELU,
            Activation::Silu,
            Activation::Sigmoid,
            Activation::Tanh,
            Activation::Gelu,
            Activation::GeluTanh,
        ];
        let layers = [
            Layer::Convolution(Convolution::new(3, 3)),
            Layer::TransposedConvolution(Convolution::new(3, 3)),
            Layer::Linear { features: 3, bias: Bias::Learned },
            Layer::GroupNormalization { groups: 2, epsilon: 1e-5 },
            Layer::BatchNormalization { epsilon: 1e-5, momentum: 0.1 },
            Layer::MaxPool { window },
            Layer::MaxPoolStrided { window, stride: [1, 1], padding: [0, 0] },
            Layer::AveragePool { window },
            Layer::UpsampleNearest { factor: 2 },
            Layer::UpsampleBilinear { factor: 2 },
            Layer::UpsampleBilinearCorners { factor: 2 },
            Layer::Concatenate,
            Layer::Add,
            Layer::Multiply,
            Layer::Reshape(Shape::new(4, 4, 2)),
        ];
        let (mut written, mut activated) = (BTreeSet::new(), BTreeSet::new());
        for layer in layers.into_iter().chain(activations.map(Layer::Activation)) {
            let mut net = NetworkBuilder::new();
            let mut inputs = vec![net.input("x", shape)];
            if matches!(layer, Layer::Concatenate | Layer::Add | Layer::Multiply) {
                inputs.push(net.input("z", shape));
            }
            let out = net.layer("y", layer.clone(), &inputs).unwrap();
            let network = net.finish(&[out]).unwrap();
            let parameters = ParameterSet::initialize(&network, Initialization::HeNormal, 1);
            let mut graph = GraphWriter::new(["out"]);
            let given = [graph.input("x", shape), graph.input("z", shape)];
            graph.network(&network, &parameters, &given[..inputs.len()]).unwrap();
            written.insert(kind(serde_json::to_value(&layer).unwrap()));
            if let Layer::Activation(activation) = layer {
                activated.insert(kind(serde_json::to_value(activation).unwrap()));
            }
        }
        assert_eq!(written, kinds(serde_json::from_str::<Layer>("\"none\"")));
        assert_eq!(activated, kinds(serde_json::from_str::<Activation>("\"none\"")));
    }
}
