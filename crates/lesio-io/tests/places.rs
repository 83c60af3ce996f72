//! Units, forms and masks of NIfTI files: what is read, and what is written like them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.
#![allow(unreachable_pub, missing_debug_implementations, dead_code)] // Modules of a test have no outside.

#[path = "hostile/build.rs"]
mod build;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use build::{Nifti, gzip};
use lesio_image::{Geometry, Volume};
use lesio_io::nifti::{NiftiHeader, NiftiImage, NiftiVersion, Oddity, SpaceUnit, read_header};
use lesio_io::{AffineSource, ReadOptions, WriteOptions, read_volume};
use ndarray::Array3;
use nifti::{IntoNdArray, NiftiObject, ReaderOptions};

/// A volume of 3 by 2 by 2 voxels of half a millimeter and three, turned and shifted, in a unit.
fn in_unit(two: bool, units: i32, per_millimeter: f64) -> Nifti {
    let sizes = [0.5, 0.75, 3.0].map(|size| size * per_millimeter);
    let at = [-40.25, 12.5, 8.0].map(|place| place * per_millimeter);
    Nifti::version(two).with(|n| {
        (n.units, n.sform, n.qform) = (units, 1, 1);
        n.pixdim = [-1.0, sizes[0], sizes[1], sizes[2], 1.0, 1.0, 1.0, 1.0];
        // Half a turn about z, and the third axis mirrored.
        n.quaternion = [0.0, 0.0, 1.0];
        n.offset = at;
        n.srow = [[-sizes[0], 0.0, 0.0, at[0]], [0.0, -sizes[1], 0.0, at[1]], [0.0, 0.0, -sizes[2], at[2]]];
    })
}

fn written(folder: &Path, name: &str, nifti: &Nifti) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, nifti.file()).unwrap();
    path
}

/// The bytes of a header that say where voxels are: unit, codes, sizes, quaternion, matrix.
fn place_bytes(path: &Path, two: bool) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let fields: &[(usize, usize)] =
        if two { &[(104, 4 * 8), (344, 152), (500, 4)] } else { &[(76, 4 * 4), (123, 1), (252, 76)] };
    fields.iter().flat_map(|&(at, length)| bytes[at..at + length].to_vec()).collect()
}

#[test]
fn one_place_in_three_units_is_one_geometry() {
    let folder = tempfile::tempdir().unwrap();
    for two in [false, true] {
        let expected =
            [[-0.5, 0.0, 0.0, -40.25], [0.0, -0.75, 0.0, 12.5], [0.0, 0.0, -3.0, 8.0], [0.0, 0.0, 0.0, 1.0]];
        for (units, per_millimeter, unit) in [
            (0, 1.0, SpaceUnit::Unknown),
            (2 | 8, 1.0, SpaceUnit::Millimeter),
            (1 | 16, 1e-3, SpaceUnit::Meter),
            (3, 1e3, SpaceUnit::Micrometer),
        ] {
            let nifti = in_unit(two, units, per_millimeter);
            let path = written(folder.path(), &format!("{units}-{two}.nii"), &nifti);
            for source in AffineSource::ALL {
                let volume = ReadOptions::new().affine(source).read(&path).unwrap();
                let expected = Geometry::new(expected).unwrap();
                assert!(volume.geometry().is_close(&expected, 2e-5), "{unit} {source}: {volume:?}");
            }
            let header = read_header(&path).unwrap();
            assert_eq!(header.space_unit(), unit);
            // The header's own numbers stay what other programs print.
            let own = header.affine(AffineSource::Sform).unwrap();
            assert!((own[0][3] + 40.25 * per_millimeter).abs() < 1e-6 * per_millimeter, "{own:?}");
            assert!(NiftiImage::open(&path).unwrap().oddities().is_empty());
        }
    }
}

