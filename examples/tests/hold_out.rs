//! `train` without `--validation` holds out every tenth patient, however the program was compiled: rustc 1.95 once
//! dropped the comparison that the number hung on, so that one was held out of hundreds. `.ci/run` asks the release
//! programs too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{fail, program, succeed, write_pictures};

/// Counts of cases that train and that validate.
fn counts(data: &Path, out: &Path, seed: usize) -> (u64, u64) {
    let mut train = program("train");
    train.arg("--data").arg(data).arg("--out").arg(out).args(["--layout", "mvtec", "--model", "denoiser"]);
    train.args(["--size", "16", "--widths", "4,4", "--epochs", "1", "--batch", "64", "--median", "1,1,1"]);
    let said = succeed(train.arg("--seed").arg(seed.to_string())).out;
    let report: Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    let count = |part: &str| report["data"][part]["cases"].as_u64().unwrap();
    let (training, validation) = (count("training"), count("validation"));
    let slices =
        format!("{training} normal slices of {training} cases to train on, {validation} of {validation}");
    assert!(said.contains(&slices), "{said}");
    (training, validation)
}

#[test]
fn every_tenth_case_is_held_out() {
    let folder = tempfile::tempdir().unwrap();
    for (cases, expected) in [(2, 1), (5, 1), (9, 1), (10, 1), (19, 1), (20, 2), (36, 3), (209, 20)] {
        let data = folder.path().join(format!("data{cases}"));
        write_pictures(&data.join("train/good"), cases, 16);
        let found = counts(&data, &folder.path().join(format!("out{cases}")), 0);
        assert_eq!(found, (cases as u64 - expected, expected), "of {cases}");
    }
}

#[test]
fn models_trained_without_validation_data_are_combined() {
    let folder = tempfile::tempdir().unwrap();
    let [data, other] = ["data", "other"].map(|name| folder.path().join(name));
    write_pictures(&data.join("train/good"), 36, 16);
    // One picture more, which is not held out: others are in its place.
    write_pictures(&other.join("train/good"), 36, 16);
    fs::copy(other.join("train/good/0030.tif"), other.join("train/good/0000b.tif")).unwrap();
    let models = ["a", "b"].map(|name| folder.path().join(name));
    for (seed, model) in models.iter().enumerate() {
        assert_eq!(counts(&data, model, seed), (33, 3));
    }
    let combine = |data: &Path, out: &str, split: &[&str]| {
        let mut combine = program("combine");
        combine.arg("--model").arg(models.each_ref().map(|model| model.to_str().unwrap()).join(","));
        combine.arg("--data").arg(data).args(["--layout", "mvtec"]).args(split);
        combine.arg("--out").arg(folder.path().join(out));
        combine
    };
    let said = succeed(&mut combine(&data, "both", &["--held-out-of", "train"])).out;
    assert!(said.contains("ensemble: 0.500 a/pixel-l1, 0.500 b/pixel-l1"), "{said}");

    let others =
        ["\"a\" was calibrated on 3 validation images", "the cases held out here give 3 validation images"];
    fail(&mut combine(&other, "wrong", &["--held-out-of", "train"]), &others);
    assert!(!folder.path().join("wrong").exists());
    // Lesions of the same split may choose, too: those of the other cases, without those that are held out.
    let same = ["--held-out-of", "train", "--lesions-of", "train"];
    succeed(&mut combine(&data, "same", &same));
    fail(&mut combine(&data, "none", &[]), &["no case belongs to the split \"val\"", "--held-out-of SPLIT"]);
}
