//! What is read from bytes and written to them, against files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.
#![allow(unreachable_pub, missing_debug_implementations, dead_code)] // Modules of a test have no outside.

#[path = "hostile/build.rs"]
mod build;
#[path = "support/bytes.rs"]
mod same;

use std::fs;
use std::path::{Path, PathBuf};

use build::Nifti;
use lesio_image::{Geometry, Image, Volume};
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Dataset, Layout};
use lesio_io::nifti::{Compression, Extension, NiftiImage, NiftiVersion, Voxel};
use lesio_io::{ReadError, ReadOptions, WriteOptions, png_bytes, write_png};
use ndarray::Array3;

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn all_same(paths: &[PathBuf]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut read = 0;
    for path in paths {
        match same::compare(&fs::read(path).unwrap(), folder.path()) {
            Ok(ways) => read += usize::from(ways > 0),
            Err(difference) => panic!("{}: {difference}", path.display()),
        }
    }
    read
}

#[test]
fn pictures_are_read_from_bytes_as_from_files() {
    let mut paths = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rasters/golden"));
    // Large pictures of one kind each take most of the time.
    paths.retain(|path| fs::metadata(path).unwrap().len() < 200_000);
    let read = all_same(&paths);
    println!("{} files, {read} read", paths.len());
    assert!(paths.len() > 200 && read > 150 && read < paths.len(), "{read} of {}", paths.len());
}

#[test]
fn real_volumes_are_read_from_bytes_as_from_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/nifti-files");
    if !folder.is_dir() {
        println!("skipped: {} is not present", folder.display());
        return;
    }
    let paths = files(&folder);
    let read = all_same(&paths);
    println!("{} files, {read} read", paths.len());
    assert!(paths.len() > 90 && read > 60, "{read} of {}", paths.len());
}

#[test]
fn what_starts_as_gzip_does_is_decompressed() {
    for two in [false, true] {
        let file = Nifti::version(two).file();
        let plain = ReadOptions::new().read_bytes(&file).unwrap();
        assert_eq!(
            plain.data().t().iter().copied().collect::<Vec<_>>(),
            (1..=12).map(|v| v as f32).collect::<Vec<_>>()
        );
        assert_eq!(ReadOptions::new().read_bytes(build::gzip(&file)).unwrap(), plain);
        // Gzip in gzip is no NIfTI file.
        let error = ReadOptions::new().read_bytes(build::gzip(&build::gzip(&file))).unwrap_err();
        assert_eq!(error.kind().name(), "NotNifti");
    }
}

#[test]
fn errors_of_bytes_read_well() {
    let told = |error: ReadError| error.to_string();
    let read = |bytes: &[u8]| told(ReadOptions::new().read_bytes(bytes).unwrap_err());
    let file = Nifti::one().file();
    assert_eq!(read(b""), "<bytes>: the header needs 348 bytes, the file has 0");
    assert_eq!(read(&file[..360]), "<bytes>: the image needs 364 bytes, the file has 360");
    assert_eq!(read(&[0x1f, 0x8b]), "<bytes>: gzip member 1: the file ends inside its header");
    let pair = Nifti::pair(false).header();
    assert!(read(&pair).contains("voxels are in another file"), "{}", read(&pair));
    let error = ReadOptions::new().read_image_bytes(&file).unwrap_err();
    assert_eq!(error.path(), Path::new("<bytes>"));
    assert_eq!(told(error), "<bytes>: the content is none of PNG, JPEG, TIFF, BMP");
    let error =
        WriteOptions::new().to_bytes(&Volume::new(Array3::<u8>::zeros((2, 0, 2)), Geometry::default()));
    assert_eq!(error.unwrap_err().to_string(), "<bytes>: an axis has no voxels: the shape is [2, 0, 2]");
    let error = png_bytes(&Image::new(Array3::<u8>::zeros((5, 1, 1)))).unwrap_err();
    assert_eq!(error.kind().name(), "UnsupportedImage");
    assert!(error.to_string().starts_with("<bytes>: "), "{error}");
}

fn both_ways<T: Voxel + From<u8>>(options: &WriteOptions, folder: &Path) {
    let volume = Volume::new(
        Array3::from_shape_fn((7, 5, 3), |(i, j, k)| T::from((i * 31 + j * 7 + k) as u8)),
        Geometry::from_spacing([1.0, 0.5, 2.0]).unwrap(),
    );
    let options = options.clone().existing(Existing::Replace);
    for (name, bytes) in [("a.nii", options.to_bytes(&volume)), ("a.nii.gz", options.to_gzip_bytes(&volume))]
    {
        let bytes = bytes.unwrap();
        options.write(folder.join(name), &volume).unwrap();
        assert!(bytes == fs::read(folder.join(name)).unwrap(), "{name} of {}", T::DATATYPE);
        assert_eq!(ReadOptions::new().read_bytes_as::<T>(&bytes).unwrap(), volume);
    }
}

