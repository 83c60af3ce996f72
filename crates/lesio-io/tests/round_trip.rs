//! What is written is read again as the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;

use lesio_image::{Geometry, Image, Orientation, Volume};
use lesio_io::atomic::Existing;
use lesio_io::nifti::{Compression, Extension, NiftiImage, NiftiVersion, Voxel, read_header};
use lesio_io::{ReadOptions, WriteOptions, read_image, read_volume, write_png, write_volume};
use ndarray::Array3;
use proptest::prelude::*;
use support::Unsynced;

const NAMES: [&str; 6] = ["a.nii", "a.nii.gz", "a.hdr", "a.img", "a.hdr.gz", "a.img.gz"];

fn geometry() -> impl Strategy<Value = Geometry> {
    // Numbers that 32-bit floats hold, as those of a file do.
    proptest::array::uniform12(-64_i16..64).prop_filter_map("singular", |v| {
        let row = |at: usize| std::array::from_fn(|i| f64::from(v[at + i]) / 8.0);
        Geometry::new([row(0), row(4), row(8), [0.0, 0.0, 0.0, 1.0]]).ok()
    })
}

fn volume<T: Voxel>(values: impl Strategy<Value = T> + Clone) -> impl Strategy<Value = Volume<T>> {
    ((1_usize..6, 1_usize..6, 1_usize..6), geometry()).prop_flat_map(move |(shape, geometry)| {
        let (a, b, c) = shape;
        proptest::collection::vec(values.clone(), a * b * c)
            .prop_map(move |values| Volume::new(Array3::from_shape_vec(shape, values).unwrap(), geometry))
    })
}

/// Bit for bit, so that NaN equals itself and zeros keep their sign.
fn same<T: Voxel>(volume: &Volume<T>, name: &str, version: NiftiVersion) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    WriteOptions::new().version(version).write_in(&Unsynced, &path, volume).unwrap();
    let read = ReadOptions::new().read_as::<T>(&path).unwrap();
    assert_eq!(read.shape(), volume.shape());
    assert!(read.data().iter().zip(volume.data()).all(|(a, b)| format!("{a:?}") == format!("{b:?}")));
    assert_eq!(read.geometry(), volume.geometry());
    let header = NiftiImage::open(&path).unwrap().header().clone();
    assert_eq!((header.datatype, header.version), (T::DATATYPE, version));
    assert!(NiftiImage::open(&path).unwrap().oddities().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn volumes_of_every_type(
        (name, two) in (0..NAMES.len(), any::<bool>()),
        v1 in volume(any::<u8>()), v2 in volume(any::<i8>()), v3 in volume(any::<u16>()),
        v4 in volume(any::<i16>()), v5 in volume(any::<u32>()), v6 in volume(any::<i32>()),
        v7 in volume(any::<u64>()), v8 in volume(any::<i64>()),
        v9 in volume(proptest::num::f32::ANY), v10 in volume(proptest::num::f64::ANY),
    ) {
        let version = if two { NiftiVersion::Two } else { NiftiVersion::One };
        let name = NAMES[name];
        same(&v1, name, version);
        same(&v2, name, version);
        same(&v3, name, version);
        same(&v4, name, version);
        same(&v5, name, version);
        same(&v6, name, version);
        same(&v7, name, version);
        same(&v8, name, version);
        same(&v9, name, version);
        same(&v10, name, version);
    }

    #[test]
    fn images_of_every_kind(
        (channels, height, width) in prop_oneof![Just(1_usize), Just(3)].prop_flat_map(|c| (Just(c), 1_usize..9, 1_usize..9)),
        seed in any::<u16>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let deep = Image::new(Array3::from_shape_fn((channels, height, width), |(c, i, j)| {
            seed.wrapping_mul(40_503).wrapping_add((c * 81 + i * 9 + j) as u16).wrapping_mul(12_345)
        }));
        let shallow = deep.map(|&value| (value >> 8) as u8);
        write_png(folder.path().join("deep.png"), &deep, Existing::Refuse).unwrap();
        write_png(folder.path().join("shallow.png"), &shallow, Existing::Refuse).unwrap();
        prop_assert_eq!(read_image(folder.path().join("deep.png")).unwrap(), deep.map(|&v| f32::from(v)));
        prop_assert_eq!(read_image(folder.path().join("shallow.png")).unwrap(), shallow.map(|&v| f32::from(v)));
    }

    #[test]
    fn slabs_are_the_volume(volume in volume(any::<i16>()), thickness in 0_usize..8) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii.gz");
        write_volume(&path, &volume).unwrap();
        let mut image = NiftiImage::open(&path).unwrap();
        let mut next = 0;
        for slab in image.slabs::<i16>(thickness).unwrap() {
            let slab = slab.unwrap();
            prop_assert_eq!(slab.first_slice, next);
            for (k, plane) in slab.data.axis_iter(ndarray::Axis(2)).enumerate() {
                prop_assert_eq!(plane, volume.data().index_axis(ndarray::Axis(2), next + k));
            }
            next += slab.data.dim().2;
        }
        prop_assert_eq!(next, volume.shape()[2]);
    }
}

