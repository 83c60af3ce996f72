//! Types, byte orders, scaling, and values at the ends of their ranges.

use super::build::{Nifti, gzip};
use super::{Expect, List};

/// The bytes of values in either order, and the values.
fn coded(datatype: i16, big: bool) -> (i16, Vec<u8>, Vec<f64>) {
    macro_rules! code {
        ($type:ty, $values:expr) => {{
            let values: Vec<$type> = $values;
            let bytes = values
                .iter()
                .flat_map(|value| if big { value.to_be_bytes() } else { value.to_le_bytes() })
                .collect();
            (8 * size_of::<$type>() as i16, bytes, values.iter().map(|&value| value as f64).collect())
        }};
    }
    match datatype {
        2 => code!(u8, vec![0, 1, 127, 128, 254, 255]),
        256 => code!(i8, vec![0, -1, 127, -128, 5, -5]),
        4 => code!(i16, vec![0, -1, 32767, -32768, 256, 1]),
        512 => code!(u16, vec![0, 1, 65535, 32768, 256, 255]),
        8 => code!(i32, vec![0, -1, i32::MAX, i32::MIN, 16_777_217, 256]),
        768 => code!(u32, vec![0, 1, u32::MAX, 1 << 31, 16_777_217, 256]),
        1024 => code!(i64, vec![0, -1, i64::MAX, i64::MIN, 1 << 53, 256]),
        1280 => code!(u64, vec![0, 1, u64::MAX, 1 << 63, 1 << 53, 256]),
        16 => code!(f32, vec![0.0, -0.0, f32::NAN, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE / 4.0]),
        64 => code!(f64, vec![0.0, -0.0, f64::NAN, f64::INFINITY, -1.5e300, f64::MIN_POSITIVE / 4.0]),
        _ => unreachable!(),
    }
}

pub fn list(list: &mut List) {
    types(list);
    complex_and_colors(list);
    scaling(list);
    ranges(list);
}

fn types(list: &mut List) {
    for datatype in [2, 256, 4, 512, 8, 768, 1024, 1280, 16, 64] {
        for big in [false, true] {
            for two in [false, true] {
                let (bitpix, data, values) = coded(datatype, big);
                let nifti = Nifti::version(two).with(|n| {
                    (n.big, n.datatype, n.bitpix, n.data) = (big, datatype, bitpix, data);
                    n.dim = [3, 3, 2, 1, 1, 1, 1, 1];
                });
                let name = format!("type {datatype} big {big} NIfTI-2 {two}");
                let expect = || Expect::Values(vec![3, 2, 1], values.clone());
                list.file(format!("{name} plain"), "a.nii", nifti.file(), expect());
                list.file(format!("{name} gz"), "a.nii.gz", gzip(&nifti.file()), expect());
            }
        }
    }
    for (code, bits) in [
        (0, 0),
        (1, 1),
        (3, 8),
        (5, 8),
        (17, 32),
        (255, 8),
        (1536, 128),
        (2048, 256),
        (-1, 8),
        (-9510, 8),
        (2826, 8),
        (i16::MAX, 8),
        (i16::MIN, 8),
    ] {
        for two in [false, true] {
            let nifti = Nifti::version(two).with(|n| (n.datatype, n.bitpix) = (code, bits));
            let name = format!("unknown type {code} NIfTI-2 {two}");
            list.file(name, "a.nii", nifti.file(), Expect::Error("UnsupportedDatatype"));
        }
    }
    for bitpix in [0, 1, 7, 16, 32, 64, -8, i16::MAX, i16::MIN] {
        let nifti = Nifti::one().with(|n| n.bitpix = bitpix);
        list.file(format!("bitpix {bitpix} of bytes"), "a.nii", nifti.file(), Expect::Odd("bitpix"));
    }
    for bitpix in [0, 1, 7, 16, 32, 64, -8, i16::MAX, i16::MIN] {
        let nifti = Nifti::two().with(|n| n.bitpix = bitpix);
        let name = format!("bitpix {bitpix} of bytes in NIfTI-2");
        list.file(name.clone(), "a.nii", nifti.file(), Expect::Error("BadBitsPerVoxel"));
        let pair = nifti.with(|n| (n.magic[1], n.vox_offset) = (b'i', 0.0));
        let files = vec![("a.hdr", pair.header()), ("a.img", pair.data.clone())];
        list.files(format!("{name}, a pair"), files, "a.hdr", Expect::Error("BadBitsPerVoxel"));
    }
    let swapped = Nifti::one().with(|n| n.bitpix = 0x0800);
    list.file("bitpix of the other order", "a.nii", swapped.file(), Expect::Odd("bitpix"));
}

