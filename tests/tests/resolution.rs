//! Calibrated at one resolution, the rate of false alarms holds at others: images and volumes of the same heads, drawn
//! with more and fewer pixels and slices.
//!
//! `cargo test -p lesio-tests --test resolution -- --nocapture` prints shares of subjects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

use std::ops::ControlFlow;
use std::sync::OnceLock;

use lesio::anomaly::{LengthUnit, Localizer, PostProcessing, PredictorName};
use lesio::image::{Image, Preprocessing};
use lesio::phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio::prelude::Device;
use lesio::study::{
    ModelTraining, Subject, TrainOptions, calibrate, fit_preprocessing, normal_examples, score_subject, train,
};
use lesio::vae::{Latent, VaeConfig, VaeTraining};
use lesio_tests::alarms;

const NAMES: [PredictorName; 4] =
    [PredictorName::PixelL1, PredictorName::PixelSsim, PredictorName::GradKl, PredictorName::Intensity];
/// Rows and columns of the network's grid; a head fills nine tenths of it.
const GRID: usize = 64;
/// Rows and columns of the images that train and calibrate.
const SIZE: usize = 96;
const TRAINING: u64 = 160;
const CALIBRATION: u64 = 59;
const TEST: u64 = 40;
/// The nominal share of healthy subjects in which anything is found.
const LEVEL: f64 = 0.1;
/// Scalp and skull in millimeters.
const RIM: f64 = 16.0;
/// Millimeters of a pixel of the grid: the field of view is 224 mm wide.
const GRID_PIXEL: f64 = 224.0 / GRID as f64;

fn phantom(size: usize, slices: usize) -> BrainPhantom {
    let config = BrainConfig::new([size, size], Contrast::Flair, 3).slices(slices).heights(2.0, 26.0);
    BrainPhantom::new(config).unwrap()
}

/// Pictures: their pixels have no known size.
fn images(size: usize, subjects: std::ops::Range<u64>) -> Vec<Subject> {
    let phantom = phantom(size, 1);
    let image = |subject| Image::from_plane(phantom.slice(subject).image);
    subjects.map(|subject| Subject::new(subject.to_string(), image(subject), None)).collect()
}

/// The same heads as volumes over 24 mm, from one slice in the middle of each of equal parts.
fn volumes(size: usize, slices: usize, subjects: std::ops::Range<u64>) -> Vec<Subject> {
    let phantom = phantom(size, slices);
    let image = |subject| phantom.volume(subject).unwrap().image;
    subjects.map(|subject| Subject::new(subject.to_string(), image(subject), None)).collect()
}

/// A small VAE of pictures, not calibrated. It scores volumes too: they are slices.
fn trained() -> Localizer {
    let training = images(SIZE, 0..TRAINING);
    let preprocessing = fit_preprocessing(&Preprocessing::heads([GRID, GRID]), &training).unwrap();
    let examples = normal_examples(&preprocessing, &training).unwrap();
    let validation = normal_examples(&preprocessing, &images(SIZE, TRAINING..TRAINING + 16)).unwrap();
    let model = VaeConfig::new(1, GRID, GRID).widths([8, 16, 32]).latent(Latent::Dense { dimensions: 32 });
    let mut config = VaeTraining::default();
    (config.train.epochs, config.train.batch_size) = (12, 16);
    let recipe = ModelTraining::Vae { model, training: config };
    let observe = |_: &lesio::nn::Event<'_>| ControlFlow::Continue(());
    let trained =
        train(&recipe, preprocessing, examples, validation, &TrainOptions::default(), observe).unwrap();
    trained.localizer
}

/// In how many subjects anything reaches the family-wise threshold, by predictor.
fn flagged(localizer: &Localizer, subjects: &[Subject]) -> [usize; NAMES.len()] {
    let mut found = [0; NAMES.len()];
    for subject in subjects {
        let maps = score_subject(localizer, subject, &NAMES).unwrap();
        for ((name, found), (_, [_, map])) in NAMES.iter().zip(&mut found).zip(&maps.maps) {
            let normal = localizer.calibration().get(*name).unwrap();
            let threshold = normal.family_wise_threshold(LEVEL).unwrap();
            let mut inside = map.iter().zip(&maps.foreground).filter(|&(_, &inside)| inside);
            *found += usize::from(inside.any(|(&score, _)| score >= threshold));
        }
    }
    found
}

/// The most new subjects that are flagged with this probability.
fn most(probability: f64) -> usize {
    alarms::quantile(LEVEL, CALIBRATION as usize, TEST as usize, probability)
}

fn print(what: &str, found: [usize; NAMES.len()]) {
    let shares = found.map(|count| format!("{:.2}", count as f64 / TEST as f64));
    eprintln!("| {what} | {} |", shares.join(" | "));
}

