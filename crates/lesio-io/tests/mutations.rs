//! Two million headers that were valid until a seeded generator changed them.
//!
//! No test can say what a changed header should give; what must hold of any: no panic, no claim beyond
//! the file, and what is accepted is written and read again as the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use lesio_image::{Geometry, Volume};
use lesio_io::nifti::{Extension, NiftiHeader, NiftiImage, NiftiVersion, read_header};
use lesio_io::{ReadError, ReadOptions, WriteOptions};
use ndarray::Array3;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::Unsynced;

const PARSED: usize = 2_000_000;
const OPENED: usize = 3_000;

/// Numbers that parsers trip over, by width.
const TRAPS_16: [i16; 10] = [0, 1, -1, 2, 7, 8, 255, 256, i16::MAX, i16::MIN];
const TRAPS_32: [u32; 10] =
    [0, 1, u32::MAX, 0x7fff_ffff, 0x8000_0000, 0x7fc0_0000, 0x7f80_0000, 0xff80_0000, 0x7f7f_ffff, 16];
const TRAPS_64: [u64; 8] =
    [0, 1, u64::MAX, i64::MAX as u64, 1 << 63, 0x7ff8_0000_0000_0000, 0x7ff0_0000_0000_0000, 1 << 32];

/// Valid files of both versions, with extensions and without.
fn seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let mut seeds = Vec::new();
    let volume = Volume::new(
        Array3::from_shape_fn((4, 3, 2), |(i, j, k)| (i + 4 * j + 12 * k) as i16),
        Geometry::new([
            [2.0, 0.1, 0.0, -5.0],
            [-0.1, 2.0, 0.0, 6.0],
            [0.0, 0.0, 3.0, 7.0],
            [0.0, 0.0, 0.0, 1.0],
        ])
        .unwrap(),
    );
    for version in [NiftiVersion::One, NiftiVersion::Two] {
        let path = folder.path().join(format!("{}.nii", version.number()));
        WriteOptions::new().version(version).write(&path, &volume).unwrap();
        let mut header = read_header(&path).unwrap();
        header.description = b"seed".to_vec();
        header.extensions = vec![Extension::new(6, b"a comment".to_vec()), Extension::new(4, vec![7; 40])];
        let extended = folder.path().join(format!("{}e.nii", version.number()));
        WriteOptions::new().like(&header).write(&extended, &volume).unwrap();
        seeds.extend([path, extended].map(|path| fs::read(path).unwrap()));
    }
    // The other order of bytes: enough of the header to be one.
    let mut big = seeds[0].clone();
    for at in (0..4).step_by(4).chain((76..124).step_by(4)).chain((256..328).step_by(4)) {
        big[at..at + 4].reverse();
    }
    for at in (40..56).step_by(2).chain([68, 70, 72, 74, 120, 252, 254]) {
        big[at..at + 2].reverse();
    }
    NiftiHeader::parse(&big).unwrap();
    seeds.push(big);
    seeds
}

