//! Dimensions, lengths, magic, offsets and extensions.

use super::build::{Nifti, extension, gzip};
use super::{Expect, List};

pub fn list(list: &mut List) {
    dimensions(list);
    surfaces(list);
    claims(list);
    lengths(list);
    magic(list);
    offsets(list);
    extensions(list);
}

fn dimensions(list: &mut List) {
    for two in [false, true] {
        let dims = |dim: [i64; 8]| Nifti::version(two).with(|n| n.dim = dim).file();
        let mut add = |name: &str, dim, expect| {
            list.file(format!("dims {name} NIfTI-2 {two}"), "a.nii", dims(dim), expect);
        };
        for axes in [0, -1, 8, 9, 127, i64::from(i16::MAX), i64::from(i16::MIN)] {
            add(&format!("dim[0] {axes}"), [axes, 3, 2, 2, 1, 1, 1, 1], Expect::Error("BadDim"));
        }
        for axis in 1..=3 {
            for size in [0, -1, -4, i64::from(i16::MIN)] {
                let mut dim = [3, 3, 2, 2, 1, 1, 1, 1];
                dim[axis] = size;
                add(&format!("dim[{axis}] {size}"), dim, Expect::Error("BadDim"));
            }
        }
        add("dim[4] 0", [4, 3, 2, 2, 0, 1, 1, 1], Expect::Error("BadDim"));
        add("two negative", [3, -3, -2, 2, 1, 1, 1, 1], Expect::Error("BadDim"));
        let twelve = |shape: &[u64]| Expect::Values(shape.to_vec(), (1..=12).map(f64::from).collect());
        add("1", [1, 12, 9, 9, 9, 9, 9, 9], twelve(&[12]));
        add("2", [2, 3, 4, 0, -7, 0, 0, 0], twelve(&[3, 4]));
        add("3 and zeros", [3, 3, 2, 2, 0, 0, 0, 0], Expect::Twelve);
        add("3 and garbage", [3, 3, 2, 2, -1, 32767, -32768, 5], Expect::Twelve);
        add("4 of one", [4, 3, 2, 2, 1, 0, 0, 0], Expect::Twelve);
        add("5 of one", [5, 3, 2, 2, 1, 1, 0, 0], Expect::Twelve);
        add("7 of one", [7, 3, 2, 2, 1, 1, 1, 1], Expect::Twelve);
        add("7 of which the last two", [7, 3, 2, 1, 1, 1, 1, 2], Expect::NotAVolume("UnexpectedRank"));
        add("4", [4, 3, 2, 1, 2, 1, 1, 1], Expect::NotAVolume("UnexpectedRank"));
        add("5 with a vector", [5, 2, 2, 1, 1, 3, 1, 1], Expect::NotAVolume("UnexpectedRank"));
        add("one voxel each", [7, 1, 1, 1, 1, 1, 1, 1], Expect::Values(vec![1; 7], vec![1.0]));
    }
}

