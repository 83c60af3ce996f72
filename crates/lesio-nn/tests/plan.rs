//! The plan against plain loops in f64, its gradients against central differences, on every path.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // Tests fail by panics.

mod reference;

use lesio_kernels::Isa;
use lesio_nn::{
    Bias, Convolution, Device, Differentiate, Engine, Gradients, Inference, Initialization, Layer, Mode,
    Network, NetworkBuilder, Node, Operation, ParameterSet, Plan, PlanError, PlanWeights, Shape,
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reference::{batches, flat, random_inputs, random_network};

/// A random network with parameters, none of them at a special value.
fn case(seed: u64, layers: usize) -> (ChaCha8Rng, Network, ParameterSet) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let network = random_network(&mut rng, layers);
    let mut set = ParameterSet::initialize(&network, Initialization::HeNormal, seed);
    for spec in network.parameters() {
        for value in set.get_mut(&spec.name).unwrap().values_mut() {
            *value += rng.random_range(-0.2..0.2);
        }
    }
    (rng, network, set)
}

fn slices(values: &[Vec<f32>]) -> Vec<&[f32]> {
    values.iter().map(Vec::as_slice).collect()
}

fn scale(values: &[f64]) -> f64 {
    values.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()))
}

fn describe(network: &Network) -> String {
    let line = |(index, node): (usize, &Node)| match node.operation() {
        Operation::Layer { layer, inputs } => {
            let read: Vec<usize> = inputs.iter().map(|id| id.index()).collect();
            format!("{index}: {layer:?} of {read:?} -> {}\n", node.shape())
        }
        _ => format!("{index}: input {}\n", node.shape()),
    };
    let lines: String = network.nodes().iter().enumerate().map(line).collect();
    let outputs: Vec<usize> = network.outputs().iter().map(|id| id.index()).collect();
    format!("{lines}outputs {outputs:?}")
}

/// Weighted sum of all outputs: the loss whose gradient is checked.
fn loss(
    network: &Network,
    parameters: &reference::Parameters,
    inputs: &[reference::Batch],
    mode: Mode,
    weights: &[Vec<f32>],
) -> f64 {
    let outputs = reference::forward(network, parameters, inputs, mode);
    let dot = |(output, weights): (&reference::Batch, &Vec<f32>)| {
        flat(output).iter().zip(weights).map(|(value, &weight)| value * f64::from(weight)).sum::<f64>()
    };
    outputs.iter().zip(weights).map(dot).sum()
}

fn output_weights(rng: &mut ChaCha8Rng, network: &Network, samples: usize) -> Vec<Vec<f32>> {
    let random = |len: usize, rng: &mut ChaCha8Rng| (0..len).map(|_| rng.random_range(-1.0..1.0)).collect();
    network.output_shapes().iter().map(|shape| random(samples * shape.len(), rng)).collect()
}

/// How far each output of the exact network moves when every layer's values are changed by up to
/// `amount` of the layer's largest: the condition of the network, by which the errors of f32 grow.
fn movement(
    rng: &mut ChaCha8Rng,
    network: &Network,
    parameters: &reference::Parameters,
    inputs: &[reference::Batch],
    mode: Mode,
    amount: f64,
) -> Vec<f64> {
    let exact = reference::forward(network, parameters, inputs, mode);
    let mut largest = vec![0.0f64; exact.len()];
    for _ in 0..4 {
        let moved = reference::forward_through(network, parameters, inputs, mode, &mut |value| {
            for sample in value {
                let size = sample.iter().fold(0.0, |a: f64, v| a.max(v.abs())) * amount;
                sample.iter_mut().for_each(|v| *v += rng.random_range(-1.0..=1.0) * size);
            }
        });
        for ((largest, exact), moved) in largest.iter_mut().zip(&exact).zip(&moved) {
            let far = flat(exact).iter().zip(flat(moved)).fold(0.0, |a: f64, (e, m)| a.max((e - m).abs()));
            *largest = largest.max(far);
        }
    }
    largest
}

/// The plan may be off by no more than a few roundings of each layer's values explain.
fn check_forward(seed: u64) {
    let (mut rng, network, set) = case(seed, 9);
    let samples = rng.random_range(1..4);
    let inputs = random_inputs(&mut rng, &network, samples);
    let weights = PlanWeights::new(&network, &set).unwrap();
    for mode in [Mode::Evaluate, Mode::Train] {
        let (exact, batches) = (reference::parameters(&set), batches(&network, &inputs));
        let expected = reference::forward(&network, &exact, &batches, mode);
        // Four roundings of every layer's values.
        let movement = movement(&mut rng, &network, &exact, &batches, mode, 2.0 * f64::from(f32::EPSILON));
        for isa in Isa::available() {
            let mut plan = Plan::new(&network, samples + 1, Differentiate::Nothing).unwrap().with_isa(isa);
            plan.forward(&weights, &slices(&inputs), samples, mode).unwrap();
            for (index, (expected, movement)) in expected.iter().zip(&movement).enumerate() {
                let expected = flat(expected);
                let tolerance = 8.0 * (movement + f64::from(f32::EPSILON) * scale(&expected));
                let found = plan.output(index);
                assert_eq!(found.len(), expected.len());
                for (k, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(
                        error < tolerance,
                        "{isa:?} output {index} value {k}: {found} {expected}\n{}",
                        describe(&network)
                    );
                }
            }
        }
    }
}

