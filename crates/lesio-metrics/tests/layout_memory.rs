//! Arrays that do not lie in row-major order are gone through as they lie, not copied: counted by the allocator.
//!
//! One test alone, because the count is of the whole process.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test may.

use lesio_metrics::{
    Confusion, Connectivity, LesionCounts, LesionMatching, OverlapRule, PixelCurve, RegionCurve, TruePixels,
    WhenNoSurface, hd95,
};
use ndarray::{Array3, ArrayView3, Axis};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The most that stands at a time beyond what stood before.
fn peak(work: impl Fn()) -> usize {
    // Once before, so that threads and their buffers are there already.
    work();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    work();
    ALLOCATOR.peak_usage() - before
}

const SHAPE: (usize, usize, usize) = (40, 128, 128);

type Work<'a> = &'a dyn Fn(ArrayView3<'_, f32>, ArrayView3<'_, bool>);

#[test]
fn no_layout_makes_a_copy() {
    // A lesion, and a map that is high there; the same in an array of which the axes are the other way round.
    let truth = Array3::from_shape_fn(SHAPE, |(i, j, k)| (3..6).contains(&i) && j > 99 && k < 33);
    let scores = truth.mapv(|lesion| if lesion { 0.75f32 } else { 0.25 });
    let turned = |mask: &Array3<bool>| mask.t().as_standard_layout().into_owned();
    let (turned_truth, turned_scores) = (turned(&truth), scores.t().as_standard_layout().into_owned());
    let config = LesionMatching::new(Connectivity::Face, OverlapRule::AnyVoxel);
    let cases: [(&str, Work<'_>); 6] = [
        ("confusion", &|_, truth| assert!(Confusion::between(truth, truth).unwrap().true_positives > 0)),
        ("lesions", &|_, truth| assert_eq!(LesionCounts::between(truth, truth, &config).unwrap().matched, 1)),
        ("surfaces", &|_, truth| {
            assert_eq!(hd95(truth, truth, &[1.0; 3], WhenNoSurface::Undefined), Ok(0.0));
        }),
        ("pixels within", &|scores, truth| {
            PixelCurve::new().update_within(scores, truth, truth).unwrap();
        }),
        ("regions", &|scores, truth| {
            RegionCurve::new(Connectivity::Face).update_within(scores, truth, truth).unwrap();
        }),
        ("true pixels", &|_, truth| {
            TruePixels::new(truth, truth, Connectivity::Face).unwrap();
        }),
    ];
    let voxels = truth.len();
    for (name, work) in cases {
        let plain = peak(|| work(scores.view(), truth.view()));
        let other = peak(|| work(turned_scores.t(), turned_truth.t()));
        let (mut last_scores, mut last_truth) = (scores.view(), truth.view());
        last_scores.invert_axis(Axis(2));
        last_truth.invert_axis(Axis(2));
        let inverted = peak(|| work(last_scores, last_truth));
        // A copy of a mask would take a byte a voxel.
        for found in [other, inverted] {
            assert!(found < plain + voxels / 8, "{name}: {found} bytes, {plain} in row-major order");
        }
        if name == "confusion" {
            assert!(plain < voxels / 8, "{plain}");
        }
    }
}
