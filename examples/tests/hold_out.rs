//! `train` without `--validation` holds out every tenth patient, however the program was compiled: rustc 1.95 once
//! dropped the comparison that the number hung on, so that one was held out of hundreds. `.ci/run` asks the release
//! programs too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{program, succeed, write_pictures};

/// Counts of cases that train and that validate.
fn counts(data: &Path, out: &Path) -> (u64, u64) {
    let mut train = program("train");
    train.arg("--data").arg(data).arg("--out").arg(out).args(["--layout", "mvtec", "--model", "denoiser"]);
    train.args(["--size", "16", "--widths", "4,4", "--epochs", "1", "--batch", "64", "--median", "1,1,1"]);
    let said = succeed(&mut train).out;
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
        let found = counts(&data, &folder.path().join(format!("out{cases}")));
        assert_eq!(found, (cases as u64 - expected, expected), "of {cases}");
    }
}
