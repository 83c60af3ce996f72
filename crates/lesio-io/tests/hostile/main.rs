//! Odd and hostile files, each made here, each pinned to its values or to one kind of error.
#![allow(clippy::drop_non_drop)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.
#![allow(unreachable_pub, missing_debug_implementations)] // Modules of a test have no outside.

mod affine;
mod build;
mod gzip;
mod header;
mod names;
#[path = "../support/pictures.rs"]
mod pictures;
mod raster;
#[path = "../support/bytes.rs"]
mod same;
mod voxels;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use lesio_io::nifti::{NiftiHeader, NiftiImage, read_header};
use lesio_io::{AffineSource, ReadError, ReadOptions, read_image, read_volume};

/// What a file must give.
pub enum Expect {
    /// Read as an array of this shape, with these values in file order.
    Values(Vec<u64>, Vec<f64>),
    /// Read, with 3 by 2 by 2 voxels from 1 to 12.
    Twelve,
    /// Like [`Expect::Twelve`], and something odd is told that contains this text.
    Odd(&'static str),
    /// Like [`Expect::Twelve`], and nothing odd is told.
    Plain,
    /// Like [`Expect::Twelve`], with this affine.
    Affine([[f64; 4]; 4]),
    /// As an array it is read; as a volume it is refused by this name.
    NotAVolume(&'static str),
    /// Complex numbers.
    Complex(Vec<[f64; 2]>),
    /// Colors.
    Colors(Vec<[u8; 4]>),
    /// Read as an image `[channel, row, column]` with these values.
    Image([usize; 3], Vec<f32>),
    /// Refused as an image by this name.
    ImageError(&'static str),
    /// Refused by this name.
    Error(&'static str),
}

/// A file, or some, with a name of its own.
pub struct Hostile {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    open: String,
    /// Sets up what is no regular file.
    prepare: Option<Box<dyn Fn(&Path)>>,
    expect: Expect,
}

/// The list that the modules fill.
#[derive(Default)]
pub struct List(Vec<Hostile>);

impl List {
    /// One file, opened.
    pub fn file(&mut self, name: impl Into<String>, file: &str, bytes: Vec<u8>, expect: Expect) {
        self.files(name, vec![(file, bytes)], file, expect);
    }

    /// Some files, of which one is opened.
    pub fn files(
        &mut self,
        name: impl Into<String>,
        files: Vec<(&str, Vec<u8>)>,
        open: &str,
        expect: Expect,
    ) {
        let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
        self.0.push(Hostile { name: name.into(), files, open: open.to_owned(), prepare: None, expect });
    }

    /// Something made by code.
    pub fn made(
        &mut self,
        name: impl Into<String>,
        open: &str,
        prepare: impl Fn(&Path) + 'static,
        expect: Expect,
    ) {
        let prepare: Option<Box<dyn Fn(&Path)>> = Some(Box::new(prepare));
        self.0.push(Hostile { name: name.into(), files: Vec::new(), open: open.to_owned(), prepare, expect });
    }
}

#[test]
fn every_file_gives_what_is_written_beside_it() {
    let mut list = List::default();
    voxels::list(&mut list);
    header::list(&mut list);
    affine::list(&mut list);
    gzip::list(&mut list);
    names::list(&mut list);
    raster::list(&mut list);
    let names: BTreeSet<&str> = list.0.iter().map(|hostile| hostile.name.as_str()).collect();
    assert_eq!(names.len(), list.0.len(), "names are unique");
    assert!(list.0.len() >= 300, "{} files", list.0.len());
    let mut failures = Vec::new();
    for hostile in &list.0 {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in &hostile.files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        if let Some(prepare) = &hostile.prepare {
            prepare(folder.path());
        }
        let path = folder.path().join(&hostile.open);
        let same_folder = folder.path().join("same");
        fs::create_dir(&same_folder).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            exercise(&path);
            check(&path, &hostile.expect)?;
            // Bytes have no name to be wrong, and no other half.
            let is_file = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
            if is_file {
                same::compare(&fs::read(&path).unwrap(), &same_folder).map(drop)?;
            }
            Ok::<(), String>(())
        }));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(difference)) => failures.push(format!("{}: {difference}", hostile.name)),
            Err(_) => failures.push(format!("{}: panics", hostile.name)),
        }
    }
    println!("{} files, {} failures", list.0.len(), failures.len());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), list.0.len(), failures.join("\n"));
}

