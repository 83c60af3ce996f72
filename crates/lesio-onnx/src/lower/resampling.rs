//! Pooling and upsampling of images.

use lesio_nn::{Bias, Convolution, Layer};

use super::Lowering;
use crate::args::{Args, Computed, Value};
use crate::error::{Fault, invalid, unsupported};
use crate::ir::{Op, Weights};
use crate::proto::attribute;

/// The maximum number of rows or columns of an upsampled image.
const LARGEST_LENGTH: usize = 1 << 16;

impl Lowering {
    pub(super) fn pool(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let (id, shape) = self.image(value)?;
        let sizes = [shape.height, shape.width];
        let pair = |name: &str, default: usize| match args.integers_attribute(name) {
            None => Ok([default; 2]),
            Some(&[a, b]) if (1..=4096).contains(&a) && (1..=4096).contains(&b) => {
                Ok([a as usize, b as usize])
            }
            Some(other) => unsupported(format!("{name} is {other:?}, expected two numbers from 1 to 4096")),
        };
        if args.integers_attribute("kernel_shape").is_none() {
            return invalid("it has no kernel_shape");
        }
        let (window, strides, dilations) =
            (pair("kernel_shape", 1)?, pair("strides", 1)?, pair("dilations", 1)?);
        let pads = args.integers_attribute("pads").unwrap_or(&[0; 4]);
        if pads.len() != 4 {
            return invalid(format!("pads are {pads:?}, expected four numbers"));
        }
        let auto = args.text_attribute("auto_pad", "NOTSET");
        if dilations != [1, 1] || !["NOTSET", "VALID", ""].contains(&auto) {
            return unsupported(format!("dilations are {dilations:?}, auto_pad is {auto}"));
        }
        if (0..2).any(|k| window[k] > sizes[k]) && pads.iter().all(|&pad| pad == 0) {
            return invalid(format!("its window {window:?} is larger than its input {shape}"));
        }
        let is_maximum = args.operator() == "MaxPool";
        let rounds_up = args.integer_attribute("ceil_mode", 0) != 0;
        let fills = (0..2).all(|k| sizes[k] >= window[k] && (sizes[k] - window[k]) % strides[k] == 0);
        if pads.iter().all(|&pad| pad == 0) && (fills || !rounds_up) {
            if window == strides {
                let dims = vec![shape.channels, sizes[0] / window[0], sizes[1] / window[1]];
                let layer =
                    if is_maximum { Layer::MaxPool { window } } else { Layer::AveragePool { window } };
                return self.value(Op::Layer(layer), vec![id], dims);
            }
            if !is_maximum && window[0] == window[1] && strides[0] == strides[1] {
                let (kernel, stride) = (window[0], strides[0]);
                let size = |length: usize| (length - kernel) / stride + 1;
                let dims = vec![shape.channels, size(sizes[0]), size(sizes[1])];
                return self.mean_of_windows(id, dims, kernel, stride, 0);
            }
        }
        let counts_padding = args.integer_attribute("count_include_pad", 0) != 0;
        if !is_maximum
            && !rounds_up
            && counts_padding
            && window[0] == window[1]
            && strides[0] == strides[1]
            && (1..=4096).contains(&pads[0])
            && pads.iter().all(|pad| pad == &pads[0])
        {
            let (kernel, stride, padding) = (window[0], strides[0], pads[0] as usize);
            let size =
                |length: usize| (length + 2 * padding).checked_sub(kernel).map(|rest| rest / stride + 1);
            if let (Some(height), Some(width)) = (size(sizes[0]), size(sizes[1])) {
                return self.mean_of_windows(
                    id,
                    vec![shape.channels, height, width],
                    kernel,
                    stride,
                    padding,
                );
            }
        }
        let padding = [pads[0], pads[1]];
        let is_symmetric =
            padding == [pads[2], pads[3]] && (0..2).all(|k| (0..window[k] as i64).contains(&padding[k]));
        if is_maximum && is_symmetric {
            let padding = padding.map(|pad| pad as usize);
            let rest = |k: usize| (sizes[k] + 2 * padding[k]).checked_sub(window[k]);
            if let [Some(rows), Some(columns)] = [rest(0), rest(1)]
                && (!rounds_up || (rows % strides[0] == 0 && columns % strides[1] == 0))
            {
                let dims = vec![shape.channels, rows / strides[0] + 1, columns / strides[1] + 1];
                let layer = Layer::MaxPoolStrided { window, stride: strides, padding };
                return self.value(Op::Layer(layer), vec![id], dims);
            }
        }
        unsupported(format!(
            "windows of {window:?} at strides of {strides:?} with pads {pads:?}{}",
            if rounds_up { " and ceil_mode" } else { "" }
        ))
    }

