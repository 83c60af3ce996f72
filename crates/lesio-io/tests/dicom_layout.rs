//! Folders of DICOM series, made here with dicom-rs: which of them are cases, and what these are called.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

#[path = "support/dicom.rs"]
mod support;

use std::fs;
use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use lesio_image::{Geometry, Volume};
use lesio_io::dataset::{Case, Dataset, DatasetOptions, Layout, Mask, MissingMask};
use lesio_io::{ReadOptions, write_volume};
use ndarray::Array3;
use support::Slice;

const COLUMNS: usize = 4;
const ROWS: usize = 3;

/// A slice of a series, two millimeters from the one before, whose pixels hold its number, with no more than it needs.
fn slice(patient: &str, series: &str, description: &str, number: u16) -> Slice {
    let needless =
        [tags::FRAME_OF_REFERENCE_UID, tags::BITS_STORED, tags::HIGH_BIT, tags::PIXEL_REPRESENTATION];
    Slice::new([COLUMNS, ROWS], vec![number; ROWS * COLUMNS])
        .with(|s| (s.position, s.without) = (format!("1\\2\\{}", 2 * number), needless.to_vec()))
        .text(tags::PATIENT_ID, VR::LO, patient)
        .text(tags::STUDY_INSTANCE_UID, VR::UI, "1.9")
        .text(tags::STUDY_DATE, VR::DA, "20240131")
        .text(tags::SERIES_INSTANCE_UID, VR::UI, series)
        .text(tags::SERIES_NUMBER, VR::IS, "3")
        .text(tags::SERIES_DESCRIPTION, VR::LO, description)
}

/// A series of slices in one folder, beside others.
fn series(folder: &Path, patient: &str, uid: &str, description: &str, count: u16) {
    for number in 0..count {
        slice(patient, uid, description, number).write(&folder.join(format!("{uid}-{number}")));
    }
}

fn dicom(series: Option<&str>, mask: Option<&str>) -> Layout {
    Layout::Dicom { series: series.map(str::to_owned), mask: mask.map(str::to_owned) }
}

fn ids(root: &Path, series: Option<&str>) -> Vec<String> {
    let data = Dataset::open(root, &dicom(series, None)).unwrap();
    data.cases().iter().map(|case| case.id().to_owned()).collect()
}

#[test]
fn series_are_cases_wherever_their_slices_lie() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    // Two series in one folder, the slices of another in two.
    series(&root.join("a"), "P1", "1.1", "t2 FLAIR (dark)", 4);
    series(&root.join("a"), "P1", "1.2", "T1w", 5);
    for number in 0..4 {
        slice("P2", "1.3", "ax flair", number).write(&root.join(format!("b/{}/{number}.dcm", number % 2)));
    }
    fs::write(root.join("notes.txt"), "text").unwrap();
    fs::write(root.join("a/DICOMDIR"), "no mark").unwrap();
    fs::write(root.join("a/.DS_Store"), "x").unwrap();
    assert_eq!(ids(root, None), ["P1_3_T1w", "P1_3_t2-FLAIR-dark", "P2_3_ax-flair"]);
    assert_eq!(ids(root, Some("Flair")), ["P1_3_t2-FLAIR-dark", "P2_3_ax-flair"]);
    let error = Dataset::open(root, &dicom(Some("dwi"), None)).unwrap_err();
    assert_eq!(error.kind().name(), "Empty");

    let data = Dataset::open(root, &dicom(Some("flair"), None)).unwrap();
    let [first, second] = data.cases() else { panic!() };
    assert_eq!((first.patient(), first.images().len(), first.is_volume()), ("P1", 4, true));
    assert_eq!(first.inputs(), [root.join("a")]);
    assert_eq!(second.inputs(), [root.join("b/0"), root.join("b/1")]);
    assert!(first.header().unwrap().is_none());
    let further: Vec<String> =
        first.further().iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        further,
        ["modality=MR", "study_date=20240131", "series_number=3", "series_description=t2 FLAIR (dark)"]
    );
    for case in data.cases() {
        let (scan, mask) = case.read_scan(&ReadOptions::new()).unwrap();
        assert_eq!((scan.grid(), scan.channels(), mask.is_none()), ([COLUMNS, ROWS, 4], 1, true));
        let values: Vec<f32> = (0..4).map(|slice| scan.data()[[0, 1, 1, slice]]).collect();
        assert_eq!(values, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(case.read_channels(&ReadOptions::new()).unwrap().len(), 1);
    }
    // By patient, as everywhere.
    fs::write(root.join("splits.csv"), "patient,split\nP1,train\nP2,test\n").unwrap();
    let data = Dataset::open(root, &dicom(None, None)).unwrap();
    assert_eq!(data.select("train").unwrap().cases().len(), 2);
    let error = Dataset::open(root.join("a"), &Layout::cases("image.nii.gz", None)).unwrap_err();
    assert!(error.to_string().contains("it looks like the layout dicom"), "{error}");
}

