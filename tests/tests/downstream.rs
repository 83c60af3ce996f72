//! Programs of users, outside of this workspace: each builds and runs with one component of lesio, and pulls in no more
//! crates than stated.
#![allow(clippy::unwrap_used)] // A test may.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs with the most crates that each may pull in (lesio's and its own included), and what it prints. One crate more
/// is a decision, which changes the number here.
const PROGRAMS: &[(&str, usize, &str)] = &[
    ("metrics", 30, "AUROC 0.75, Dice 0.8\n"),
    ("io", 61, "3 channels, 1 x 2 pixels\ntruncated: true\n"),
    ("quality", 61, "1 Dice within 0 to 1: true\n"),
    ("own_predictor", 61, "0 faults\n"),
    ("facade", 97, "a map of [24, 24, 2] voxels\n"),
];

/// Crates that a component must not pull in.
const HEAVY: &[&str] = &["candle-core", "clap", "gemm"];

#[test]
fn programs_of_users_build_run_and_stay_light() {
    let workspace = root().join("tests/downstream");
    // The versions of this workspace, so that nothing is downloaded or compiled twice. Cargo drops what is not needed.
    fs::copy(root().join("Cargo.lock"), workspace.join("Cargo.lock")).unwrap();
    for &(name, most, expected) in PROGRAMS {
        let package = format!("downstream-{name}");
        let tree =
            cargo(&workspace, &["tree", "--package", &package, "--edges", "normal", "--prefix", "none"]);
        let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(
            crates.len() <= most,
            "{package} pulls in {} crates, at most {most}: {crates:?}",
            crates.len()
        );
        let heavy: Vec<_> = HEAVY.iter().filter(|heavy| crates.contains(*heavy)).collect();
        assert!(heavy.is_empty(), "{package} pulls in {heavy:?}");
        println!("{package}: {} crates", crates.len());
        assert_eq!(cargo(&workspace, &["run", "--quiet", "--package", &package]), expected, "{package}");
    }
}

/// A dependency with another profile than in this workspace is compiled again, which takes minutes and is seen nowhere.
#[test]
fn dependencies_have_the_profile_of_the_workspace() {
    let settings = |path: PathBuf| -> BTreeSet<String> {
        let manifest = fs::read_to_string(path).unwrap();
        let (_, profile) = manifest.split_once("[profile.dev]").unwrap();
        let profile = profile.split("[profile.release]").next().unwrap();
        let lines = profile.lines().filter(|line| line.contains('=') && !line.starts_with("lesio"));
        lines.map(str::to_owned).collect()
    };
    let own = settings(root().join("tests/downstream/Cargo.toml"));
    assert_eq!(own, settings(root().join("Cargo.toml")));
    assert!(own.len() > 10);
}

/// What a call of cargo prints.
fn cargo(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The target folder of this workspace, whose compiled dependencies are reused.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
