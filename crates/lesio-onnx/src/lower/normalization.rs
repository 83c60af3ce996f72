//! Normalization at inference.

use super::Lowering;
use crate::args::{Args, Computed};
use crate::error::{Fault, invalid, unsupported};
use crate::ir::{Affine, Op};

/// The number that PyTorch and ONNX add to a variance by default.
const EPSILON: f32 = 1e-5;

impl Lowering {
    /// Normalizes by running statistics: a scale and a shift.
    pub(super) fn batch_normalization(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        if args.integer_attribute("training_mode", 0) != 0 {
            return unsupported("it is exported for training");
        }
        let value = args.computed(0)?;
        let (id, shape) = self.shaped(value)?;
        let given = |index: usize| match args.channel_floats(index, shape.channels)? {
            Some(values) => Ok(values),
            None => invalid(format!("input {index} is missing")),
        };
        let (weight, bias, mean, variance) = (given(1)?, given(2)?, given(3)?, given(4)?);
        let epsilon = f64::from(args.float_attribute("epsilon", EPSILON));
        let (mut scale, mut shift) = (Vec::with_capacity(weight.len()), Vec::with_capacity(weight.len()));
        for k in 0..shape.channels {
            let deviation = (f64::from(variance[k]) + epsilon).sqrt();
            if deviation.is_nan() || deviation <= 0.0 {
                return invalid(format!("its variance is {} at index {k}", variance[k]));
            }
            let factor = f64::from(weight[k]) / deviation;
            scale.push(factor as f32);
            shift.push((f64::from(bias[k]) - f64::from(mean[k]) * factor) as f32);
        }
        self.value(Op::Affine(Affine { scale, shift }), vec![id], value.dims.clone())
    }

    /// Normalizes each channel, or each group of channels if an image was reshaped to `[n, groups, values]`.
    pub(super) fn instance_normalization(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let Some(&groups) = value.dims.first() else { return invalid("its input has no channels") };
        let given = |index: usize| match args.channel_floats(index, groups)? {
            Some(values) => Ok(values),
            None => invalid(format!("input {index} is missing")),
        };
        let (scale, shift) = (given(1)?, given(2)?);
        let shape = self.graph.shape(value.id);
        // For groups, the image before it was reshaped.
        let id = if shape.channels.is_multiple_of(groups) { value.id } else { self.shaped(value)?.0 };
        let shape = self.graph.shape(id);
        let channels = shape.channels / groups;
        let spread =
            |values: Vec<f32>| values.iter().flat_map(|&v| std::iter::repeat_n(v, channels)).collect();
        let affine = Affine { scale: spread(scale), shift: spread(shift) };
        let epsilon = args.float_attribute("epsilon", EPSILON);
        let op = Op::GroupNormalization { groups, epsilon, affine };
        let id = self.push(op, vec![id], shape);
        Ok(Computed { id, dims: value.dims.clone() })
    }

    /// Group normalization: opset 18 has one scale for each group, opset 21 one for each channel.
    pub(super) fn group_normalization(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let (id, shape) = self.image(value)?;
        let groups = usize::try_from(args.required_integer("num_groups")?).unwrap_or(0);
        if groups == 0 || shape.channels % groups != 0 {
            return invalid(format!("{groups} groups do not divide {} channels", shape.channels));
        }
        let given = |index: usize| {
            let (dims, values) = args.floats(index)?;
            match values.len() {
                length if length == shape.channels && (args.opset() >= 21 || groups == shape.channels) => {
                    Ok(values.to_vec())
                }
                length if length == groups && args.opset() < 21 => {
                    let channels = shape.channels / groups;
                    Ok(values.iter().flat_map(|&value| std::iter::repeat_n(value, channels)).collect())
                }
                _ => invalid(format!("input {index} has shape {dims:?} for {groups} groups of {shape}")),
            }
        };
        let affine = Affine { scale: given(1)?, shift: given(2)? };
        let epsilon = args.float_attribute("epsilon", EPSILON);
        self.value(Op::GroupNormalization { groups, epsilon, affine }, vec![id], value.dims.clone())
    }
}
