//! Simplification of the graph with the same result: patterns become activations, and scales and selections are
//! merged into weights.

use std::sync::Arc;

use lesio_nn::{Activation, LARGEST_PARAMETERS, Layer, Shape};

use crate::error::NodeName;
use crate::ir::{Affine, Graph, Id, Op, Weights};

/// The maximum number of rounds. Each round makes the graph smaller, except the last.
const MOST_ROUNDS: usize = 32;

/// Simplifies the nodes that `ends` depend on.
pub(crate) fn simplify(graph: &mut Graph, ends: &mut [Id]) {
    let mut budget = LARGEST_PARAMETERS as usize;
    for _ in 0..MOST_ROUNDS {
        let mut round = Round::new(graph, ends, &mut budget);
        for id in round.graph.order(ends) {
            round.node(id);
        }
        let (same, changed) = (round.same, round.changed);
        ends.iter_mut().for_each(|end| *end = same[*end]);
        if !changed {
            return;
        }
    }
}

struct Round<'g> {
    graph: &'g mut Graph,
    /// How many nodes and ends read each node.
    users: Vec<usize>,
    /// The node that replaces each node.
    same: Vec<Id>,
    changed: bool,
    /// The number of weights that may still be copied.
    budget: &'g mut usize,
}

impl<'g> Round<'g> {
    fn new(graph: &'g mut Graph, ends: &[Id], budget: &'g mut usize) -> Self {
        let mut users = vec![0; graph.nodes.len()];
        for id in graph.order(ends) {
            graph.nodes[id].inputs.iter().for_each(|&input| users[input] += 1);
        }
        // An end must stay unchanged, so it counts as if two nodes read it.
        ends.iter().for_each(|&end| users[end] += 2);
        Self { same: (0..graph.nodes.len()).collect(), graph, users, changed: false, budget }
    }

    fn node(&mut self, id: Id) {
        for k in 0..self.graph.nodes[id].inputs.len() {
            let input = self.graph.nodes[id].inputs[k];
            self.graph.nodes[id].inputs[k] = self.same[input];
        }
        match &self.graph.nodes[id].op {
            Op::Layer(Layer::Reshape(_)) => self.reshape(id),
            Op::Values(_) => self.values(id),
            Op::Channels(_) => self.channels(id),
            Op::Linear(_) => self.linear(id),
            Op::Affine(_) => self.affine(id),
            Op::Multiply => self.multiply(id),
            _ => {}
        }
    }

    /// Whether this many weights may be copied. Without this limit, a small file in which many nodes share large
    /// weights would become a large network.
    fn affords(&mut self, weights: usize) -> bool {
        let rest = self.budget.checked_sub(weights);
        if let Some(rest) = rest {
            *self.budget = rest;
        }
        rest.is_some()
    }

    fn op(&self, id: Id) -> &Op {
        &self.graph.nodes[id].op
    }

    fn input(&self, id: Id) -> Id {
        self.graph.nodes[id].inputs.first().copied().unwrap_or(id)
    }

    /// Replaces a node by another operation on another input.
    fn become_of(&mut self, id: Id, op: Op, input: Id) {
        self.graph.nodes[id].op = op;
        self.graph.nodes[id].inputs = vec![input];
        self.changed = true;
    }

    /// Adds a node with one input.
    fn added(&mut self, op: Op, input: Id, shape: Shape, origin: &Arc<NodeName>) -> Id {
        let id = self.graph.push(op, vec![input], shape, origin);
        self.users.push(1);
        self.same.push(id);
        id
    }

    fn stand_for(&mut self, id: Id, other: Id) {
        self.same[id] = other;
        self.changed = true;
    }

    fn reshape(&mut self, id: Id) {
        let before = self.input(id);
        if self.graph.shape(before) == self.graph.shape(id) {
            self.stand_for(id, before);
        } else if matches!(self.op(before), Op::Layer(Layer::Reshape(_))) {
            let op = self.op(id).clone();
            self.become_of(id, op, self.input(before));
        }
    }

