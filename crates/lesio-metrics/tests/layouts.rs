//! How an array lies in memory, and in which of its forms it is handed over, changes no result.

// A test may panic: that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fmt::Debug;
use std::io::Cursor;

use lesio_metrics::{
    Bootstrap, BootstrapConfig, Confusion, Connectivity, IntervalScores, LesionCounts, LesionMatching,
    MeasureConfig, MetricError, OverlapRule, PatientPixels, PatientRegions, PixelCurve, RegionCurve,
    RegressionScores, RiskCoverage, Scratch, StreamedPatients, StreamedScores, StreamedValidation,
    SurfaceDistances, ThresholdRule, TruePixels, Uniformity, ValidationPixels, WhenEmpty, WhenNoSurface,
    auroc, average_precision, dice, dice_per_label, failure_auroc, hd95, jaccard, kendall_tau_b, pearson,
    regression_by_true_value, spearman,
};
use ndarray::{
    Array, Array1, Array2, Array3, ArrayView, ArrayView1, ArrayView2, Axis, Dimension, Ix2, Ix3,
    ShapeBuilder, Slice,
};
use proptest::prelude::*;

/// One array in memory of every kind.
struct Layouts<T, D: Dimension> {
    stored: Vec<Stored<T, D>>,
}

struct Stored<T, D: Dimension> {
    array: Array<T, D>,
    /// Whether the content is every second element along each axis, from the last but one back.
    is_sparse: bool,
    /// Whether the content is the transposed array.
    is_turned: bool,
}

/// How many kinds there are.
const KINDS: usize = 5;

impl<T: Copy, D: Dimension> Layouts<T, D> {
    /// `other` stands in memory between the elements and around them, where no metric may look.
    fn new(content: &Array<T, D>, other: T) -> Self {
        let plain = |array| Stored { array, is_sparse: false, is_turned: false };
        let mut fortran = Array::from_elem(content.raw_dim().f(), other);
        fortran.assign(content);
        let sparse = |content: ArrayView<'_, T, D>| {
            let mut shape = content.raw_dim();
            shape.slice_mut().iter_mut().for_each(|length| *length = 2 * *length + 3);
            let mut array = Array::from_elem(shape, other);
            let mut window = array.view_mut();
            window.slice_each_axis_inplace(|axis| Slice::new(1, Some(axis.len as isize - 2), 2));
            (0..content.ndim()).for_each(|axis| window.invert_axis(Axis(axis)));
            window.assign(&content);
            array
        };
        let mut turned = Array::from_elem(content.t().raw_dim(), other);
        turned.assign(&content.t());
        let stored = vec![
            plain(content.clone()),
            plain(fortran),
            Stored { array: sparse(content.view()), is_sparse: true, is_turned: false },
            Stored { array: turned, is_sparse: false, is_turned: true },
            Stored { array: sparse(content.t()), is_sparse: true, is_turned: true },
        ];
        assert_eq!(stored.len(), KINDS);
        let layouts = Self { stored };
        (0..KINDS).for_each(|kind| assert_eq!(layouts.view(kind).raw_dim(), content.raw_dim()));
        layouts
    }

    fn view(&self, kind: usize) -> ArrayView<'_, T, D> {
        let Stored { array, is_sparse, is_turned } = &self.stored[kind % KINDS];
        let mut view = array.view();
        if *is_sparse {
            view.slice_each_axis_inplace(|axis| Slice::new(1, Some(axis.len as isize - 2), 2));
            (0..view.ndim()).for_each(|axis| view.invert_axis(Axis(axis)));
        }
        if *is_turned { view.reversed_axes() } else { view }
    }
}

/// A map with its truth and its mask.
type Case<D> = (Array<f32, D>, Array<bool, D>, Array<bool, D>);

/// Scores with ties; now and then one that is not a number.
fn score() -> impl Strategy<Value = f32> {
    prop_oneof![400 => (-9i8..9).prop_map(f32::from), 400 => -1f32..1.0, 1 => Just(f32::NAN)]
}

