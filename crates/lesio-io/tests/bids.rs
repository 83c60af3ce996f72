//! Data sets of BIDS, good and odd, made by the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::Path;

use lesio_io::ReadOptions;
use lesio_io::dataset::{Case, Dataset, DatasetError, DatasetOptions, Layout, Mask, MissingMask};
use support::{add, ids};

const DESCRIPTION: &str = r#"{ "Name": "made by a test", "BIDSVersion": "1.10.0" }"#;

/// A data set with these files: volumes real ones, others with the text given.
fn data_set(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("dataset_description.json"), DESCRIPTION).unwrap();
    files.iter().for_each(|(file, text)| add(root.path(), file, text));
    root
}

fn images(files: &[&'static str]) -> tempfile::TempDir {
    data_set(&files.iter().map(|&file| (file, "")).collect::<Vec<_>>())
}

fn bids(suffixes: &[&str], mask: Option<&str>, derivative: Option<&str>) -> Layout {
    Layout::Bids {
        suffixes: suffixes.iter().map(|&suffix| suffix.to_owned()).collect(),
        mask: mask.map(str::to_owned),
        derivative: derivative.map(str::to_owned),
    }
}

fn open(root: &tempfile::TempDir, layout: &Layout) -> Result<Dataset, DatasetError> {
    Dataset::open(root.path(), layout)
}

fn below<'a>(root: &tempfile::TempDir, path: &'a Path) -> &'a str {
    path.strip_prefix(root.path()).unwrap().to_str().unwrap()
}

fn refused(root: &tempfile::TempDir, layout: &Layout, kind: &str, parts: &[&str]) {
    let error = open(root, layout).unwrap_err();
    assert_eq!(error.kind().name(), kind, "{error}");
    parts.iter().for_each(|part| assert!(error.to_string().contains(part), "{part:?} in {error}"));
}

#[test]
fn subjects_sessions_and_runs_are_cases() {
    let root = data_set(&[
        ("sub-01/ses-a/anat/sub-01_ses-a_run-01_FLAIR.nii.gz", ""),
        ("sub-01/ses-a/anat/sub-01_ses-a_run-02_FLAIR.nii.gz", ""),
        ("sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", ""),
        ("sub-01/ses-b/anat/sub-01_ses-b_FLAIR.nii", ""),
        ("sub-01/ses-b/anat/sub-01_ses-b_FLAIR.json", "{}"),
        ("sub-01/sub-01_sessions.tsv", "session_id\tage\tscanner\nses-a\t61\tn/a\n"),
        ("sub-02/anat/sub-02_acq-3D_FLAIR.nii.gz", ""),
        ("sub-03/anat/sub-03_T1w.nii.gz", ""),
        ("derivatives/x/sub-01/ses-a/anat/sub-01_ses-a_desc-preproc_FLAIR.nii.gz", ""),
        ("sourcedata/sub-09/anat/sub-09_FLAIR.nii.gz", ""),
        // As spreadsheets save it.
        (
            "participants.tsv",
            "\u{feff}participant_id\tage\tsite\tsplit\r\nsub-02\t48\tnorth \"old\"\ttest\r\n\r\nsub-01\t60\tn/a\ttrain\r\n",
        ),
    ]);
    let data = open(&root, &Layout::bids("FLAIR", None)).unwrap();
    assert_eq!(ids(&data), ["sub-01_ses-a_run-01", "sub-01_ses-a_run-02", "sub-01_ses-b", "sub-02_acq-3D"]);
    let [first, _, other, last] = data.cases() else { panic!() };
    assert_eq!((first.patient(), first.split(), last.patient()), ("sub-01", Some("train"), "sub-02"));
    assert_eq!(below(&root, &other.images()[0]), "sub-01/ses-b/anat/sub-01_ses-b_FLAIR.nii");
    let further = |case: &Case| -> Vec<String> {
        case.further().iter().map(|(name, value)| format!("{name}={value}")).collect()
    };
    // What is known of the session goes before what is known of the subject.
    assert_eq!(further(first), ["session=ses-a", "age=61", "site=", "split=train", "scanner="]);
    assert_eq!(further(other), ["session=ses-b", "age=60", "site=", "split=train"]);
    assert_eq!(further(last), ["age=48", "site=north \"old\"", "split=test"]);
    assert_eq!(data.select("test").unwrap().cases().len(), 1);
    first.read_scan(&ReadOptions::new()).unwrap();

    // splits.csv goes before the column.
    add(root.path(), "splits.csv", "subject,split\nsub-01,test\nsub-02,train\n");
    let data = open(&root, &Layout::bids("FLAIR", None)).unwrap();
    assert_eq!(data.cases()[0].split(), Some("test"));
}

