//! The types of the crate `nifti`, there and back: real files, made files, and what that crate reads otherwise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.
#![allow(unreachable_pub, missing_debug_implementations, dead_code)] // Modules of a test have no outside.

#[path = "hostile/build.rs"]
mod build;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use build::Nifti;
use lesio_image::{Geometry, Volume};
use lesio_io::nifti::{Extension, NiftiHeader, NiftiImage, NiftiVersion, read_header};
use lesio_io::{InterchangeError, ReadError, ReadOptions, WriteOptions};
use ndarray::{Array3, ArrayD};
use nifti::{
    DataElement, InMemNiftiObject, InMemNiftiVolume, IntoNdArray, NiftiError, NiftiObject, NiftiVolume,
    ReaderOptions,
};
use num_complex::Complex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the crate `nifti` reads in a file.
fn theirs(path: &Path) -> Result<InMemNiftiObject, NiftiError> {
    ReaderOptions::new().read_file(path)
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// A header of the crate `nifti` as text, without what lesio does not keep: NaN is not equal to itself.
fn shown(header: &nifti::NiftiHeader) -> String {
    let mut kept = header.clone();
    let new = nifti::NiftiHeader::default();
    (kept.data_type, kept.db_name, kept.extents) = (new.data_type, new.db_name, new.extents);
    (kept.session_error, kept.regular, kept.glmax, kept.magic) = (0, 0, 0, *b"n+1\0");
    (kept.bitpix, kept.vox_offset) = (0, 0.0);
    // But for the surfaces of FreeSurfer.
    kept.glmin = if kept.dim[1] == u16::MAX { kept.glmin } else { 0 };
    let axes = usize::from(kept.dim[0]);
    kept.dim[axes + 1..].fill(1);
    let end = |text: &mut [u8]| {
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        text[end..].fill(0);
    };
    end(&mut kept.descrip);
    end(&mut kept.aux_file);
    end(&mut kept.intent_name);
    format!("{kept:?}")
}

/// A header of lesio as text, but for the offset of the voxels, which is that of another file, and `bitpix`, which an
/// object has from the type.
fn kept(header: &NiftiHeader) -> String {
    let mut header = header.clone();
    (header.vox_offset, header.bits_per_voxel) = (0, 0);
    format!("{header:?}")
}

fn bits(found: Result<ArrayD<f64>, ReadError>) -> Result<Vec<u64>, &'static str> {
    // The sign and the payload of NaN depend on the machine where values are scaled.
    let bits = |&value: &f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    found.map(|array| array.t().iter().map(bits).collect()).map_err(|error| error.kind().name())
}

/// The values of a volume of the crate `nifti`, scaled by that crate.
fn values<T: DataElement + Into<f64>>(object: &InMemNiftiObject) -> Vec<u64> {
    let array = object.volume().into_ndarray::<T>().unwrap();
    bits(Ok(array.map(|&value| value.into()))).unwrap()
}

