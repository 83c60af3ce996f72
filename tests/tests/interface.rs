//! The public interface of each crate is the recorded one, and contains only the foreign types that are listed here.
#![allow(clippy::unwrap_used)] // A test may.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use lesio_tests::interface::Interface;
use lesio_tests::modules::Modules;

/// The crates whose types an interface may show. A change of such a crate's major version is a change of the interface.
///
/// Everywhere: `ndarray` holds images and masks, and `serde` and `serde_json` are what configurations and records are saved
/// with.
const FOREIGN: &[(&str, &[&str])] = &[
    ("lesio-anomaly", &["ndarray", "serde_json"]),
    ("lesio-grid", &["ndarray", "serde"]),
    ("lesio-image", &["ndarray"]),
    // The conversions of the feature `nifti`.
    ("lesio-io", &["ndarray", "nifti"]),
    ("lesio-metrics", &["ndarray"]),
    // candle by its feature; the generator of seeded random numbers; the cause of errors about model files.
    ("lesio-nn", &["candle_core", "rand_chacha", "safetensors", "serde", "serde_json"]),
    // The causes of errors about damaged files; the description of an export.
    ("lesio-onnx", &["prost", "serde_json"]),
    ("lesio-phantom", &["ndarray"]),
    ("lesio-quality", &["ndarray"]),
    // The cause of errors of the PNG encoder.
    ("lesio-report", &["ndarray", "png", "serde", "serde_json"]),
    // The documents of the feature `mutation`.
    ("lesio-settings", &["serde_json"]),
    ("lesio-study", &["ndarray", "serde", "serde_json"]),
    // candle by its feature.
    ("lesio-vae", &["candle_core"]),
];

/// Changes the records instead of comparing with them.
const UPDATE: &str = "LESIO_UPDATE_INTERFACE";

#[test]
fn interfaces_are_the_recorded_ones() {
    let records = root().join("tests/interface");
    let mut changes = Vec::new();
    for (name, interface) in interfaces() {
        let path = records.join(format!("{name}.txt"));
        let text: String = interface.lines.iter().map(|line| format!("{line}\n")).collect();
        if std::env::var_os(UPDATE).is_some() {
            fs::create_dir_all(&records).unwrap();
            fs::write(&path, text).unwrap();
            continue;
        }
        let recorded = fs::read_to_string(&path).unwrap_or_default();
        let recorded: BTreeSet<&str> = recorded.lines().collect();
        let found: BTreeSet<&str> = text.lines().collect();
        changes.extend(recorded.difference(&found).map(|line| format!("{name}: - {line}")));
        changes.extend(found.difference(&recorded).map(|line| format!("{name}: + {line}")));
    }
    assert!(
        changes.is_empty(),
        "public interfaces changed:\n{}\nIf this is intended, run `{UPDATE}=1 cargo test -p lesio-tests --test interface`, \
         commit tests/interface, and note the change in CHANGELOG.md.",
        changes.join("\n")
    );
}

#[test]
fn foreign_types_in_interfaces_are_listed() {
    for (name, interface) in interfaces() {
        let allowed: BTreeSet<&str> =
            FOREIGN.iter().filter(|(owner, _)| *owner == name).flat_map(|(_, all)| *all).copied().collect();
        let found: BTreeSet<&str> = interface.foreign.keys().map(String::as_str).collect();
        let unlisted: Vec<_> =
            found.difference(&allowed).map(|owner| (owner, &interface.foreign[*owner])).collect();
        assert!(unlisted.is_empty(), "{name} shows types that are not listed: {unlisted:#?}");
        assert!(found.is_superset(&allowed), "{name} lists {allowed:?} and shows {found:?}");
    }
}

/// A type's name means one thing in all crates.
#[test]
fn no_two_crates_have_types_of_one_name() {
    let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (crate_name, interface) in interfaces() {
        for name in interface.lines.iter().filter_map(|line| type_name(line)) {
            owners.entry(name.to_owned()).or_default().insert(crate_name.clone());
        }
    }
    assert!(owners.len() > 300, "{}", owners.len());
    owners.retain(|_, owners| owners.len() > 1);
    assert!(owners.is_empty(), "types of one name: {owners:#?}");
}

/// The name of the type that a line of an interface declares.
fn type_name(line: &str) -> Option<&str> {
    let kinds = ["struct crate::", "enum crate::", "trait crate::", "type crate::", "union crate::"];
    let (_, path) = kinds.iter().find_map(|kind| line.split_once(kind))?;
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(path.len());
    path[..end].trim_end_matches(':').rsplit("::").next()
}

/// Public items behind private modules are found, private ones are not, and foreign types are named.
#[test]
fn an_interface_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("lib.rs", "mod a; pub mod b; pub use a::{A, Hidden as Shown}; struct Private;");
    write(
        "a.rs",
        "use ndarray::Array2; pub struct A { pub x: Array2<f32>, y: u8 } pub enum Hidden { One(u8) } pub struct Inner; \
         impl A { pub fn new<T: Into<f64>>(x: T) -> Self { todo!() } fn own(&self) {} } impl Clone for A { fn clone(&self) -> A { todo!() } }",
    );
    write(
        "b.rs",
        "#[non_exhaustive] pub enum B { Two } #[cfg(feature = \"f\")] pub fn f(x: &csv::Error) {} #[cfg(test)] pub fn g() {}",
    );
    let found = Interface::of(&Modules::read(folder.path()));
    let expected = [
        "#[cfg(feature = \"f\")] fn crate::b::f(x: &csv::Error)",
        "#[non_exhaustive] enum crate::b::B",
        "enum crate::Shown",
        "impl Clone for A",
        "impl crate::A: fn new<T: Into<f64>>(x: T) -> Self",
        "mod crate::b",
        "struct crate::A { x: Array2<f32>, .. }",
        "variant crate::Shown::One(u8)",
        "variant crate::b::B::Two",
    ];
    assert_eq!(found.lines.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(found.foreign.keys().collect::<Vec<_>>(), ["csv", "ndarray"]);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn interfaces() -> Vec<(String, Interface)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let entry = entry.unwrap();
        let interface = Interface::of(&Modules::read(&entry.path().join("src")));
        all.push((entry.file_name().into_string().unwrap(), interface));
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}