fn ramp(geometry: Geometry) -> Volume<f32> {
    Volume::new(Array3::from_shape_fn((3, 4, 5), |(i, j, k)| (i * 20 + j * 5 + k) as f32), geometry)
}

#[test]
fn a_map_keeps_what_its_input_says() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.nii"), folder.path().join("second.nii.gz"));
    let turned = Geometry::new([
        [0.0, -2.0, 0.0, 5.5],
        [1.5, 0.0, 0.0, -7.25],
        [0.0, 0.0, 3.0, 1.0],
        [0.0, 0.0, 0.0, 1.0],
    ])
    .unwrap();
    write_volume(&first, &ramp(turned)).unwrap();
    // Micrometers and milliseconds.
    let mut bytes = fs::read(&first).unwrap();
    bytes[123] = 3 | 16;
    fs::write(&first, bytes).unwrap();
    let volume = read_volume(&first).unwrap();
    assert_eq!(volume.geometry().spacing(), [0.0015, 0.002, 0.003]);
    let mut header = read_header(&first).unwrap();
    header.description = b"a description".to_vec();
    header.auxiliary_file = b"other.txt".to_vec();
    (header.qform_code, header.sform_code) = (1, 4);
    header.extensions = vec![Extension::new(6, b"kept".to_vec())];
    WriteOptions::new().like(&header).write(&second, &volume.map(|v| v * 2.0)).unwrap();
    let kept = read_header(&second).unwrap();
    assert_eq!((kept.qform_code, kept.sform_code, kept.xyzt_units), (1, 4, 19));
    assert_eq!((&kept.description, &kept.auxiliary_file), (&header.description, &header.auxiliary_file));
    assert_eq!(
        (kept.srow, kept.quaternion, kept.quaternion_offset),
        (header.srow, header.quaternion, header.quaternion_offset)
    );
    assert_eq!(kept.extensions.len(), 1);
    assert_eq!((kept.extensions[0].code, &kept.extensions[0].content[..5]), (6, &b"kept\0"[..]));
    // On another grid the codes stay and the numbers follow the volume.
    let third = folder.path().join("third.nii");
    let there = volume.reoriented(&Orientation::RAS);
    WriteOptions::new().like(&header).write(&third, &there).unwrap();
    let moved = read_header(&third).unwrap();
    assert_eq!((moved.qform_code, moved.sform_code), (1, 4));
    let found = read_volume(&third).unwrap();
    assert_eq!(found.data(), there.data());
    // Micrometers are kept in 32 bits.
    assert!(found.geometry().is_close(there.geometry(), 1e-9), "{found:?} {there:?}");
    // By the quaternion alone, too: a reader that prefers it finds the same place.
    let mut by_quaternion = moved;
    by_quaternion.sform_code = 0;
    assert!(by_quaternion.geometry().unwrap().is_close(there.geometry(), 1e-5));
}

#[test]
fn a_place_of_the_quaternion_alone_is_kept_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.nii"), folder.path().join("second.nii"));
    write_volume(&first, &ramp(Geometry::default())).unwrap();
    let mut bytes = fs::read(&first).unwrap();
    let mut set = |at: usize, value: f32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    for (at, value) in [(256, 0.1), (260, -0.2), (264, 0.3), (268, -9.1), (80, 1.1), (84, 0.9), (88, 3.3)] {
        set(at, value);
    }
    // sform_code
    bytes[254..256].copy_from_slice(&[0, 0]);
    fs::write(&first, bytes).unwrap();
    let volume = read_volume(&first).unwrap();
    WriteOptions::new().like(&read_header(&first).unwrap()).write(&second, &volume).unwrap();
    assert_eq!(read_volume(&second).unwrap(), volume);
    assert_eq!(read_header(&second).unwrap().sform_code, 0);
}