/// Takes a file through both directions; tells whether the crate `nifti` reads it.
fn both_directions(path: &Path) -> bool {
    let name = path.display();
    let mut ours = NiftiImage::open(path).unwrap();
    let (raw, read) = (ours.read_raw().unwrap(), bits(ours.read()));

    // There, and back.
    let object = ours.to_nifti_object().unwrap();
    let mut back = NiftiImage::from_nifti_object(&object).unwrap();
    assert_eq!(back.read_raw().unwrap(), raw, "{name}");
    assert_eq!(bits(back.read()), read, "{name}");
    match ours.header().version {
        NiftiVersion::One => {
            assert_eq!(kept(back.header()), kept(ours.header()), "{name}");
            assert_eq!(back.geometry(), ours.geometry(), "{name}");
        }
        // Rounded.
        NiftiVersion::Two => assert!(back.geometry().is_close(ours.geometry(), 1e-4), "{name}"),
    }
    let (header, volume) = ours.to_nifti_parts().unwrap();
    assert_eq!(header.bitpix, (ours.header().datatype.bytes() * 8) as i16);
    assert_eq!((volume.raw_data(), volume.dim()), (&raw[..], object.volume().dim()), "{name}");
    let mut parts = NiftiImage::from_nifti_parts(&header, &volume, &ReadOptions::new()).unwrap();
    assert_eq!(bits(parts.read()), read, "{name}");

    // What that crate reads is what it is given.
    let Ok(found) = theirs(path) else { return false };
    assert_eq!(shown(object.header()), shown(found.header()), "{name}");
    assert_eq!(shown(&header), shown(found.header()), "{name}");
    assert_eq!(object.volume().raw_data(), found.volume().raw_data(), "{name}");
    if ours.header().datatype.is_real() {
        assert_eq!(values::<f64>(&object), values::<f64>(&found), "{name}");
    }

    // What that crate has read is what lesio reads.
    let mut image = NiftiImage::from_nifti_object(&found).unwrap();
    assert_eq!(bits(image.read()), read, "{name}");
    assert_eq!(image.geometry(), ours.geometry(), "{name}");
    let mut header = image.header().clone();
    if !path.to_string_lossy().contains(".nii") {
        // Those of a pair are not read there.
        header.extensions.clone_from(&ours.header().extensions);
    }
    assert_eq!(format!("{header:?}"), format!("{:?}", ours.header()), "{name}");
    let rgba = (image.read_rgba().ok(), ours.read_rgba().ok());
    assert_eq!(rgba.0, rgba.1, "{name}");
    let complex = (image.read_complex().ok(), ours.read_complex().ok());
    assert_eq!(format!("{:?}", complex.0), format!("{:?}", complex.1), "{name}");
    true
}

/// The folder of real files, where it is present.
fn real_files() -> Option<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/nifti-files");
    if !folder.is_dir() {
        println!("skipped: {} is not present", folder.display());
        return None;
    }
    let expected: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let names = expected.as_object().unwrap().keys();
    Some(names.map(|name| folder.join(name)).collect())
}

