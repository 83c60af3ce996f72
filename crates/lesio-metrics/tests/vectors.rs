//! Values computed by other programs, see README.md beside this file.
//!
//! Of `metric_vectors.json`, lesio has no metric for: best Dice on a grid or by bisection (`best_dice_100_linspace`,
//! `dkfz_find_best_val`, `behrendt_find_best_val`: approximations of `ceil_dice_exact`), AUPRO by other definitions
//! (`aupro_FeliMe_style`) and Kendall's tau-c.

// A test may panic: that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use approx::assert_abs_diff_eq;
use lesio_metrics::{
    Connectivity, Directions, LesionCounts, LesionMatching, OverlapRule, PixelCurve, RankedPixels,
    RegionCurve, RegressionScores, SurfaceDistances, WhenEmpty, WhenNoSurface, auroc, average_precision,
    dice, hd95,
};
use ndarray::{Array2, Array3};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("metric_vectors.json")).unwrap()
}

fn number(vectors: &Value, path: &str) -> f64 {
    vectors.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {path}"))
}

fn ranked(scores: &[f32], truth: &[u8]) -> RankedPixels {
    let truth: Vec<bool> = truth.iter().map(|&t| t == 1).collect();
    let mut pixels = PixelCurve::new();
    pixels.update(scores, &truth).unwrap();
    pixels.rank().unwrap()
}

/// Four maps of 32 x 32 and their truth.
fn maps(vectors: &Value) -> Vec<(Array2<f32>, Array2<bool>)> {
    let truths = vectors["inputs"]["gt"].as_array().unwrap();
    let scores = vectors["inputs"]["scores_x1000"].as_array().unwrap();
    let map = |(truth, scores): (&Value, &Value)| {
        let truth =
            Array2::from_shape_fn((32, 32), |(i, j)| truth[i].as_str().unwrap().as_bytes()[j] == b'1');
        let scores =
            Array2::from_shape_fn((32, 32), |(i, j)| (scores[i][j].as_f64().unwrap() / 1000.0) as f32);
        (scores, truth)
    };
    truths.iter().zip(scores).map(map).collect()
}

#[test]
fn small_published_examples() {
    let vectors = vectors();
    let near = |found: f64, path: &str| assert_abs_diff_eq!(found, number(&vectors, path), epsilon = 1e-12);

    // Documentation of scikit-learn's roc_auc_score and average_precision_score.
    let example = ranked(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]);
    near(example.auroc(), "/sklearn_doc/auroc");
    near(example.average_precision(), "/sklearn_doc/ap");

    // Documentation of anomalib's AUROC and AUPR; the value printed there for the second, .4899, comes of a
    // reordering, see docs/metrics.md.
    near(ranked(&[0.13, 0.26, 0.08, 0.92, 0.03], &[0, 0, 1, 1, 0]).auroc(), "/anomalib_auroc_doc");
    let example = ranked(
        &[0.59, 0.35, 0.72, 0.33, 0.73, 0.81, 0.30, 0.05, 0.04, 0.48],
        &[0, 1, 1, 1, 0, 0, 0, 0, 1, 1],
    );
    near(example.trapezoidal_precision_recall_area(), "/anomalib_aupr_doc/trapezoid");
    near(example.average_precision(), "/anomalib_aupr_doc/ap");
    near(example.auroc(), "/anomalib_aupr_doc/auroc");

    // MONAI's test of average precision with ties.
    near(ranked(&[0.5, 0.5, 0.2, 8.3], &[0, 1, 0, 1]).average_precision(), "/monai_ap_ties");

    // Torchmetrics issue 2819: a sigmoid makes all of these 1.
    let logits = [
        98.0950, 98.4612, 98.1145, 98.1506, 97.6037, 98.9425, 99.2644, 99.5014, 99.7280, 99.6595, 99.6931,
        99.4667, 99.9623, 99.8949, 99.8768,
    ];
    let truth = [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    near(ranked(&logits, &truth).auroc(), "/torchmetrics_2819_auroc");

    let (scores, truth) = ([3.0; 8], [true, false, false, false, true, false, false, false]);
    near(auroc(&scores, &truth).unwrap(), "/const_scores/auroc");
    near(average_precision(&scores, &truth).unwrap(), "/const_scores/ap");
}

#[test]
fn pooled_pixels_of_four_maps() {
    let vectors = vectors();
    let near = |found: f64, path: &str| assert_abs_diff_eq!(found, number(&vectors, path), epsilon = 1e-12);
    let mut pixels = PixelCurve::new();
    for (scores, truth) in maps(&vectors) {
        pixels.update(scores.as_slice().unwrap(), truth.as_slice().unwrap()).unwrap();
    }
    let ranked = pixels.rank().unwrap();
    near(ranked.auroc(), "/maps4x32x32/auroc");
    near(ranked.average_precision(), "/maps4x32x32/ap");
    near(ranked.trapezoidal_precision_recall_area(), "/maps4x32x32/aupr_trapz");
    near(ranked.prevalence(), "/maps4x32x32/prev");
    near(ranked.ceil_dice().dice, "/maps4x32x32/ceil_dice_exact/dice");
    near(f64::from(ranked.ceil_dice().threshold), "/maps4x32x32/ceil_dice_exact/thr");
    // Every approximation falls short of it.
    for path in ["best_dice_100_linspace/dice", "dkfz_find_best_val/0", "behrendt_find_best_val/0"] {
        assert!(number(&vectors, &format!("/maps4x32x32/{path}")) < ranked.ceil_dice().dice);
    }
}