/// FreeSurfer's surfaces: the size stands in a field that NIfTI-1 does not use.
fn surfaces(list: &mut List) {
    let surface = |dim: [i64; 8], size: i32| {
        let mut bytes = Nifti::one().with(|n| n.dim = dim).file();
        bytes[144..148].copy_from_slice(&size.to_le_bytes());
        bytes
    };
    let dim = [3, -1, 1, 1, 1, 1, 1, 1];
    let twelve = |shape: &[u64]| Expect::Values(shape.to_vec(), (1..=12).map(f64::from).collect());
    list.file("surface of 12", "a.nii", surface(dim, 12), twelve(&[12, 1, 1]));
    list.file("surface of 12, told", "a.nii", surface(dim, 12), Expect::Odd("glmin"));
    list.file("surface of 3 by 4", "a.nii", surface([4, -1, 1, 1, 4, 1, 1, 1], 3), twelve(&[3, 1, 1, 4]));
    list.file("surface of more than is there", "a.nii", surface(dim, i32::MAX), Expect::Error("Truncated"));
    list.file("surface of 0", "a.nii", surface(dim, 0), Expect::Error("BadDim"));
    list.file("surface of -12", "a.nii", surface(dim, -12), Expect::Error("BadDim"));
    let two = surface([2, -1, 1, 1, 1, 1, 1, 1], 12);
    list.file("surface of two dimensions", "a.nii", two, Expect::Error("BadDim"));
    let plane = surface([3, -1, 2, 1, 1, 1, 1, 1], 6);
    list.file("surface that is none", "a.nii", plane, Expect::Error("BadDim"));
    // The vertices of FreeSurfer's finest sphere, folded; nibabel unfolds NIfTI-1 only.
    let values: Vec<f64> = (0..163_842).map(|number| f64::from((number % 251) as u8)).collect();
    let folded = |two: bool, dim: [i64; 8]| {
        let data: Vec<u8> = (0..163_842).map(|number| (number % 251) as u8).collect();
        Nifti::version(two).with(|n| (n.dim, n.data) = (dim, data))
    };
    let dim = [3, 27_307, 1, 6, 1, 1, 1, 1];
    let unfolded = |shape: &[u64]| Expect::Values(shape.to_vec(), values.clone());
    list.file("surface folded", "a.nii", folded(false, dim).file(), unfolded(&[163_842, 1, 1]));
    list.file("surface folded gz", "a.nii.gz", gzip(&folded(false, dim).file()), unfolded(&[163_842, 1, 1]));
    let pair = folded(false, dim).with(|n| (n.magic[1], n.vox_offset) = (b'i', 0.0));
    let files = vec![("a.hdr", pair.header()), ("a.img.gz", gzip(&pair.data))];
    list.files("surface folded, a pair", files, "a.hdr", unfolded(&[163_842, 1, 1]));
    let four = folded(false, [4, 27_307, 1, 6, 1, 1, 1, 1]);
    list.file("surface folded in four dimensions", "a.nii", four.file(), unfolded(&[163_842, 1, 1, 1]));
    list.file("surface folded NIfTI-2", "a.nii", folded(true, dim).file(), unfolded(&[27_307, 1, 6]));
    let turned = folded(false, [3, 6, 1, 27_307, 1, 1, 1, 1]);
    list.file("surface folded the other way", "a.nii", turned.file(), unfolded(&[6, 1, 27_307]));
    list.file("glmin of a volume", "a.nii", surface([3, 3, 2, 2, 1, 1, 1, 1], 99), Expect::Twelve);
}

fn claims(list: &mut List) {
    let claim = |name: &str, two: bool, dim: [i64; 8], plain: &'static str, zipped: &'static str| {
        let nifti = Nifti::version(two).with(|n| (n.dim, n.datatype, n.bitpix) = (dim, 16, 32));
        [
            (format!("claims {name}"), "a.nii", nifti.file(), plain),
            (format!("claims {name} gz"), "a.nii.gz", gzip(&nifti.file()), zipped),
        ]
    };
    let full = i64::from(i16::MAX);
    let end = i64::MAX;
    for (name, file, bytes, kind) in [
        claim("900 cubed", false, [3, 900, 900, 900, 1, 1, 1, 1], "Truncated", "ImpossibleClaim"),
        claim("600 cubed", false, [3, 600, 600, 600, 1, 1, 1, 1], "Truncated", "ImpossibleClaim"),
        claim("30000 squared", false, [3, 30000, 30000, 2, 1, 1, 1, 1], "Truncated", "ImpossibleClaim"),
        claim("32767 to the 4", false, [4, full, full, full, full, 1, 1, 1], "Truncated", "ImpossibleClaim"),
        claim(
            "32767 to the 5",
            false,
            [5, full, full, full, full, full, 1, 1],
            "ImpossibleClaim",
            "ImpossibleClaim",
        ),
        claim(
            "32767 to the 7",
            false,
            [7, full, full, full, full, full, full, full],
            "ImpossibleClaim",
            "ImpossibleClaim",
        ),
        claim("one more", false, [3, 3, 2, 3, 1, 1, 1, 1], "Truncated", "Truncated"),
        claim("2^63 voxels", true, [1, end, 1, 1, 1, 1, 1, 1], "ImpossibleClaim", "ImpossibleClaim"),
        claim("2^61 voxels", true, [1, end / 4, 1, 1, 1, 1, 1, 1], "Truncated", "ImpossibleClaim"),
        claim("2^126 voxels", true, [2, end, end, 1, 1, 1, 1, 1], "ImpossibleClaim", "ImpossibleClaim"),
        claim("2^62 bytes", true, [2, 1 << 30, 1 << 30, 1, 1, 1, 1, 1], "Truncated", "ImpossibleClaim"),
        claim("2^64 bytes", true, [2, 1 << 31, 1 << 31, 1, 1, 1, 1, 1], "ImpossibleClaim", "ImpossibleClaim"),
    ]
    .into_iter()
    .flatten()
    {
        list.file(name, file, bytes, Expect::Error(kind));
    }
    // Within what gzip can hold, and still not there.
    let within = Nifti::one().with(|n| n.dim = [3, 40, 40, 40, 1, 1, 1, 1]);
    list.file("claims what gzip could hold", "a.nii.gz", gzip(&within.file()), Expect::Error("Truncated"));
    // The offset and the voxels fit, their sum does not.
    let sum = Nifti::two().with(|n| (n.vox_offset, n.dim) = (9.2e18, [1, i64::MAX, 1, 1, 1, 1, 1, 1]));
    list.file("claims with offset 2^64", "a.nii", sum.file(), Expect::Error("BadVoxOffset"));
}