#[test]
fn real_files_go_through_both_directions() {
    let Some(paths) = real_files() else { return };
    let (mut read, mut refused) = (0, Vec::new());
    for path in &paths {
        if NiftiImage::open(path).is_err() {
            continue;
        }
        read += 1;
        if !both_directions(path) {
            refused.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    println!("{} files, {read} read, {refused:?} not by the crate nifti", paths.len());
    assert!(read >= 80, "{read} read");
    refused.sort();
    assert_eq!(refused, REFUSED_THERE);
}

/// Real files that lesio reads and the crate `nifti` does not: NIfTI-2, and pairs named by their voxels.
const REFUSED_THERE: &[&str] = &["example_nifti2.nii.gz", "minimal.img", "minimal.img.gz", "minimal2.img.gz"];

#[test]
fn real_headers_go_through_both_directions() {
    let Some(paths) = real_files() else { return };
    let mut compared = 0;
    for path in paths {
        let Ok(header) = read_header(&path) else { continue };
        if header.version == NiftiVersion::Two || path.to_string_lossy().contains(".img") {
            continue;
        }
        let found = nifti::NiftiHeader::from_file(&path).unwrap();
        let mut without = header.clone();
        without.extensions.clear();
        assert_eq!(format!("{:?}", NiftiHeader::try_from(&found).unwrap()), format!("{without:?}"));
        let there = nifti::NiftiHeader::try_from(&header).unwrap();
        assert_eq!(shown(&there), shown(&found), "{}", path.display());
        assert_eq!((there.bitpix, there.vox_offset), (found.bitpix, found.vox_offset));
        assert_eq!(format!("{:?}", NiftiHeader::try_from(&there).unwrap()), format!("{without:?}"));
        compared += 1;
    }
    assert!(compared >= 80, "{compared}");
}

/// 3 by 2 by 2 voxels with every field set that both crates keep.
fn full(big: bool) -> Vec<u8> {
    let nifti = Nifti::one().with(|n| {
        (n.big, n.units, n.sform, n.qform) = (big, 1 | 16, 4, 1);
        n.pixdim = [-1.0, 0.002, 0.0015, 0.003, 2.0, 5.0, 6.0, 7.0];
        (n.quaternion, n.offset) = ([0.0, 0.0, 1.0], [0.25, -0.5, 0.125]);
        n.srow = [[-0.002, 0.0, 0.0, 0.25], [0.0, -0.0015, 0.0, -0.5], [0.0, 0.0, -0.003, 0.125]];
        (n.slope, n.inter, n.intent) = (0.5, -3.0, 3);
    });
    let mut bytes = nifti.file();
    let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let float = |value: f32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let short = |value: i16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    set(39, &[0b11_01_10]);
    for (at, value) in [(56, 1.5), (60, 2.5), (64, 3.5), (124, 900.0), (128, -20.0), (132, 0.25), (136, 4.0)]
    {
        set(at, &float(value));
    }
    set(74, &short(1));
    set(120, &short(17));
    set(122, &[3]);
    set(148, b"what it shows\0and what follows");
    set(228, b"beside.txt");
    set(328, b"an intent of 16b");
    bytes
}

#[test]
fn every_field_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    for big in [false, true] {
        let path = written(folder.path(), "a.nii", &full(big));
        assert!(both_directions(&path));
        let image = NiftiImage::from_bytes(&fs::read(&path).unwrap()).unwrap().to_nifti_object().unwrap();
        let header = image.header();
        assert_eq!(
            (header.descrip.as_slice()[..14].to_vec(), header.descrip.len()),
            (b"what it shows\0".to_vec(), 80)
        );
        assert_eq!(
            (header.intent_code, header.intent_p3, header.intent_name),
            (3, 3.5, *b"an intent of 16b")
        );
        assert_eq!((header.scl_slope, header.scl_inter, header.xyzt_units), (0.5, -3.0, 17));
        assert_eq!(
            (header.cal_max, header.cal_min, header.slice_code, header.slice_end),
            (900.0, -20.0, 3, 17)
        );
        assert_eq!(
            (header.sform_code, header.qform_code, header.quatern_d, header.pixdim[4]),
            (4, 1, 1.0, 2.0)
        );
        assert_eq!(header.srow_z, [0.0, 0.0, -0.003, 0.125]);
        assert_eq!(header.endianness, if big { nifti::Endianness::Big } else { nifti::Endianness::Little });
    }
}

/// Types with their bits and a value in bytes, least significant first.
fn types() -> Vec<(i16, i16, Vec<u8>)> {
    let mut types = vec![
        (2, 8, vec![200]),
        (256, 8, vec![200]),
        (4, 16, (-1234_i16).to_le_bytes().to_vec()),
        (512, 16, 54_321_u16.to_le_bytes().to_vec()),
        (8, 32, (-123_456_789_i32).to_le_bytes().to_vec()),
        (768, 32, 4_000_000_001_u32.to_le_bytes().to_vec()),
        (1024, 64, (-(1_i64 << 60) - 1).to_le_bytes().to_vec()),
        (1280, 64, ((1_u64 << 63) + 1).to_le_bytes().to_vec()),
        (16, 32, (-1.25_f32).to_le_bytes().to_vec()),
        (64, 64, 1e-300_f64.to_le_bytes().to_vec()),
        (128, 24, vec![1, 2, 3]),
        (2304, 32, vec![1, 2, 3, 4]),
    ];
    types.push((32, 64, [1.5_f32, -2.5].iter().flat_map(|v| v.to_le_bytes()).collect()));
    types.push((1792, 128, [1.5_f64, -2.5].iter().flat_map(|v| v.to_le_bytes()).collect()));
    types
}

#[test]
fn types_orders_ranks_and_scalings_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for (datatype, bitpix, value) in types() {
        for big in [false, true] {
            for (dim, count) in [
                ([1, 12, 1, 1, 1, 1, 1, 1], 12),
                ([3, 3, 2, 2, 1, 1, 1, 1], 12),
                ([4, 3, 2, 2, 2, 0, 0, 0], 24),
                ([7, 1, 2, 1, 2, 1, 2, 3], 24),
            ] {
                for (slope, inter) in [(0.0, 7.0), (1.0, 0.0), (0.25, -3.5)] {
                    let width = match datatype {
                        128 | 2304 => 1,
                        32 | 1792 => value.len() / 2,
                        _ => value.len(),
                    };
                    let mut one = value.clone();
                    if big {
                        one.chunks_mut(width).for_each(<[u8]>::reverse);
                    }
                    let nifti = Nifti::one().with(|n| {
                        (n.big, n.dim, n.datatype, n.bitpix) = (big, dim, datatype, bitpix);
                        (n.slope, n.inter, n.data) = (slope, inter, one.repeat(count));
                    });
                    assert!(both_directions(&written(folder.path(), "a.nii", &nifti.file())));
                    assert!(both_directions(&written(
                        folder.path(),
                        "a.nii.gz",
                        &build::gzip(&nifti.file())
                    )));
                    let pair = nifti.with(|n| (n.magic, n.vox_offset) = (b"ni1\0".to_vec(), 0.0));
                    written(folder.path(), "b.img", &pair.data);
                    assert!(both_directions(&written(folder.path(), "b.hdr", &pair.header())));
                    compared += 3;
                }
            }
        }
    }
    assert_eq!(compared, 14 * 2 * 4 * 3 * 3);
}