/// Compares gradients at some positions with central differences of two widths, and leaves out positions
/// where these differ: a kink lies between.
fn check_gradients(seed: u64) {
    let (mut rng, network, set) = case(seed, 8);
    let samples = rng.random_range(1..4);
    let inputs = random_inputs(&mut rng, &network, samples);
    let weights = PlanWeights::new(&network, &set).unwrap();
    let ones = output_weights(&mut rng, &network, samples);
    let mode = if rng.random_bool(0.5) { Mode::Train } else { Mode::Evaluate };
    let exact = reference::parameters(&set);
    let exact_inputs = batches(&network, &inputs);
    let mut found = Vec::new();
    for isa in Isa::available() {
        let mut plan = Plan::new(&network, samples, Differentiate::Both).unwrap().with_isa(isa);
        let mut gradients = Gradients::zeros(&weights);
        plan.forward(&weights, &slices(&inputs), samples, mode).unwrap();
        plan.backward(&weights, &slices(&ones), Some(&mut gradients)).unwrap();
        assert!(gradients.is_finite());
        let of_inputs: Vec<Vec<f32>> = (0..inputs.len()).map(|k| plan.input_gradient(k).to_vec()).collect();
        found.push((isa, gradients.to_parameters(), of_inputs));
    }
    let difference =
        |step: f64, change: &dyn Fn(&mut reference::Parameters, &mut Vec<reference::Batch>, f64)| {
            let at = |by: f64| {
                let (mut parameters, mut inputs) = (exact.clone(), exact_inputs.clone());
                change(&mut parameters, &mut inputs, by);
                loss(&network, &parameters, &inputs, mode, &ones)
            };
            (at(step) - at(-step)) / (2.0 * step)
        };
    let check =
        |name: &str,
         values: &dyn Fn(usize) -> f32,
         change: &dyn Fn(&mut reference::Parameters, &mut Vec<reference::Batch>, f64)| {
            let (wide, narrow) = (difference(1e-4, change), difference(1e-6, change));
            if (wide - narrow).abs() > 1e-4 * (1.0 + wide.abs()) {
                return;
            }
            for (index, (isa, ..)) in found.iter().enumerate() {
                let value = f64::from(values(index));
                let error = (value - narrow).abs() / (1.0 + narrow.abs());
                assert!(error < 3e-4, "{isa:?} {mode:?} {name}: {value} {narrow}\n{}", describe(&network));
            }
        };
    for spec in network.parameters().into_iter().filter(|spec| spec.role.is_trained()) {
        for _ in 0..3 {
            let k = rng.random_range(0..spec.len());
            let values = |index: usize| found[index].1.get(&spec.name).unwrap().values()[k];
            check(&spec.name, &values, &|parameters, _, by| parameters.get_mut(&spec.name).unwrap()[k] += by);
        }
    }
    for (input, shape) in network.input_shapes().into_iter().enumerate() {
        for _ in 0..3 {
            let (sample, k) = (rng.random_range(0..samples), rng.random_range(0..shape.len()));
            let values = |index: usize| found[index].2[input][sample * shape.len() + k];
            check(&format!("input {input}"), &values, &|_, inputs, by| inputs[input][sample][k] += by);
        }
    }
}