fn lengths(list: &mut List) {
    for two in [false, true] {
        let file = Nifti::version(two).file();
        let header = if two { 540 } else { 348 };
        for length in [
            0,
            1,
            3,
            4,
            5,
            100,
            343,
            347,
            header - 1,
            header,
            header + 1,
            header + 3,
            header + 4,
            file.len() - 1,
        ]
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        {
            let cut = file[..length].to_vec();
            list.file(
                format!("cut at {length} NIfTI-2 {two}"),
                "a.nii",
                cut.clone(),
                Expect::Error("Truncated"),
            );
            let name = format!("cut at {length} in gz NIfTI-2 {two}");
            list.file(name, "a.nii.gz", gzip(&cut), Expect::Error("Truncated"));
        }
        let longer = [file.clone(), vec![7; 5]].concat();
        let name = format!("five bytes too many NIfTI-2 {two}");
        list.file(name, "a.nii", longer.clone(), Expect::Odd("5 bytes follow"));
        list.file(
            format!("five bytes too many in gz NIfTI-2 {two}"),
            "a.nii.gz",
            gzip(&longer),
            Expect::Twelve,
        );
    }
}

fn magic(list: &mut List) {
    let mut add = |name: &str, nifti: Nifti, kind| {
        list.file(format!("magic {name}"), "a.nii", nifti.file(), Expect::Error(kind));
    };
    for size in [0, 1, 347, 349, 539, 541, -348, i32::MAX, i32::MIN] {
        add(&format!("sizeof_hdr {size}"), Nifti::one().with(|n| n.sizeof_hdr = size), "NotNifti");
    }
    let one = |magic: &[u8]| Nifti::one().with(|n| n.magic = magic.to_vec());
    add("Analyze", one(&[0; 4]), "NotNifti");
    add("n+3", one(b"n+3\0"), "UnsupportedVersion");
    add("n+0", one(b"n+0\0"), "UnsupportedVersion");
    add("ni9", one(b"ni9\0"), "UnsupportedVersion");
    add("n+2 in 348 bytes", one(b"n+2\0"), "NotNifti");
    add("n+1 and a space", one(b"n+1 "), "NotNifti");
    add("N+1", one(b"N+1\0"), "NotNifti");
    add("n-1", one(b"n-1\0"), "NotNifti");
    add("n+a", one(b"n+a\0"), "NotNifti");
    add("reversed", one(b"\x001+n"), "NotNifti");
    let two = |magic: &[u8]| Nifti::two().with(|n| n.magic = magic.to_vec());
    add("n+1 in 540 bytes", two(b"n+1\0\r\n\x1a\n"), "NotNifti");
    add("n+3 in 540 bytes", two(b"n+3\0\r\n\x1a\n"), "UnsupportedVersion");
    add("NIfTI-2 copied as text", two(b"n+2\0\n\x1a\n\0"), "NotNifti");
    add("NIfTI-2 with half an end", two(b"n+2\0\r\n\0\0"), "NotNifti");
    add("n+1 in 348 bytes that claim to be 540", Nifti::one().with(|n| n.sizeof_hdr = 540), "NotNifti");
    add("NIfTI-2 empty", two(&[0; 8]), "NotNifti");
    add("size of the other order", Nifti::one().with(|n| n.sizeof_hdr = 348_i32.swap_bytes()), "BadDim");
    add("CIFTI", Nifti::two().with(|n| n.intent = 3001), "UnsupportedIntent");
    add("CIFTI, the last", Nifti::two().with(|n| n.intent = 3099), "UnsupportedIntent");
    let ended = two(b"n+2\0\0\0\0\0").file();
    list.file("magic of NIfTI-2 without its end", "a.nii", ended, Expect::Odd("ends in zeros"));
    let first = Nifti::one().with(|n| n.intent = 3001).file();
    list.file("intent of CIFTI in NIfTI-1", "a.nii", first, Expect::Twelve);
    for (version, nifti) in [(1, one(b"ni1\0")), (2, two(b"ni2\0\r\n\x1a\n"))] {
        let name = format!("magic of a pair NIfTI-{version}");
        list.file(format!("{name} gz"), "a.nii.gz", gzip(&nifti.file()), Expect::Error("NotNifti"));
        list.file(format!("{name} at 0"), "a.nii", nifti.clone().with(|n| n.vox_offset = 0.0).file(), {
            Expect::Error("NotNifti")
        });
        list.file(name, "a.nii", nifti.file(), Expect::Error("NotNifti"));
    }
    list.file(
        "intent beside CIFTI's",
        "a.nii",
        Nifti::two().with(|n| n.intent = 2999).file(),
        Expect::Twelve,
    );
    for (name, bytes) in [
        ("text", b"this is a text that somebody named like an image\n".repeat(20)),
        ("zeros", vec![0; 1000]),
        ("ones", vec![0xff; 1000]),
        ("PNG", b"\x89PNG\r\n\x1a\n".repeat(60)),
    ] {
        list.file(format!("content {name}"), "a.nii", bytes, Expect::Error("NotNifti"));
    }
}

