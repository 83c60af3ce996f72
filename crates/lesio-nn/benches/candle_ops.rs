//! Layers as candle operations over own kernels, against candle's own: forward, and with the gradients of all arguments.
//!
//! `cargo bench -p lesio-nn --features candle --bench candle_ops`
#![allow(missing_docs, clippy::unwrap_used)] // Made by macros; a benchmark may.

use std::hint::black_box;

use candle_core::{Device, Result, Tensor, Var};
use criterion::{Criterion, criterion_group, criterion_main};
use lesio_nn::candle::ops::{self, Window};

fn random(shape: &[usize]) -> Var {
    Var::randn(0f32, 1.0, shape, &Device::Cpu).unwrap()
}

/// Times both ways of an operation, forward alone and with a backward pass.
fn compare(
    criterion: &mut Criterion,
    name: &str,
    arguments: &[Var],
    own: impl Fn(&[Var]) -> Result<Tensor>,
    stock: impl Fn(&[Var]) -> Result<Tensor>,
) {
    let mut group = criterion.benchmark_group(name);
    for (side, run) in [("own", &own as &dyn Fn(&[Var]) -> Result<Tensor>), ("candle", &stock)] {
        group.bench_function(format!("{side}, forward"), |b| b.iter(|| run(black_box(arguments)).unwrap()));
        group.bench_function(format!("{side}, with backward"), |b| {
            b.iter(|| run(black_box(arguments)).unwrap().sum_all().unwrap().backward().unwrap());
        });
    }
}

fn layers(criterion: &mut Criterion) {
    let image = random(&[16, 64, 64, 64]);
    let weight = random(&[64, 64, 3, 3]);
    let same = Window::new(3).padding(1);
    compare(
        criterion,
        "convolution 3x3, 64 to 64 channels, 16 x 64 x 64",
        &[image.clone(), weight],
        |a| ops::convolution(&a[0], &a[1], None, same),
        |a| a[0].conv2d(&a[1], 1, 1, 1, 1),
    );
    let small = random(&[16, 64, 32, 32]);
    let weight = random(&[64, 64, 4, 4]);
    let doubling = Window::new(4).stride(2).padding(1);
    compare(
        criterion,
        "transposed convolution 4x4, stride 2, 64 to 64 channels, 16 x 32 x 32",
        &[small.clone(), weight],
        |a| ops::transposed_convolution(&a[0], &a[1], None, doubling),
        |a| a[0].conv_transpose2d(&a[1], 1, 0, 2, 1),
    );
    compare(
        criterion,
        "nearest upsampling, 64 channels, 16 x 32 x 32",
        &[small],
        |a| ops::upsample_nearest(&a[0], 2),
        |a| a[0].upsample_nearest2d(64, 64),
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = layers
}
criterion_main!(benches);
