//! What a file's lies cost, counted by the allocator.
//!
//! One test alone, because the count is of the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.
#![allow(unsafe_code)] // An allocator that counts is an unsafe trait by nature; it hands all work to the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use flate2::Compression;
use flate2::write::GzEncoder;
use lesio_image::{Geometry, Volume};
use lesio_io::nifti::NiftiImage;
use lesio_io::{ReadOptions, read_image, read_volume, write_volume};
use ndarray::Array3;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(now, Relaxed);
}

// SAFETY: every call goes to the system's allocator with the arguments given; counting touches only
// atomic numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may stand side by side while they are copied: both are counted.
        grown(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

/// The most that stands at a time beyond what stood before.
fn peak(work: impl FnOnce()) -> usize {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    work();
    PEAK.load(Relaxed) - before
}

/// A NIfTI-1 header with flag, of 32-bit floats.
fn header(dim: [i16; 8], offset: f32, flag: u8) -> Vec<u8> {
    let mut bytes = vec![0; 352];
    bytes[..4].copy_from_slice(&348_i32.to_le_bytes());
    for (i, size) in dim.iter().enumerate() {
        bytes[40 + 2 * i..42 + 2 * i].copy_from_slice(&size.to_le_bytes());
    }
    bytes[70..72].copy_from_slice(&16_i16.to_le_bytes());
    bytes[72..74].copy_from_slice(&32_i16.to_le_bytes());
    for i in 0..8 {
        bytes[76 + 4 * i..80 + 4 * i].copy_from_slice(&1_f32.to_le_bytes());
    }
    bytes[108..112].copy_from_slice(&offset.to_le_bytes());
    bytes[344..348].copy_from_slice(b"n+1\0");
    bytes[348] = flag;
    bytes
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Files under 1 KB, each with a lie.
fn lies() -> Vec<(String, &'static str, Vec<u8>)> {
    let mut lies = Vec::new();
    let full = i16::MAX;
    for (name, dim) in [
        ("900 cubed", [3, 900, 900, 900, 1, 1, 1, 1]),
        ("600 cubed", [3, 600, 600, 600, 1, 1, 1, 1]),
        ("32767 to the 4", [4, full, full, full, full, 1, 1, 1]),
        ("32767 to the 7", [7, full, full, full, full, full, full, full]),
        ("what gzip could hold", [3, 28, 28, 28, 1, 1, 1, 1]),
        ("a row", [1, full, 1, 1, 1, 1, 1, 1]),
    ] {
        let file = [header(dim, 352.0, 0), vec![0; 96]].concat();
        lies.push((format!("{name} gz"), "a.nii.gz", gzip(&file)));
        lies.push((name.to_owned(), "a.nii", file));
    }
    let small = [3, 3, 3, 3, 1, 1, 1, 1];
    for size in [0, 16, 1 << 20, i32::MAX, -1] {
        let extension = [&size.to_le_bytes()[..], &[0; 100]].concat();
        let far = [header(small, 2e9, 1), extension.clone()].concat();
        lies.push((format!("extension of {size} gz"), "a.nii.gz", gzip(&far)));
        lies.push((format!("extension of {size}"), "a.nii", far));
        let near = [header(small, 900.0, 1), extension].concat();
        lies.push((format!("near extension of {size} gz"), "a.nii.gz", gzip(&near)));
    }
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, content) in [
        (b"IHDR", [&30000_u32.to_be_bytes()[..], &30000_u32.to_be_bytes(), &[8, 2, 0, 0, 0]].concat()),
        (b"IDAT", vec![0; 100]),
        (b"IEND", vec![]),
    ] {
        png.extend((content.len() as u32).to_be_bytes());
        let start = png.len();
        png.extend(kind);
        png.extend(content);
        png.extend(crc32fast::hash(&png[start..]).to_be_bytes());
    }
    lies.push(("png of 30000 squared".to_owned(), "a.png", png));
    lies
}

/// A DICOM file of which one element claims two gigabytes, or a gigabyte and a half where its type is unknown.
#[cfg(feature = "dicom")]
fn dicom(vr: &[u8; 2]) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    bytes.extend([2, 0, 0x10, 0, b'U', b'I', 20, 0]);
    bytes.extend(b"1.2.840.10008.1.2.1\0");
    bytes.extend([0x28, 0, 0x10, 0, b'U', b'S', 2, 0, 0xff, 0xff]);
    let tag = match vr {
        b"OW" => [0xe0, 0x7f, 0x10, 0],
        b"LS" => [0x20, 0, 0x37, 0],
        _ => [0x40, 0, 0x75, 2],
    };
    bytes.extend(tag);
    bytes.extend(vr);
    let length: &[u8] = if vr == b"LS" { b"\x0c\x001\\0\\" } else { &[0, 0, 0, 0, 0, 0x80] };
    bytes.extend(length);
    bytes.resize(900, 0);
    bytes
}

