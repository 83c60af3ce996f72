//! The whole pipeline on the processor's own engine and on candle's devices: from one seed they agree.
//!
//! `candle-cpu` is the code of a GPU. Where there is one, `LESIO_DEVICE=cuda` (with the feature) tests it instead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

use std::ops::ControlFlow;

use lesio::anomaly::{Loading, PredictorSettings};
use lesio::image::{Image, Scan};
use lesio::nn::{Device, Precision};
use lesio::phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio::prelude::{Latent, Localizer, PredictorName, Preprocessing, VaeConfig};
use lesio::study::{
    ModelTraining, Subject, TrainOptions, Trained, calibrate, fit_preprocessing, normal_examples, train,
};
use lesio::vae::{
    Denoiser, DenoiserConfig, DenoiserTraining, SyntheticAnomalies, SyntheticTraining, TaughtConfig,
    VaeTraining,
};

const SIZE: usize = 32;

fn other() -> Device {
    std::env::var("LESIO_DEVICE").as_deref().unwrap_or("candle-cpu").parse().unwrap()
}

fn subjects(range: std::ops::Range<u64>) -> Vec<Subject> {
    let phantom = BrainPhantom::new(BrainConfig::new([SIZE, SIZE], Contrast::Flair, 4)).unwrap();
    let image = |subject| Image::from_plane(phantom.slice(subject).image);
    range.map(|subject| Subject::new(subject.to_string(), image(subject), None)).collect()
}

fn vae() -> ModelTraining {
    let mut training = VaeTraining::default();
    (training.train.epochs, training.train.batch_size, training.train.seed) = (4, 8, 3);
    let model = VaeConfig::new(1, SIZE, SIZE).widths([6, 12]).latent(Latent::Dense { dimensions: 6 });
    ModelTraining::Vae { model, training }
}

fn denoiser() -> ModelTraining {
    let mut training = DenoiserTraining::default();
    (training.train.epochs, training.train.batch_size, training.train.seed) = (3, 8, 3);
    ModelTraining::Denoiser { model: DenoiserConfig::new(1, SIZE, SIZE).widths([6, 12]), training }
}

fn taught(segments: bool) -> ModelTraining {
    let mut training = SyntheticTraining::default();
    (training.train.epochs, training.train.batch_size, training.train.seed) = (3, 8, 3);
    let (network, anomalies) =
        (DenoiserConfig::new(1, SIZE, SIZE).widths([6, 12]), SyntheticAnomalies::medical());
    match segments {
        true => ModelTraining::Segmenter { model: TaughtConfig::new(network, anomalies), training },
        false => ModelTraining::Restorer { model: TaughtConfig::new(network, anomalies), training },
    }
}

fn trained(recipe: &ModelTraining, device: &Device) -> Trained {
    let subjects = subjects(0..40);
    let preprocessing = fit_preprocessing(&Preprocessing::heads([SIZE, SIZE]), &subjects).unwrap();
    let examples = normal_examples(&preprocessing, &subjects[..32]).unwrap();
    let validation = normal_examples(&preprocessing, &subjects[32..]).unwrap();
    let observe = |_: &lesio::nn::Event<'_>| ControlFlow::Continue(());
    let options = TrainOptions::default().device(device.clone());
    train(recipe, preprocessing, examples, validation, &options, observe).unwrap()
}

fn settings() -> PredictorSettings {
    let mut settings = PredictorSettings::default();
    (settings.projection.steps, settings.restoration.steps) = (5, 5);
    settings
}

/// The largest distance of two maps, relative to the largest magnitude of the first.
fn distance(a: &lesio::image::Volume, b: &lesio::image::Volume) -> f32 {
    let scale = a.data().iter().fold(0.0f32, |scale, value| scale.max(value.abs()));
    let pairs = a.data().iter().zip(b.data());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

fn compare(made: &Localizer, other: &Localizer, scans: &[Scan], tolerance: impl Fn(PredictorName) -> f32) {
    let names = made.predictors();
    assert_eq!(names, other.predictors());
    let (all, others) = (made.score_all(scans, &names).unwrap(), other.score_all(scans, &names).unwrap());
    for (own, other) in all.iter().zip(&others) {
        for (a, b) in own.scores.iter().zip(&other.scores) {
            let found = distance(&a.raw, &b.raw);
            assert!(found <= tolerance(a.predictor), "{}: off by {found} of the highest", a.predictor);
        }
    }
}

/// One model on two devices: sums are taken in another order, nothing else. A step of a projection may be taken back on one
/// side and not on the other where the energy hardly changes.
#[test]
fn a_model_scores_alike_on_every_device() {
    let folder = tempfile::tempdir().unwrap();
    let scans: Vec<Scan> = subjects(50..53).into_iter().map(|subject| subject.scan).collect();
    for recipe in [vae(), denoiser(), taught(false), taught(true)] {
        let made = trained(&recipe, &Device::Cpu).localizer.with_settings(settings());
        let made = calibrate(made, &subjects(60..64), &[PredictorName::PixelL1], |_| {}).unwrap();
        let path = folder.path().join("model.safetensors");
        made.save(&path).unwrap();
        let loaded = Localizer::load(&path, &other()).unwrap();
        compare(&made, &loaded, &scans, |name| if name.is_iterative() { 1e-2 } else { 1e-4 });
        // Saved from there, it is the same file.
        let again = folder.path().join("again.safetensors");
        loaded.save(&again).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());
    }
}

/// Trainings from one seed: Adam divides by the size of a gradient, so that rounding grows where one is near 0.
#[test]
fn trainings_agree_on_every_device() {
    let scans: Vec<Scan> = subjects(50..53).into_iter().map(|subject| subject.scan).collect();
    for recipe in [vae(), denoiser(), taught(false), taught(true)] {
        let (own, other) = (trained(&recipe, &Device::Cpu), trained(&recipe, &other()));
        for (a, b) in own.history.iter().zip(&other.history) {
            let (a, b) = (a.validation.as_ref().unwrap().total, b.validation.as_ref().unwrap().total);
            assert!((a - b).abs() <= 1e-3 * a.abs(), "{a} {b}");
        }
        let [own, other] = [own, other].map(|trained| trained.localizer.with_settings(settings()));
        compare(&own, &other, &scans, |_| 5e-2);
    }
}

/// What only the processor's own engine can do is an error elsewhere, and not done otherwise in silence.
#[test]
fn bfloat16_is_refused_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let made = trained(&vae(), &Device::Cpu).localizer;
    made.with_precision(Precision::Bfloat16, &Device::Cpu).unwrap().save(&path).unwrap();
    let error = Localizer::load(&path, &other()).unwrap_err();
    let text = format!(
        "{error}: {}",
        std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
    );
    assert!(text.contains("bfloat16"), "{text}");
    // What the caller asks for is no fault of a file, and none is read.
    let asked = Loading::new(&other()).precision(Precision::Bfloat16);
    let error = Localizer::load_with("no such file", &asked).unwrap_err().to_string();
    assert_eq!(error, format!("precision is bfloat16, expected single on the device {}", other()));
    let single = Loading::new(&other()).precision(Precision::Single);
    assert!(Localizer::load_with(&path, &single).is_ok());
    let denoiser = DenoiserConfig::new(1, SIZE, SIZE).widths([4]);
    let parameters = Denoiser::initial_parameters(&denoiser, 1).unwrap();
    assert!(Denoiser::from_parameters(denoiser, &parameters, &other()).is_ok());
}
