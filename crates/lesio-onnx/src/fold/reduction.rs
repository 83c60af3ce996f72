//! Sums, means and norms of constants, and products of matrices. Exporters write them for weights that are computed,
//! such as those of spectral and weight normalization.

use crate::args::Args;
use crate::error::{Fault, invalid, unsupported};
use crate::tensor::{Tensor, count};
use crate::views;

/// The maximum number of multiplications in a product of constants.
const LARGEST_PRODUCT: usize = 1 << 30;

pub(super) fn fold(args: &Args<'_>) -> Result<Option<Tensor>, Fault> {
    let of: fn(&[f32]) -> f64 = match args.operator() {
        "MatMul" => return product(args).map(Some),
        "ReduceSum" => |values: &[f32]| total(values, |x| x),
        "ReduceMean" => |values: &[f32]| total(values, |x| x) / values.len() as f64,
        "ReduceSumSquare" => |values: &[f32]| total(values, |x| x * x),
        "ReduceL1" => |values: &[f32]| total(values, f64::abs),
        "ReduceL2" => |values: &[f32]| total(values, |x| x * x).sqrt(),
        "ReduceMax" => |values: &[f32]| values.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(f64::from(b))),
        "ReduceMin" => |values: &[f32]| values.iter().fold(f64::INFINITY, |a, &b| a.min(f64::from(b))),
        _ => return Ok(None),
    };
    reduced(args, of).map(Some)
}

fn total(values: &[f32], of: fn(f64) -> f64) -> f64 {
    values.iter().map(|&value| of(f64::from(value))).sum()
}

/// One number for all values along some axes; along all axes if none is named.
fn reduced(args: &Args<'_>, of: fn(&[f32]) -> f64) -> Result<Tensor, Fault> {
    let tensor = args.constant(0)?;
    let rank = tensor.dims.len();
    let axes = match args.input(1) {
        Some(_) => args.integers(1)?,
        None => args.integers_attribute("axes").unwrap_or_default().to_vec(),
    };
    let axes: Vec<usize> = axes.into_iter().map(|axis| views::axis(axis, rank)).collect::<Result<_, _>>()?;
    if axes.is_empty() && args.integer_attribute("noop_with_empty_axes", 0) != 0 {
        return unsupported("it names no axes");
    }
    let is_reduced = |axis: &usize| axes.is_empty() || axes.contains(axis);
    let (inner, outer): (Vec<usize>, Vec<usize>) = (0..rank).partition(is_reduced);
    let order: Vec<usize> = outer.iter().chain(&inner).copied().collect();
    let sorted = views::transpose(&tensor.dims, &order)?.of(tensor);
    let Some(values) = sorted.as_floats() else { return unsupported("it computes with integers") };
    if values.is_empty() {
        return invalid("it reads no values");
    }
    let each: usize = inner.iter().map(|&axis| tensor.dims[axis]).product();
    let made = values.chunks(each).map(|values| of(values) as f32).collect();
    let keeps = args.integer_attribute("keepdims", 1) != 0;
    let length = |axis: usize| match is_reduced(&axis) {
        false => Some(tensor.dims[axis]),
        true => keeps.then_some(1),
    };
    Ok(Tensor::floats((0..rank).filter_map(length).collect(), made))
}

/// The product of two matrices or vectors.
fn product(args: &Args<'_>) -> Result<Tensor, Fault> {
    let ((a_dims, a), (b_dims, b)) = (args.floats(0)?, args.floats(1)?);
    let (rows, length, from, columns) = match (a_dims, b_dims) {
        (&[length], &[from]) => (1, length, from, 1),
        (&[length], &[from, columns]) => (1, length, from, columns),
        (&[rows, length], &[from]) => (rows, length, from, 1),
        (&[rows, length], &[from, columns]) => (rows, length, from, columns),
        _ => return unsupported(format!("it multiplies constants of shapes {a_dims:?} and {b_dims:?}")),
    };
    if length != from {
        return invalid(format!("it multiplies matrices of shapes {a_dims:?} and {b_dims:?}"));
    }
    if count(&[rows, length.max(1), columns]).is_none_or(|work| work > LARGEST_PRODUCT) {
        return unsupported(format!("it multiplies large constants, of shapes {a_dims:?} and {b_dims:?}"));
    }
    let value = |row: usize, column: usize| {
        let pairs = (0..length).map(|k| (a[row * length + k], b[k * columns + column]));
        pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
    };
    let made = (0..rows).flat_map(|row| (0..columns).map(move |column| value(row, column))).collect();
    let mut dims = Vec::new();
    dims.extend((a_dims.len() == 2).then_some(rows));
    dims.extend((b_dims.len() == 2).then_some(columns));
    Ok(Tensor::floats(dims, made))
}

#[cfg(test)]
mod tests {
    use lesio_nn::{Device, Differentiate, Engine, Inference};

    use crate::hostile::{bytes, floats, integers, node};
    use crate::model::OnnxModel;

    #[test]
    fn constants_are_reduced() {
        let values = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0];
        for (operator, of_all, of_rows) in [
            ("ReduceSum", 5.0, [2.0, 3.0]),
            ("ReduceMean", 5.0 / 6.0, [2.0 / 3.0, 1.0]),
            ("ReduceSumSquare", 91.0, [14.0, 77.0]),
            ("ReduceL1", 21.0, [6.0, 15.0]),
            ("ReduceL2", 91f32.sqrt(), [14f32.sqrt(), 77f32.sqrt()]),
            ("ReduceMax", 5.0, [3.0, 5.0]),
            ("ReduceMin", -6.0, [-2.0, -6.0]),
        ] {
            for (axes, expected) in [(&[] as &[&str], [of_all; 2]), (&["axis"], of_rows)] {
                let inputs = [&["c"][..], axes].concat();
                let nodes = vec![
                    node(operator, &inputs, "r"),
                    node("Reshape", &["r", "column"], "s"),
                    node("Mul", &["x", "s"], "y"),
                ];
                let constants = vec![
                    floats("c", &[2, 3], &values),
                    integers("axis", &[-1]),
                    integers("column", &[1, -1, 1, 1]),
                ];
                let model = OnnxModel::from_bytes(&bytes(&[1, 2, 1, 1], nodes, constants)).unwrap();
                let converted = model.network(&[], None).unwrap();
                let (network, parameters) = (&converted.network, &converted.parameters);
                let inference =
                    Inference::new(network, parameters, Differentiate::Nothing, &Device::Cpu).unwrap();
                let found = inference.run(&[&[1.0, 1.0]], 1).unwrap().output(0).to_vec();
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() <= 1e-6 * expected.abs(),
                        "{operator} {axes:?}: {found}"
                    );
                }
            }
        }
    }
}
