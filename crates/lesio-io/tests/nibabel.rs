//! What is written here, as nibabel reads it.
//!
//! Needs a Python with nibabel and numpy, named by `LESIO_PYTHON`; without it the test says so and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

use std::path::{Path, PathBuf};
use std::process::Command;

use lesio_image::{Geometry, Volume};
use lesio_io::WriteOptions;
use lesio_io::nifti::{Extension, NiftiVersion, Voxel, read_header};
use ndarray::Array3;
use serde_json::{Value, json};

fn write<T: Voxel + From<u8>>(folder: &Path, geometry: Geometry, expected: &mut Vec<Value>) {
    for version in [NiftiVersion::One, NiftiVersion::Two] {
        for ending in ["nii", "nii.gz", "hdr", "img.gz"] {
            let values = Array3::from_shape_fn((4, 3, 2), |(i, j, k)| T::from((i + 4 * j + 12 * k) as u8));
            let name = format!("{}-{}.{ending}", T::DATATYPE, version.number());
            let path = folder.join(&name);
            WriteOptions::new().version(version).write(&path, &Volume::new(values, geometry)).unwrap();
            expected.push(json!({
                "file": name,
                "shape": [4, 3, 2],
                "type": T::DATATYPE.name(),
                "affine": geometry.affine(),
                "values": (0..24).collect::<Vec<_>>(),
                "codes": [2, 2],
                "units": ["mm", "sec"],
                "extensions": [],
                "description": "",
            }));
        }
    }
}

#[test]
fn nibabel_reads_what_is_written() {
    let Some(python) = std::env::var_os("LESIO_PYTHON").map(PathBuf::from) else {
        println!("skipped: LESIO_PYTHON names no Python with nibabel");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let geometry = Geometry::new([
        [0.0, -2.0, 0.0, 5.5],
        [1.5, 0.0, 0.0, -7.25],
        [0.0, 0.0, 3.0, 1.0],
        [0.0, 0.0, 0.0, 1.0],
    ])
    .unwrap();
    let mut expected = Vec::new();
    write::<u8>(folder.path(), geometry, &mut expected);
    write::<u16>(folder.path(), geometry, &mut expected);
    write::<i16>(folder.path(), geometry, &mut expected);
    write::<u32>(folder.path(), geometry, &mut expected);
    write::<i32>(folder.path(), geometry, &mut expected);
    write::<u64>(folder.path(), geometry, &mut expected);
    write::<i64>(folder.path(), geometry, &mut expected);
    write::<f32>(folder.path(), geometry, &mut expected);
    write::<f64>(folder.path(), geometry, &mut expected);

    let mut header = read_header(folder.path().join("float32-1.nii")).unwrap();
    header.description = b"a description".to_vec();
    header.extensions =
        vec![Extension::new(6, b"a comment".to_vec()), Extension::new(4, b"<afni/>".to_vec())];
    (header.qform_code, header.sform_code, header.xyzt_units) = (1, 4, 2 | 16);
    let values = Array3::from_shape_fn((4, 3, 2), |(i, j, k)| (i + 4 * j + 12 * k) as f32);
    let volume = Volume::new(values, geometry);
    WriteOptions::new().like(&header).write(folder.path().join("like.nii.gz"), &volume).unwrap();
    expected.push(json!({
        "file": "like.nii.gz",
        "shape": [4, 3, 2],
        "type": "float32",
        "affine": geometry.affine(),
        "values": (0..24).collect::<Vec<_>>(),
        "codes": [1, 4],
        "units": ["mm", "msec"],
        "extensions": [[6, "a comment"], [4, "<afni/>"]],
        "description": "a description",
    }));

    std::fs::write(folder.path().join("expected.json"), serde_json::to_vec(&expected).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nibabel_check.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
