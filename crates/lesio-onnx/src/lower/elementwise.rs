//! Elementwise functions and arithmetic.

use lesio_nn::{Activation, Layer};

use super::Lowering;
use crate::args::{Args, Computed, Value};
use crate::error::{Fault, invalid, unsupported};
use crate::ir::{Affine, Id, Op};
use crate::tensor::Tensor;

/// Functions without a layer whose results have the shape of their input. Parts of a model that are left out, such as
/// the sampling of a latent vector, may use them.
const FUNCTIONS: &[&str] = &[
    "Abs",
    "Celu",
    "Elu",
    "HardSwish",
    "Log",
    "LogSoftmax",
    "Mish",
    "Selu",
    "Sign",
    "Softmax",
    "Softplus",
    "Softsign",
    "Swish",
    "ThresholdedRelu",
];

impl Lowering {
    pub(super) fn function(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let known = match args.operator() {
            "Relu" => Activation::RELU,
            "Sigmoid" => Activation::Sigmoid,
            "Tanh" => Activation::Tanh,
            "LeakyRelu" => {
                let slope = args.float_attribute("alpha", 0.01);
                return self.rectified(args.computed(0)?, slope);
            }
            "PRelu" => {
                let (dims, slopes) = args.floats(1)?;
                let Some(&slope) = slopes.first().filter(|first| slopes.iter().all(|slope| slope == *first))
                else {
                    return unsupported(format!("it has slopes of shape {dims:?}, expected one"));
                };
                return self.rectified(args.computed(0)?, slope);
            }
            "Gelu" => match args.text_attribute("approximate", "none") {
                "none" => Activation::Gelu,
                "tanh" => Activation::GeluTanh,
                other => return unsupported(format!("its approximation is {other}")),
            },
            "Swish" if args.float_attribute("alpha", 1.0) == 1.0 => Activation::Silu,
            "Neg" => return self.affine(args.computed(0)?, Affine::scalar(-1.0, 0.0)),
            "HardSigmoid" => {
                let (alpha, beta) = (args.float_attribute("alpha", 0.2), args.float_attribute("beta", 0.5));
                let line = self.affine(args.computed(0)?, Affine::scalar(alpha, beta))?;
                return self.between(line, 0.0, 1.0);
            }
            "Erf" => return self.plain(args, Op::Erf),
            "Exp" => return self.plain(args, Op::Exp),
            "Sqrt" => return self.plain(args, Op::Power(0.5)),
            "Reciprocal" => return self.plain(args, Op::Power(-1.0)),
            other if FUNCTIONS.contains(&other) => return self.plain(args, Op::Function),
            _ => return unsupported("it has no counterpart among lesio's layers"),
        };
        self.plain(args, Op::Layer(Layer::Activation(known)))
    }

    /// An operation that is applied to each value.
    fn plain(&mut self, args: &Args<'_>, op: Op) -> Result<Computed, Fault> {
        Ok(self.each(args.computed(0)?, op))
    }

    fn each(&mut self, value: &Computed, op: Op) -> Computed {
        let shape = self.graph.shape(value.id);
        Computed { id: self.push(op, vec![value.id], shape), dims: value.dims.clone() }
    }

    /// `x` if it is positive, otherwise `slope * x`.
    fn rectified(&mut self, value: &Computed, slope: f32) -> Result<Computed, Fault> {
        if (0.0..1.0).contains(&slope) {
            return Ok(self.each(value, Op::Layer(Layer::Activation(Activation::LeakyRelu { slope }))));
        }
        if !slope.is_finite() {
            return invalid(format!("its slope is {slope}"));
        }
        // relu(x) - slope * relu(-x)
        let relu = || Op::Layer(Layer::Activation(Activation::RELU));
        let positive = self.each(value, relu());
        let turned = self.affine(value, Affine::scalar(-1.0, 0.0))?;
        let negative = self.each(&turned, relu());
        let negative = self.affine(&negative, Affine::scalar(-slope, 0.0))?;
        self.sum(&[positive, negative])
    }