    fn values(&mut self, id: Id) {
        let Op::Values(elements) = self.op(id).clone() else { return };
        let before = self.input(id);
        match self.op(before).clone() {
            // Reshaping does not change the order of values.
            Op::Layer(Layer::Reshape(_)) => self.become_of(id, Op::Values(elements), self.input(before)),
            Op::Values(first) => {
                let both = elements.iter().map(|&k| first[k]).collect();
                self.become_of(id, Op::Values(both), self.input(before));
            }
            Op::Linear(weights) => {
                let inputs = self.graph.shape(self.input(before)).len();
                if !self.affords(inputs.saturating_mul(elements.len())) {
                    return;
                }
                let weights = rows(&weights, &elements, inputs);
                self.become_of(id, Op::Linear(weights), self.input(before));
            }
            _ => {
                let pixels = self.graph.shape(before).pixels();
                if let Some(channels) = whole_channels(&elements, pixels) {
                    self.become_of(id, Op::Channels(channels), before);
                }
            }
        }
    }

    fn channels(&mut self, id: Id) {
        let Op::Channels(channels) = self.op(id).clone() else { return };
        let before = self.input(id);
        match self.op(before).clone() {
            Op::Channels(first) if self.graph.shape(before).channels == first.len() => {
                let both = channels.iter().map(|&k| first[k]).collect();
                self.become_of(id, Op::Channels(both), self.input(before));
            }
            Op::Linear(weights) if self.graph.shape(before).pixels() == 1 => {
                let inputs = self.graph.shape(self.input(before)).len();
                if !self.affords(inputs.saturating_mul(channels.len())) {
                    return;
                }
                let weights = rows(&weights, &channels, inputs);
                self.become_of(id, Op::Linear(weights), self.input(before));
            }
            Op::Layer(Layer::Reshape(_)) => {
                let pixels = self.graph.shape(before).pixels();
                if matches!(self.op(self.input(before)), Op::Linear(_)) {
                    let elements = channels.iter().flat_map(|&c| c * pixels..(c + 1) * pixels).collect();
                    self.become_of(id, Op::Values(elements), self.input(before));
                }
            }
            Op::Convolution(mut convolution, weights) => {
                let inputs = self.graph.shape(self.input(before)).channels;
                let block = inputs * convolution.kernel * convolution.kernel;
                if !self.affords(block.saturating_mul(channels.len())) {
                    return;
                }
                convolution.channels = channels.len();
                let weights = rows(&weights, &channels, block);
                self.become_of(id, Op::Convolution(convolution, weights), self.input(before));
            }
            _ => {}
        }
    }

    /// Merges a reshape or a selection before a matrix product into the matrix.
    fn linear(&mut self, id: Id) {
        let Op::Linear(weights) = self.op(id).clone() else { return };
        let before = self.input(id);
        let inner = self.input(before);
        match self.op(before).clone() {
            Op::Layer(Layer::Reshape(_)) => self.become_of(id, Op::Linear(weights), inner),
            Op::Values(elements) => {
                let (from, to) = (elements.len(), self.graph.shape(inner).len());
                let outputs = weights.weight.len().checked_div(from).unwrap_or(0);
                if !self.affords(outputs.saturating_mul(to)) {
                    return;
                }
                let mut weight = vec![0.0; outputs * to];
                for (row, own) in weights.weight.chunks(from.max(1)).enumerate() {
                    own.iter().zip(elements.iter()).for_each(|(w, &element)| weight[row * to + element] += w);
                }
                let weights = Weights { weight: weight.into(), bias: weights.bias };
                self.become_of(id, Op::Linear(weights), inner);
            }
            _ => {}
        }
    }

