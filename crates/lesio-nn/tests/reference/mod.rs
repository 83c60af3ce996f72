//! Networks computed in f64 by plain loops: slow, obvious, and what the engines are held against.

#![allow(dead_code, reason = "not every test file needs all of it")]

use lesio_nn::{
    Activation, Bias, Convolution, Layer, Mode, Network, NetworkBuilder, NodeId, Operation, ParameterSet,
    Shape,
};
use rand::{Rng, RngExt};

/// A value of one sample batch: `[samples][channels * rows * columns]`.
pub(crate) type Batch = Vec<Vec<f64>>;

/// Parameters in f64, by name.
pub(crate) type Parameters = std::collections::BTreeMap<String, Vec<f64>>;

pub(crate) fn parameters(set: &ParameterSet) -> Parameters {
    set.iter()
        .map(|(name, p)| (name.to_owned(), p.values().iter().map(|&v| f64::from(v)).collect()))
        .collect()
}

/// Outputs of a network.
pub(crate) fn forward(
    network: &Network,
    parameters: &Parameters,
    inputs: &[Batch],
    mode: Mode,
) -> Vec<Batch> {
    forward_through(network, parameters, inputs, mode, &mut |_| ())
}

/// The same, every layer's value passing through `after`.
pub(crate) fn forward_through(
    network: &Network,
    parameters: &Parameters,
    inputs: &[Batch],
    mode: Mode,
    after: &mut dyn FnMut(&mut Batch),
) -> Vec<Batch> {
    let mut values: Vec<Batch> = Vec::new();
    let mut given = inputs.iter();
    for node in network.nodes() {
        let mut value = match node.operation() {
            Operation::Input => given.next().unwrap().clone(),
            Operation::Layer { layer, inputs } => {
                let read: Vec<(&Batch, Shape)> = inputs
                    .iter()
                    .map(|id| (&values[id.index()], network.node(*id).unwrap().shape()))
                    .collect();
                let get = |what: &str| parameters.get(&format!("{}.{what}", node.name())).map(Vec::as_slice);
                apply(layer, &read, node.shape(), &get, mode)
            }
            _ => unreachable!(),
        };
        if !matches!(node.operation(), Operation::Input) {
            after(&mut value);
        }
        values.push(value);
    }
    network.outputs().iter().map(|id| values[id.index()].clone()).collect()
}