    /// Limits values to a range.
    pub(super) fn clip(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let limit = |index: usize| match args.input(index) {
            None => Ok(None),
            Some(_) => match args.floats(index)? {
                (_, &[one]) => Ok(Some(one)),
                (dims, _) => unsupported(format!("input {index} has shape {dims:?}, expected one number")),
            },
        };
        let (value, low, high) = match args.operator() {
            "Clip" if args.opset() < 11 => {
                let value = args.computed(0)?;
                (value, args.float_attribute("min", f32::MIN), args.float_attribute("max", f32::MAX))
            }
            "Clip" => (args.computed(0)?, limit(1)?.unwrap_or(f32::MIN), limit(2)?.unwrap_or(f32::MAX)),
            operator => {
                let of_constant = |index: usize| matches!(args.input(index), Some(Value::Constant(_)));
                let (value, constant) = if of_constant(0) { (1, 0) } else { (0, 1) };
                if args.count() != 2 || !of_constant(constant) {
                    return unsupported("it compares values of the network");
                }
                let bound = limit(constant)?.unwrap_or(0.0);
                let value = args.computed(value)?;
                if operator == "Max" { (value, bound, f32::MAX) } else { (value, f32::MIN, bound) }
            }
        };
        if low.is_nan() || high.is_nan() || low > high {
            return invalid(format!("its limits are {low} and {high}"));
        }
        self.between(value.clone(), low, high)
    }

    /// Limits values to a range. A limit that the values cannot exceed is left out.
    fn between(&mut self, mut value: Computed, low: f32, high: f32) -> Result<Computed, Fault> {
        let [least, most] = self.range(value.id);
        if low > least {
            value = self.limited(&value, low, -1.0)?;
        }
        if high < most {
            value = self.limited(&value, high, 1.0)?;
        }
        Ok(value)
    }

    /// `min(x, limit) = x - relu(x - limit)`; with a `side` of -1, `max(x, limit) = x + relu(limit - x)`.
    ///
    /// A value within the limit is exactly unchanged, however large the limit is, since exactly 0 is subtracted.
    /// (`limit - relu(limit - x)` would round the value to the precision of the limit.)
    ///
    /// A value beyond the limit becomes the limit up to rounding, which is that of the value if the value is much
    /// larger than the limit. Therefore the first subtraction leaves a small share of the excess, more than its
    /// rounding takes away, and a second subtraction removes the rest. An error of 2^-40 of the excess remains.
    fn limited(&mut self, value: &Computed, limit: f32, side: f32) -> Result<Computed, Fault> {
        let relu = || Op::Layer(Layer::Activation(Activation::RELU));
        if limit == 0.0 {
            // relu(x) or -relu(-x), which are exact.
            let turned = self.affine(value, Affine::scalar(-side, 0.0))?;
            let kept = self.each(&turned, relu());
            return self.affine(&kept, Affine::scalar(-side, 0.0));
        }
        let mut value = Computed { id: self.shaped(value)?.0, dims: value.dims.clone() };
        for share in [1.0 - 2f32.powi(-16), 1.0] {
            let excess = self.affine(&value, Affine::scalar(side, -side * limit))?;
            let excess = self.each(&excess, relu());
            let excess = self.affine(&excess, Affine::scalar(-side * share, 0.0))?;
            value = self.sum(&[value, excess])?;
        }
        Ok(value)
    }

    /// A range that contains all values of a node.
    fn range(&self, mut id: Id) -> [f32; 2] {
        while let (Op::Layer(Layer::Reshape(_)), &[before]) =
            (&self.graph.nodes[id].op, &self.graph.nodes[id].inputs[..])
        {
            id = before;
        }
        match self.graph.nodes[id].op {
            Op::Layer(Layer::Activation(Activation::Sigmoid)) => [0.0, 1.0],
            Op::Layer(Layer::Activation(Activation::Tanh)) => [-1.0, 1.0],
            Op::Layer(Layer::Activation(Activation::LeakyRelu { slope: 0.0 })) => [0.0, f32::MAX],
            _ => [f32::MIN, f32::MAX],
        }
    }

