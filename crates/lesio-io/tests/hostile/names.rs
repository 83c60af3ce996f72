//! What is opened, and by what name.

use std::fs;
use std::path::Path;

use super::build::{Nifti, gzip};
use super::{Expect, List};

pub fn list(list: &mut List) {
    endings(list);
    pairs(list);
    #[cfg(unix)]
    special(list);
}

fn endings(list: &mut List) {
    let plain = Nifti::one().file();
    let zipped = gzip(&plain);
    for name in ["a.NII", "A.Nii", "a.b.c.nii", ".nii", "with space.nii", "\u{e4}\u{1f9e0}.nii", "a.nii.nii"]
    {
        list.file(format!("named {name}"), name, plain.clone(), Expect::Twelve);
    }
    for name in ["a.NII.GZ", "a.nii.Gz", "sub-01.ses-1.nii.gz", ".nii.gz"] {
        list.file(format!("named {name}"), name, zipped.clone(), Expect::Twelve);
    }
    for name in
        ["a", "a.ni", "a.niix", "a.nii.bz2", "a.nii.zst", "a.gz", "nii", "a.png", "a.mgz", "a.nii.gz.part"]
    {
        list.file(format!("named {name}"), name, plain.clone(), Expect::Error("UnknownFormat"));
    }
    let longest = format!("{}.nii", "x".repeat(251));
    list.file("named as long as can be", &longest, plain.clone(), Expect::Twelve);
    let absent = "absent.nii".to_owned();
    list.files("absent", Vec::new(), &absent, Expect::Error("NotFound"));
    list.files("absent and of no format", Vec::new(), "absent.txt", Expect::Error("NotFound"));
    list.files("in an absent folder", Vec::new(), "no/such/a.nii", Expect::Error("NotFound"));
    list.files("below a file", vec![("a.nii", plain)], "a.nii/b.nii", Expect::Error("Io"));
    list.made(
        "a folder",
        "a.nii",
        |at| fs::create_dir(at.join("a.nii")).unwrap(),
        Expect::Error("NotRegularFile"),
    );
    list.made(
        "a folder of no format",
        "a",
        |at| fs::create_dir(at.join("a")).unwrap(),
        Expect::Error("NotRegularFile"),
    );
}

fn pairs(list: &mut List) {
    for two in [false, true] {
        let nifti = Nifti::pair(two);
        let (header, voxels) = (nifti.start(), nifti.data.clone());
        for (hdr, img) in [
            ("a.hdr", "a.img"),
            ("A.HDR", "A.IMG"),
            ("a.Hdr", "a.Img"),
            ("a.HDR", "a.img"),
            ("a.hdr", "a.IMG"),
        ] {
            for open in [hdr, img] {
                let files = vec![(hdr, header.clone()), (img, voxels.clone())];
                list.files(
                    format!("pair {hdr} {img}, {open} opened, NIfTI-2 {two}"),
                    files,
                    open,
                    Expect::Twelve,
                );
            }
        }
        for open in ["a.hdr.gz", "a.img.gz"] {
            let files = vec![("a.hdr.gz", gzip(&header)), ("a.img.gz", gzip(&voxels))];
            list.files(format!("pair compressed, {open} opened, NIfTI-2 {two}"), files, open, Expect::Twelve);
        }
        let name = |name: &str| format!("pair {name} NIfTI-2 {two}");
        list.files(
            name("header alone"),
            vec![("a.hdr", header.clone())],
            "a.hdr",
            Expect::Error("MissingPair"),
        );
        list.files(
            name("voxels alone"),
            vec![("a.img", voxels.clone())],
            "a.img",
            Expect::Error("MissingPair"),
        );
        let mixed = || vec![("a.hdr", header.clone()), ("a.img.gz", gzip(&voxels))];
        list.files(name("mixed from the header"), mixed(), "a.hdr", Expect::Twelve);
        list.files(name("mixed from the voxels"), mixed(), "a.img.gz", Expect::Twelve);
        let mixed = || vec![("A.HDR.GZ", gzip(&header)), ("A.IMG", voxels.clone())];
        list.files(name("mixed the other way from the header"), mixed(), "A.HDR.GZ", Expect::Twelve);
        list.files(name("mixed the other way from the voxels"), mixed(), "A.IMG", Expect::Twelve);
        let mixed = vec![("a.hdr", header.clone()), ("a.img.gz", voxels.clone())];
        list.files(name("mixed, and the voxels are not"), mixed, "a.hdr", Expect::Error("GzipCorrupt"));
        let mixed = vec![("a.hdr.gz", header.clone()), ("a.img", voxels.clone())];
        list.files(name("mixed, and the header is not"), mixed, "a.img", Expect::Error("GzipCorrupt"));
        let mut cut = gzip(&voxels);
        cut.truncate(cut.len() - 3);
        let mixed = vec![("a.hdr", header.clone()), ("a.img.gz", cut)];
        list.files(name("mixed, and the voxels are cut"), mixed, "a.hdr", Expect::Error("GzipCorrupt"));
        let both = vec![("a.hdr", header.clone()), ("a.img", voxels.clone()), ("a.img.gz", gzip(&[9; 12]))];
        list.files(name("beside stale compressed voxels"), both, "a.hdr", Expect::Twelve);
        let short = vec![("a.hdr", header.clone()), ("a.img", voxels[..11].to_vec())];
        list.files(name("short by a byte"), short, "a.hdr", Expect::Error("Truncated"));
        let empty = vec![("a.hdr", header.clone()), ("a.img", Vec::new())];
        list.files(name("without voxels"), empty, "a.hdr", Expect::Error("Truncated"));
        let cut = vec![("a.hdr", header[..300].to_vec()), ("a.img", voxels.clone())];
        list.files(name("with half a header"), cut, "a.img", Expect::Error("Truncated"));
        let mut flipped = gzip(&voxels);
        let end = flipped.len();
        flipped[end - 6] ^= 1;
        let damaged = vec![("a.hdr.gz", gzip(&header)), ("a.img.gz", flipped)];
        list.files(name("with damaged voxels"), damaged, "a.hdr.gz", Expect::Error("GzipCorrupt"));
        let mut flipped = gzip(&header);
        let end = flipped.len();
        flipped[end - 6] ^= 1;
        let damaged = vec![("a.hdr.gz", flipped), ("a.img.gz", gzip(&voxels))];
        list.files(name("with a damaged header"), damaged, "a.hdr.gz", Expect::Error("GzipCorrupt"));
        let single = Nifti::version(two).with(|n| n.vox_offset = 0.0);
        let files = vec![("a.hdr", single.start()), ("a.img", voxels.clone())];
        list.files(name("with a single file's magic"), files, "a.hdr", Expect::Odd("n+"));
        // A whole file under the name of a header, beside voxels of something else.
        let single = Nifti::version(two).file();
        let files = vec![("a.hdr", single.clone()), ("a.img", single)];
        list.files(name("with a single file for a header"), files, "a.hdr", Expect::Error("NotNifti"));
    }
    let nifti = Nifti::pair(false);
    let swapped = vec![("a.hdr", nifti.data.clone()), ("a.img", nifti.start())];
    list.files("pair swapped", swapped, "a.hdr", Expect::Error("NotNifti"));
    if cfg!(target_os = "linux") {
        let nifti = Nifti::pair(false);
        let data = gzip(&nifti.data);
        let files = vec![("a.Hdr", nifti.start()), ("a.img.gz", data.clone()), ("a.IMG.GZ", data)];
        list.files("pair of which two compressed could be meant", files, "a.Hdr", {
            Expect::Error("AmbiguousPair")
        });
    }
    // Neither has the case of the name opened, and each could be meant.
    let files = || {
        let nifti = Nifti::pair(false);
        vec![("a.Hdr", nifti.start()), ("a.img", nifti.data.clone()), ("a.IMG", nifti.data)]
    };
    if cfg!(target_os = "linux") {
        list.files("pair of which two could be meant", files(), "a.Hdr", Expect::Error("AmbiguousPair"));
    }
    list.made(
        "pair of which one is a folder",
        "a.hdr",
        |at| {
            fs::write(at.join("a.hdr"), Nifti::pair(false).start()).unwrap();
            fs::create_dir(at.join("a.img")).unwrap();
        },
        Expect::Error("NotRegularFile"),
    );
}

