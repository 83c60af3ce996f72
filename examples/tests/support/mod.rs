//! Programs run as a user runs them, and images for them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod browser;
pub mod commands;

use std::path::{Path, PathBuf};
use std::process::Command;

use lesio::anomaly::{Calibration, Localizer, Model, NormalScoresBuilder, PredictorName, Provenance};
use lesio::image::{FittedPreprocessing, GridFit, Preprocessing, Scan, Volume};
use lesio::io::write_volume;
use lesio::nn::Device;
use lesio::phantom::{BrainConfig, BrainPhantom, CardiacPhase, Contrast, HeartConfig, HeartPhantom, Phantom};
use lesio::vae::{Latent, Vae, VaeConfig};
use serde_json::Value;
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::Gray8;

/// Names of all programs.
pub fn programs() -> Vec<String> {
    let manifest = std::fs::read_to_string(manifest_folder().join("Cargo.toml")).unwrap();
    let names = manifest.split("[[example]]").skip(1);
    names.map(|entry| entry.split('"').nth(1).unwrap().to_owned()).collect()
}

pub fn manifest_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where programs are taken from instead of beside the tests, as in
/// `LESIO_PROGRAMS=target/release/examples cargo test -p lesio-examples`; relative to the workspace.
const PROGRAMS: &str = "LESIO_PROGRAMS";

/// A program's file. `cargo test` builds examples beside the tests, unless it was told to build a single
/// test (`--test NAME`): then this builds what is missing, but what is there may be of older sources.
fn executable(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os(PROGRAMS) {
        let folder = manifest_folder().parent().unwrap().join(folder);
        let path = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
        assert!(path.is_file(), "{PROGRAMS} names a folder without {}", path.display());
        return path;
    }
    let own = std::env::current_exe().unwrap();
    // TARGET/PROFILE/deps/TEST
    let profile = own.parent().unwrap().parent().unwrap();
    let path = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    if !path.is_file() {
        let profile_name = match profile.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "lesio-examples",
                "--examples",
                "--profile",
                profile_name,
            ])
            .arg("--target-dir")
            .arg(profile.parent().unwrap())
            .current_dir(manifest_folder())
            .status()
            .unwrap();
        assert!(built.success(), "the examples do not build");
    }
    path
}

/// A program with its arguments, on one thread unless said otherwise.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(executable(name));
    command.env("RAYON_NUM_THREADS", "1").env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("programs print UTF-8");
    let ran = Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!ran.err.contains("panicked"), "{command:?}: {}", ran.err);
    ran
}

/// Runs a program that must succeed.
pub fn succeed(command: &mut Command) -> Ran {
    let ran = ran(command);
    assert_eq!(ran.code, Some(0), "{command:?}: {}\n{}", ran.out, ran.err);
    ran
}

/// Runs a program that must fail with an error that holds each of the texts.
pub fn fail(command: &mut Command, expected: &[&str]) {
    let ran = ran(command);
    assert_eq!(ran.code, Some(1), "{command:?} did not fail: {}\n{}", ran.out, ran.err);
    assert!(ran.err.starts_with("error: ") || ran.err.contains("\nerror: "), "{command:?}: {}", ran.err);
    for text in expected {
        assert!(ran.err.contains(text), "{command:?}: expected {text:?} in: {}", ran.err);
    }
}

/// The document in a file.
pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A small head with its tissue.
pub fn head(subject: u64) -> Phantom {
    let config = BrainConfig::new([32, 32], Contrast::T1, 7).slices(8);
    BrainPhantom::new(config).unwrap().volume(subject).unwrap()
}

/// A folder of heads, as `NAME/image.nii.gz` with `NAME/tissue.nii.gz`.
pub fn write_heads(folder: &Path, subjects: u64) {
    for subject in 0..subjects {
        let case = folder.join(format!("subject{subject:02}"));
        std::fs::create_dir_all(&case).unwrap();
        let head = head(subject);
        write_volume(case.join("image.nii.gz"), &head.image).unwrap();
        write_volume(case.join("tissue.nii.gz"), &head.labels).unwrap();
    }
}