    /// A scale and a shift, the same for all values or one for each channel.
    pub(super) fn affine(&mut self, value: &Computed, affine: Affine) -> Result<Computed, Fault> {
        if affine.scale.iter().chain(&affine.shift).any(|number| !number.is_finite()) {
            return unsupported("it computes with a constant that is not finite");
        }
        if affine.as_scalar() == Some((1.0, 0.0)) {
            return Ok(value.clone());
        }
        if affine.scale.len() == 1 && affine.shift.len() == 1 {
            return Ok(self.each(value, Op::Affine(affine)));
        }
        let (id, _) = self.shaped(value)?;
        self.value(Op::Affine(affine), vec![id], value.dims.clone())
    }

    fn sum(&mut self, parts: &[Computed]) -> Result<Computed, Fault> {
        let Some(first) = parts.first() else { return invalid("it has no inputs") };
        let mut ids = Vec::new();
        for part in parts {
            if part.dims != first.dims {
                return unsupported(format!(
                    "it joins values of shapes {:?} and {:?}",
                    first.dims, part.dims
                ));
            }
            ids.push(self.shaped(part)?.0);
        }
        self.value(Op::Layer(Layer::Add), ids, first.dims.clone())
    }

    pub(super) fn arithmetic(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let operator = args.operator();
        if operator == "Sum" && args.count() != 2 {
            let parts: Vec<Computed> =
                (0..args.count()).map(|k| args.computed(k).cloned()).collect::<Result<_, _>>()?;
            return if let [only] = &parts[..] { Ok(only.clone()) } else { self.sum(&parts) };
        }
        let first = self.as_constant(args.input(0), args.input(1));
        let second = if first.is_none() { self.as_constant(args.input(1), args.input(0)) } else { None };
        match (first.as_ref().or(args.input(0)), second.as_ref().or(args.input(1))) {
            (Some(Value::Computed(a)), Some(Value::Computed(b))) => match operator {
                "Add" | "Sum" => self.sum(&[a.clone(), b.clone()]),
                "Sub" => {
                    let b = self.affine(b, Affine::scalar(-1.0, 0.0))?;
                    self.sum(&[a.clone(), b])
                }
                "Mul" if a.dims == b.dims => {
                    let ids = vec![self.shaped(a)?.0, self.shaped(b)?.0];
                    self.value(Op::Multiply, ids, a.dims.clone())
                }
                // A gate, which is repeated along the channels or along the pixels.
                "Mul" if is_repeated(&a.dims, &b.dims) => {
                    let ids = vec![self.shaped(a)?.0, self.shaped(b)?.0];
                    let dims = a.dims.iter().zip(&b.dims).map(|(&a, &b)| a.max(b)).collect();
                    self.value(Op::Multiply, ids, dims)
                }
                _ => unsupported(format!("it joins values of shapes {:?} and {:?}", a.dims, b.dims)),
            },
            (Some(Value::Computed(value)), Some(Value::Constant(constant))) => {
                let values = by_channel(value, constant)?;
                let each = |of: fn(f32) -> f32| values.iter().copied().map(of).collect::<Vec<f32>>();
                let affine = match operator {
                    "Add" | "Sum" => Affine { scale: vec![1.0], shift: values },
                    "Sub" => Affine { scale: vec![1.0], shift: each(|c| -c) },
                    "Mul" => Affine { scale: values, shift: vec![0.0] },
                    _ => Affine { scale: each(|c| 1.0 / c), shift: vec![0.0] },
                };
                self.affine(value, affine)
            }
            (Some(Value::Constant(constant)), Some(Value::Computed(value))) => {
                let values = by_channel(value, constant)?;
                let affine = match operator {
                    "Add" | "Sum" => Affine { scale: vec![1.0], shift: values },
                    "Sub" => Affine { scale: vec![-1.0], shift: values },
                    "Mul" => Affine { scale: values, shift: vec![0.0] },
                    _ => return unsupported("it divides by values of the network"),
                };
                self.affine(value, affine)
            }
            _ => invalid("it needs two inputs"),
        }
    }