#[cfg(unix)]
fn special(list: &mut List) {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    fn pipe(at: &Path, name: &str) {
        assert!(Command::new("mkfifo").arg(at.join(name)).status().unwrap().success());
    }
    for name in ["a.nii", "a.nii.gz", "a.hdr", "a.img"] {
        list.made(
            format!("a pipe named {name}"),
            name,
            move |at| pipe(at, name),
            Expect::Error("NotRegularFile"),
        );
    }
    list.made("a pipe named a.png", "a.png", |at| pipe(at, "a.png"), Expect::ImageError("NotRegularFile"));
    list.made(
        "a pipe for voxels",
        "a.hdr",
        |at| {
            fs::write(at.join("a.hdr"), Nifti::pair(false).start()).unwrap();
            pipe(at, "a.img");
        },
        Expect::Error("NotRegularFile"),
    );
    list.made(
        "a link to a device",
        "a.nii",
        |at| symlink("/dev/zero", at.join("a.nii")).unwrap(),
        Expect::Error("NotRegularFile"),
    );
    list.made(
        "a link that leads nowhere",
        "a.nii",
        |at| symlink("nowhere", at.join("a.nii")).unwrap(),
        Expect::Error("DanglingLink"),
    );
    list.made(
        "a link to itself",
        "a.nii",
        |at| symlink("a.nii", at.join("a.nii")).unwrap(),
        Expect::Error("Io"),
    );
    list.made(
        "a link to an image",
        "a.nii",
        |at| {
            fs::write(at.join("b"), Nifti::one().file()).unwrap();
            symlink("b", at.join("a.nii")).unwrap();
        },
        Expect::Twelve,
    );
    list.made(
        "a link to a pipe",
        "a.nii",
        |at| {
            pipe(at, "b");
            symlink("b", at.join("a.nii")).unwrap();
        },
        Expect::Error("NotRegularFile"),
    );
    list.made(
        "a pair whose name is not UTF-8, by a link",
        "a.hdr",
        |at| {
            let named = |ending: &[u8]| at.join(OsStr::from_bytes(&[&b"\xff\xfe"[..], ending].concat()));
            let nifti = Nifti::pair(false);
            fs::write(named(b".hdr"), nifti.start()).unwrap();
            fs::write(named(b".img"), nifti.data).unwrap();
            // The name that is opened must be found again beside itself, whatever its bytes.
            let image = lesio_io::nifti::NiftiImage::open(named(b".hdr")).unwrap();
            assert_eq!(image.voxels(), 12);
            symlink(named(b".hdr"), at.join("a.hdr")).unwrap();
            symlink(named(b".img"), at.join("a.img")).unwrap();
        },
        Expect::Twelve,
    );
}