#[test]
fn the_same_volume_gives_the_same_bytes_in_any_memory_order() {
    let folder = tempfile::tempdir().unwrap();
    let volume = ramp(Geometry::default());
    let columns = read_volume({
        let path = folder.path().join("a.nii.gz");
        write_volume(&path, &volume).unwrap();
        path
    })
    .unwrap();
    assert_ne!(volume.data().strides(), columns.data().strides());
    write_volume(folder.path().join("b.nii.gz"), &columns).unwrap();
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("a.nii.gz"), bytes("b.nii.gz"));
    for (name, compression) in [("fast.nii.gz", Compression::Fast), ("small.nii.gz", Compression::Small)] {
        WriteOptions::new().compression(compression).write(folder.path().join(name), &columns).unwrap();
        assert_eq!(read_volume(folder.path().join(name)).unwrap(), volume);
    }
}

#[test]
fn names_are_used_as_given() {
    let folder = tempfile::tempdir().unwrap();
    let volume = ramp(Geometry::default());
    // The first is overwritten by the second in a writer that takes names apart.
    for name in ["sub-01.nii", "sub-01.ses-1.nii", "b.NII.GZ"] {
        write_volume(folder.path().join(name), &volume).unwrap();
        assert_eq!(read_volume(folder.path().join(name)).unwrap(), volume);
    }
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["b.NII.GZ", "sub-01.nii", "sub-01.ses-1.nii"]);
}

#[test]
fn what_cannot_be_written_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let volume = ramp(Geometry::default());
    let kind = |result: Result<(), lesio_io::ImageWriteError>| result.unwrap_err().kind().name();
    for name in ["a.foo", "a", "a.nii.bz2", "a.png"] {
        assert_eq!(kind(write_volume(at(name), &volume)), "UnknownFormat");
    }
    let empty = Volume::new(Array3::<u8>::zeros((3, 0, 2)), Geometry::default());
    assert_eq!(kind(write_volume(at("a.nii"), &empty)), "EmptyVolume");
    let long = Volume::new(Array3::<u8>::zeros((1, 32768, 1)), Geometry::default());
    assert_eq!(kind(write_volume(at("a.nii"), &long)), "DimTooLargeForNifti1");
    let scaled = |scale: f64| ramp(Geometry::from_spacing([scale; 3]).unwrap());
    assert_eq!(kind(write_volume(at("a.nii"), &scaled(1e39))), "AffineOutOfRange");
    assert_eq!(kind(write_volume(at("a.nii"), &scaled(1e-60))), "AffineOutOfRange");
    assert_eq!(kind(write_volume(at("absent/a.nii"), &volume)), "Io");
    let image = |channels, height, width| Image::new(Array3::<u8>::zeros((channels, height, width)));
    for odd in [image(5, 1, 1), image(0, 1, 1), image(1, 0, 3), image(1, 3, 0)] {
        assert_eq!(kind(write_png(at("a.png"), &odd, Existing::Refuse)), "UnsupportedImage");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // NIfTI-2 takes what NIfTI-1 does not.
    let two = WriteOptions::new().version(NiftiVersion::Two);
    two.write(at("long.nii"), &long).unwrap();
    two.write(at("large.nii"), &scaled(1e39)).unwrap();
    assert_eq!(read_volume(at("large.nii")).unwrap(), scaled(1e39));
    assert_eq!(ReadOptions::new().read_as::<u8>(at("long.nii")).unwrap(), long);
}

#[test]
fn a_pair_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hdr");
    let volume = ramp(Geometry::default());
    write_volume(&path, &volume).unwrap();
    let options = WriteOptions::new();
    assert_eq!(options.write(&path, &volume).unwrap_err().kind().name(), "OutputExists");
    let replace = options.existing(Existing::Replace);
    assert_eq!(replace.write(&path, &volume.map(|_| 0.0)).unwrap_err().kind().name(), "PairExists");
    assert_eq!(read_volume(&path).unwrap(), volume);
    // One half is enough to be in the way.
    fs::remove_file(&path).unwrap();
    let error = replace.write(&path, &volume).unwrap_err();
    assert_eq!((error.kind().name(), error.path()), ("PairExists", folder.path().join("a.img").as_path()));
}