fn complex_and_colors(list: &mut List) {
    for big in [false, true] {
        let order_32 = |v: f32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let order_64 = |v: f64| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let shaped = |datatype, bitpix, data: Vec<u8>| {
            Nifti::one().with(|n| {
                (n.big, n.datatype, n.bitpix, n.data) = (big, datatype, bitpix, data);
                n.dim = [2, 2, 1, 1, 1, 1, 1, 1];
            })
        };
        let complex = || Expect::Complex(vec![[1.0, -2.0], [0.5, 4.0]]);
        let parts = [1.0, -2.0, 0.5, 4.0];
        let small = shaped(32, 64, parts.iter().flat_map(|&v| order_32(v as f32)).collect());
        let large = shaped(1792, 128, parts.iter().flat_map(|&v| order_64(v)).collect());
        let rgb = shaped(128, 24, vec![1, 2, 3, 4, 5, 6]);
        let rgba = shaped(2304, 32, vec![1, 2, 3, 4, 5, 6, 7, 8]);
        let colors = |a, b| Expect::Colors(vec![[1, 2, 3, a], b]);
        for gz in [false, true] {
            let pack = |n: &Nifti| if gz { gzip(&n.file()) } else { n.file() };
            let file = if gz { "a.nii.gz" } else { "a.nii" };
            let name = |kind: &str| format!("{kind} big {big} gz {gz}");
            list.file(name("complex 64"), file, pack(&small), complex());
            list.file(name("complex 128"), file, pack(&large), complex());
            list.file(name("rgb"), file, pack(&rgb), colors(255, [4, 5, 6, 255]));
            list.file(name("rgba"), file, pack(&rgba), colors(4, [5, 6, 7, 8]));
        }
        let short = small.clone().with(|n| {
            n.data.pop();
        });
        list.file(
            format!("complex short by a byte big {big}"),
            "a.nii",
            short.file(),
            Expect::Error("Truncated"),
        );
        let short = rgb.clone().with(|n| {
            n.data.pop();
        });
        list.file(
            format!("rgb short by a byte big {big}"),
            "a.nii",
            short.file(),
            Expect::Error("Truncated"),
        );
    }
}

fn scaling(list: &mut List) {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    for two in [false, true] {
        let scaled =
            |slope: f64, inter: f64| Nifti::version(two).with(|n| (n.slope, n.inter) = (slope, inter)).file();
        let mut add = |name: &str, slope, inter, expect| {
            list.file(format!("scaling {name} NIfTI-2 {two}"), "a.nii", scaled(slope, inter), expect);
        };
        add("1 and 0", 1.0, 0.0, Expect::Twelve);
        add("0 and 5", 0.0, 5.0, Expect::Twelve);
        add("negative zero", -0.0, 5.0, Expect::Twelve);
        add("0 and NaN", 0.0, nan, Expect::Twelve);
        add("NaN and NaN", nan, nan, Expect::Odd("scl_slope"));
        add("NaN and 0", nan, 0.0, Expect::Odd("scl_slope"));
        add("infinite and 0", inf, 0.0, Expect::Odd("scl_slope"));
        add("minus infinite and infinite", -inf, inf, Expect::Odd("scl_slope"));
        add("1 and NaN", 1.0, nan, Expect::Error("BadScaling"));
        add("1 and infinite", 1.0, inf, Expect::Error("BadScaling"));
        add("2 and minus infinite", 2.0, -inf, Expect::Error("BadScaling"));
        let values = |slope: f64, inter: f64| {
            Expect::Values(vec![3, 2, 2], (1..=12).map(|v| f64::from(v) * slope + inter).collect())
        };
        add("2 and -1", 2.0, -1.0, values(2.0, -1.0));
        add("-0.5 and 0.25", -0.5, 0.25, values(-0.5, 0.25));
        add("1 and 1", 1.0, 1.0, values(1.0, 1.0));
        let third = f64::from(1.0_f32 / 3.0);
        add("a third", third, 0.0, values(third, 0.0));
        let tiny = f64::from(f32::MIN_POSITIVE);
        add("tiny", tiny, 0.0, values(tiny, 0.0));
        let huge = f64::from(f32::MAX);
        add("beyond f32", huge, 0.0, Expect::NotAVolume("LossyConversion"));
    }
}

fn ranges(list: &mut List) {
    let floats = |values: &[f64]| {
        Nifti::one().with(|n| {
            n.data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (n.datatype, n.bitpix) = (64, 64);
            n.dim = [1, values.len() as i64, 1, 1, 1, 1, 1, 1];
        })
    };
    let nothing = [f64::NAN; 3];
    list.file("all NaN", "a.nii", floats(&nothing).file(), Expect::Values(vec![3], nothing.to_vec()));
    let ends = [f64::INFINITY, f64::NEG_INFINITY, -0.0];
    list.file("infinite voxels", "a.nii", floats(&ends).file(), Expect::Values(vec![3], ends.to_vec()));
    let beyond = floats(&[1e39, 0.0]);
    list.file("f64 beyond f32", "a.nii", beyond.file(), Expect::NotAVolume("LossyConversion"));
    let tiny = [1e-300, -1e-300];
    list.file("f64 below f32", "a.nii", floats(&tiny).file(), Expect::Values(vec![2], tiny.to_vec()));
}