fn case<D: Dimension>(shape: impl Strategy<Value = D>) -> impl Strategy<Value = Case<D>> {
    let pixel = || (score(), prop::bool::weighted(0.3), prop::bool::weighted(0.7));
    shape.prop_flat_map(move |shape| {
        prop::collection::vec(pixel(), shape.size()).prop_map(move |pixels| {
            fn of<T, U: Copy, D: Dimension>(pixels: &[T], shape: &D, f: impl Fn(&T) -> U) -> Array<U, D> {
                Array::from_shape_vec(shape.clone(), pixels.iter().map(f).collect()).unwrap()
            }
            (of(&pixels, &shape, |p| p.0), of(&pixels, &shape, |p| p.1), of(&pixels, &shape, |p| p.2))
        })
    })
}

fn image() -> impl Strategy<Value = Case<Ix2>> {
    case((1usize..8, 1usize..9).prop_map(|(i, j)| Ix2(i, j)))
}

fn volume() -> impl Strategy<Value = Case<Ix3>> {
    case((1usize..4, 1usize..5, 1usize..6).prop_map(|(i, j, k)| Ix3(i, j, k)))
}

/// A series of samples: its true values, and two others.
fn series() -> impl Strategy<Value = [Vec<f64>; 3]> {
    let value =
        || prop_oneof![60 => (0u8..9).prop_map(|v| f64::from(v) / 8.0), 30 => 0f64..1.0, 1 => Just(f64::NAN)];
    prop::collection::vec((value(), value(), value()), 0..30).prop_map(|samples| {
        let of = |f: fn(&(f64, f64, f64)) -> f64| samples.iter().map(f).collect();
        [of(|s| s.0), of(|s| s.1), of(|s| s.2)]
    })
}

/// Compares what a metric makes of any mixture of layouts with what it makes of arrays in row-major order.
fn agree<R: PartialEq + Debug>(metric: impl Fn([usize; 3]) -> R) -> Result<(), TestCaseError> {
    let expected = metric([0; 3]);
    for a in 0..KINDS {
        for b in 0..KINDS {
            let kinds = [a, b, (2 * a + b) % KINDS];
            prop_assert_eq!(&metric(kinds), &expected, "layouts {:?}", kinds);
        }
    }
    Ok(())
}

/// Figures of ranked pixels that tell any two of them apart.
fn ranked(pixels: PixelCurve) -> Result<(u64, u64, u64, u64, f64), MetricError> {
    let (positives, negatives) = (pixels.positives(), pixels.negatives());
    let ranked = pixels.rank()?;
    let (auroc, precision) = (ranked.auroc().to_bits(), ranked.average_precision().to_bits());
    Ok((positives, negatives, auroc, precision, ranked.ceil_dice().dice))
}

fn of_masks<D: Dimension>((_, truth, within): &Case<D>) -> Result<(), TestCaseError> {
    let (a, b) = (Layouts::new(truth, true), Layouts::new(within, true));
    agree(|[i, j, _]| Confusion::between(a.view(i), b.view(j)))?;
    agree(|[i, j, _]| dice(a.view(i), b.view(j), WhenEmpty::Undefined))?;
    agree(|[i, j, _]| jaccard(a.view(i), b.view(j), WhenEmpty::Undefined))?;
    agree(|[i, j, _]| dice_per_label(a.view(i), b.view(j), &[false, true], WhenEmpty::Undefined))?;
    for overlap in [OverlapRule::AnyVoxel, OverlapRule::IntersectionOverUnion(0.2)] {
        for connectivity in [Connectivity::Face, Connectivity::Edge, Connectivity::Vertex] {
            let config = LesionMatching::new(connectivity, overlap).minimum_lesion(2);
            agree(|[i, j, _]| LesionCounts::between(a.view(i), b.view(j), &config))?;
        }
    }
    let spacing = &[0.7, 1.0, 1.9][..truth.ndim()];
    agree(|[i, j, _]| SurfaceDistances::between(a.view(i), b.view(j), spacing))?;
    agree(|[i, j, _]| hd95(a.view(i), b.view(j), spacing, WhenNoSurface::Undefined))
}