#[test]
fn a_map_like_its_input_has_its_unit_and_its_numbers_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    for two in [false, true] {
        for (units, per_millimeter) in [(0, 1.0), (2 | 8, 1.0), (1 | 16, 1e-3), (3 | 24, 1e3), (5, 1.0)] {
            let path = written(folder.path(), "input.nii", &in_unit(two, units, per_millimeter));
            let header = read_header(&path).unwrap();
            for source in AffineSource::ALL {
                let volume = ReadOptions::new().affine(source).read(&path).unwrap();
                let map = folder.path().join(format!("{two}-{units}-{source}.nii"));
                WriteOptions::new().like(&header).write(&map, &volume.map(|value| value * 0.5)).unwrap();
                assert_eq!(place_bytes(&map, two), place_bytes(&path, two), "{units} {source}");
                let back = ReadOptions::new().affine(source).read(&map).unwrap();
                assert_eq!(back.geometry(), volume.geometry());
            }
            // On another grid the numbers are new, and in the same unit.
            let volume = read_volume(&path).unwrap();
            let turned = volume.reoriented(&"PIR".parse().unwrap());
            let map = folder.path().join(format!("{two}-{units}-turned.nii"));
            WriteOptions::new().like(&header).write(&map, &turned).unwrap();
            let kept = read_header(&map).unwrap();
            assert_eq!(kept.xyzt_units, units);
            assert!((kept.pixdim[1] - 0.75 * per_millimeter).abs() < 1e-6 * per_millimeter, "{units}");
            let back = read_volume(&map).unwrap();
            assert!(back.geometry().is_close(turned.geometry(), 1e-5), "{units} {back:?}");
            assert_eq!(back.data(), turned.data());
            let odd = NiftiImage::open(&map).unwrap().oddities().to_vec();
            assert!(odd.iter().all(|odd| matches!(odd, Oddity::SpaceUnit { .. })), "{odd:?}");
        }
    }
}

/// As ACDC and others have it: the sform lost the sizes that qform and pixdim have.
fn lost_sizes() -> Nifti {
    Nifti::one().with(|n| {
        (n.sform, n.qform, n.units) = (1, 1, 2);
        n.pixdim = [1.0, 1.3, 1.3, 10.0, 1.0, 1.0, 1.0, 1.0];
        n.quaternion = [0.0, 0.0, 1.0];
        n.srow = [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    })
}

#[test]
fn the_user_chooses_between_forms_that_differ() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "a.nii", &lost_sizes());
    let spacing = |source| {
        let volume = ReadOptions::new().affine(source).read(&path).unwrap();
        volume.geometry().spacing().map(|size| (size * 1e5).round() / 1e5)
    };
    assert_eq!(spacing(AffineSource::Auto), [1.0, 1.0, 1.0]);
    assert_eq!(spacing(AffineSource::Sform), [1.0, 1.0, 1.0]);
    assert_eq!(spacing(AffineSource::Qform), [1.3, 1.3, 10.0]);
    for (source, taken, other) in [
        (AffineSource::Auto, "sform", "qform and pixdim"),
        (AffineSource::Qform, "qform and pixdim", "sform"),
    ] {
        let image = NiftiImage::open_with(&path, &ReadOptions::new().affine(source)).unwrap();
        let [Oddity::SpacingConflict { taken: found, other: found_other, .. }] = image.oddities() else {
            panic!("{:?}", image.oddities());
        };
        assert_eq!((*found, *found_other), (taken, other));
        let text = image.oddities()[0].to_string();
        assert!(text.contains("1 x 1 x 1 mm") && text.contains("1.3 x 1.3 x 10 mm"), "{text}");
    }
    // A map keeps what the input has, whichever was chosen: viewers show both in one place.
    let header = read_header(&path).unwrap();
    let volume = ReadOptions::new().affine(AffineSource::Qform).read(&path).unwrap();
    let map = folder.path().join("map.nii");
    WriteOptions::new().like(&header).write(&map, &volume).unwrap();
    assert_eq!(place_bytes(&map, false), place_bytes(&path, false));
}

