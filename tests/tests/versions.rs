//! The oldest allowed version of each dependency is the one that is built and tested.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

use std::fs;
use std::path::Path;

/// A requirement such as `1.0` would allow versions that lack what the code uses: nobody builds with them, so nothing
/// shows it. The requirements are therefore the versions of `Cargo.lock`.
#[test]
fn requirements_are_the_tested_versions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let (manifest, lock) = (read("Cargo.toml"), read("Cargo.lock"));
    let locked: Vec<(&str, &str)> = lock
        .split("[[package]]")
        .filter_map(|package| {
            let value = |key: &str| package.split_once(&format!("\n{key} = \""))?.1.split('"').next();
            // What follows a plus sign says what the version was built of.
            Some((value("name")?, value("version")?.split('+').next()?))
        })
        .collect();
    let table = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let mut checked = 0;
    for line in table.lines().filter(|line| !line.starts_with("lesio") && !line.starts_with('#')) {
        let Some((name, rest)) = line.split_once(" = ") else { continue };
        let stated = rest.strip_prefix("{ version = ").unwrap_or(rest).split('"').nth(1);
        let Some(stated) = stated.filter(|stated| stated.starts_with(|first: char| first.is_ascii_digit()))
        else {
            continue;
        };
        let found: Vec<&str> = locked.iter().filter(|(own, _)| *own == name).map(|(_, v)| *v).collect();
        assert!(found.contains(&stated), "{name}: Cargo.toml requires {stated}, Cargo.lock has {found:?}");
        checked += 1;
    }
    assert!(checked > 40, "only {checked} requirements were found");
    // Members inherit their requirements.
    for folder in fs::read_dir(root.join("crates")).unwrap() {
        let path = folder.unwrap().path().join("Cargo.toml");
        for line in fs::read_to_string(&path).unwrap().lines() {
            let own = line.split_once(" = ").is_some_and(|(name, rest)| {
                let versioned = rest.starts_with('"') || rest.starts_with("{ version");
                versioned
                    && rest.contains(|c: char| c.is_ascii_digit())
                    && locked.iter().any(|(own, _)| *own == name)
            });
            assert!(!own, "{}: {line}: expected `.workspace = true`", path.display());
        }
    }
}

/// A program that takes its types from another version of a crate than lesio does not compile.
#[test]
fn versions_in_the_guide_are_those_of_the_workspace() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let (manifest, guide) = (read("Cargo.toml"), read("docs/guide/README.md"));
    let block = guide.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let mut checked = Vec::new();
    for line in block.lines() {
        let Some((name, rest)) = line.split_once(" = ") else { continue };
        let Some(stated) = rest.strip_prefix('"').map(|rest| rest.trim_end_matches('"')) else { continue };
        let own = manifest.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
        let own = own.unwrap_or_else(|| panic!("{name} is not a dependency of lesio"));
        assert!(
            own.starts_with(&format!("{stated}.")),
            "{name}: the guide states {stated}, lesio uses {own}"
        );
        checked.push(name);
    }
    assert_eq!(checked, ["ndarray", "candle-core", "candle-nn"]);
}