fn of_pixels<D: Dimension>((scores, truth, within): &Case<D>) -> Result<(), TestCaseError> {
    let (s, t, w) = (Layouts::new(scores, f32::NAN), Layouts::new(truth, true), Layouts::new(within, true));
    agree(|[i, j, _]| auroc(s.view(i), t.view(j)))?;
    agree(|[i, j, _]| average_precision(s.view(i), t.view(j)))?;
    agree(|[i, j, k]| {
        let mut pixels = PixelCurve::new();
        let whole = pixels.update(s.view(i), t.view(j));
        let within = pixels.update_within(s.view(i), t.view(j), w.view(k));
        (whole, within, ranked(pixels))
    })?;
    agree(|[i, j, k]| {
        let mut pixels = ValidationPixels::new();
        let whole = pixels.update(s.view(i), t.view(j));
        let within = pixels.update_within(s.view(i), t.view(j), w.view(k));
        let normal = pixels.update_normal(s.view(k));
        let rules = [ThresholdRule::BestDice, ThresholdRule::FalsePositiveRate(0.2)];
        (whole, within, normal, rules.map(|rule| pixels.choose(rule)), pixels.average_precision())
    })?;
    agree(|[i, j, k]| {
        let mut pixels = PatientPixels::new();
        let whole = pixels.update("a", s.view(i), t.view(j));
        let within = pixels.update_within("b", s.view(i), t.view(j), w.view(k));
        let replicates =
            pixels.rank().and_then(|ranked| ranked.bootstrap(&BootstrapConfig::new(1).replicates(5)));
        (whole, within, replicates.map(|r| (r.auroc, r.average_precision, r.ceil_dice)))
    })
}

