//! Matrix products.

use super::Lowering;
use crate::args::{Args, Computed};
use crate::error::{Fault, invalid, unsupported};
use crate::ir::{Op, Weights};

impl Lowering {
    pub(super) fn gemm(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        if args.integer_attribute("transA", 0) != 0 {
            return unsupported("it transposes its first input");
        }
        let (alpha, beta) = (args.float_attribute("alpha", 1.0), args.float_attribute("beta", 1.0));
        let value = args.computed(0)?;
        let is_transposed = args.integer_attribute("transB", 0) != 0;
        let (features, mut weight) = matrix(args, value, is_transposed)?;
        weight.iter_mut().for_each(|weight| *weight *= alpha);
        let bias = match args.input(2) {
            None => None,
            Some(_) => {
                let (dims, values) = args.floats(2)?;
                match (dims, values) {
                    (_, [one]) => Some(vec![beta * one; features]),
                    ([length] | [1, length], values) if *length == features => {
                        Some(values.iter().map(|value| beta * value).collect())
                    }
                    _ => {
                        return unsupported(format!(
                            "it adds values of shape {dims:?} to {features} features"
                        ));
                    }
                }
            }
        };
        let weights = Weights { weight: weight.into(), bias };
        self.value(Op::Linear(weights), vec![value.id], vec![features])
    }

    pub(super) fn mat_mul(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let (features, weight) = matrix(args, value, false)?;
        let weights = Weights { weight: weight.into(), bias: None };
        self.value(Op::Linear(weights), vec![value.id], vec![features])
    }
}

/// The number of features, and the weights `[features, values]` from the second input. This input is a constant
/// matrix `[values, features]`, or `[features, values]` if it is transposed.
fn matrix(args: &Args<'_>, value: &Computed, is_transposed: bool) -> Result<(usize, Vec<f32>), Fault> {
    let &[length] = &value.dims[..] else {
        return unsupported(format!(
            "it multiplies values of shape [n, {:?}], expected [n, features]",
            value.dims
        ));
    };
    let (dims, values) = args.floats(1)?;
    let &[rows, columns] = dims else {
        return unsupported(format!("its matrix has shape {dims:?}"));
    };
    let (from, features) = if is_transposed { (columns, rows) } else { (rows, columns) };
    if from != length {
        return invalid(format!("its matrix has shape {dims:?}, its input {length} features"));
    }
    if is_transposed {
        return Ok((features, values.to_vec()));
    }
    let mut weight = Vec::with_capacity(values.len());
    (0..features).for_each(|k| weight.extend(values.iter().skip(k).step_by(columns)));
    Ok((features, weight))
}