/// A heart of three slices.
pub fn heart(patient: u64, phase: CardiacPhase) -> Phantom {
    let mut config = HeartConfig::new([40, 44], 9);
    config.slices = 3;
    HeartPhantom::new(config).unwrap().volume(patient, phase).unwrap()
}

/// Eight patients arranged as ACDC.
pub fn write_hearts(data: &Path) {
    write_patients(data, 8);
}

/// So many patients arranged as ACDC.
pub fn write_patients(data: &Path, patients: u64) {
    for patient in 1..=patients {
        let own = data.join(format!("patient{patient:03}"));
        std::fs::create_dir_all(&own).unwrap();
        for (frame, phase) in [(1, CardiacPhase::EndDiastole), (9, CardiacPhase::EndSystole)] {
            let heart = heart(patient, phase);
            let file = |end: &str| own.join(format!("patient{patient:03}_frame{frame:02}{end}.nii.gz"));
            write_volume(file(""), &heart.image).unwrap();
            write_volume(file("_gt"), &heart.labels).unwrap();
        }
    }
}

/// A localizer of an untrained network, as good as any for what does not ask how well it works. Calibrated
/// on 19 made-up subjects with scores of at most 0.5, for all predictors but `pixel-l2`.
pub fn untrained(channels: usize, preprocessing: FittedPreprocessing) -> Localizer {
    let config = VaeConfig::new(channels, 32, 32).widths([4, 8]).latent(Latent::Dense { dimensions: 4 });
    let model = Model::Vae(Vae::new(config, 1.0, 7, &Device::Cpu).unwrap().into());
    let localizer = Localizer::new(model, preprocessing, Provenance::new(7, "none")).unwrap();
    let mut calibration = Calibration::new();
    for name in localizer.predictors().into_iter().filter(|&name| name != PredictorName::PixelL2) {
        let mut scores = NormalScoresBuilder::new();
        (0..19).for_each(|_| scores.add((0..500).map(|k| k as f32 / 1000.0)));
        calibration.insert(name, scores.finish().unwrap());
    }
    localizer.with_calibration(calibration)
}

/// Pictures of one channel that no two are alike, as `NAME.tif`. Not by lesio's own writer, which waits for the disk each
/// time: there may be hundreds.
pub fn write_pictures(folder: &Path, count: usize, size: usize) {
    std::fs::create_dir_all(folder).unwrap();
    for number in 0..count {
        let pixel = |place: usize| {
            let (y, x) = (place / size, place % size);
            let wave = (x as f32 * 0.5 + number as f32).sin() * 40.0 + (y as f32 * 0.3).cos() * 40.0;
            (120.0 + wave + ((7 * x + 13 * y + 5 * number) % 11) as f32) as u8
        };
        let pixels: Vec<u8> = (0..size * size).map(pixel).collect();
        let mut bytes = std::io::Cursor::new(Vec::new());
        let side = u32::try_from(size).unwrap();
        TiffEncoder::new(&mut bytes).unwrap().write_image::<Gray8>(side, side, &pixels).unwrap();
        std::fs::write(folder.join(format!("{number:04}.tif")), bytes.into_inner()).unwrap();
    }
}

/// Of heads.
pub fn untrained_heads(path: &Path) -> Localizer {
    let heads: Vec<Volume<f32>> = (0..2).map(|subject| head(subject).image).collect();
    let heads = heads.iter().cloned().map(Scan::from);
    let localizer = untrained(1, Preprocessing::heads([32, 32]).fit(heads).unwrap());
    localizer.save(path).unwrap();
    localizer
}

/// Of pictures of several channels, of values from 0 to 255.
pub fn untrained_pictures(path: &Path, channels: usize) -> Localizer {
    use lesio::image::{Frame, Intensity, RobustScaling};
    let preprocessing = Preprocessing::new([32, 32])
        .intensity(Intensity::Robust(RobustScaling::new()))
        .clip(Some([0.0, 1.0]))
        .frame(Frame::Fit(GridFit::new([32, 32])));
    let localizer = untrained(channels, preprocessing.fit([] as [Scan; 0]).unwrap());
    localizer.save(path).unwrap();
    localizer
}