fn of_regions<D: Dimension>((scores, truth, within): &Case<D>) -> Result<(), TestCaseError> {
    let (s, t, w) = (Layouts::new(scores, f32::NAN), Layouts::new(truth, true), Layouts::new(within, true));
    for connectivity in [Connectivity::Face, Connectivity::Vertex] {
        agree(|[i, j, k]| {
            let mut regions = RegionCurve::new(connectivity);
            let whole = regions.update(s.view(i), t.view(j));
            let within = regions.update_within(s.view(i), t.view(j), w.view(k));
            let count = regions.regions();
            (whole, within, count, regions.rank().and_then(|ranked| ranked.aupro(0.3)))
        })?;
        agree(|[i, j, k]| {
            let mut regions = PatientRegions::new(connectivity);
            let whole = regions.update("a", s.view(i), t.view(j));
            let within = regions.update_within("b", s.view(i), t.view(j), w.view(k));
            let config = BootstrapConfig::new(1).replicates(5);
            (whole, within, regions.rank().and_then(|ranked| ranked.bootstrap(0.3, &config)))
        })?;
    }
    agree(|[i, j, k]| {
        let mut scratch = Scratch::new(Cursor::new(Vec::new()));
        let (mut stream, mut validation) = (StreamedPatients::new(), StreamedValidation::new());
        let pixels = TruePixels::new(t.view(j), w.view(k), Connectivity::Vertex).unwrap();
        let added = stream.update(&mut scratch, "a", &pixels, s.view(i));
        let chosen = validation.update(&mut scratch, &pixels, s.view(i));
        let measured = stream.measure(&mut scratch, &MeasureConfig::default());
        let measured = measured.map(|m| (m.auroc(), m.average_precision(), m.aupro(), m.regions()));
        let counts = (pixels.positives(), pixels.negatives());
        (counts, added, chosen, measured, validation.best_dice(&mut scratch))
    })?;
    agree(|[i, _, _]| {
        let mut scratch = Scratch::new(Cursor::new(Vec::new()));
        let (mut kept, mut found) = (StreamedScores::new(), Vec::new());
        let added = kept.update(&mut scratch, s.view(i));
        kept.for_each(&mut scratch, |score, count| found.push((score, count))).unwrap();
        (added, found)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn masks_of_images(case in image()) { of_masks(&case)?; }

    #[test]
    fn masks_of_volumes(case in volume()) { of_masks(&case)?; }

    #[test]
    fn pixels_of_images(case in image()) { of_pixels(&case)?; }

    #[test]
    fn pixels_of_volumes(case in volume()) { of_pixels(&case)?; }

    #[test]
    fn regions_of_images(case in image()) { of_regions(&case)?; }

    #[test]
    fn regions_of_volumes(case in volume()) { of_regions(&case)?; }

    #[test]
    fn samples([truth, a, b] in series()) {
        let of = |values: Vec<f64>| Layouts::new(&Array1::from(values), f64::NAN);
        let lower: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a.min(*b)).collect();
        let upper: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a.max(*b)).collect();
        let (t, p, c, l, u) = (of(truth), of(a), of(b), of(lower), of(upper));
        agree(|[i, j, _]| pearson(t.view(i), p.view(j)))?;
        agree(|[i, j, _]| spearman(t.view(i), p.view(j)))?;
        agree(|[i, j, _]| kendall_tau_b(t.view(i), p.view(j)))?;
        agree(|[i, j, _]| RegressionScores::new(t.view(i), p.view(j)))?;
        agree(|[i, j, _]| regression_by_true_value(t.view(i), p.view(j), &[0.0, 0.5, 1.0]))?;
        agree(|[i, j, _]| failure_auroc(t.view(i), p.view(j), 0.5))?;
        agree(|[i, j, _]| RiskCoverage::new(t.view(i), c.view(j)))?;
        agree(|[i, j, k]| IntervalScores::new(t.view(i), l.view(j), u.view(k)))?;
        agree(|[i, _, _]| Uniformity::new(p.view(i)))?;
    }

    #[test]
    fn streamed_pixels_are_those_of_arrays((scores, truth, within) in volume()) {
        let (mut arrays, mut streamed) = (PixelCurve::new(), PixelCurve::new());
        let pixels = || scores.iter().copied().zip(truth.iter().copied());
        prop_assert_eq!(arrays.update(&scores, &truth), streamed.update_pixels(pixels()));
        let inside = pixels().zip(&within).filter(|(_, within)| **within).map(|(pixel, _)| pixel);
        prop_assert_eq!(arrays.update_within(&scores, &truth, &within), streamed.update_pixels(inside));
        prop_assert_eq!(ranked(arrays), ranked(streamed));
        let counts: Confusion = truth.iter().copied().zip(within.iter().copied()).collect();
        prop_assert_eq!(Confusion::between(&truth, &within), Ok(counts));
    }
}

/// Not-a-number is told by its place in row-major order, also where memory has another.
#[test]
fn the_first_index_is_that_of_the_array() {
    let mut scores = Array2::zeros((3, 4).f());
    (scores[[1, 0]], scores[[0, 3]]) = (f32::NAN, f32::NAN);
    let truth = Array2::from_elem((3, 4).f(), true);
    let expected = Err(MetricError::NotANumber { what: "scores", count: 2, first: 3 });
    assert_eq!(PixelCurve::new().update(&scores, &truth), expected);
    assert_eq!(RegionCurve::new(Connectivity::Face).update(&scores, &truth), expected);
    assert_eq!(ValidationPixels::new().update_normal(&scores), expected);
}

