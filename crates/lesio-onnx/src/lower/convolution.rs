//! Convolutions and padding.
//!
//! lesio's convolutions have square kernels and the same padding on all sides. Other convolutions are equivalent to
//! one with a larger kernel, which has zeros around the weights or, with dilation, between them. Groups are blocks of
//! a dense kernel.

use std::sync::Arc;

use lesio_nn::{Bias, Convolution};

use super::Lowering;
use crate::args::{Args, Computed};
use crate::error::{Fault, invalid, unsupported};
use crate::ir::{Op, Weights};
use crate::tensor::count;
use crate::views;

/// The maximum number of weights of a kernel to which zeros are added.
const LARGEST_KERNEL: usize = 1 << 26;

/// A kernel with more weights than this has at most [`LARGEST_RATIO`] times as many weights as the model holds for it:
/// otherwise, a small file would become a large network.
const SMALL_KERNEL: usize = 1 << 20;
const LARGEST_RATIO: usize = 1 << 12;

/// Settings along the rows or the columns.
#[derive(Clone, Copy, Debug)]
struct Axis {
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// Number of zeros before and after.
    pads: [usize; 2],
    /// Length added at the end of a transposed convolution's output.
    extra: usize,
}

impl Axis {
    /// Length of the dilated kernel.
    fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }
}

/// A square kernel that is equivalent to another kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Square {
    kernel: usize,
    padding: usize,
}

impl Lowering {
    pub(super) fn convolution(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let (mut id, mut shape) = self.image(value)?;
        let (weight_dims, weight) = args.floats(1)?;
        let &[channels, inputs, rows, columns] = weight_dims else {
            return unsupported(format!(
                "its weights have shape {weight_dims:?}, expected [out, in, rows, columns]"
            ));
        };
        let groups = groups(args, channels)?;
        if inputs.checked_mul(groups) != Some(shape.channels) {
            return invalid(format!(
                "its weights have shape {weight_dims:?} in {groups} groups, its input {shape}"
            ));
        }
        let mut axes = axes(args, [rows, columns], [shape.height, shape.width])?;
        // Zeros around the input become padding.
        if let (Op::Pad(around), &[before]) = (&self.graph.nodes[id].op, &self.graph.nodes[id].inputs[..]) {
            for (axis, pads) in axes.iter_mut().zip(around) {
                axis.size -= pads[0] + pads[1];
                axis.pads = [axis.pads[0] + pads[0], axis.pads[1] + pads[1]];
            }
            id = before;
            shape = self.graph.shape(id);
        }
        let square = square(axes)?;
        let stride = axes[0].stride;
        let weight = if is_plain(axes, square, groups) {
            Arc::from(weight)
        } else {
            let from = Kernel { outer: channels, inner: inputs, axes, groups };
            from.embedded(weight, square, shape.channels)?
        };
        let bias = args.channel_floats(2, channels)?;
        let convolution = layer(channels, square, stride, bias.is_some());
        let size = |axis: Axis| (axis.size + 2 * square.padding - square.kernel) / stride + 1;
        let dims = vec![channels, size(axes[0]), size(axes[1])];
        self.value(Op::Convolution(convolution, Weights { weight, bias }), vec![id], dims)
    }

    pub(super) fn transposed_convolution(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let (id, shape) = self.image(value)?;
        let (weight_dims, weight) = args.floats(1)?;
        let &[inputs, outputs, rows, columns] = weight_dims else {
            return unsupported(format!(
                "its weights have shape {weight_dims:?}, expected [in, out, rows, columns]"
            ));
        };
        let groups = groups(args, inputs)?;
        if inputs != shape.channels {
            return invalid(format!("its weights have shape {weight_dims:?}, its input {shape}"));
        }
        if args.integers_attribute("output_shape").is_some() {
            return unsupported("it states output_shape");
        }
        let mut axes = axes(args, [rows, columns], [shape.height, shape.width])?;
        if let Some(extra) = args.integers_attribute("output_padding") {
            let &[first, second] = extra else { return invalid(format!("output_padding is {extra:?}")) };
            for (axis, extra) in axes.iter_mut().zip([first, second]) {
                axis.extra = small("output_padding", extra, 0)?;
            }
        }
        let square = transposed_square(axes)?;
        let stride = axes[0].stride;
        let channels =
            outputs.checked_mul(groups).ok_or_else(|| Fault::Invalid("too many channels".to_owned()))?;
        let weight = if is_plain(axes, square, groups) {
            Arc::from(weight)
        } else {
            let from = Kernel { outer: inputs, inner: outputs, axes, groups };
            from.embedded(weight, square, channels)?
        };
        let bias = args.channel_floats(2, channels)?;
        let convolution = layer(channels, square, stride, bias.is_some());
        let size = |axis: Axis| ((axis.size - 1) * stride + square.kernel).checked_sub(2 * square.padding);
        let (Some(height), Some(width)) = (size(axes[0]), size(axes[1])) else {
            return invalid("its padding leaves nothing");
        };
        let dims = vec![channels, height, width];
        self.value(Op::TransposedConvolution(convolution, Weights { weight, bias }), vec![id], dims)
    }