#[test]
fn suffixes_are_channels() {
    let root = images(&[
        // One of each kind belong together, whatever else their names say.
        "sub-01/anat/sub-01_acq-mprage_T1w.nii.gz",
        "sub-01/anat/sub-01_acq-3D_run-1_FLAIR.nii.gz",
        // Several of a kind: those with the same entities.
        "sub-02/ses-1/anat/sub-02_ses-1_run-1_T1w.nii.gz",
        "sub-02/ses-1/anat/sub-02_ses-1_run-2_T1w.nii.gz",
        "sub-02/ses-1/anat/sub-02_ses-1_run-01_FLAIR.nii.gz",
        "sub-02/ses-1/anat/sub-02_ses-1_run-02_FLAIR.nii.gz",
        // Without a FLAIR.
        "sub-03/anat/sub-03_T1w.nii.gz",
    ]);
    let data = open(&root, &bids(&["FLAIR", "T1w"], None, None)).unwrap();
    assert_eq!(ids(&data), ["sub-01", "sub-02_ses-1_run-01", "sub-02_ses-1_run-02", "sub-03"]);
    let names: Vec<&str> = data.cases()[2].images().iter().map(|path| below(&root, path)).collect();
    assert_eq!(
        names,
        [
            "sub-02/ses-1/anat/sub-02_ses-1_run-02_FLAIR.nii.gz",
            "sub-02/ses-1/anat/sub-02_ses-1_run-2_T1w.nii.gz"
        ]
    );
    let (scan, _) = data.cases()[1].read_scan(&ReadOptions::new()).unwrap();
    assert_eq!(scan.names(), ["FLAIR", "T1w"]);
    // What one subject lacks is found when it is read, and stops no other.
    let error = data.cases()[3].read_scan(&ReadOptions::new()).unwrap_err();
    assert_eq!(error.kind().name(), "NotFound");
    assert!(error.to_string().contains("sub-03_FLAIR.nii.gz"), "{error}");

    // Entities choose among images of one suffix.
    let root = images(&[
        "sub-01/anat/sub-01_acq-low_T1w.nii.gz",
        "sub-01/anat/sub-01_acq-high_T1w.nii.gz",
        "sub-02/anat/sub-02_acq-high_T1w.nii.gz",
    ]);
    let data = open(&root, &Layout::bids("acq-high_T1w", None)).unwrap();
    assert_eq!(ids(&data), ["sub-01_acq-high", "sub-02_acq-high"]);
    let data = open(&root, &bids(&["acq-high_T1w", "acq-low_T1w"], None, None)).unwrap();
    assert_eq!(ids(&data), ["sub-01", "sub-02_acq-high"]);
    let (scan, _) = data.cases()[0].read_scan(&ReadOptions::new()).unwrap();
    assert_eq!(scan.names(), ["acq-high_T1w", "acq-low_T1w"]);
}