    /// The number that fills a tensor, as a constant, if the other value has the same shape.
    fn as_constant(&self, value: Option<&Value>, other: Option<&Value>) -> Option<Value> {
        let (Some(Value::Computed(value)), Some(Value::Computed(other))) = (value, other) else {
            return None;
        };
        match self.graph.nodes[value.id].op {
            Op::Filled(number) if value.dims == other.dims => {
                Some(Value::Constant(Tensor::floats(vec![], vec![number])))
            }
            _ => None,
        }
    }

    pub(super) fn power(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let tensor = args.constant(1)?;
        let exponent = match (tensor.as_floats(), tensor.as_sizes()) {
            (Some(&[exponent]), _) => exponent,
            (_, Some(&[exponent])) => exponent.value().unwrap_or(0) as f32,
            _ => return unsupported("its exponent is not one number"),
        };
        let value = args.computed(0)?;
        let mut power = value.clone();
        let factors = match exponent {
            1.0 => 0,
            2.0 => 1,
            3.0 => 2,
            _ => return Ok(self.each(value, Op::Power(exponent))),
        };
        // Products, as which simplification also recognizes the cube of GELU.
        let shape = self.graph.shape(value.id);
        for _ in 0..factors {
            power.id = self.push(Op::Multiply, vec![power.id, value.id], shape);
        }
        Ok(power)
    }
}

/// Whether the values of two images can be multiplied when those of length 1 are repeated.
fn is_repeated(a: &[usize], b: &[usize]) -> bool {
    a.len() == 3 && b.len() == 3 && a.iter().zip(b).all(|(&a, &b)| a == b || a == 1 || b == 1)
}

/// A constant that is broadcast to a computed value, as one number or one for each channel.
fn by_channel(value: &Computed, constant: &Tensor) -> Result<Vec<f32>, Fault> {
    let Some(values) = constant.as_floats() else {
        return invalid("a constant holds integers, expected floats");
    };
    let refuse = || {
        unsupported(format!(
            "it computes with a constant of shape {:?} and values of shape [n, {:?}], expected one number or one for each \
             channel",
            constant.dims, value.dims
        ))
    };
    // Shapes are aligned at the last axis; the first axis is the batch.
    let rank = value.dims.len() + 1;
    let Some(new) = rank.checked_sub(constant.dims.len()) else { return refuse() };
    let length =
        |axis: usize| axis.checked_sub(new).and_then(|axis| constant.dims.get(axis)).copied().unwrap_or(1);
    let fits = (1..rank).all(|axis| [1, value.dims[axis - 1]].contains(&length(axis)));
    let Some(&first) = values.first().filter(|_| fits && length(0) == 1) else { return refuse() };
    if values.iter().all(|&value| value == first) {
        return Ok(vec![first]);
    }
    if (2..rank).all(|axis| length(axis) == 1) { Ok(values.to_vec()) } else { refuse() }
}

#[cfg(test)]
mod tests {
    use lesio_nn::{Device, Differentiate, Engine, Inference};

    use crate::error::OnnxError;
    use crate::hostile::{bytes, floats, integers, node};
    use crate::model::OnnxModel;
    use crate::proto::{NodeProto, TensorProto};

    /// What a model computes of one sample, and the gradient of the sum of its outputs with respect to its input.
    fn computed(
        dims: &[i64],
        nodes: Vec<NodeProto>,
        constants: Vec<TensorProto>,
        x: &[f32],
    ) -> Result<[Vec<f32>; 2], OnnxError> {
        let model = OnnxModel::from_bytes(&bytes(dims, nodes, constants))?;
        let converted = model.network(&[], None)?;
        let (network, parameters) = (&converted.network, &converted.parameters);
        let inference = Inference::new(network, parameters, Differentiate::Inputs, &Device::Cpu).unwrap();
        let mut pass = inference.run(&[x], 1).unwrap();
        let y = pass.output(0).to_vec();
        let ones = vec![1.0; y.len()];
        pass.backward(&[&ones]).unwrap();
        Ok([y, pass.input_gradient(0).to_vec()])
    }

    const VALUES: [f32; 20] = [
        -1e9, -7e4, -65_503.9, -1234.567, -1.5, -0.3, -1e-6, 1e-6, 0.1, 0.26, 0.5, 0.999, 5.99, 6.5, 1e3,
        1234.567, 65_503.9, 7e4, 3e8, 1e9,
    ];

