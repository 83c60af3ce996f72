//! Laws that hold for every input, and definitions written out the slow way.

// A test may panic: that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use lesio_metrics::{
    Connectivity, Directions, MetricError, PixelCurve, RankedPixels, RegionCurve, SurfaceDistances,
    WhenEmpty, WhenNoSurface, auroc, average_precision, dice, jaccard,
};
use ndarray::{Array2, Array3};
use proptest::prelude::*;

/// Pixels with many ties, at least one of each class.
fn pixels() -> impl Strategy<Value = (Vec<f32>, Vec<bool>)> {
    prop::collection::vec((-20i8..20, prop::bool::weighted(0.3)), 2..120).prop_filter_map(
        "both classes",
        |pixels| {
            let (scores, truth): (Vec<f32>, Vec<bool>) =
                pixels.into_iter().map(|(s, t)| (f32::from(s) / 8.0, t)).unzip();
            (truth.contains(&true) && truth.contains(&false)).then_some((scores, truth))
        },
    )
}

fn ranked(scores: &[f32], truth: &[bool]) -> RankedPixels {
    let mut pixels = PixelCurve::new();
    pixels.update(scores, truth).unwrap();
    pixels.rank().unwrap()
}

fn distinct_falling(scores: &[f32]) -> Vec<f32> {
    let mut distinct = scores.to_vec();
    distinct.sort_by(|a, b| b.total_cmp(a));
    distinct.dedup();
    distinct
}

/// True and false positives at a threshold.
fn counts(scores: &[f32], truth: &[bool], threshold: f32) -> (f64, f64) {
    let positive = scores.iter().zip(truth).filter(|(s, _)| **s >= threshold);
    let (found, alarms): (Vec<_>, Vec<_>) = positive.partition(|(_, t)| **t);
    (found.len() as f64, alarms.len() as f64)
}