#[test]
fn masks_are_found_in_derivatives() {
    let root = images(&[
        "sub-01/ses-1/anat/sub-01_ses-1_run-1_FLAIR.nii.gz",
        "sub-01/ses-1/anat/sub-01_ses-1_run-2_FLAIR.nii.gz",
        "sub-02/anat/sub-02_FLAIR.nii.gz",
        "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_run-1_space-orig_label-lesion_mask.nii.gz",
        "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_run-2_label-lesion_mask.nii.gz",
        "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_run-2_label-brain_mask.nii.gz",
        "derivatives/manual/sub-02/anat/sub-02_label-lesion_mask.nii.gz",
        "derivatives/manual/sub-02/anat/brain mask.nii.gz",
    ]);
    let layout = Layout::bids("FLAIR", Some("label-lesion_mask"));
    let data = open(&root, &layout).unwrap();
    let masks: Vec<&str> =
        data.cases().iter().map(|case| below(&root, case.mask().path().unwrap())).collect();
    assert!(masks[0].ends_with("run-1_space-orig_label-lesion_mask.nii.gz"), "{masks:?}");
    assert!(masks[1].ends_with("run-2_label-lesion_mask.nii.gz"), "{masks:?}");
    let (_, mask) = data.cases()[2].read_masked(&ReadOptions::new()).unwrap();
    assert!(mask.unwrap().data().iter().all(|&inside| inside));

    // One that is missing, and what is to become of it.
    fs::remove_dir_all(root.path().join("derivatives/manual/sub-02")).unwrap();
    refused(&root, &layout, "MissingMask", &["1 of 3 cases has no mask label-lesion_mask: sub-02"]);
    let normal = DatasetOptions::new().missing_mask(MissingMask::Normal);
    let data = Dataset::open_with(root.path(), &layout, &normal).unwrap();
    assert_eq!(*data.cases()[2].mask(), Mask::Normal);

    // A mask with an entity that no image has may be the one of a case that would be taken for normal.
    let odd = "derivatives/manual/sub-02/anat/sub-02_mod-FLAIR_label-lesion_mask.nii.gz";
    add(root.path(), odd, "");
    refused(&root, &layout, "MissingMask", &["masks without a case: 1", odd]);
    let error = Dataset::open_with(root.path(), &layout, &normal).unwrap_err();
    assert_eq!((error.kind().name(), error.path()), ("MaskWithoutImage", &*root.path().join(odd)));
    fs::remove_file(root.path().join(odd)).unwrap();

    // What is ignored is no mask, in the data set and in its derivatives.
    let ignore = |text: &str| fs::write(root.path().join(".bidsignore"), text).unwrap();
    add(root.path(), "sub-02/anat/sub-02_label-lesion_mask.nii.gz", "");
    ignore("sub-02_label-lesion_mask.nii.gz\n");
    refused(&root, &layout, "MissingMask", &["1 of 3 cases has no mask label-lesion_mask: sub-02"]);
    ignore("derivatives/manual/\n");
    assert_eq!(open(&root, &layout).unwrap_err().kind().name(), "MissingMask");
    // Data sets of which a validator is to read no derivative still have masks there.
    ignore("derivatives/\nsub-02_label-lesion_mask.nii.gz\n");
    refused(&root, &layout, "MissingMask", &["1 of 3 cases has no mask label-lesion_mask: sub-02"]);
    fs::remove_file(root.path().join(".bidsignore")).unwrap();
    fs::remove_file(root.path().join("sub-02/anat/sub-02_label-lesion_mask.nii.gz")).unwrap();

    // Sessions of one subject in two splits: training would see whom the test is on.
    add(root.path(), "derivatives/manual/sub-02/anat/sub-02_label-lesion_mask.nii.gz", "");
    let splits = |second: &str| {
        let runs = format!("sub-01_ses-1_run-1,train\nsub-01_ses-1_run-2,{second}\nsub-02,test\n");
        fs::write(root.path().join("splits.csv"), format!("case,split\n{runs}")).unwrap();
    };
    splits("test");
    refused(
        &root,
        &layout,
        "SplitPatient",
        &["sub-01 is in two splits", "run-1 in \"train\"", "run-2 in \"test\""],
    );
    splits("train");
    assert_eq!(open(&root, &layout).unwrap().select("train").unwrap().cases().len(), 2);
    fs::remove_file(root.path().join("splits.csv")).unwrap();
    fs::remove_file(root.path().join("derivatives/manual/sub-02/anat/sub-02_label-lesion_mask.nii.gz"))
        .unwrap();

    // Two raters: one must be chosen.
    let other = "derivatives/other/sub-01/ses-1/anat/sub-01_ses-1_run-1_label-lesion_mask.nii.gz";
    add(root.path(), other, "");
    add(root.path(), "derivatives/manual/sub-02/anat/sub-02_label-lesion_mask.nii.gz", "");
    refused(&root, &layout, "AmbiguousMask", &["sub-01_ses-1_run-1", "the other is", "derivatives/other"]);
    let chosen = bids(&["FLAIR"], Some("label-lesion_mask"), Some("manual"));
    assert_eq!(open(&root, &chosen).unwrap().cases().len(), 3);
    for bad in ["absent", "", "../derivatives/manual", "/etc"] {
        let layout = bids(&["FLAIR"], Some("label-lesion_mask"), Some(bad));
        refused(&root, &layout, "NotFound", &["the derivatives are manual, other"]);
    }
    fs::remove_file(root.path().join(other)).unwrap();

    // One mask, of which it cannot be told to which run it belongs.
    let at = |name: &str| root.path().join("derivatives/manual/sub-01/ses-1/anat").join(name);
    fs::remove_file(at("sub-01_ses-1_run-1_space-orig_label-lesion_mask.nii.gz")).unwrap();
    fs::rename(
        at("sub-01_ses-1_run-2_label-lesion_mask.nii.gz"),
        at("sub-01_ses-1_label-lesion_mask.nii.gz"),
    )
    .unwrap();
    refused(&root, &layout, "Misnamed", &["the mask of sub-01_ses-1_run-1 and of sub-01_ses-1_run-2"]);

    // Results of lesio are no truth.
    let root = images(&[
        "sub-01/anat/sub-01_T1w.nii.gz",
        "derivatives/lesio/sub-01/anat/sub-01_desc-pixelL1_dseg.nii.gz",
    ]);
    let report = r#"{"schema": 1, "command": "cargo run --release --example localize -- x"}"#;
    add(root.path(), "derivatives/lesio/report.json", report);
    refused(&root, &Layout::bids("T1w", Some("dseg")), "MissingMask", &["sub-01"]);
}

