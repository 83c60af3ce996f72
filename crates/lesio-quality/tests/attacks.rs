//! Attacks on estimators: that they stay within bounds, do what they say, and are the same for any batch.

// Tests may panic, and need no documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use lesio_nn::{Device, Objective, TrainConfig};
use lesio_phantom::{HeartConfig, HeartPhantom};
use lesio_quality::{
    AdversarialTraining, Attack, AttackKind, AttackUnit, Corruptor, Estimator, EstimatorConfig,
    EstimatorObjective, EstimatorTraining, Framing, Method, Sample, Samples, Smoothing, Widths,
};

use ndarray::Axis;

const SIDE: usize = 32;

fn samples(count: u64) -> Samples {
    let hearts = HeartPhantom::new(HeartConfig::new([48, 48], 3)).unwrap();
    let framing = Framing::new([2]).grid([SIDE, SIDE]);
    (0..count)
        .map(|subject| {
            let slice = hearts.slice(subject);
            let wrong = Corruptor::of_slice(slice.labels.view()).unwrap().aim(0.6, subject).unwrap();
            let (image, labels) = (slice.image.view().insert_axis(Axis(0)), wrong.into_slice());
            let patient = format!("p{subject}");
            Sample::new(&framing, &[2], patient, &image, &labels.view(), &slice.labels.view())
                .unwrap()
                .unwrap()
        })
        .collect()
}

fn estimator(method: Method) -> Estimator {
    let framing = Framing::new([2]).grid([SIDE, SIDE]);
    let config = EstimatorConfig::new(method, framing).widths(Widths::uniform([8, 8]));
    let parameters = config.initial_parameters(2).unwrap();
    Estimator::new(config, parameters, &Device::Cpu).unwrap()
}

fn error(estimator: &Estimator, samples: &Samples, images: Option<&[f32]>) -> f64 {
    let estimates = estimator.estimate_samples(samples, images).unwrap();
    samples.iter().zip(&estimates.dice).map(|(s, &dice)| (s.dice[0] - f64::from(dice)).abs()).sum()
}

#[test]
fn attacks_raise_the_error_within_their_bounds() {
    let samples = samples(20);
    for method in [Method::Direct, Method::SecondOpinion] {
        let estimator = estimator(method);
        let clean = error(&estimator, &samples, None);
        let mut errors = Vec::new();
        for (kind, unit) in [
            (AttackKind::Fgsm, AttackUnit::Std),
            (AttackKind::Pgd { steps: 5 }, AttackUnit::Std),
            (AttackKind::Fgsm, AttackUnit::Range),
        ] {
            let attack = Attack::new(kind, 0.1, unit).seed(3);
            let images = attack.perturb(&estimator, &samples, |_| {}).unwrap();
            for (sample, image) in samples.iter().zip(images.chunks(SIDE * SIDE)) {
                let bound = attack.bound(sample.ranges[0]);
                let largest = sample.image.iter().zip(image).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(largest <= bound * 1.0001 && largest > bound * 0.9, "{largest} of {bound}");
            }
            errors.push(error(&estimator, &samples, Some(&images)));
        }
        assert!(errors.iter().all(|&attacked| attacked > clean), "{clean} {errors:?}");
        // The range is several deviations.
        assert!(errors[2] > errors[0], "{errors:?}");
        let none = Attack::new(AttackKind::Pgd { steps: 3 }, 0.0, AttackUnit::Std);
        let images = none.perturb(&estimator, &samples, |_| {}).unwrap();
        assert!(samples.iter().flat_map(|sample| &sample.image).eq(&images));
    }
}

#[test]
fn an_attack_on_a_sample_does_not_depend_on_the_others() {
    let samples = samples(18);
    let estimator = estimator(Method::SecondOpinion);
    for kind in [AttackKind::Fgsm, AttackKind::Pgd { steps: 2 }] {
        let attack = Attack::new(kind, 0.2, AttackUnit::Std);
        let all = attack.perturb(&estimator, &samples, |_| {}).unwrap();
        let few = samples.select(&[0, 1, 2]);
        let alone = attack.perturb(&estimator, &few, |_| {}).unwrap();
        assert_eq!(alone, all[..3 * SIDE * SIDE]);
    }
    // Other starts lead elsewhere.
    let attack = Attack::new(AttackKind::Pgd { steps: 1 }, 0.2, AttackUnit::Std);
    let one = attack.perturb(&estimator, &samples, |_| {}).unwrap();
    assert_ne!(attack.seed(1).perturb(&estimator, &samples, |_| {}).unwrap(), one);
}

