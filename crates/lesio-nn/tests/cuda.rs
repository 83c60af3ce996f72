//! The layers' kernels on a CUDA card against candle's processor in f64: values and gradients of every layer.
//!
//! Runs with the feature `cuda`, and says that it is skipped where there is no card.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod layers;

use candle_core::{DType, Device, Tensor, Var};
use layers::{draws, layers, single, skips};
use lesio_kernels::AdamUpdate;
use lesio_nn::candle::ops::{self, Window};
use lesio_nn::candle::{CandleEngine, CandleNetwork};
use lesio_nn::{
    Activation, Bias, Convolution, Engine, Initialization, InputGradients, Layer, Mode, Network,
    NetworkBuilder, ParameterSet, Shape, TrainingEngine,
};

/// The first card.
fn card() -> Option<Device> {
    let card = Device::new_cuda(0);
    if let Err(error) = &card {
        println!("skipped: there is no CUDA card here: {error}");
    }
    card.ok()
}

/// Outputs, and gradients of a scalar by inputs and parameters, by name.
fn computed(
    network: &Network,
    samples: usize,
    mode: Mode,
    dtype: DType,
    device: &Device,
) -> Vec<(String, Vec<f64>)> {
    let parameters = ParameterSet::initialize(network, Initialization::HeNormal, 5);
    let net = CandleNetwork::new(network, &parameters, dtype, device).unwrap();
    let tensor = |seed: u64, dims: &[usize]| {
        let values = draws(seed, dims.iter().product());
        Tensor::from_vec(values, dims, &Device::Cpu)
            .unwrap()
            .to_dtype(dtype)
            .unwrap()
            .to_device(device)
            .unwrap()
    };
    let inputs: Vec<Var> = network
        .input_shapes()
        .iter()
        .enumerate()
        .map(|(index, s)| tensor(index as u64, &[samples, s.channels, s.height, s.width]))
        .map(|tensor| Var::from_tensor(&tensor).unwrap())
        .collect();
    let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
    let (outputs, _) = net.forward_mode(&tensors, mode).unwrap();
    let mut sum = Tensor::zeros((), dtype, device).unwrap();
    for (index, output) in outputs.iter().enumerate() {
        let weights = tensor(100 + index as u64, output.dims());
        sum = (sum + (output * weights).unwrap().sum_all().unwrap()).unwrap();
    }
    let gradients = sum.backward().unwrap();
    let values = |tensor: &Tensor| {
        tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap()
    };
    let mut found: Vec<_> = outputs
        .iter()
        .enumerate()
        .map(|(index, output)| (format!("output {index}"), values(output)))
        .collect();
    for (index, var) in inputs.iter().enumerate() {
        found.push((format!("input {index}"), values(gradients.get(var).unwrap())));
    }
    for spec in network.parameters().into_iter().filter(|spec| spec.role.is_trained()) {
        let gradient = values(gradients.get(net.variable(&spec.name).unwrap()).unwrap());
        found.push((spec.name, gradient));
    }
    found
}

fn check(name: &str, network: &Network, samples: usize, mode: Mode, card: &Device) {
    let exact = computed(network, samples, mode, DType::F64, &Device::Cpu);
    let found = computed(network, samples, mode, DType::F32, card);
    assert_eq!(found, computed(network, samples, mode, DType::F32, card), "{name}: from run to run");
    for ((what, exact), (_, found)) in exact.iter().zip(&found) {
        assert_eq!(exact.len(), found.len(), "{name}, {what}");
        let largest = exact.iter().fold(1e-3f64, |largest, value| largest.max(value.abs()));
        for (index, (exact, found)) in exact.iter().zip(found).enumerate() {
            let off = (exact - found).abs() / largest;
            assert!(
                off < 2e-5,
                "{name}, {what}[{index}]: {found}, expected {exact}: {off:.1e} of the largest"
            );
        }
    }
}

#[test]
fn every_layer() {
    let Some(card) = card() else { return };
    for (name, layer) in layers() {
        for shape in [Shape::new(4, 7, 9), Shape::new(4, 40, 33)] {
            // A reshape is to one shape.
            if matches!(layer, Layer::Reshape(to) if to.len() != shape.len()) {
                continue;
            }
            let network = single(shape, layer.clone());
            for samples in [1, 3] {
                check(name, &network, samples, Mode::Evaluate, &card);
                check(name, &network, samples, Mode::Train, &card);
            }
        }
    }
    check("skips", &skips(), 2, Mode::Evaluate, &card);
}

/// More channels and pixels than a block has threads, and gradients of weights in one product over all samples.
#[test]
fn large_layers() {
    let Some(card) = card() else { return };
    let wide = Convolution::new(256, 4).stride(2).padding(1);
    check(
        "wide convolution",
        &single(Shape::new(128, 16, 16), Layer::Convolution(wide)),
        18,
        Mode::Train,
        &card,
    );
    let wide = Convolution::new(64, 4).stride(2).padding(1).bias(Bias::Learned);
    let network = single(Shape::new(256, 8, 8), Layer::TransposedConvolution(wide));
    check("wide transposed convolution", &network, 35, Mode::Train, &card);
    // By sample, and for the transposed one from columns that both gradients share.
    let layer = Layer::Convolution(Convolution::new(64, 3).padding(1));
    check("64 channels", &single(Shape::new(64, 12, 10), layer), 4, Mode::Train, &card);
    let layer = Layer::TransposedConvolution(Convolution::new(64, 4).stride(2).padding(1));
    check("64 channels, transposed", &single(Shape::new(64, 6, 7), layer), 4, Mode::Train, &card);
    // Directly: more channels than are held at once, and not a multiple of 16 of them.
    for (kernel, padding) in [(2, 0), (3, 1), (3, 0), (5, 2), (7, 6)] {
        let window = Convolution::new(21, kernel).padding(padding);
        let shape = Shape::new(37, 29, 33);
        check("direct", &single(shape, Layer::Convolution(window)), 3, Mode::Train, &card);
        check(
            "direct, transposed",
            &single(shape, Layer::TransposedConvolution(window)),
            3,
            Mode::Train,
            &card,
        );
    }
    let norm = Layer::GroupNormalization { groups: 2, epsilon: 1e-5 };
    check("large groups", &single(Shape::new(6, 96, 80), norm), 2, Mode::Train, &card);
}

