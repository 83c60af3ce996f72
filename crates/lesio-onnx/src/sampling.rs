//! The sampling of a latent vector in the graph of a variational autoencoder: where the vector is, and what the
//! sampling takes an output for.

use std::sync::Arc;

use lesio_nn::Layer;

use crate::args::Computed;
use crate::error::OnnxError;
use crate::ir::{Affine, Id, Op};
use crate::lower::{Lowered, shape_of};

/// How the sampling computes the standard deviation from an output `x`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deviation {
    /// The logarithm of the variance is `scale * x + shift`.
    Exponential { scale: f64, shift: f64 },
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
    /// tensor is: that of a standard deviation or of a precision is multiplied. Returns this as a decision, too.
    ///
    /// # Errors
    /// For a tensor that is no such logarithm.
    pub(crate) fn log_variance(&mut self, name: &str) -> Result<(Computed, Option<String>), OnnxError> {
        let value = self.computed(name)?.clone();
        let (scale, shift) = match self.deviation(value.id) {
            Deviation::Exponential { scale, shift } => (scale as f32, shift as f32),
            Deviation::Unknown => (1.0, 0.0),
            Deviation::Other => {
                let reason = "is not the logarithm of the variance: the sampling computes the standard deviation \
                              otherwise than as an exponential of it. Export the logarithm";
                return Err(OnnxError::Tensor { name: name.to_owned(), reason: reason.to_owned() });
            }
        };
        if (scale - 1.0).abs() < 1e-5 && shift.abs() < 1e-5 {
            return Ok((value, None));
        }
        let mut decision =
            format!("by the sampling of the model, the log-variance is {scale} times {name:?}");
        if shift != 0.0 {
            decision += &format!(" plus {shift}");
        }
        let (shape, origin) = (self.graph.shape(value.id), Arc::clone(&self.graph.nodes[value.id].origin));
        let id = self.graph.push(Op::Affine(Affine::scalar(scale, shift)), vec![value.id], shape, &origin);
        Ok((Computed { id, dims: value.dims }, Some(decision)))
    }

    /// How the value that is multiplied by random numbers is computed from a tensor.
    fn deviation(&self, of: Id) -> Deviation {
        let own = self.line(of);
        for node in self.graph.nodes.iter().filter(|node| matches!(node.op, Op::Multiply)) {
            let [a, b] = node.inputs[..] else { continue };
            for (noise, factor) in [(a, b), (b, a)] {
                let (scale, shift, drawn) = self.line(noise);
                if !matches!(self.graph.nodes[drawn].op, Op::Random) || shift != 0.0 || scale == 0.0 {
                    continue;
                }
                match self.deviation_along(factor, own, scale.abs().ln()) {
                    Deviation::Unknown => {}
                    found => return found,
                }
            }
        }
        Deviation::Unknown
    }

    /// Follows the computation of a standard deviation back to a tensor. `shift` is the logarithm of a factor of it.
    fn deviation_along(&self, mut id: Id, own: (f64, f64, Id), mut shift: f64) -> Deviation {
        let (own_scale, own_shift, own) = own;
        // The logarithm of the deviation is `power` times the logarithm of the value at `id`, plus `shift`.
        let mut power = 1.0;
        loop {
            // What is added to the deviation only keeps it from 0.
            let (scale, _, base) = self.line(id);
            if base == own {
                return Deviation::Other;
            }
            if scale <= 0.0 {
                return Deviation::Unknown;
            }
            shift += power * scale.ln();
            let node = &self.graph.nodes[base];
            let Some(&before) = node.inputs.first() else { return Deviation::Unknown };
            match node.op {
                Op::Power(exponent) => {
                    power *= f64::from(exponent);
                    id = before;
                }
                Op::Exp => {
                    let (slope, offset, argument) = self.line(before);
                    let scale = power * slope / own_scale;
                    if argument != own || scale == 0.0 || !scale.is_finite() {
                        return Deviation::Unknown;
                    }
                    let shift = shift + power * offset - scale * own_shift;
                    return Deviation::Exponential { scale: 2.0 * scale, shift: 2.0 * shift };
                }
                Op::Function if self.line(before).2 == own => return Deviation::Other,
                _ => return Deviation::Unknown,
            }
        }
    }

    /// A value as `scale * other + shift`, apart from its shape: the scale, the shift and the other node.
    fn line(&self, mut id: Id) -> (f64, f64, Id) {
        let (mut scale, mut shift) = (1.0, 0.0);
        loop {
            let node = &self.graph.nodes[id];
            match (&node.op, &node.inputs[..]) {
                (Op::Layer(Layer::Reshape(_)), &[before]) => id = before,
                (Op::Affine(affine), &[before]) => {
                    let Some((factor, summand)) = affine.as_scalar() else { return (scale, shift, id) };
                    shift += scale * f64::from(summand);
                    scale *= f64::from(factor);
                    id = before;
                }
                _ => return (scale, shift, id),
            }
        }
    }
}