/// Group normalizations of two values each, one after another, amplify what rounding left by hundreds.
#[test]
fn networks_that_amplify_rounding_are_judged_by_that() {
    for seed in [16_249_618_010_234_961_458, 3_372_709_329_775_874_230, 13_634_503_554_510_544_960] {
        check_forward(seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn outputs_are_those_of_plain_loops(seed in any::<u64>()) {
        check_forward(seed);
    }

    #[test]
    fn gradients_are_central_differences(seed in any::<u64>()) {
        check_gradients(seed);
    }

    /// Bit for bit: any number of threads, any neighbors in the batch, any capacity.
    #[test]
    fn samples_do_not_depend_on_neighbors_or_threads(seed in any::<u64>()) {
        let (mut rng, network, set) = case(seed, 8);
        let samples = rng.random_range(2..6);
        let inputs = random_inputs(&mut rng, &network, samples);
        let weights = PlanWeights::new(&network, &set).unwrap();
        let ones = output_weights(&mut rng, &network, samples);
        for isa in Isa::available() {
            let run = |threads: usize, first: usize, count: usize, capacity: usize| {
                let cut = |values: &[Vec<f32>]| -> Vec<Vec<f32>> {
                    values.iter().map(|v| v[v.len() / samples * first..][..v.len() / samples * count].to_vec()).collect()
                };
                let (inputs, ones) = (cut(&inputs), cut(&ones));
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let mut plan = Plan::new(&network, capacity, Differentiate::Both).unwrap().with_isa(isa);
                    let mut gradients = Gradients::zeros(&weights);
                    plan.forward(&weights, &slices(&inputs), count, Mode::Evaluate).unwrap();
                    plan.backward(&weights, &slices(&ones), Some(&mut gradients)).unwrap();
                    let outputs: Vec<Vec<f32>> = (0..ones.len()).map(|k| plan.output(k).to_vec()).collect();
                    let input_gradients: Vec<Vec<f32>> = (0..inputs.len()).map(|k| plan.input_gradient(k).to_vec()).collect();
                    (outputs, input_gradients, gradients)
                })
            };
            let all = run(1, 0, samples, samples);
            let again = run(3, 0, samples, samples + 2);
            prop_assert_eq!(&all.0, &again.0);
            prop_assert_eq!(&all.1, &again.1);
            prop_assert_eq!(all.2.to_parameters(), again.2.to_parameters());
            prop_assert_eq!(all.2.squared_norm().to_bits(), again.2.squared_norm().to_bits());
            let index = samples - 1;
            let alone = run(2, index, 1, 1);
            for (batch, alone) in all.0.iter().chain(&all.1).zip(alone.0.iter().chain(&alone.1)) {
                prop_assert_eq!(&batch[alone.len() * index..][..alone.len()], alone.as_slice());
            }
        }
    }
}

/// Value and gradients of products, for each way in which a factor is repeated, by plain loops.
#[test]
fn products_repeat_the_shorter_factor() {
    let shape = Shape::new(3, 4, 5);
    let repeated = [(1, 4, 5), (3, 1, 1), (1, 1, 1), (3, 1, 5), (3, 4, 1), (1, 4, 1), (3, 4, 5)];
    let pairs = repeated.into_iter().flat_map(|(c, h, w)| {
        let other = Shape::new(c, h, w);
        [[shape, other], [other, shape]]
    });
    // Neither factor has all axes.
    for [a, b] in pairs.chain([[Shape::new(3, 1, 5), Shape::new(1, 4, 1)]]) {
        let mut net = NetworkBuilder::new();
        let inputs = [net.input("a", a), net.input("b", b)];
        let product = net.layer("product", Layer::Multiply, &inputs).unwrap();
        let network = net.finish(&[product]).unwrap();
        let inference =
            Inference::new(&network, &ParameterSet::new(), Differentiate::Inputs, &Device::Cpu).unwrap();
        let values = |shape: Shape, factor: usize| -> Vec<f32> {
            (0..2 * shape.len()).map(|k| ((k * factor % 17) as f32 - 8.0) / 4.0).collect()
        };
        let (of_a, of_b, weights) = (values(a, 5), values(b, 7), values(shape, 3));
        let mut pass = inference.run(&[&of_a, &of_b], 2).unwrap();
        pass.backward(&[&weights]).unwrap();
        let [mut by_a, mut by_b] = [vec![0.0; of_a.len()], vec![0.0; of_b.len()]];
        for (k, &weight) in weights.iter().enumerate() {
            let (sample, c, y, x) = (k / 60, k / 20 % 3, k / 5 % 4, k % 5);
            let at = |s: Shape| {
                let (c, y, x) = (c % s.channels, y % s.height, x % s.width);
                sample * s.len() + (c * s.height + y) * s.width + x
            };
            assert_eq!(pass.output(0)[k], of_a[at(a)] * of_b[at(b)], "{a} {b}");
            by_a[at(a)] += weight * of_b[at(b)];
            by_b[at(b)] += weight * of_a[at(a)];
        }
        // Multiples of 1/16: sums are exact.
        assert_eq!((pass.input_gradient(0), pass.input_gradient(1)), (&by_a[..], &by_b[..]), "{a} {b}");
    }
}

/// A layer of one output channel is stored as one of 16. The empty set would be an error only after the allocation.
#[test]
fn weights_that_no_memory_holds_are_an_error() {
    let mut net = NetworkBuilder::new();
    let image = net.input("image", Shape::new(1 << 28, 1, 1));
    let layer = Layer::Convolution(Convolution::new(1, 1).bias(Bias::None));
    let narrow = net.layer("narrow", layer, &[image]).unwrap();
    let network = net.finish(&[narrow]).unwrap();
    let error = PlanWeights::new(&network, &ParameterSet::new()).unwrap_err();
    assert!(
        matches!(error, PlanError::LargeWeights { values, limit } if values > limit && limit == 1 << 32),
        "{error}"
    );
}
