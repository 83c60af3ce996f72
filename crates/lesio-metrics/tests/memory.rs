//! What streams of pixels keep in memory, counted by the allocator.
//!
//! One test alone, because the count is of the whole process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.
#![allow(unsafe_code)] // An allocator that counts is an unsafe trait by nature; it hands all work to the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use lesio_metrics::{
    BootstrapConfig, Connectivity, MeasureConfig, PatientPixels, Scratch, StreamedPatients, TruePixels,
};
use ndarray::Array3;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(now, Relaxed);
}

// SAFETY: every call goes to the system's allocator with the arguments given; counting touches only
// atomic numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may stand side by side while they are copied: both are counted.
        grown(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that stands at a time beyond what stood before.
fn peak(work: impl FnOnce()) -> usize {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    work();
    PEAK.load(Relaxed) - before
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

/// The peak of gathering and measuring so many patients, of whom all pixels lie in a file.
fn streamed(patients: usize) -> usize {
    let mut scratch = Scratch::new(tempfile::tempfile().unwrap());
    let bytes = peak(|| {
        let mut stream = StreamedPatients::new();
        for patient in 0..patients {
            let (scores, truth) = map(patient);
            let pixels =
                TruePixels::new(truth.view(), truth.mapv(|_| true).view(), Connectivity::Vertex).unwrap();
            stream.update(&mut scratch, &patient.to_string(), &pixels, scores.view()).unwrap();
        }
        let measured = stream.measure(&mut scratch, &MeasureConfig::default()).unwrap();
        assert!(measured.average_precision() > 0.01);
        measured.bootstrap(&BootstrapConfig::new(1).replicates(3)).unwrap();
    });
    assert!(scratch.bytes() > (patients * truth_len()) as u64);
    bytes
}

fn in_memory(patients: usize) -> usize {
    peak(|| {
        let mut pixels = PatientPixels::new();
        for patient in 0..patients {
            let (scores, truth) = map(patient);
            let (scores, truth): (Vec<f32>, Vec<bool>) =
                (scores.into_iter().collect(), truth.into_iter().collect());
            pixels.update(&patient.to_string(), &scores, &truth).unwrap();
        }
        assert!(pixels.rank().unwrap().pooled().average_precision() > 0.01);
    })
}

fn truth_len() -> usize {
    SHAPE.0 * SHAPE.1 * SHAPE.2
}

#[test]
fn streams_hardly_grow_with_what_they_hold() {
    let (few, many) = (streamed(8), streamed(72));
    let added = (64 * truth_len()) as f64;
    let growth = (many as f64 - few as f64) / added;
    let growth_in_memory = (in_memory(72) as f64 - in_memory(8) as f64) / added;
    println!("{few} and {many} bytes: {growth:.2} a pixel, in memory {growth_in_memory:.2}");
    // What grows is a fixed amount a patient, not a pixel: histograms, and buffers for reading.
    assert!(growth < 1.2, "{growth}");
    assert!(growth_in_memory > 6.0, "{growth_in_memory}");
}