    /// Adds zeros around an image.
    pub(super) fn pad(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let rank = value.dims.len() + 1;
        let pads = if args.opset() < 11 {
            args.integers_attribute("pads").map(<[i64]>::to_vec).unwrap_or_default()
        } else {
            args.integers(1)?
        };
        let axes: Vec<usize> = match args.input(3) {
            Some(_) => {
                args.integers(3)?.into_iter().map(|axis| views::axis(axis, rank)).collect::<Result<_, _>>()?
            }
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return invalid(format!("it has {} pads for {} axes", pads.len(), axes.len()));
        }
        if pads.iter().all(|&pad| pad == 0) {
            return Ok(value.clone());
        }
        let mode = args.text_attribute("mode", "constant");
        let filling = match args.input(2) {
            Some(_) => args.floats(2)?.1.first().copied().unwrap_or(0.0),
            None => args.float_attribute("value", 0.0),
        };
        if mode != "constant" || filling != 0.0 {
            return unsupported(format!("it pads by {mode} with {filling}, expected zeros"));
        }
        let (id, _) = self.image(value)?;
        let mut around = [[0; 2]; 2];
        for (k, &axis) in axes.iter().enumerate() {
            for (end, pad) in [pads[k], pads[k + axes.len()]].into_iter().enumerate() {
                match axis.checked_sub(2) {
                    Some(image_axis) => around[image_axis][end] = small("pads", pad, 0)?,
                    None if pad == 0 => {}
                    None => return unsupported("it pads the batch or the channels"),
                }
            }
        }
        let mut dims = value.dims.clone();
        for (length, pads) in dims[1..].iter_mut().zip(around) {
            *length += pads[0] + pads[1];
        }
        self.value(Op::Pad(around), vec![id], dims)
    }
}

fn layer(channels: usize, square: Square, stride: usize, has_bias: bool) -> Convolution {
    let bias = if has_bias { Bias::Learned } else { Bias::None };
    Convolution::new(channels, square.kernel).stride(stride).padding(square.padding).bias(bias)
}

fn groups(args: &Args<'_>, channels: usize) -> Result<usize, Fault> {
    match usize::try_from(args.integer_attribute("group", 1)) {
        Ok(groups) if groups > 0 && channels > 0 && channels.is_multiple_of(groups) => Ok(groups),
        _ => invalid(format!("its groups do not divide {channels} channels")),
    }
}

/// The number of an attribute, which must be at least `least`.
fn small(name: &str, value: i64, least: i64) -> Result<usize, Fault> {
    if (least..=1 << 12).contains(&value) {
        return Ok(value as usize);
    }
    unsupported(format!("{name} is {value}, expected {least} to 4096"))
}

/// Kernel, stride, dilation and padding along the rows and along the columns.
fn axes(args: &Args<'_>, kernel: [usize; 2], sizes: [usize; 2]) -> Result<[Axis; 2], Fault> {
    let pair = |name: &str, least: i64| match args.integers_attribute(name) {
        None => Ok([least.max(0) as usize; 2]),
        Some(&[first, second]) => Ok([small(name, first, least)?, small(name, second, least)?]),
        Some(other) => invalid(format!("{name} is {other:?}, expected two numbers")),
    };
    if let Some(stated) = args.integers_attribute("kernel_shape")
        && stated != [kernel[0] as i64, kernel[1] as i64]
    {
        return invalid(format!("kernel_shape is {stated:?}, its weights have {kernel:?}"));
    }
    for length in kernel {
        small("kernel", i64::try_from(length).unwrap_or(i64::MAX), 1)?;
    }
    let (strides, dilations) = (pair("strides", 1)?, pair("dilations", 1)?);
    if strides[0] != strides[1] {
        return unsupported(format!("strides are {strides:?}, expected two equal ones"));
    }
    let mut axes = [0, 1].map(|k| Axis {
        size: sizes[k],
        kernel: kernel[k],
        stride: strides[k],
        dilation: dilations[k],
        pads: [0, 0],
        extra: 0,
    });
    match args.text_attribute("auto_pad", "NOTSET") {
        "NOTSET" | "" => {
            if let Some(pads) = args.integers_attribute("pads") {
                let &[top, left, bottom, right] = pads else {
                    return invalid(format!("pads are {pads:?}, expected four numbers"));
                };
                for (axis, pads) in axes.iter_mut().zip([[top, bottom], [left, right]]) {
                    axis.pads = [small("pads", pads[0], 0)?, small("pads", pads[1], 0)?];
                }
            }
        }
        "VALID" => {}
        same @ ("SAME_UPPER" | "SAME_LOWER") if args.operator() == "Conv" => {
            for axis in &mut axes {
                let outputs = axis.size.div_ceil(axis.stride);
                let whole = ((outputs - 1) * axis.stride + axis.extent()).saturating_sub(axis.size);
                let (less, more) = (whole / 2, whole - whole / 2);
                axis.pads = if same == "SAME_UPPER" { [less, more] } else { [more, less] };
            }
        }
        other => return unsupported(format!("auto_pad is {other}")),
    }
    Ok(axes)
}

