//! Calibrated on some healthy subjects, rates hold on others: pixels within the spread of subjects, subjects exactly.
//!
//! Real subjects (healthy T1 slabs) where the folder is there, drawn ones everywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

use std::ops::ControlFlow;
use std::path::Path;

use lesio::anomaly::{Localizer, PostProcessing, PredictorName};
use lesio::image::{Image, Preprocessing};
use lesio::io::dataset::{Dataset, Layout};
use lesio::phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio::study::{
    ModelTraining, Subject, TrainOptions, calibrate, fit_preprocessing, normal_examples,
    normalize_by_position, score_subject, train,
};
use lesio::vae::{Latent, VaeConfig, VaeTraining};
use lesio_tests::alarms;

const NAMES: [PredictorName; 2] = [PredictorName::PixelL1, PredictorName::GradKl];

/// Healthy subjects for each purpose.
struct Healthy<'s> {
    training: &'s [Subject],
    calibration: &'s [Subject],
    new: &'s [Subject],
}

impl<'s> Healthy<'s> {
    /// The first of these subjects train, so many of the next calibrate, and the others are new.
    fn of(subjects: &'s [Subject], training: usize, calibration: usize) -> Self {
        let (training, others) = subjects.split_at(training);
        let (calibration, new) = others.split_at(calibration);
        Self { training, calibration, new }
    }
}

/// A small VAE on a grid of this side, its scores normalized by position, and calibrated.
fn localizer(grid: usize, &Healthy { training, calibration, .. }: &Healthy<'_>) -> Localizer {
    let preprocessing = fit_preprocessing(&Preprocessing::heads([grid, grid]), training).unwrap();
    let examples = normal_examples(&preprocessing, training).unwrap();
    let validation = normal_examples(&preprocessing, &calibration[..2]).unwrap();
    let model = VaeConfig::new(1, grid, grid).widths([8, 16, 16]).latent(Latent::Dense { dimensions: 16 });
    let mut training_config = VaeTraining::default();
    (training_config.train.epochs, training_config.train.batch_size) = (6, 8);
    let recipe = ModelTraining::Vae { model, training: training_config };
    let observe = |_: &lesio::nn::Event<'_>| ControlFlow::Continue(());
    let trained =
        train(&recipe, preprocessing, examples, validation, &TrainOptions::default(), observe).unwrap();
    let made = trained.localizer.with_postprocessing(PostProcessing::default().median(0.0, 3.0, 3.0));
    let made = normalize_by_position(made, training, &NAMES, 2, |_| {}).unwrap();
    calibrate(made, calibration, &NAMES, |_| {}).unwrap()
}

/// Share of each new subject's foreground that reaches the threshold of a rate, by predictor.
fn rates(localizer: &Localizer, subjects: &[Subject], rate: f64) -> Vec<Vec<f64>> {
    let mut found = vec![Vec::new(); NAMES.len()];
    for subject in subjects {
        let maps = score_subject(localizer, subject, &NAMES).unwrap();
        for ((name, found), (_, [_, map])) in NAMES.iter().zip(&mut found).zip(&maps.maps) {
            let threshold = localizer.calibration().get(*name).unwrap().threshold(rate);
            let inside = map.iter().zip(&maps.foreground).filter(|&(_, &inside)| inside);
            let (above, all) = inside
                .fold((0, 0), |(above, all), (&score, _)| (above + usize::from(score >= threshold), all + 1));
            found.push(above as f64 / all as f64);
        }
    }
    found
}

/// How many subjects have a family-wise p-value of at most this level, by predictor.
fn flagged(localizer: &Localizer, subjects: &[Subject], level: f64) -> Vec<usize> {
    let mut found = vec![0; NAMES.len()];
    for subject in subjects {
        let maps = score_subject(localizer, subject, &NAMES).unwrap();
        for ((name, found), (_, [_, map])) in NAMES.iter().zip(&mut found).zip(&maps.maps) {
            let inside = map.iter().zip(&maps.foreground).filter(|&(_, &inside)| inside);
            let highest = inside.map(|(&score, _)| score).fold(f32::NEG_INFINITY, f32::max);
            let normal = localizer.calibration().get(*name).unwrap();
            *found += usize::from(normal.family_wise_p_value(highest) <= level);
        }
    }
    found
}

/// What chance alone may do: the standard errors by which a rate of pixels differs from the nominal one, and the
/// probability on either side within which a number of alarms lies.
struct Chance {
    errors: f64,
    tail: f64,
}

