//! `inspect --json`: what it prints of good files, of bad ones, and of those that others read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::Path;

use lesio::anomaly::Localizer;
use lesio::image::{Geometry, Volume};
use lesio::io::write_volume;
use lesio::nn::{Parameter, ParameterSet, model_file};
use ndarray::Array3;
use serde_json::{Value, json};
use support::{fail, manifest_folder, program, ran, succeed, untrained_heads};

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

/// The same image as a plain header with plain voxels.
const MINIMAL: &str = "nifti-rs/resources/minimal.hdr";

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
        // A plain header with compressed voxels, for which nibabel does not look.
        if name.contains("minimal2.") {
            assert_eq!((reads, &found["sum"]), (true, &inspect(&folder.join(MINIMAL)).0["sum"]), "{name}");
            continue;
        }
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
        // Colors and complex numbers have no sum.
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
    assert_eq!(refused, 10);
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

/// The JSON of a file that is read.
fn with(path: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(program("inspect").arg("--json").arg(path).args(arguments)).out).unwrap()
}

/// A plain NIfTI-1 file of voxels of 1.5, 1.5 and 10, of which some bytes of the header are changed.
fn changed(path: &Path, bytes: &[(usize, &[u8])]) {
    let spacing = Geometry::from_spacing([1.5, 1.5, 10.0]).unwrap();
    let _ = fs::remove_file(path);
    write_volume(path, &Volume::new(Array3::from_elem((4, 5, 6), 1_u8), spacing)).unwrap();
    let mut content = fs::read(path).unwrap();
    for &(at, value) in bytes {
        content[at..at + value.len()].copy_from_slice(value);
    }
    fs::write(path, content).unwrap();
}

#[test]
fn the_header_has_its_unit_and_millimeters_stand_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    for (code, unit, factor) in [(1, "m", 1e3), (2, "mm", 1.0), (3, "um", 1e-3), (0, "of unknown unit", 1.0)]
    {
        changed(&path, &[(123, &[code])]);
        let found = with(&path, &[]);
        assert_eq!((&found["units"], &found["affine_source"]), (&json!(unit), &json!("sform")));
        assert_eq!((&found["affine"][2][2], &found["spacing"]), (&json!(10.0), &json!([1.5, 1.5, 10.0])));
        assert_eq!(number(&found["affine_mm"][2][2]), 10.0 * factor);
        assert_eq!(number(&found["spacing_mm"][0]), 1.5 * factor);
    }
    changed(&path, &[(123, &[3])]);
    let text = succeed(program("inspect").arg(&path)).out;
    assert!(text.contains("1.5 x 1.5 x 10 um, or 0.0015 x 0.0015 x 0.01 mm"), "{text}");
    changed(&path, &[(123, &[7])]);
    assert!(with(&path, &[])["problems"].to_string().contains("millimeters are assumed"));
}

#[test]
fn forms_that_differ_are_told_and_can_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    let one = 1_f32.to_le_bytes();
    // The matrix alone says one millimeter.
    changed(&path, &[(280, &one), (300, &one), (320, &one)]);
    let found = with(&path, &[]);
    let told = found["problems"][1].as_str().unwrap();
    assert!(told.contains("1 x 1 x 1 mm by sform and 1.5 x 1.5 x 10 mm by qform and pixdim"), "{found}");
    assert_eq!((&found["spacing_mm"], &found["affine_source"]), (&json!([1.0, 1.0, 1.0]), &json!("sform")));
    let found = with(&path, &["--affine", "qform"]);
    assert_eq!((&found["spacing_mm"], &found["affine_source"]), (&json!([1.5, 1.5, 10.0]), &json!("qform")));
    assert_eq!(found["affine"][2][2], json!(10.0));
    assert_eq!(with(&path, &["--affine", "sform"])["spacing_mm"], json!([1.0, 1.0, 1.0]));
    let text = succeed(program("inspect").arg(&path).args(["--affine", "qform"])).out;
    assert!(text.contains("(qform, code 2)") && text.contains("qform and pixdim is taken"), "{text}");
    // qform_code
    changed(&path, &[(252, &[0, 0])]);
    fail(program("inspect").arg(&path).args(["--affine", "qform"]), &["a.nii", "has no qform"]);
    assert_eq!(ran(program("inspect").arg(&path).args(["--affine", "both"])).code, Some(2));
}

