//! The sampling of a latent vector in the graph of a variational autoencoder: where the vector is, and what the
//! sampling takes an output for.

use std::sync::Arc;

use lesio_nn::{Activation, Layer};

use crate::args::Computed;
use crate::error::OnnxError;
use crate::ir::{Affine, Id, Op};
use crate::lower::{Lowered, shape_of};
use crate::vae::is_deviation;

/// How the sampling computes the standard deviation from an output `x`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deviation {
    /// The logarithm of the variance is `scale * x`, apart from limits. A constant factor of the noise, such as a
    /// temperature, is no part of the posterior.
    Exponential { scale: f64 },
    /// It is `x` or another function of `x`.
    Other,
    /// The sampling does not use `x`, or the graph does not show how.
    Unknown,
}

impl Lowered {
    /// The latent vector of a reconstruction. If the reconstruction depends on random numbers, this is the first
    /// value that depends on them and through which the whole reconstruction is computed; otherwise it is the mean.
    pub(crate) fn latent(&self, reconstruction: &Computed, mean: &Computed) -> Result<Computed, OnnxError> {
        let all = self.graph.order(&[reconstruction.id]);
        let mut depends = vec![false; self.graph.nodes.len()];
        for &id in &all {
            let node = &self.graph.nodes[id];
            depends[id] = matches!(node.op, Op::Random) || node.inputs.iter().any(|&input| depends[input]);
        }
        let is_sampled = depends[reconstruction.id];
        let candidates: Vec<Id> = match is_sampled {
            true => all.iter().copied().filter(|&id| depends[id]).take(64).collect(),
            false => vec![mean.id],
        };
        let length = shape_of(&mean.dims).map(|shape| shape.len());
        for id in candidates {
            let shape = self.graph.shape(id);
            if Some(shape.len()) == length && id != reconstruction.id && self.is_cut(reconstruction.id, id) {
                let dims = match shape.pixels() {
                    1 => vec![shape.channels],
                    _ => vec![shape.channels, shape.height, shape.width],
                };
                return Ok(Computed { id, dims });
            }
        }
        Err(OnnxError::Model(
            "has no tensor that is clearly its latent vector: name the one that the decoder reads".to_owned(),
        ))
    }

    /// Whether everything that a value depends on passes through one node.
    fn is_cut(&self, of: Id, at: Id) -> bool {
        let mut seen = vec![false; self.graph.nodes.len()];
        let mut stack = vec![of];
        while let Some(id) = stack.pop() {
            if id == at || std::mem::replace(&mut seen[id], true) {
                continue;
            }
            let node = &self.graph.nodes[id];
            if matches!(node.op, Op::Input | Op::Random) {
                return false;
            }
            stack.extend(&node.inputs);
        }
        true
    }

    /// Whether a value depends on random numbers.
    pub(crate) fn is_random(&self, value: &Computed) -> bool {
        self.graph.order(&[value.id]).iter().any(|&id| matches!(self.graph.nodes[id].op, Op::Random))
    }

    /// Whether the sampling computes its standard deviation from a tensor.
    pub(crate) fn has_deviation_of(&self, name: &str) -> bool {
        self.computed(name).is_ok_and(|value| self.deviation(value.id) != Deviation::Unknown)
    }

    /// The logarithm of the variance, from the tensor that is named as such. The sampling shows which logarithm the
    /// tensor is: that of a standard deviation or of a precision is multiplied. Returns this as a decision, too, as it
    /// does if there is a sampling that does not show it, and if nothing shows it and the name is that of a deviation.
    ///
    /// # Errors
    /// For a tensor that is no such logarithm.
    pub(crate) fn log_variance(&mut self, name: &str) -> Result<(Computed, Option<String>), OnnxError> {
        let value = self.computed(name)?.clone();
        let scale = match self.deviation(value.id) {
            Deviation::Exponential { scale } => scale as f32,
            Deviation::Unknown => {
                let is_sampled = self.graph.nodes.iter().any(|node| matches!(node.op, Op::Random));
                let mut decision = is_sampled.then(|| {
                    format!("the sampling does not show what {name:?} is: it is taken for the log-variance")
                });
                if is_deviation(name) {
                    decision = Some(format!(
                        "{name:?} is taken for the log-variance although its name is that of a standard deviation, since no \
                         sampling shows what it is: if it is the logarithm of the standard deviation, export twice of it"
                    ));
                }
                return Ok((value, decision));
            }
            Deviation::Other => {
                let reason = "is not the logarithm of the variance: the sampling computes the standard deviation \
                              otherwise than as an exponential of it. Export the logarithm";
                return Err(OnnxError::Tensor { name: name.to_owned(), reason: reason.to_owned() });
            }
        };
        if (scale - 1.0).abs() < 1e-5 {
            return Ok((value, None));
        }
        let decision = format!("by the sampling of the model, the log-variance is {scale} times {name:?}");
        let (shape, origin) = (self.graph.shape(value.id), Arc::clone(&self.graph.nodes[value.id].origin));
        let id = self.graph.push(Op::Affine(Affine::scalar(scale, 0.0)), vec![value.id], shape, &origin);
        Ok((Computed { id, dims: value.dims }, Some(decision)))
    }