#[test]
fn what_is_ignored_is_no_image() {
    let root = data_set(&[
        ("sub-01/anat/sub-01_FLAIR.nii.gz", ""),
        ("sub-02/anat/sub-02_FLAIR.nii.gz", ""),
        ("sub-03/anat/sub-03 bad_FLAIR.nii.gz", ""),
        ("sub-03/anat/sub-03_FLAIR.nii.gz", ""),
        ("sub-04 copy/anat/sub-04_FLAIR.nii.gz", ""),
        (".bidsignore", "sub-02/\r\n*bad*\r\n/sub-0? copy\n"),
    ]);
    assert_eq!(ids(&open(&root, &Layout::bids("FLAIR", None)).unwrap()), ["sub-01", "sub-03"]);
    fs::remove_file(root.path().join(".bidsignore")).unwrap();
    refused(&root, &Layout::bids("FLAIR", None), "Misnamed", &["bad", ".bidsignore"]);
    fs::remove_file(root.path().join("sub-03/anat/sub-03 bad_FLAIR.nii.gz")).unwrap();
    refused(&root, &Layout::bids("FLAIR", None), "Misnamed", &["sub-04 copy", "letters and digits"]);
}

#[test]
fn what_cannot_be_is_told() {
    let flair = Layout::bids("FLAIR", None);
    let root = images(&["sub-01/anat/sub-01_T1w.nii.gz"]);
    refused(&root, &flair, "Empty", &["no case of the layout bids"]);
    for bad in [&["FLAIR", "FLAIR"][..], &[], &["../FLAIR"], &["a b"], &["x_FLAIR"]] {
        let error = open(&root, &bids(bad, None, None)).unwrap_err();
        assert_eq!(error.kind().name(), "NotThisLayout", "{bad:?}: {error}");
    }
    refused(&root, &Layout::bids("T1w", Some("T1w")), "NotThisLayout", &["another suffix"]);
    let error = Dataset::open(root.path(), &Layout::cases("image.nii.gz", None)).unwrap_err();
    assert!(error.to_string().contains("it looks like the layout bids"), "{error}");
    fs::remove_file(root.path().join("dataset_description.json")).unwrap();
    refused(&root, &flair, "NotThisLayout", &["dataset_description.json", "BIDSVersion"]);

    for (files, kind, part) in [
        (vec!["sub-01/anat/sub-01_run-1_run-2_FLAIR.nii.gz"], "Misnamed", "run stands in it twice"),
        (vec!["sub-01/anat/sub-02_FLAIR.nii.gz"], "Misnamed", "its subject is sub-02, by its folder sub-01"),
        (
            vec!["sub-01/ses-1/anat/sub-01_FLAIR.nii.gz"],
            "Misnamed",
            "its session is none, by its folder ses-1",
        ),
        (
            vec!["sub-01/anat/sub-01_ses-1_FLAIR.nii.gz"],
            "Misnamed",
            "its session is ses-1, by its folder none",
        ),
        (vec!["sub-.../anat/sub-01_FLAIR.nii.gz"], "Misnamed", "letters and digits"),
        (
            vec!["sub-01/anat/sub-01_FLAIR.nii.gz", "sub-01/anat/sub-01_FLAIR.nii"],
            "DuplicateCase",
            "second file for the case sub-01",
        ),
        (
            vec!["sub-01/anat/sub-01_run-1_FLAIR.nii.gz", "sub-01/anat/sub-01_run-01_FLAIR.nii.gz"],
            "DuplicateCase",
            "second file",
        ),
    ] {
        refused(&images(&files), &flair, kind, &[part]);
    }
    for (text, line, part) in [
        ("", 1, "is empty"),
        ("subject\tage\nsub-01\t4\n", 1, "no column participant_id"),
        ("participant_id\tage\tAge\nsub-01\t4\t5\n", 1, "two columns Age"),
        ("participant_id\t\nsub-01\t4\n", 1, "column 2 has no name"),
        ("participant_id\tage\nsub-01\t4\nsub-01\t5\n", 3, "sub-01 has two rows"),
        ("participant_id\tage\n\t4\n", 2, "participant_id is missing"),
    ] {
        let root = data_set(&[("sub-01/anat/sub-01_FLAIR.nii.gz", ""), ("participants.tsv", text)]);
        refused(&root, &flair, "BadManifest", &[&format!("line {line}: "), part]);
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_where_they_lead_somewhere() {
    use std::os::unix::fs::symlink;
    // As archives arrange it that load files when they are asked for.
    let root = images(&["sub-01/anat/sub-01_FLAIR.nii.gz"]);
    fs::create_dir_all(root.path().join("sub-02/anat")).unwrap();
    symlink("../../.git/annex/objects/x", root.path().join("sub-02/anat/sub-02_FLAIR.nii.gz")).unwrap();
    symlink("../../.git/annex/objects/y", root.path().join("sub-01/anat/sub-01_T1w.nii.gz")).unwrap();
    symlink("sub-01/anat", root.path().join("sub-03")).unwrap();
    let data = open(&root, &Layout::bids("FLAIR", None)).unwrap();
    assert_eq!(ids(&data), ["sub-01", "sub-02"]);
    data.cases()[0].read_scan(&ReadOptions::new()).unwrap();
    assert_eq!(data.cases()[1].read_scan(&ReadOptions::new()).unwrap_err().kind().name(), "DanglingLink");
}