fn offsets(list: &mut List) {
    let mut add = |name: &str, nifti: Nifti, expect| {
        list.file(format!("offset {name}"), "a.nii", nifti.file(), expect);
    };
    let bad = || Expect::Error("BadVoxOffset");
    for offset in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -352.0, 0.0, 1.0, 347.0, 348.0, 351.0] {
        add(&format!("{offset}"), Nifti::one().with(|n| n.vox_offset = offset), bad());
    }
    for offset in [351.5, 352.5, 0.5, 1e30, 3e38, 365.0, 1e6] {
        add(&format!("{offset}"), Nifti::one().with(|n| n.vox_offset = offset), bad());
    }
    for offset in [-1.0, -9.2e18, 0.0, 352.0, 540.0, 543.0, 9.2e18, 600.0] {
        add(&format!("NIfTI-2 {offset}"), Nifti::two().with(|n| n.vox_offset = offset), bad());
    }
    for padding in [1, 3, 8, 16, 17, 1000, 70000] {
        for two in [false, true] {
            let padded = Nifti::version(two).between(vec![9; padding]).with(|n| n.flag = vec![0; 4]);
            let name = format!("padded by {padding} NIfTI-2 {two}");
            list.file(format!("offset {name}"), "a.nii", padded.file(), Expect::Twelve);
            list.file(format!("offset {name} gz"), "a.nii.gz", gzip(&padded.file()), Expect::Twelve);
        }
    }
    let far = Nifti::one().with(|n| n.vox_offset = 1e6);
    list.file("offset far in gz", "a.nii.gz", gzip(&far.file()), Expect::Error("ImpossibleClaim"));
    let near = Nifti::one().with(|n| n.vox_offset = 2000.0);
    list.file("offset near in gz", "a.nii.gz", gzip(&near.file()), Expect::Error("Truncated"));
    for two in [false, true] {
        let pair = |offset: f64| {
            let nifti = Nifti::pair(two).with(|n| n.vox_offset = offset);
            vec![("a.hdr", nifti.start()), ("a.img", [vec![9; 16], nifti.data].concat())]
        };
        let name = |name: &str| format!("pair offset {name} NIfTI-2 {two}");
        list.files(name("16"), pair(16.0), "a.hdr", Expect::Twelve);
        list.files(name("17"), pair(17.0), "a.hdr", Expect::Error("Truncated"));
        list.files(name("-4"), pair(-4.0), "a.hdr", Expect::Error("BadVoxOffset"));
        list.files(name("past the end"), pair(1000.0), "a.hdr", Expect::Error("BadVoxOffset"));
    }
}