#[test]
fn extensions_are_kept_in_both_orders() {
    for big in [false, true] {
        let mut prefix = [32_i32, 6].map(|v| if big { v.to_be_bytes() } else { v.to_le_bytes() }).concat();
        prefix.extend(b"a comment of 24 bytes...");
        let file = Nifti::one().with(|n| n.big = big).between(prefix).file();
        let folder = tempfile::tempdir().unwrap();
        assert!(both_directions(&written(folder.path(), "a.nii", &file)));
        let object = NiftiImage::from_bytes(&file).unwrap().to_nifti_object().unwrap();
        assert_eq!(object.extensions().len(), 1);
        let first = object.extensions().iter().next().unwrap();
        assert_eq!((first.code(), first.data().as_slice()), (6, &b"a comment of 24 bytes..."[..]));
        assert_eq!(NiftiImage::from_nifti_object(&object).unwrap().header().extensions.len(), 1);
    }
}

#[test]
fn volumes_become_what_their_files_are_read_as() {
    let folder = tempfile::tempdir().unwrap();
    let geometry = Geometry::new([
        [0.0, -2.0, 0.0, 5.5],
        [1.5, 0.0, 0.0, -7.25],
        [0.0, 0.0, 3.0, 1.0],
        [0.0, 0.0, 0.0, 1.0],
    ])
    .unwrap();
    let mut like = NiftiImage::from_bytes(&full(false)).unwrap().header().clone();
    like.extensions = vec![Extension::new(6, b"a comment".to_vec())];
    for options in [WriteOptions::new(), WriteOptions::new().like(&like)] {
        let volume =
            Volume::new(Array3::from_shape_fn((4, 3, 2), |(i, j, k)| (i + 4 * j + 12 * k) as i16), geometry);
        let path = folder.path().join("a.nii");
        let _ = fs::remove_file(&path);
        options.write(&path, &volume).unwrap();
        // NIfTI-2 is not known there.
        for options in [options.clone(), options.version(NiftiVersion::Two)] {
            let object = options.to_nifti_object(&volume).unwrap();
            assert_eq!(object, theirs(&path).unwrap());
            let mut image = NiftiImage::from_nifti_object(&object).unwrap();
            // In meters, a place of 32 bits is not quite that of the volume.
            assert!(image.geometry().is_close(volume.geometry(), 1e-6));
            let read = image.read_volume::<i16>().unwrap();
            assert_eq!(read.data(), volume.data());
            assert_eq!(read, ReadOptions::new().read_as::<i16>(&path).unwrap());
        }
    }
    let empty = Volume::new(Array3::<u8>::zeros((0, 1, 1)), Geometry::default());
    assert_eq!(WriteOptions::new().to_nifti_object(&empty).unwrap_err().name(), "EmptyVolume");
}