    fn check_clipped(what: &str, [low, high]: [f32; 2], [y, gradient]: [Vec<f32>; 2]) {
        for (k, x) in VALUES.into_iter().enumerate() {
            let expected = x.clamp(low, high);
            let what = format!("{what} from {low} to {high} of {x}: {} by {}", y[k], gradient[k]);
            if expected == x {
                assert!(y[k] == x && (gradient[k] - 1.0).abs() < 1e-6, "{what}");
            } else {
                let off = (y[k] - expected).abs();
                assert!(off <= 1e-6 * expected.abs() + 1e-11 * x.abs(), "{what}");
                assert!(gradient[k].abs() < 1e-4, "{what}");
            }
        }
    }

    /// Wide limits are guards against infinite values or halves that overflow.
    #[test]
    fn limits_leave_the_values_between_them_unchanged() {
        let dims = [1, VALUES.len() as i64];
        for limits in [
            [-1e8, 1e8],
            [-65_504.0, 65_504.0],
            [-1.0, 1.0],
            [0.25, 6.0],
            [0.0, 6.0],
            [-3.0, 0.0],
            [0.25, 0.25],
            [f32::MIN, 1e8],
            [-1e6, f32::INFINITY],
        ] {
            let constants = || vec![floats("low", &[], &limits[..1]), floats("high", &[], &limits[1..])];
            let clip = vec![node("Clip", &["x", "low", "high"], "y")];
            check_clipped("Clip", limits, computed(&dims, clip, constants(), &VALUES).unwrap());
            let two = vec![node("Max", &["x", "low"], "m"), node("Min", &["high", "m"], "y")];
            check_clipped("Max and Min", limits, computed(&dims, two, constants(), &VALUES).unwrap());
        }
    }

    /// Exporters write it if they do not know the type of a constant yet.
    #[test]
    fn a_constant_is_cast_to_the_type_of_another_value() {
        let nodes = vec![
            node("CastLike", &["two", "x"], "a"),
            node("CastLike", &["two", "half"], "b"),
            node("Mul", &["x", "a"], "c"),
            node("CastLike", &["c", "half"], "d"),
            node("Add", &["d", "b"], "y"),
        ];
        let constants = || vec![integers("two", &[2]), floats("half", &[], &[0.5])];
        let [y, gradient] = computed(&[1, 2], nodes, constants(), &[1.5, -4.0]).unwrap();
        assert_eq!((y, gradient), (vec![5.0, -6.0], vec![2.0; 2]));
        let whole = vec![node("CastLike", &["x", "two"], "y")];
        let error = computed(&[1, 2], whole, constants(), &[1.5, -4.0]).unwrap_err();
        assert!(error.to_string().contains("CastLike (opset 17)"), "{error}");
    }

    #[test]
    fn squares_and_cubes_are_products() {
        let x: Vec<f32> = (0..18).map(|k| (k as f32 - 9.0) / 4.0).collect();
        let model = |exponent: f32| {
            let nodes = vec![node("Pow", &["x", "e"], "p"), node("Conv", &["p", "w"], "y")];
            let constants = vec![floats("e", &[], &[exponent]), floats("w", &[1, 2, 1, 1], &[1.0, -0.5])];
            computed(&[1, 2, 3, 3], nodes, constants, &x)
        };
        for exponent in [1, 2, 3] {
            let [y, gradient] = model(exponent as f32).unwrap();
            // The values are multiples of 1/128: sums are exact.
            for k in 0..9 {
                assert_eq!(y[k], x[k].powi(exponent) - 0.5 * x[k + 9].powi(exponent), "{exponent}");
            }
            for (k, (x, gradient)) in x.iter().zip(gradient).enumerate() {
                let weight = if k < 9 { 1.0 } else { -0.5 };
                assert_eq!(gradient, weight * exponent as f32 * x.powi(exponent - 1), "{exponent}");
            }
        }
        let error = model(0.5).unwrap_err();
        assert!(matches!(error, OnnxError::Unsupported { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("Pow (opset 17)") && text.contains("the power of 0.5, expected 1, 2 or 3"),
            "{text}"
        );
    }
}
