//! Real files of others' test sets, and what nibabel 5.4.2 reads in them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

mod support;

use std::path::{Path, PathBuf};

use lesio_image::Orientation;
use lesio_io::nifti::NiftiImage;
use lesio_io::{ReadError, ReadErrorKind, read_volume};
use serde_json::Value;
use support::data;

fn close(a: f64, b: f64, relative: f64) -> bool {
    (a - b).abs() <= relative * b.abs().max(1e-12) || a == b || a.is_nan() && b.is_nan()
}

/// A number, which stands as text where JSON has none for it.
fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).unwrap()
}

/// What must be refused, by which name, and why nibabel refuses it, too.
const REFUSED: &[(&str, &str)] = &[
    // Analyze, which does not tell left from right.
    ("nibabel/analyze.hdr", "NotNifti"),
    // Headers without voxels.
    ("nibabel/nifti1.hdr", "MissingPair"),
    ("nibabel/nifti2.hdr", "MissingPair"),
    ("nifti-rs/resources/avg152T1_LR_nifti.hdr.gz", "MissingPair"),
    // CIFTI-2: a matrix of brain models.
    ("nibabel/row_major.dconn.nii", "UnsupportedIntent"),
    // Found by fuzzing of another reader.
    ("nifti-rs/resources/fuzz_artifacts/crash-08123ef33416bd6f0c5fa63d44b681b8581d62a0", "UnknownFormat"),
    ("nifti-rs/resources/fuzz_artifacts/crash-98aa054390f8d3f932f190dc22ef62c6ff2d6619", "UnknownFormat"),
    ("nifti-rs/resources/fuzz_artifacts/crash-d03c6346fe83a026738f6b8cd2a9335a3f8cb158", "UnknownFormat"),
    ("nifti-rs/resources/fuzz_artifacts/crash-1.nii", "NotNifti"),
    ("nifti-rs/resources/fuzz_artifacts/crash-ed7d46344d7efb3b9f0c374d66d2e02f66cc447d.nii", "NotNifti"),
];

/// A plain header with compressed voxels, for which nibabel does not look.
const READ_BY_US: &[&str] = &["nifti-rs/resources/minimal2.hdr", "nifti-rs/resources/minimal2.img.gz"];

#[test]
fn a_plain_header_finds_compressed_voxels() {
    let Some(folder) = data("nifti-files") else { return };
    let reference = NiftiImage::open(folder.join("nifti-rs/resources/minimal.hdr")).unwrap().read::<f64>();
    for name in READ_BY_US {
        let found = NiftiImage::open(folder.join(name)).unwrap().read::<f64>().unwrap();
        assert_eq!(found, *reference.as_ref().unwrap(), "{name}");
    }
}

#[test]
fn every_file_reads_as_nibabel_reads_it() {
    let Some(folder) = data("nifti-files") else { return };
    let expected: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
    let expected = expected.as_object().unwrap();
    assert_eq!(expected.len(), 92);
    let mut refused = Vec::new();
    for (name, expected) in expected.iter().filter(|(name, _)| !READ_BY_US.contains(&name.as_str())) {
        match check(&folder.join(name), expected) {
            Ok(()) => assert_eq!(expected["reads"], true, "{name} is read, nibabel refuses it"),
            Err(error) => {
                assert_eq!(expected["reads"], false, "{name} is read by nibabel: {error}");
                refused.push((name.as_str(), error.kind().name()));
            }
        }
    }
    let mut listed = REFUSED.to_vec();
    listed.sort_unstable();
    refused.sort_unstable();
    assert_eq!(refused, listed);
}

fn check(path: &Path, expected: &Value) -> Result<(), ReadError> {
    let mut image = NiftiImage::open(path)?;
    let name = path.display();
    let header = image.header().clone();
    assert_eq!(u64::from(header.version.number()), expected["version"], "{name}");
    assert_eq!(serde_json::to_value(&header.shape).unwrap(), expected["shape"], "{name}");
    assert_eq!(i64::from(header.datatype.code()), expected["datatype"], "{name}");
    assert_eq!(header.byte_order.to_string(), expected["byte_order"], "{name}");
    let codes: String = image.geometry().axis_codes().iter().map(ToString::to_string).collect();
    assert_eq!(codes, expected["axcodes"], "{name}");
    for (row, found) in image.geometry().affine().iter().enumerate() {
        for (column, &found) in found.iter().enumerate() {
            let wanted = number(&expected["affine"][row][column]);
            assert!((found - wanted).abs() < 1e-6, "{name} {row} {column}: {found} {wanted}");
        }
    }
    if !header.datatype.is_real() {
        let kind = image.statistics().unwrap_err();
        assert_eq!(kind.kind().name(), "UnsupportedDatatype");
        // Colors and complex numbers: as many as the shape says, and the same bytes.
        let raw = image.read_raw()?;
        assert_eq!(raw, std::fs::read(path).unwrap()[header.vox_offset as usize..]);
        if header.datatype.name().starts_with("complex") {
            image.read_complex()?;
        } else {
            image.read_rgba()?;
        }
        return Ok(());
    }
    let statistics = image.statistics()?;
    assert_eq!(statistics.nonfinite, expected["nonfinite"], "{name}");
    for (key, found) in [("sum", statistics.sum), ("min", statistics.min), ("max", statistics.max)] {
        assert!(close(found, number(&expected[key]), 1e-12), "{name} {key} {found}");
    }
    let first: Vec<f64> = expected["first"].as_array().unwrap().iter().map(number).collect();
    assert_eq!(first.len(), statistics.first.len());
    for (&found, &wanted) in statistics.first.iter().zip(&first) {
        assert!(close(found, wanted, 0.0), "{name}: {found} {wanted}");
    }
    // The array says the same as the stream.
    let all = image.read::<f64>()?;
    assert_eq!(all.shape().iter().map(|&size| size as u64).collect::<Vec<_>>(), header.shape);
    let first = all.t().iter().take(8).copied().collect::<Vec<_>>();
    assert!(first.iter().zip(&statistics.first).all(|(&a, &b)| close(a, b, 0.0)));
    match read_volume(path) {
        Ok(volume) => assert_eq!(volume.data().len(), all.len()),
        Err(error) => {
            assert!(matches!(error.kind(), ReadErrorKind::UnexpectedRank { .. }), "{error}");
            let volumes = image.read_volumes::<f32>()?;
            assert_eq!(volumes.len() as u64, image.volumes());
            assert_eq!(volumes[1], image.read_volume_at(1)?);
        }
    }
    Ok(())
}

#[test]
fn forty_eight_orientations_are_one_volume() {
    let Some(folder) = data("nifti-files/orientations/nifti_space") else { return };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "gz"));
    files.sort();
    assert_eq!(files.len(), 48);
    let reference = read_volume(&files[0]).unwrap().reoriented(&Orientation::RAS);
    for path in &files {
        let volume = read_volume(path).unwrap();
        // The letters of the name are those of the file's axes.
        let name = path.file_name().unwrap().to_str().unwrap();
        let turned = volume.reoriented(&Orientation::RAS);
        assert_eq!(turned.data(), reference.data(), "{name}");
        assert!(turned.geometry().is_close(reference.geometry(), 1e-4), "{name}");
    }
}
