//! Reading 256 voxels cubed of 16 bits, compressed, as 32-bit floats.
//!
//! `compare_nibabel.py` beside it reads the same file with nibabel and prints the ratio.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // A benchmark may.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lesio_image::{Geometry, Volume};
use lesio_io::atomic::Existing;
use lesio_io::{WriteOptions, read_volume};
use ndarray::Array3;
use nifti::{IntoNdArray, NiftiObject, ReaderOptions};

const SIZE: usize = 256;

/// The file, made once: a smooth head in noise, which compresses about as magnetic resonance images do.
fn file() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join("256.nii.gz");
    let mut state = 1_u32;
    let volume = Array3::from_shape_fn((SIZE, SIZE, SIZE), |(i, j, k)| {
        let centered = [i, j, k].map(|x| (x as f32 - 127.5) / 100.0);
        let radius = centered.iter().map(|x| x * x).sum::<f32>();
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 27) as f32;
        let tissue = if radius < 1.0 {
            600.0 + 300.0 * (9.0 * centered[0]).sin() * (7.0 * centered[1]).cos()
        } else {
            0.0
        };
        (tissue + noise) as i16
    });
    let volume = Volume::new(volume, Geometry::default());
    WriteOptions::new().existing(Existing::Replace).write(&path, &volume).unwrap();
    path
}

fn read(criterion: &mut Criterion) {
    let path = file();
    let mut group = criterion.benchmark_group("read_256_i16_gz");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    group.throughput(Throughput::Elements((SIZE * SIZE * SIZE) as u64));
    group.bench_function("lesio", |bencher| bencher.iter(|| black_box(read_volume(&path).unwrap())));
    group.bench_function("nifti-rs", |bencher| {
        bencher.iter(|| {
            let volume = ReaderOptions::new().read_file(&path).unwrap().into_volume();
            black_box(volume.into_ndarray::<f32>().unwrap())
        });
    });
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