#[test]
fn what_is_no_volume_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    series(root, "P", "1.1", "good", 3);
    series(root, "P", "1.2", "two slices", 2);
    for number in 0..9 {
        let localizer = slice("P", "1.3", "scout", number);
        localizer
            .text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER")
            .write(&root.join(format!("c{number}")));
    }
    for number in 0..3 {
        // What is no image has elements after the place of its size.
        let report = slice("P", "1.4", "report", number).text(tags::COMPLETION_FLAG, VR::CS, "COMPLETE");
        report.with(|s| s.pixels = None).write(&root.join(format!("d{number}")));
    }
    slice("P", "", "no series", 0).write(&root.join("e"));
    for (place, modality) in ["SEG", "RTDOSE", "PR", "SR", "KO"].into_iter().enumerate() {
        let uid = format!("1.5.{place}");
        slice("P", &uid, "of frames", 0)
            .text(tags::MODALITY, VR::CS, modality)
            .text(tags::NUMBER_OF_FRAMES, VR::IS, "5")
            .write(&root.join(format!("g{place}")));
    }
    // Its start is that of a DICOM file, and no more. No slice of a series is in its folder.
    fs::create_dir(root.join("f")).unwrap();
    fs::write(root.join("f/f"), CUT_IN_META).unwrap();
    let data = Dataset::open(root, &dicom(None, None)).unwrap();
    assert_eq!(ids(root, None), ["P_3_good"]);
    data.cases()[0].read_scan(&ReadOptions::new()).unwrap();
}

/// The start of a DICOM file that ends in an element of its meta information.
const CUT_IN_META: [u8; 140] = {
    let mut bytes = [0; 140];
    let end = *b"DICM\x02\x00\x10\x00UI\x63\x00";
    let mut place = 0;
    while place < end.len() {
        bytes[128 + place] = end[place];
        place += 1;
    }
    bytes
};

/// The place of an element in a file.
fn place(bytes: &[u8], tag: [u8; 4]) -> usize {
    bytes.windows(4).position(|found| found == tag).unwrap()
}

