//! Conversion of the nodes of an ONNX graph to the intermediate graph.

mod arrange;
mod convolution;
mod elementwise;
mod linear;
mod normalization;
mod resampling;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use lesio_nn::{LARGEST_PARAMETERS, LARGEST_VALUES, Layer, Shape};

use crate::args::{Args, Computed, Value};
use crate::error::{Fault, NodeName, OnnxError, unsupported};
use crate::fold::{constant, fold};
use crate::ir::{Graph, Id, Op};
use crate::model::{Node, OnnxModel};
use crate::proto::data_type;
use crate::tensor::{Size, count};

/// The operator sets that lesio reads. Another one may define an operator in another way.
const OPSETS: RangeInclusive<i64> = 9..=24;

/// The computed values of a model.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub(crate) graph: Graph,
    pub(crate) values: BTreeMap<String, Value>,
}

/// Converts the nodes that the `wanted` tensors need. `shapes` are the shapes of inputs that the model leaves open.
pub(crate) fn lower(
    model: &OnnxModel,
    wanted: &[&str],
    shapes: &BTreeMap<String, Shape>,
) -> Result<Lowered, OnnxError> {
    let order = order(model, wanted)?;
    let mut lowering = Lowering {
        graph: Graph::default(),
        values: BTreeMap::new(),
        batch: Size::BATCH,
        origin: Arc::new(NodeName::default()),
        weights: 0,
    };
    lowering.inputs(model, shapes)?;
    for (name, tensor) in &model.constants {
        lowering.values.insert(name.clone(), Value::Constant(tensor.clone()));
    }
    for index in order {
        lowering.node(&model.nodes[index])?;
    }
    Ok(Lowered { graph: lowering.graph, values: lowering.values })
}

/// The nodes that the `wanted` tensors need, each after the nodes that it depends on.
fn order(model: &OnnxModel, wanted: &[&str]) -> Result<Vec<usize>, OnnxError> {
    let mut producer: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, node) in model.nodes.iter().enumerate() {
        producer
            .extend(node.outputs.iter().filter(|name| !name.is_empty()).map(|name| (name.as_str(), index)));
    }
    let known: BTreeSet<&str> = model.constants.keys().map(String::as_str).chain(model.inputs()).collect();
    let mut order = Vec::new();
    // 0: not visited yet, 1: its inputs are being visited, 2: done.
    let mut state = vec![0u8; model.nodes.len()];
    let mut stack: Vec<(usize, usize)> = Vec::new();
    for &name in wanted {
        match producer.get(name) {
            Some(&index) if state[index] == 0 => {
                state[index] = 1;
                stack.push((index, 0));
            }
            Some(_) => {}
            None if known.contains(name) => {}
            None => {
                let known = producer.keys().map(|&name| name.to_owned()).collect();
                return Err(OnnxError::Unknown { name: name.to_owned(), what: "there are", known });
            }
        }
        while let Some((index, next)) = stack.pop() {
            let node = &model.nodes[index];
            let Some(input) = node.inputs.get(next) else {
                state[index] = 2;
                order.push(index);
                continue;
            };
            stack.push((index, next + 1));
            match producer.get(input.as_str()) {
                Some(&before) if state[before] == 0 => {
                    state[before] = 1;
                    stack.push((before, 0));
                }
                Some(&before) if state[before] == 1 => {
                    let reason = format!("it reads {input:?}, which depends on it");
                    return Err(OnnxError::Invalid { node: node.name.clone(), reason });
                }
                None if !input.is_empty() && !known.contains(input.as_str()) => {
                    let reason = format!("it reads {input:?}, which nothing makes");
                    return Err(OnnxError::Invalid { node: node.name.clone(), reason });
                }
                _ => {}
            }
        }
    }
    Ok(order)
}

pub(crate) struct Lowering {
    graph: Graph,
    values: BTreeMap<String, Value>,
    /// The batch size in shapes: a number if the model fixes it, otherwise symbolic.
    batch: Size,
    /// The ONNX node that is being converted.
    origin: Arc<NodeName>,
    /// The number of weights of all layers so far. It is counted because many nodes of a file may share one tensor.
    weights: u64,
}

