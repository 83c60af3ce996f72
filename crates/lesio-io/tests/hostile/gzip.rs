//! Damaged, odd and lying gzip files.

use flate2::Compression;

use super::build::{Nifti, gzip, gzip_at};
use super::{Expect, List};

pub fn list(list: &mut List) {
    damage(list);
    oddities(list);
    lies(list);
}

fn damage(list: &mut List) {
    let content = Nifti::one().file();
    let good = gzip(&content);
    let end = good.len();
    let mut add = |name: &str, bytes: Vec<u8>| {
        list.file(format!("gz {name}"), "a.nii.gz", bytes, Expect::Error("GzipCorrupt"));
    };
    let flipped = |at: usize, mask: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= mask;
        bytes
    };
    add("of nothing", Vec::new());
    for cut in [1, 2, 9, 10, 11, end / 2, end - 9, end - 8, end - 7, end - 4, end - 1] {
        add(&format!("cut at {cut}"), good[..cut].to_vec());
    }
    for at in end - 8..end {
        add(&format!("with a bit of trailer byte {at} flipped"), flipped(at, 0x10));
    }
    add("of another magic", flipped(0, 1));
    add("of another second magic", flipped(1, 1));
    add("of another method", flipped(2, 1));
    add("with reserved flags", flipped(3, 0x80));
    add("that is plain", content.clone());
    for at in (10..end - 9).step_by(7) {
        add(&format!("with byte {at} flipped"), flipped(at, 0x04));
    }
    // The voxels of a stored block can be changed without breaking the stream.
    let stored = gzip_at(Compression::none(), &content);
    let mut changed = stored.clone();
    let voxel = changed.len() - 8 - 3;
    changed[voxel] ^= 1;
    add("with a voxel changed", changed);
    add("and junk", [good.clone(), b"junk".to_vec()].concat());
    add("and zeros and junk", [good.clone(), vec![0, 0, 7]].concat());
    add("and half a magic", [good.clone(), vec![0x1f]].concat());
    let damaged_second = [good.clone(), good[..end - 3].to_vec()].concat();
    add("and a damaged member", damaged_second);
    // Damage behind the last voxel, in bytes that nobody needs.
    let mut trailing = gzip(&[content.clone(), vec![5; 100_000]].concat());
    let last = trailing.len() - 5;
    trailing[last] ^= 1;
    add("of which only the unused end is damaged", trailing);
    list.file("gz with its stored block whole", "a.nii.gz", stored, Expect::Twelve);
}

fn oddities(list: &mut List) {
    let content = Nifti::one().file();
    let good = gzip(&content);
    let mut add =
        |name: &str, bytes: Vec<u8>| list.file(format!("gz {name}"), "a.nii.gz", bytes, Expect::Twelve);
    for split in [1, 4, 100, 348, 352, 353, content.len() - 1] {
        add(
            &format!("of two members split at {split}"),
            [gzip(&content[..split]), gzip(&content[split..])].concat(),
        );
    }
    add("of a member a byte", content.iter().flat_map(|&byte| gzip(&[byte])).collect());
    add("with empty members", [gzip(b""), good.clone(), gzip(b""), gzip(b"")].concat());
    add("padded with a zero", [good.clone(), vec![0]].concat());
    add("padded with zeros", [good.clone(), vec![0; 100_000]].concat());
    add("followed by bytes in a member", [good.clone(), gzip(b"more")].concat());
    for (name, flags, fields) in [
        ("with a name", 8, &b"a.nii\0"[..]),
        ("with a comment", 16, &b"made by hand\0"[..]),
        ("with an extra field", 4, &b"\x05\0abcde"[..]),
        ("with all of them", 28, &b"\x01\0ana\0me\0"[..]),
        ("called a text", 1, &b""[..]),
    ] {
        let header = [&[0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 2, 7], fields].concat();
        add(name, [header, good[10..].to_vec()].concat());
    }
    for level in 0..=9 {
        add(&format!("of level {level}"), gzip_at(Compression::new(level), &content));
    }
    list.file("gz named as plain", "a.nii", good.clone(), Expect::Error("NotNifti"));
    list.file("gz in gz", "a.nii.gz", gzip(&good), Expect::Error("NotNifti"));
    list.file("gz of nothing in it", "a.nii.gz", gzip(b""), Expect::Error("Truncated"));
    list.file(
        "gz with an endless name",
        "a.nii.gz",
        {
            let mut bytes = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
            bytes.extend(vec![b'a'; 1000]);
            bytes
        },
        Expect::Error("GzipCorrupt"),
    );
    list.file(
        "gz with an extra field past its end",
        "a.nii.gz",
        vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 1, 2],
        Expect::Error("GzipCorrupt"),
    );
}

fn lies(list: &mut List) {
    let bomb = |content: &[u8]| gzip_at(Compression::best(), content);
    let zeros = vec![0; 8 << 20];
    // Zeros behind the voxels are decompressed to verify them, and kept by nobody.
    let behind = [Nifti::one().file(), zeros.clone()].concat();
    list.file("bomb behind the voxels", "a.nii.gz", bomb(&behind), Expect::Twelve);
    let before = Nifti::one().between(zeros.clone()).with(|n| n.flag = vec![0; 4]);
    list.file("bomb before the voxels", "a.nii.gz", bomb(&before.file()), Expect::Twelve);
    let announced = Nifti::one().between(zeros.clone());
    list.file(
        "bomb of extensions of size 0",
        "a.nii.gz",
        bomb(&announced.file()),
        Expect::Error("BadExtension"),
    );
    let claim = Nifti::one().with(|n| n.dim = [3, 1000, 1000, 9, 1, 1, 1, 1]);
    let short = [claim.start(), zeros].concat();
    list.file("bomb that claims a little more", "a.nii.gz", bomb(&short), Expect::Error("ImpossibleClaim"));
}