#[test]
fn a_damaged_slice_makes_no_shorter_volume() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    series(&root.join("a"), "P1", "1.1", "damaged", 6);
    series(&root.join("b"), "P2", "1.2", "whole", 4);
    let file = |number: usize| root.join(format!("a/1.1-{number}"));
    let whole = fs::read(file(5)).unwrap();
    let uid = place(&whole, [0x20, 0, 0x0e, 0]);
    let open = || Dataset::open(root, &dicom(None, None)).unwrap();
    let error = |case: &Case| case.read_scan(&ReadOptions::new()).unwrap_err().to_string();
    for remnant in [
        whole[..uid + 2].to_vec(),
        // Between two elements, so that none is cut.
        whole[..uid].to_vec(),
        whole[..200].to_vec(),
        CUT_IN_META.to_vec(),
        Vec::new(),
        vec![0; 100],
        vec![0; 5000],
        // As old archives wrote it: without the preamble and the mark, or even the meta information.
        whole[132..].to_vec(),
        whole[place(&whole, [8, 0, 0x16, 0])..].to_vec(),
    ] {
        fs::write(file(5), &remnant).unwrap();
        let data = open();
        let [damaged, other] = data.cases() else { panic!("{data:?}") };
        let error = damaged.read_scan(&ReadOptions::new()).unwrap_err();
        assert_eq!((error.kind().name(), error.path()), ("PossibleSlice", file(5).as_path()));
        let text = error.to_string();
        assert!(text.contains("may be a slice") && text.ends_with("repair or remove it"), "{text}");
        assert_eq!(damaged.read_volume(&ReadOptions::new()).unwrap_err().to_string(), text);
        assert_eq!(damaged.read_channels(&ReadOptions::new()).unwrap_err().to_string(), text);
        assert_eq!((damaged.images().len(), damaged.inputs()), (6, vec![root.join("a")]));
        assert_eq!(other.read_scan(&ReadOptions::new()).unwrap().0.grid(), [COLUMNS, ROWS, 4]);
    }
    fs::write(file(4), b"").unwrap();
    fs::write(file(3), b"").unwrap();
    let text = error(&open().cases()[0]);
    assert!(text.contains("1.1-3") && text.contains("it is empty"), "{text}");
    assert!(text.ends_with("repair or remove it and 2 other files like it"), "{text}");
    // A series of two slices that can be read may be one of three.
    fs::remove_file(file(2)).unwrap();
    assert_eq!(open().cases().len(), 2);
    // A slice that was not fetched yet is one that is missing.
    #[cfg(unix)]
    {
        (2..6).for_each(|number| drop(fs::remove_file(file(number))));
        slice("P1", "1.1", "damaged", 2).write(&file(2));
        open().cases().iter().for_each(|case| drop(case.read_scan(&ReadOptions::new()).unwrap()));
        std::os::unix::fs::symlink("nowhere", file(3)).unwrap();
        assert!(error(&open().cases()[0]).contains("is a link to nowhere"));
    }
}

#[test]
fn a_damaged_slice_is_of_its_series_if_it_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    series(root, "P1", "1.1", "one", 4);
    series(root, "P2", "1.2", "two", 4);
    let damaged = || {
        let data = Dataset::open(root, &dicom(None, None)).unwrap();
        data.cases().iter().map(|case| case.read_scan(&ReadOptions::new()).is_err()).collect::<Vec<_>>()
    };
    let whole = fs::read(root.join("1.2-3")).unwrap();
    // After the series, before the size of the image.
    let known = &whole[..place(&whole, [0x28, 0, 0x02, 0]) + 3];
    fs::write(root.join("1.2-3"), known).unwrap();
    assert_eq!(damaged(), [false, true]);
    // The same in another folder.
    fs::create_dir(root.join("elsewhere")).unwrap();
    fs::rename(root.join("1.2-3"), root.join("elsewhere/x.dcm")).unwrap();
    assert_eq!(damaged(), [false, true]);
    fs::write(root.join("elsewhere/x.dcm"), b"").unwrap();
    assert_eq!(damaged(), [false, false]);
    fs::rename(root.join("elsewhere/x.dcm"), root.join("x.dcm")).unwrap();
    assert_eq!(damaged(), [true, true]);
    fs::remove_file(root.join("x.dcm")).unwrap();
    // Not what belongs to no series.
    fs::write(root.join("DICOMDIR"), CUT_IN_META).unwrap();
    for (name, content) in [("README", ""), ("x.png", ""), ("VERSION", "1.0")] {
        fs::write(root.join(name), content).unwrap();
    }
    assert_eq!(damaged(), [false, false]);
}

#[test]
fn a_bad_series_is_a_case_that_tells_why_it_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    series(&root.join("a"), "P1", "1.1", "good", 3);
    // A slice is missing, one is cut, one is compressed; and all frames are in one file.
    for number in [0, 1, 3] {
        slice("P2", "1.2", "gap", number).write(&root.join(format!("b/{number}")));
    }
    series(&root.join("c"), "P3", "1.3", "cut", 3);
    let cut = root.join("c/1.3-1");
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 5]).unwrap();
    series(&root.join("d"), "P4", "1.4", "jpeg", 3);
    for file in fs::read_dir(root.join("d")).unwrap() {
        // JPEG lossless in the place of explicit little endian, of as many letters.
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let place = bytes.windows(20).position(|text| text == b"1.2.840.10008.1.2.1\0").unwrap();
        bytes[place..place + 20].copy_from_slice(b"1.2.840.10008.1.2.5\0");
        fs::write(&path, bytes).unwrap();
    }
    slice("P5", "1.5", "frames", 0).text(tags::NUMBER_OF_FRAMES, VR::IS, "30").write(&root.join("e/0"));
    let data = Dataset::open(root, &dicom(None, None)).unwrap();
    let found: Vec<String> = data
        .cases()
        .iter()
        .map(|case| {
            case.read_scan(&ReadOptions::new())
                .map_or_else(|error| error.kind().name().to_owned(), |_| "read".to_owned())
        })
        .collect();
    assert_eq!(found, ["read", "MissingSlices", "Truncated", "UnsupportedTransferSyntax", "BadAttribute"]);
}

