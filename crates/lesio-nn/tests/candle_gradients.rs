//! Gradients of the candle module against central differences in f64, for every layer.
#![allow(missing_docs, clippy::unwrap_used)]

mod layers;

use candle_core::{DType, Device, Tensor, Var};
use layers::{draws, layers, single, skips};
use lesio_nn::candle::CandleNetwork;
use lesio_nn::{Activation, Initialization, Layer, Mode, Network, ParameterSet, Shape};

/// The scalar `sum(weights * outputs)` whose gradient is checked.
fn objective(net: &CandleNetwork, inputs: &[Tensor], mode: Mode) -> Tensor {
    let (outputs, _) = net.forward_mode(inputs, mode).unwrap();
    let mut sum = Tensor::zeros((), DType::F64, &Device::Cpu).unwrap();
    for (index, output) in outputs.iter().enumerate() {
        let weights =
            Tensor::from_vec(draws(100 + index as u64, output.elem_count()), output.shape(), &Device::Cpu);
        sum = (sum + (output * weights.unwrap()).unwrap().sum_all().unwrap()).unwrap();
    }
    sum
}

fn check(name: &str, network: &Network, samples: usize, mode: Mode) {
    let parameters = ParameterSet::initialize(network, Initialization::HeNormal, 5);
    let net = CandleNetwork::new(network, &parameters, DType::F64, &Device::Cpu).unwrap();
    let inputs: Vec<Var> = network
        .input_shapes()
        .iter()
        .enumerate()
        .map(|(index, s)| {
            let values = draws(index as u64, samples * s.len());
            let tensor =
                Tensor::from_vec(values, (samples, s.channels, s.height, s.width), &Device::Cpu).unwrap();
            Var::from_tensor(&tensor).unwrap()
        })
        .collect();
    let tensors = || inputs.iter().map(|v| v.as_tensor().clone()).collect::<Vec<_>>();
    let gradients = objective(&net, &tensors(), mode).backward().unwrap();
    let trained = network.parameters().into_iter().filter(|p| p.role.is_trained()).map(|p| p.name);
    let mut vars: Vec<(String, Var)> =
        trained.map(|n| (n.clone(), net.variable(&n).unwrap().clone())).collect();
    vars.extend(inputs.iter().enumerate().map(|(i, v)| (format!("input {i}"), v.clone())));
    for (what, var) in vars {
        let gradient = gradients.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let start = var.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let stride = (start.len() / 23).max(1);
        for index in (0..start.len()).step_by(stride) {
            let at = |delta: f64| {
                let mut moved = start.clone();
                moved[index] += delta;
                var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
                objective(&net, &tensors(), mode).to_scalar::<f64>().unwrap()
            };
            let step = 1e-5;
            let expected = (at(step) - at(-step)) / (2.0 * step);
            let scale = expected.abs().max(1.0);
            assert!(
                (gradient[index] - expected).abs() < 1e-6 * scale,
                "{name}, {what}[{index}]: {} differs from the central difference {expected}",
                gradient[index]
            );
        }
        var.set(&Tensor::from_vec(start, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
}

#[test]
fn every_layer() {
    let odd = Shape::new(4, 7, 9);
    for (name, layer) in layers() {
        let network = single(odd, layer);
        check(name, &network, 2, Mode::Evaluate);
        check(name, &network, 2, Mode::Train);
    }
}

#[test]
fn skips_accumulate() {
    check("skips", &skips(), 2, Mode::Evaluate);
}

#[test]
fn not_a_number_stays() {
    for activation in
        [Activation::RELU, Activation::LeakyRelu { slope: 0.2 }, Activation::Silu, Activation::Sigmoid]
    {
        let network = single(Shape::vector(2), Layer::Activation(activation));
        let net = CandleNetwork::new(&network, &ParameterSet::new(), DType::F32, &Device::Cpu).unwrap();
        let x = Tensor::from_vec(vec![f32::NAN, -1e30], (1, 2, 1, 1), &Device::Cpu).unwrap();
        let y = net.forward(&[x]).unwrap()[0].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(y[0].is_nan(), "{activation:?}");
        assert!(!y[1].is_nan(), "{activation:?}");
    }
}