/// Healthy subjects that were neither trained on nor calibrate.
const NEW: std::ops::Range<u64> = TRAINING + 16 + CALIBRATION..TRAINING + 16 + CALIBRATION + TEST;
const CALIBRATING: std::ops::Range<u64> = TRAINING + 16..TRAINING + 16 + CALIBRATION;

fn model() -> Localizer {
    static MODEL: OnceLock<Localizer> = OnceLock::new();
    MODEL.get_or_init(trained).clone()
}

/// In pixels of the grid.
#[test]
fn alarms_of_pictures_keep_their_rate() {
    let filters = PostProcessing::default().erosion(RIM / GRID_PIXEL);
    let made =
        calibrate(model().with_postprocessing(filters), &images(SIZE, CALIBRATING), &NAMES, |_| {}).unwrap();
    for size in [96, 128, 192] {
        let found = flagged(&made, &images(size, NEW));
        print(&format!("pictures of {size} x {size}"), found);
        assert!(found.iter().all(|&count| count <= most(0.999)), "{size}: {found:?}");
    }
    // Where the rate does not hold, it is said.
    let coarse = images(64, NEW);
    assert!(made.score(&coarse[0].scan, &NAMES).unwrap().doubt.is_some());
}

/// In millimeters, by the spacing of each axis.
#[test]
fn alarms_of_volumes_keep_their_rate() {
    let filters = PostProcessing::default().median(0.0, 5.0 * GRID_PIXEL, 5.0 * GRID_PIXEL).erosion(RIM);
    let stacks = volumes(SIZE, 3, CALIBRATING);
    let made = calibrate(model().with_postprocessing(filters), &stacks, &NAMES, |_| {}).unwrap();
    for (size, slices) in [(96, 3), (192, 3), (96, 5), (128, 2)] {
        let found = flagged(&made, &volumes(size, slices, NEW));
        print(&format!("volumes of {size} x {size} x {slices}"), found);
        assert!(found.iter().all(|&count| count <= most(0.999)), "{size} {slices}: {found:?}");
    }
}

/// Filters in pixels of the image, as they were: the tests above can fail.
#[test]
fn alarms_by_pixels_of_the_image_do_not_keep_their_rate() {
    let mut filters = PostProcessing::default().median(1.0, 7.0, 7.0).erosion(RIM / GRID_PIXEL * 1.5);
    filters.unit = LengthUnit::ImagePixels;
    let made =
        calibrate(model().with_postprocessing(filters), &images(SIZE, CALIBRATING), &NAMES, |_| {}).unwrap();
    let found = flagged(&made, &images(192, NEW));
    print("pictures of 192 x 192, filters in their pixels", found);
    assert!(found.iter().any(|&count| count > most(0.999)), "{found:?}");
}

/// The table of docs/results.md: the quickstart's model as it was saved, and with its filters in pixels of the image.
///
/// `cargo run --release --example quickstart`, then `LESIO_QUICKSTART=target/lesio/quickstart/model.safetensors cargo test
/// --release -p lesio-tests --test resolution -- --ignored --nocapture`
#[test]
#[ignore = "needs the model of the quickstart, named by LESIO_QUICKSTART"]
fn the_quickstarts_model() {
    let path = std::env::var("LESIO_QUICKSTART").unwrap();
    let saved = Localizer::load(path, &Device::Cpu).unwrap();
    let drawn = |size: usize, subjects: std::ops::Range<u64>| -> Vec<Subject> {
        let phantom = BrainPhantom::new(BrainConfig::new([size, size], Contrast::Flair, 1)).unwrap();
        let image = |subject| Image::from_plane(phantom.slice(subject).image);
        subjects.map(|subject| Subject::new(subject.to_string(), image(subject), None)).collect()
    };
    // The validation subjects of the quickstart.
    let calibrated = |unit: LengthUnit| {
        let mut filters = PostProcessing::default().median(1.0, 5.0, 5.0).erosion(7.0);
        filters.unit = unit;
        let made = saved.clone().with_postprocessing(PostProcessing::none()).with_postprocessing(filters);
        calibrate(made, &drawn(96, 600..660), &NAMES, |_| {}).unwrap()
    };
    eprintln!("| filters | image | {} |", NAMES.map(|name| name.to_string()).join(" | "));
    for (what, unit) in
        [("pixels of the image", LengthUnit::ImagePixels), ("pixels of the grid", LengthUnit::Physical)]
    {
        let localizer = calibrated(unit);
        for size in [64, 96, 128, 192, 288] {
            let found = flagged(&localizer, &drawn(size, 1000..1100));
            eprintln!("| {what} | {size} | {} |", found.map(|count| count.to_string()).join(" | "));
        }
    }
}