#[test]
fn epochs_are_chosen_by_more_steps_than_were_trained_against() {
    let samples = samples(21);
    let estimator = estimator(Method::SecondOpinion);
    let config = estimator.config().clone();
    let parameters = estimator.parameters().clone();
    // Within half the bound of the training.
    let attack = Attack::new(AttackKind::Fgsm, 0.1, AttackUnit::Std);
    let images = attack.perturb(&estimator, &samples, |_| {}).unwrap();
    let by_one_step = error(&estimator, &samples, Some(&images)) / 21.0;
    let clean = error(&estimator, &samples, None) / 21.0;
    for steps in [1, 2] {
        let adversarial = AdversarialTraining::new(0.2).steps(steps);
        let training = EstimatorTraining::new(TrainConfig::default()).adversarial(adversarial);
        let mut engines = EstimatorObjective::engines::<2>(&config, &parameters, &Device::Cpu).unwrap();
        let (config, own) = (config.clone(), samples.clone());
        let (validation, cpu) = (own.clone(), Device::Cpu);
        let mut objective =
            EstimatorObjective::new(config, training, &parameters, own, validation, &cpu).unwrap();
        let terms = objective.validate(&mut engines).unwrap().unwrap();
        let term = |name: &str| terms.part(name).unwrap();
        assert!((term("dice error") - clean).abs() < 1e-5, "{} {clean}", term("dice error"));
        assert!((terms.total - term("dice error") - term("attacked")).abs() < 1e-9);
        let more = term("attacked") - by_one_step;
        if steps == 1 {
            assert!(more.abs() < 1e-5, "{more}");
        } else {
            assert!(more > 1e-4, "{more}");
        }
        // Nothing is learned from it.
        assert_eq!(objective.validate(&mut engines).unwrap().unwrap(), terms);
    }
}

#[test]
fn the_segmentation_alone_cannot_be_attacked() {
    let samples = samples(3);
    let estimator = estimator(Method::ShapeOnly);
    let images =
        Attack::new(AttackKind::Fgsm, 0.3, AttackUnit::Std).perturb(&estimator, &samples, |_| {}).unwrap();
    assert!(samples.iter().flat_map(|sample| &sample.image).eq(&images));
}

#[test]
fn distances_are_those_of_the_image() {
    let samples = samples(3);
    let estimator = estimator(Method::Direct);
    let as_they_are = estimator.estimate_samples(&samples, None).unwrap();
    let coarser: Samples = samples
        .iter()
        .zip([2.0, 3.0, 4.0])
        .map(|(sample, pixel)| {
            let mut sample = sample.clone();
            sample.pixel = pixel;
            sample
        })
        .collect();
    let estimates = estimator.estimate_samples(&coarser, None).unwrap();
    assert_eq!(estimates.dice, as_they_are.dice);
    for ((found, own), pixel) in estimates.distance.iter().zip(&as_they_are.distance).zip([2.0, 3.0, 4.0]) {
        assert!(*own > 0.0 && (found / own - pixel).abs() < 1e-5, "{found} {own}");
    }
}

#[test]
fn certified_bounds_hold_for_attacked_images() {
    let samples = samples(4);
    let estimator = estimator(Method::SecondOpinion);
    let smoothing = Smoothing::new(0.3).draws(512);
    let attack = Attack::new(AttackKind::Pgd { steps: 5 }, 0.01, AttackUnit::Std);
    let attacked = attack.perturb(&estimator, &samples, |_| {}).unwrap();
    let mut moved = 0.0_f64;
    for (sample, image) in samples.iter().zip(attacked.chunks(SIDE * SIDE)) {
        let smoothed = |image: &[f32], smoothing: &Smoothing| {
            estimator.smoothed(image, &sample.segmentation, smoothing).unwrap()
        };
        let clean = smoothed(&sample.image, &smoothing);
        assert_eq!(clean.labels, std::slice::from_ref(&clean.mean));
        assert_eq!(clean, smoothed(&sample.image, &smoothing));
        let radius =
            sample.image.iter().zip(image).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
        let [low, high] = clean.mean.bounds(radius);
        let other = smoothed(image, &smoothing.seed(9)).mean.dice();
        assert!((low..=high).contains(&other), "{other} is not within {low} to {high}");
        moved = moved.max((other - clean.mean.dice()).abs());
        // Almost no noise: the estimate itself.
        let own = estimator.estimate(&sample.image, &sample.segmentation).unwrap().dice[0];
        let nearly = smoothed(&sample.image, &Smoothing::new(1e-6).draws(20)).mean.dice();
        assert!((nearly - f64::from(own)).abs() < 1e-4, "{nearly} {own}");
    }
    assert!(moved > 0.0);
    assert!(estimator.smoothed(&[0.0; 7], &[0; 7], &smoothing).is_err());
}