#[test]
fn a_form_that_is_not_there_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |nifti: &Nifti, source, part: &str| {
        let path = written(folder.path(), "a.nii", nifti);
        let error = ReadOptions::new().affine(source).read(&path).unwrap_err();
        assert_eq!(error.kind().name(), "NoSuchForm", "{error}");
        assert!(error.to_string().contains(part) && error.to_string().contains("a.nii"), "{error}");
        let mask = ReadOptions::new().affine(source).read_mask(&path).unwrap_err();
        assert_eq!(mask.to_string(), error.to_string());
    };
    let codes = |sform, qform| Nifti::one().with(|n| (n.sform, n.qform) = (sform, qform));
    refused(
        &codes(1, 0),
        AffineSource::Qform,
        "has no qform, which was asked for: sform_code is 1 and qform_code is 0",
    );
    refused(&codes(0, 1), AffineSource::Sform, "has no sform");
    refused(&codes(0, 0), AffineSource::Sform, "has no sform");
    refused(&codes(1, 9), AffineSource::Qform, "qform_code is 9");
    // The other form is named where the one taken is unfit.
    let flat = codes(1, 1).with(|n| n.srow = [[0.0; 4]; 3]);
    let path = written(folder.path(), "flat.nii", &flat);
    let error = read_volume(&path).unwrap_err().to_string();
    assert!(error.contains("sform gives no affine") && error.contains("qform gives one"), "{error}");
    assert!(ReadOptions::new().affine(AffineSource::Qform).read(&path).is_ok());
    let error = NiftiHeader::parse(&flat.header()).unwrap().geometry().unwrap_err();
    assert_eq!(error.name(), "BadAffine");
}

#[test]
fn sources_have_names() {
    for source in AffineSource::ALL {
        assert_eq!(source.to_string().parse(), Ok(source));
        assert_eq!(serde_json::to_value(source).unwrap(), source.name());
    }
    assert!("Sform".parse::<AffineSource>().unwrap_err().to_string().contains("one of auto, sform, qform"));
    assert_eq!(AffineSource::default(), AffineSource::Auto);
}

/// Values, scaled as the file says.
fn mask_of(
    folder: &Path,
    datatype: i16,
    bits: i16,
    data: Vec<u8>,
    scale: (f64, f64),
) -> Result<Vec<bool>, String> {
    let nifti = Nifti::one().with(|n| {
        (n.datatype, n.bitpix, n.data) = (datatype, bits, data);
        (n.slope, n.inter) = scale;
    });
    let path = written(folder, "mask.nii", &nifti);
    let mask = ReadOptions::new().read_mask(path).map_err(|error| error.to_string())?;
    assert_eq!(mask.shape(), [3, 2, 2]);
    Ok(mask.data().t().iter().copied().collect())
}

#[test]
fn whatever_is_not_zero_is_inside_a_mask() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let floats = |values: [f32; 12]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let inside = [false, true, true, true, true, true, true, true, true, false, true, true];
    let values =
        [0.0, 1.0, 256.0, -1.0, 1.000_000_1, 1e-40, -1e30, 0.5, f32::INFINITY, -0.0, f32::MIN_POSITIVE, 3.0];
    assert_eq!(mask_of(at, 16, 32, floats(values), (0.0, 0.0)).unwrap(), inside);
    let shorts: Vec<u8> = [0_i16, 256, -1, 1, 0, 255, -256, 32767, -32768, 0, 2, 0]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let expected = [false, true, true, true, false, true, true, true, true, false, true, false];
    assert_eq!(mask_of(at, 4, 16, shorts.clone(), (0.0, 0.0)).unwrap(), expected);
    // The scaled value counts: where everything is shifted by one, 0 is inside and -1 is not.
    let expected = [true, true, false, true, true, true, true, true, true, true, true, true];
    assert_eq!(mask_of(at, 4, 16, shorts, (1.0, 1.0)).unwrap(), expected);
    let large: Vec<u8> = (0..12_u64).flat_map(|value| (value << 60).to_le_bytes()).collect();
    let expected: Vec<bool> = (0..12).map(|value| value != 0).collect();
    assert_eq!(mask_of(at, 1280, 64, large, (0.0, 0.0)).unwrap(), expected);
    let nan = [0.0, 1.0, f32::NAN, 1.0, 0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let error = mask_of(at, 16, 32, floats(nan), (0.0, 0.0)).unwrap_err();
    assert!(error.contains("mask.nii: 2 of 12 voxels are NaN (the first is voxel 2"), "{error}");
    // Labels stay exact.
    let path = at.join("mask.nii");
    fs::write(&path, Nifti::one().with(|n| n.slope = 0.5).file()).unwrap();
    assert_eq!(ReadOptions::new().read_as::<u16>(&path).unwrap_err().kind().name(), "LossyConversion");
}

