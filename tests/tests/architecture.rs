//! What the crates may use, and what they never do: `docs/architecture.md`, as a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test may.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crates of lesio that each crate may use. Every arrow goes from a line to lines above it.
const ARROWS: &[(&str, &[&str])] = &[
    ("lesio-settings", &[]),
    ("lesio-files", &[]),
    ("lesio-grid", &[]),
    ("lesio-image", &["lesio-grid", "lesio-settings"]),
    ("lesio-metrics", &["lesio-grid", "lesio-settings"]),
    ("lesio-kernels", &["lesio-settings"]),
    ("lesio-phantom", &["lesio-image", "lesio-settings"]),
    ("lesio-io", &["lesio-files", "lesio-image", "lesio-settings"]),
    ("lesio-report", &["lesio-files", "lesio-image", "lesio-metrics"]),
    ("lesio-nn", &["lesio-files", "lesio-kernels", "lesio-settings"]),
    ("lesio-vae", &["lesio-image", "lesio-nn", "lesio-settings"]),
    ("lesio-anomaly", &["lesio-image", "lesio-nn", "lesio-settings", "lesio-vae"]),
    ("lesio-quality", &["lesio-image", "lesio-metrics", "lesio-nn", "lesio-settings"]),
    (
        "lesio-onnx",
        &["lesio-anomaly", "lesio-files", "lesio-image", "lesio-nn", "lesio-settings", "lesio-vae"],
    ),
    (
        "lesio-study",
        &[
            "lesio-anomaly",
            "lesio-image",
            "lesio-io",
            "lesio-metrics",
            "lesio-nn",
            "lesio-phantom",
            "lesio-quality",
            "lesio-report",
            "lesio-settings",
            "lesio-vae",
        ],
    ),
    (
        "lesio",
        &[
            "lesio-anomaly",
            "lesio-image",
            "lesio-io",
            "lesio-metrics",
            "lesio-nn",
            "lesio-onnx",
            "lesio-phantom",
            "lesio-quality",
            "lesio-report",
            "lesio-study",
            "lesio-vae",
        ],
    ),
];

/// Crates that each crate brings along without a feature, itself and those of lesio included, at most. A crate more is
/// a decision.
const MOST_CRATES: &[(&str, usize)] = &[
    ("lesio-settings", 7),
    ("lesio-files", 7),
    ("lesio-grid", 20),
    ("lesio-image", 24),
    ("lesio-metrics", 29),
    ("lesio-kernels", 15),
    ("lesio-phantom", 32),
    ("lesio-io", 62),
    ("lesio-report", 50),
    ("lesio-nn", 52),
    ("lesio-vae", 60),
    ("lesio-anomaly", 61),
    ("lesio-quality", 61),
    ("lesio-onnx", 67),
    ("lesio-study", 95),
];

/// What only programs that ask for it bring along: candle and its matrix products, and, for pictures that are drawn, what
/// decodes photographs.
const OPTIONAL: &[&str] = &["candle-core", "candle-nn", "gemm"];
const DECODERS: &[&str] = &["image", "jpeg-decoder", "tiff", "weezl", "zune-jpeg"];

/// Crates that never touch a file, and what would be a sign of it.
const WITHOUT_FILES: &[&str] =
    &["lesio-settings", "lesio-grid", "lesio-image", "lesio-metrics", "lesio-kernels", "lesio-phantom"];
const FILE_CRATES: &[&str] = &["flate2", "image", "memmap2", "nifti", "safetensors", "tempfile", "tiff"];

/// What is for programs, not for libraries.
const PROGRAM_CRATES: &[&str] =
    &["anyhow", "clap", "color-eyre", "env_logger", "indicatif", "tracing-subscriber"];

#[test]
fn every_arrow_points_the_right_way() {
    let crates = crates();
    let known: BTreeSet<&str> = ARROWS.iter().map(|&(name, _)| name).collect();
    let found: BTreeSet<&str> = crates.keys().map(String::as_str).collect();
    assert_eq!(found, known, "a crate is missing in the table of arrows, or is no more");
    let mut above = BTreeSet::new();
    for (name, allowed) in ARROWS {
        for used in &crates[*name].own {
            assert!(allowed.contains(&used.as_str()), "{name} uses {used}");
        }
        assert!(allowed.iter().all(|used| above.contains(used)), "the table itself has a circle at {name}");
        above.insert(*name);
    }
}

