//! Ranking metrics over data sets of the size of a study.
//!
//! `cargo bench -p lesio-metrics`; data are made outside the loops, from a fixed seed.

// A bench may panic: that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lesio_metrics::{
    BootstrapConfig, Connectivity, PatientPixels, PixelCurve, RegionCurve, SurfaceDistances, WhenNoSurface,
};
use ndarray::{Array2, Array3};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Scores near a normal distribution, those of the 5 % positives higher.
fn pixels(count: usize) -> (Vec<f32>, Vec<bool>) {
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    (0..count)
        .map(|_| {
            let truth = generator.random::<f32>() < 0.05;
            let noise: f32 = (0..4).map(|_| generator.random::<f32>() - 0.5).sum();
            (noise + if truth { 0.8 } else { 0.0 }, truth)
        })
        .unzip()
}

/// Maps with square lesions.
fn maps(count: usize, side: usize) -> Vec<(Array2<f32>, Array2<bool>)> {
    let mut generator = ChaCha8Rng::seed_from_u64(2);
    (0..count)
        .map(|_| {
            let mut truth = Array2::from_elem((side, side), false);
            for _ in 0..6 {
                let size = generator.random_range(4..side / 6);
                let (i, j) = (generator.random_range(0..side - size), generator.random_range(0..side - size));
                (i..i + size).for_each(|row| (j..j + size).for_each(|column| truth[[row, column]] = true));
            }
            let scores = truth.mapv(|t| generator.random::<f32>() + if t { 0.4 } else { 0.0 });
            (scores, truth)
        })
        .collect()
}

fn ranking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("auroc-and-average-precision");
    group.sample_size(10);
    for (name, count) in [("1e6", 1_000_000), ("1e7", 10_000_000)] {
        let (scores, truth) = pixels(count);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut pixels = PixelCurve::new();
                pixels.update(black_box(&scores), black_box(&truth)).unwrap();
                let ranked = pixels.rank().unwrap();
                (ranked.auroc(), ranked.average_precision())
            });
        });
    }
}

fn regions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("aupro");
    group.sample_size(10);
    let maps = maps(100, 256);
    group.bench_function("100 maps of 256 x 256", |bencher| {
        bencher.iter(|| {
            let mut regions = RegionCurve::new(Connectivity::Vertex);
            for (scores, truth) in &maps {
                regions.update(scores.view(), truth.view()).unwrap();
            }
            let ranked = regions.rank().unwrap();
            (ranked.aupro(0.3).unwrap(), ranked.aupro(0.05).unwrap())
        });
    });
}

fn bootstrap(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bootstrap");
    group.sample_size(10);
    let (scores, truth) = pixels(10_000_000);
    let mut patients = PatientPixels::new();
    for (patient, (scores, truth)) in scores.chunks(125_000).zip(truth.chunks(125_000)).enumerate() {
        patients.update(&format!("{patient:02}"), scores, truth).unwrap();
    }
    group.bench_function("rank 1e7 pixels of 80 patients", |bencher| {
        bencher.iter_batched(
            || patients.clone(),
            |patients| patients.rank().unwrap(),
            BatchSize::PerIteration,
        );
    });
    let ranked = patients.rank().unwrap();
    group.bench_function("1000 replicates", |bencher| {
        bencher.iter(|| ranked.bootstrap(&BootstrapConfig::new(1)).unwrap());
    });
}

fn surfaces(criterion: &mut Criterion) {
    let ball = |radius: f64| {
        Array3::from_shape_fn((128, 128, 64), |(i, j, k)| {
            let d = [i as f64 - 64.0, j as f64 - 64.0, 2.0 * (k as f64 - 32.0)];
            d.iter().map(|x| x * x).sum::<f64>() <= radius * radius
        })
    };
    let (a, b) = (ball(40.0), ball(45.0));
    criterion.bench_function("hd95 in 128 x 128 x 64", |bencher| {
        bencher.iter(|| {
            lesio_metrics::hd95(a.view(), b.view(), &[1.0, 1.0, 2.0], WhenNoSurface::Undefined).unwrap()
        });
    });
    criterion.bench_function("surface distances of equal masks", |bencher| {
        bencher.iter(|| SurfaceDistances::between(a.view(), a.view(), &[1.0; 3]).unwrap());
    });
}

criterion_group!(benches, ranking, regions, bootstrap, surfaces);
criterion_main!(benches);
