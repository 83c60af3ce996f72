//! Trainings on every device: that they agree, and go on from each other's checkpoints.

// Tests may panic, and need no documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::ops::ControlFlow;

use lesio_nn::{Device, Event, ParameterSet};
use lesio_phantom::{HeartConfig, HeartPhantom};
use lesio_quality::{
    Attack, AttackKind, AttackUnit, Corruptor, Estimator, EstimatorConfig, Framing, Method, PipelineConfig,
    PipelineError, PipelineProgress, Sample, Samples, StepCache, TrueSlice, Widths,
};
use ndarray::Axis;

fn devices() -> [Device; 2] {
    [Device::Cpu, "candle-cpu".parse().unwrap()]
}

fn config(method: Method) -> EstimatorConfig {
    let framing = Framing::new([2]).grid([24, 24]);
    EstimatorConfig::new(method, framing).widths(Widths::uniform([8, 8]))
}

/// Candidates that no network has made, so that all devices are given the same.
fn material() -> (Vec<TrueSlice>, [Samples; 2]) {
    let hearts = HeartPhantom::new(HeartConfig::new([48, 48], 3)).unwrap();
    let framing = Framing::new([2]).grid([24, 24]);
    let slice = |subject: u64| {
        let slice = hearts.slice(subject);
        TrueSlice::alone(&format!("p{subject}"), slice.image.insert_axis(Axis(0)), slice.labels).unwrap()
    };
    let sample = |subject: u64| {
        let slice = slice(subject);
        let dice = 0.2 + 0.7 * (subject % 5) as f64 / 4.0;
        let wrong = Corruptor::of_slice(slice.truth.view()).unwrap().aim(dice, subject).unwrap().into_slice();
        let (image, truth) = (slice.image.view(), slice.truth.view());
        Sample::new(&framing, &[2], slice.patient, &image, &wrong.view(), &truth).unwrap().unwrap()
    };
    ((0..12).map(slice).collect(), [(0..12).map(sample).collect(), (12..18).map(sample).collect()])
}

/// Updates of what a method builds upon.
const PRETRAINING: usize = 12;

/// Trains what a method builds upon, and then its estimator; stops after so many updates. Returns the parameters and how
/// many updates were made.
fn train(
    method: Method,
    device: &Device,
    cache: &StepCache,
    stop_after: usize,
) -> (usize, Result<ParameterSet, PipelineError>) {
    let mut recipe = PipelineConfig::new(4);
    (recipe.reconstruction_steps, recipe.estimator_steps) = (PRETRAINING, PRETRAINING);
    (recipe.opinion_steps, recipe.finishing_steps, recipe.batch) = (16, 4, 6);
    // Nothing is held out, so that the last parameters are taken, not those of an early epoch.
    let (slices, [training, _]) = material();
    let validation = Samples::new();
    let mut updates = 0;
    let mut observer = |progress: &PipelineProgress<'_>| {
        updates += usize::from(matches!(progress, PipelineProgress::Training(Event::Step { .. })));
        if updates >= stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let samples = [&training, &validation];
    let pretrained = match method {
        Method::SecondOpinion => {
            let (config, nothing) = (config(Method::ShapeOnly), ParameterSet::new());
            recipe.estimator(&config, &nothing, samples, cache, device, &mut observer).map(|(found, _)| found)
        }
        _ => recipe.reconstruction(&config(method), &slices, cache, device, &mut observer),
    };
    let trained = pretrained.and_then(|pretrained| {
        let config = config(method);
        let trained = recipe.estimator(&config, &pretrained, samples, cache, device, &mut observer)?;
        Ok(trained.0)
    });
    (updates, trained)
}

/// The Dice of candidates that nothing was trained on, as they are and under an attack.
fn estimates(method: Method, parameters: &ParameterSet, device: &Device) -> [Vec<f32>; 2] {
    let (_, [_, samples]) = material();
    let estimator = Estimator::new(config(method), parameters.clone(), device).unwrap();
    let attack = Attack::new(AttackKind::Fgsm, 0.1, AttackUnit::Std);
    let attacked = attack.perturb(&estimator, &samples, |_| {}).unwrap();
    [None, Some(attacked.as_slice())].map(|images| estimator.estimate_samples(&samples, images).unwrap().dice)
}

/// The mean difference.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert!(a.len() == b.len() && !a.is_empty());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
}

/// Two trainings from one seed agree, but not to the last bit.
///
/// Forward passes differ by some 1e-7. Adam's first updates go by the sign of a gradient, whatever its size: where it is 0
/// but for rounding, a parameter goes another way on each device, by twice the rate of at most 2e-3. Few do: parameters were
/// apart by 2e-9 in the mean and the Dice by 7e-8; after trainings of twice the length, in which some did, by 7e-7 (one by
/// 4e-4) and 9e-5.
fn check_agreement(case: &str, method: Method, trained: [&ParameterSet; 2], devices: [&Device; 2]) {
    let [one, other] = trained;
    assert!(one != other, "{case}: each device had a part in one of them");
    let values = |set: &ParameterSet| set.iter().flat_map(|(_, p)| p.values().to_vec()).collect::<Vec<_>>();
    let difference = apart(&values(one), &values(other));
    assert!(difference < 1e-5, "{case}: parameters {difference}");
    let [cpu, candle] = [estimates(method, one, devices[0]), estimates(method, other, devices[1])];
    for (what, cpu, candle) in [("clean", &cpu[0], &candle[0]), ("attacked", &cpu[1], &candle[1])] {
        assert!(apart(cpu, candle) < 1e-3, "{case}: {what} {}", apart(cpu, candle));
    }
}

#[test]
fn trainings_agree_from_one_seed() {
    let [cpu, candle] = devices();
    for method in [Method::RecReg, Method::SecondOpinion] {
        let [one, other] =
            [&cpu, &candle].map(|device| train(method, device, &StepCache::none(), usize::MAX).1.unwrap());
        check_agreement(method.name(), method, [&one, &other], [&cpu, &candle]);
        let mut untrained = one.clone();
        untrained.extend(config(method).initial_parameters(204).unwrap());
        let learned = apart(&estimates(method, &one, &cpu)[0], &estimates(method, &untrained, &cpu)[0]);
        assert!(learned > 0.05, "{}: hardly anything was learned: {learned}", method.name());
    }
}

#[test]
fn a_training_goes_on_on_another_device() {
    let [cpu, candle] = devices();
    for method in [Method::RecReg, Method::SecondOpinion] {
        let (all, straight) = train(method, &cpu, &StepCache::none(), usize::MAX);
        let straight = straight.unwrap();
        for [first, second] in [[&cpu, &candle], [&candle, &cpu]] {
            let case = format!("{}, from {first} to {second}", method.name());
            let folder = tempfile::tempdir().unwrap();
            let cache = StepCache::new(folder.path());
            // What the method builds upon is finished; its own training is in the middle of an epoch.
            let (before, stopped) = train(method, first, &cache, PRETRAINING + 3);
            assert!(matches!(stopped, Err(PipelineError::Stopped)) && before == PRETRAINING + 3, "{case}");
            let (after, trained) = train(method, second, &cache, usize::MAX);
            let trained = trained.unwrap();
            assert_eq!(before + after, all, "{case}: nothing is done twice");
            check_agreement(&case, method, [&straight, &trained], [&cpu, &cpu]);
            // What is finished is taken up on either.
            let (more, found) = train(method, first, &cache, usize::MAX);
            assert!(more == 0 && found.unwrap() == trained, "{case}");
        }
    }
}