#[test]
fn the_bytes_of_volumes_are_those_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = NiftiImage::from_bytes(&Nifti::one().file()).unwrap().header().clone();
    header.description = b"a description".to_vec();
    header.extensions = vec![Extension::new(6, b"a comment".to_vec())];
    for options in [
        WriteOptions::new(),
        WriteOptions::new().compression(Compression::Fast),
        WriteOptions::new().compression(Compression::Small),
        WriteOptions::new().version(NiftiVersion::Two),
        WriteOptions::new().like(&header),
    ] {
        both_ways::<u8>(&options, folder.path());
        both_ways::<i16>(&options, folder.path());
        both_ways::<f32>(&options, folder.path());
        both_ways::<u64>(&options, folder.path());
        both_ways::<f64>(&options, folder.path());
    }
}

#[test]
fn volumes_that_no_file_holds_are_refused_alike() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Geometry::from_spacing([1e-60, 1.0, 1.0]).unwrap();
    for (volume, name) in [
        (Volume::new(Array3::<u8>::zeros((0, 2, 2)), Geometry::default()), "EmptyVolume"),
        (Volume::new(Array3::<u8>::zeros((27_307, 1, 6)), Geometry::default()), "FoldedShape"),
        (Volume::new(Array3::<u8>::zeros((1, 1, 32_768)), Geometry::default()), "DimTooLargeForNifti1"),
        (Volume::new(Array3::<u8>::zeros((2, 2, 2)), tiny), "AffineOutOfRange"),
    ] {
        let options = WriteOptions::new();
        let file = options.write(folder.path().join("a.nii"), &volume).unwrap_err();
        for error in [options.to_bytes(&volume).unwrap_err(), options.to_gzip_bytes(&volume).unwrap_err()] {
            assert_eq!((error.kind().name(), file.kind().name()), (name, name));
            assert_eq!(error.to_string(), format!("<bytes>: {}", file.kind()));
        }
    }
}

#[test]
fn the_bytes_of_pictures_are_those_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    for channels in 1..=4 {
        let value = |(c, i, j): (usize, usize, usize)| {
            if c % 2 == 1 && channels % 2 == 0 { 255 } else { c + 9 * i + j }
        };
        let eight = Image::new(Array3::from_shape_fn((channels, 4, 6), |at| value(at) as u8));
        write_png(&path, &eight, Existing::Replace).unwrap();
        assert!(png_bytes(&eight).unwrap() == fs::read(&path).unwrap());
        let sixteen = eight.map(|&value| u16::from(value) * 257);
        write_png(&path, &sixteen, Existing::Replace).unwrap();
        assert!(png_bytes(&sixteen).unwrap() == fs::read(&path).unwrap());
    }
}

#[test]
fn a_picture_and_its_mask_are_read_from_bytes_as_a_case() {
    let golden = |name: &str| {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rasters/golden").join(name)).unwrap()
    };
    let png = |rows: usize, columns: usize, of: u8| {
        png_bytes(&Image::new(Array3::from_shape_fn((1, rows, columns), |(_, i, j)| {
            if (i * columns + j).is_multiple_of(3) { of } else { 0 }
        })))
        .unwrap()
    };
    let turned = golden("turned-6.jpg");
    let shown = ReadOptions::new().read_image_bytes(&turned).unwrap();
    let (rows, columns) = (shown.height(), shown.width());
    assert_ne!(rows, columns);
    let mut read = 0;
    for (image, mask) in [
        (&turned, png(rows, columns, 1)),
        // Drawn on the picture before it is turned.
        (&turned, png(columns, rows, 255)),
        (&turned, png(rows, columns + 1, 1)),
        (&turned, turned.clone()),
        (&turned, b"no picture".to_vec()),
        (&b"no picture".to_vec(), png(3, 3, 1)),
        (&png(3, 3, 9), golden("jpeg-coarse.jpg")),
    ] {
        for limit in [u64::MAX, 6000, 100] {
            let options = ReadOptions::new().max_bytes(limit);
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().join("a");
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("image.png"), image).unwrap();
            fs::write(folder.join("mask.png"), &mask).unwrap();
            let data = Dataset::open(root.path(), &Layout::cases("image.png", Some("mask.png"))).unwrap();
            let case = data.cases()[0].read_image(&options);
            match (case, options.read_masked_image_bytes(image, &mask)) {
                (Ok((image, inside)), Ok(found)) => {
                    assert_eq!((image, inside.unwrap()), found);
                    read += 1;
                }
                (Err(case), Err(found)) => {
                    let renamed = |text: String| {
                        text.replace(&folder.join("image.png").display().to_string(), "<image bytes>")
                            .replace(&folder.join("mask.png").display().to_string(), "<mask bytes>")
                    };
                    assert_eq!(renamed(case.to_string()), found.to_string());
                }
                (case, found) => panic!("{case:?} of files, {found:?} of bytes"),
            }
        }
    }
    assert!(read >= 3, "{read} are read");
}