#[test]
fn a_mask_is_one_volume_of_several() {
    let folder = tempfile::tempdir().unwrap();
    let data: Vec<u8> = (0..12).map(|value| u8::from(value % 5 == 0)).collect();
    let nifti = Nifti::one().with(|n| (n.dim, n.data) = ([4, 3, 2, 1, 2, 1, 1, 1], data));
    let path = written(folder.path(), "a.nii", &nifti);
    assert_eq!(ReadOptions::new().read_mask(&path).unwrap_err().kind().name(), "UnexpectedRank");
    let second = ReadOptions::new().volume(1).read_mask(&path).unwrap();
    let found: Vec<bool> = second.data().t().iter().copied().collect();
    assert_eq!(found, [false, false, false, false, true, false]);
    assert_eq!(ReadOptions::new().volume(2).read_mask(&path).unwrap_err().kind().name(), "NoSuchVolume");
    let limited = ReadOptions::new().volume(1).max_bytes(5).read_mask(&path).unwrap_err();
    assert_eq!(limited.kind().name(), "LimitExceeded");
}

#[test]
fn bytes_after_the_voxels_are_told_of_compressed_files_too() {
    let data: Vec<u8> = (0..12).collect();
    let whole = Nifti::one().with(|n| (n.dim, n.data) = ([4, 3, 2, 1, 2, 1, 1, 1], data)).file();
    let told = |bytes: &[u8], read: &dyn Fn(&mut NiftiImage<&[u8]>)| {
        let mut image = NiftiImage::from_bytes(bytes).unwrap();
        read(&mut image);
        // A second time, they are not told again.
        read(&mut image);
        image.oddities().to_vec()
    };
    let odd = Oddity::TrailingBytes { count: 5 };
    let long = [whole.as_slice(), &[7; 5]].concat();
    type Read = fn(&mut NiftiImage<&[u8]>);
    let ways: [Read; 6] = [
        |image| drop(image.read::<f32>().unwrap()),
        |image| drop(image.read_volume_at::<f32>(0).unwrap()),
        |image| drop(image.read_mask_at(1).unwrap()),
        |image| drop(image.statistics().unwrap()),
        |image| drop(image.read_volumes::<u8>().unwrap()),
        |image| drop(image.read_raw().unwrap()),
    ];
    for read in ways {
        assert_eq!(told(&long, &read), std::slice::from_ref(&odd));
        assert_eq!(told(&gzip(&long), &read), std::slice::from_ref(&odd));
        assert_eq!(told(&[gzip(&whole), gzip(&[7; 5])].concat(), &read), std::slice::from_ref(&odd));
        assert!(told(&gzip(&whole), &read).is_empty());
    }
}

