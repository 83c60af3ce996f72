//! The kernels for CUDA take what Rust hands over: a wrong number of arguments writes anywhere on a card.
//!
//! Reads the sources, so that it runs where there is no card.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Inputs, numbers and floats after the output.
type Signature = [usize; 3];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/candle/cuda")
}

/// What `kernels.cu` declares.
fn declared() -> BTreeMap<String, Signature> {
    let source = fs::read_to_string(folder().join("kernels.cu")).unwrap().replace("\\\n", " ");
    let mut found = BTreeMap::new();
    for part in source.split("extern \"C\" __global__ void").skip(1) {
        let part = part.trim_start().trim_start_matches("__launch_bounds__(128)").trim_start();
        let (name, rest) = part.split_once('(').unwrap();
        let mut parameters = rest.split_once(')').unwrap().0.split(',').map(str::trim);
        assert!(parameters.next().unwrap().starts_with("float *"), "{name} begins with its output");
        let kinds: Vec<usize> = parameters
            .map(|parameter| match parameter {
                _ if parameter.starts_with("const float *") => 0,
                _ if parameter.starts_with("unsigned ") => 1,
                _ if parameter.starts_with("float ") && !parameter.contains('*') => 2,
                _ => panic!("{name}: {parameter}"),
            })
            .collect();
        assert!(kinds.is_sorted(), "{name}: inputs, then numbers, then floats");
        let signature = [0, 1, 2].map(|kind| kinds.iter().filter(|&&found| found == kind).count());
        found.insert(name.trim().to_owned(), signature);
    }
    // A macro declares the same for each of its names.
    let of_macro = found.remove("NAME").unwrap();
    for line in source.lines().filter_map(|line| line.strip_prefix("DIRECT(")) {
        found.insert(line.split_once(',').unwrap().0.to_owned(), of_macro);
    }
    found
}

/// What the Rust code says of each kernel that it starts.
fn started() -> BTreeMap<String, BTreeSet<Signature>> {
    let mut found: BTreeMap<String, BTreeSet<Signature>> = BTreeMap::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (place, _) in text.match_indices("Kernel { name") {
            let body = text[place..].split_once('}').unwrap().0;
            let number = |field: &str| -> usize {
                let value = body.split_once(&format!("{field}: ")).unwrap().1;
                value.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
            };
            let signature = ["inputs", "numbers", "floats"].map(number);
            let names: Vec<&str> = match body.split_once("name: \"") {
                Some((_, rest)) => vec![rest.split_once('"').unwrap().0],
                // Chosen just before.
                None => {
                    let quoted =
                        text[..place].rsplit_once("let name").unwrap().1.split('"').skip(1).step_by(2);
                    // Messages of errors have spaces.
                    quoted.filter(|text| !text.contains(' ')).collect()
                }
            };
            for name in names {
                found.entry(name.to_owned()).or_default().insert(signature);
            }
        }
    }
    found
}

#[test]
fn kernels_take_what_they_are_given() {
    let (declared, started) = (declared(), started());
    assert_eq!(declared.keys().collect::<Vec<_>>(), started.keys().collect::<Vec<_>>());
    assert!(declared.len() > 20);
    for (name, signatures) in started {
        assert_eq!(signatures.into_iter().collect::<Vec<_>>(), [declared[&name]], "{name}");
    }
}