#[test]
fn names_are_unique_and_stay_in_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    series(root, "../../etc", "1.1", "..\u{1b}[2J/x", 3);
    series(root, "P", "1.2", "T1", 3);
    series(root, "P", "1.3", "T1", 3);
    series(root, "", "1.4", "", 3);
    let data = Dataset::open(root, &dicom(None, None)).unwrap();
    let found: Vec<&str> = data.cases().iter().map(Case::id).collect();
    assert_eq!(found, ["1.9_3", "P_3_T1_19380e19", "P_3_T1_6e3f3e8f", "etc_3_2J-x"]);
    // Who is not known is the study.
    assert_eq!(data.cases()[0].patient(), "1.9");
    let texts = data.cases()[3].further().iter().map(|(_, value)| value.as_str()).collect::<String>();
    assert!(!texts.chars().any(char::is_control), "{texts:?}");
}

#[test]
fn long_heads_and_any_coding_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let syntaxes = [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.2"];
    for (place, syntax) in syntaxes.into_iter().enumerate() {
        let uid = format!("1.{place}");
        for number in 0..3 {
            let mut slice = Slice { syntax, ..slice("P", &uid, "long", number) };
            // More than is read at first, before the number of the series.
            let icon = PrimitiveValue::U8(vec![7; 100_000].into());
            slice.more.push(DataElement::new(Tag(0x0009, 0x0010), VR::LO, PrimitiveValue::from("lesio")));
            slice.more.push(DataElement::new(Tag(0x0009, 0x1001), VR::OB, icon));
            slice.write(&folder.path().join(format!("{place}/{number}")));
        }
    }
    let data = Dataset::open(folder.path(), &dicom(None, None)).unwrap();
    assert_eq!(data.cases().len(), 3);
    data.cases().iter().for_each(|case| drop(case.read_scan(&ReadOptions::new()).unwrap()));
}