fn extensions(list: &mut List) {
    let good = extension(32, 6, b"a comment of 24 bytes...");
    for two in [false, true] {
        let mut add = |name: &str, between: Vec<u8>, expect: fn() -> Expect| {
            let nifti = Nifti::version(two).between(between);
            let name = format!("extension {name} NIfTI-2 {two}");
            list.file(format!("{name} gz"), "a.nii.gz", gzip(&nifti.file()), expect());
            list.file(name, "a.nii", nifti.file(), expect());
        };
        let bad: fn() -> Expect = || Expect::Error("BadExtension");
        add("one", good.clone(), || Expect::Twelve);
        add("two", [good.clone(), good.clone()].concat(), || Expect::Twelve);
        add("none though announced", Vec::new(), || Expect::Twelve);
        add("and eight bytes of padding", [good.clone(), vec![0; 8]].concat(), || Expect::Twelve);
        add("and sixteen zeros", [good.clone(), vec![0; 16]].concat(), bad);
        add("of size 0", extension(0, 6, &[0; 24]), bad);
        add("of size 8", extension(8, 6, &[0; 24]), bad);
        add("of size 15", extension(15, 6, &[0; 24]), bad);
        add("of size -16", extension(-16, 6, &[0; 24]), bad);
        add("of the least size", extension(i32::MIN, 6, &[0; 24]), bad);
        add("of the greatest size", extension(i32::MAX, 6, &[0; 24]), bad);
        add("of a size past the voxels", extension(48, 6, &[0; 24]), bad);
        add("of size 24", extension(24, 6, &[0; 16]), || Expect::Odd("no multiple of 16"));
        add("of the other order", extension(32_i32.swap_bytes(), 6, &[0; 24]), bad);
        add("of an unknown code", extension(32, -77, &[0; 24]), || Expect::Twelve);
    }
    for two in [false, true] {
        let pair = |flag: u8, between: Vec<u8>| {
            let nifti = Nifti::pair(two).with(|n| (n.flag, n.between) = (vec![flag, 0, 0, 0], between));
            vec![("a.hdr", nifti.start()), ("a.img", nifti.data)]
        };
        let name = |name: &str| format!("extension in a pair {name} NIfTI-2 {two}");
        list.files(name("one"), pair(1, good.clone()), "a.img", Expect::Twelve);
        list.files(name("none"), pair(1, Vec::new()), "a.img", Expect::Twelve);
        list.files(name("unannounced"), pair(0, vec![3; 99]), "a.img", Expect::Twelve);
        list.files(name("cut"), pair(1, good[..20].to_vec()), "a.img", Expect::Error("Truncated"));
        list.files(name("cut in its size"), pair(1, good[..5].to_vec()), "a.img", Expect::Error("Truncated"));
        let claim = extension(i32::MAX, 6, &[0; 24]);
        list.files(name("of 2 GiB"), pair(1, claim), "a.hdr", Expect::Error("Truncated"));
        let endless = extension(0, 6, &[0; 24]);
        list.files(name("of size 0"), pair(1, endless), "a.hdr", Expect::Error("BadExtension"));
    }
}