proptest! {
    #[test]
    fn auroc_is_that_of_all_pairs((scores, truth) in pixels()) {
        let (mut wins, mut pairs) = (0.0, 0.0);
        for (s, t) in scores.iter().zip(&truth) {
            for (other, _) in scores.iter().zip(&truth).filter(|(_, o)| *t && !**o) {
                pairs += 1.0;
                wins += if s > other { 1.0 } else if s == other { 0.5 } else { 0.0 };
            }
        }
        prop_assert!((auroc(&scores, &truth).unwrap() - wins / pairs).abs() < 1e-12);
    }

    #[test]
    fn average_precision_is_the_sum_over_thresholds((scores, truth) in pixels()) {
        let positives = truth.iter().filter(|t| **t).count() as f64;
        let (mut sum, mut last) = (0.0, 0.0);
        for threshold in distinct_falling(&scores) {
            let (found, alarms) = counts(&scores, &truth, threshold);
            sum += (found - last) / positives * found / (found + alarms);
            last = found;
        }
        let value = average_precision(&scores, &truth).unwrap();
        prop_assert!((value - sum).abs() < 1e-12);
        // The worst order has all negatives first; even then the last positive has the prevalence as precision.
        let prevalence = positives / truth.len() as f64;
        prop_assert!(value >= prevalence / positives - 1e-12 && value <= 1.0);
    }

    #[test]
    fn ceil_dice_is_the_best_of_all_thresholds((scores, truth) in pixels(), any_threshold in -4f32..4.0) {
        let ranked = ranked(&scores, &truth);
        let best = ranked.ceil_dice();
        let dice_at = |t| ranked.confusion_at(t).unwrap().dice(WhenEmpty::Undefined).unwrap();
        prop_assert!((dice_at(best.threshold) - best.dice).abs() < 1e-15);
        prop_assert!(dice_at(any_threshold) <= best.dice + 1e-15);
        for threshold in distinct_falling(&scores) {
            prop_assert!(dice_at(threshold) <= best.dice + 1e-15);
            // Among equals the highest.
            prop_assert!(threshold <= best.threshold || dice_at(threshold) < best.dice);
            let (found, alarms) = counts(&scores, &truth, threshold);
            let counted = ranked.confusion_at(threshold).unwrap();
            prop_assert_eq!((counted.true_positives as f64, counted.false_positives as f64), (found, alarms));
        }
    }

    #[test]
    fn rising_maps_of_the_scores_change_nothing((scores, truth) in pixels()) {
        let own = ranked(&scores, &truth);
        // Exact in f32 for these scores, so that order and ties are kept: affine, cubic, and by the bits of a float.
        for map in [|s: f32| 3.0 * s - 7.0, |s: f32| s * s * s, |s: f32| 1e30 * s] {
            let mapped: Vec<f32> = scores.iter().map(|&s| map(s)).collect();
            let mapped = ranked(&mapped, &truth);
            prop_assert_eq!(own.auroc(), mapped.auroc());
            prop_assert_eq!(own.average_precision(), mapped.average_precision());
            prop_assert_eq!(own.ceil_dice().dice, mapped.ceil_dice().dice);
        }
        // A falling map turns the area over.
        let falling: Vec<f32> = scores.iter().map(|s| -s).collect();
        prop_assert!((own.auroc() + ranked(&falling, &truth).auroc() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn neither_order_nor_batches_matter((scores, truth) in pixels(), cut in 0usize..120, turn in 0usize..120) {
        let own = ranked(&scores, &truth);
        let mut pixels: Vec<(f32, bool)> = scores.iter().copied().zip(truth.iter().copied()).collect();
        let length = pixels.len();
        pixels.rotate_left(turn % length);
        pixels.reverse();
        let (first, second) = pixels.split_at(cut % length);
        let mut batches = PixelCurve::new();
        let mut other = PixelCurve::new();
        for (batch, of) in [(first, &mut batches), (second, &mut other)] {
            let (scores, truth): (Vec<f32>, Vec<bool>) = batch.iter().copied().unzip();
            of.update(&scores, &truth).unwrap();
        }
        batches.append(other);
        let turned = batches.rank().unwrap();
        prop_assert_eq!(own.auroc().to_bits(), turned.auroc().to_bits());
        prop_assert_eq!(own.average_precision().to_bits(), turned.average_precision().to_bits());
        prop_assert_eq!(own.ceil_dice(), turned.ceil_dice());
    }

    #[test]
    fn pixels_outside_do_not_count((scores, truth) in pixels(), outside in prop::collection::vec(any::<bool>(), 9)) {
        let mut with = PixelCurve::new();
        let padded: Vec<f32> = scores.iter().copied().chain(std::iter::repeat_n(f32::NAN, 9)).collect();
        let padded_truth: Vec<bool> = truth.iter().copied().chain(outside).collect();
        let within: Vec<bool> = (0..padded.len()).map(|i| i < scores.len()).collect();
        with.update_within(&padded, &padded_truth, &within).unwrap();
        prop_assert_eq!(with.rank().unwrap().auroc(), ranked(&scores, &truth).auroc());
    }

    #[test]
    fn aupro_is_the_area_of_its_definition(
        scores in prop::collection::vec(0u8..12, 72),
        truth in prop::collection::vec(prop::bool::weighted(0.25), 72),
        limit in 0.01f64..1.0,
    ) {
        let maps: Vec<(Array2<f32>, Array2<bool>)> = (0..2).map(|map| (
            Array2::from_shape_fn((6, 6), |(i, j)| f32::from(scores[map * 36 + i * 6 + j])),
            Array2::from_shape_fn((6, 6), |(i, j)| truth[map * 36 + i * 6 + j]),
        )).collect();
        let mut regions = RegionCurve::new(Connectivity::Face);
        for (scores, truth) in &maps {
            regions.update(scores.view(), truth.view()).unwrap();
        }
        let ranked = match regions.rank() {
            Ok(ranked) => ranked,
            Err(error) => {
                let is_one_class = matches!(error, MetricError::OneClass { .. });
                prop_assert!(is_one_class && (truth.iter().all(|t| *t) || !truth.contains(&true)));
                return Ok(());
            }
        };

        // Regions by spreading the smallest index, the curve point by point, the area by trapezoids cut at the limit.
        let mut region_pixels: Vec<Vec<(usize, usize, usize)>> = Vec::new();
        for (map, (_, truth)) in maps.iter().enumerate() {
            let mut label = Array2::from_shape_fn((6, 6), |(i, j)| i * 6 + j);
            for _ in 0..36 {
                for (i, j) in (0..6).flat_map(|i| (0..6).map(move |j| (i, j))) {
                    for (a, b) in [(i + 1, j), (i, j + 1)] {
                        if a < 6 && b < 6 && truth[[i, j]] && truth[[a, b]] {
                            let least = label[[i, j]].min(label[[a, b]]);
                            label[[i, j]] = least;
                            label[[a, b]] = least;
                        }
                    }
                }
            }
            for name in 0..36 {
                let pixels: Vec<_> = label.indexed_iter()
                    .filter(|((i, j), l)| truth[[*i, *j]] && **l == name)
                    .map(|((i, j), _)| (map, i, j)).collect();
                if !pixels.is_empty() {
                    region_pixels.push(pixels);
                }
            }
        }
        prop_assert_eq!(ranked.regions() as usize, region_pixels.len());
        let mut curve = vec![(0.0, 0.0)];
        for threshold in distinct_falling(&scores.iter().map(|&s| f32::from(s)).collect::<Vec<_>>()) {
            let overlap = region_pixels.iter().map(|pixels| {
                let hit = pixels.iter().filter(|(m, i, j)| maps[*m].0[[*i, *j]] >= threshold).count();
                hit as f64 / pixels.len() as f64
            }).sum::<f64>() / region_pixels.len() as f64;
            let all = scores.iter().zip(&truth).filter(|(_, t)| !**t);
            let negatives = all.clone().count() as f64;
            let alarms = all.filter(|(s, _)| f32::from(**s) >= threshold).count() as f64;
            curve.push((alarms / negatives, overlap));
        }
        let mut area = 0.0;
        for pair in curve.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            if x0 < limit && x1 > x0 {
                let x = x1.min(limit);
                area += (x - x0) * (y0 + (y0 + (y1 - y0) * (x - x0) / (x1 - x0))) / 2.0;
            }
        }
        let found = ranked.aupro(limit).unwrap();
        prop_assert!((found - area / limit).abs() < 1e-12, "{} {}", found, area / limit);
        prop_assert!((0.0..=1.0).contains(&found));
    }

    #[test]
    fn overlap_is_symmetric_and_jaccard_its_image(
        a in prop::collection::vec(any::<bool>(), 24),
        b in prop::collection::vec(any::<bool>(), 24),
    ) {
        let array = |mask: Vec<bool>| Array3::from_shape_vec((2, 3, 4), mask).unwrap();
        let (a, b) = (array(a), array(b));
        let d = dice(a.view(), b.view(), WhenEmpty::One).unwrap();
        prop_assert_eq!(d, dice(b.view(), a.view(), WhenEmpty::One).unwrap());
        prop_assert_eq!(dice(a.view(), a.view(), WhenEmpty::One), Ok(1.0));
        let j = jaccard(a.view(), b.view(), WhenEmpty::One).unwrap();
        prop_assert!((d - 2.0 * j / (1.0 + j)).abs() < 1e-12);
        // The layout in memory is no matter.
        let turned = dice(a.t(), b.t(), WhenEmpty::One).unwrap();
        prop_assert_eq!(d, turned);
    }

    #[test]
    fn surface_distances_are_symmetric_and_zero_to_oneself(
        a in prop::collection::vec(prop::bool::weighted(0.3), 48),
        b in prop::collection::vec(prop::bool::weighted(0.3), 48),
    ) {
        let array = |mask: Vec<bool>| Array2::from_shape_vec((6, 8), mask).unwrap();
        let (a, b) = (array(a), array(b));
        let between = |a: &Array2<bool>, b: &Array2<bool>, spacing: [f64; 2]| {
            SurfaceDistances::between(a.view(), b.view(), &spacing).unwrap()
        };
        let (forth, back) = (between(&a, &b, [1.0, 0.7]), between(&b, &a, [1.0, 0.7]));
        prop_assert_eq!(forth.forth(), back.back());
        let policy = WhenNoSurface::Infinity;
        let hd = |percent| forth.percentile(percent, Directions::Maximum, policy).unwrap();
        prop_assert!(hd(50.0) <= hd(95.0) && hd(95.0) <= forth.hausdorff(policy).unwrap());
        prop_assert_eq!(between(&a, &a, [1.0, 0.7]).hausdorff(policy), Some(0.0));
        // The same in memory order of the other kind.
        let turned = SurfaceDistances::between(a.t(), b.t(), &[0.7, 1.0]).unwrap();
        let near = forth.forth().iter().zip(turned.forth()).all(|(x, y)| x == y || (x - y).abs() < 1e-12);
        prop_assert!(near);
    }
}

#[test]
fn one_class_and_no_number_are_errors() {
    assert_eq!(auroc(&[1.0, 2.0], &[true, true]), Err(MetricError::OneClass { positives: 2, negatives: 0 }));
    assert_eq!(
        average_precision(&[1.0, 2.0], &[false, false]),
        Err(MetricError::OneClass { positives: 0, negatives: 2 })
    );
    assert_eq!(auroc(&[0f32; 0], &[false; 0]), Err(MetricError::OneClass { positives: 0, negatives: 0 }));
    assert_eq!(
        auroc(&[1.0], &[true, false]),
        Err(MetricError::Length { what: "truth", expected: 1, found: 2 })
    );
    let mut pixels = PixelCurve::new();
    pixels.update(&[1.0, 0.5], &[true, false]).unwrap();
    assert_eq!(
        pixels.update(&[0.1, f32::NAN, 0.3, f32::NAN], &[true; 4]),
        Err(MetricError::NotANumber { what: "scores", count: 2, first: 1 })
    );
    // Nothing of a refused update is kept.
    assert_eq!((pixels.positives(), pixels.negatives()), (1, 1));
}

#[test]
fn infinities_and_zeros_have_ranks() {
    let scores = [f32::INFINITY, 1.0, f32::NEG_INFINITY, 0.0, -0.0, f32::MIN_POSITIVE];
    let truth = [true, false, false, true, false, true];
    // Pairs won: infinity 3; both zeros tie, and zero beats minus infinity: 1.5; the smallest number beats two.
    assert_eq!(auroc(&scores, &truth), Ok((3.0 + 1.5 + 2.0) / 9.0));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    // Large enough for every parallel path.
    let n = 400_000u32;
    let scores: Vec<f32> = (0..n).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 7e5 - 9.0).collect();
    let truth: Vec<bool> = (0..n).map(|i| i.wrapping_mul(97_003) % 1000 < 40 + i / 10_000).collect();
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let ranked = ranked(&scores, &truth);
            (ranked.auroc().to_bits(), ranked.average_precision().to_bits(), ranked.ceil_dice())
        })
    };
    let one = bits(1);
    assert_eq!(one, bits(2));
    assert_eq!(one, bits(5));
}