#[test]
fn crates_use_nothing_that_they_never_use() {
    let crates = crates();
    for (name, found) in &crates {
        for outside in &found.outside {
            assert!(!PROGRAM_CRATES.contains(&outside.as_str()), "{name} is a library and uses {outside}");
        }
    }
    for &name in WITHOUT_FILES {
        for outside in &crates[name].outside {
            assert!(!FILE_CRATES.contains(&outside.as_str()), "{name} uses {outside}");
        }
        for (path, line) in lines(&crates[name].sources()) {
            assert!(!line.contains("std::fs") && !line.contains("File::"), "{}: {line}", path.display());
        }
    }
    for outside in &crates["lesio-kernels"].outside {
        // libc asks the system for large pages, nothing else.
        assert!(
            ["libc", "rayon", "serde", "thiserror"].contains(&outside.as_str()),
            "lesio-kernels uses {outside}"
        );
    }
    let facade = &crates["lesio"].outside;
    assert!(facade.is_empty(), "the facade has logic? {facade:?}");
}

#[test]
fn components_stay_light() {
    for &(name, most) in MOST_CRATES {
        let brought = brought_along(name, &[]);
        let optional = brought.iter().find(|&(found, _)| OPTIONAL.contains(&found.as_str()));
        assert_eq!(optional, None, "{name} brings it along");
        assert!(brought.len() <= most, "{name} brings {} crates along: {brought:?}", brought.len());
    }
    let has = |name: &str, options: &[&str], one: &str| {
        brought_along(name, options).iter().any(|(found, _)| found == one)
    };
    for decoder in DECODERS {
        assert!(
            !has("lesio-report", &[], decoder),
            "lesio-report decodes nothing, and brings {decoder} along"
        );
    }
    for optional in ["candle-core", "lesio-quality", "lesio-report", "lesio-study"] {
        assert!(!has("lesio", &["--no-default-features"], optional), "{optional}");
        assert!(has("lesio", &[], optional), "{optional}");
    }
}

/// Names and versions of a crate and of all that it brings along to those who use it.
fn brought_along(name: &str, options: &[&str]) -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--package",
            name,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(options)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let crate_of = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some((words.next()?, words.next()?))
    };
    text.lines().filter_map(crate_of).collect()
}

/// Where unsafe code may stand.
const UNSAFE: &[(&str, &str)] = &[("lesio-kernels", "src/raw"), ("lesio-nn", "src/candle/cuda/launch.rs")];

#[test]
fn unsafe_code_stands_where_it_may() {
    for (name, found) in &crates() {
        let root = fs::read_to_string(found.folder.join("src/lib.rs")).unwrap();
        let forbids = match name.as_str() {
            // The workspace denies it, and one module allows it.
            "lesio-kernels" => "",
            "lesio-nn" => "#![cfg_attr(not(feature = \"cuda\"), forbid(unsafe_code))]",
            _ => "forbid(unsafe_code)",
        };
        assert!(root.contains(forbids), "{name} does not forbid unsafe code");
        let allowed =
            UNSAFE.iter().find(|(owner, _)| owner == name).map(|(_, place)| found.folder.join(place));
        for (path, line) in lines(&found.sources()) {
            let code = line.split("//").next().unwrap_or_default();
            let is_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
                .iter()
                .any(|word| code.contains(word));
            let may = allowed.as_ref().is_some_and(|allowed| path.starts_with(allowed));
            assert!(!is_unsafe || may, "{}: {line}", path.display());
        }
    }
}

#[test]
fn every_package_follows_the_workspace() {
    for (name, found) in &crates() {
        let manifest = fs::read_to_string(found.folder.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} has lints of its own");
        for field in ["version", "edition", "rust-version", "license", "repository"] {
            assert!(
                manifest.contains(&format!("\n{field}.workspace = true\n")),
                "{name} has its own {field}"
            );
        }
        let root = fs::read_to_string(found.folder.join("src/lib.rs")).unwrap();
        assert!(root.starts_with("//! "), "{name} does not say what it is for");
    }
}

