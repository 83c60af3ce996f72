//! What streams of pixels keep in memory, counted by the allocator.
//!
//! One test alone, because the count is of the whole process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

use lesio_metrics::{
    BootstrapConfig, Connectivity, MeasureConfig, PatientPixels, Scratch, StreamedPatients, TruePixels,
};
use ndarray::Array3;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The most that stands at a time beyond what stood before, and what stands afterwards, with the result.
fn usage<T>(work: impl FnOnce() -> T) -> (usize, usize, T) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    (ALLOCATOR.peak_usage() - before, ALLOCATOR.current_usage() - before, result)
}

const SHAPE: (usize, usize, usize) = (20, 128, 128);

/// A map with a lesion and its truth; no two maps are alike.
fn map(case: usize) -> (Array3<f32>, Array3<bool>) {
    let truth = Array3::from_shape_fn(SHAPE, |(slice, row, column)| {
        (3..6).contains(&slice) && (40..60).contains(&row) && (50 + case % 7..70).contains(&column)
    });
    let mut state = case as u32 + 1;
    let scores = truth.mapv(|lesion| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 + if lesion { 0.3 } else { 0.0 }
    });
    (scores, truth)
}

/// Bytes for patients whose pixels all lie in a file.
#[derive(Debug)]
struct Streamed {
    /// The most while they are gathered and measured.
    measuring: usize,
    /// What is kept for intervals.
    kept: usize,
    /// The most while they are resampled.
    resampling: usize,
}

fn streamed(patients: usize, maps: usize) -> Streamed {
    let mut scratch = Scratch::new(tempfile::tempfile().unwrap());
    let (measuring, kept, measured) = usage(|| {
        let mut stream = StreamedPatients::new();
        for case in 0..patients * maps {
            let (scores, truth) = map(case);
            let pixels =
                TruePixels::new(truth.view(), truth.mapv(|_| true).view(), Connectivity::Vertex).unwrap();
            stream.update(&mut scratch, &(case % patients).to_string(), &pixels, scores.view()).unwrap();
        }
        let measured = stream.measure(&mut scratch, &MeasureConfig::default()).unwrap();
        assert!(measured.average_precision() > 0.01);
        measured
    });
    let (resampling, ..) =
        usage(|| measured.bootstrap(&mut scratch, &BootstrapConfig::new(1).replicates(70)).unwrap());
    assert!(scratch.bytes() > (patients * maps * truth_len()) as u64);
    Streamed { measuring, kept, resampling }
}

fn in_memory(patients: usize) -> usize {
    let (peak, ..) = usage(|| {
        let mut pixels = PatientPixels::new();
        for patient in 0..patients {
            let (scores, truth) = map(patient);
            let (scores, truth): (Vec<f32>, Vec<bool>) =
                (scores.into_iter().collect(), truth.into_iter().collect());
            pixels.update(&patient.to_string(), &scores, &truth).unwrap();
        }
        assert!(pixels.rank().unwrap().pooled().average_precision() > 0.01);
    });
    peak
}

fn truth_len() -> usize {
    SHAPE.0 * SHAPE.1 * SHAPE.2
}

#[test]
fn streams_hardly_grow_with_what_they_hold() {
    // More than the numbers of patients and of maps that are decoded at once.
    let (few, many, of_two) = (streamed(66, 1), streamed(98, 1), streamed(2, 49));
    println!("{few:?} {many:?} {of_two:?}");
    let added = (32 * truth_len()) as f64;
    let growth = |many: usize, few: usize| (many as f64 - few as f64) / added;
    // A histogram of each patient, or a block of each map, would be 0.2 a pixel.
    for (what, growth) in [
        ("measuring", growth(many.measuring, few.measuring)),
        ("kept", growth(many.kept, few.kept)),
        ("resampling", growth(many.resampling, few.resampling)),
    ] {
        assert!(growth < 0.02, "{what} grows by {growth} bytes a pixel");
    }
    // The maps of one patient are not in memory together, either: they would be 2 bytes a pixel.
    assert!(of_two.measuring as f64 <= 1.1 * many.measuring as f64, "{of_two:?}");
    let growth_in_memory = growth(in_memory(40), in_memory(8));
    assert!(growth_in_memory > 6.0, "{growth_in_memory}");
}