fn apply<'p>(
    layer: &Layer,
    inputs: &[(&Batch, Shape)],
    out: Shape,
    parameter: &dyn Fn(&str) -> Option<&'p [f64]>,
    mode: Mode,
) -> Batch {
    let (x, shape) = inputs[0];
    let each = |f: &dyn Fn(&[f64]) -> Vec<f64>| x.iter().map(|sample| f(sample)).collect::<Batch>();
    let at = |s: Shape, c: usize, y: usize, x: usize| (c * s.height + y) * s.width + x;
    match layer {
        Layer::Convolution(conv) => each(&|v| {
            let (w, b) = (parameter("weight").unwrap(), parameter("bias"));
            fill(out, |o, y, x| {
                let mut sum = b.map_or(0.0, |b| b[o]);
                for i in 0..shape.channels {
                    for ky in 0..conv.kernel {
                        for kx in 0..conv.kernel {
                            let (sy, sx) = (y * conv.stride + ky, x * conv.stride + kx);
                            let inside = |p: usize, n: usize| p.checked_sub(conv.padding).filter(|&p| p < n);
                            if let (Some(sy), Some(sx)) = (inside(sy, shape.height), inside(sx, shape.width))
                            {
                                let weight =
                                    w[((o * shape.channels + i) * conv.kernel + ky) * conv.kernel + kx];
                                sum += weight * v[at(shape, i, sy, sx)];
                            }
                        }
                    }
                }
                sum
            })
        }),
        Layer::TransposedConvolution(conv) => each(&|v| {
            let (w, b) = (parameter("weight").unwrap(), parameter("bias"));
            let mut y = fill(out, |o, _, _| b.map_or(0.0, |b| b[o]));
            for i in 0..shape.channels {
                for (sy, sx) in (0..shape.height).flat_map(|sy| (0..shape.width).map(move |sx| (sy, sx))) {
                    for o in 0..out.channels {
                        for ky in 0..conv.kernel {
                            for kx in 0..conv.kernel {
                                let inside =
                                    |p: usize, n: usize| p.checked_sub(conv.padding).filter(|&p| p < n);
                                let (ty, tx) = (sy * conv.stride + ky, sx * conv.stride + kx);
                                if let (Some(ty), Some(tx)) = (inside(ty, out.height), inside(tx, out.width))
                                {
                                    let weight =
                                        w[((i * out.channels + o) * conv.kernel + ky) * conv.kernel + kx];
                                    y[at(out, o, ty, tx)] += weight * v[at(shape, i, sy, sx)];
                                }
                            }
                        }
                    }
                }
            }
            y
        }),
        Layer::Linear { features, .. } => each(&|v| {
            let (w, b) = (parameter("weight").unwrap(), parameter("bias"));
            let dot = |o: usize| w[o * v.len()..][..v.len()].iter().zip(v).map(|(a, b)| a * b).sum::<f64>();
            (0..*features).map(|o| dot(o) + b.map_or(0.0, |b| b[o])).collect()
        }),
        Layer::GroupNormalization { groups, epsilon } => each(&|v| {
            let (scale, shift) = (parameter("weight").unwrap(), parameter("bias").unwrap());
            let size = v.len() / groups;
            let mut y = v.to_vec();
            for (g, group) in y.chunks_mut(size).enumerate() {
                let (mean, variance) = moments(group.iter().copied());
                for (k, value) in group.iter_mut().enumerate() {
                    let c = (g * size + k) / shape.pixels();
                    *value = (*value - mean) / (variance + f64::from(*epsilon)).sqrt() * scale[c] + shift[c];
                }
            }
            y
        }),
        Layer::BatchNormalization { epsilon, .. } => {
            let (scale, shift) = (parameter("weight").unwrap(), parameter("bias").unwrap());
            let mut y = x.clone();
            for c in 0..shape.channels {
                let range = c * shape.pixels()..(c + 1) * shape.pixels();
                let (mean, variance) = match mode {
                    Mode::Train => moments(x.iter().flat_map(|v| v[range.clone()].iter().copied())),
                    Mode::Evaluate => {
                        (parameter("running_mean").unwrap()[c], parameter("running_variance").unwrap()[c])
                    }
                };
                for value in y.iter_mut().flat_map(|v| &mut v[range.clone()]) {
                    *value = (*value - mean) / (variance + f64::from(*epsilon)).sqrt() * scale[c] + shift[c];
                }
            }
            y
        }
        Layer::Activation(activation) => each(&|v| v.iter().map(|&x| activate(*activation, x)).collect()),
        Layer::MaxPool { window } | Layer::AveragePool { window } => each(&|v| {
            fill(out, |c, y, x| {
                let inside = (0..window[0]).flat_map(|dy| (0..window[1]).map(move |dx| (dy, dx)));
                let found = inside.map(|(dy, dx)| v[at(shape, c, y * window[0] + dy, x * window[1] + dx)]);
                match layer {
                    Layer::MaxPool { .. } => found.fold(f64::NEG_INFINITY, f64::max),
                    _ => found.sum::<f64>() / (window[0] * window[1]) as f64,
                }
            })
        }),
        Layer::MaxPoolStrided { window, stride, padding } => each(&|v| {
            fill(out, |c, y, x| {
                let mut found = f64::NEG_INFINITY;
                for (dy, dx) in (0..window[0]).flat_map(|dy| (0..window[1]).map(move |dx| (dy, dx))) {
                    let (row, column) = (y * stride[0] + dy, x * stride[1] + dx);
                    let inside = |place: usize, padding: usize, size: usize| {
                        place.checked_sub(padding).filter(|&place| place < size)
                    };
                    if let Some(row) = inside(row, padding[0], shape.height)
                        && let Some(column) = inside(column, padding[1], shape.width)
                    {
                        found = found.max(v[at(shape, c, row, column)]);
                    }
                }
                found
            })
        }),
        Layer::Multiply => (0..x.len())
            .map(|n| {
                fill(out, |c, y, x| {
                    let factor = |(batch, shape): &(&Batch, Shape)| {
                        let within = |place: usize, size: usize| if size == 1 { 0 } else { place };
                        let place = [(c, shape.channels), (y, shape.height), (x, shape.width)]
                            .map(|(place, size)| within(place, size));
                        batch[n][at(*shape, place[0], place[1], place[2])]
                    };
                    inputs.iter().map(factor).product()
                })
            })
            .collect(),
        Layer::UpsampleNearest { factor } => {
            each(&|v| fill(out, |c, y, x| v[at(shape, c, y / factor, x / factor)]))
        }
        Layer::UpsampleBilinear { factor } | Layer::UpsampleBilinearCorners { factor } => each(&|v| {
            let along = |p: usize, n: usize| {
                let center = match layer {
                    Layer::UpsampleBilinear { .. } => (p as f64 + 0.5) / *factor as f64 - 0.5,
                    _ if n == 1 => 0.0,
                    _ => p as f64 * (n - 1) as f64 / (n * factor - 1) as f64,
                };
                let center = center.clamp(0.0, (n - 1) as f64);
                let first = center.floor() as usize;
                (first, (first + 1).min(n - 1), center - first as f64)
            };
            fill(out, |c, y, x| {
                let ((top, bottom, down), (left, right, across)) =
                    (along(y, shape.height), along(x, shape.width));
                let row =
                    |y: usize| v[at(shape, c, y, left)] * (1.0 - across) + v[at(shape, c, y, right)] * across;
                row(top) * (1.0 - down) + row(bottom) * down
            })
        }),
        Layer::Concatenate => {
            (0..x.len()).map(|n| inputs.iter().flat_map(|(batch, _)| batch[n].clone()).collect()).collect()
        }
        Layer::Add => (0..x.len())
            .map(|n| (0..out.len()).map(|k| inputs.iter().map(|(batch, _)| batch[n][k]).sum()).collect())
            .collect(),
        Layer::Reshape(_) => x.clone(),
        _ => unreachable!(),
    }
}

