//! The output shape of a layer, and its parameters.

use super::error::NetworkError;
use crate::layer::{Bias, Convolution, Layer};
use crate::parameter_spec::{ParameterSpec, Role};
use crate::shape::Shape;

/// Most parameters of a network: a gigabyte in `f32`, and four of them while Adam trains it.
pub const LARGEST_PARAMETERS: u64 = 1 << 28;

/// Most values of one sample in all nodes of a network together, four gigabytes in `f32`.
pub const LARGEST_VALUES: u64 = 1 << 30;

/// Largest kernel, padding and factor of a layer.
const LARGEST_STEP: usize = 1 << 16;

/// Largest stride, and largest window of [`Layer::MaxPoolStrided`]. Engines do work that grows with the square of
/// these, however small the images are.
const LARGEST_STRIDE: usize = 1 << 10;

/// Shape of a layer's output, or why it does not fit.
pub(super) fn output_shape(name: &str, layer: &Layer, inputs: &[Shape]) -> Result<Shape, NetworkError> {
    let count = |expected| NetworkError::InputCount { name: name.to_owned(), found: inputs.len(), expected };
    let input = match (layer, inputs) {
        (Layer::Concatenate | Layer::Add, []) => return Err(count("at least one")),
        (Layer::Multiply, [first, _]) => *first,
        (Layer::Multiply, _) => return Err(count("two")),
        (Layer::Concatenate | Layer::Add, [first, ..]) | (_, [first]) => *first,
        _ => return Err(count("one")),
    };
    let misfit = |reason: String| NetworkError::Shape { name: name.to_owned(), input, reason };
    let positive = |what: &str, value: usize| {
        if value == 0 { Err(misfit(format!("{what} is 0"))) } else { Ok(value) }
    };
    let at_most = |limit: usize, what: &str, value: usize| {
        let large = || misfit(format!("{what} is {value}, expected at most {limit}"));
        if value > limit { Err(large()) } else { Ok(value) }
    };
    let small = |what: &str, value: usize| at_most(LARGEST_STEP, what, value);
    let near = |what: &str, value: usize| at_most(LARGEST_STRIDE, what, positive(what, value)?);
    let window = |c: &Convolution| {
        positive("number of channels", c.channels)?;
        small("kernel", positive("kernel", c.kernel)?)?;
        near("stride", c.stride)?;
        small("padding", c.padding)?;
        // Transposed, as for its gradients, a kernel smaller than the stride is spread over the whole stride.
        let spread = Shape::new(input.channels.saturating_mul(c.channels), c.stride, c.stride).len();
        if c.stride > c.kernel && spread as u64 > LARGEST_PARAMETERS {
            return Err(misfit(format!(
                "a stride of {} between {} and {} channels spreads the weights over {spread} values, expected at most \
                 {LARGEST_PARAMETERS}",
                c.stride, input.channels, c.channels
            )));
        }
        Ok(())
    };
    // What an engine holds on the way to the output.
    let held = |what: &str, shape: Shape| {
        let large =
            || misfit(format!("{what} has the shape {shape}, expected at most {LARGEST_VALUES} values"));
        if shape.len() as u64 > LARGEST_VALUES { Err(large()) } else { Ok(()) }
    };
    let shape = match layer {
        Layer::Convolution(c) => {
            window(c)?;
            let size = |n: usize| {
                (n + 2 * c.padding).checked_sub(c.kernel).map(|rest| rest / c.stride + 1).ok_or_else(|| {
                    misfit(format!(
                        "kernel {} is larger than the padded size {}",
                        c.kernel,
                        n + 2 * c.padding
                    ))
                })
            };
            Shape::new(c.channels, size(input.height)?, size(input.width)?)
        }
        Layer::TransposedConvolution(c) => {
            window(c)?;
            let whole = |n: usize| n.saturating_sub(1) * c.stride + c.kernel;
            let [height, width] = [whole(input.height), whole(input.width)];
            held("the image before its edges are cut off", Shape::new(c.channels, height, width))?;
            let size = |whole: usize| {
                whole
                    .checked_sub(2 * c.padding)
                    .filter(|&size| size > 0)
                    .ok_or_else(|| misfit(format!("padding {} leaves nothing", c.padding)))
            };
            Shape::new(c.channels, size(height)?, size(width)?)
        }
        Layer::Linear { features, .. } => Shape::vector(positive("number of features", *features)?),
        Layer::GroupNormalization { groups, epsilon } => {
            if *groups == 0 || input.channels % groups != 0 {
                return Err(misfit(format!("{groups} groups do not divide {} channels", input.channels)));
            }
            check_epsilon(*epsilon).map_err(misfit)?;
            input
        }
        Layer::BatchNormalization { epsilon, momentum } => {
            check_epsilon(*epsilon).map_err(misfit)?;
            if !(0.0..=1.0).contains(momentum) {
                return Err(misfit(format!("momentum is {momentum}, expected 0 to 1")));
            }
            input
        }
        Layer::Activation(crate::Activation::LeakyRelu { slope }) if !(0.0..1.0).contains(slope) => {
            return Err(misfit(format!("slope is {slope}, expected at least 0 and below 1")));
        }
        Layer::Activation(_) => input,
        Layer::MaxPool { window } | Layer::AveragePool { window } => {
            let [rows, columns] = *window;
            positive("window", rows)?;
            positive("window", columns)?;
            if rows > input.height || columns > input.width {
                return Err(misfit(format!("window {rows}x{columns} is larger than the input")));
            }
            Shape::new(input.channels, input.height / rows, input.width / columns)
        }
        Layer::MaxPoolStrided { window, stride, padding } => {
            let (mut counts, mut edges) = ([0; 2], [0; 2]);
            for (axis, size) in [input.height, input.width].into_iter().enumerate() {
                near("window", window[axis])?;
                near("stride", stride[axis])?;
                if padding[axis] >= window[axis] {
                    let (padding, window) = (padding[axis], window[axis]);
                    return Err(misfit(format!(
                        "padding is {padding}, expected less than the window, {window}"
                    )));
                }
                let padded = size + 2 * padding[axis];
                let Some(rest) = padded.checked_sub(window[axis]) else {
                    return Err(misfit(format!(
                        "window {} is larger than the padded size {padded}",
                        window[axis]
                    )));
                };
                counts[axis] = rest / stride[axis] + 1;
                edges[axis] = padded;
            }
            held("the image with its edges", Shape::new(input.channels, edges[0], edges[1]))?;
            Shape::new(input.channels, counts[0], counts[1])
        }
        Layer::UpsampleNearest { factor }
        | Layer::UpsampleBilinear { factor }
        | Layer::UpsampleBilinearCorners { factor } => {
            small("factor", positive("factor", *factor)?)?;
            Shape::new(input.channels, input.height * factor, input.width * factor)
        }
        Layer::Concatenate => {
            let mut channels = 0;
            for other in inputs {
                if (other.height, other.width) != (input.height, input.width) {
                    return Err(misfit(format!("another input has shape {other}")));
                }
                channels += other.channels;
            }
            Shape::new(channels, input.height, input.width)
        }
        Layer::Add => match inputs.iter().find(|other| **other != input) {
            Some(other) => return Err(misfit(format!("another input has shape {other}"))),
            None => input,
        },
        Layer::Multiply => {
            let other = inputs[1];
            let along = |a: usize, b: usize| (a == b || a == 1 || b == 1).then_some(a.max(b));
            let product = [
                along(input.channels, other.channels),
                along(input.height, other.height),
                along(input.width, other.width),
            ];
            let [Some(channels), Some(height), Some(width)] = product else {
                return Err(misfit(format!("the other input has shape {other}")));
            };
            Shape::new(channels, height, width)
        }
        Layer::Reshape(shape) => {
            if shape.len() != input.len() {
                return Err(misfit(format!("{} values cannot take the shape {shape}", input.len())));
            }
            *shape
        }
    };
    Ok(shape)
}

