//! Calibrated on some healthy subjects, rates hold on others: pixels within the spread of subjects, subjects exactly.
//!
//! Real subjects (healthy T1 slabs) where the folder is there, drawn ones everywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

use std::ops::ControlFlow;
use std::path::Path;

use lesio::anomaly::{Localizer, PostProcessing, PredictorName};
use lesio::image::Preprocessing;
use lesio::io::dataset::{Dataset, Layout};
use lesio::phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio::study::{
    ModelTraining, Subject, TrainOptions, calibrate, fit_preprocessing, normal_examples,
    normalize_by_position, score_subject, train,
};
use lesio::vae::{Latent, VaeConfig, VaeTraining};

const NAMES: [PredictorName; 2] = [PredictorName::PixelL1, PredictorName::GradKl];
const GRID: usize = 32;

fn healthy(id: String, volume: lesio::image::Volume<f32>) -> Subject {
    Subject::new(id, volume, None)
}

/// A small VAE of the first subjects, counted from what is usual by place, calibrated on the next.
fn localizer(training: &[Subject], calibration: &[Subject]) -> Localizer {
    let preprocessing = fit_preprocessing(&Preprocessing::heads([GRID, GRID]), training).unwrap();
    let examples = normal_examples(&preprocessing, training).unwrap();
    let validation = normal_examples(&preprocessing, &calibration[..2]).unwrap();
    let model = VaeConfig::new(1, GRID, GRID).widths([8, 16, 16]).latent(Latent::Dense { dimensions: 16 });
    let mut training_config = VaeTraining::default();
    (training_config.train.epochs, training_config.train.batch_size) = (6, 8);
    let recipe = ModelTraining::Vae { model, training: training_config };
    let observe = |_: &lesio::nn::Event<'_>| ControlFlow::Continue(());
    let trained =
        train(&recipe, preprocessing, examples, validation, &TrainOptions::default(), observe).unwrap();
    let made = trained.localizer.postprocessing(PostProcessing::default().median(0.0, 3.0, 3.0));
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

/// How many new subjects have a family-wise p-value of at most 5 %, by predictor.
fn alarms(localizer: &Localizer, subjects: &[Subject]) -> Vec<usize> {
    let mut found = vec![0; NAMES.len()];
    for subject in subjects {
        let maps = score_subject(localizer, subject, &NAMES).unwrap();
        for ((name, found), (_, [_, map])) in NAMES.iter().zip(&mut found).zip(&maps.maps) {
            let inside = map.iter().zip(&maps.foreground).filter(|&(_, &inside)| inside);
            let highest = inside.map(|(&score, _)| score).fold(f32::NEG_INFINITY, f32::max);
            let normal = localizer.calibration().get(*name).unwrap();
            *found += usize::from(normal.family_wise_p_value(highest) <= 0.05);
        }
    }
    found
}

/// Whether the rates and the alarms on new subjects are what calibration promises.
fn check(training: &[Subject], calibration: &[Subject], new: &[Subject]) {
    let localizer = localizer(training, calibration);
    for nominal in [0.01, 0.05] {
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
            eprintln!("{name}: nominal rate {nominal}, found {mean:.4}, standard error {error:.4}");
            assert!((mean - nominal).abs() < 2.6 * error, "{name}: {mean} for {nominal}, {rates:?}");
        }
    }
    let alarms = alarms(&localizer, new);
    eprintln!("family-wise at 5 %: {alarms:?} of {} new subjects", new.len());
    // The chance of more in an exact test is below 1 %.
    let most = binomial_quantile(new.len(), 0.05, 0.99);
    assert!(alarms.iter().all(|&count| count <= most), "{alarms:?}, at most {most} expected");
}

fn mean_and_its_variance(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0) / count)
}

/// The least number that a binomial variable does not exceed with this probability.
fn binomial_quantile(trials: usize, chance: f64, probability: f64) -> usize {
    let mut term = (1.0 - chance).powi(i32::try_from(trials).unwrap());
    let mut below = term;
    for count in 0..trials {
        if below >= probability {
            return count;
        }
        term *= (trials - count) as f64 / (count + 1) as f64 * chance / (1.0 - chance);
        below += term;
    }
    trials
}

#[test]
fn rates_hold_on_new_drawn_heads() {
    let phantom = BrainPhantom::new(BrainConfig::new([48, 48], Contrast::T1, 11).slices(6)).unwrap();
    let subjects: Vec<Subject> =
        (0..64).map(|k| healthy(k.to_string(), phantom.volume(k).unwrap().image)).collect();
    check(&subjects[..14], &subjects[14..39], &subjects[39..]);
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
    check(&subjects[..8], &subjects[8..28], &subjects[28..]);
}

#[test]
fn binomial_quantiles_are_those_of_tables() {
    assert_eq!(binomial_quantile(12, 0.05, 0.99), 3);
    assert_eq!(binomial_quantile(10, 0.5, 0.5), 5);
    assert_eq!(binomial_quantile(1, 0.0, 0.99), 0);
}