/// What docs/devices.md says of every crate that computes.
#[test]
fn crates_that_compute_pass_on_the_features_of_devices() {
    let crates = crates();
    let computing = |(_, found): &(&String, &Crate)| found.own.iter().any(|used| used == "lesio-nn");
    for (name, found) in crates.iter().filter(computing) {
        let manifest = fs::read_to_string(found.folder.join("Cargo.toml")).unwrap();
        for feature in ["candle", "cuda", "cudnn", "metal", "accelerate", "mkl"] {
            assert!(manifest.contains(&format!("\n{feature} = [")), "{name} has no feature {feature}");
        }
    }
}

/// README.md with the features and the Rust version, licenses, and a program that the doc tests run.
#[test]
fn every_package_has_a_front_door() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let version =
        workspace.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    for (name, found) in &crates() {
        let read = |file: &str| {
            fs::read_to_string(found.folder.join(file)).unwrap_or_else(|_| panic!("{name}: no {file}"))
        };
        let (readme, manifest, source) = (read("README.md"), read("Cargo.toml"), read("src/lib.rs"));
        assert!(readme.starts_with(&format!("# {name}\n")) && readme.contains("```rust\n"), "{name}");
        assert!(readme.contains(&format!("Rust {version} or newer")), "{name} states another Rust version");
        assert!(
            source.contains("#[doc = include_str!(\"../README.md\")]"),
            "{name} does not test its README.md"
        );
        for license in ["LICENSE-MIT", "LICENSE-APACHE"] {
            assert_eq!(read(license), fs::read_to_string(root().join(license)).unwrap(), "{name}: {license}");
        }
        let features = manifest.split("[features]\n").nth(1).unwrap_or_default();
        let features = features.lines().take_while(|line| !line.starts_with('['));
        for feature in features.filter_map(|line| line.split_once(" = [")).map(|(feature, _)| feature) {
            let is_named = feature == "default" || readme.contains(&format!("| `{feature}` |"));
            assert!(is_named, "{name}: README.md does not name the feature {feature}");
        }
    }
}

#[test]
fn the_readme_names_programs_that_exist() {
    let root = root();
    let manifest = fs::read_to_string(root.join("examples/Cargo.toml")).unwrap();
    let programs: BTreeSet<&str> = manifest
        .split("[[example]]")
        .skip(1)
        .map(|entry| entry.split('"').nth(1).expect("an example has a name"))
        .collect();
    for program in &programs {
        assert!(root.join("examples").join(format!("{program}.rs")).is_file(), "{program} has no source");
    }
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let named: BTreeSet<&str> = readme
        .lines()
        .filter(|line| line.contains("cargo run"))
        .filter_map(|line| line.split("--example ").nth(1)?.split([' ', '`']).next())
        .collect();
    assert!(named.contains("quickstart"), "README.md does not show the quickstart: {named:?}");
    assert!(readme.contains("cargo test --workspace"), "README.md does not show how to test");
    assert!(named.is_subset(&programs), "README.md runs {named:?}, there are {programs:?}");
}

/// A crate of `crates/`.
struct Crate {
    folder: PathBuf,
    /// What it is built of, tests apart.
    own: Vec<String>,
    outside: Vec<String>,
}

impl Crate {
    fn sources(&self) -> PathBuf {
        self.folder.join("src")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The crates by name, as cargo sees them.
fn crates() -> BTreeMap<String, Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut crates = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let folder = PathBuf::from(text(&package["manifest_path"])).parent().unwrap().to_owned();
        if folder.parent() != Some(&root().join("crates")) {
            continue;
        }
        let built_of =
            package["dependencies"].as_array().unwrap().iter().filter(|used| used["kind"] != "dev");
        let (own, outside) = built_of
            .map(|used| text(&used["name"]))
            .partition(|name| name == "lesio" || name.starts_with("lesio-"));
        crates.insert(text(&package["name"]), Crate { folder, own, outside });
    }
    crates
}

/// The lines of all Rust files below a folder, up to the unit tests, with their files.
fn lines(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(lines(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            all.extend(code.lines().map(|line| (path.clone(), line.to_owned())));
        }
    }
    all
}
