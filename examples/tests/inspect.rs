//! `inspect --json`: what it prints of good files, of bad ones, and of those that others read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::Path;

use lesio::image::{Geometry, Volume};
use lesio::io::write_volume;
use ndarray::Array3;
use serde_json::Value;
use support::{manifest_folder, program, ran};

/// What is printed of a file, which must be one JSON object, and whether the exit code was 0.
fn inspect(path: &Path) -> (Value, bool) {
    let ran = ran(program("inspect").arg("--json").arg(path));
    assert!(matches!(ran.code, Some(0 | 1)), "{}: {:?} {}", path.display(), ran.code, ran.err);
    assert_eq!(ran.out.lines().count(), 1, "{}: {}", path.display(), ran.out);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["reads"] == true, ran.code == Some(0), "{}", path.display());
    (found, ran.code == Some(0))
}

/// A number, which stands as text where JSON has none for it.
fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).unwrap()
}

fn close(found: &Value, expected: &Value, relative: f64) -> bool {
    let (a, b) = (number(found), number(expected));
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= relative * a.abs().max(b.abs())
}

/// Real files of others' test sets, and what nibabel 5.4.2 reads in them.
#[test]
fn every_real_file_is_told_as_nibabel_reads_it() {
    let folder = manifest_folder().join("../../shared/data/nifti-files");
    if !folder.is_dir() {
        println!("skipped: {} is not present", folder.display());
        return;
    }
    let expected: Value = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let expected = expected.as_object().unwrap();
    assert_eq!(expected.len(), 92);
    let mut refused = 0;
    for (name, expected) in expected {
        let path = folder.join(name);
        let (found, reads) = inspect(&path);
        assert_eq!(expected["reads"], reads, "{name}: {found}");
        if !reads {
            refused += 1;
            let (kind, message) = (&found["error"]["kind"], found["error"]["message"].as_str().unwrap());
            assert!(kind.as_str().unwrap().starts_with(|c: char| c.is_ascii_uppercase()), "{name}: {kind}");
            // It may be the other file of a pair that is at fault.
            let stem = path.file_stem().unwrap().to_str().unwrap().split('.').next().unwrap();
            assert!(message.contains(stem), "{name}: {message}");
            continue;
        }
        for key in ["version", "shape", "datatype", "byte_order", "axcodes"] {
            assert_eq!(found[key], expected[key], "{name}: {key}");
        }
        for row in 0..4 {
            for column in 0..4 {
                let (a, b) =
                    (number(&found["affine"][row][column]), number(&expected["affine"][row][column]));
                assert!((a - b).abs() < 1e-6, "{name}: affine {row} {column}: {a} {b}");
            }
        }
        // Colours and complex numbers have no sum.
        if expected.get("sum").is_none() {
            assert!(
                found.get("sum").is_none() && !found["datatype_name"].as_str().unwrap().is_empty(),
                "{name}"
            );
            continue;
        }
        assert_eq!(found["nonfinite"], expected["nonfinite"], "{name}");
        for key in ["sum", "min", "max"] {
            assert!(close(&found[key], &expected[key], 1e-12), "{name}: {key} is {}", found[key]);
        }
        let (first, wanted) = (found["first"].as_array().unwrap(), expected["first"].as_array().unwrap());
        assert_eq!(first.len(), wanted.len(), "{name}");
        assert!(first.iter().zip(wanted).all(|(a, b)| close(a, b, 0.0)), "{name}: {first:?}");
    }
    assert_eq!(refused, 12);
}

#[test]
fn what_is_not_finite_is_told_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    let mut data = Array3::from_elem((2, 2, 1), f32::NAN);
    write_volume(&path, &Volume::new(data.clone(), Geometry::default())).unwrap();
    let (found, _) = inspect(&path);
    assert_eq!(
        (&found["min"], &found["max"], &found["nonfinite"]),
        (&"nan".into(), &"nan".into(), &4.into())
    );
    assert_eq!(
        (&found["sum"], &found["first"]),
        (&0.0.into(), &serde_json::json!(["nan", "nan", "nan", "nan"]))
    );
    data[[0, 0, 0]] = f32::NEG_INFINITY;
    data[[1, 0, 0]] = 2.5;
    let path = folder.path().join("b.nii");
    write_volume(&path, &Volume::new(data, Geometry::default())).unwrap();
    let (found, _) = inspect(&path);
    assert_eq!(found["first"], serde_json::json!(["-inf", 2.5, "nan", "nan"]));
    assert_eq!((&found["sum"], &found["min"], &found["nonfinite"]), (&2.5.into(), &2.5.into(), &3.into()));
}

#[test]
fn what_is_refused_has_a_kind_and_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("empty.nii"), b"").unwrap();
    fs::write(at("text.nii"), b"no image ".repeat(60)).unwrap();
    fs::write(at("plain.nii.gz"), [0; 400]).unwrap();
    fs::write(at("alone.img"), [0; 400]).unwrap();
    fs::write(at("notes.txt"), b"text").unwrap();
    fs::write(at("bad.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    fs::write(at("bad.safetensors"), b"{}").unwrap();
    fs::create_dir(at("folder.nii")).unwrap();
    let mut cases = vec![
        ("absent.nii", "NotFound"),
        ("absent.safetensors", "NotFound"),
        ("empty.nii", "Truncated"),
        ("text.nii", "NotNifti"),
        ("plain.nii.gz", "GzipCorrupt"),
        ("alone.img", "MissingPair"),
        ("notes.txt", "UnknownFormat"),
        ("bad.png", "Decode"),
        ("bad.safetensors", "Format"),
        ("folder.nii", "NotRegularFile"),
    ];
    if cfg!(unix) {
        // To open a pipe would wait for a writer, for ever.
        for name in ["pipe.nii", "pipe.safetensors", "pipe.png"] {
            let made = std::process::Command::new("mkfifo").arg(at(name)).status().unwrap();
            assert!(made.success());
            cases.push((name, "NotRegularFile"));
        }
    }
    for (name, kind) in cases {
        let (found, reads) = inspect(&at(name));
        assert!(!reads, "{name}");
        assert_eq!(found["error"]["kind"], kind, "{name}: {found}");
        let message = found["error"]["message"].as_str().unwrap();
        assert!(message.contains(name) || name == "alone.img" && message.contains("alone.hdr"), "{message}");
    }
}