    fn affine(&mut self, id: Id) {
        let Op::Affine(affine) = self.op(id).clone() else { return };
        if affine.as_scalar() == Some((1.0, 0.0)) {
            return self.stand_for(id, self.input(id));
        }
        let before = self.input(id);
        let inner = self.input(before);
        match self.op(before).clone() {
            // A scale that other nodes read is kept, since it may be the argument of a pattern.
            Op::Affine(first) if self.users[before] == 1 => {
                self.become_of(id, Op::Affine(affine.after(&first)), inner);
            }
            // A scale that is the same for all values has the same effect before a reshape.
            Op::Layer(Layer::Reshape(shape)) if affine.as_scalar().is_some() && self.users[before] == 1 => {
                let (inner_shape, origin) =
                    (self.graph.shape(inner), Arc::clone(&self.graph.nodes[id].origin));
                let scalar = affine.as_scalar().map_or(affine, |(scale, shift)| Affine::scalar(scale, shift));
                let scaled = self.added(Op::Affine(scalar), inner, inner_shape, &origin);
                self.become_of(id, Op::Layer(Layer::Reshape(shape)), scaled);
            }
            _ if self.users[before] != 1 => {}
            Op::Convolution(_, weights) | Op::TransposedConvolution(_, weights) | Op::Linear(weights)
                if !self.affords(weights.weight.len()) => {}
            Op::Convolution(convolution, weights) => {
                let weights = scaled(&weights, &affine, convolution.channels, 1);
                self.become_of(id, Op::Convolution(convolution, weights), inner);
            }
            Op::TransposedConvolution(convolution, weights) => {
                let inputs = self.graph.shape(inner).channels;
                let weights = scaled(&weights, &affine, convolution.channels, inputs);
                self.become_of(id, Op::TransposedConvolution(convolution, weights), inner);
            }
            Op::Linear(weights) if self.graph.shape(before).pixels() == 1 => {
                let features = self.graph.shape(before).channels;
                self.become_of(id, Op::Linear(scaled(&weights, &affine, features, 1)), inner);
            }
            Op::GroupNormalization { groups, epsilon, affine: first } => {
                let affine = affine.after(&first);
                self.become_of(id, Op::GroupNormalization { groups, epsilon, affine }, inner);
            }
            _ => {}
        }
    }

    /// Recognizes `x * sigmoid(x)` and the two forms of GELU, each with a factor. Reshapes between the parts have no
    /// effect, since the functions of the parts are applied to each value.
    fn multiply(&mut self, id: Id) {
        let Some([a, b]) = self.factors(id) else { return };
        let found = self.gate(a, b).or_else(|| self.gate(b, a));
        let Some((factor, x, activation)) = found else { return };
        let (own, shape) = (self.graph.shape(x), self.graph.shape(id));
        let origin = Arc::clone(&self.graph.nodes[id].origin);
        let mut active = self.added(Op::Layer(Layer::Activation(activation)), x, own, &origin);
        if own != shape {
            active = self.added(Op::Layer(Layer::Reshape(shape)), active, shape, &origin);
        }
        self.become_of(id, Op::Affine(Affine::scalar(factor, 0.0)), active);
    }

    /// The factors of a product of two values of one shape, before reshapes. A product that repeats a value has none.
    fn factors(&self, id: Id) -> Option<[Id; 2]> {
        match (self.op(id), &self.graph.nodes[id].inputs[..]) {
            (Op::Multiply, &[a, b]) if self.graph.shape(a) == self.graph.shape(b) => {
                Some([a, b].map(|id| self.bare(id)))
            }
            _ => None,
        }
    }

    /// Recognizes a value times its gate as an activation: returns a factor, the argument and the activation.
    fn gate(&self, value: Id, gate: Id) -> Option<(f32, Id, Activation)> {
        let (factor, shift, line) = self.line(value);
        let scaled = (shift == 0.0).then_some((factor, line));
        [Some((1.0, value)), scaled].into_iter().flatten().find_map(|(factor, x)| {
            let (more, activation) = self.gate_of(gate, x)?;
            Some((factor * more, x, activation))
        })
    }

    /// The activation of `x` whose gate is this node, with a factor.
    fn gate_of(&self, gate: Id, x: Id) -> Option<(f32, Activation)> {
        let (scale, shift, core) = self.line(gate);
        let inner = self.bare(self.input(core));
        let (slope, offset, argument) = self.line(inner);
        let near = |expected: f64| offset == 0.0 && (f64::from(slope) / expected - 1.0).abs() < 1e-5;
        let is_one_plus = scale == shift;
        match self.op(core) {
            Op::Layer(Layer::Activation(Activation::Sigmoid)) if shift == 0.0 => {
                (inner == x).then_some((scale, Activation::Silu))
            }
            Op::Erf if is_one_plus && argument == x => {
                near(std::f64::consts::FRAC_1_SQRT_2).then_some((2.0 * scale, Activation::Gelu))
            }
            Op::Layer(Layer::Activation(Activation::Tanh)) if is_one_plus => {
                let root = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
                (near(root) && self.is_cubic(argument, x)).then_some((2.0 * scale, Activation::GeluTanh))
            }
            _ => None,
        }
    }