#[test]
fn nifti_2_is_rounded_or_refused() {
    let header = |change: &dyn Fn(&mut Nifti)| {
        let nifti = Nifti::two().with(|n| change(n));
        NiftiImage::from_bytes(&nifti.file()).unwrap().header().clone()
    };
    let rounded = header(&|n| n.srow[0][3] = 0.1);
    assert_eq!(nifti::NiftiHeader::try_from(&rounded).unwrap().srow_x[3], 0.1);
    let refused = |header: &NiftiHeader, text: &str| {
        let error = nifti::NiftiHeader::try_from(header).unwrap_err();
        assert!(matches!(error, InterchangeError::Field { .. }), "{error:?}");
        assert_eq!(error.to_string(), text);
    };
    refused(&header(&|n| n.sform = 40_000), "sform_code is 40000, expected an integer of 16 bits");
    refused(&header(&|n| n.units = 258), "xyzt_units is 258, expected an integer of 8 bits");
    refused(
        &header(&|n| n.slope = 1e60),
        &format!("scl_slope is {}, expected a number that a 32-bit float holds", 1e60),
    );
    let mut long = rounded.clone();
    long.shape[1] = 40_000;
    refused(&long, "dim is 40000 along axis 1, expected 1 to 32767, which NIfTI-1 holds");
    let mut long = rounded.clone();
    long.description = vec![b'a'; 81];
    refused(&long, "descrip is 81 bytes long, expected at most 80 bytes");
    let mut folded = rounded.clone();
    folded.shape = vec![27_307, 1, 6];
    assert_eq!(nifti::NiftiHeader::try_from(&folded).unwrap_err().name(), "Field");
    let mut flat = rounded.clone();
    flat.shape = Vec::new();
    refused(&flat, "dim[0] is 0, expected 1 to 7");
    let mut far = rounded;
    far.vox_offset = (1 << 24) + 1;
    refused(&far, "vox_offset is 16777217, expected one that a 32-bit float holds");
    // Axes that 64 bits tell apart and 32 do not.
    let thin = header(&|n| n.srow = [[1.0, 1.0, 0.0, 0.0], [0.0, 1e-8, 0.0, 0.0], [0.0, 0.0, 1e-46, 0.0]]);
    let error = nifti::NiftiHeader::try_from(&thin).unwrap_err();
    assert!(error.to_string().starts_with("the place is sform gives no affine"), "{error}");
}

#[test]
fn surfaces_of_freesurfer_are_kept() {
    // -1, and the size in another field: the header is kept, and of the voxels that crate knows nothing.
    let mut hidden =
        Nifti::one().with(|n| (n.dim, n.data) = ([3, -1, 1, 1, 1, 1, 1, 1], vec![7; 40_000])).file();
    hidden[144..148].copy_from_slice(&40_000_i32.to_le_bytes());
    let mut image = NiftiImage::from_bytes(&hidden).unwrap();
    let there = nifti::NiftiHeader::try_from(image.header()).unwrap();
    assert_eq!((there.dim[1], there.glmin), (65_535, 40_000));
    assert_eq!(NiftiHeader::try_from(&there).unwrap(), *image.header());
    assert_eq!(image.to_nifti_parts().unwrap_err().name(), "Field");
    // Folded.
    let folded =
        Nifti::one().with(|n| (n.dim, n.data) = ([3, 27_307, 1, 6, 1, 1, 1, 1], vec![7; 163_842])).file();
    let mut image = NiftiImage::from_bytes(&folded).unwrap();
    assert_eq!(image.header().shape, [163_842, 1, 1]);
    let object = image.to_nifti_object().unwrap();
    assert_eq!(object.volume().dim(), [27_307, 1, 6]);
    let mut back = NiftiImage::from_nifti_object(&object).unwrap();
    assert_eq!(back.header(), image.header());
    assert_eq!(back.read::<u8>().unwrap(), image.read::<u8>().unwrap());
}