/// Every way in, whatever comes of it: none may panic.
fn exercise(path: &Path) {
    let _ = read_header(path);
    let _ = read_image(path);
    let _ =
        fs::metadata(path).is_ok_and(|m| m.is_file()).then(|| NiftiHeader::parse(&fs::read(path).unwrap()));
    let _ = ReadOptions::new().read_as::<u8>(path);
    let _ = ReadOptions::new().read_mask(path);
    let _ = AffineSource::ALL.map(|source| ReadOptions::new().affine(source).read(path).is_ok());
    let _ = ReadOptions::new().max_bytes(8).read_as::<i64>(path);
    let _ = ReadOptions::new().volume(1).read(path);
    let Ok(mut image) = NiftiImage::open(path) else { return };
    let _ = (image.voxels(), image.volumes(), image.oddities().iter().map(ToString::to_string).count());
    let _ = (image.read_raw(), image.read_complex(), image.read_rgba(), image.statistics());
    let _ = (image.read::<i16>(), image.read_volumes::<f64>(), image.read_volume_at::<u32>(u64::MAX));
    let _ = image.slabs::<f32>(0).map(|slabs| slabs.take(100).count());
}

fn check(path: &Path, expect: &Expect) -> Result<(), String> {
    let twelve: Vec<f64> = (1..=12).map(f64::from).collect();
    let told = |error: ReadError| format!("{} ({error})", error.kind().name());
    let array = |path: &Path| -> Result<(Vec<u64>, Vec<f64>), ReadError> {
        let mut image = NiftiImage::open(path)?;
        let array = image.read::<f64>()?;
        Ok((image.header().shape.clone(), array.t().iter().copied().collect()))
    };
    let refused = |found: Result<(), ReadError>, name: &str| match found {
        Ok(()) => Err(format!("is read, expected {name}")),
        Err(error) if error.kind().name() == name => Ok(()),
        Err(error) => Err(format!("{}, expected {name}", told(error))),
    };
    match expect {
        Expect::Values(shape, values) => {
            let (found_shape, found) = array(path).map_err(told)?;
            same(&found, values)?;
            (found_shape == *shape).then_some(()).ok_or_else(|| format!("shape {found_shape:?}"))
        }
        Expect::Twelve => {
            same(&array(path).map_err(told)?.1, &twelve)?;
            let volume = read_volume(path).map_err(told)?;
            (volume.data().len() == 12).then_some(()).ok_or_else(|| "volume has another size".to_owned())
        }
        Expect::Odd(text) => {
            same(&array(path).map_err(told)?.1, &twelve)?;
            let image = NiftiImage::open(path).map_err(told)?;
            let told = image.oddities().iter().map(ToString::to_string).collect::<Vec<_>>();
            told.iter().any(|odd| odd.contains(text)).then_some(()).ok_or_else(|| format!("told {told:?}"))
        }
        Expect::Plain => {
            same(&array(path).map_err(told)?.1, &twelve)?;
            let image = NiftiImage::open(path).map_err(told)?;
            let odd = image.oddities();
            odd.is_empty().then_some(()).ok_or_else(|| format!("told {odd:?}"))
        }
        Expect::Affine(affine) => {
            same(&array(path).map_err(told)?.1, &twelve)?;
            let image = NiftiImage::open(path).map_err(told)?;
            let found = image.geometry().affine();
            let near =
                found.as_flattened().iter().zip(affine.as_flattened()).all(|(a, b)| (a - b).abs() < 1e-6);
            near.then_some(()).ok_or_else(|| format!("affine {found:?}"))
        }
        Expect::NotAVolume(name) => {
            array(path).map_err(told)?;
            refused(read_volume(path).map(drop), name)
        }
        Expect::Complex(values) => {
            let found = NiftiImage::open(path).and_then(|mut image| image.read_complex()).map_err(told)?;
            let found: Vec<[f64; 2]> = found.t().iter().copied().collect();
            (found == *values).then_some(()).ok_or_else(|| format!("values {found:?}"))?;
            refused(array(path).map(drop), "UnsupportedDatatype")
        }
        Expect::Colors(values) => {
            let found = NiftiImage::open(path).and_then(|mut image| image.read_rgba()).map_err(told)?;
            let found: Vec<[u8; 4]> = found.t().iter().copied().collect();
            (found == *values).then_some(()).ok_or_else(|| format!("values {found:?}"))?;
            refused(array(path).map(drop), "UnsupportedDatatype")
        }
        Expect::Image(shape, values) => {
            let image = read_image(path).map_err(told)?;
            let found = [image.channels(), image.height(), image.width()];
            (found == *shape).then_some(()).ok_or_else(|| format!("shape {found:?}"))?;
            let found: Vec<f32> = image.data().iter().copied().collect();
            (found == *values).then_some(()).ok_or_else(|| format!("values {found:?}"))
        }
        Expect::ImageError(name) => refused(read_image(path).map(drop), name),
        Expect::Error(name) => {
            refused(array(path).map(drop), name)?;
            refused(read_volume(path).map(drop), name)
        }
    }
}

fn same(found: &[f64], expected: &[f64]) -> Result<(), String> {
    let equal = |a: &f64, b: &f64| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    if found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| equal(a, b)) {
        Ok(())
    } else {
        Err(format!("values {found:?}, expected {expected:?}"))
    }
}