#[test]
fn surfaces_are_written_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let vertices = 163_842_usize;
    let data: Vec<u8> = (0..vertices).map(|number| (number % 251) as u8).collect();
    let folded = Nifti::one().with(|n| (n.dim, n.data) = ([3, 27_307, 1, 6, 1, 1, 1, 1], data.clone()));
    let mut in_glmin = Nifti::one().with(|n| (n.dim, n.data) = ([3, -1, 1, 1, 1, 1, 1, 1], data)).file();
    in_glmin[144..148].copy_from_slice(&(vertices as i32).to_le_bytes());
    for (name, bytes) in [("folded.nii", folded.file()), ("glmin.nii", in_glmin)] {
        let path = folder.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let volume = read_volume(&path).unwrap();
        assert_eq!(volume.shape(), [vertices, 1, 1]);
        let map = folder.path().join(format!("map-{name}"));
        WriteOptions::new().like(&read_header(&path).unwrap()).write(&map, &volume).unwrap();
        let found = fs::read(&map).unwrap();
        // `dim` and `glmin`.
        assert_eq!((&found[40..56], &found[144..148]), (&bytes[40..56], &bytes[144..148]), "{name}");
        assert_eq!(read_volume(&map).unwrap(), volume);
        // What is not like it cannot be written as NIfTI-1.
        let error = WriteOptions::new().write(folder.path().join("x.nii"), &volume).unwrap_err();
        assert_eq!(error.kind().name(), "DimTooLargeForNifti1");
        let second = folder.path().join(format!("second-{name}"));
        let options = WriteOptions::new().like(&read_header(&path).unwrap()).version(NiftiVersion::Two);
        options.write(&second, &volume).unwrap();
        assert_eq!(read_volume(&second).unwrap(), volume);
    }
    // A volume that only looks like one would come back unfolded.
    let volume = Volume::new(Array3::<u8>::zeros((27_307, 1, 6)), Geometry::default());
    let path = folder.path().join("volume.nii");
    assert_eq!(WriteOptions::new().write(&path, &volume).unwrap_err().kind().name(), "FoldedShape");
    WriteOptions::new().version(NiftiVersion::Two).write(&path, &volume).unwrap();
    assert_eq!(ReadOptions::new().read_as::<u8>(&path).unwrap(), volume);
}

/// What is written like an input, as the nifti crate reads it.
#[test]
fn another_reader_finds_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    for (units, per_millimeter) in [(2, 1.0), (1, 1e-3), (3, 1e3)] {
        let path = written(folder.path(), "input.nii", &in_unit(false, units, per_millimeter));
        let volume = read_volume(&path).unwrap();
        let map = folder.path().join(format!("{units}.nii.gz"));
        WriteOptions::new().like(&read_header(&path).unwrap()).write(&map, &volume).unwrap();
        let [input, output] =
            [&path, &map].map(|path| ReaderOptions::new().read_file(path).unwrap().header().clone());
        assert_eq!((input.srow_x, input.srow_y, input.srow_z), (output.srow_x, output.srow_y, output.srow_z));
        assert_eq!(
            (input.pixdim[..4].to_vec(), input.xyzt_units),
            (output.pixdim[..4].to_vec(), output.xyzt_units)
        );
        assert_eq!((input.quatern_d, input.quatern_x), (output.quatern_d, output.quatern_x));
        assert_eq!((input.sform_code, input.qform_code), (output.sform_code, output.qform_code));
    }
}