/// A chain of layers, whose values are views and whose gradients accumulate.
#[test]
fn a_network() {
    let Some(card) = card() else { return };
    let mut net = NetworkBuilder::new();
    let mut x = net.input("x", Shape::new(2, 32, 32));
    for (index, layer) in [
        Layer::Convolution(Convolution::new(8, 4).stride(2).padding(1)),
        Layer::GroupNormalization { groups: 4, epsilon: 1e-5 },
        Layer::Activation(Activation::Silu),
        Layer::MaxPool { window: [2, 2] },
        Layer::Convolution(Convolution::new(8, 3).padding(1)),
        Layer::Activation(Activation::LeakyRelu { slope: 0.2 }),
        Layer::UpsampleBilinear { factor: 2 },
        Layer::TransposedConvolution(Convolution::new(2, 4).stride(2).padding(1)),
    ]
    .into_iter()
    .enumerate()
    {
        x = net.layer(format!("layer{index}"), layer, &[x]).unwrap();
    }
    check("a network", &net.finish(&[x]).unwrap(), 5, Mode::Train, &card);
}

/// By columns and directly. A kernel would read past the end of the weights.
#[test]
fn weights_of_other_channels_are_an_error() {
    let Some(card) = card() else { return };
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &card).unwrap();
    let (image, weight) = (zeros(&[1, 3, 8, 8]), zeros(&[4, 4, 3, 3]));
    for window in [Window::new(3), Window::new(3).stride(2)] {
        for error in [
            ops::convolution(&image, &weight, None, window).unwrap_err(),
            ops::transposed_convolution(&image, &weight, None, window).unwrap_err(),
        ] {
            assert!(error.to_string().contains("expected 4 channels"), "{error}");
        }
    }
}

/// Single precision does not hold the squares.
#[test]
fn the_norm_of_a_steep_gradient_is_finite() {
    let Some(card) = card() else { return };
    let network = single(Shape::new(3, 12, 12), Layer::Convolution(Convolution::new(4, 3).padding(1)));
    let parameters = ParameterSet::initialize(&network, Initialization::HeNormal, 5);
    let norms = [&Device::Cpu, &card].map(|device| {
        let mut engine = CandleEngine::new(&network, &parameters, device, InputGradients::Skip).unwrap();
        engine.forward(&[&[0.5; 3 * 144]], 1).unwrap();
        engine.backward(&[&[1e20; 4 * 144]]).unwrap();
        engine.squared_gradient_norm().unwrap()
    });
    assert!(norms[0] > 1e40 && (norms[0] - norms[1]).abs() <= 1e-5 * norms[0], "{norms:?}");
}

#[test]
fn not_a_number_is_largest() {
    let Some(card) = card() else { return };
    let x = Tensor::from_vec(vec![1.0, f32::NAN, -1e30, 3.0], (1, 1, 2, 2), &card).unwrap();
    let largest = ops::max_pool(&x, [2, 2]).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(largest[0].is_nan());
}

/// Steps of Adam on the card and on candle's processor, with decay and a scale of the gradient.
#[test]
fn adam() {
    let Some(card) = card() else { return };
    let network = single(Shape::new(3, 12, 12), Layer::Convolution(Convolution::new(4, 3).padding(1)));
    let parameters = ParameterSet::initialize(&network, Initialization::HeNormal, 5);
    let input: Vec<f32> = draws(1, 2 * 3 * 144).into_iter().map(|value| value as f32).collect();
    let by_output: Vec<f32> = draws(2, 2 * 4 * 144).into_iter().map(|value| value as f32).collect();
    let mut engines: Vec<CandleEngine> = [&Device::Cpu, &card]
        .map(|device| CandleEngine::new(&network, &parameters, device, InputGradients::Compute).unwrap())
        .into();
    for step in 1..=5 {
        let mut norms = Vec::new();
        for engine in &mut engines {
            let engine: &mut dyn TrainingEngine = engine;
            engine.clear_gradients();
            for _ in 0..2 {
                engine.forward(&[&input], 2).unwrap();
                engine.backward(&[&by_output]).unwrap();
            }
            norms.push(engine.squared_gradient_norm().unwrap());
            let update = AdamUpdate {
                rate: 1e-2,
                beta1: 0.9,
                beta2: 0.99,
                epsilon: 1e-8,
                weight_decay: 0.05,
                step,
                gradient_scale: 0.7,
            };
            engine.update(&update).unwrap();
            engine.average(0.25).unwrap();
        }
        assert!((norms[0] - norms[1]).abs() <= 1e-5 * norms[0], "{norms:?}");
    }
    let [own, other] = &engines[..] else { unreachable!() };
    let sets = |engine: &CandleEngine| {
        let [first, second] = engine.moments().unwrap();
        [engine.parameters().unwrap(), engine.mean().unwrap().unwrap(), first, second]
    };
    for (own, other) in sets(own).iter().zip(&sets(other)) {
        for ((name, own), (_, other)) in own.iter().zip(other.iter()) {
            let largest = own.values().iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            for (own, other) in own.values().iter().zip(other.values()) {
                assert!((own - other).abs() <= 1e-4 * largest, "{name}: {own} {other}");
            }
        }
    }
}
