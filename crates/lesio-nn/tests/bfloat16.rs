//! Plans in bfloat16 against plain loops in f64 over factors that are rounded by arithmetic, on every path.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // Tests fail by panics.

mod reference;

use lesio_kernels::Isa;
use lesio_nn::{
    Activation, Convolution, Differentiate, Gradients, Initialization, Layer, Mode, Network, NetworkBuilder,
    ParameterSet, Plan, PlanWeights, Precision, Shape,
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reference::{batches, flat};

/// The nearest number of 8 significant bits, of two the even one.
fn rounded(value: f32) -> f32 {
    if value == 0.0 {
        return 0.0;
    }
    let step = f64::from(value).abs().log2().floor().exp2() / 128.0;
    ((f64::from(value) / step).round_ties_even() * step) as f32
}

/// A convolution or a transposed one of random shape and many channels, whose weights and bias are random.
fn layer(rng: &mut ChaCha8Rng) -> Option<(Network, ParameterSet, bool)> {
    let kernel = rng.random_range(1..6);
    let stride = rng.random_range(1..3);
    let convolution = Convolution::new(rng.random_range(14..40), kernel)
        .stride(stride)
        .padding(rng.random_range(0..kernel.div_ceil(2) + 1));
    let transposed = rng.random_bool(0.5);
    let layer =
        if transposed { Layer::TransposedConvolution(convolution) } else { Layer::Convolution(convolution) };
    let mut net = NetworkBuilder::new();
    let shape = Shape::new(rng.random_range(14..40), rng.random_range(1..12), rng.random_range(1..12));
    let image = net.input("image", shape);
    // Sizes that do not fit each other are drawn again.
    let out = net.layer("layer", layer, &[image]).ok()?;
    let network = net.finish(&[out]).unwrap().with_precision(Precision::Bfloat16);
    let few = shape.channels.min(network.output_shapes()[0].channels) < 16;
    let is_rounded = !(few || kernel == 3 && stride == 1);
    let set = ParameterSet::initialize(&network, Initialization::HeNormal, rng.random());
    Some((network, set, is_rounded))
}

fn random(rng: &mut ChaCha8Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn check(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (network, set, is_rounded) = std::iter::from_fn(|| Some(layer(&mut rng))).flatten().next().unwrap();
    let samples = rng.random_range(1..4);
    let (from, to) = (network.input_shapes()[0].len(), network.output_shapes()[0].len());
    let (image, by_output) = (random(&mut rng, samples * from), random(&mut rng, samples * to));
    // What the plan is to compute with.
    let factor = |value: f32| if is_rounded { rounded(value) } else { value };
    let all = |values: &[f32]| values.iter().map(|&value| factor(value)).collect::<Vec<f32>>();
    let mut parameters = reference::parameters(&set);
    for value in parameters.get_mut("layer.weight").unwrap() {
        *value = f64::from(factor(*value as f32));
    }
    let apply = |parameters: &reference::Parameters, image: Vec<f32>| {
        flat(&reference::forward(&network, parameters, &batches(&network, &[image]), Mode::Evaluate)[0])
    };
    let expected = apply(&parameters, all(&image));
    let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, &b)| a * f64::from(b)).sum::<f64>();
    // Without the bias the layer is linear: the gradient by a pixel is what that pixel alone adds.
    let mut linear = parameters.clone();
    linear.entry("layer.bias".into()).and_modify(|bias| bias.fill(0.0));
    let pixels: Vec<usize> = (0..6).map(|_| rng.random_range(0..samples * from)).collect();
    let gradients: Vec<f64> = pixels
        .iter()
        .map(|&pixel| {
            let mut one = vec![0.0; samples * from];
            one[pixel] = 1.0;
            dot(&apply(&linear, one), &all(&by_output))
        })
        .collect();
    let weights = PlanWeights::new(&network, &set).unwrap();
    let single = network.clone().with_precision(Precision::Single);
    let single_weights = PlanWeights::new(&single, &set).unwrap();
    for isa in Isa::available() {
        let mut plan = Plan::new(&network, samples, Differentiate::Both).unwrap().with_isa(isa);
        plan.forward(&weights, &[&image], samples, Mode::Evaluate).unwrap();
        for (found, expected) in plan.output(0).iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 2e-5 * expected.abs().max(1.0), "{isa:?}");
        }
        let mut by_parameters = Gradients::zeros(&weights);
        plan.backward(&weights, &[&by_output], Some(&mut by_parameters)).unwrap();
        for (&pixel, expected) in pixels.iter().zip(&gradients) {
            let found = f64::from(plan.input_gradient(0)[pixel]);
            assert!((found - expected).abs() < 2e-5 * expected.abs().max(1.0), "{isa:?} {found} {expected}");
        }
        // Parameters' gradients are those of the single precision, to the bit.
        let mut plan = Plan::new(&single, samples, Differentiate::Both).unwrap().with_isa(isa);
        plan.forward(&single_weights, &[&image], samples, Mode::Evaluate).unwrap();
        let mut expected = Gradients::zeros(&single_weights);
        plan.backward(&single_weights, &[&by_output], Some(&mut expected)).unwrap();
        assert_eq!(by_parameters.to_parameters(), expected.to_parameters(), "{isa:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn layers_compute_with_rounded_factors(seed in any::<u64>()) {
        check(seed);
    }
}