    /// Whether a node is `x + 0.044715 x^3`.
    fn is_cubic(&self, id: Id, x: Id) -> bool {
        let near = |found: f32| (f64::from(found) / 0.044_715 - 1.0).abs() < 1e-5;
        let [a, b] = match (self.op(id), &self.graph.nodes[id].inputs[..]) {
            (Op::Layer(Layer::Add), &[a, b]) => [a, b].map(|id| self.bare(id)),
            _ => match self.factors(id) {
                Some(factors) => factors,
                None => return false,
            },
        };
        // x + 0.044715 x^3, or x (1 + 0.044715 x^2).
        let (offset, exponent) = if matches!(self.op(id), Op::Multiply) { (1.0, 2) } else { (0.0, 3) };
        [(a, b), (b, a)].into_iter().any(|(line, power)| {
            let (scale, shift, power) = self.line(power);
            line == x && near(scale) && shift == offset && self.power_of(power, x) == Some(exponent)
        })
    }

    /// The exponent, 2 or 3, if a node is a power of `x`.
    fn power_of(&self, id: Id, x: Id) -> Option<u32> {
        let is_square = |id: Id| self.factors(id) == Some([x, x]);
        if is_square(id) {
            return Some(2);
        }
        let [a, b] = self.factors(id)?;
        ((a == x && is_square(b)) || (b == x && is_square(a))).then_some(3)
    }

    /// A node as `scale * other + shift`, before reshapes: returns the scale, the shift and the other node.
    fn line(&self, id: Id) -> (f32, f32, Id) {
        let id = self.bare(id);
        match self.op(id) {
            Op::Affine(affine) => match affine.as_scalar() {
                Some((scale, shift)) => (scale, shift, self.bare(self.input(id))),
                None => (1.0, 0.0, id),
            },
            _ => (1.0, 0.0, id),
        }
    }

    /// The last node before a chain of reshapes.
    fn bare(&self, mut id: Id) -> Id {
        while matches!(self.op(id), Op::Layer(Layer::Reshape(_))) {
            id = self.input(id);
        }
        id
    }
}

/// Selects output channels of weights; each channel has `block` values.
fn rows(weights: &Weights, chosen: &[usize], block: usize) -> Weights {
    let weight =
        chosen.iter().flat_map(|&row| &weights.weight[row * block..(row + 1) * block]).copied().collect();
    let bias = weights.bias.as_ref().map(|bias| chosen.iter().map(|&row| bias[row]).collect());
    Weights { weight, bias }
}

/// Scales and shifts weights `[outer, channels, ...]` and their bias channel by channel.
fn scaled(weights: &Weights, affine: &Affine, channels: usize, outer: usize) -> Weights {
    let block = weights.weight.len().checked_div(outer * channels).unwrap_or(0).max(1);
    let weight =
        weights.weight.iter().enumerate().map(|(k, &w)| w * affine.scale_at(k / block % channels)).collect();
    let shifted = |k: usize| {
        let bias = weights.bias.as_ref().map_or(0.0, |bias| f64::from(bias[k]));
        (bias * f64::from(affine.scale_at(k)) + f64::from(affine.shift_at(k))) as f32
    };
    let bias: Vec<f32> = (0..channels).map(shifted).collect();
    let has_bias = weights.bias.is_some() || bias.iter().any(|&bias| bias != 0.0);
    Weights { weight, bias: has_bias.then_some(bias) }
}

/// The channels that these values make up, if they are whole channels.
fn whole_channels(elements: &[usize], pixels: usize) -> Option<Arc<[usize]>> {
    let blocks = elements.chunks(pixels.max(1));
    blocks
        .map(|block| {
            let first = *block.first()?;
            let is_whole = block.len() == pixels && first % pixels == 0;
            let follows = block.iter().enumerate().all(|(k, &element)| element == first + k);
            (is_whole && follows).then_some(first / pixels)
        })
        .collect()
}