#[test]
fn what_does_not_fit_together_is_told() {
    let mut object = InMemNiftiObject::from_reader(Nifti::one().file().as_slice()).unwrap();
    let header = object.header().clone();
    let told = |header: &nifti::NiftiHeader, object: &InMemNiftiObject| {
        let error = NiftiImage::from_nifti_parts(header, object.volume(), &ReadOptions::new()).unwrap_err();
        (error.name(), error.to_string())
    };
    let change = |change: &dyn Fn(&mut nifti::NiftiHeader)| {
        let mut changed = header.clone();
        change(&mut changed);
        told(&changed, &object)
    };
    let expected = |name: &'static str, text: &str| (name, text.to_owned());
    assert_eq!(
        change(&|h| h.dim[1] = 4),
        expected("Contradiction", "the volume has dim [3, 2, 2], its header says [4, 2, 2]")
    );
    assert_eq!(
        change(&|h| h.datatype = 256),
        expected("Contradiction", "the volume has datatype 2, its header says 256")
    );
    assert_eq!(
        change(&|h| h.dim[2] = 40_000),
        expected("Field", "dim is 40000 along axis 1, expected 1 to 32767, which NIfTI-1 holds")
    );
    assert_eq!(change(&|h| h.descrip = vec![0; 81]).0, "Field");
    assert_eq!(change(&|h| h.dim[0] = 0).0, "BadDim");
    assert_eq!(change(&|h| h.dim[0] = 40_000).0, "BadDim");
    assert_eq!(change(&|h| h.dim[3] = 0).0, "BadDim");
    assert_eq!(change(&|h| h.datatype = 1536).0, "UnsupportedDatatype");
    assert_eq!(change(&|h| h.sizeof_hdr = 12).0, "NotNifti");
    assert_eq!(change(&|h| h.vox_offset = f32::NAN).0, "BadVoxOffset");
    assert_eq!(change(&|h| (h.scl_slope, h.scl_inter) = (2.0, f32::NAN)).0, "BadScaling");
    assert_eq!(
        change(&|h| h.srow_x = [f32::NAN; 4]),
        expected(
            "BadAffine",
            "<nifti object>: sform gives no affine: affine entry at row 0, column 0 is NaN, expected a finite number"
        )
    );
    // A volume whose bytes were counted by a wrong `bitpix`.
    let mut wide = header.clone();
    wide.bitpix = 16;
    let volume = InMemNiftiVolume::from_raw_data(&wide, vec![0; 24]).unwrap();
    let error = NiftiImage::from_nifti_parts(&wide, &volume, &ReadOptions::new()).unwrap_err();
    assert_eq!(error.to_string(), "the volume has length in bytes 24, its header says 12");
    // The limit of memory is that of files.
    let mut image = NiftiImage::from_nifti_object_with(&object, &ReadOptions::new().max_bytes(47)).unwrap();
    assert_eq!(
        image.read::<f32>().unwrap_err().to_string(),
        "<nifti object>: needs 48 bytes of memory, the limit is 47"
    );
    // The scaling of the header is taken, since a volume does not show its own.
    object.header_mut().scl_slope = 2.0;
    let doubled = NiftiImage::from_nifti_object(&object).unwrap().read::<u8>().unwrap();
    assert_eq!(doubled.t().iter().copied().collect::<Vec<_>>(), (1..=12).map(|v| 2 * v).collect::<Vec<_>>());
}

/// What the crate `nifti` makes of bytes, as `f64` or another type.
fn their_values<T: DataElement>(bytes: &[u8]) -> Vec<T> {
    let volume = InMemNiftiObject::from_reader(bytes).unwrap().into_volume();
    volume.into_ndarray::<T>().unwrap().t().iter().copied().collect()
}

fn our_values(bytes: &[u8]) -> Result<Vec<f64>, ReadError> {
    let array = NiftiImage::from_bytes(bytes)?.read::<f64>()?;
    Ok(array.t().iter().copied().collect())
}

#[test]
fn random_headers_mean_the_same_to_both() {
    let mut random = ChaCha8Rng::seed_from_u64(20_261_127);
    let (mut both, mut refused) = (0, 0);
    for turn in 0..20_000 {
        let mut bytes = full(turn % 2 == 1);
        for _ in 0..random.random_range(1..=6) {
            let at = random.random_range(0..348);
            bytes[at] = random.random();
        }
        let Ok(found) = nifti::NiftiHeader::from_reader(bytes.as_slice()) else { continue };
        // Of which lesio looks at the offset of the voxels in a file alone.
        let ours = match NiftiHeader::parse(&bytes) {
            Err(error) if error.name() == "BadVoxOffset" => continue,
            ours => ours,
        };
        match (ours, NiftiHeader::try_from(&found)) {
            (Ok(ours), Ok(converted)) => {
                assert_eq!(format!("{converted:?}"), format!("{ours:?}"));
                let there = nifti::NiftiHeader::try_from(&ours).unwrap();
                assert_eq!(shown(&there), shown(&found));
                both += 1;
            }
            (Err(_), Err(_)) => refused += 1,
            (ours, converted) => panic!("{ours:?} of bytes, {converted:?} of the crate nifti"),
        }
    }
    println!("{both} are read by both, {refused} refused");
    assert!(both > 5000 && refused > 100, "{both} are read by both, {refused} refused");
}