/// Two layers at a size of which not all samples fit the words that are worked on at once, rectified between.
fn deep() -> (Network, ParameterSet) {
    let mut net = NetworkBuilder::new();
    let image = net.input("image", Shape::new(32, 64, 60));
    let halving = || Convolution::new(32, 4).stride(2).padding(1);
    let x = net.layer("a", Layer::Convolution(halving()), &[image]).unwrap();
    let x = net.layer("a.active", Layer::Activation(Activation::LeakyRelu { slope: 0.2 }), &[x]).unwrap();
    let x = net.layer("b", Layer::TransposedConvolution(halving()), &[x]).unwrap();
    let network = net.finish(&[x]).unwrap().with_precision(Precision::Bfloat16);
    let set = ParameterSet::initialize(&network, Initialization::HeNormal, 3);
    (network, set)
}

/// Output and input gradient of some samples.
fn passes(samples: std::ops::Range<usize>, threads: usize) -> [Vec<f32>; 2] {
    let (network, set) = deep();
    let len = network.input_shapes()[0].len();
    let image = random(&mut ChaCha8Rng::seed_from_u64(1), 11 * len);
    let by_output = random(&mut ChaCha8Rng::seed_from_u64(2), 11 * len);
    let own = samples.start * len..samples.end * len;
    let weights = PlanWeights::new(&network, &set).unwrap();
    let mut plan = Plan::new(&network, samples.len(), Differentiate::Inputs).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        plan.forward(&weights, &[&image[own.clone()]], samples.len(), Mode::Evaluate).unwrap();
        plan.backward(&weights, &[&by_output[own]], None).unwrap();
    });
    [plan.output(0).to_vec(), plan.input_gradient(0).to_vec()]
}

#[test]
fn no_sample_depends_on_its_neighbors_or_on_threads() {
    let all = passes(0..11, 1);
    assert_eq!(passes(0..11, 3), all);
    for own in [0..1, 4..5, 7..11] {
        let len = all[0].len() / 11;
        let part = passes(own.clone(), 2);
        for (part, all) in part.iter().zip(&all) {
            assert_eq!(part[..], all[own.start * len..own.end * len]);
        }
    }
}

#[test]
fn what_is_not_a_number_stays() {
    let (network, set) = deep();
    let mut image = vec![0.5; network.input_shapes()[0].len()];
    image[7] = f32::NAN;
    let weights = PlanWeights::new(&network, &set).unwrap();
    for isa in Isa::available() {
        let mut plan = Plan::new(&network, 1, Differentiate::Nothing).unwrap().with_isa(isa);
        plan.forward(&weights, &[&image], 1, Mode::Evaluate).unwrap();
        assert!(plan.output(0).iter().any(|value| value.is_nan()), "{isa:?}");
        assert!(plan.output(0).iter().any(|value| value.is_finite()), "{isa:?}");
    }
}
