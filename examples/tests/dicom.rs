//! DICOM series as cases, as a user has them; skipped where the programs were built without the feature `dicom`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::Path;

use lesio::image::Volume;
use lesio::io::read_volume;
use support::{fail, head, program, ran, succeed, untrained_heads};

/// An element in explicit little endian.
fn element(bytes: &mut Vec<u8>, (group, number): (u16, u16), kind: &[u8; 2], value: &[u8]) {
    bytes.extend([group.to_le_bytes(), number.to_le_bytes()].concat());
    bytes.extend(kind);
    let length = value.len().next_multiple_of(2) as u32;
    if kind == b"OW" {
        bytes.extend([0, 0]);
        bytes.extend(length.to_le_bytes());
    } else {
        bytes.extend((length as u16).to_le_bytes());
    }
    bytes.extend(value);
    bytes.extend(vec![if kind == b"UI" { 0 } else { b' ' }; value.len() % 2]);
}

/// Writes the slices of a head as files, its values in thousandths.
fn write_series(folder: &Path, patient: &str, uid: &str, description: &str, volume: &Volume<f32>) {
    fs::create_dir_all(folder).unwrap();
    let [columns, rows, slices] = volume.shape();
    let [dx, dy, dz] = volume.geometry().spacing();
    for slice in 0..slices {
        let mut bytes = [&[0; 128][..], b"DICM"].concat();
        let mut put = |tag, kind, value: &[u8]| element(&mut bytes, tag, kind, value);
        put((0x0002, 0x0010), b"UI", b"1.2.840.10008.1.2.1");
        put((0x0008, 0x0060), b"CS", b"MR");
        put((0x0008, 0x103e), b"LO", description.as_bytes());
        put((0x0010, 0x0020), b"LO", patient.as_bytes());
        put((0x0020, 0x000e), b"UI", uid.as_bytes());
        put((0x0020, 0x0011), b"IS", b"2");
        put((0x0020, 0x0032), b"DS", format!("0\\0\\{}", dz * slice as f64).as_bytes());
        put((0x0020, 0x0037), b"DS", b"1\\0\\0\\0\\1\\0");
        put((0x0028, 0x0002), b"US", &1_u16.to_le_bytes());
        put((0x0028, 0x0004), b"CS", b"MONOCHROME2");
        put((0x0028, 0x0010), b"US", &(rows as u16).to_le_bytes());
        put((0x0028, 0x0011), b"US", &(columns as u16).to_le_bytes());
        put((0x0028, 0x0030), b"DS", format!("{dy}\\{dx}").as_bytes());
        put((0x0028, 0x0100), b"US", &16_u16.to_le_bytes());
        let pixels: Vec<u8> = (0..rows * columns)
            // The back of the head is down in a slice, and up in the volume.
            .map(|place| volume.data()[[place % columns, rows - 1 - place / columns, slice]])
            .flat_map(|value| ((value * 1000.0) as u16).to_le_bytes())
            .collect();
        put((0x7fe0, 0x0010), b"OW", &pixels);
        fs::write(folder.join(format!("IM{slice:04}")), bytes).unwrap();
    }
}

#[test]
fn series_are_mapped_and_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("model.safetensors"));
    for patient in 0..4 {
        let name = format!("P{patient}");
        let uid = format!("1.2.{patient}");
        write_series(&data.join(&name).join("study"), &name, &uid, "ax FLAIR", &head(patient).image);
    }
    write_series(&data.join("P0/other"), "P0", "1.3", "scout", &head(9).image);
    fs::remove_file(data.join("P1/study/IM0004")).unwrap();
    untrained_heads(&model);
    let out = folder.path().join("maps");
    let mut localize = program("localize");
    localize.arg("--model").arg(&model).arg("--input").arg(&data).arg("--out").arg(&out);
    localize.args(["--layout", "dicom", "--series", "flair", "--predictor", "pixel-l1"]);
    let said = ran(&mut localize);
    if said.err.contains("takes a build with the feature dicom") {
        assert_eq!(said.code, Some(1));
        return println!("skipped: the programs were built without the feature dicom");
    }
    // A series without one of its slices is listed, and the others are mapped.
    assert!(said.code == Some(1) && said.err.contains("1 of 4 images could not be mapped"), "{said:?}");
    let cases = fs::read_to_string(out.join("cases.csv")).unwrap();
    let lines: Vec<&str> = cases.lines().collect();
    assert!(lines[0].ends_with("error,modality,study_date,series_number,series_description"), "{cases}");
    assert!(
        lines[1].starts_with("P0_2_ax-FLAIR,P0,pixel-l1,") && lines[1].ends_with(",MR,,2,ax FLAIR"),
        "{cases}"
    );
    assert!(lines[4].starts_with("P1_2_ax-FLAIR,") && lines[4].contains("slice"), "{cases}");
    // On the grid of the series.
    let map = read_volume(out.join("P0_2_ax-FLAIR/pixel-l1.nii.gz")).unwrap();
    assert_eq!(map.shape(), head(0).image.shape());
    let (up, expected) = (map.geometry().to_world([0.0, 0.0, 1.0])[2], head(0).image.geometry().spacing()[2]);
    assert!((up - expected).abs() < 1e-5, "{up} {expected}");
    fail(localize.arg("--resume"), &["1 of 4 images could not be mapped"]);

    let mut train = program("train");
    train.arg("--data").arg(&data).args(["--layout", "dicom", "--series", "flair", "--split", "all"]);
    train.args(["--epochs", "1", "--size", "32", "--widths", "4,8", "--latent", "4", "--batch", "8"]);
    fail(train.arg("--out").arg(folder.path().join("model")), &["P1_2_ax-FLAIR was left out"]);
    fs::remove_dir_all(data.join("P1")).unwrap();
    let mut recalibrate = program("recalibrate");
    recalibrate
        .arg("--data")
        .arg(&data)
        .args(["--layout", "dicom", "--series", "flair"])
        .arg("--model")
        .arg(&model);
    let said = succeed(recalibrate.arg("--out").arg(folder.path().join("again"))).out;
    assert!(said.contains("calibrated on 3 images"), "{said}");
}