    /// How the value that is multiplied by random numbers is computed from a tensor.
    fn deviation(&self, of: Id) -> Deviation {
        let (own_scale, own) = self.line(of);
        for node in self.graph.nodes.iter().filter(|node| matches!(node.op, Op::Multiply)) {
            let [a, b] = node.inputs[..] else { continue };
            for (noise, factor) in [(a, b), (b, a)] {
                let (_, drawn) = self.line(noise);
                if !matches!(self.graph.nodes[drawn].op, Op::Random) {
                    continue;
                }
                match self.deviation_along(factor, own_scale, own) {
                    Deviation::Unknown => {}
                    found => return found,
                }
            }
        }
        Deviation::Unknown
    }

    /// Follows the computation of a standard deviation back to `own`, of which the tensor is `own_scale` times.
    fn deviation_along(&self, mut id: Id, own_scale: f64, own: Id) -> Deviation {
        // The logarithm of the deviation is `power` times the logarithm of the value at `id`, apart from a constant.
        let mut power = 1.0;
        loop {
            // What is added to the deviation only keeps it from 0.
            let (_, base) = self.line(id);
            if base == own {
                return Deviation::Other;
            }
            let node = &self.graph.nodes[base];
            match (&node.op, &node.inputs[..]) {
                (Op::Power(exponent), &[before]) => {
                    power *= f64::from(*exponent);
                    id = before;
                }
                // The square, and the cube.
                (Op::Multiply, &[a, b]) if a == b => {
                    power *= 2.0;
                    id = a;
                }
                (Op::Multiply, &[a, b]) if self.is_square(a, b) => {
                    power *= 3.0;
                    id = b;
                }
                (Op::Exp, &[before]) => {
                    let (slope, argument) = self.line(before);
                    let scale = 2.0 * power * slope / own_scale;
                    if argument == own && scale != 0.0 && scale.is_finite() {
                        return Deviation::Exponential { scale };
                    }
                    return self.otherwise(base, own);
                }
                _ => return self.otherwise(base, own),
            }
        }
    }

    fn is_square(&self, id: Id, of: Id) -> bool {
        let node = &self.graph.nodes[id];
        matches!(node.op, Op::Multiply) && node.inputs[..] == [of, of]
    }

    /// [`Deviation::Other`] if a value is computed from `own` value by value.
    fn otherwise(&self, of: Id, own: Id) -> Deviation {
        let mut seen = vec![false; self.graph.nodes.len()];
        let mut stack = vec![of];
        while let Some(id) = stack.pop() {
            if id == own {
                return Deviation::Other;
            }
            let node = &self.graph.nodes[id];
            let is_elementwise = match &node.op {
                Op::Layer(Layer::Activation(_) | Layer::Reshape(_) | Layer::Add) => true,
                op => matches!(
                    op,
                    Op::Affine(_) | Op::Multiply | Op::Power(_) | Op::Erf | Op::Exp | Op::Function
                ),
            };
            if is_elementwise && !std::mem::replace(&mut seen[id], true) {
                stack.extend(&node.inputs);
            }
        }
        Deviation::Unknown
    }

    /// A value as `scale * other + constant`, apart from its shape and its limits: the scale and the other node.
    fn line(&self, mut id: Id) -> (f64, Id) {
        let mut scale = 1.0;
        loop {
            let node = &self.graph.nodes[id];
            match (&node.op, &node.inputs[..]) {
                (Op::Layer(Layer::Reshape(_)), &[before]) => id = before,
                // A limit of 0.
                (Op::Layer(Layer::Activation(Activation::LeakyRelu { slope: 0.0 })), &[before]) => {
                    id = before;
                }
                (Op::Layer(Layer::Add), &[before, excess]) if self.is_excess(excess, before) => id = before,
                (Op::Affine(affine), &[before]) => {
                    let Some((factor, _)) = affine.as_scalar() else { return (scale, id) };
                    scale *= f64::from(factor);
                    id = before;
                }
                _ => return (scale, id),
            }
        }
    }

