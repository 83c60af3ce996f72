//! Data set folders, good and odd, made by the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::Path;

use lesio_image::{Geometry, Image, Volume};
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Dataset, DatasetError, Layout, Mask};
use lesio_io::{WriteOptions, write_png_in};
use ndarray::Array3;
use support::Unsynced;

/// Makes files under a new folder: volumes and images real ones, others with the text given.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        add(root.path(), file, "");
    }
    root
}

fn add(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    if file.ends_with('/') {
        fs::create_dir_all(path).unwrap();
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if file.ends_with(".nii") || file.ends_with(".nii.gz") {
        let volume = Volume::new(Array3::<u8>::ones((4, 3, 2)), Geometry::default());
        WriteOptions::new().write_in(&Unsynced, &path, &volume).unwrap();
    } else if file.ends_with(".png") {
        write_png_in(&Unsynced, &path, &Image::new(Array3::<u8>::ones((1, 3, 4))), Existing::Refuse).unwrap();
    } else {
        fs::write(path, text).unwrap();
    }
}

fn flair() -> Layout {
    Layout::cases("flair.nii.gz", Some("mask.nii.gz"))
}

fn ids(data: &Dataset) -> Vec<&str> {
    data.cases().iter().map(lesio_io::dataset::Case::id).collect()
}

/// The kind of an error and the end of the path that it names.
fn refused(result: Result<Dataset, DatasetError>, kind: &str, path: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind().name(), kind, "{error}");
    assert!(error.path().ends_with(path), "{error} names {}, expected {path}", error.path().display());
}

#[test]
fn cases_are_folders() {
    let root = folder(&[
        "b/flair.nii.gz",
        "b/mask.nii.gz",
        "a/flair.nii",
        "a/t1.nii.gz",
        "c/flair.nii.gz",
        "c/flair.nii",
        "c/mask.nii",
        ".hidden/x",
        "README.txt",
        "c/.DS_Store",
        "c/deeper/flair.nii.gz",
    ]);
    let data = Dataset::open(root.path(), &flair()).unwrap();
    assert_eq!(ids(&data), ["a", "b", "c"]);
    // The other ending stands in where the name is absent, and only there.
    assert!(data.cases()[0].images()[0].ends_with("a/flair.nii"));
    assert!(data.cases()[2].images()[0].ends_with("c/flair.nii.gz"));
    assert!(data.cases()[2].mask().path().unwrap().ends_with("c/mask.nii"));
    assert_eq!(*data.cases()[0].mask(), Mask::Unknown);
    assert_eq!(data.require_masks().unwrap_err().kind().name(), "MissingMask");
    data.filter(|case| *case.mask() != Mask::Unknown).require_masks().unwrap();
    assert_eq!(data.select("all").unwrap(), data);
    assert!(data.splits().is_empty());
    refused(data.select("train"), "UnknownSplit", root.path().file_name().unwrap().to_str().unwrap());
    let (volume, mask) = data.cases()[1].read_volume().unwrap();
    assert_eq!((volume.shape(), mask.unwrap().shape()), ([4, 3, 2], [4, 3, 2]));
    refused(Dataset::open(root.path(), &Layout::cases("t2.nii.gz", None)), "MissingFile", "a/t2.nii.gz");
    let two = Layout::Cases { images: vec!["flair.nii.gz".into(), "t1.nii.gz".into()], mask: None };
    refused(Dataset::open(root.path(), &two), "MissingFile", "b/t1.nii.gz");
    fs::remove_dir_all(root.path().join("b")).unwrap();
    fs::remove_dir_all(root.path().join("c")).unwrap();
    assert_eq!(Dataset::open(root.path(), &two).unwrap().cases()[0].read_channels().unwrap().len(), 2);
}

