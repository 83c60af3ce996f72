//! What an engine of candle's devices gives, against candle's automatic differentiation in f64, for every layer.
//!
//! On candle's processor, and with the feature `cuda` on a card where there is one.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod layers;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use layers::{draws, layers, single, skips};
use lesio_kernels::AdamUpdate;
use lesio_nn::candle::{CandleEngine, CandleNetwork};
use lesio_nn::{
    Convolution, Differentiate, Engine, Inference, Initialization, InputGradients, Layer, Mode, Network,
    NetworkBuilder, ParameterSet, Shape, TrainingEngine,
};

type Values = BTreeMap<String, Vec<f64>>;

fn devices() -> Vec<Device> {
    let mut devices = vec![Device::Cpu];
    if cfg!(feature = "cuda") {
        match Device::new_cuda(0) {
            Ok(card) => devices.push(card),
            Err(error) => println!("skipped: there is no CUDA card here: {error}"),
        }
    }
    devices
}

fn given(network: &Network, samples: usize) -> Vec<Vec<f64>> {
    let shapes = network.input_shapes().into_iter().enumerate();
    shapes.map(|(index, shape)| draws(index as u64, samples * shape.len())).collect()
}

/// Outputs, and gradients of their weighted sum, by candle.
fn expected(network: &Network, parameters: &ParameterSet, samples: usize, mode: Mode) -> Values {
    let net = CandleNetwork::new(network, parameters, DType::F64, &Device::Cpu).unwrap();
    let inputs: Vec<Var> = given(network, samples)
        .into_iter()
        .zip(network.input_shapes())
        .map(|(values, s)| {
            // As an engine gets them.
            let values: Vec<f64> = values.into_iter().map(|value| f64::from(value as f32)).collect();
            Tensor::from_vec(values, (samples, s.channels, s.height, s.width), &Device::Cpu).unwrap()
        })
        .map(|tensor| Var::from_tensor(&tensor).unwrap())
        .collect();
    let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
    let (outputs, _) = net.forward_mode(&tensors, mode).unwrap();
    let mut sum = Tensor::zeros((), DType::F64, &Device::Cpu).unwrap();
    let mut found = Values::new();
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    for (index, output) in outputs.iter().enumerate() {
        let weights = draws(100 + index as u64, output.elem_count());
        let weights = Tensor::from_vec(weights, output.shape(), &Device::Cpu).unwrap();
        sum = (sum + (output * weights).unwrap().sum_all().unwrap()).unwrap();
        found.insert(format!("output {index}"), values(output));
    }
    let gradients = sum.backward().unwrap();
    for (index, var) in inputs.iter().enumerate() {
        let gradient = gradients.get(var).map_or(vec![0.0; var.elem_count()], values);
        found.insert(format!("input {index}"), gradient);
    }
    for spec in network.parameters().into_iter().filter(|spec| spec.role.is_trained()) {
        let gradient = gradients.get(net.variable(&spec.name).unwrap());
        found.insert(spec.name.clone(), gradient.map_or(vec![0.0; spec.len()], values));
    }
    found
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// The same by an engine, whose first moments after a first update are a tenth of the gradients.
fn computed(
    network: &Network,
    parameters: &ParameterSet,
    samples: usize,
    mode: Mode,
    device: &Device,
) -> Values {
    let mut engine = CandleEngine::new(network, parameters, device, InputGradients::Compute).unwrap();
    let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<f32>>();
    let inputs: Vec<Vec<f32>> = given(network, samples).into_iter().map(narrow).collect();
    engine.set_mode(mode);
    engine.forward(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>(), samples).unwrap();
    let mut found = Values::new();
    let mut by_outputs = Vec::new();
    for index in 0..network.outputs().len() {
        found.insert(format!("output {index}"), wide(engine.output(index)));
        by_outputs.push(narrow(draws(100 + index as u64, engine.output(index).len())));
    }
    engine.backward(&by_outputs.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    for index in 0..inputs.len() {
        found.insert(format!("input {index}"), wide(engine.input_gradient(index)));
    }
    let update = AdamUpdate {
        rate: 0.0,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        step: 1,
        gradient_scale: 10.0,
    };
    engine.update(&update).unwrap();
    for (name, moment) in engine.moments().unwrap()[0].iter() {
        found.insert(name.to_owned(), wide(moment.values()));
    }
    found
}

fn check(name: &str, network: &Network, samples: usize) {
    let parameters = ParameterSet::initialize(network, Initialization::HeNormal, 5);
    for mode in [Mode::Evaluate, Mode::Train] {
        let expected = expected(network, &parameters, samples, mode);
        for device in devices() {
            let found = computed(network, &parameters, samples, mode, &device);
            assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "{name}");
            for (what, expected) in &expected {
                let largest = expected.iter().fold(1e-2f64, |largest, value| largest.max(value.abs()));
                assert_eq!(expected.len(), found[what].len(), "{name}, {what}");
                for (expected, found) in expected.iter().zip(&found[what]) {
                    let off = (expected - found).abs() / largest;
                    assert!(off < 2e-5, "{name} on {device:?}, {what}: {found}, expected {expected}");
                }
            }
        }
    }
}

#[test]
fn every_layer() {
    for (name, layer) in layers() {
        check(name, &single(Shape::new(4, 7, 9), layer), 3);
    }
}

#[test]
fn skips_and_outputs_that_others_read() {
    check("skips", &skips(), 2);
}

/// An input that no output depends on, one that is an output itself, and two that are added.
#[test]
fn several_inputs() {
    let mut net = NetworkBuilder::new();
    let shape = Shape::new(2, 5, 4);
    let [a, b, unused] = ["a", "b", "unused"].map(|name| net.input(name, shape));
    let mixed = net.layer("mixed", Layer::Convolution(Convolution::new(2, 3).padding(1)), &[b]).unwrap();
    let sum = net.layer("sum", Layer::Add, &[a, mixed, a]).unwrap();
    let dead = net.layer("dead", Layer::Convolution(Convolution::new(1, 1)), &[unused]).unwrap();
    let _ = dead;
    check("several inputs", &net.finish(&[sum, b, sum]).unwrap(), 2);
}

/// Frozen networks give gradients by their inputs, as often as they are asked, or none where they were made for none.
#[test]
fn frozen_networks() {
    let network = skips();
    let parameters = ParameterSet::initialize(&network, Initialization::HeNormal, 5);
    let input: Vec<f32> = given(&network, 2)[0].iter().map(|&value| value as f32).collect();
    let expected = expected(&network, &parameters, 2, Mode::Evaluate);
    for device in devices().into_iter().map(lesio_nn::Device::Candle) {
        let frozen = |differentiate| Inference::new(&network, &parameters, differentiate, &device).unwrap();
        let inference = frozen(Differentiate::Inputs);
        let mut engine = inference.run(&[&input], 2).unwrap();
        let weights: Vec<Vec<f32>> = (0..2)
            .map(|index| draws(100 + index as u64, engine.output(index).len()))
            .map(|values| values.into_iter().map(|value| value as f32).collect())
            .collect();
        for _ in 0..2 {
            engine.backward(&[&weights[0], &weights[1]]).unwrap();
            for (found, expected) in engine.input_gradient(0).iter().zip(&expected["input 0"]) {
                assert!((f64::from(*found) - expected).abs() < 1e-4, "{found}, expected {expected}");
            }
        }
        assert!(engine.backward(&[&weights[0]]).is_err());
        let inference = frozen(Differentiate::Nothing);
        let mut engine = inference.run(&[&input], 2).unwrap();
        assert!(engine.backward(&[&weights[0], &weights[1]]).is_err());
        assert!(engine.input_gradient(0).is_empty());
    }
}

/// After a rectifier many values are equal: on both engines the first of a window takes the whole gradient. NaN is not lost.
#[test]
fn equal_values_and_nan_are_pooled_alike() {
    let devices = [lesio_nn::Device::Cpu, "candle-cpu".parse().unwrap()];
    // Side of the image, places of the first of equal values, and of NaN: one in each window, at another place of it.
    let cases = [
        (Layer::MaxPool { window: [2, 2] }, 4, [0usize, 2, 8, 10], vec![0usize, 3, 12, 15]),
        (Layer::MaxPoolStrided { window: [2, 2], stride: [1, 1], padding: [0, 0] }, 3, [0, 1, 3, 4], vec![4]),
    ];
    for (layer, side, firsts, bad) in cases {
        let network = layers::single(Shape::new(1, side, side), layer.clone());
        let mut expected = vec![0.0f32; side * side];
        for (place, gradient) in firsts.into_iter().zip([1.0, 2.0, 3.0, 4.0]) {
            expected[place] = gradient;
        }
        let mut values = vec![1.0f32; side * side];
        for place in bad {
            values[place] = f32::NAN;
        }
        for device in &devices {
            let inference =
                Inference::new(&network, &ParameterSet::new(), Differentiate::Inputs, device).unwrap();
            let mut pass = inference.run(&[&vec![0.0; side * side]], 1).unwrap();
            pass.backward(&[&[1.0, 2.0, 3.0, 4.0]]).unwrap();
            assert_eq!(pass.input_gradient(0), expected, "{layer:?} on {device:?}");
            drop(pass);
            let pass = inference.run(&[&values], 1).unwrap();
            assert!(pass.output(0).iter().all(|value| value.is_nan()), "{layer:?} on {device:?}");
        }
    }
}

/// A pixel that is infinite makes its whole group NaN, and not the other pixels a finite number after a sigmoid.
#[test]
fn groups_with_an_infinite_value_are_not_a_number() {
    let mut net = NetworkBuilder::new();
    let image = net.input("image", Shape::new(2, 5, 4));
    let norm = Layer::GroupNormalization { groups: 2, epsilon: 1e-5 };
    let normal = net.layer("normal", norm, &[image]).unwrap();
    let score = net.layer("score", Layer::Activation(lesio_nn::Activation::Sigmoid), &[normal]).unwrap();
    let network = net.finish(&[normal, score]).unwrap();
    let parameters = ParameterSet::initialize(&network, Initialization::HeNormal, 5);
    let finite: Vec<f32> = given(&network, 1)[0].iter().map(|&value| value as f32).collect();
    for device in [lesio_nn::Device::Cpu, "candle-cpu".parse().unwrap()] {
        let inference = Inference::new(&network, &parameters, Differentiate::Nothing, &device).unwrap();
        for (place, bad) in [(0, f32::INFINITY), (7, f32::INFINITY), (19, f32::NEG_INFINITY)] {
            let mut image = finite.clone();
            image[place] = bad;
            let pass = inference.run(&[&image], 1).unwrap();
            for output in [pass.output(0), pass.output(1)] {
                let (group, other) = output.split_at(20);
                assert!(
                    group.iter().all(|value| value.is_nan()),
                    "{bad} at {place} on {device:?}: {group:?}"
                );
                assert!(other.iter().all(|value| value.is_finite()), "{device:?}: {other:?}");
            }
        }
    }
}
