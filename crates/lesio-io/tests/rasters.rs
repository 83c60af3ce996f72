//! Pictures of every kind, against what other decoders give (`rasters/make.py`), and pictures that are damaged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

use std::fs;
use std::path::{Path, PathBuf};

use lesio_io::ReadOptions;

/// One entry of `expected.json`: the values, their checksum, or the error.
#[derive(serde::Deserialize)]
struct Expected {
    shape: Option<[usize; 3]>,
    checksum: Option<u32>,
    bytes: Option<String>,
    within: Option<f32>,
    error: Option<String>,
}

fn golden() -> PathBuf {
    // A folder made with `--all` has every pair of settings.
    std::env::var_os("LESIO_RASTERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rasters/golden"), PathBuf::from)
}

fn compare(path: &Path, expected: &Expected) -> Result<(), String> {
    let image = match (ReadOptions::new().read_image(path), &expected.error) {
        (Err(error), Some(name)) if error.kind().name() == name => return Ok(()),
        (Err(error), _) => return Err(format!("{error}: {:?}", std::error::Error::source(&error))),
        (Ok(_), Some(name)) => return Err(format!("is read, expected {name}")),
        (Ok(image), None) => image,
    };
    let shape = [image.channels(), image.height(), image.width()];
    if Some(shape) != expected.shape {
        return Err(format!("shape {shape:?}, expected {:?}", expected.shape));
    }
    if let Some(bytes) = &expected.bytes {
        let values: Vec<f32> = (0..bytes.len() / 2)
            .map(|at| f32::from(u8::from_str_radix(&bytes[2 * at..2 * at + 2], 16).unwrap()))
            .collect();
        let apart = |(a, b): (&f32, &f32)| (a - b).abs();
        let most = image.data().iter().zip(&values).map(apart).fold(0.0, f32::max);
        let mean = image.data().iter().zip(&values).map(apart).sum::<f32>() / values.len() as f32;
        let within = expected.within.unwrap();
        return if most <= within && mean <= 1.0 { Ok(()) } else { Err(format!("{most} off, {mean} on average")) };
    }
    let bytes: Vec<u8> = image.data().iter().flat_map(|value| value.to_le_bytes()).collect();
    if Some(crc32fast::hash(&bytes)) == expected.checksum { Ok(()) } else { Err("other values".to_owned()) }
}

#[test]
fn every_kind_is_read_as_other_decoders_read_it() {
    let folder = golden();
    let list: std::collections::BTreeMap<String, Expected> =
        serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let failures: Vec<String> = list
        .iter()
        .filter_map(|(name, expected)| {
            compare(&folder.join(name), expected).err().map(|difference| format!("{name}: {difference}"))
        })
        .collect();
    println!("{} files, {} failures", list.len(), failures.len());
    assert!(list.len() > 200, "only {} files", list.len());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), list.len(), failures.join("\n"));
}