impl Lowering {
    fn inputs(&mut self, model: &OnnxModel, shapes: &BTreeMap<String, Shape>) -> Result<(), OnnxError> {
        for input in &model.inputs {
            let wrong = |reason: String| OnnxError::Tensor { name: input.name.clone(), reason };
            if ![data_type::FLOAT, data_type::DOUBLE].contains(&input.element) {
                let name = data_type::name(input.element);
                return Err(wrong(format!("is an input of {name}, expected floats of 32 bits")));
            }
            let given = shapes.get(&input.name).copied();
            let (batch, dims) = match (&input.dims, given) {
                (Some(dims), given) => {
                    let Some((batch, dims)) = dims.split_first() else {
                        return Err(wrong("is an input without axes".to_owned()));
                    };
                    let own = given.map(|shape| [shape.channels, shape.height, shape.width]);
                    let length = |(axis, length): (usize, &Option<usize>)| match (*length, own) {
                        (Some(length), Some(own)) if dims.len() == 3 && own[axis] != length => {
                            Err(wrong(format!(
                                "has {length} as length of axis {}, not {}: expected [n, channels, rows, columns]",
                                axis + 1,
                                own[axis]
                            )))
                        }
                        (Some(length), _) => Ok(length),
                        (None, Some(own)) if dims.len() == 3 => Ok(own[axis]),
                        (None, Some([1, rows, columns])) if dims.len() == 2 => Ok([rows, columns][axis]),
                        (None, Some(own)) if dims.len() == 1 => Ok(own.iter().product()),
                        _ => Err(wrong(format!(
                            "does not say the length of axis {}: state its size",
                            axis + 1
                        ))),
                    };
                    (*batch, dims.iter().enumerate().map(length).collect::<Result<Vec<_>, _>>()?)
                }
                (None, Some(shape)) => (None, vec![shape.channels, shape.height, shape.width]),
                (None, None) => return Err(wrong("has no shape: state its size".to_owned())),
            };
            if let Some(batch) = batch {
                self.batch = Size::known(i64::try_from(batch).unwrap_or(i64::MAX));
            }
            // A sample of a stated size may be read as a vector, or without its axis of channels.
            let shape = match given {
                Some(size) if dims.len() != 3 => {
                    if count(&dims) != Some(size.len()) {
                        return Err(wrong(format!(
                            "has the axes [n, {dims:?}], not those of samples {size}"
                        )));
                    }
                    shape_of(&[size.channels, size.height, size.width])
                }
                _ => shape_of(&dims),
            };
            let shape = shape.ok_or_else(|| wrong(format!("has the shape {dims:?}")))?;
            self.origin =
                Arc::new(NodeName { operator: "Input".to_owned(), opset: 0, name: input.name.clone() });
            let id = self.push(Op::Input, vec![], shape);
            self.values.insert(input.name.clone(), Value::Computed(Computed { id, dims }));
        }
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<(), OnnxError> {
        self.origin = Arc::new(node.name.clone());
        let values = std::mem::take(&mut self.values);
        let inputs = node.inputs.iter().map(|name| if name.is_empty() { None } else { values.get(name) });
        let args = Args { node, inputs: inputs.collect() };
        let made = self.operator(&args);
        self.values = values;
        let made = made.map_err(|fault| fault.at(node.name.clone()))?;
        for (name, value) in node.outputs.iter().zip(made) {
            if !name.is_empty() {
                self.values.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    fn operator(&mut self, args: &Args<'_>) -> Result<Vec<Value>, Fault> {
        if !args.node.is_standard {
            return unsupported("it is no operator of ONNX itself");
        }
        if !OPSETS.contains(&args.opset()) {
            return unsupported(format!("operator sets {} to {} are read", OPSETS.start(), OPSETS.end()));
        }
        if args.operator() == "Constant" {
            return Ok(vec![Value::Constant(constant(args)?)]);
        }
        if args.operator() == "ConstantOfShape"
            && let Some(filled) = self.filled(args)?
        {
            return Ok(vec![Value::Computed(filled)]);
        }
        let is_random = matches!(args.operator(), "RandomNormal" | "RandomNormalLike");
        if args.is_constant()
            && !is_random
            && let Some(made) = fold(args)?
        {
            return Ok(made.into_iter().map(Value::Constant).collect());
        }
        match args.operator() {
            "Split" => self.split(args),
            _ => Ok(vec![self.one(args)?]),
        }
    }

    /// Converts an operator of which one output is used.
    fn one(&mut self, args: &Args<'_>) -> Result<Value, Fault> {
        let made = match args.operator() {
            "Shape" => return self.shape(args).map(Value::Constant),
            "CastLike" => return self.cast_like(args),
            "Size" => return unsupported("it counts the values of a batch"),
            "Identity" => args.computed(0)?.clone(),
            "Dropout" => self.dropout(args)?,
            "Cast" => self.cast(args)?,
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(args)?,
            "Transpose" => self.transpose(args)?,
            "Slice" => self.slice(args)?,
            "Gather" => self.gather(args)?,
            "Concat" => self.concat(args)?,
            "Expand" => self.expand(args)?,
            "Pad" => self.pad(args)?,
            "Conv" => self.convolution(args)?,
            "ConvTranspose" => self.transposed_convolution(args)?,
            "Gemm" => self.gemm(args)?,
            "MatMul" => self.mat_mul(args)?,
            "BatchNormalization" => self.batch_normalization(args)?,
            "InstanceNormalization" => self.instance_normalization(args)?,
            "GroupNormalization" => self.group_normalization(args)?,
            "MaxPool" | "AveragePool" => self.pool(args)?,
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(args)?,
            "ReduceMean" | "ReduceMax" => self.reduce(args)?,
            "Resize" | "Upsample" => self.resize(args)?,
            "RandomNormalLike" | "RandomNormal" => self.random(args)?,
            "Add" | "Sub" | "Mul" | "Div" | "Sum" => self.arithmetic(args)?,
            "Pow" => self.power(args)?,
            "Clip" | "Max" | "Min" => self.clip(args)?,
            _ => self.function(args)?,
        };
        Ok(Value::Computed(made))
    }

    pub(crate) fn push(&mut self, op: Op, inputs: Vec<Id>, shape: Shape) -> Id {
        let origin = Arc::clone(&self.origin);
        self.graph.push(op, inputs, shape, &origin)
    }

    /// Adds a node whose shape follows from its axes, channels first.
    fn value(&mut self, op: Op, inputs: Vec<Id>, dims: Vec<usize>) -> Result<Computed, Fault> {
        if let Op::Convolution(_, weights) | Op::TransposedConvolution(_, weights) | Op::Linear(weights) = &op
        {
            self.weights += weights.weight.len() as u64;
            if self.weights > LARGEST_PARAMETERS {
                let (what, found, limit) = ("weights in layers", self.weights, LARGEST_PARAMETERS);
                return Err(OnnxError::Large { what, found, limit }.into());
            }
        }
        let shape =
            shape_of(&dims).ok_or_else(|| Fault::Invalid(format!("its result has the shape {dims:?}")))?;
        let id = self.push(op, inputs, shape);
        Ok(Computed { id, dims })
    }

    /// The node of a value, reshaped to the shape that follows from its axes.
    fn shaped(&mut self, value: &Computed) -> Result<(Id, Shape), Fault> {
        let shape = shape_of(&value.dims);
        let shape = shape.ok_or_else(|| Fault::Invalid(format!("a value has the shape {:?}", value.dims)))?;
        if self.graph.shape(value.id) == shape {
            return Ok((value.id, shape));
        }
        Ok((self.push(Op::Layer(Layer::Reshape(shape)), vec![value.id], shape), shape))
    }

    /// The node of an image `[n, channel, row, column]`.
    fn image(&mut self, value: &Computed) -> Result<(Id, Shape), Fault> {
        if value.dims.len() != 3 {
            let rank = value.dims.len() + 1;
            return unsupported(format!(
                "its input has {rank} axes, expected the 4 of images [n, channel, row, column]"
            ));
        }
        self.shaped(value)
    }
}

/// The shape of a sample with these axes. Three axes are an image; otherwise the first axis is the channels, and all
/// other axes form one row.
///
/// `None` if the shape is empty or has more values than a network may have.
pub(crate) fn shape_of(dims: &[usize]) -> Option<Shape> {
    if !(1..=LARGEST_VALUES).contains(&(count(dims)? as u64)) {
        return None;
    }
    Some(match *dims {
        [channels, height, width] => Shape::new(channels, height, width),
        [] => Shape::vector(1),
        [channels, ref rest @ ..] => Shape::new(channels, 1, count(rest)?),
    })
}