#[test]
fn splits_are_read_beside_any_layout() {
    let root = folder(&["a/flair.nii.gz", "b/flair.nii.gz", "c/flair.nii.gz"]);
    add(root.path(), "splits.csv", "site,patient,split\nX,a,train\nX,b,val\nY,absent,test\n");
    let data = Dataset::open(root.path(), &flair()).unwrap();
    assert_eq!(data.splits().into_iter().collect::<Vec<_>>(), ["train", "val"]);
    assert_eq!(ids(&data.select("train").unwrap()), ["a"]);
    assert_eq!(data.cases()[2].split(), None);
    assert_eq!(data.select("all").unwrap().cases().len(), 3);
    assert_eq!(data.select("test").unwrap_err().kind().name(), "UnknownSplit");
    add(root.path(), "splits.csv", "patient,split\na,train\na,test\n");
    refused(Dataset::open(root.path(), &flair()), "BadSplits", "splits.csv");
    fs::write(root.path().join("splits.csv"), b"patient,split\n\xff,train\n").unwrap();
    refused(Dataset::open(root.path(), &flair()), "BadSplits", "splits.csv");
    fs::remove_file(root.path().join("splits.csv")).unwrap();
    fs::create_dir(root.path().join("splits.csv")).unwrap();
    let layout = Layout::cases("flair.nii.gz", None);
    assert!(Dataset::open(root.path(), &layout).is_err());
}

#[test]
fn mvtec_has_splits_and_kinds() {
    let root = folder(&[
        "train/good/000.png",
        "train/good/001.PNG",
        "test/good/000.png",
        "test/crack/000.png",
        "test/crack/001.png",
        "test/new kind/7.png",
        "ground_truth/crack/000_mask.png",
        "ground_truth/new kind/7.png",
        "license.txt",
        "test/crack/Thumbs.db",
    ]);
    let data = Dataset::open(root.path(), &Layout::MvTec).unwrap();
    assert_eq!(data.cases().len(), 6);
    assert_eq!(ids(&data.select("train").unwrap()), ["train/good/000", "train/good/001"]);
    let case = |id: &str| data.cases().iter().find(|case| case.id() == id).unwrap();
    assert!(case("test/crack/000").mask().path().unwrap().ends_with("crack/000_mask.png"));
    assert!(case("test/new kind/7").mask().path().unwrap().ends_with("new kind/7.png"));
    assert_eq!(
        (case("test/crack/001").mask(), case("test/good/000").mask()),
        (&Mask::Unknown, &Mask::Normal)
    );
    assert_eq!(case("test/crack/001").kind(), Some("crack"));
    let (image, mask) = case("test/good/000").read_image().unwrap();
    assert_eq!((image.height(), image.width(), mask.unwrap().iter().any(|&m| m)), (3, 4, false));
    assert!(case("test/crack/000").read_image().unwrap().1.unwrap().iter().all(|&m| m));
    add(root.path(), "ground_truth/crack/000.png", "");
    refused(Dataset::open(root.path(), &Layout::MvTec), "AmbiguousMask", "crack/000_mask.png");
    fs::remove_file(root.path().join("ground_truth/crack/000.png")).unwrap();
    add(root.path(), "ground_truth/crack/009_mask.png", "");
    refused(Dataset::open(root.path(), &Layout::MvTec), "MaskWithoutImage", "crack/009_mask.png");
    let alone = folder(&["images/a.png"]);
    let error = Dataset::open(alone.path(), &Layout::MvTec).unwrap_err();
    assert_eq!(error.kind().name(), "NotThisLayout");
    let twice = folder(&["train/good/a.png", "train/good/a.jpg"]);
    assert_eq!(Dataset::open(twice.path(), &Layout::MvTec).unwrap_err().kind().name(), "DuplicateCase");
}

#[test]
fn acdc_has_frames() {
    let root = folder(&[
        "patient001/patient001_frame01.nii.gz",
        "patient001/patient001_frame01_gt.nii.gz",
        "patient001/patient001_frame12.nii",
        "patient001/patient001_4d.nii.gz",
        "patient001/Info.cfg",
        "patient002/patient002_frame01.nii.gz",
        "patient002/patient002_frame01_gt.nii",
    ]);
    let data = Dataset::open(root.path(), &Layout::Acdc).unwrap();
    assert_eq!(ids(&data), ["patient001_frame01", "patient001_frame12", "patient002_frame01"]);
    assert_eq!(data.cases()[0].patient(), "patient001");
    assert_eq!(*data.cases()[1].mask(), Mask::Unknown);
    assert!(data.cases()[2].mask().path().is_some());
    add(
        root.path(),
        "splits.csv",
        "patient,frame,split\npatient001,frame01,train\npatient001,frame12,test\n",
    );
    let data = Dataset::open(root.path(), &Layout::Acdc).unwrap();
    assert_eq!(ids(&data.select("test").unwrap()), ["patient001_frame12"]);
    add(root.path(), "patient002/patient002_frame09_gt.nii.gz", "");
    refused(Dataset::open(root.path(), &Layout::Acdc), "MaskWithoutImage", "patient002_frame09_gt.nii.gz");
    fs::remove_file(root.path().join("patient002/patient002_frame09_gt.nii.gz")).unwrap();
    add(root.path(), "patient002/patient002_frame01_gt.nii.gz", "");
    assert_eq!(Dataset::open(root.path(), &Layout::Acdc).unwrap_err().kind().name(), "AmbiguousMask");
    // As published, in two folders.
    let root = folder(&[
        "training/p1/p1_frame01.nii.gz",
        "testing/p2/p2_frame01.nii.gz",
        "testing/p2/p2_frame02.nii",
    ]);
    let data = Dataset::open(root.path(), &Layout::Acdc).unwrap();
    assert_eq!(data.select("test").unwrap().cases().len(), 2);
}

