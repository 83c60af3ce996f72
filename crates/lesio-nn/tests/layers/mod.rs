//! Every layer as a network of its own, and what is put into it.
#![allow(dead_code, unreachable_pub)] // Not every test uses all; a test is no library.

use lesio_nn::{Activation, Bias, Convolution, Layer, Network, NetworkBuilder, NodeId, Shape, random};

pub fn layers() -> Vec<(&'static str, Layer)> {
    vec![
        ("convolution", Layer::Convolution(Convolution::new(3, 3).padding(1))),
        ("strided convolution, not square", Layer::Convolution(Convolution::new(3, 4).stride(2).padding(1))),
        ("5x5 convolution", Layer::Convolution(Convolution::new(2, 5).stride(2).padding(2).bias(Bias::None))),
        ("1x1 convolution that skips pixels", Layer::Convolution(Convolution::new(3, 1).stride(2))),
        ("transposed convolution", Layer::TransposedConvolution(Convolution::new(3, 4).stride(2).padding(1))),
        ("2x2 transposed convolution", Layer::TransposedConvolution(Convolution::new(3, 2).stride(2))),
        (
            "5x5 transposed convolution, stride 3",
            Layer::TransposedConvolution(Convolution::new(2, 5).stride(3).padding(2).bias(Bias::None)),
        ),
        ("transposed convolution, stride 1", Layer::TransposedConvolution(Convolution::new(3, 3).padding(1))),
        ("transposed convolution with gaps", Layer::TransposedConvolution(Convolution::new(3, 2).stride(3))),
        ("linear", Layer::Linear { features: 6, bias: Bias::Learned }),
        ("group normalization", Layer::GroupNormalization { groups: 2, epsilon: 1e-5 }),
        ("batch normalization", Layer::BatchNormalization { epsilon: 1e-5, momentum: 0.1 }),
        ("leaky relu", Layer::Activation(Activation::LeakyRelu { slope: 0.2 })),
        ("silu", Layer::Activation(Activation::Silu)),
        ("sigmoid", Layer::Activation(Activation::Sigmoid)),
        ("tanh", Layer::Activation(Activation::Tanh)),
        ("gelu", Layer::Activation(Activation::Gelu)),
        ("gelu by tanh", Layer::Activation(Activation::GeluTanh)),
        ("max pool", Layer::MaxPool { window: [2, 3] }),
        (
            "max pool of overlapping windows",
            Layer::MaxPoolStrided { window: [3, 2], stride: [2, 1], padding: [1, 1] },
        ),
        ("average pool", Layer::AveragePool { window: [3, 2] }),
        ("nearest", Layer::UpsampleNearest { factor: 2 }),
        ("bilinear", Layer::UpsampleBilinear { factor: 3 }),
        ("bilinear between corners", Layer::UpsampleBilinearCorners { factor: 3 }),
        ("reshape", Layer::Reshape(Shape::new(7, 4, 9))),
    ]
}

/// A network of one layer.
pub fn single(shape: Shape, layer: Layer) -> Network {
    let mut net = NetworkBuilder::new();
    let x = net.input("x", shape);
    let y = net.layer("y", layer, &[x]).unwrap();
    net.finish(&[y]).unwrap()
}

/// Skips read by several layers: where candle's own upsampling loses gradients.
pub fn skips() -> Network {
    let mut net = NetworkBuilder::new();
    let x = net.input("x", Shape::new(2, 6, 4));
    let mut step = |name: &str, layer: Layer, from: &[NodeId]| net.layer(name, layer, from).unwrap();
    let a = step("a", Layer::Convolution(Convolution::new(3, 3).padding(1)), &[x]);
    let down = step("down", Layer::MaxPool { window: [2, 2] }, &[a]);
    let up = step("up", Layer::UpsampleNearest { factor: 2 }, &[down]);
    let joined = step("joined", Layer::Concatenate, &[up, a, x]);
    let mixed = step("mixed", Layer::Convolution(Convolution::new(3, 1)), &[joined]);
    let sum = step("sum", Layer::Add, &[mixed, a]);
    let gate = step("gate", Layer::Convolution(Convolution::new(1, 1)), &[joined]);
    let gated = step("gated", Layer::Multiply, &[gate, sum]);
    let mean = step("mean", Layer::AveragePool { window: [6, 4] }, &[gated]);
    let excited = step("excited", Layer::Multiply, &[gated, mean]);
    net.finish(&[excited, down]).unwrap()
}

pub fn draws(seed: u64, len: usize) -> Vec<f64> {
    let mut values = vec![0f32; len];
    random::fill_normal(&mut random::generator(seed, 0), &mut values);
    values.into_iter().map(f64::from).collect()
}