/// Each line of the table in the documentation of `nifti::interchange`.
#[test]
fn what_the_crate_nifti_reads_otherwise() {
    let twelve: Vec<f64> = (1..=12).map(f64::from).collect();
    let with = |change: &dyn Fn(&mut Nifti)| Nifti::one().with(|n| change(n)).file();

    // NIfTI-2.
    let two = Nifti::two().file();
    assert!(InMemNiftiObject::from_reader(two.as_slice()).is_err());
    assert_eq!(our_values(&two).unwrap(), twelve);

    // Slopes and intercepts that are no numbers.
    let nan = with(&|n| n.slope = f64::NAN);
    assert!(their_values::<f64>(&nan).iter().all(|value| value.is_nan()));
    assert_eq!(our_values(&nan).unwrap(), twelve);
    let infinite = with(&|n| n.slope = f64::INFINITY);
    assert!(their_values::<f64>(&infinite).iter().all(|value| value.is_infinite()));
    assert_eq!(our_values(&infinite).unwrap(), twelve);
    let intercept = with(&|n| (n.slope, n.inter) = (2.0, f64::NAN));
    assert!(their_values::<f64>(&intercept).iter().all(|value| value.is_nan()));
    assert_eq!(our_values(&intercept).unwrap_err().kind().name(), "BadScaling");

    // Integers with a slope of 1 go through floats.
    let integers = with(&|n| {
        (n.datatype, n.bitpix, n.slope) = (8, 32, 1.0);
        n.data = 16_777_217_i32.to_le_bytes().repeat(12);
    });
    assert_eq!(their_values::<i32>(&integers)[0], 16_777_216);
    let ours = NiftiImage::from_bytes(&integers).unwrap().read::<i32>().unwrap();
    assert_eq!(ours[[0, 0, 0]], 16_777_217);
    let integers = with(&|n| {
        (n.datatype, n.bitpix, n.slope) = (1024, 64, 1.0);
        n.data = ((1_i64 << 53) + 1).to_le_bytes().repeat(12);
    });
    assert_eq!(their_values::<i64>(&integers)[0], 1 << 53);
    let ours = NiftiImage::from_bytes(&integers).unwrap().read::<i64>().unwrap();
    assert_eq!(ours[[0, 0, 0]], (1 << 53) + 1);

    // Values that the type does not hold are cut off before they are scaled.
    let wide = with(&|n| {
        (n.datatype, n.bitpix, n.slope) = (4, 16, 0.5);
        n.data = 300_i16.to_le_bytes().repeat(12);
    });
    assert_eq!(their_values::<u8>(&wide)[0], 22);
    assert_eq!(NiftiImage::from_bytes(&wide).unwrap().read::<u8>().unwrap()[[0, 0, 0]], 150);
    let wide = with(&|n| (n.datatype, n.bitpix, n.data) = (4, 16, 300_i16.to_le_bytes().repeat(12)));
    assert_eq!(their_values::<u8>(&wide)[0], 44);
    let ours = NiftiImage::from_bytes(&wide).unwrap().read::<u8>();
    assert_eq!(ours.unwrap_err().kind().name(), "LossyConversion");

    // The offset of the voxels is followed for extensions only, and not in the `.img` of a pair.
    let padded = Nifti::one().between(vec![0; 16]).with(|n| n.flag = vec![0; 4]).file();
    assert_eq!(their_values::<f64>(&padded), [0.0; 12]);
    assert_eq!(our_values(&padded).unwrap(), twelve);
    let folder = tempfile::tempdir().unwrap();
    let pair = Nifti::pair(false).with(|n| n.vox_offset = 4.0);
    written(folder.path(), "a.img", &[vec![99; 4], pair.data.clone()].concat());
    let path = written(folder.path(), "a.hdr", &pair.header());
    let found = theirs(&path).unwrap().into_volume().into_ndarray::<f64>().unwrap();
    assert_eq!(found[[0, 0, 0]], 99.0);
    assert_eq!(NiftiImage::open(&path).unwrap().read::<f64>().unwrap()[[0, 0, 0]], 1.0);

    // Complex numbers: the order of bytes, and scaling.
    for (big, slope) in [(true, 0.0), (false, 2.0)] {
        let part = |value: f32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let complex = with(&|n| {
            (n.big, n.datatype, n.bitpix, n.slope) = (big, 32, 64, slope);
            n.data = [part(1.0), part(2.0)].concat().repeat(12);
        });
        let found = complex_values(&complex);
        assert_eq!(found, if big { [2.0, 1.0] } else { [2.0, 4.0] });
        let ours = NiftiImage::from_bytes(&complex).unwrap().read_complex().unwrap();
        assert_eq!(ours[[0, 0, 0]], [1.0, 2.0]);
    }

    // Colors as numbers.
    let rgba = with(&|n| (n.datatype, n.bitpix, n.data) = (2304, 32, [0, 0, 128, 63].repeat(12)));
    assert_eq!(their_values::<f32>(&rgba)[0], 1.0);
    assert_eq!(our_values(&rgba).unwrap_err().kind().name(), "UnsupportedDatatype");
    let rgb = with(&|n| (n.datatype, n.bitpix, n.data) = (128, 24, vec![1; 36]));
    assert!(catch_unwind(AssertUnwindSafe(|| their_values::<f32>(&rgb))).is_err());
    assert_eq!(our_values(&rgb).unwrap_err().kind().name(), "UnsupportedDatatype");

    // `bitpix`.
    let wide = with(&|n| n.bitpix = 16);
    assert!(InMemNiftiObject::from_reader(wide.as_slice()).is_err());
    assert_eq!(our_values(&wide).unwrap(), twelve);
    let none = with(&|n| n.bitpix = 0);
    assert!(catch_unwind(AssertUnwindSafe(|| their_values::<f64>(&none))).is_err());
    assert_eq!(our_values(&none).unwrap(), twelve);

    // Gzip: several members, and checksums.
    let file = Nifti::one().file();
    let members = [build::gzip(&file[..356]), build::gzip(&file[356..])].concat();
    let path = written(folder.path(), "members.nii.gz", &members);
    assert!(theirs(&path).is_err());
    assert_eq!(our_values(&members).unwrap(), twelve);
    let mut damaged = build::gzip(&file);
    let end = damaged.len();
    damaged[end - 8] ^= 1;
    let path = written(folder.path(), "damaged.nii.gz", &damaged);
    assert!(theirs(&path).is_ok());
    assert_eq!(our_values(&damaged).unwrap_err().kind().name(), "GzipCorrupt");

    // Negative sizes.
    let negative = with(&|n| n.dim[1] = -2);
    let header = nifti::NiftiHeader::from_reader(negative.as_slice()).unwrap();
    assert_eq!(header.dim().unwrap(), [65_534, 2, 2]);
    assert_eq!(our_values(&negative).unwrap_err().kind().name(), "BadDim");

    // Names.
    let pair = Nifti::pair(false);
    written(folder.path(), "b.hdr", &pair.header());
    let path = written(folder.path(), "b.img", &pair.data);
    assert!(theirs(&path).is_err());
    NiftiImage::open(&path).unwrap();
    let path = written(folder.path(), "C.NII.GZ", &build::gzip(&file));
    assert!(theirs(&path).is_err());
    NiftiImage::open(&path).unwrap();
}

/// The first complex number, as the crate `nifti` reads it.
fn complex_values(bytes: &[u8]) -> [f32; 2] {
    let volume = InMemNiftiObject::from_reader(bytes).unwrap().into_volume();
    let array = volume.into_ndarray::<Complex<f32>>().unwrap();
    let first = array.iter().next().unwrap();
    [first.re, first.im]
}