#[test]
fn the_decathlon_has_images_and_labels() {
    let root = folder(&[
        "imagesTr/liver_1.nii.gz",
        "imagesTr/liver_2.nii",
        "imagesTr/._liver_1.nii.gz",
        "imagesTs/liver_1.nii.gz",
        "labelsTr/liver_1.nii.gz",
        "labelsTr/liver_2.nii.gz",
        "dataset.json",
    ]);
    assert_eq!(Dataset::open(root.path(), &Layout::Msd).unwrap_err().kind().name(), "DuplicateCase");
    fs::rename(root.path().join("imagesTs/liver_1.nii.gz"), root.path().join("imagesTs/liver_0.nii.gz"))
        .unwrap();
    let data = Dataset::open(root.path(), &Layout::Msd).unwrap();
    assert_eq!(ids(&data), ["liver_0", "liver_1", "liver_2"]);
    assert_eq!(
        data.cases().iter().map(|case| case.split().unwrap()).collect::<Vec<_>>(),
        ["test", "train", "train"]
    );
    assert_eq!(*data.cases()[0].mask(), Mask::Unknown);
    data.select("train").unwrap().require_masks().unwrap();
    add(root.path(), "labelsTr/liver_9.nii.gz", "");
    refused(Dataset::open(root.path(), &Layout::Msd), "MaskWithoutImage", "labelsTr/liver_9.nii.gz");
    let none = folder(&["labelsTr/a.nii.gz"]);
    assert_eq!(Dataset::open(none.path(), &Layout::Msd).unwrap_err().kind().name(), "NotThisLayout");
    let empty = folder(&["imagesTr/"]);
    assert_eq!(Dataset::open(empty.path(), &Layout::Msd).unwrap_err().kind().name(), "Empty");
}

#[test]
fn images_are_found_at_any_depth() {
    let root = folder(&["b.png", "a/x.nii.gz", "a/b/c/y.png", "notes.txt", "a/.z.png"]);
    let data = Dataset::open(root.path(), &Layout::Images).unwrap();
    assert_eq!(ids(&data), ["a/b/c/y.png", "a/x.nii.gz", "b.png"]);
    let one = Dataset::open(root.path().join("b.png"), &Layout::Images).unwrap();
    assert_eq!(ids(&one), ["b.png"]);
    assert_eq!(one.cases()[0].read_image().unwrap().1, None);
    let text = Dataset::open(root.path().join("notes.txt"), &Layout::Images);
    assert_eq!(text.unwrap_err().kind().name(), "Empty");
    let deep = folder(&[&format!("{}a.png", "d/".repeat(40))]);
    assert_eq!(Dataset::open(deep.path(), &Layout::Images).unwrap_err().kind().name(), "TooDeep");
}

#[test]
fn folders_that_are_none_are_named() {
    let root = folder(&["file", "empty/"]);
    for layout in [flair(), Layout::MvTec, Layout::Acdc, Layout::Msd, Layout::Images] {
        let name = layout.name();
        let absent = Dataset::open(root.path().join("absent"), &layout).unwrap_err();
        assert_eq!(absent.kind().name(), "NotFound", "{name}");
        assert!(Dataset::open(root.path().join("file"), &layout).is_err(), "{name}");
        let empty = Dataset::open(root.path().join("empty"), &layout).unwrap_err();
        assert!(matches!(empty.kind().name(), "Empty" | "NotThisLayout"), "{name}: {empty}");
        assert!(empty.path().ends_with("empty"));
    }
}