fn fill(shape: Shape, f: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
    let mut values = Vec::with_capacity(shape.len());
    for c in 0..shape.channels {
        for y in 0..shape.height {
            for x in 0..shape.width {
                values.push(f(c, y, x));
            }
        }
    }
    values
}

fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    (mean, values.map(|v| (v - mean).powi(2)).sum::<f64>() / count)
}

/// The distribution function of the standard normal distribution, by Simpson's rule.
fn normal_distribution(x: f64) -> f64 {
    let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let (steps, end) = (2000, x.clamp(-12.0, 12.0));
    let width = end / f64::from(steps);
    let sum = (0..=steps).map(|k| {
        let weight = if k == 0 || k == steps { 1.0 } else { f64::from(2 + 2 * (k % 2)) };
        weight * density(f64::from(k) * width)
    });
    0.5 + sum.sum::<f64>() * width / 3.0
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::LeakyRelu { slope } => {
            if x > 0.0 {
                x
            } else {
                f64::from(slope) * x
            }
        }
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Gelu => x * normal_distribution(x),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        _ => unreachable!(),
    }
}

/// A random small network: one or two inputs, up to `layers` layers that read any earlier value, one to
/// three outputs among all values, so that skips, dead layers, outputs that others read and inputs that
/// are outputs all occur.
pub(crate) fn random_network(rng: &mut impl Rng, layers: usize) -> Network {
    let mut net = NetworkBuilder::new();
    let shape = |rng: &mut dyn Rng| {
        let channels = [1, 1, 2, 3, 5, 8, 17, 33][rng.random_range(0..8)];
        Shape::new(channels, rng.random_range(1..9), rng.random_range(1..9))
    };
    let mut nodes: Vec<NodeId> = Vec::new();
    for index in 0..rng.random_range(1..3) {
        nodes.push(net.input(format!("input{index}"), shape(rng)));
    }
    for index in 0..layers {
        // Mostly the latest value, sometimes any.
        let pick = if rng.random_bool(0.6) { nodes.len() - 1 } else { rng.random_range(0..nodes.len()) };
        let mut inputs = vec![nodes[pick]];
        let s = net.shape(nodes[pick]).unwrap();
        let bias = if rng.random_bool(0.5) { Bias::Learned } else { Bias::None };
        let channels = [1, 2, 3, 4, 7, 16, 20, 34][rng.random_range(0..8)];
        let kernel = rng.random_range(1..6);
        // A third of the kind that is computed by sums of rows, if there are enough channels.
        let convolution = if rng.random_range(0..3) == 0 {
            Convolution::new([16, 20, 34][rng.random_range(0..3)], 3)
                .padding(rng.random_range(0..3))
                .bias(bias)
        } else {
            Convolution::new(channels, kernel)
                .stride(rng.random_range(1..4))
                .padding(rng.random_range(0..kernel))
                .bias(bias)
        };
        let groups = (1..=s.channels).filter(|g| s.channels.is_multiple_of(*g)).collect::<Vec<_>>();
        let window = [rng.random_range(1..=s.height.min(3)), rng.random_range(1..=s.width.min(3))];
        let layer = match rng.random_range(0..17) {
            0..4 => Layer::Convolution(convolution),
            4..6 => Layer::TransposedConvolution(convolution),
            6 => Layer::Linear { features: rng.random_range(1..40), bias },
            7 => {
                Layer::GroupNormalization { groups: groups[rng.random_range(0..groups.len())], epsilon: 1e-2 }
            }
            8 => Layer::BatchNormalization { epsilon: 1e-2, momentum: 0.1 },
            9 | 10 => Layer::Activation(
                [
                    Activation::RELU,
                    Activation::LeakyRelu { slope: 0.2 },
                    Activation::Silu,
                    Activation::Sigmoid,
                    Activation::Tanh,
                    Activation::Gelu,
                    Activation::GeluTanh,
                ][rng.random_range(0..7)],
            ),
            11 if rng.random_bool(0.5) => Layer::MaxPoolStrided {
                window,
                stride: [rng.random_range(1..4), rng.random_range(1..4)],
                padding: window.map(|size| rng.random_range(0..size)),
            },
            11 => Layer::MaxPool { window },
            12 => Layer::AveragePool { window },
            13 => Layer::UpsampleNearest { factor: rng.random_range(1..3) },
            14 if rng.random_bool(0.5) => Layer::UpsampleBilinearCorners { factor: rng.random_range(1..4) },
            14 => Layer::UpsampleBilinear { factor: rng.random_range(1..4) },
            15 => {
                let (h, w) = (s.height, s.width);
                let shapes =
                    [Shape::vector(s.len()), Shape::new(w, s.channels, h), Shape::new(h, w, s.channels)];
                Layer::Reshape(shapes[rng.random_range(0..3)])
            }
            _ => {
                let fits = |other: Shape| (other.height, other.width) == (s.height, s.width);
                let fitting: Vec<NodeId> =
                    nodes.iter().copied().filter(|&id| fits(net.shape(id).unwrap())).collect();
                inputs.push(fitting[rng.random_range(0..fitting.len())]);
                let same = inputs.iter().all(|&id| net.shape(id) == Some(s));
                let channels = net.shape(inputs[1]).unwrap().channels;
                let repeats = channels == s.channels || channels == 1 || s.channels == 1;
                match rng.random_range(0..3) {
                    0 if same => Layer::Add,
                    1 if repeats => Layer::Multiply,
                    _ => Layer::Concatenate,
                }
            }
        };
        let mut attempt = net.clone();
        if let Ok(id) = attempt.layer(format!("layer{index}"), layer, &inputs)
            && attempt.shape(id).is_some_and(|shape| shape.len() <= 3000)
        {
            net = attempt;
            nodes.push(id);
        }
    }
    let mut outputs = vec![*nodes.last().unwrap()];
    for _ in 0..rng.random_range(0..3) {
        outputs.push(nodes[rng.random_range(0..nodes.len())]);
    }
    net.finish(&outputs).unwrap()
}

/// Values of a batch of every input.
pub(crate) fn random_inputs(rng: &mut impl Rng, network: &Network, samples: usize) -> Vec<Vec<f32>> {
    network
        .input_shapes()
        .iter()
        .map(|shape| (0..samples * shape.len()).map(|_| rng.random_range(-1.0..1.0)).collect())
        .collect()
}

/// The same values as batches of the reference.
pub(crate) fn batches(network: &Network, inputs: &[Vec<f32>]) -> Vec<Batch> {
    let split = |(values, shape): (&Vec<f32>, &Shape)| {
        values.chunks(shape.len()).map(|v| v.iter().map(|&v| f64::from(v)).collect()).collect()
    };
    inputs.iter().zip(&network.input_shapes()).map(split).collect()
}

pub(crate) fn flat(batch: &Batch) -> Vec<f64> {
    batch.iter().flatten().copied().collect()
}