fn mutate(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    for _ in 0..random.random_range(1..=4) {
        let length = bytes.len().max(1);
        let at = random.random_range(0..length);
        let put = |bytes: &mut Vec<u8>, at: usize, value: &[u8]| {
            let at = at - at % value.len();
            if let Some(place) = bytes.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        let big = random.random_bool(0.2);
        match random.random_range(0..8) {
            0 => put(bytes, at, &[random.random::<u8>()]),
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
            2 => {
                let value = TRAPS_16[random.random_range(0..TRAPS_16.len())];
                put(bytes, at, &if big { value.to_be_bytes() } else { value.to_le_bytes() });
            }
            3 => {
                let value = TRAPS_32[random.random_range(0..TRAPS_32.len())];
                put(bytes, at, &if big { value.to_be_bytes() } else { value.to_le_bytes() });
            }
            4 => {
                let value = TRAPS_64[random.random_range(0..TRAPS_64.len())];
                put(bytes, at, &if big { value.to_be_bytes() } else { value.to_le_bytes() });
            }
            5 => {
                let source = random.random_range(0..length);
                let count = random.random_range(0..16);
                let copied = bytes.iter().skip(source).take(count).copied().collect::<Vec<_>>();
                bytes.iter_mut().skip(at).zip(copied).for_each(|(place, byte)| *place = byte);
            }
            // The fields on which reading turns: dimensions, type, offset, codes, flag, first extension.
            6 => {
                let places = [
                    0, 12, 16, 24, 40, 42, 44, 46, 70, 72, 108, 112, 116, 168, 252, 254, 344, 348, 352, 540,
                    544,
                ];
                let value = random.random::<u32>() >> random.random_range(0..32);
                put(bytes, places[random.random_range(0..places.len())], &(value as u16).to_le_bytes());
            }
            _ => {
                let kept = random.random_range(0..=bytes.len());
                if random.random_bool(0.1) {
                    bytes.truncate(kept);
                }
            }
        }
    }
}

#[test]
fn two_million_headers_are_parsed_or_refused() {
    let seeds = seeds();
    let mut random = ChaCha8Rng::seed_from_u64(20_261_123);
    let (mut accepted, mut placed) = (0_usize, 0_usize);
    let mut bytes = Vec::new();
    for turn in 0..PARSED {
        bytes.clear();
        bytes.extend_from_slice(&seeds[turn % seeds.len()]);
        mutate(&mut bytes, &mut random);
        let Ok(header) = NiftiHeader::parse(&bytes) else { continue };
        accepted += 1;
        assert!((1..=7).contains(&header.shape.len()) && !header.shape.contains(&0));
        if let Ok(geometry) = header.geometry() {
            placed += 1;
            assert!(geometry.voxel_volume().is_finite() && geometry.voxel_volume() > 0.0);
        }
    }
    println!("{PARSED} headers, {accepted} accepted, {placed} of them with a place");
    // A generator that spoils everything, or nothing, would test nothing.
    assert!((PARSED / 20..PARSED * 19 / 20).contains(&accepted), "{accepted} of {PARSED} accepted");
}

#[test]
fn mutated_files_are_read_the_same_twice_or_refused() {
    let seeds = seeds();
    let folder = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut read = 0;
    for turn in 0..OPENED {
        let mut bytes = seeds[turn % seeds.len()].clone();
        mutate(&mut bytes, &mut random);
        let compressed = turn % 2 == 1;
        let path = folder.path().join(if compressed { "a.nii.gz" } else { "a.nii" });
        if compressed {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&bytes).unwrap();
            bytes = encoder.finish().unwrap();
            // Half of these are damaged as gzip files, too.
            if turn % 4 == 3 {
                mutate(&mut bytes, &mut random);
            }
        }
        fs::write(&path, &bytes).unwrap();
        // Where the name says what the content does, bytes and file are one.
        if compressed == bytes.starts_with(&[0x1f, 0x8b]) {
            let told = |found: Result<Vec<u8>, ReadError>| found.map_err(|error| error.kind().to_string());
            let memory = NiftiImage::from_bytes(&bytes).and_then(|mut image| image.read_raw());
            let file = NiftiImage::open(&path).and_then(|mut image| image.read_raw());
            assert_eq!(told(memory), told(file));
        }
        let Ok(mut image) = NiftiImage::open(&path) else { continue };
        let (statistics, raw) = (image.statistics(), image.read_raw());
        let (complex, colors) = (image.read_complex(), image.read_rgba());
        assert!(complex.is_err() || colors.is_err());
        let Ok(values) = image.read::<f64>() else { continue };
        read += 1;
        let statistics = statistics.unwrap();
        assert_eq!(statistics.voxels, values.len() as u64);
        assert_eq!(statistics.nonfinite, values.iter().filter(|value| !value.is_finite()).count() as u64);
        assert_eq!(raw.unwrap().len() as u64, image.header().datatype.bytes() * statistics.voxels);
        let slabs: usize = image.slabs::<f64>(2).unwrap().map(|slab| slab.unwrap().data.len()).sum();
        assert_eq!(slabs, values.len());
        round_trip(&image, folder.path());
    }
    println!("{OPENED} files, {read} read");
    assert!((OPENED / 20..OPENED * 19 / 20).contains(&read), "{read} of {OPENED} read");
}

/// What was read is written like its header, and is read again as the same.
fn round_trip(image: &NiftiImage, folder: &Path) {
    let Ok(volume) = ReadOptions::new().read_as::<f64>(image.path()) else { return };
    let again = folder.join("again.nii");
    let _ = fs::remove_file(&again);
    if let Err(error) = WriteOptions::new().like(image.header()).write_in(&Unsynced, &again, &volume) {
        // Only a place that the 32-bit floats of NIfTI-1 do not hold may be refused.
        assert_eq!(error.kind().name(), "AffineOutOfRange");
        return;
    }
    let read = ReadOptions::new().read_as::<f64>(&again).unwrap();
    let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    assert!(read.data().iter().zip(volume.data()).all(same));
    assert_eq!(read.geometry(), volume.geometry());
    let header = read_header(&again).unwrap();
    assert_eq!(header.description, image.header().description);
    assert_eq!(header.extensions.len(), image.header().extensions.len());
}
