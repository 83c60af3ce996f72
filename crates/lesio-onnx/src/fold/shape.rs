//! Operations that rearrange constants.

use crate::args::Args;
use crate::error::{Fault, invalid, unsupported};
use crate::proto::attribute;
use crate::tensor::{Data, Size, Tensor, count};
use crate::views::{self, View};

/// The maximum number of values of a concatenated constant.
const LARGEST_CONSTANT: usize = 1 << 24;

pub(super) fn fold(args: &Args<'_>) -> Result<Option<Vec<Tensor>>, Fault> {
    let one = match args.operator() {
        "Identity" | "Dropout" => args.constant(0)?.clone(),
        "Shape" => {
            let dims = &args.constant(0)?.dims;
            let sizes = dims.iter().map(|&length| Size::known(length as i64)).collect();
            args.shape_of(sizes)?
        }
        "Concat" => concat(args)?,
        "Gather" => gather(args)?,
        "Slice" => slice(args)?,
        "Split" => return split(args).map(Some),
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
            let tensor = args.constant(0)?;
            let from: Vec<Size> = tensor.dims.iter().map(|&length| Size::known(length as i64)).collect();
            let to = args.new_shape(&from)?;
            let dims = known_dims(&to)?;
            if count(&dims) != Some(tensor.len()) {
                return invalid(format!("{} values cannot take the shape {dims:?}", tensor.len()));
            }
            Tensor { dims, data: tensor.data.clone() }
        }
        "Transpose" => {
            let tensor = args.constant(0)?;
            let order = args.order(tensor.dims.len())?;
            views::transpose(&tensor.dims, &order)?.of(tensor)
        }
        "Expand" => {
            let tensor = args.constant(0)?;
            let to = views::common(&tensor.dims, &known_dims(args.sizes(1)?)?)?;
            views::broadcast(&tensor.dims, &to)?.of(tensor)
        }
        "ConstantOfShape" => {
            let dims = known_dims(args.sizes(0)?)?;
            views::broadcast(&[], &dims)?.of(&filling(args)?)
        }
        "Range" => {
            let bounds: Vec<i64> = (0..3).map(|k| args.integer(k)).collect::<Result<_, _>>()?;
            let [start, end, step] = bounds[..] else { return invalid("it needs three numbers") };
            let length =
                if step == 0 { 0 } else { end.saturating_sub(start).checked_div(step).unwrap_or(0).max(0) };
            if step == 0 || length > views::LARGEST_VIEW as i64 {
                return unsupported("a range of that many numbers");
            }
            let mut values = Vec::new();
            let mut value = start;
            while (step > 0 && value < end) || (step < 0 && value > end) {
                values.push(Size::known(value));
                value = value.saturating_add(step);
            }
            Tensor::sizes(vec![values.len()], values)
        }
        "ReduceProd" => {
            let rank = args.constant(0)?.dims.len();
            let axes = match args.input(1) {
                Some(_) => args.integers(1)?,
                None => args.integers_attribute("axes").unwrap_or_default().to_vec(),
            };
            let is_noop = axes.is_empty() && args.integer_attribute("noop_with_empty_axes", 0) != 0;
            if rank > 1 || (is_noop && rank > 0) {
                return unsupported("a product along some axes of a constant");
            }
            let sizes = args.sizes(0)?;
            let product = sizes.iter().try_fold(Size::known(1), |product, &size| product.times(size));
            let product = product.ok_or_else(|| Fault::Invalid("its product is too large".to_owned()))?;
            let keeps = args.integer_attribute("keepdims", 1) != 0;
            Tensor::sizes(vec![1; usize::from(keeps)], vec![product])
        }
        _ => return Ok(None),
    };
    Ok(Some(vec![one]))
}

/// Lengths that do not depend on the batch size.
pub(crate) fn known_dims(sizes: &[Size]) -> Result<Vec<usize>, Fault> {
    let known = |size: &Size| match size.value().map(usize::try_from) {
        Some(Ok(length)) => Ok(length),
        _ => unsupported("a constant whose shape depends on the batch"),
    };
    sizes.iter().map(known).collect()
}

/// The number with which `ConstantOfShape` fills a tensor.
pub(crate) fn filling(args: &Args<'_>) -> Result<Tensor, Fault> {
    let value = match args.tensor("value")? {
        Some(tensor) => Tensor { dims: Vec::new(), ..tensor },
        None => Tensor::floats(Vec::new(), vec![0.0]),
    };
    if value.len() == 1 { Ok(value) } else { invalid("its value is not one number") }
}