/// Whether a kernel needs no additional zeros.
fn is_plain(axes: [Axis; 2], square: Square, groups: usize) -> bool {
    groups == 1 && axes.iter().all(|axis| axis.kernel == square.kernel && axis.dilation == 1)
}

/// The smallest square kernel that is equivalent to the kernel of a convolution. Its first weight is at the offset
/// `padding - pads[0]`, and the number of outputs is the same.
fn square(axes: [Axis; 2]) -> Result<Square, Fault> {
    for axis in axes {
        if axis.size + axis.pads[0] + axis.pads[1] < axis.extent() {
            return invalid(format!("a kernel of {} is larger than its padded input", axis.extent()));
        }
    }
    let padding = axes.iter().map(|axis| axis.pads[0].max(axis.pads[1])).max().unwrap_or(0);
    for padding in axes.iter().map(|axis| axis.pads[0]).max().unwrap_or(0)..=padding {
        let least = axes.iter().map(|axis| axis.extent() + padding - axis.pads[0]).max().unwrap_or(1);
        let most = axes.iter().map(|axis| axis.size + 2 * padding).min().unwrap_or(0);
        let fits = |kernel: usize, axis: &Axis| {
            let outputs = (axis.size + axis.pads[0] + axis.pads[1] - axis.extent()) / axis.stride;
            (axis.size + 2 * padding - kernel) / axis.stride == outputs
        };
        // A larger kernel has fewer outputs, so it suffices to try twice the padding plus a stride.
        let last = most.min(least + 2 * padding + axes[0].stride);
        if let Some(kernel) = (least..=last).find(|&kernel| axes.iter().all(|axis| fits(kernel, axis))) {
            return Ok(Square { kernel, padding });
        }
    }
    unsupported(format!("no square kernel with one padding is the same as {axes:?}"))
}

/// The equivalent square kernel for a transposed convolution, whose output size determines the kernel size.
fn transposed_square(axes: [Axis; 2]) -> Result<Square, Fault> {
    let kernel = |axis: &Axis, padding: usize| {
        (2 * padding + axis.extra + axis.extent()).checked_sub(axis.pads[0] + axis.pads[1])
    };
    let first = axes.iter().map(|axis| axis.pads[0].max(axis.pads[1].saturating_sub(axis.extra))).max();
    let padding = first.unwrap_or(0);
    match (kernel(&axes[0], padding), kernel(&axes[1], padding)) {
        (Some(rows), Some(columns)) if rows == columns && rows > 0 => Ok(Square { kernel: rows, padding }),
        _ => unsupported(format!("no square kernel with one padding is the same as {axes:?}")),
    }
}

/// A kernel `[outer, inner, kernel, kernel]` of zeros, for a model that holds `given` weights.
pub(super) fn kernel_of_zeros(
    outer: usize,
    inner: usize,
    kernel: usize,
    given: usize,
) -> Result<Vec<f32>, Fault> {
    let most = given.saturating_mul(LARGEST_RATIO).clamp(SMALL_KERNEL, LARGEST_KERNEL);
    match count(&[outer, inner, kernel, kernel]) {
        Some(length) if length <= most => Ok(vec![0.0; length]),
        _ => unsupported(format!(
            "a dense kernel of {outer} x {inner} x {kernel} x {kernel} weights is too large"
        )),
    }
}

/// The weights of a grouped convolution, `[outer, inner, rows, columns]`.
struct Kernel {
    outer: usize,
    inner: usize,
    axes: [Axis; 2],
    groups: usize,
}

impl Kernel {
    /// Copies the weights into a dense square kernel `[outer, inner of all groups, kernel, kernel]`.
    fn embedded(&self, weight: &[f32], square: Square, inner: usize) -> Result<Arc<[f32]>, Fault> {
        let Self { outer, axes: [rows, columns], groups, .. } = *self;
        let kernel = square.kernel;
        let mut to = kernel_of_zeros(outer, inner, kernel, weight.len())?;
        let mut values = weight.iter();
        let per_group = outer / groups;
        for first in 0..outer {
            let block = first / per_group * self.inner;
            for second in block..block + self.inner {
                for y in 0..rows.kernel {
                    let y = square.padding - rows.pads[0] + y * rows.dilation;
                    for x in 0..columns.kernel {
                        let x = square.padding - columns.pads[0] + x * columns.dilation;
                        let place = ((first * inner + second) * kernel + y) * kernel + x;
                        if let Some(&value) = values.next() {
                            to[place] = value;
                        }
                    }
                }
            }
        }
        Ok(to.into())
    }
}