#[test]
fn masks_lie_below_the_folder_by_the_name_of_their_case() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    series(&root.join("a"), "P1", "1.1", "T1", 3);
    series(&root.join("b"), "P2", "1.2", "T1", 3);
    fs::create_dir(root.join("masks")).unwrap();
    // Where converters put it: right and front are up.
    let affine = [[1.0, 0.0, 0.0, -4.0], [0.0, 1.0, 0.0, -4.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let mut mask = Volume::new(Array3::<u8>::zeros((COLUMNS, ROWS, 3)), Geometry::new(affine).unwrap());
    mask.data_mut()[[3, 2, 1]] = 1;
    write_volume(root.join("masks/P1_3_T1.nii.gz"), &mask).unwrap();
    let layout = dicom(None, Some("masks/{case}.nii.gz"));
    let error = Dataset::open(root, &layout).unwrap_err();
    assert_eq!(error.kind().name(), "MissingMask");
    assert!(error.to_string().contains("P2_3_T1"), "{error}");
    let keep = DatasetOptions::new().missing_mask(MissingMask::Keep);
    let data = Dataset::open_with(root, &layout, &keep).unwrap();
    let (_, mask) = data.cases()[0].read_scan(&ReadOptions::new()).unwrap();
    assert!(mask.unwrap().data()[[0, 0, 1]]);
    let (_, labels) = data.cases()[0].read_volume(&ReadOptions::new()).unwrap();
    assert_eq!(labels.unwrap().data()[[0, 0, 1]], 1);
    assert_eq!(*data.cases()[1].mask(), Mask::Unknown);
    let error = Dataset::open(root, &dicom(None, Some("mask.nii.gz"))).unwrap_err();
    assert!(error.to_string().contains("{case}"), "{error}");

    // Masks of other contrasts, other files of a case, and masks of other patients are no reason for doubt.
    series(&root.join("b"), "P2", "1.4", "FLAIR", 3);
    for other in ["P2_3_FLAIR", "P2_3_T1_brain", "P9_3_T1"] {
        fs::copy(root.join("masks/P1_3_T1.nii.gz"), root.join(format!("masks/{other}.nii.gz"))).unwrap();
    }
    let of_t1 = dicom(Some("t1"), Some("masks/{case}.nii.gz"));
    let options = DatasetOptions::new().missing_mask(MissingMask::Normal);
    assert_eq!(Dataset::open_with(root, &of_t1, &options).unwrap().cases().len(), 2);
    fs::remove_file(root.join("masks/P2_3_FLAIR.nii.gz")).unwrap();
    (0..3).for_each(|number| fs::remove_file(root.join(format!("b/1.4-{number}"))).unwrap());
    // A second series of the same name changes the names of both: the mask is then that of none.
    let normal = DatasetOptions::new().missing_mask(MissingMask::Normal);
    let data = Dataset::open_with(root, &layout, &normal).unwrap();
    assert_eq!(*data.cases()[1].mask(), Mask::Normal);
    series(&root.join("c"), "P1", "1.3", "T1", 3);
    let error = Dataset::open_with(root, &layout, &normal).unwrap_err();
    assert_eq!(
        (error.kind().name(), error.path()),
        ("MaskWithoutImage", &*root.join("masks/P1_3_T1.nii.gz"))
    );
    assert!(error.to_string().contains("P1_3_T1_"), "{error}");
    let error = Dataset::open(root, &layout).unwrap_err().to_string();
    assert!(
        error.contains("masks without a case: 1, the first") && error.contains("P1_3_T1.nii.gz"),
        "{error}"
    );
    // Also where the masks lie elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(root.join("masks"), elsewhere.path().join("masks")).unwrap();
    let pattern = elsewhere.path().join("masks/{case}.nii.gz");
    let layout = dicom(None, Some(pattern.to_str().unwrap()));
    let error = Dataset::open_with(root, &layout, &normal).unwrap_err();
    assert_eq!(error.kind().name(), "MaskWithoutImage");
}

/// An export may contain reports that are called as its slices.
#[test]
fn other_formats_called_as_slices_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for number in 0..4 {
        slice("P", "1.1", "T1", number).write(&root.join(format!("{number}.dcm")));
    }
    fs::write(root.join("report.dcm"), [&b"%PDF-1.4"[..], &[7; 500]].concat()).unwrap();
    fs::write(root.join("thumbnail.dcm"), [&b"\xff\xd8\xff\xe0"[..], &[7; 500]].concat()).unwrap();
    fs::write(root.join("1.dcm.gz"), [&b"\x1f\x8b"[..], &[7; 500]].concat()).unwrap();
    let open = || Dataset::open(root, &dicom(None, None)).unwrap();
    open().cases()[0].read_scan(&ReadOptions::new()).unwrap();
    fs::write(root.join("4.dcm.gz"), [7; 500]).unwrap();
    let error = open().cases()[0].read_scan(&ReadOptions::new()).unwrap_err().to_string();
    assert!(error.contains("4.dcm.gz") && error.contains("no mark DICM"), "{error}");
}

/// The order of files does not decide whether the user learns of slices that make no volume.
#[test]
fn a_localizer_among_slices_does_not_hide_them() {
    for place in ["00", "z9"] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        series(root, "P", "1.1", "T1", 4);
        slice("P", "1.1", "T1", 0)
            .with(|s| s.position = "7\\2\\1".to_owned())
            .text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER")
            .write(&root.join(place));
        let data = Dataset::open(root, &dicom(None, None)).unwrap();
        let [case] = data.cases() else { panic!("{data:?}") };
        assert!(case.read_scan(&ReadOptions::new()).is_err(), "{place}");
    }
}