fn read(path: &Path) {
    if path.extension().is_some_and(|ending| ending == "png") {
        assert!(read_image(path).is_err());
        return;
    }
    assert!(read_volume(path).is_err(), "{}", path.display());
    let Ok(mut image) = NiftiImage::open(path) else { return };
    let _ = (image.read::<f64>().is_err(), image.read_raw().is_err(), image.statistics().is_err());
}

#[test]
fn memory_is_in_proportion_to_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    for (name, file, bytes) in lies() {
        assert!(bytes.len() < 1024, "{name} has {} bytes", bytes.len());
        let path = folder.path().join(file);
        fs::write(&path, bytes).unwrap();
        let cost = peak(|| read(&path));
        assert!(cost <= MIB, "{name} costs {cost} bytes");
    }

    #[cfg(feature = "dicom")]
    for (name, claim, kind) in [
        ("value", b"UT", "Truncated"),
        ("sequence", b"SQ", "Truncated"),
        ("pixels", b"OW", "Truncated"),
        ("type", b"LS", "NotDicom"),
    ] {
        let folder = folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a"), dicom(claim)).unwrap();
        let cost = peak(|| {
            let error = ReadOptions::new().read_dicom(&folder).unwrap_err();
            assert_eq!(error.kind().name(), kind, "{name}: {error}");
        });
        assert!(cost <= MIB, "DICOM {name} costs {cost} bytes");
    }

    // A megabyte that claims the gigabyte it could hold, and holds a hundredth.
    let claim = [header([3, 640, 640, 640, 1, 1, 1, 1], 352.0, 0), vec![0; 10 << 20]].concat();
    let mut noise = 1_u32;
    let noise: Vec<u8> = (0..MIB)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .collect();
    let path = folder.path().join("liar.nii.gz");
    fs::write(&path, [gzip(&claim), gzip(&noise)].concat()).unwrap();
    let length = fs::metadata(&path).unwrap().len() as usize;
    let cost = peak(|| assert_eq!(read_volume(&path).unwrap_err().kind().name(), "Truncated"));
    println!(
        "a liar of {length} bytes, that claims {} and holds {}, costs {cost}",
        640 * 640 * 640 * 4,
        11 * MIB
    );
    assert!(cost <= 40 * length, "costs {cost} bytes");

    // Honest files: 1 MiB, 1.1 of the raw bytes and 4 bytes a voxel.
    let volume = Volume::new(
        Array3::from_shape_fn((128, 128, 64), |(i, j, k)| (i * j + k) as i16),
        Geometry::default(),
    );
    let voxels = volume.data().len();
    let flat = volume.map(|_| 0_i16);
    for (name, volume) in [("honest.nii", &volume), ("honest.nii.gz", &volume), ("flat.nii.gz", &flat)] {
        let path = folder.path().join(name);
        write_volume(&path, volume).unwrap();
        let cost = peak(|| drop(read_volume(&path).unwrap()));
        let bound = MIB + voxels * 2 * 11 / 10 + voxels * 4;
        println!("{name}: {cost} of {bound} bytes");
        assert!(cost <= bound, "{name} costs {cost}, at most {bound}");
        // By slabs, whatever the size.
        let cost = peak(|| {
            let mut image = NiftiImage::open(&path).unwrap();
            assert_eq!(
                image.slabs::<f32>(1).unwrap().map(|slab| slab.unwrap().data.len()).sum::<usize>(),
                voxels
            );
        });
        assert!(cost <= MIB, "{name} by slabs costs {cost}");
        // A file of so few bytes is believed step by step, so that values are moved as they grow.
        let need = voxels * if name == "flat.nii.gz" { 5 } else { 4 };
        let refused = ReadOptions::new().max_bytes(need as u64 - 1).read(&path).unwrap_err();
        assert_eq!(refused.kind().name(), "LimitExceeded");
        assert!(refused.to_string().contains(&format!("needs {need} bytes")), "{refused}");
        let cost = peak(|| drop(ReadOptions::new().max_bytes(need as u64).read(&path).unwrap()));
        assert!(cost <= need + MIB, "{name} costs {cost}, the limit is {need}");
        let cost = peak(|| drop(ReadOptions::new().max_bytes(need as u64).read_mask(&path).unwrap()));
        assert!(cost <= need / 4 + MIB, "the mask of {name} costs {cost}");
    }
}