#[test]
fn what_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    // 5000 x 5000 x 4300 voxels, of which the disk holds none.
    let dim: Vec<u8> = [3_i16, 5000, 5000, 4300].iter().flat_map(|size| size.to_le_bytes()).collect();
    changed(&path, &[(40, &dim)]);
    let sparse = fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(352 + 5000 * 5000 * 4300);
    if let Err(error) = sparse {
        println!("a sparse file is skipped: {error}");
    } else {
        let found = with(&path, &[]);
        assert_eq!((&found["scanned"], found.get("sum")), (&json!(false), None));
        let told = found["problems"][0].as_str().unwrap();
        assert!(told.contains("need 400.4687 GiB") && told.contains("the limit is 2 GiB"), "{told}");
    }
    changed(&path, &[]);
    // 120 voxels as 32-bit floats are 480 bytes.
    for (limit, scanned) in [("0.00000044", false), ("0.00000045", true), ("2", true), ("1e3", true)] {
        let found = with(&path, &["--max-memory", limit]);
        assert_eq!(found["scanned"], scanned, "{limit}: {found}");
    }
    for limit in ["0", "-1", "nan", "inf", "x", ""] {
        let argument = format!("--max-memory={limit}");
        assert_eq!(ran(program("inspect").arg(&path).arg(argument)).code, Some(2), "{limit}");
    }
    let model = folder.path().join("model.safetensors");
    untrained_heads(&model);
    fail(program("inspect").arg(&model).args(["--max-memory", "0.00001"]), &["the limit is 10737"]);
    // A header that is not there, in a file of as many gigabytes as a model could have.
    if fs::OpenOptions::new().write(true).open(&model).unwrap().set_len(2 << 30).is_ok() {
        fail(program("inspect").arg(&model), &["model.safetensors", "not a safetensors file"]);
    }
}

#[test]
fn nothing_that_a_file_holds_acts_on_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a\u{1b}[31m\u{9b}2Jb.nii");
    changed(&path, &[(148, "\u{1b}]0;title\u{7}\u{9b}31m\n  problem      none\0".as_bytes())]);
    let broken = folder.path().join("c\u{1b}[31m\nerror: d.nii");
    fs::write(&broken, b"text").unwrap();
    let model = folder.path().join("model\u{1b}[31m.safetensors");
    let mut parameters = ParameterSet::new();
    parameters.insert("a\u{1b}[31m", Parameter::new(vec![1], vec![1.0]).unwrap());
    model_file::save(&model, "a\u{1b}[31m localizer", 1, &parameters, &json!({"a\u{9b}": "\u{1b}"})).unwrap();
    for path in [path, broken, model] {
        for json in [false, true] {
            let ran = ran(program("inspect").arg(&path).args(json.then_some("--json")));
            let printed = format!("{}{}", ran.out, ran.err);
            let acts = |c: &char| c.is_control() && *c != '\n';
            assert_eq!(printed.chars().find(acts), None, "{printed:?}");
            assert_eq!(printed.matches("\nerror: d").count(), 0, "{printed}");
            assert_eq!(printed.lines().filter(|line| line.starts_with("  problem ")).count(), {
                usize::from(!json && ran.code == Some(0))
            });
        }
    }
}

/// What a program would refuse is refused here, and the other way round.
#[test]
fn models_are_loaded_as_programs_load_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    untrained_heads(&path);
    // A model is also named by its folder, as in other programs.
    assert_eq!(inspect(folder.path()), inspect(&path));
    let empty = tempfile::tempdir().unwrap();
    fail(program("inspect").arg(empty.path()), &["is a folder", "contains no model.safetensors"]);
    let (parameters, document): (_, Value) =
        model_file::load(&path, "a localizer", with(&path, &[])["version"].as_u64().unwrap() as u32, 1 << 30)
            .unwrap();
    let version = with(&path, &[])["version"].as_u64().unwrap() as u32;
    for (kind, version) in [("a localizer", version + 1), ("a localizer", 0), ("a thing", version), ("", 0)] {
        model_file::save(&path, kind, version, &parameters, &document).unwrap();
        let (found, reads) = inspect(&path);
        assert!(!reads && found["error"]["kind"] == "Kind", "{kind} {version}: {found}");
    }
    // The document of another kind, and parameters that are not those of its networks.
    for kind in ["a quality model", "a quality estimator", "a denoiser", "a variational autoencoder"] {
        for version in 1..=3 {
            model_file::save(&path, kind, version, &parameters, &document).unwrap();
            assert!(!inspect(&path).1, "{kind} {version}");
        }
    }
    // Every number of the document, made what it can hardly be.
    let mut agreed = 0;
    for pointer in pointers(&document, "") {
        for value in [json!(-1), json!(0), json!(2)] {
            let mut changed = document.clone();
            *changed.pointer_mut(&pointer).unwrap() = value.clone();
            model_file::save(&path, "a localizer", version, &parameters, &changed).unwrap();
            let loads = Localizer::load(&path, &lesio::nn::Device::Cpu).is_ok();
            assert_eq!(inspect(&path).1, loads, "{pointer} is {value}");
            agreed += 1;
        }
    }
    assert!(agreed > 50, "{agreed}");
}

/// Where the whole numbers of a document are, at most one of each list.
fn pointers(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, value)| pointers(value, &format!("{at}/{name}"))).collect()
        }
        Value::Array(items) => {
            items.iter().take(1).flat_map(|item| pointers(item, &format!("{at}/0"))).collect()
        }
        Value::Number(_) => vec![at.to_owned()],
        _ => Vec::new(),
    }
}