/// Voxels of every real type, in both byte orders and scaled, as the nifti crate reads them.
#[test]
fn another_reader_finds_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let values = [0.0, 1.0, 2.0, 100.0, 127.0, 3.0, 64.0, 7.0, 12.0, 99.0, 5.0, 31.0];
    let mut compared = 0;
    for (datatype, bits) in
        [(2, 8), (256, 8), (4, 16), (512, 16), (8, 32), (768, 32), (16, 32), (64, 64), (1024, 64), (1280, 64)]
    {
        for big in [false, true] {
            for (slope, inter) in [(0.0, 0.0), (1.0, 0.0), (0.5, -3.0), (2.0, 100.0)] {
                let data: Vec<u8> = values
                    .iter()
                    .flat_map(|&value: &f64| {
                        let mut bytes = match datatype {
                            16 => (value as f32).to_le_bytes().to_vec(),
                            64 => value.to_le_bytes().to_vec(),
                            _ => (value as u64).to_le_bytes()[..bits as usize / 8].to_vec(),
                        };
                        if big {
                            bytes.reverse();
                        }
                        bytes
                    })
                    .collect();
                let nifti = Nifti::one().with(|n| {
                    (n.big, n.datatype, n.bitpix, n.data) = (big, datatype, bits, data);
                    (n.slope, n.inter) = (slope, inter);
                });
                let path = written(folder.path(), "a.nii", &nifti);
                let ours = NiftiImage::open(&path).unwrap().read::<f64>().unwrap();
                let theirs = ReaderOptions::new().read_file(&path).unwrap().into_volume();
                let theirs = theirs.into_ndarray::<f64>().unwrap();
                assert_eq!(ours.shape(), theirs.shape());
                let same = ours.iter().zip(theirs.iter()).all(|(a, b)| a == b);
                assert!(same, "type {datatype}, big {big}, {slope} {inter}: {ours} {theirs}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 80);
}

#[test]
fn a_header_is_found_from_either_half_of_a_pair() {
    let folder = tempfile::tempdir().unwrap();
    for two in [false, true] {
        let pair = in_unit(two, 1, 1e-3).with(|n| (n.magic[1], n.vox_offset) = (b'i', 0.0));
        for (hdr, img) in [("a.hdr", "a.img"), ("b.hdr", "b.img.gz"), ("c.hdr.gz", "c.img")] {
            let bytes = |name: &str, bytes: &[u8]| {
                if name.ends_with("gz") { build::gzip(bytes) } else { bytes.to_vec() }
            };
            fs::write(folder.path().join(hdr), bytes(hdr, &pair.header())).unwrap();
            fs::write(folder.path().join(img), bytes(img, &pair.data)).unwrap();
            let [by_header, by_voxels] = [hdr, img].map(|name| folder.path().join(name));
            let header = read_header(&by_header).unwrap();
            assert_eq!(read_header(&by_voxels).unwrap(), header);
            assert_eq!(read_volume(&by_voxels).unwrap(), read_volume(&by_header).unwrap());
            let map = folder.path().join(format!("{two}-{hdr}.nii"));
            WriteOptions::new().like(&header).write(&map, &read_volume(&by_voxels).unwrap()).unwrap();
            assert_eq!(place_bytes(&map, two), place_bytes(&written(folder.path(), "x.nii", &pair), two));
        }
    }
    let alone = folder.path().join("alone.img");
    fs::write(&alone, [0; 20]).unwrap();
    assert_eq!(read_header(&alone).unwrap_err().kind().name(), "MissingPair");
}

/// The generator of shared cases, run where it is.
#[test]
fn the_shared_cases_of_units_and_forms_and_values() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/make.py");
    let Some(python) = std::env::var_os("LESIO_PYTHON").filter(|_| script.is_file()) else {
        println!("skipped: {} is not present, or LESIO_PYTHON names no Python", script.display());
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let at = |name: &str| folder.path().join(name);
    let millimeters = read_volume(at("units/mm/image.nii.gz")).unwrap();
    for unit in ["micron", "meter"] {
        let found = read_volume(at(&format!("units/{unit}/image.nii.gz"))).unwrap();
        assert!(found.geometry().is_close(millimeters.geometry(), 1e-6), "{unit}: {:?}", found.geometry());
        assert_eq!(found.data(), millimeters.data());
    }
    let image = NiftiImage::open(at("forms/image.nii.gz")).unwrap();
    let told: Vec<String> = image.oddities().iter().map(ToString::to_string).collect();
    assert!(told[0].contains("1 x 1 x 1 mm by sform and 1.3 x 1.3 x 10 mm by qform and pixdim"), "{told:?}");
    let mask =
        |name: &str| ReadOptions::new().read_mask(at(&format!("values/{name}/c0/mask.nii.gz"))).unwrap();
    let inside = mask("256").data().iter().filter(|&&inside| inside).count();
    assert!(inside > 50, "{inside}");
    assert_eq!((mask("-1"), mask("rounded")), (mask("256"), mask("256")));
}
