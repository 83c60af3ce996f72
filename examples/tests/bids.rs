//! BIDS in and out, as a user has it: a small data set of drawn heads that the validator of BIDS takes, and maps of it that the
//! validator takes, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lesio::image::Volume;
use lesio::io::write_volume;
use serde_json::{Value, json};
use support::{fail, head, json, manifest_folder, program, succeed, untrained_heads};

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn put_volume<T: lesio::io::nifti::Voxel>(path: &Path, volume: &Volume<T>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_volume(path, volume).unwrap();
}

/// Two sessions of one subject, two runs of another, three more with one image each, of which the last has a lesion.
const IMAGES: [(&str, &str); 7] = [
    ("sub-01/ses-a/anat", "sub-01_ses-a"),
    ("sub-01/ses-b/anat", "sub-01_ses-b"),
    ("sub-02/anat", "sub-02_run-1"),
    ("sub-02/anat", "sub-02_run-2"),
    ("sub-03/anat", "sub-03"),
    ("sub-04/anat", "sub-04"),
    ("sub-05/anat", "sub-05"),
];

/// A data set of BIDS with masks in a derivative.
fn data_set(root: &Path) {
    put(
        &root.join("dataset_description.json"),
        r#"{ "Name": "Drawn heads", "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": "CC0", "Authors": ["A test", "Another test"] }"#,
    );
    put(
        &root.join("README.md"),
        &"Heads that a test of lesio drew, to see that data sets of BIDS are read. ".repeat(4),
    );
    put(
        &root.join("participants.tsv"),
        "participant_id\tage\tsite\tsplit\nsub-01\t61\tnorth\ttrain\nsub-02\t48\tsouth\ttrain\nsub-03\t52\tnorth\ttrain\nsub-04\tn/a\tsouth\ttrain\nsub-05\t70\tsouth\ttest\n",
    );
    put(
        &root.join("participants.json"),
        r#"{ "age": { "Description": "Age", "Units": "year" }, "site": { "Description": "Hospital" }, "split": { "Description": "Training or test" } }"#,
    );
    put(
        &root.join("derivatives/manual/dataset_description.json"),
        r#"{ "Name": "Lesions", "BIDSVersion": "1.10.0", "DatasetType": "derivative", "GeneratedBy": [{ "Name": "a test" }] }"#,
    );
    for (subject, (folder, name)) in IMAGES.iter().enumerate() {
        let mut head = head(subject as u64);
        let mut mask = head.labels.map(|_| 0_u8);
        if *name == "sub-05" {
            let shape = mask.shape();
            let [i, j, k] = [0, 1, 2].map(|axis| shape[axis] / 2);
            for (di, dj) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                head.image.data_mut()[[i + di, j + dj, k]] *= 3.0;
                mask.data_mut()[[i + di, j + dj, k]] = 1;
            }
        }
        put_volume(&root.join(folder).join(format!("{name}_T1w.nii.gz")), &head.image);
        put(&root.join(folder).join(format!("{name}_T1w.json")), r#"{ "Manufacturer": "nobody" }"#);
        let masks = root.join("derivatives/manual").join(folder);
        put_volume(&masks.join(format!("{name}_label-lesion_mask.nii.gz")), &mask);
    }
}

/// The validator, or why there is none.
fn validator() -> Result<PathBuf, String> {
    let root = manifest_folder().parent().unwrap().to_owned();
    let folder = root.join("target/lesio/bids-validator");
    let found = Command::new(root.join("tests/bids/validator"))
        .arg(folder)
        .output()
        .map_err(|error| error.to_string())?;
    match found.status.code() {
        Some(0) => Ok(PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())),
        _ => Err(String::from_utf8_lossy(&found.stderr).trim().to_owned()),
    }
}

/// Has the validator look at a data set: no error, and no warning but those about what is only recommended.
fn validate(validator: &Path, root: &Path) {
    let ran = Command::new(validator).arg(root).arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let start = text.find('{').unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&ran.stderr)));
    let report: Value = serde_json::from_str(&text[start..]).unwrap();
    let issues = report["issues"]["issues"].as_array().unwrap();
    let errors: Vec<&Value> = issues.iter().filter(|issue| issue["severity"] == "error").collect();
    assert!(errors.is_empty(), "{}: {errors:#?}", root.display());
    let warnings: BTreeSet<&str> = issues
        .iter()
        .filter(|issue| issue["severity"] == "warning")
        .filter_map(|issue| issue["code"].as_str())
        // Who the authors are, the user knows.
        .filter(|code| !code.ends_with("KEY_RECOMMENDED") && *code != "TOO_FEW_AUTHORS")
        .collect();
    assert!(warnings.is_empty(), "{}: {warnings:?}", root.display());
    println!("{}: {}", root.display(), report["summary"]["totalFiles"]);
}

fn localize(model: &Path, data: &Path, out: &Path) -> Command {
    let mut command = program("localize");
    command.arg("--model").arg(model).arg("--input").arg(data).arg("--out").arg(out);
    command.args(["--layout", "bids", "--output-layout", "bids", "--predictor", "pixel-l1,grad-kl"]);
    command
}