#[test]
fn regions_of_four_maps() {
    let vectors = vectors();
    let near = |found: f64, path: &str| assert_abs_diff_eq!(found, number(&vectors, path), epsilon = 1e-12);
    let of = |connectivity, maps: &[(Array2<f32>, Array2<bool>)]| {
        let mut regions = RegionCurve::new(connectivity);
        for (scores, truth) in maps {
            regions.update(scores.view(), truth.view()).unwrap();
        }
        regions.rank()
    };
    let maps = maps(&vectors);
    let corners = of(Connectivity::Vertex, &maps).unwrap();
    near(corners.aupro(0.3).unwrap(), "/maps4x32x32/aupro_0.3_exact8");
    near(corners.aupro(0.05).unwrap(), "/maps4x32x32/aupro_0.05_exact8");
    let sides = of(Connectivity::Face, &maps).unwrap();
    near(sides.aupro(0.3).unwrap(), "/maps4x32x32/aupro_0.3_exact4conn");
    near(sides.regions() as f64, "/maps4x32x32/n_lesions_4conn");
}

#[test]
fn lesions_of_four_maps() {
    let vectors = vectors();
    let threshold = number(&vectors, "/maps4x32x32/ceil_dice_exact/thr") as f32;
    let config = LesionMatching::new(Connectivity::Vertex, OverlapRule::AnyVoxel);
    let mut counts = LesionCounts::default();
    for (scores, truth) in maps(&vectors) {
        let prediction = scores.mapv(|score| score >= threshold);
        counts += LesionCounts::between(prediction.view(), truth.view(), &config).unwrap();
    }
    let expected =
        |index: usize| vectors["maps4x32x32"]["lesion_sens_any_overlap_8conn"][index].as_u64().unwrap();
    assert_eq!((counts.touched, counts.lesions), (expected(0), expected(1)));
    assert_eq!(counts.images, 4);
}

fn ball(radius: i64, center: [i64; 3]) -> Array3<bool> {
    Array3::from_shape_fn((99, 99, 99), |(i, j, k)| {
        let square = |x: usize, c: i64| (x as i64 - c) * (x as i64 - c);
        square(i, center[0]) + square(j, center[1]) + square(k, center[2]) <= radius * radius
    })
}

#[test]
fn surfaces_of_two_balls() {
    let vectors = vectors();
    let undefined = WhenNoSurface::Undefined;
    // MONAI's test: radii 20 and 40 about one center, cut off by the volume's border; and two balls of radius 20, one
    // voxel apart along each axis.
    for (name, a, b) in [
        ("hd_r20_r40", ball(20, [20, 33, 22]), ball(40, [20, 33, 22])),
        ("hd_shift", ball(20, [20, 20, 20]), ball(20, [19, 19, 19])),
    ] {
        let near = |found: Option<f64>, key: &str| {
            assert_abs_diff_eq!(found.unwrap(), number(&vectors, &format!("/{name}/{key}")), epsilon = 1e-9);
        };
        let distances = SurfaceDistances::between(a.view(), b.view(), &[1.0; 3]).unwrap();
        near(distances.hausdorff(undefined), "hd");
        near(distances.percentile(95.0, Directions::Maximum, undefined), "hd95_max_of_dir");
        near(distances.percentile(95.0, Directions::Pooled, undefined), "hd95_pooled");
        near(distances.percentile(95.0, Directions::Mean, undefined), "hd95_mean_of_dir");
        near(distances.average_symmetric(undefined), "assd_pooled");
        near(distances.mean_average(undefined), "masd");
        near(dice(a.view(), b.view(), WhenEmpty::Undefined).ok(), "dice");
        near(hd95(a.view(), b.view(), &[1.0; 3], undefined).ok(), "hd95_max_of_dir");
        // Twice the spacing, twice the distance.
        let wide = SurfaceDistances::between(a.view(), b.view(), &[2.0; 3]).unwrap();
        near(wide.hausdorff(undefined).map(|d| d / 2.0), "hd");
    }

    let distances =
        SurfaceDistances::between(ball(20, [20, 33, 22]).view(), ball(40, [20, 33, 22]).view(), &[1.0; 3])
            .unwrap();
    let last = |sorted: &[f64]| sorted[sorted.len() - 1];
    let directed = [last(distances.forth()), last(distances.back())];
    let published = number(&vectors, "/hd_r20_r40_monai_shape99/dir");
    assert!(directed.iter().any(|d| (d - published).abs() < 1e-9), "{directed:?}");
    assert_abs_diff_eq!(
        directed[0].max(directed[1]),
        number(&vectors, "/hd_r20_r40_monai_shape99/sym"),
        epsilon = 1e-9
    );
}

#[test]
fn predicted_quality_of_eight() {
    let vectors = vectors();
    let series = |key: &str| -> Vec<f64> {
        vectors["inputs"][key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let scores = RegressionScores::new(&series("quality_true"), &series("quality_pred")).unwrap();
    let near = |found: Option<f64>, key: &str| {
        assert_abs_diff_eq!(found.unwrap(), number(&vectors, &format!("/quality/{key}")), epsilon = 1e-12);
    };
    near(Some(scores.mean_absolute_error), "mae");
    near(Some(scores.root_mean_square_error), "rmse");
    near(scores.r_squared, "r2");
    near(scores.pearson, "pearson");
    near(scores.spearman, "spearman");
    near(scores.kendall_tau_b, "kendall_b");
}
