//! Inputs and attributes of a node, which differ between opsets.

use crate::error::{Fault, invalid, unsupported};
use crate::ir::Id;
use crate::model::Node;
use crate::proto::{AttributeProto, attribute};
use crate::tensor::{Size, Tensor};
use crate::views;

/// A value of the graph.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A constant, known before the network runs.
    Constant(Tensor),
    /// A value computed from the network's input.
    Computed(Computed),
}

/// A value that the network computes: a node of the intermediate graph, whose values in row-major order form a tensor
/// with the axes `dims`, without the batch.
#[derive(Clone, Debug)]
pub(crate) struct Computed {
    pub(crate) id: Id,
    pub(crate) dims: Vec<usize>,
}

/// The part that a slice keeps along one axis.
struct Cut {
    axis: usize,
    start: i64,
    end: i64,
    step: i64,
}

/// A node with its inputs; an optional input that is left out is `None`.
pub(crate) struct Args<'a> {
    pub(crate) node: &'a Node,
    pub(crate) inputs: Vec<Option<&'a Value>>,
}

impl<'a> Args<'a> {
    pub(crate) fn operator(&self) -> &str {
        &self.node.name.operator
    }

    pub(crate) fn opset(&self) -> i64 {
        self.node.name.opset
    }

    /// Number of inputs, including optional ones that are left out in between.
    pub(crate) fn count(&self) -> usize {
        self.inputs.len()
    }

