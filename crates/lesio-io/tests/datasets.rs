//! Data set folders, good and odd, made by the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::Path;

use lesio_image::{Geometry, Image, Volume};
use lesio_io::atomic::Existing;
use lesio_io::dataset::{
    AbsentCases, Dataset, DatasetError, DatasetErrorKind, DatasetOptions, Layout, Mask, MissingMask,
};
use lesio_io::{Matching, ReadOptions, WriteOptions, write_png_in};
use ndarray::Array3;
use support::{Unsynced, add, ids};

/// Makes files under a new folder: volumes and images real ones, others with the text given.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        add(root.path(), file, "");
    }
    root
}

fn flair() -> Layout {
    Layout::cases("flair.nii.gz", Some("mask.nii.gz"))
}

fn keep() -> DatasetOptions {
    DatasetOptions::new().missing_mask(MissingMask::Keep)
}

fn write(root: &Path, file: &str, volume: &Volume<u8>) {
    fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
    WriteOptions::new().existing(Existing::Replace).write_in(&Unsynced, root.join(file), volume).unwrap();
}

/// The kind of an error and the end of the path that it names.
fn refused(result: Result<Dataset, DatasetError>, kind: &str, path: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind().name(), kind, "{error}");
    assert!(error.path().ends_with(path), "{error} names {}, expected {path}", error.path().display());
}

/// BraTS has the case in the names of its files: the channels are called by the rest of them.
#[test]
fn names_may_hold_the_case() {
    let root = folder(&[]);
    for case in ["p1", "p2"] {
        for name in ["flair.nii.gz", "t1ce.nii", "seg.nii.gz"] {
            add(root.path(), &format!("{case}/{case}_{name}"), "");
        }
    }
    let images = ["{case}_flair.nii.gz", "{case}_t1ce.nii.gz"].map(str::to_owned).to_vec();
    let layout = Layout::Cases { images, mask: Some("{case}_seg.nii.gz".to_owned()) };
    let data = Dataset::open(root.path(), &layout).unwrap();
    assert_eq!(data.cases().len(), 2);
    for case in data.cases() {
        let (scan, mask) = case.read_scan(&ReadOptions::new()).unwrap();
        assert_eq!(scan.names(), ["flair", "t1ce"]);
        assert_eq!(mask.unwrap().shape(), scan.grid());
    }
    // A single channel is called by what is left of its name, too.
    add(root.path(), "p1/p1.nii.gz", "");
    add(root.path(), "p2/p2.nii.gz", "");
    let data = Dataset::open(root.path(), &Layout::cases("{case}.nii.gz", None)).unwrap();
    assert_eq!(data.cases()[1].read_scan(&ReadOptions::new()).unwrap().0.names(), ["image"]);
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
    let data = Dataset::open_with(root.path(), &flair(), &keep()).unwrap();
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
    let (volume, mask) = data.cases()[1].read_volume(&ReadOptions::new()).unwrap();
    assert_eq!((volume.shape(), mask.unwrap().shape()), ([4, 3, 2], [4, 3, 2]));
    refused(Dataset::open(root.path(), &Layout::cases("t2.nii.gz", None)), "MissingFile", "a/t2.nii.gz");
    let two = Layout::Cases { images: vec!["flair.nii.gz".into(), "t1.nii.gz".into()], mask: None };
    refused(Dataset::open(root.path(), &two), "MissingFile", "b/t1.nii.gz");
    fs::remove_dir_all(root.path().join("b")).unwrap();
    fs::remove_dir_all(root.path().join("c")).unwrap();
    let two = Dataset::open(root.path(), &two).unwrap();
    assert_eq!(two.cases()[0].read_channels(&ReadOptions::new()).unwrap().len(), 2);
}

#[test]
fn splits_are_read_beside_any_layout() {
    let root = folder(&["a/flair.nii.gz", "b/flair.nii.gz", "c/flair.nii.gz"]);
    let flair = || Layout::cases("flair.nii.gz", None);
    add(root.path(), "splits.csv", "site,patient,split\nX,a,train\nX,b,val\nY,absent,test\n");
    refused(Dataset::open(root.path(), &flair()), "AbsentCases", "splits.csv");
    let partial = DatasetOptions::new().absent_cases(AbsentCases::Warn);
    let data = Dataset::open_with(root.path(), &flair(), &partial).unwrap();
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
    refused(Dataset::open(root.path(), &flair()), "MissingFile", "splits.csv/flair.nii.gz");
    fs::remove_dir(root.path().join("splits.csv")).unwrap();
    let error = Dataset::open(root.path(), &flair()).unwrap().select("train").unwrap_err();
    assert!(error.to_string().contains("the data set has no splits"), "{error}");
}