    /// Whether a value is what a value has beyond a limit, negative, as the conversion of `Clip` adds it.
    fn is_excess(&self, excess: Id, value: Id) -> bool {
        let (outside, rectified) = self.scaled(excess);
        let node = &self.graph.nodes[rectified];
        let (Op::Layer(Layer::Activation(Activation::LeakyRelu { slope: 0.0 })), &[argument]) =
            (&node.op, &node.inputs[..])
        else {
            return false;
        };
        let (inside, limited) = self.scaled(argument);
        limited == value && (outside * inside + 1.0).abs() < 1e-3
    }

    /// The scale of a single affine map, and the node that it reads.
    fn scaled(&self, id: Id) -> (f64, Id) {
        let node = &self.graph.nodes[id];
        match (&node.op, &node.inputs[..]) {
            (Op::Affine(affine), &[before]) => {
                affine.as_scalar().map_or((1.0, id), |(factor, _)| (f64::from(factor), before))
            }
            _ => (1.0, id),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::hostile::{bytes_of, floats, node};
    use crate::ir::Op;
    use crate::model::OnnxModel;
    use crate::proto::NodeProto;

    /// By what the log-variance is a multiple of the output `s`, from which the sampling computes the deviation `d`,
    /// and the decision; or the error.
    fn multiple(deviation: Vec<NodeProto>) -> Result<(f32, Option<String>), String> {
        let mut nodes = vec![
            node("Conv", &["x", "w"], "m"),
            node("Conv", &["x", "v"], "s"),
            node("RandomNormalLike", &["m"], "plain"),
            node("Mul", &["plain", "tenth"], "noise"),
        ];
        nodes.extend(deviation);
        nodes.extend([node("Mul", &["d", "noise"], "off"), node("Add", &["m", "off"], "y")]);
        let weights = vec![
            floats("w", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]),
            floats("v", &[2, 2, 1, 1], &[0.5, -2.0, 3.0, 4.0]),
            floats("tenth", &[], &[0.1]),
            floats("half", &[], &[0.5]),
            floats("two", &[], &[2.0]),
            floats("low", &[], &[-20.0]),
            floats("high", &[], &[2.0]),
            floats("zero", &[], &[0.0]),
            floats("small", &[], &[1e-3]),
        ];
        let model = OnnxModel::from_bytes(&bytes_of(&[1, 2, 4, 4], nodes, weights, &["y", "s"])).unwrap();
        let mut lowered = model.lowered(&["y", "s"], None).unwrap();
        let own = lowered.computed("s").unwrap().id;
        let (found, decision) = lowered.log_variance("s").map_err(|error| error.to_string())?;
        let (scale, shift) = match &lowered.graph.nodes[found.id].op {
            Op::Affine(affine) if found.id != own => affine.as_scalar().unwrap(),
            _ => (1.0, 0.0),
        };
        assert_eq!(shift, 0.0);
        Ok((scale, decision))
    }

    #[test]
    fn the_sampling_shows_the_logarithm_through_its_limits() {
        let exp = |of: &str| node("Exp", &[of], "d");
        let line = |factor: &str| node("Mul", &["s", factor], "l");
        let clip = |of: &str, to: &str| node("Clip", &[of, "low", "high"], to);
        for (deviation, expected) in [
            (vec![line("half"), exp("l")], 1.0),
            (vec![exp("s")], 2.0),
            (vec![clip("s", "c"), exp("c")], 2.0),
            (vec![clip("s", "c"), node("Mul", &["c", "half"], "l"), exp("l")], 1.0),
            (vec![node("Min", &["s", "zero"], "c"), exp("c")], 2.0),
            (vec![node("Exp", &["s"], "e"), node("Max", &["e", "small"], "d")], 2.0),
            (vec![node("Exp", &["s"], "e"), node("Pow", &["e", "two"], "d")], 4.0),
            (vec![node("Exp", &["s"], "e"), node("Mul", &["e", "tenth"], "d")], 2.0),
            (vec![node("Exp", &["s"], "e"), node("Sqrt", &["e"], "d")], 1.0),
        ] {
            let (scale, decision) = multiple(deviation).unwrap();
            assert_eq!((scale, decision.is_some()), (expected, expected != 1.0), "{decision:?}");
        }
        for deviation in [
            vec![node("Softplus", &["s"], "d")],
            vec![clip("s", "c"), node("Softplus", &["c"], "d")],
            vec![node("Sigmoid", &["s"], "d")],
            vec![node("Mul", &["s", "s"], "q"), exp("q")],
            vec![node("Identity", &["s"], "d")],
        ] {
            let error = multiple(deviation).unwrap_err();
            assert!(error.contains("\"s\": is not the logarithm of the variance"), "{error}");
        }
        let (scale, decision) = multiple(vec![node("Exp", &["m"], "d")]).unwrap();
        assert_eq!(scale, 1.0);
        let expected = "the sampling does not show what \"s\" is: it is taken for the log-variance";
        assert_eq!(decision.as_deref(), Some(expected));
    }
}