#[test]
fn image_and_mask_of_different_size_are_both_named() {
    let root = folder(&["a/flair.nii.gz", "train/good/x.png", "test/crack/x.png", "ground_truth/crack/"]);
    let small = Volume::new(Array3::<u8>::ones((4, 3, 1)), Geometry::default());
    WriteOptions::new().write_in(&Unsynced, root.path().join("a/mask.nii.gz"), &small).unwrap();
    let small = Image::new(Array3::<u8>::ones((1, 4, 3)));
    write_png_in(&Unsynced, root.path().join("ground_truth/crack/x_mask.png"), &small, Existing::Refuse)
        .unwrap();
    for case in Dataset::open(root.path(), &Layout::MvTec).unwrap().select("test").unwrap().cases() {
        let error = case.read_image().unwrap_err();
        assert_eq!(error.kind().name(), "SizeMismatch");
        assert!(
            error.to_string().contains("x_mask.png") && error.to_string().contains("crack/x.png"),
            "{error}"
        );
    }
    for other in ["train", "test", "ground_truth"] {
        fs::remove_dir_all(root.path().join(other)).unwrap();
    }
    let error = Dataset::open(root.path(), &flair()).unwrap().cases()[0].read_volume().unwrap_err();
    assert_eq!(error.kind().name(), "SizeMismatch");
    assert!(error.to_string().contains("[4, 3, 1]") && error.to_string().contains("[4, 3, 2]"), "{error}");
    // Labels that are no labels.
    let negative = Volume::new(Array3::from_elem((4, 3, 2), -1_i16), Geometry::default());
    fs::remove_file(root.path().join("a/mask.nii.gz")).unwrap();
    WriteOptions::new().write_in(&Unsynced, root.path().join("a/mask.nii.gz"), &negative).unwrap();
    let error = Dataset::open(root.path(), &flair()).unwrap().cases()[0].read_volume().unwrap_err();
    assert_eq!(error.kind().name(), "LossyConversion");
}

#[cfg(unix)]
#[test]
fn links_pipes_and_names_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let root = folder(&["a/flair.nii.gz", "real/flair.nii.gz", "good.png"]);
    symlink("../real/flair.nii.gz", root.path().join("a/mask.nii.gz")).unwrap();
    symlink("real", root.path().join("linked")).unwrap();
    symlink(".", root.path().join("real/loop")).unwrap();
    let data = Dataset::open(root.path(), &flair()).unwrap();
    assert_eq!(ids(&data), ["a", "linked", "real"]);
    // A search in depth does not follow links to folders, which may lead back.
    assert_eq!(
        ids(&Dataset::open(root.path(), &Layout::Images).unwrap()),
        ["a/flair.nii.gz", "a/mask.nii.gz", "good.png", "real/flair.nii.gz"]
    );
    symlink("nowhere", root.path().join("dangling.png")).unwrap();
    refused(Dataset::open(root.path(), &Layout::Images), "DanglingLink", "dangling.png");
    refused(Dataset::open(root.path(), &flair()), "DanglingLink", "dangling.png");
    fs::remove_file(root.path().join("dangling.png")).unwrap();
    symlink("nowhere", root.path().join("real/mask.nii.gz")).unwrap();
    refused(Dataset::open(root.path(), &flair()), "DanglingLink", "mask.nii.gz");
    fs::remove_file(root.path().join("real/mask.nii.gz")).unwrap();
    fs::create_dir(root.path().join("real/mask.nii.gz")).unwrap();
    refused(Dataset::open(root.path(), &flair()), "NotRegularFile", "mask.nii.gz");
    fs::remove_dir(root.path().join("real/mask.nii.gz")).unwrap();
    let pipe = root.path().join("pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    refused(Dataset::open(root.path(), &Layout::Images), "NotRegularFile", "pipe.png");
    fs::remove_file(pipe).unwrap();
    fs::create_dir(root.path().join(OsStr::from_bytes(b"caf\xe9"))).unwrap();
    for layout in [flair(), Layout::Images, Layout::Acdc, Layout::MvTec] {
        let error = Dataset::open(root.path(), &layout).unwrap_err();
        assert_eq!(error.kind().name(), "NotUtf8");
        assert!(error.to_string().contains("caf\\xe9"), "{error}");
    }
}