#[test]
fn rows_that_name_no_case_are_listed_with_the_nearest_names() {
    let root =
        folder(&["001/flair.nii.gz", "002/flair.nii.gz", "003/flair.nii.gz", "M\u{fc}ller/flair.nii.gz"]);
    let layout = Layout::cases("flair.nii.gz", None);
    let open = |text: &str| {
        fs::write(root.path().join("splits.csv"), text).unwrap();
        Dataset::open(root.path(), &layout)
    };
    let error = open("patient,split\n001,train\n2,train\n3,train\nMu\u{308}ller,test\n").unwrap_err();
    let DatasetErrorKind::AbsentCases { rows, count: 3 } = error.kind() else { panic!("{error}") };
    let found: Vec<(u64, &str, &str)> =
        rows.iter().map(|row| (row.line, row.name.as_str(), row.nearest[0].as_str())).collect();
    assert_eq!(found, [(3, "2", "002"), (4, "3", "003"), (5, "Mu\u{308}ller", "M\u{fc}ller")]);
    let text = error.to_string();
    // Both forms of the letter look alike, so they are spelled out.
    for part in
        ["line 3 \"2\", nearest \"002\"", "line 4 \"3\"", "Mu\\u{308}ller", "M\\u{fc}ller", "splits.csv"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    // A quote that closes before the value ends names nobody.
    assert_eq!(open("patient,split\n\"00\"1x,train\n").unwrap_err().kind().name(), "AbsentCases");
    let many: String = (0..30).map(|k| format!("none{k},train\n")).collect();
    let error = open(&format!("patient,split\n{many}")).unwrap_err();
    assert!(matches!(error.kind(), DatasetErrorKind::AbsentCases { rows, count: 30 } if rows.len() == 10));
    assert!(error.to_string().contains("and 20 more"), "{error}");
    // All are named, some twice.
    let data = open("patient,split\n001,train\n002,train\n001,train\nM\u{fc}ller,test\n").unwrap();
    assert_eq!(ids(&data.select("test").unwrap()), ["M\u{fc}ller"]);
}

#[test]
fn masks_that_are_missing_are_never_normal_unasked() {
    let root = folder(&["c0/flair.nii.gz", "c0/tumour.nii.gz"]);
    for case in 1..14 {
        add(root.path(), &format!("c{case}/flair.nii.gz"), "");
        if case < 3 {
            add(root.path(), &format!("c{case}/mask.nii.gz"), "");
        }
    }
    let open =
        |policy| Dataset::open_with(root.path(), &flair(), &DatasetOptions::new().missing_mask(policy));
    let error = open(MissingMask::Refuse).unwrap_err();
    let DatasetErrorKind::MissingMask { cases, count: 12, of: 14, mask } = error.kind() else {
        panic!("{error}")
    };
    assert_eq!((cases.len(), cases[0].as_str(), mask.as_deref()), (10, "c0", Some("mask.nii.gz")));
    let text = error.to_string();
    for part in ["12 of 14 cases have no mask mask.nii.gz", "c0", "and 2 more", "tumour.nii.gz"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(Dataset::open(root.path(), &flair()).unwrap_err().to_string(), text);
    assert_eq!(ids(&open(MissingMask::Skip).unwrap()), ["c1", "c2"]);
    let normal = open(MissingMask::Normal).unwrap();
    assert_eq!((normal.cases().len(), normal.cases()[0].mask(), normal.unknown()), (14, &Mask::Normal, 0));
    let (_, mask) = normal.cases()[0].read_masked(&ReadOptions::new()).unwrap();
    assert!(mask.unwrap().data().iter().all(|inside| !inside));
    let kept = open(MissingMask::Keep).unwrap();
    assert_eq!((kept.unknown(), kept.cases()[0].mask()), (12, &Mask::Unknown));
    assert_eq!(kept.clone().resolved(MissingMask::Skip).unwrap(), open(MissingMask::Skip).unwrap());
    assert_eq!(kept.without_masks().unknown(), 14);
    // A name that no case has is a slip, also where cases without a mask would be left out.
    let typo = Layout::cases("flair.nii.gz", Some("maks.nii.gz"));
    for policy in [MissingMask::Refuse, MissingMask::Skip] {
        let options = DatasetOptions::new().missing_mask(policy);
        refused(Dataset::open_with(root.path(), &typo, &options), "MissingMask", "");
    }
    let itself = Layout::cases("flair.nii.gz", Some("flair.nii.gz"));
    assert_eq!(Dataset::open(root.path(), &itself).unwrap_err().kind().name(), "NotThisLayout");
    // Cases that are left out may stand in splits.csv.
    fs::write(root.path().join("splits.csv"), "patient,split\nc0,train\nc1,train\n").unwrap();
    assert_eq!(ids(&open(MissingMask::Skip).unwrap().select("train").unwrap()), ["c1"]);
}

#[test]
fn masks_are_laid_on_images_by_their_place() {
    let root = tempfile::tempdir().unwrap();
    let grid = Geometry::from_spacing([1.0, 1.0, 3.0]).unwrap();
    let labels =
        Volume::new(Array3::from_shape_fn((5, 4, 3), |(i, j, k)| u8::from(i > 2 && j > 0 && k == 2)), grid);
    let open = |matching| {
        let options = DatasetOptions::new().matching(matching);
        Dataset::open_with(root.path(), &flair(), &options).unwrap().cases()[0].clone()
    };
    for image in ["RAS", "ASR", "LPI", "PIR"] {
        let own = labels.reoriented(&image.parse().unwrap());
        write(root.path(), "a/flair.nii.gz", &own);
        for mask in ["RAS", "LAS", "IPR", "SLA"] {
            write(root.path(), "a/mask.nii.gz", &labels.reoriented(&mask.parse().unwrap()));
            let (volume, found) = open(Matching::Place).read_volume(&ReadOptions::new()).unwrap();
            let found = found.unwrap();
            assert_eq!(
                (found.data(), found.geometry()),
                (own.data(), volume.geometry()),
                "{mask} on {image}"
            );
            let (_, found) = open(Matching::Place).read_masked(&ReadOptions::new()).unwrap();
            assert_eq!(found.unwrap().data(), &own.data().mapv(|label| label != 0));
        }
        // The same voxels without their place are refused, with both affines, unless the user knows better.
        let lost = Volume::new(own.data().clone(), Geometry::default());
        write(root.path(), "a/mask.nii.gz", &lost);
        for error in [
            open(Matching::Place).read_volume(&ReadOptions::new()).unwrap_err(),
            open(Matching::Place).read_masked(&ReadOptions::new()).unwrap_err(),
        ] {
            assert_eq!(error.kind().name(), "GridMismatch");
            let text = error.to_string();
            for part in [
                "a/mask.nii.gz",
                "a/flair.nii.gz",
                "[1 0 0 0; 0 1 0 0; 0 0 1 0]",
                &own.geometry().to_string(),
            ] {
                assert!(text.contains(part), "{part} in {text}");
            }
        }
        let (volume, found) = open(Matching::Position).read_volume(&ReadOptions::new()).unwrap();
        let found = found.unwrap();
        assert_eq!((found.data(), found.geometry()), (own.data(), volume.geometry()));
    }
    // By position, the order in the file counts, and the shape has to be the same.
    let mirrored = labels.reoriented(&"LAS".parse().unwrap());
    write(root.path(), "a/flair.nii.gz", &labels);
    write(root.path(), "a/mask.nii.gz", &mirrored);
    let (_, found) = open(Matching::Position).read_volume(&ReadOptions::new()).unwrap();
    assert_eq!(found.unwrap().data(), mirrored.data());
    write(root.path(), "a/mask.nii.gz", &labels.reoriented(&"ASR".parse().unwrap()));
    let error = open(Matching::Position).read_volume(&ReadOptions::new()).unwrap_err();
    assert_eq!(error.kind().name(), "SizeMismatch");
    // Channels are laid on the first in the same way.
    let two = Layout::Cases { images: vec!["flair.nii.gz".into(), "mask.nii.gz".into()], mask: None };
    let read = || Dataset::open(root.path(), &two).unwrap().cases()[0].read_channels(&ReadOptions::new());
    let channels = read().unwrap();
    assert_eq!(channels[0], channels[1]);
    write(root.path(), "a/mask.nii.gz", &Volume::new(labels.data().clone(), Geometry::default()));
    assert_eq!(read().unwrap_err().kind().name(), "GridMismatch");
}

#[test]
fn every_value_but_0_is_inside_a_mask() {
    let root = folder(&["a/flair.nii.gz"]);
    let inside = Array3::from_shape_fn((4, 3, 2), |(i, j, k)| i == 1 && j > 0 || k == 1);
    let open = || Dataset::open(root.path(), &flair()).unwrap().cases()[0].clone();
    let path = root.path().join("a/mask.nii.gz");
    let options = WriteOptions::new().existing(Existing::Replace);
    for value in [256_i16, -1, 1, 255, i16::MIN] {
        let mask = Volume::new(inside.mapv(|inside| if inside { value } else { 0 }), Geometry::default());
        options.write_in(&Unsynced, &path, &mask).unwrap();
        assert_eq!(open().read_masked(&ReadOptions::new()).unwrap().1.unwrap().data(), &inside, "{value}");
    }
    for value in [1.000_000_1_f32, 0.5, -3.0, f32::INFINITY, f32::NAN] {
        let mask = Volume::new(inside.mapv(|inside| if inside { value } else { 0.0 }), Geometry::default());
        options.write_in(&Unsynced, &path, &mask).unwrap();
        match open().read_masked(&ReadOptions::new()) {
            Ok((_, mask)) => assert_eq!(mask.unwrap().data(), &inside, "{value}"),
            Err(error) => assert!(value.is_nan() && error.path() == path, "{error}"),
        }
    }
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
    let error = Dataset::open(root.path(), &Layout::MvTec).unwrap_err();
    assert!(
        matches!(error.kind(), DatasetErrorKind::MissingMask { cases, .. } if *cases == ["test/crack/001"]),
        "{error}"
    );
    let data = Dataset::open_with(root.path(), &Layout::MvTec, &keep()).unwrap();
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
    let (image, mask) = case("test/good/000").read_image(&ReadOptions::new()).unwrap();
    assert_eq!((image.height(), image.width(), mask.unwrap().iter().any(|&m| m)), (3, 4, false));
    assert!(case("test/crack/000").read_image(&ReadOptions::new()).unwrap().1.unwrap().iter().all(|&m| m));
    add(root.path(), "ground_truth/crack/000.png", "");
    refused(Dataset::open(root.path(), &Layout::MvTec), "AmbiguousMask", "crack/000_mask.png");
    fs::remove_file(root.path().join("ground_truth/crack/000.png")).unwrap();
    // An image of the same name in another split is another image, to which the mask does not belong.
    add(root.path(), "val/crack/000.png", "");
    refused(Dataset::open(root.path(), &Layout::MvTec), "SharedMask", "crack/000_mask.png");
    fs::remove_file(root.path().join("val/crack/000.png")).unwrap();
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
    let error = Dataset::open(root.path(), &Layout::Acdc).unwrap_err();
    assert!(
        matches!(error.kind(), DatasetErrorKind::MissingMask { cases, .. } if *cases == ["patient001_frame12"]),
        "{error}"
    );
    let data = Dataset::open_with(root.path(), &Layout::Acdc, &keep()).unwrap();
    assert_eq!(ids(&data), ["patient001_frame01", "patient001_frame12", "patient002_frame01"]);
    assert_eq!(data.cases()[0].patient(), "patient001");
    assert_eq!(*data.cases()[1].mask(), Mask::Unknown);
    assert!(data.cases()[2].mask().path().is_some());
    add(
        root.path(),
        "splits.csv",
        "patient,frame,split\npatient001,frame01,train\npatient001,frame12,test\n",
    );
    let data = Dataset::open_with(root.path(), &Layout::Acdc, &keep()).unwrap();
    assert_eq!(ids(&data.select("test").unwrap()), ["patient001_frame12"]);
    fs::remove_file(root.path().join("splits.csv")).unwrap();
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
    fs::rename(root.path().join("labelsTr/liver_2.nii.gz"), root.path().join("liver_2.nii.gz")).unwrap();
    refused(Dataset::open(root.path(), &Layout::Msd), "MissingMask", "");
    fs::rename(root.path().join("liver_2.nii.gz"), root.path().join("labelsTr/liver_2.nii.gz")).unwrap();
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
    assert_eq!(one.cases()[0].read_image(&ReadOptions::new()).unwrap().1, None);
    assert!(data.cases()[1].is_volume() && !one.cases()[0].is_volume());
    // A header and its voxels are one case, and are not passed over.
    let pairs = folder(&["a.hdr", "a.img", "B.HDR.GZ", "B.IMG.GZ", "lone.img"]);
    assert_eq!(
        ids(&Dataset::open(pairs.path(), &Layout::Images).unwrap()),
        ["B.HDR.GZ", "a.hdr", "lone.img"]
    );
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
fn a_wrong_layout_is_told_with_the_one_that_fits() {
    let told = |root: &tempfile::TempDir, layout: &Layout, expected: &str| {
        let error = Dataset::open(root.path(), layout).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected} in {error}");
    };
    let mvtec = folder(&["train/good/0.png", "test/crack/0.png", "ground_truth/crack/0_mask.png"]);
    let msd = folder(&["imagesTr/a.nii.gz", "labelsTr/a.nii.gz"]);
    let acdc = folder(&["training/p1/p1_frame01.nii.gz", "training/p1/p1_frame01_gt.nii.gz"]);
    let cases = folder(&["a/t1.nii.gz", "a/seg.nii.gz", "b/t1.nii.gz", "b/seg.nii.gz"]);
    let images = folder(&["a.png", "b.png"]);
    for layout in [flair(), Layout::MvTec, Layout::Acdc, Layout::Msd] {
        let found =
            [(&mvtec, "mvtec"), (&msd, "msd"), (&acdc, "acdc"), (&cases, "cases"), (&images, "images")];
        for (root, name) in found.into_iter().filter(|(_, name)| *name != layout.name()) {
            told(root, &layout, &format!("looks like the layout {name}"));
        }
    }
    told(&cases, &Layout::Msd, "the layout cases with t1.nii.gz in each folder");
    told(&cases, &flair(), "the folder holds seg.nii.gz, t1.nii.gz");
    let above = folder(&["bottle/train/good/0.png"]);
    told(&above, &Layout::MvTec, "its folder bottle looks like the layout mvtec");
    let dicom = folder(&["a/1.dcm", "a/2.dcm", "README.md"]);
    told(&dicom, &Layout::Images, "2 .dcm");
    told(&dicom, &Layout::Images, "it looks like the layout dicom");
}

#[test]
fn images_in_folders_below_a_kind_are_not_lost() {
    let root = folder(&[
        "train/good/monday/0.png",
        "train/good/tuesday/0.png",
        "train/good/0.png",
        "test/crack/deep/er/1.png",
        "ground_truth/crack/deep/er/1_mask.png",
        "test/good/0.png",
        "ground_truth/good/0_mask.png",
    ]);
    let data = Dataset::open(root.path(), &Layout::MvTec).unwrap();
    let expected = [
        "test/crack/deep/er/1",
        "test/good/0",
        "train/good/0",
        "train/good/monday/0",
        "train/good/tuesday/0",
    ];
    assert_eq!(ids(&data), expected);
    let mask = |k: usize| data.cases()[k].mask();
    assert!(mask(0).path().unwrap().ends_with("crack/deep/er/1_mask.png"));
    // What is said of a normal image is looked at; images to train on are no part of it.
    assert!(mask(1).path().unwrap().ends_with("good/0_mask.png"));
    assert_eq!(mask(2), &Mask::Normal);
    add(root.path(), "train/1.png", "");
    refused(Dataset::open(root.path(), &Layout::MvTec), "Misplaced", "train/1.png");
}

#[test]
fn results_are_no_data() {
    let root = folder(&["a/flair.nii.gz", "b/flair.nii.gz", "b/report.json"]);
    let report =
        r#"{"cases": [], "command": "cargo run --release --example localize -- --out maps", "schema": 1}"#;
    add(root.path(), "maps/report.json", report);
    add(root.path(), "maps/a/pixel-l1.nii.gz", "");
    let layout = Layout::cases("flair.nii.gz", None);
    assert_eq!(ids(&Dataset::open(root.path(), &layout).unwrap()), ["a", "b"]);
    let images = Dataset::open(root.path(), &Layout::Images).unwrap();
    assert_eq!(ids(&images), ["a/flair.nii.gz", "b/flair.nii.gz"]);
    // Where results would go is told before they do.
    for inside in ["", "new", "a/../new/deep", "new/../a"] {
        assert!(images.contains(root.path().join(inside)), "{inside}");
    }
    let other = tempfile::tempdir().unwrap();
    for outside in [other.path().join("x"), root.path().join(".."), root.path().join("new/../../x")] {
        assert!(!images.contains(&outside), "{}", outside.display());
    }
    let one = Dataset::open(root.path().join("a/flair.nii.gz"), &Layout::Images).unwrap();
    assert!(!one.contains(root.path().join("a/out")));
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
        let error = case.read_image(&ReadOptions::new()).unwrap_err();
        assert_eq!(error.kind().name(), "SizeMismatch");
        assert!(
            error.to_string().contains("x_mask.png") && error.to_string().contains("crack/x.png"),
            "{error}"
        );
    }
    for other in ["train", "test", "ground_truth"] {
        fs::remove_dir_all(root.path().join(other)).unwrap();
    }
    let read = || Dataset::open(root.path(), &flair()).unwrap().cases()[0].read_volume(&ReadOptions::new());
    let error = read().unwrap_err();
    assert_eq!(error.kind().name(), "SizeMismatch");
    assert!(error.to_string().contains("[4, 3, 1]") && error.to_string().contains("[4, 3, 2]"), "{error}");
    // Labels that are no labels.
    let negative = Volume::new(Array3::from_elem((4, 3, 2), -1_i16), Geometry::default());
    fs::remove_file(root.path().join("a/mask.nii.gz")).unwrap();
    WriteOptions::new().write_in(&Unsynced, root.path().join("a/mask.nii.gz"), &negative).unwrap();
    assert_eq!(read().unwrap_err().kind().name(), "LossyConversion");
}

#[test]
fn a_root_that_is_no_folder_is_said_to_be_what_it_is() {
    let root = folder(&["file", "a.png"]);
    let error = Dataset::open(root.path().join("file"), &flair()).unwrap_err();
    assert!(error.to_string().contains("is a file, expected a folder"), "{error}");
    #[cfg(unix)]
    {
        let pipe = root.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
        for layout in [flair(), Layout::MvTec, Layout::Acdc, Layout::Msd, Layout::Images] {
            for (path, what) in [
                (pipe.as_path(), "a named pipe"),
                (&root.path().join("socket"), "a socket"),
                (Path::new("/dev/null"), "a device"),
            ] {
                let error = Dataset::open(path, &layout).unwrap_err();
                assert!(error.to_string().contains(&format!("is {what}, expected a folder")), "{error}");
            }
        }
    }
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
    let data = Dataset::open_with(root.path(), &flair(), &keep()).unwrap();
    assert_eq!(ids(&data), ["a", "linked", "real"]);
    // A search in depth does not follow links to folders, which may lead back.
    assert_eq!(
        ids(&Dataset::open(root.path(), &Layout::Images).unwrap()),
        ["a/flair.nii.gz", "a/mask.nii.gz", "good.png", "real/flair.nii.gz"]
    );
    symlink("nowhere", root.path().join("dangling.png")).unwrap();
    for layout in [Layout::Acdc, Layout::MvTec] {
        refused(Dataset::open(root.path(), &layout), "DanglingLink", "dangling.png");
    }
    fs::remove_file(root.path().join("dangling.png")).unwrap();
    symlink("nowhere", root.path().join("real/mask.nii.gz")).unwrap();
    refused(Dataset::open(root.path(), &flair()), "DanglingLink", "mask.nii.gz");
    fs::remove_file(root.path().join("real/mask.nii.gz")).unwrap();
    fs::create_dir(root.path().join("real/mask.nii.gz")).unwrap();
    refused(Dataset::open(root.path(), &flair()), "NotRegularFile", "mask.nii.gz");
    fs::remove_dir(root.path().join("real/mask.nii.gz")).unwrap();
    fs::create_dir(root.path().join(OsStr::from_bytes(b"caf\xe9"))).unwrap();
    for layout in [Layout::Acdc, Layout::MvTec] {
        let error = Dataset::open(root.path(), &layout).unwrap_err();
        assert_eq!(error.kind().name(), "NotUtf8");
        assert!(error.to_string().contains("caf\\xe9"), "{error}");
    }
}

/// One image that cannot be read does not stop the others, whatever it is.
#[cfg(unix)]
#[test]
fn an_image_that_cannot_be_read_is_a_case_with_an_error() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let read = |data: &Dataset| -> Vec<(String, &'static str)> {
        let kind = |case: &lesio_io::dataset::Case| match case.read_scan(&ReadOptions::new()) {
            Ok(_) => "read",
            Err(error) => error.kind().name(),
        };
        data.cases().iter().map(|case| (case.id().to_owned(), kind(case))).collect()
    };
    let expected = |cases: &[(&str, &'static str)]| -> Vec<(String, &'static str)> {
        cases.iter().map(|&(id, kind)| (id.to_owned(), kind)).collect()
    };
    let pipe =
        |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    let named = |bytes: &'static [u8]| OsStr::from_bytes(bytes);

    let root = folder(&["good.png", "deep/good.nii.gz"]);
    symlink("nowhere", root.path().join("gone.png")).unwrap();
    symlink("round.png", root.path().join("round.png")).unwrap();
    symlink("nowhere", root.path().join("gone")).unwrap();
    pipe(&root.path().join("pipe.nii"));
    // Two names with one lossy form, and one of no image.
    for name in [&b"caf\xe8.png"[..], b"caf\xe9.png", b"caf\xe9.txt"] {
        fs::copy(root.path().join("good.png"), root.path().join(named(name))).unwrap();
    }
    let data = Dataset::open(root.path(), &Layout::Images).unwrap();
    let mut found = read(&data);
    let twin = found.iter().position(|(id, _)| id.ends_with("_caf\u{fffd}.png")).unwrap();
    assert_eq!(found.remove(twin).1, "NotUtf8");
    let cases = [
        ("caf\u{fffd}.png", "NotUtf8"),
        ("deep/good.nii.gz", "read"),
        ("gone.png", "DanglingLink"),
        ("good.png", "read"),
        ("pipe.nii", "NotRegularFile"),
        ("round.png", "Io"),
    ];
    assert_eq!(found, expected(&cases));
    let odd = data.cases().iter().find(|case| case.id() == "caf\u{fffd}.png").unwrap();
    let error = odd.read_image(&ReadOptions::new()).unwrap_err().to_string();
    assert!(error.contains("the name is not UTF-8: caf\\xe8.png"), "{error}");

    let root = folder(&[
        "a/flair.nii.gz",
        "a/mask.nii.gz",
        "folder/flair.nii.gz/x.txt",
        "link/",
        "pipe/",
        "notes.txt",
    ]);
    symlink("nowhere", root.path().join("link/flair.nii.gz")).unwrap();
    pipe(&root.path().join("pipe/flair.nii.gz"));
    symlink("../archive/b", root.path().join("b")).unwrap();
    symlink("nowhere", root.path().join("image.png")).unwrap();
    let odd = root.path().join(named(b"caf\xe9"));
    fs::create_dir(&odd).unwrap();
    fs::copy(root.path().join("a/flair.nii.gz"), odd.join("flair.nii.gz")).unwrap();
    let data = Dataset::open_with(root.path(), &flair(), &keep()).unwrap();
    let cases = [
        ("a", "read"),
        ("b", "DanglingLink"),
        ("caf\u{fffd}", "NotUtf8"),
        ("folder", "NotRegularFile"),
        ("link", "DanglingLink"),
        ("pipe", "NotRegularFile"),
    ];
    assert_eq!(read(&data), expected(&cases));
    let error = data.cases()[1].read_volume(&ReadOptions::new()).unwrap_err().to_string();
    assert!(error.ends_with("b: is a link to ../archive/b, which does not exist"), "{error}");
    assert!(data.cases()[2].header().is_err());
    // Nobody knows whether it has a mask.
    assert!(data.filter(|case| case.id() == "b").require_masks().is_ok());
    let data = Dataset::open(root.path(), &Layout::Images).unwrap();
    let within = data.cases().iter().find(|case| case.id() == "caf\u{fffd}/flair.nii.gz").unwrap();
    let error = within.read_volume(&ReadOptions::new()).unwrap_err().to_string();
    assert!(error.ends_with("the name is not UTF-8: caf\\xe9"), "{error}");
    // A mask is never taken for missing.
    symlink("nowhere", root.path().join("link/mask.nii.gz")).unwrap();
    refused(Dataset::open_with(root.path(), &flair(), &keep()), "DanglingLink", "link/mask.nii.gz");
}
