//! The layouts on real data sets, where they are present.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

mod support;

use lesio_io::ReadOptions;
use lesio_io::dataset::{Dataset, Layout, Mask};
use support::data;

#[test]
fn lgg_is_laid_out_in_cases() {
    let Some(root) = data("lgg-flair") else { return };
    let data = Dataset::open(root, &Layout::cases("flair.nii.gz", Some("mask.nii.gz"))).unwrap();
    let count = |split| data.select(split).unwrap().cases().len();
    assert_eq!((count("train"), count("val"), count("test"), count("all")), (50, 9, 17, 76));
    data.require_masks().unwrap();
    let (volume, mask) = data.cases()[0].read_volume(&ReadOptions::new()).unwrap();
    let mask = mask.unwrap();
    assert_eq!(volume.shape(), mask.shape());
    assert!(mask.data().iter().any(|&label| label == 1) && mask.data().iter().all(|&label| label <= 1));
    assert_eq!(data.select("nowhere").unwrap_err().kind().name(), "UnknownSplit");
}

#[test]
fn acdc_has_two_frames_a_patient() {
    let Some(root) = data("acdc") else { return };
    let data = Dataset::open(root, &Layout::Acdc).unwrap();
    assert_eq!(data.cases().len(), 160);
    assert_eq!(data.select("train").unwrap().cases().len(), 120);
    data.require_masks().unwrap();
    assert_eq!((data.cases()[0].id(), data.cases()[0].patient()), ("patient001_frame01", "patient001"));
    let (_, mask) = data.cases()[0].read_volume(&ReadOptions::new()).unwrap();
    assert_eq!(mask.unwrap().data().iter().max(), Some(&3));
}

#[test]
fn hippocampus_is_laid_out_as_the_decathlon() {
    let Some(root) = data("hippocampus") else { return };
    let data = Dataset::open(root, &Layout::Msd).unwrap();
    assert_eq!(data.cases().len(), 200);
    data.require_masks().unwrap();
    for case in data.cases() {
        let (volume, mask) = case.read_volume(&ReadOptions::new()).unwrap();
        assert_eq!(volume.shape(), mask.unwrap().shape(), "{}", case.id());
    }
}

#[test]
fn magnetic_tiles_are_laid_out_as_mvtec() {
    let Some(root) = data("magnetic-tile") else { return };
    let data = Dataset::open(&root, &Layout::MvTec).unwrap();
    assert_eq!(data.select("train").unwrap().cases().len(), 682);
    let test = data.select("test").unwrap();
    assert_eq!(test.filter(|case| case.kind() == Some("good")).cases().len(), 120);
    assert_eq!(test.filter(|case| matches!(case.mask(), Mask::File(_))).cases().len(), 257);
    data.require_masks().unwrap();
    for case in test.cases() {
        let (image, mask) = case.read_image(&ReadOptions::new()).unwrap();
        assert_eq!(image.channels(), 1, "{}", case.id());
        let marked = mask.unwrap().iter().filter(|&&pixel| pixel).count();
        assert_eq!(marked == 0, case.kind() == Some("good"), "{}", case.id());
    }
    // The same folder as plain images, its masks among them.
    assert_eq!(Dataset::open(&root, &Layout::Images).unwrap().cases().len(), 1059 + 257);
}

#[test]
fn the_other_sets_open_with_all_that_their_layout_says() {
    if let Some(root) = data("brats-small") {
        let names = ["flair.nii.gz", "t1c.nii.gz"].map(str::to_owned);
        let layout = Layout::Cases { images: names.into(), mask: Some("mask.nii.gz".to_owned()) };
        let data = Dataset::open(root, &layout).unwrap();
        assert_eq!((data.cases().len(), data.unknown()), (4, 0));
        let channels = data.cases()[0].read_channels(&ReadOptions::new()).unwrap();
        let (volume, mask) = data.cases()[0].read_masked(&ReadOptions::new()).unwrap();
        assert_eq!((channels.len(), &channels[0]), (2, &volume));
        assert_eq!(mask.unwrap().geometry(), volume.geometry());
    }
    if let Some(root) = data("t1-slabs") {
        let data = Dataset::open(root, &Layout::cases("t1.nii.gz", Some("tissue.nii.gz"))).unwrap();
        assert_eq!((data.cases().len(), data.splits().len()), (40, 0));
        data.cases()[0].read_volume(&ReadOptions::new()).unwrap();
    }
    if let Some(root) = data("mvtec-bottle") {
        let data = Dataset::open(root, &Layout::MvTec).unwrap();
        data.require_masks().unwrap();
        let counts = ["train", "test"].map(|split| data.select(split).unwrap().cases().len());
        assert_eq!(counts, [209, 83]);
    }
}