/// Once in a hundred checks.
const ONE_IN_100: Chance = Chance { errors: 2.6, tail: 0.005 };
/// Once in a thousand, for a test that makes dozens of checks.
const ONE_IN_1000: Chance = Chance { errors: 3.3, tail: 0.0005 };

/// Whether the rates of pixels and of subjects with an alarm on new subjects are what calibration promises.
fn check(what: &str, grid: usize, subjects: &Healthy<'_>, [nominal, levels]: [&[f64]; 2], chance: &Chance) {
    let localizer = localizer(grid, subjects);
    let &Healthy { calibration, new, .. } = subjects;
    for &nominal in nominal {
        let found = rates(&localizer, new, nominal).into_iter().zip(rates(&localizer, calibration, nominal));
        for (name, (rates, calibrated)) in NAMES.iter().zip(found) {
            let (mean, of_new) = mean_and_its_variance(&rates);
            let (own, of_calibrated) = mean_and_its_variance(&calibrated);
            assert!(
                (own - nominal).abs() < 0.3 * nominal,
                "{name}: {own} for {nominal} where it was calibrated"
            );
            // Subjects are independent, their pixels are not; the threshold varies with those that calibrated it.
            let error = (of_new + of_calibrated).sqrt();
            let [low, high] = [mean - 1.96 * error, mean + 1.96 * error];
            eprintln!("| {what} | {grid} | {name} | pixels | {nominal} | {mean:.4} [{low:.4}, {high:.4}] |");
            assert!(
                (mean - nominal).abs() < chance.errors * error,
                "{name}: {mean} for {nominal}, {rates:?}"
            );
        }
    }
    for &level in levels {
        let quantile = |probability| alarms::quantile(level, calibration.len(), new.len(), probability);
        let [low, high] = [quantile(0.025), quantile(0.975)];
        for (name, count) in NAMES.iter().zip(flagged(&localizer, new, level)) {
            eprintln!(
                "| {what} | {grid} | {name} | subjects | {level} | {count} of {}, expected {low} to {high} |",
                new.len()
            );
            let [least, most] = [quantile(chance.tail), quantile(1.0 - chance.tail)];
            assert!((least..=most).contains(&count), "{name}, {level}: {count}, not {least} to {most}");
        }
    }
}

fn mean_and_its_variance(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0) / count)
}

/// Drawn heads: volumes of some slices of this side, or pictures of one slice.
fn drawn(side: usize, slices: Option<usize>, count: u64) -> Vec<Subject> {
    let config = BrainConfig::new([side, side], Contrast::T1, 11).slices(slices.unwrap_or(1));
    let phantom = BrainPhantom::new(config).unwrap();
    let subject = |number: u64| match slices {
        Some(_) => Subject::new(number.to_string(), phantom.volume(number).unwrap().image, None),
        None => Subject::new(number.to_string(), Image::from_plane(phantom.slice(number).image), None),
    };
    (0..count).map(subject).collect()
}

#[test]
fn rates_hold_on_new_drawn_heads() {
    let subjects = drawn(48, Some(6), 64);
    check("drawn volumes", 32, &Healthy::of(&subjects, 14, 25), [&[0.01, 0.05], &[0.05]], &ONE_IN_100);
}

/// The table of docs/results.md.
#[test]
#[ignore = "takes minutes"]
fn rates_hold_on_grids_of_96_128_and_192() {
    for grid in [96, 128, 192] {
        for (what, slices) in [("volumes", Some(3)), ("pictures", None)] {
            let subjects = drawn(grid, slices, 40 + 199 + 200);
            let levels: [&[f64]; 2] = [&[0.01, 0.05, 0.1]; 2];
            check(what, grid, &Healthy::of(&subjects, 40, 199), levels, &ONE_IN_1000);
        }
    }
}

#[test]
fn rates_hold_on_new_real_heads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/t1-slabs");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    }
    let data = Dataset::open(&folder, &Layout::cases("t1.nii.gz", None)).unwrap();
    let subjects: Vec<Subject> = data.cases().iter().map(|case| Subject::read(case).unwrap()).collect();
    assert_eq!(subjects.len(), 40);
    check("T1 slabs", 32, &Healthy::of(&subjects, 8, 20), [&[0.01, 0.05], &[0.05]], &ONE_IN_100);
}