fn check_epsilon(epsilon: f32) -> Result<(), String> {
    if epsilon.is_finite() && epsilon > 0.0 {
        Ok(())
    } else {
        Err(format!("epsilon is {epsilon}, expected a positive number"))
    }
}

pub(super) fn layer_parameters(name: &str, layer: &Layer, input: Shape, all: &mut Vec<ParameterSpec>) {
    let mut push = |what: &str, shape: Vec<usize>, role: Role| {
        all.push(ParameterSpec { name: format!("{name}.{what}"), shape, role });
    };
    match layer {
        Layer::Convolution(c) => {
            let fan_in = input.channels * c.kernel * c.kernel;
            push("weight", vec![c.channels, input.channels, c.kernel, c.kernel], Role::Weight { fan_in });
            if c.bias == Bias::Learned {
                push("bias", vec![c.channels], Role::Bias { fan_in });
            }
        }
        Layer::TransposedConvolution(c) => {
            // Each output pixel sees kernel / stride taps along each axis.
            let taps = (c.kernel * c.kernel).div_ceil(c.stride * c.stride);
            let fan_in = input.channels * taps;
            push("weight", vec![input.channels, c.channels, c.kernel, c.kernel], Role::Weight { fan_in });
            if c.bias == Bias::Learned {
                push("bias", vec![c.channels], Role::Bias { fan_in });
            }
        }
        Layer::Linear { features, bias } => {
            let fan_in = input.len();
            push("weight", vec![*features, fan_in], Role::Weight { fan_in });
            if *bias == Bias::Learned {
                push("bias", vec![*features], Role::Bias { fan_in });
            }
        }
        Layer::GroupNormalization { .. } => {
            push("weight", vec![input.channels], Role::Scale);
            push("bias", vec![input.channels], Role::Shift);
        }
        Layer::BatchNormalization { .. } => {
            push("weight", vec![input.channels], Role::Scale);
            push("bias", vec![input.channels], Role::Shift);
            push("running_mean", vec![input.channels], Role::RunningMean);
            push("running_variance", vec![input.channels], Role::RunningVariance);
        }
        Layer::Activation(_)
        | Layer::MaxPool { .. }
        | Layer::AveragePool { .. }
        | Layer::UpsampleNearest { .. }
        | Layer::UpsampleBilinear { .. }
        | Layer::UpsampleBilinearCorners { .. }
        | Layer::Concatenate
        | Layer::Add
        | Layer::Multiply
        | Layer::MaxPoolStrided { .. }
        | Layer::Reshape(_) => {}
    }
}
