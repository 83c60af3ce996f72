//! Gradients by the image against finite differences, through the whole of every estimator.

// Tests may panic, and need no documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use lesio_nn::{Device, ParameterSet};
use lesio_quality::{Estimator, EstimatorConfig, Framing, Method, ReconstructionObjective, Widths};

const SIDE: usize = 16;
const PIXELS: usize = SIDE * SIDE;

fn estimator(method: Method, device: &Device) -> Estimator {
    let framing = Framing::new([1, 2]).grid([SIDE, SIDE]);
    // Some with views and some without.
    let views = if matches!(method, Method::SecondOpinion | Method::RecReg) { 4 } else { 1 };
    let config =
        EstimatorConfig::new(method, framing).classes([3]).widths(Widths::uniform([8, 8])).views(views);
    let mut parameters: ParameterSet = config.initial_parameters(5).unwrap();
    if method == Method::RecReg {
        for engine in ReconstructionObjective::engines(&config, 3, device).unwrap() {
            parameters.extend(engine.parameters().unwrap());
        }
    }
    Estimator::new(config, parameters, device).unwrap()
}

fn devices() -> Vec<Device> {
    let names = if cfg!(feature = "candle") { &["cpu", "candle-cpu"][..] } else { &["cpu"] };
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn input() -> (Vec<f32>, Vec<u8>) {
    let images = (0..2 * PIXELS).map(|k| ((k * 37 % 101) as f32 / 50.0 - 1.0) * 0.8).collect();
    let segmentations = (0..2 * PIXELS).map(|k| u8::from(k % 16 > 4) + u8::from(k % 16 > 11)).collect();
    (images, segmentations)
}

#[test]
fn gradients_match_finite_differences_for_every_method() {
    let (images, segmentations) = input();
    let weights = [1.0, -0.5, 0.3, 2.0];
    for (method, device) in Method::ALL.into_iter().flat_map(|m| devices().into_iter().map(move |d| (m, d))) {
        let estimator = estimator(method, &device);
        let value = |images: &[f32]| -> f64 {
            let estimates = estimator.estimate(images, &segmentations).unwrap();
            estimates.dice.iter().zip(weights).map(|(&dice, w)| f64::from(dice) * f64::from(w)).sum()
        };
        // Along many directions at once: single pixels hardly move a Dice.
        for direction in 0..4 {
            let along: Vec<f32> =
                (0..images.len()).map(|k| ((k * (7 + direction) % 13) as f32 / 6.0 - 1.0).signum()).collect();
            let moved = |step: f32| -> Vec<f32> {
                images.iter().zip(&along).map(|(value, along)| value + step * along).collect()
            };
            let step = 2e-3;
            let difference = (value(&moved(step)) - value(&moved(-step))) / f64::from(2.0 * step);
            let weigh = |_: &[f32]| weights.to_vec();
            let gradient = estimator.image_gradient(&images, &segmentations, &weigh).unwrap();
            assert_eq!(gradient.len(), images.len());
            let slope: f64 = gradient.iter().zip(&along).map(|(&g, &a)| f64::from(g) * f64::from(a)).sum();
            let scale: f64 = gradient.iter().map(|&g| f64::from(g.abs())).sum::<f64>().max(1e-3);
            assert!(
                (difference - slope).abs() < 0.02 * scale + 2e-3,
                "{} on {device}: {difference} by differences, {slope} by the gradient, scale {scale}",
                method.name()
            );
            if method == Method::ShapeOnly {
                assert!(gradient.iter().all(|&g| g == 0.0), "the segmentation alone cannot be attacked");
            } else {
                assert!(scale > 1e-2, "{}: hardly any gradient: {scale}", method.name());
            }
        }
    }
}

#[test]
fn a_sample_does_not_depend_on_its_neighbors() {
    let (images, segmentations) = input();
    for method in Method::ALL {
        let estimator = estimator(method, &Device::Cpu);
        let both = estimator.estimate(&images, &segmentations).unwrap();
        for sample in 0..2 {
            let range = sample * PIXELS..(sample + 1) * PIXELS;
            let alone = estimator.estimate(&images[range.clone()], &segmentations[range]).unwrap();
            assert_eq!(alone.dice, both.dice[2 * sample..2 * sample + 2], "{}", method.name());
            assert_eq!(alone.distance, both.distance[2 * sample..2 * sample + 2], "{}", method.name());
        }
        assert!(both.distance.iter().all(|&distance| distance >= 0.0));
        assert_eq!(
            both.reconstruction.map(|painted| painted.len()),
            (method == Method::RecReg).then_some(2 * PIXELS)
        );
        let sees = method == Method::SecondOpinion;
        assert_eq!(both.probability.map(|p| p.len()), sees.then_some(4 * PIXELS));
        assert_eq!(both.error.map(|wrong| wrong.len()), sees.then_some(2 * PIXELS));
    }
}

#[test]
fn input_that_is_no_sample_is_named() {
    let (images, segmentations) = input();
    for method in Method::ALL {
        let estimator = estimator(method, &Device::Cpu);
        let told = |images: &[f32], segmentations: &[u8]| {
            let weigh = |_: &[f32]| vec![1.0; 4];
            let own = estimator.estimate(images, segmentations).unwrap_err().to_string();
            let of_gradient =
                estimator.image_gradient(images, segmentations, &weigh).unwrap_err().to_string();
            assert_eq!(own, of_gradient, "{}", method.name());
            own
        };
        let short = told(&images[..10], &segmentations);
        assert_eq!(short, "the slice of images holds 10 values, expected 256");
        let longer = told(&images[..=PIXELS], &segmentations);
        assert_eq!(longer, "the slice of images holds 257 values, expected 512");
        let other = told(&images, &segmentations[..PIXELS]);
        assert_eq!(other, "the slice of segmentations holds 256 values, expected 512");
        // Two labels are graded; a third is only seen by the second opinion.
        for class in [3, 9] {
            let mut unknown = segmentations.clone();
            unknown[PIXELS + 7] = class;
            let error = told(&images, &unknown);
            assert_eq!(error, format!("the slice of segmentations holds class {class}, expected 0 to 2"));
        }
    }
}

#[test]
fn views_make_an_estimate_the_same_for_a_mirrored_sample() {
    let (images, segmentations) = input();
    let mirrored = |values: &[f32]| -> Vec<f32> {
        values.chunks_exact(SIDE).flat_map(|row| row.iter().rev().copied()).collect()
    };
    let labels: Vec<f32> = segmentations.iter().map(|&label| f32::from(label)).collect();
    let labels: Vec<u8> = mirrored(&labels).into_iter().map(|label| label as u8).collect();
    let estimator = estimator(Method::SecondOpinion, &Device::Cpu);
    let straight = estimator.estimate(&images, &segmentations).unwrap();
    let turned = estimator.estimate(&mirrored(&images), &labels).unwrap();
    let close =
        |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(close(&straight.dice, &turned.dice) && close(&straight.distance, &turned.distance));
    let map = straight.probability.unwrap();
    assert!(close(&mirrored(&map), &turned.probability.unwrap()), "the map is mirrored with the sample");
    let weigh = |_: &[f32]| vec![1.0, 0.5, -1.0, 2.0];
    let gradient = estimator.image_gradient(&mirrored(&images), &labels, &weigh).unwrap();
    let straight = estimator.image_gradient(&images, &segmentations, &weigh).unwrap();
    assert!(close(&mirrored(&straight), &gradient));
    // Weights are of the samples that are asked about.
    assert!(estimator.image_gradient(&images, &segmentations, &|_| vec![1.0; 3]).is_err());
}