#[test]
fn arrays_come_in_any_form() {
    let scores = Array2::from_shape_fn((2, 3), |(i, j)| (2 * i + j) as f32);
    let truth = scores.mapv(|score| score > 2.0);
    let by_view = auroc(scores.view(), truth.view());
    assert_eq!(by_view, Ok(1.0));
    let (view, shared): (ArrayView2<'_, f32>, _) = (scores.view(), truth.to_shared());
    // By reference, a view by value or by reference, shared, and with its axes counted at run time.
    assert_eq!(auroc(&scores, &truth), by_view);
    assert_eq!(auroc(view, &shared), by_view);
    assert_eq!(auroc(&view, truth.view()), by_view);
    assert_eq!(auroc(&scores.clone().into_dyn(), &truth.clone().into_dyn()), by_view);
    // Slices, vectors, arrays of the language, and an array of one axis.
    let (values, flags): (Vec<f32>, Vec<bool>) = scores.iter().copied().zip(truth.iter().copied()).unzip();
    assert_eq!(auroc(&values, &flags), by_view);
    assert_eq!(auroc(&values[..], &Array1::from(flags.clone())), by_view);
    assert_eq!(auroc(&[0.0, 1.0, 2.0, 2.0, 3.0, 4.0], ArrayView1::from(&flags)), by_view);
    // Columns of a table of samples.
    let table = ndarray::array![[0.5, 0.25], [1.0, 0.75], [0.25, 0.5]];
    let scores = RegressionScores::new(table.column(0), table.column(1));
    assert_eq!(scores, RegressionScores::new(&[0.5, 1.0, 0.25], &vec![0.25, 0.75, 0.5]));
    // Single arguments are whatever can be gone through.
    let values = [0.25, 0.75, 0.5];
    assert_eq!(Uniformity::new(table.column(1)), Uniformity::new(values));
    assert_eq!(Uniformity::new(&table), Uniformity::new(table.iter().copied()));
    let bootstrap = |patients: Vec<&str>| Bootstrap::new(patients, BootstrapConfig::new(1)).unwrap();
    assert_eq!(bootstrap(vec!["b", "a", "b"]).patients(), ["a", "b"]);
}

#[test]
fn shapes_are_compared_and_not_lengths_alone() {
    let (wide, high) = (Array2::zeros((2, 3)), Array2::from_elem((3, 2), true));
    let shape = |what| MetricError::Shape { what, expected: vec![2, 3], found: vec![3, 2] };
    let fitting = Array2::from_elem((2, 3), true);
    assert_eq!(PixelCurve::new().update(&wide, &high), Err(shape("truth")));
    assert_eq!(PixelCurve::new().update_within(&wide, &fitting, &high), Err(shape("mask")));
    assert_eq!(RegionCurve::new(Connectivity::Face).update(&wide, &high), Err(shape("truth")));
    assert_eq!(
        LesionCounts::between(
            &fitting,
            &high,
            &LesionMatching::new(Connectivity::Face, OverlapRule::AnyVoxel)
        ),
        Err(shape("truth"))
    );
    assert_eq!(SurfaceDistances::between(&fitting, &high, &[1.0; 2]), Err(shape("second mask")));
    // Slices are told by their length.
    assert_eq!(
        PixelCurve::new().update(&[1.0], &[true, false]),
        Err(MetricError::Length { what: "truth", expected: 1, found: 2 })
    );
}

#[test]
fn arrays_without_a_pixel_have_no_lesion_and_no_surface() {
    for shape in [(0, 2, 2), (2, 0, 2), (2, 2, 0)] {
        let (none, scores) = (Array3::from_elem(shape, true), Array3::<f32>::zeros(shape));
        let config = LesionMatching::new(Connectivity::Face, OverlapRule::AnyVoxel);
        assert_eq!(LesionCounts::between(&none, &none, &config).unwrap().lesions, 0);
        assert_eq!(Confusion::between(&none, &none), Ok(Confusion::default()));
        let distances = SurfaceDistances::between(&none, &none, &[1.0; 3]).unwrap();
        assert_eq!(distances.hausdorff(WhenNoSurface::Undefined), None);
        let mut regions = RegionCurve::new(Connectivity::Face);
        regions.update_within(&scores, &none, &none).unwrap();
        assert_eq!(regions.rank().unwrap_err(), MetricError::OneClass { positives: 0, negatives: 0 });
        assert_eq!(auroc(&scores, &none), Err(MetricError::OneClass { positives: 0, negatives: 0 }));
    }
}