    /// The mean over overlapping windows, as a convolution of each channel.
    fn mean_of_windows(
        &mut self,
        id: usize,
        dims: Vec<usize>,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Computed, Fault> {
        let channels = dims[0];
        let pairs = channels.saturating_mul(channels);
        let mut weight = super::convolution::kernel_of_zeros(channels, channels, kernel, pairs)?;
        let pixels = kernel * kernel;
        for channel in 0..channels {
            let first = (channel * channels + channel) * pixels;
            weight[first..first + pixels].fill(1.0 / pixels as f32);
        }
        let convolution = Convolution::new(channels, kernel).stride(stride).padding(padding).bias(Bias::None);
        let weights = Weights { weight: weight.into(), bias: None };
        self.value(Op::Convolution(convolution, weights), vec![id], dims)
    }

    pub(super) fn global_pool(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let (id, shape) = self.image(args.computed(0)?)?;
        let window = [shape.height, shape.width];
        let is_mean = args.operator() == "GlobalAveragePool";
        let layer = if is_mean { Layer::AveragePool { window } } else { Layer::MaxPool { window } };
        self.value(Op::Layer(layer), vec![id], vec![shape.channels, 1, 1])
    }

    /// The mean or the maximum over rows and columns.
    pub(super) fn reduce(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let is_mean = args.operator() == "ReduceMean";
        let axes = match args.input(1) {
            Some(_) => Some(args.integers(1)?),
            None => args.integers_attribute("axes").map(<[i64]>::to_vec),
        };
        let axes = axes.unwrap_or_default();
        let mut own: Vec<usize> = axes.iter().map(|&axis| value.axis(axis)).collect::<Result<_, _>>()?;
        own.sort_unstable();
        if own != [1, 2] {
            return unsupported(format!("it works along axes {axes:?}, expected rows and columns"));
        }
        let (id, shape) = self.image(value)?;
        let window = [shape.height, shape.width];
        let layer = if is_mean { Layer::AveragePool { window } } else { Layer::MaxPool { window } };
        let mut made = self.value(Op::Layer(layer), vec![id], vec![shape.channels, 1, 1])?;
        if args.integer_attribute("keepdims", 1) == 0 {
            made.dims.truncate(1);
        }
        Ok(made)
    }

    pub(super) fn resize(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let (id, shape) = self.image(value)?;
        let from = [shape.height, shape.width];
        let to = target(args, value)?;
        if to == from {
            return Ok(value.clone());
        }
        if to.iter().any(|&length| length > LARGEST_LENGTH) {
            return unsupported(format!("it makes images of {to:?}"));
        }
        if (0..2).any(|k| to[k] == 0 || to[k] % from[k] != 0) || to[0] / from[0] != to[1] / from[1] {
            return unsupported(format!(
                "it makes {to:?} of {from:?}, expected the same whole factor along both"
            ));
        }
        let factor = to[0] / from[0];
        let is_old = args.operator() == "Upsample" || args.opset() < 11;
        let mode = args.text_attribute("mode", "nearest");
        let default = if is_old { "asymmetric" } else { "half_pixel" };
        let place = args.text_attribute("coordinate_transformation_mode", default);
        let layer = match (mode, place) {
            ("nearest", _) => {
                let rounding =
                    if is_old { "floor" } else { args.text_attribute("nearest_mode", "round_prefer_floor") };
                if !is_repetition(factor, from, place, rounding) {
                    return unsupported(format!(
                        "mode nearest by {place} and {rounding} does not repeat pixels"
                    ));
                }
                Layer::UpsampleNearest { factor }
            }
            ("linear", "half_pixel") => Layer::UpsampleBilinear { factor },
            // Differs from half_pixel only for an output of one pixel, which upsampling never has.
            ("linear", "pytorch_half_pixel") => Layer::UpsampleBilinear { factor },
            ("linear", "align_corners") => Layer::UpsampleBilinearCorners { factor },
            _ => return unsupported(format!("mode {mode} by {place}")),
        };
        let dims = vec![shape.channels, to[0], to[1]];
        self.value(Op::Layer(layer), vec![id], dims)
    }
}

/// Rows and columns after `Resize`, from its sizes or from its factors.
///
/// Factors must be whole numbers. ONNX places pixels by the factor itself, not by the ratio of sizes, so that a factor of
/// 2.1 differs from one of 2 even if both make images of the same size.
fn target(args: &Args<'_>, value: &Computed) -> Result<[usize; 2], Fault> {
    if args
        .attribute("axes", attribute::INTS)
        .is_some_and(|axes| axes.ints != [0, 1, 2, 3] && axes.ints != [2, 3])
    {
        return unsupported("it names other axes than rows and columns");
    }
    let given = |index: usize| match args.input(index) {
        Some(Value::Constant(tensor)) if tensor.len() == 0 => None,
        other => other,
    };
    let last_two = |length: usize| match length {
        2 | 4 => Ok(length - 2),
        _ => invalid(format!("it has {length} sizes or factors")),
    };
    let sizes_at = if args.operator() == "Resize" && args.opset() >= 11 { Some(3) } else { None };
    let factors_at = if args.operator() == "Resize" && args.opset() >= 11 { 2 } else { 1 };
    if let Some(index) = sizes_at.filter(|&index| given(index).is_some()) {
        let sizes = args.sizes(index)?;
        let first = last_two(sizes.len())?;
        if first == 2 && sizes[1].value().and_then(|c| usize::try_from(c).ok()) != value.dims.first().copied()
        {
            return unsupported("it changes the number of channels");
        }
        let size = |k: usize| sizes[first + k].value().and_then(|size| usize::try_from(size).ok());
        return match (size(0), size(1)) {
            (Some(height), Some(width)) => Ok([height, width]),
            _ => unsupported("its sizes depend on the batch"),
        };
    }
    let factors = match given(factors_at) {
        Some(_) => args.floats(factors_at)?.1,
        None => args.attribute("scales", attribute::FLOATS).map_or(&[][..], |attribute| &attribute.floats),
    };
    let first = last_two(factors.len())?;
    if first == 2 && (factors[1] != 1.0 || (factors[0] != 1.0 && !factors[0].is_nan())) {
        return unsupported(format!("its factors are {factors:?}"));
    }
    let is_whole = |factor: f32| (f64::from(factor) - f64::from(factor).round()).abs() <= 1e-6;
    if !factors[first..].iter().all(|&factor| is_whole(factor)) {
        return unsupported(format!("its factors are {factors:?}, expected whole numbers"));
    }
    let size = |k: usize| {
        let size = (f64::from(factors[first + k]) * value.dims[1 + k] as f64).floor();
        if (1.0..=1e6).contains(&size) {
            Ok(size as usize)
        } else {
            unsupported(format!("its factors are {factors:?}"))
        }
    };
    Ok([size(0)?, size(1)?])
}

/// Whether nearest-neighbor interpolation repeats each pixel.
fn is_repetition(factor: usize, from: [usize; 2], place: &str, rounding: &str) -> bool {
    from.iter().all(|&length| {
        let to = length * factor;
        (0..to).all(|k| {
            let (k_real, factor_real) = (k as f64, factor as f64);
            let at = match place {
                "asymmetric" => k_real / factor_real,
                "half_pixel" | "pytorch_half_pixel" => (k_real + 0.5) / factor_real - 0.5,
                "align_corners" => k_real * (length as f64 - 1.0) / (to as f64 - 1.0),
                _ => return false,
            };
            let nearest = match rounding {
                "floor" => at.floor(),
                "ceil" => at.ceil(),
                "round_prefer_floor" => (at - 0.5).ceil(),
                "round_prefer_ceil" => (at + 0.5).floor(),
                _ => return false,
            };
            nearest.clamp(0.0, length as f64 - 1.0) == (k / factor) as f64
        })
    })
}
