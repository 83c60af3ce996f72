use lesio_image::Volume;
use ndarray::{Array1, Array3, ArrayView, arr1};

use super::*;
use crate::calibration::{NormalScores, NormalScoresBuilder};

/// Normal scores that are spread evenly over 0 to `top`.
fn even(top: f32) -> NormalScores {
    let mut builder = NormalScoresBuilder::new();
    builder.add((0..10_000).map(|k| k as f32 / 10_000.0 * top));
    builder.finish().unwrap()
}

fn combined(rule: EnsembleRule, values: [f32; 4]) -> f32 {
    let normals = even(1.0);
    let maps = values.map(|value| arr1(&[value]));
    let members: Vec<_> = maps.iter().map(|map| (map.view(), &normals)).collect();
    EnsembleConfig::new(rule).combine(&members).unwrap()[0]
}

#[test]
fn rules_are_what_they_say() {
    // Upper-tail shares of .1, .01, .5 and .1: surprises of 1, 2, .301 and 1.
    let values = [0.9, 0.99, 0.5, 0.9];
    let close = |found: f32, expected: f64| {
        assert!((f64::from(found) - expected).abs() < 2e-3, "{found}, expected {expected}");
    };
    let half = 2f64.log10();
    close(combined(EnsembleRule::Mean, values), (4.0 + half) / 4.0);
    close(combined(EnsembleRule::Maximum, values), 2.0);
    close(combined(EnsembleRule::Product, values), (2.0 * half).powf(0.25));
    close(combined(EnsembleRule::RankAverage, values), -(0.71f64 / 4.0).log10());
    close(combined(EnsembleRule::AverageOfMaximum { groups: 1 }, values), 2.0);
    close(combined(EnsembleRule::AverageOfMaximum { groups: 2 }, values), 1.5);
    close(combined(EnsembleRule::AverageOfMaximum { groups: 3 }, values), (1.0 + 2.0 + 1.0) / 3.0);
    close(combined(EnsembleRule::AverageOfMaximum { groups: 4 }, values), (4.0 + half) / 4.0);
}

#[test]
fn every_rule_grows_with_every_member() {
    let rules = [
        EnsembleRule::Mean,
        EnsembleRule::Maximum,
        EnsembleRule::Product,
        EnsembleRule::RankAverage,
        EnsembleRule::AverageOfMaximum { groups: 2 },
    ];
    let steps: Vec<f32> = (0..60).map(|k| k as f32 * 0.03).collect();
    for rule in rules {
        for member in 0..4 {
            let mut before = f32::NEG_INFINITY;
            for &step in &steps {
                let mut values = [0.3, 0.8, 0.6, 0.999];
                values[member] = step;
                let value = combined(rule.clone(), values);
                assert!(value.is_finite() && value >= before - 1e-6, "{rule:?} {member} {step}");
                before = value;
            }
        }
    }
}

/// Members that measure in other units say the same.
#[test]
fn units_do_not_matter() {
    let (small, large) = (even(1.0), even(1000.0));
    let map = Array1::from_iter((0..50).map(|k| k as f32 / 40.0));
    for scale in [MemberScale::Surprise, MemberScale::Deviations] {
        let config = EnsembleConfig::new(EnsembleRule::Mean).scale(scale);
        let one = config.combine(&[(map.view(), &small)]).unwrap();
        let scaled = map.mapv(|value| value * 1000.0);
        let both = config.combine(&[(map.view(), &small), (scaled.view(), &large)]).unwrap();
        for (one, both) in one.iter().zip(&both) {
            assert!((one - both).abs() < 1e-3 * one.abs().max(1.0), "{scale:?}: {one} {both}");
        }
    }
}

#[test]
fn extreme_scores_stay_finite_and_apart() {
    for rule in [EnsembleRule::Mean, EnsembleRule::RankAverage, EnsembleRule::Product] {
        let (far, farther) = (combined(rule.clone(), [1e4; 4]), combined(rule, [2e4; 4]));
        assert!(far.is_finite() && farther > far);
    }
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for rule in [EnsembleRule::Maximum, EnsembleRule::Product, EnsembleRule::RankAverage] {
            assert!(combined(rule.clone(), [0.5, value, 0.2, 0.1]).is_nan(), "{rule:?} {value}");
            assert!(combined(rule.clone(), [value, 0.5, 0.2, 0.1]).is_nan(), "{rule:?} {value}");
        }
    }
}

#[test]
fn misfits_are_named() {
    let normals = even(1.0);
    let (a, b) = (Array3::<f32>::zeros((2, 3, 4)), Array3::<f32>::zeros((2, 4, 3)));
    let mean = EnsembleConfig::new(EnsembleRule::Mean);
    let none: [(ArrayView<'_, f32, ndarray::Ix3>, &NormalScores); 0] = [];
    assert_eq!(mean.combine(&none), Err(EnsembleError::NoMembers));
    let shapes = mean.combine(&[(a.view(), &normals), (b.view(), &normals)]);
    assert!(matches!(shapes, Err(EnsembleError::Shape { member: 1, .. })));
    let grouped = EnsembleConfig::new(EnsembleRule::AverageOfMaximum { groups: 3 });
    let counted = grouped.combine(&[(a.view(), &normals), (a.view(), &normals)]);
    assert!(matches!(counted, Err(EnsembleError::Count { found: 2, .. })));
    let there = lesio_image::Geometry::from_spacing([1.0, 1.0, 2.0]).unwrap();
    let volumes = [Volume::new(a.clone(), lesio_image::Geometry::default()), Volume::new(a, there)];
    let elsewhere = mean.combine_volumes(&[(&volumes[0], &normals), (&volumes[1], &normals)]);
    assert_eq!(elsewhere, Err(EnsembleError::Geometry { member: 1 }));
}

/// Layout in memory does not matter: maps of volumes may be stored in either order.
#[test]
fn transposed_maps_combine_by_place() {
    let normals = even(12.0);
    let a = Array3::from_shape_fn((2, 3, 2), |(i, j, k)| (i * 6 + j * 2 + k) as f32);
    let mut b = Array3::zeros((2, 3, 2).f());
    b.assign(&a);
    use ndarray::ShapeBuilder;
    let config = EnsembleConfig::new(EnsembleRule::Mean);
    let one = config.combine(&[(a.view(), &normals)]).unwrap();
    assert_eq!(config.combine(&[(a.view(), &normals), (b.view(), &normals)]).unwrap(), one);
}