/// All files below a folder with their bytes, but what a run says of itself.
fn results(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match path.is_dir() {
                true => folders.push(path),
                // Reports, records and files of arguments name the folder that they lie in.
                false
                    if name.starts_with("report")
                        || name.starts_with("run")
                        || name.ends_with("_case.json") => {}
                false => found.push((path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn maps_of_a_data_set_of_bids_are_a_derivative_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("model.safetensors"));
    data_set(&data);
    untrained_heads(&model);
    let validator = validator();
    match &validator {
        Ok(validator) => validate(validator, &data),
        Err(why) => println!("skipped: the validator of BIDS: {why}"),
    }

    // Where BIDS has derivatives; anywhere else in the data set results would be read as data.
    fail(&mut localize(&model, &data, &data.join("maps")), &["would be read as data"]);
    let out = data.join("derivatives/lesio");
    succeed(&mut localize(&model, &data, &out));
    let of_case = out.join("sub-02/anat/sub-02_run-1_desc-pixelL1_");
    let file = |end: &str| PathBuf::from(format!("{}{end}", of_case.display()));
    for end in ["anomalymap.nii.gz", "dseg.nii.gz", "dseg.tsv", "dseg.json", "overlay.png"] {
        assert!(file(end).is_file(), "{end}");
    }
    let about = json(&file("anomalymap.json"));
    assert_eq!(about["Sources"], json!(["bids:raw:sub-02/anat/sub-02_run-1_T1w.nii.gz"]));
    assert!(["normal", "abnormal", "cannot tell"].contains(&about["Verdict"].as_str().unwrap()), "{about}");
    let lesions = fs::read_to_string(file("dseg.tsv")).unwrap();
    assert!(lesions.starts_with("index\tname\tvoxels\tvolume_ml\tx\ty\tz\t"), "{lesions}");
    let cases = fs::read_to_string(out.join("cases.csv")).unwrap();
    assert!(cases.lines().next().unwrap().ends_with("error,session,age,site,split"), "{cases}");
    assert!(cases.contains("sub-01_ses-b,sub-01,") && cases.contains(",ses-b,61,north,train\n"), "{cases}");
    let participants = fs::read_to_string(out.join("participants.tsv")).unwrap();
    assert_eq!(participants.lines().count(), 6, "{participants}");
    assert!(participants.contains("\nsub-01\t2\t"), "{participants}");

    // In shares, the same.
    let shares = folder.path().join("shares");
    for share in ["2/2", "1/2"] {
        succeed(localize(&model, &data, &shares).args(["--shard", share]));
    }
    succeed(program("merge").arg(&shares));
    assert_eq!(results(&shares), results(&out));
    if let Ok(validator) = &validator {
        validate(validator, &out);
        validate(validator, &shares);
        // Results in it leave the data set what it was.
        validate(validator, &data);
    }
    // They are no images and no masks. What accompanies the maps of finished cases is written again where it is gone
    // or damaged.
    let before = results(&out);
    fs::remove_file(file("dseg.tsv")).unwrap();
    put(&file("anomalymap.json"), "{");
    succeed(localize(&model, &data, &out).arg("--resume"));
    assert!(results(&out) == before, "a resumed run restores the derivative");
    // What is there is not replaced by another's description.
    put(&shares.join("dataset_description.json"), r#"{ "Name": "of another program" }"#);
    fail(localize(&model, &data, &shares).arg("--overwrite"), &["dataset_description.json exists"]);
    // Of other layouts, there are no names of BIDS.
    let plain = folder.path().join("plain");
    put_volume(&plain.join("a.nii.gz"), &head(1).image);
    let mut refused = program("localize");
    refused.arg("--model").arg(&model).arg("--input").arg(&plain).arg("--out").arg(folder.path().join("no"));
    fail(refused.args(["--output-layout", "bids"]), &["has no name of BIDS", "layout bids"]);
}

#[test]
fn every_program_takes_bids() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("model"));
    data_set(&data);
    let with_data = |name: &str| {
        let mut command = program(name);
        command.arg("--data").arg(&data).args(["--layout", "bids", "--suffix", "T1w"]);
        command
    };
    let mut train = with_data("train");
    train.args(["--mask", "label-lesion_mask", "--split", "train", "--epochs", "1", "--seed", "3"]);
    train.args(["--size", "32", "--widths", "4,8", "--latent", "4", "--batch", "8"]).arg("--out").arg(&model);
    succeed(&mut train);

    let recalibrated = folder.path().join("recalibrated");
    let mut recalibrate = with_data("recalibrate");
    recalibrate.arg("--model").arg(&model).arg("--out").arg(&recalibrated).args(["--split", "train"]);
    let said = succeed(&mut recalibrate).out;
    assert!(said.contains("calibrated on 6 images of 4 patients"), "{said}");
    let counted = json(&recalibrated.join("report.json"));
    assert_eq!((&counted["subjects"], &counted["images"]), (&json!(4), &json!(6)));

    let report = folder.path().join("report");
    let mut evaluate = with_data("evaluate");
    evaluate.arg("--model").arg(&recalibrated).arg("--out").arg(&report);
    evaluate.args([
        "--mask",
        "label-lesion_mask",
        "--derivative",
        "manual",
        "--split",
        "all",
        "--replicates",
        "20",
    ]);
    let said = succeed(evaluate.args(["--predictors", "pixel-l1"])).out;
    assert!(said.contains("pixel-l1"), "{said}");
    let found = json(&report.join("report.json"));
    assert_eq!(found["data"]["split"], "all");

    // Arguments of another layout are no slip that goes unsaid.
    fail(
        with_data("train").args(["--series", "x"]),
        &["--series goes with --layout dicom, the layout is bids"],
    );
    let mut plain = program("train");
    plain.arg("--data").arg(&data).args(["--suffix", "FLAIR"]);
    fail(&mut plain, &["--suffix goes with --layout bids"]);
    let mut other = program("train");
    other.arg("--data").arg(&data).args(["--layout", "acdc", "--mask", "mask.nii.gz"]);
    fail(&mut other, &["--mask goes with --layout cases, bids, dicom, the layout is acdc"]);
    fail(
        with_data("train").args(["--mask", "label-tumor_mask"]),
        &["7 of 7 cases have no mask label-tumor_mask"],
    );
}