    pub(crate) fn input(&self, index: usize) -> Option<&'a Value> {
        self.inputs.get(index).copied().flatten()
    }

    /// Whether all inputs are constants.
    pub(crate) fn is_constant(&self) -> bool {
        self.inputs.iter().flatten().all(|value| matches!(value, Value::Constant(_)))
    }

    pub(crate) fn constant(&self, index: usize) -> Result<&'a Tensor, Fault> {
        match self.input(index) {
            Some(Value::Constant(tensor)) => Ok(tensor),
            Some(Value::Computed(_)) => {
                unsupported(format!("input {index} is computed, expected a constant"))
            }
            None => invalid(format!("input {index} is missing")),
        }
    }

    pub(crate) fn computed(&self, index: usize) -> Result<&'a Computed, Fault> {
        match self.input(index) {
            Some(Value::Computed(computed)) => Ok(computed),
            Some(Value::Constant(_)) => unsupported(format!("input {index} is a constant")),
            None => invalid(format!("input {index} is missing")),
        }
    }

    /// A constant of floats.
    pub(crate) fn floats(&self, index: usize) -> Result<(&'a [usize], &'a [f32]), Fault> {
        let tensor = self.constant(index)?;
        match tensor.as_floats() {
            Some(values) => Ok((&tensor.dims, values)),
            None => invalid(format!("input {index} holds integers, expected floats")),
        }
    }

    /// An optional vector of floats with one value for each channel.
    pub(crate) fn channel_floats(&self, index: usize, channels: usize) -> Result<Option<Vec<f32>>, Fault> {
        if self.input(index).is_none() {
            return Ok(None);
        }
        let (dims, values) = self.floats(index)?;
        match values.len() == channels {
            true => Ok(Some(values.to_vec())),
            false => invalid(format!("input {index} has shape {dims:?}, expected [{channels}]")),
        }
    }

    /// A constant of integers.
    pub(crate) fn sizes(&self, index: usize) -> Result<&'a [Size], Fault> {
        match self.constant(index)?.as_sizes() {
            Some(sizes) => Ok(sizes),
            None => invalid(format!("input {index} holds floats, expected integers")),
        }
    }

    /// A constant of integers that do not depend on the batch size.
    pub(crate) fn integers(&self, index: usize) -> Result<Vec<i64>, Fault> {
        let known = |size: &Size| match size.value() {
            Some(value) => Ok(value),
            None => unsupported(format!("input {index} depends on the batch")),
        };
        self.sizes(index)?.iter().map(known).collect()
    }

    pub(crate) fn integer(&self, index: usize) -> Result<i64, Fault> {
        match self.integers(index)?[..] {
            [value] => Ok(value),
            _ => invalid(format!("input {index} is not one number")),
        }
    }

    pub(crate) fn attribute(&self, name: &str, kind: i32) -> Option<&'a AttributeProto> {
        self.node.attribute(name, kind)
    }

    pub(crate) fn integer_attribute(&self, name: &str, default: i64) -> i64 {
        self.attribute(name, attribute::INT).map_or(default, |attribute| attribute.i)
    }

    pub(crate) fn required_integer(&self, name: &str) -> Result<i64, Fault> {
        match self.attribute(name, attribute::INT) {
            Some(attribute) => Ok(attribute.i),
            None => invalid(format!("attribute {name} is missing")),
        }
    }

    pub(crate) fn float_attribute(&self, name: &str, default: f32) -> f32 {
        self.attribute(name, attribute::FLOAT).map_or(default, |attribute| attribute.f)
    }

    pub(crate) fn integers_attribute(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name, attribute::INTS).map(|attribute| &attribute.ints[..])
    }

    pub(crate) fn text_attribute(&self, name: &str, default: &'a str) -> &'a str {
        let text = self.attribute(name, attribute::STRING).map(|attribute| std::str::from_utf8(&attribute.s));
        match text {
            None => default,
            Some(text) => text.unwrap_or("?"),
        }
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Tensor>, Fault> {
        match self.attribute(name, attribute::TENSOR).and_then(|attribute| attribute.t.as_ref()) {
            Some(proto) if proto.data_location == 1 => unsupported("a constant in another file"),
            Some(proto) => Ok(Some(Tensor::from_proto(proto, None)?)),
            None => Ok(None),
        }
    }

    /// Integers that are an attribute before an opset, and an input from this opset on.
    fn integers_since(&self, opset: i64, name: &str, index: usize) -> Result<Option<Vec<i64>>, Fault> {
        if self.opset() < opset {
            return Ok(self.integers_attribute(name).map(<[i64]>::to_vec));
        }
        self.input(index).map(|_| self.integers(index)).transpose()
    }

    /// The result of `Shape`: all sizes, or from opset 15 on a range of them.
    pub(crate) fn shape_of(&self, sizes: Vec<Size>) -> Result<Tensor, Fault> {
        let start = self.integer_attribute("start", 0);
        let end = self.integer_attribute("end", i64::MAX);
        let kept = views::slice_positions(sizes.len(), start, end, 1)?;
        let sizes: Vec<Size> = kept.into_iter().map(|k| sizes[k]).collect();
        Ok(Tensor::sizes(vec![sizes.len()], sizes))
    }

    /// The order of axes of `Transpose`; the reversed order by default.
    pub(crate) fn order(&self, rank: usize) -> Result<Vec<usize>, Fault> {
        let Some(order) = self.integers_attribute("perm") else { return Ok((0..rank).rev().collect()) };
        let order: Vec<usize> =
            order.iter().map(|&axis| views::axis(axis, rank)).collect::<Result<_, _>>()?;
        views::check_order(&order, rank)?;
        Ok(order)
    }

    /// Positions along an axis, from an input.
    pub(crate) fn positions(&self, index: usize, length: usize) -> Result<Vec<usize>, Fault> {
        let position = |position: i64| match views::axis(position, length) {
            Ok(position) => Ok(position),
            Err(_) => invalid(format!("position {position} of an axis of length {length}")),
        };
        self.integers(index)?.into_iter().map(position).collect()
    }

    /// The positions that `Slice` keeps along each axis that it names, for a constant.
    pub(crate) fn slices(&self, dims: &[usize]) -> Result<Vec<(usize, Vec<usize>)>, Fault> {
        let cut =
            |cut: Cut| Ok((cut.axis, views::slice_positions(dims[cut.axis], cut.start, cut.end, cut.step)?));
        self.cuts(dims.len())?.into_iter().map(cut).collect()
    }

    /// The positions that `Slice` keeps along each axis that it names, for a computed value; no axis is the batch.
    pub(crate) fn computed_slices(&self, value: &Computed) -> Result<Vec<(usize, Vec<usize>)>, Fault> {
        let mut slices = Vec::new();
        for Cut { axis, start, end, step } in self.cuts(value.dims.len() + 1)? {
            match axis.checked_sub(1) {
                Some(axis) => {
                    slices.push((axis, views::slice_positions(value.dims[axis], start, end, step)?));
                }
                None if start == 0 && end >= i64::from(i32::MAX) && step == 1 => {}
                None => return unsupported("it cuts the batch"),
            }
        }
        Ok(slices)
    }

    fn cuts(&self, rank: usize) -> Result<Vec<Cut>, Fault> {
        let (starts, ends, axes, steps) = if self.opset() < 10 {
            let given = |name| self.integers_attribute(name).map(<[i64]>::to_vec);
            (given("starts"), given("ends"), given("axes"), None)
        } else {
            let given = |index| self.input(index).map(|_| self.integers(index)).transpose();
            (given(1)?, given(2)?, given(3)?, given(4)?)
        };
        let (Some(starts), Some(ends)) = (starts, ends) else { return invalid("it has no starts or ends") };
        let count = starts.len();
        let axes = axes.unwrap_or_else(|| (0..).take(count).collect());
        let steps = steps.unwrap_or_else(|| vec![1; count]);
        if [ends.len(), axes.len(), steps.len()] != [count; 3] {
            return invalid("its starts, ends, axes and steps are not equally many");
        }
        let cut = |k: usize| {
            Ok(Cut { axis: views::axis(axes[k], rank)?, start: starts[k], end: ends[k], step: steps[k] })
        };
        (0..count).map(cut).collect()
    }

    /// The positions of each part of `Split` along an axis of this length.
    pub(crate) fn parts(&self, length: usize) -> Result<Vec<Vec<usize>>, Fault> {
        views::check_axis(length)?;
        let outputs = self.node.outputs.len().max(1);
        let lengths = match self.integers_since(13, "split", 1)? {
            Some(lengths) => lengths,
            None => {
                // If the parts cannot be equal, the last one is smaller.
                let size = length.div_ceil(outputs);
                let size_of = |k: usize| size.min(length.saturating_sub(k * size)) as i64;
                (0..outputs).map(size_of).collect()
            }
        };
        let lengths: Option<Vec<usize>> =
            lengths.iter().map(|&length| usize::try_from(length).ok()).collect();
        let sum =
            |lengths: &Vec<usize>| lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length));
        match lengths.filter(|lengths| lengths.len() == outputs && sum(lengths) == Some(length)) {
            Some(lengths) => {
                let mut first = 0;
                let part = |length: usize| {
                    first += length;
                    (first - length..first).collect()
                };
                Ok(lengths.into_iter().map(part).collect())
            }
            None => invalid(format!("its parts do not add up to {length}")),
        }
    }

    /// The shape after `Reshape`, `Flatten`, `Squeeze` or `Unsqueeze`.
    pub(crate) fn new_shape(&self, from: &[Size]) -> Result<Vec<Size>, Fault> {
        let rank = from.len();
        match self.operator() {
            "Flatten" => {
                let axis = self.integer_attribute("axis", 1);
                let axis = if axis == rank as i64 { rank } else { views::axis(axis, rank)? };
                let length = |sizes: &[Size]| {
                    let length = product(sizes.iter().copied());
                    length.ok_or_else(|| Fault::Invalid("its shape is too large".to_owned()))
                };
                Ok(vec![length(&from[..axis])?, length(&from[axis..])?])
            }
            "Squeeze" => {
                let axes: Vec<usize> = match self.integers_since(13, "axes", 1)? {
                    Some(axes) => {
                        axes.into_iter().map(|axis| views::axis(axis, rank)).collect::<Result<_, _>>()?
                    }
                    None => (0..rank).filter(|&axis| from[axis] == Size::known(1)).collect(),
                };
                if let Some(&axis) = axes.iter().find(|&&axis| from[axis] != Size::known(1)) {
                    return invalid(format!("it takes axis {axis} away, whose length is not 1"));
                }
                Ok((0..rank).filter(|axis| !axes.contains(axis)).map(|axis| from[axis]).collect())
            }
            "Unsqueeze" => {
                let Some(axes) = self.integers_since(13, "axes", 1)? else {
                    return invalid("it has no axes");
                };
                let rank = rank + axes.len();
                let axes: Vec<usize> =
                    axes.into_iter().map(|a| views::axis(a, rank)).collect::<Result<_, _>>()?;
                let mut rest = from.iter().copied();
                let length = |axis| if axes.contains(&axis) { Some(Size::known(1)) } else { rest.next() };
                let to: Vec<Size> = (0..rank).filter_map(length).collect();
                if to.len() == rank { Ok(to) } else { invalid("it names an axis twice") }
            }
            _ => {
                let mut to = self.sizes(1)?.to_vec();
                if self.integer_attribute("allowzero", 0) == 0 {
                    for (axis, size) in to.iter_mut().enumerate().filter(|(_, size)| **size == Size::known(0))
                    {
                        match from.get(axis) {
                            Some(own) => *size = *own,
                            None => return invalid(format!("it keeps axis {axis} of {rank}")),
                        }
                    }
                }
                resolve(from, to)
            }
        }
    }
}