fn concat(args: &Args<'_>) -> Result<Tensor, Fault> {
    let parts: Vec<&Tensor> = (0..args.count()).map(|k| args.constant(k)).collect::<Result<_, _>>()?;
    let Some(first) = parts.first() else { return invalid("it has no inputs") };
    let axis = views::axis(args.required_integer("axis")?, first.dims.len())?;
    let mut dims = first.dims.clone();
    dims[axis] = 0;
    for part in &parts {
        let alike = part.dims.len() == dims.len()
            && part.dims.iter().zip(&dims).enumerate().all(|(k, (a, b))| k == axis || a == b);
        if !alike {
            return invalid(format!("it joins shapes {:?} and {:?}", first.dims, part.dims));
        }
        dims[axis] += part.dims[axis];
    }
    if count(&dims).is_none_or(|length| length > LARGEST_CONSTANT) {
        return unsupported(format!("it makes a constant of shape {dims:?}"));
    }
    let blocks: usize = dims[..axis].iter().product();
    let widths: Vec<usize> = parts.iter().map(|part| part.len().checked_div(blocks).unwrap_or(0)).collect();
    let data = if parts.iter().all(|part| part.as_floats().is_some()) {
        let parts: Vec<&[f32]> = parts.iter().filter_map(|part| part.as_floats()).collect();
        Data::Floats(joined(&parts, &widths, blocks).into())
    } else if parts.iter().all(|part| part.as_sizes().is_some()) {
        let parts: Vec<&[Size]> = parts.iter().filter_map(|part| part.as_sizes()).collect();
        Data::Sizes(joined(&parts, &widths, blocks).into())
    } else {
        return invalid("its inputs have two types");
    };
    Ok(Tensor { dims, data })
}

fn joined<T: Copy>(parts: &[&[T]], widths: &[usize], blocks: usize) -> Vec<T> {
    let mut values = Vec::new();
    for block in 0..blocks {
        for (part, &width) in parts.iter().zip(widths) {
            values.extend_from_slice(&part[block * width..(block + 1) * width]);
        }
    }
    values
}

fn gather(args: &Args<'_>) -> Result<Tensor, Fault> {
    let (tensor, indices) = (args.constant(0)?, args.constant(1)?);
    let axis = views::axis(args.integer_attribute("axis", 0), tensor.dims.len())?;
    let positions = args.positions(1, tensor.dims[axis])?;
    let View { mut dims, elements } = views::select(&tensor.dims, axis, &positions)?;
    dims.splice(axis..=axis, indices.dims.iter().copied());
    Ok(View { dims, elements }.of(tensor))
}

fn slice(args: &Args<'_>) -> Result<Tensor, Fault> {
    let mut tensor = args.constant(0)?.clone();
    for (axis, positions) in args.slices(&tensor.dims)? {
        tensor = views::select(&tensor.dims, axis, &positions)?.of(&tensor);
    }
    Ok(tensor)
}

fn split(args: &Args<'_>) -> Result<Vec<Tensor>, Fault> {
    let tensor = args.constant(0)?;
    let axis = views::axis(args.integer_attribute("axis", 0), tensor.dims.len())?;
    let parts = args.parts(tensor.dims[axis])?;
    let part = |positions: &Vec<usize>| Ok(views::select(&tensor.dims, axis, positions)?.of(tensor));
    parts.iter().map(part).collect()
}

/// The tensor of a constant node.
pub(crate) fn constant(args: &Args<'_>) -> Result<Tensor, Fault> {
    if let Some(tensor) = args.tensor("value")? {
        return Ok(tensor);
    }
    let whole = |values: &[i64]| values.iter().map(|&value| Size::known(value)).collect::<Vec<_>>();
    if let Some(attribute) = args.attribute("value_float", attribute::FLOAT) {
        return Ok(Tensor::floats(Vec::new(), vec![attribute.f]));
    }
    if let Some(attribute) = args.attribute("value_floats", attribute::FLOATS) {
        return Ok(Tensor::floats(vec![attribute.floats.len()], attribute.floats.clone()));
    }
    if let Some(attribute) = args.attribute("value_int", attribute::INT) {
        return Ok(Tensor::sizes(Vec::new(), whole(&[attribute.i])));
    }
    if let Some(attribute) = args.attribute("value_ints", attribute::INTS) {
        return Ok(Tensor::sizes(vec![attribute.ints.len()], whole(&attribute.ints)));
    }
    unsupported("a constant of another kind than numbers")
}
