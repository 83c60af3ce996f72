//! What post-processing and preprocessing cost, on seeded images of named sizes.
//!
//! `cargo bench -p lesio-image`. The same cases in Python: `tests/golden/time_scipy.py`.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run shall stop")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use lesio_image::{
    Connectivity, ForegroundMask, Geometry, Interpolation, Plane, Preprocessing, Volume, erode,
    gaussian_filter_volume, label_volume, median_filter_plane, median_filter_volume, resample_volume,
};
use ndarray::{Array2, Array3};

/// Uniform values from a linear congruential generator: the same on every machine.
fn noise() -> impl FnMut() -> f32 {
    let mut state = 1_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    }
}

/// Sixty-four slices of 128 x 128.
fn stack() -> Array3<f32> {
    let mut next = noise();
    Array3::from_shape_simple_fn((64, 128, 128), &mut next)
}

/// Blobs that cover a fifth of the stack.
fn blobs() -> Array3<bool> {
    let smooth = gaussian_filter_volume(&stack(), [1.5; 3]).unwrap();
    let mut sorted: Vec<f32> = smooth.iter().copied().collect();
    sorted.sort_by(f32::total_cmp);
    let threshold = sorted[sorted.len() * 4 / 5];
    smooth.mapv(|value| value > threshold)
}

/// An ellipsoid with texture, as a head of 128 x 128 x 40 voxels.
fn head() -> Volume {
    let mut next = noise();
    let data = Array3::from_shape_fn((128, 128, 40), |(i, j, k)| {
        let (x, y, z) = (i as f32 - 64.0, j as f32 - 60.0, k as f32 - 18.0);
        let inside = (x / 45.0).powi(2) + (y / 55.0).powi(2) + (z / 22.0).powi(2) < 1.0;
        if inside { 80.0 + 60.0 * next() } else { 6.0 * next() }
    });
    Volume::new(data, Geometry::default())
}

fn medians(criterion: &mut Criterion) {
    let mut next = noise();
    let plane = Array2::from_shape_simple_fn((128, 128), &mut next);
    for size in [3, 5, 7, 9, 11, 15] {
        criterion.bench_function(&format!("median {size}x{size}, 128x128"), |b| {
            b.iter(|| median_filter_plane(black_box(&plane), [size, size]).unwrap());
        });
    }
    let large = Array2::from_shape_simple_fn((1024, 1024), &mut next);
    for size in [5, 15] {
        criterion.bench_function(&format!("median {size}x{size}, 1024x1024"), |b| {
            b.iter(|| median_filter_plane(black_box(&large), [size, size]).unwrap());
        });
    }
    let stack = stack();
    for size in [[1, 5, 5], [3, 3, 3], [5, 5, 5], [7, 7, 7]] {
        criterion.bench_function(&format!("median {size:?}, 64x128x128"), |b| {
            b.iter(|| median_filter_volume(black_box(&stack), size).unwrap());
        });
    }
}

fn masks(criterion: &mut Criterion) {
    let (blobs, stack) = (blobs(), stack());
    let speckle = stack.mapv(|value| value > 0.8);
    for (name, mask) in [("blobs", &blobs), ("speckle", &speckle)] {
        for connectivity in [Connectivity::Face, Connectivity::Vertex] {
            criterion.bench_function(&format!("label {name}, {connectivity:?}, 64x128x128"), |b| {
                b.iter(|| label_volume(black_box(mask), connectivity));
            });
        }
    }
    let mut next = noise();
    let large = Array3::from_shape_simple_fn((256, 256, 256), || next() > 0.97);
    criterion.bench_function("label sparse, Faces, 256x256x256", |b| {
        b.iter(|| label_volume(black_box(&large), Connectivity::Face));
    });
    criterion.bench_function("erode by 3, 64x128x128", |b| b.iter(|| erode(black_box(&blobs), 3.0)));
}

fn grids(criterion: &mut Criterion) {
    let (stack, head) = (stack(), head());
    criterion.bench_function("gaussian 1.5, 64x128x128", |b| {
        b.iter(|| gaussian_filter_volume(black_box(&stack), [1.5; 3]).unwrap());
    });
    criterion.bench_function("resample 128x128x40 to 96x96x60", |b| {
        b.iter(|| resample_volume(black_box(&head), [96, 96, 60], Interpolation::Linear).unwrap());
    });
    criterion.bench_function("foreground 128x128x40", |b| {
        b.iter(|| ForegroundMask::new().volume(black_box(&head), Plane::Axial).unwrap());
    });
    let head = lesio_image::Scan::from(head);
    let fitted = Preprocessing::heads([128, 128]).fit([&head]).unwrap();
    criterion.bench_function("prepare 128x128x40", |b| b.iter(|| fitted.prepare(black_box(&head)).unwrap()));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = medians, masks, grids
}
criterion_main!(benches);