/// Replaces the length -1, which may occur once, by the length that the other axes leave.
fn resolve(from: &[Size], mut to: Vec<Size>) -> Result<Vec<Size>, Fault> {
    let unknown: Vec<usize> = (0..to.len()).filter(|&axis| to[axis] == Size::known(-1)).collect();
    match unknown[..] {
        [] => {}
        [axis] => {
            let whole = product(from.iter().copied());
            let others = product(to.iter().copied().filter(|size| *size != Size::known(-1)));
            let rest =
                whole.zip(others).and_then(|(whole, others)| whole.over(others)?.exactly(others, whole));
            match rest {
                Some(rest) => to[axis] = rest,
                None => return invalid("no length fits in place of -1"),
            }
        }
        _ => return invalid("it has two lengths of -1"),
    }
    Ok(to)
}

fn product(mut sizes: impl Iterator<Item = Size>) -> Option<Size> {
    sizes.try_fold(Size::known(1), Size::times)
}

impl Size {
    /// The size, if its product with another size is exactly the whole.
    fn exactly(self, other: Self, whole: Self) -> Option<Self> {
        (self.times(other) == Some(whole)).then_some(self)
    }
}

impl Computed {
    /// The sizes of all axes, the batch first.
    pub(crate) fn sizes(&self, batch: Size) -> Vec<Size> {
        let known = self.dims.iter().map(|&length| Size::known(i64::try_from(length).unwrap_or(i64::MAX)));
        std::iter::once(batch).chain(known).collect()
    }

    /// The index of an axis of an ONNX attribute, without the batch.
    pub(crate) fn axis(&self, axis: i64) -> Result<usize, Fault> {
        match views::axis(axis, self.dims.len() + 1)?.checked_sub(1) {
            Some(axis) => Ok(axis),
            None => unsupported("it works along the axis of the batch"),
        }
    }
}
