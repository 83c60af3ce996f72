//! What a file's lies cost, counted by the allocator.
//!
//! One test alone, because the count is of the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.
#![allow(unreachable_pub, missing_debug_implementations, dead_code)] // Modules of a test have no outside.

#[path = "hostile/build.rs"]
mod build;
#[path = "support/pictures.rs"]
mod pictures;

use std::fs;
use std::path::Path;

use build::{Nifti, gzip};
use lesio_image::{Geometry, Volume};
use lesio_io::nifti::NiftiImage;
use lesio_io::{ReadOptions, read_image, read_volume, write_volume};
use ndarray::Array3;
use peak_alloc::PeakAlloc;
use pictures::{chunk, tags, zlib};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// The most that stands at a time beyond what stood before.
fn peak(work: impl FnOnce()) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    work();
    ALLOCATOR.peak_usage() - before
}

/// A NIfTI-1 header with flag, of 32-bit floats.
fn header(dim: [i64; 8], offset: f64, flag: u8) -> Vec<u8> {
    let change = |n: &mut Nifti| {
        (n.dim, n.datatype, n.bitpix, n.vox_offset) = (dim, 16, 32, offset);
        n.flag[0] = flag;
    };
    Nifti::one().with(change).start()
}

/// Files under 1 KB, each with a lie.
fn lies() -> Vec<(String, &'static str, Vec<u8>)> {
    let mut lies = Vec::new();
    let full = i64::from(i16::MAX);
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
    let png = pictures::png(&pictures::header(30000, 30000, 8, 2, 0), &[], &[0; 100]);
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

fn png(columns: u32, rows: u32, bits: u8, color: u8, interlace: u8, content: usize) -> Vec<u8> {
    let header = pictures::header(columns, rows, bits, color, interlace);
    pictures::png(&header, &chunk(b"PLTE", &[0; 6]), &zlib(&vec![0; content]))
}

/// A TIFF file of one strip of 8 bits, or as many as its rows.
fn tiff(columns: u32, rows: u32, values: u32, compression: u32, predictor: u32, data: &[u8]) -> Vec<u8> {
    let color = if values == 3 { 2 } else { 1 };
    let changes = [(259, 4, compression), (262, 4, color), (277, 4, values), (317, 4, predictor)];
    pictures::tiff(data, &tags([rows, columns], 8, data.len(), &changes))
}

/// Whatever the limit: reading takes less, and a megabyte of tables; and what is within it is read.
fn pictures_stay_within_their_limit(folder: &Path) {
    let (columns, rows) = (1500_u32, 1000_u32);
    let pixels = (columns * rows) as usize;
    let zlib = zlib(&vec![0; 3 * pixels]);
    let lzw = weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    let lzw = { lzw }.encode(&vec![0; pixels]).unwrap();
    let jpeg = |color: image::ExtendedColorType, values: usize| {
        let content: Vec<u8> = (0..pixels * values).map(|at| (at / 7 % 251) as u8).collect();
        let mut bytes = Vec::new();
        image::ImageEncoder::write_image(
            image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 80),
            &content,
            columns,
            rows,
            color,
        )
        .unwrap();
        bytes
    };
    let wide = 400_000;
    let mut bmp = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bmp.extend([columns.to_le_bytes(), rows.to_le_bytes(), [1, 0, 24, 0]].concat());
    bmp.resize(54 + 3 * pixels, 0);
    let progressive =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rasters/golden/large-progressive.jpg"))
            .unwrap();
    let files = [
        ("png gray", png(columns, rows, 8, 0, 0, (columns as usize + 1) * rows as usize), pixels),
        ("png of one bit", png(1504, rows, 1, 0, 0, 189 * rows as usize), 1504 * rows as usize),
        ("png of a palette", png(columns, rows, 8, 3, 0, (columns as usize + 1) * rows as usize), 3 * pixels),
        (
            "png of 16 bits",
            png(columns, rows, 16, 2, 0, (6 * columns as usize + 1) * rows as usize),
            3 * pixels,
        ),
        ("png of one row", png(wide, 2, 16, 2, 0, 2 * (6 * wide as usize + 1)), 6 * wide as usize),
        ("tiff plain", tiff(columns, rows, 1, 1, 1, &vec![0; pixels]), pixels),
        ("tiff by deflate", tiff(columns, rows, 3, 8, 2, &zlib), 3 * pixels),
        ("tiff by LZW", tiff(columns, rows, 1, 5, 1, &lzw), pixels),
        ("jpeg gray", jpeg(image::ExtendedColorType::L8, 1), pixels),
        ("jpeg", jpeg(image::ExtendedColorType::Rgb8, 3), 3 * pixels),
        ("jpeg progressive", progressive, 3 * pixels),
        ("bmp", bmp, 3 * pixels),
    ];
    let path = folder.join("picture");
    for (name, bytes, values) in files {
        fs::write(&path, &bytes).unwrap();
        let mut least = u64::MAX;
        for limit in (1..20).map(|step| (3_u64 << 20) * step) {
            let mut outcome = None;
            let cost = peak(|| outcome = Some(ReadOptions::new().max_bytes(limit).read_image(&path)));
            match outcome.unwrap() {
                Ok(image) => {
                    assert_eq!(image.data().len(), values, "{name}");
                    least = least.min(limit);
                }
                Err(error) => {
                    assert_eq!(error.kind().name(), "LimitExceeded", "{name}: {error}");
                    assert!(error.to_string().contains(&limit.to_string()), "{error}");
                    assert!(least == u64::MAX, "{name} is refused above {least}");
                }
            }
            assert!(cost <= limit as usize + MIB, "{name} costs {cost}, the limit is {limit}");
        }
        // The image, the file, and what is decoded at a time: never several copies of the image.
        let decoded = if name == "png of one row" { 7 * values } else { 2 * values };
        let most = values * 4 + bytes.len() + decoded + (4 << 20);
        println!("{name}: {} bytes are read within {least}, of {}", bytes.len(), values * 4);
        assert!(least <= most as u64, "{name} needs a limit of {least}");
    }
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

    pictures_stay_within_their_limit(folder.path());

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
        // Bytes in memory are not copied.
        let bytes = fs::read(&path).unwrap();
        let cost = peak(|| drop(ReadOptions::new().max_bytes(need as u64).read_bytes(&bytes).unwrap()));
        assert!(cost <= need + MIB, "the bytes of {name} cost {cost}, the limit is {need}");
        drop(bytes);
        let cost = peak(|| drop(ReadOptions::new().max_bytes(need as u64).read_mask(&path).unwrap()));
        assert!(cost <= need / 4 + MIB, "the mask of {name} costs {cost}");
    }
}
