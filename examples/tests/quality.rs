//! The programs about segmentation quality, as a user runs them on a small data set of drawn hearts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lesio::image::{Geometry, Volume};
use lesio::io::nifti::Voxel;
use lesio::io::{ReadOptions, read_volume, write_volume};
use lesio::nn::{Device, Differentiate, Engine as _, Inference, Network, ParameterSet};
use lesio::onnx::OnnxModel;
use lesio::phantom::{CardiacPhase, Phantom};
use lesio::quality::QualityModel;
use ndarray::{Array3, Axis};
use serde_json::Value;
use support::{fail, heart, json, program, ran, succeed, write_hearts};

fn share(value: &Value) -> f64 {
    let value = value.as_f64().unwrap();
    assert!((0.0..=1.0).contains(&value), "{value}");
    value
}

#[test]
fn a_trained_estimator_grades_volumes_and_names_what_it_cannot_grade() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = folder.join("data");
    write_hearts(&data);
    let model = folder.join("model");
    let train = |out: &Path| {
        let mut command = program("train_quality");
        command.arg("--data").arg(&data).arg("--out").arg(out);
        command.args(["--label", "2", "--size", "32", "--budget-minutes", "0.003", "--seed", "3"]);
        command
    };
    let trained = succeed(&mut train(&model));
    assert!(trained.out.contains("mean absolute error"), "{}", trained.out);
    let report = json(&model.join("report.json"));
    assert_eq!(report["schema"], 1);
    assert_eq!(report["method"], "second-opinion");
    assert_eq!(report["held_out"][0]["label"], 2);
    share(&report["held_out"][0]["mae"]);
    assert!(fs::read_to_string(model.join("report.html")).unwrap().contains("<svg"));
    // Once more, if asked: what is finished is taken up, and gives the same bytes.
    let first = fs::read(model.join("model.safetensors")).unwrap();
    fail(&mut train(&model), &["model.safetensors exists", "--overwrite"]);
    let again = succeed(train(&model).arg("--overwrite"));
    assert!(!again.err.contains("second-opinion ..."), "a finished step is repeated: {}", again.err);
    assert_eq!(fs::read(model.join("model.safetensors")).unwrap(), first);
    let patient = folder.join("patient");
    let mut unknown = train(&folder.join("none"));
    fail(unknown.args(["--label", "7"]), &["no training case holds label 7"]);
    // What cannot be, or has no effect, is told before anything is read.
    let refused = ran(program("train_quality").args(["--data", "nowhere", "--size", "24"]));
    assert!(refused.code == Some(2) && refused.err.contains("a multiple of 16"), "{}", refused.err);
    let direct = ["--data", "nowhere", "--method", "direct", "--attack-steps", "2", "--out"];
    let direct = ran(program("train_quality").args(direct).arg(folder.join("none")));
    let told = "warning: --attack-steps has no effect here: it is for --method second-opinion";
    assert!(direct.code == Some(1) && direct.err.contains(told), "{}", direct.err);

    check_networks(folder, &data, &model, train);

    check_onnx(&model, &folder.join("onnx"));

    // An unseen heart, its segmentation moved in one slice and missing in another.
    let heart = heart(77, CardiacPhase::EndDiastole);
    let mut tested = heart.labels.clone();
    let moved = Array3::from_shape_fn(tested.data().dim(), |(i, j, k)| match k {
        0 => 0,
        1 => *heart.labels.data().get((i + 5, j, k)).unwrap_or(&0),
        _ => heart.labels.data()[[i, j, k]],
    });
    tested.data_mut().assign(&moved);
    let (image, segmentation) = (folder.join("image.nii.gz"), folder.join("segmentation.nii.gz"));
    write_volume(&image, &heart.image).unwrap();
    write_volume(&segmentation, &tested).unwrap();
    let assess = |image: &Path, segmentation: &Path, out: &Path| {
        let mut command = program("assess");
        command.arg("--model").arg(&model).arg("--image").arg(image);
        command.arg("--segmentation").arg(segmentation).arg("--out").arg(out);
        command
    };
    let out = folder.join("assessed");
    let said = succeed(&mut assess(&image, &segmentation, &out)).out;
    assert!(said.contains("label 2: Dice") && said.contains("nothing segmented"), "{said}");
    check(&out, &image, &heart);
    // Results are replaced when asked, and are the same.
    let before = fs::read(out.join("error.nii.gz")).unwrap();
    fail(&mut assess(&image, &segmentation, &out), &["exists"]);
    let plain = succeed(assess(&image, &segmentation, &out).arg("--overwrite"));
    assert!(!plain.err.contains("no effect"), "{}", plain.err);
    let of_folders = ["--overwrite", "--resume", "--workers", "2", "--suffix", "T1w"];
    let told = succeed(assess(&image, &segmentation, &out).args(of_folders)).err;
    for name in ["--resume", "--workers", "--suffix"] {
        assert!(told.contains(&format!("warning: {name} has no effect here: it is for --data")), "{told}");
    }
    assert_eq!(fs::read(out.join("error.nii.gz")).unwrap(), before);
    // Another device gives the same but for rounding.
    let elsewhere = folder.join("candle");
    succeed(assess(&image, &segmentation, &elsewhere).args(["--device", "candle-cpu"]));
    check(&elsewhere, &image, &heart);
    let dice = |out: &Path| share(&json(&out.join("report.json"))["volume"][0]["dice"]);
    assert!((dice(&elsewhere) - dice(&out)).abs() < 1e-4, "{} {}", dice(&elsewhere), dice(&out));
    // The arguments themselves are refused.
    for mut refused in [assess(&image, &segmentation, &elsewhere), train(&patient)] {
        let refused = ran(refused.args(["--device", "gpu"]));
        assert!(refused.code == Some(2) && refused.err.contains("unknown device \"gpu\""), "{}", refused.err);
    }

    // An empty segmentation has an answer of its own.
    let empty = folder.join("empty.nii.gz");
    write_volume(&empty, &tested.map(|_| 0)).unwrap();
    let nothing = folder.join("nothing");
    let said = succeed(&mut assess(&image, &empty, &nothing)).out;
    assert!(said.contains("nothing is segmented"), "{said}");
    let report = json(&nothing.join("report.json"));
    assert!(report["volume"].is_null());
    assert!(report["slices"].as_array().unwrap().iter().all(|slice| slice["verdict"] == "empty"));
    assert!(!nothing.join("assessment.png").exists());

    // A folder is graded case by case; one that cannot be is listed, and the others are graded.
    let (cases, graded) = (folder.join("cases"), folder.join("graded"));
    for (case, from) in [("broken", &empty), ("whole", &segmentation), ("zero", &empty)] {
        fs::create_dir_all(cases.join(case)).unwrap();
        fs::copy(&image, cases.join(case).join("image.nii.gz")).unwrap();
        fs::copy(from, cases.join(case).join("segmentation.nii.gz")).unwrap();
    }
    fs::write(cases.join("broken/segmentation.nii.gz"), "x").unwrap();
    let mut all = program("assess");
    all.arg("--data").arg(&cases).arg("--model").arg(&model).arg("--out").arg(&graded);
    let said = ran(&mut all);
    assert!(
        said.code == Some(1) && said.err.contains("one segmentation could not be graded"),
        "{}",
        said.err
    );
    assert!(said.out.contains("| zero | nothing segmented |"), "{}", said.out);
    let report = json(&graded.join("report.json"));
    assert_eq!(report["failed"][0]["id"], "broken");
    assert_eq!(report["cases"][0]["volume"], json(&out.join("report.json"))["volume"]);
    assert_eq!(report["cases"][0]["slices"], json(&out.join("report.json"))["slices"]);
    assert_eq!(fs::read(graded.join("whole/error.nii.gz")).unwrap(), before);

    // The same in shares, and once more from what is there.
    let said = fs::read_to_string(graded.join("cases.csv")).unwrap();
    assert_eq!(
        said.lines().next().unwrap().split(',').take(4).collect::<Vec<_>>(),
        ["case", "patient", "label", "dice"]
    );
    assert!(said.lines().last().unwrap().starts_with("broken,broken,,"), "{said}");
    let shared = folder.join("shared");
    let shared_by = |further: &[&str]| {
        let mut command = program("assess");
        command.arg("--data").arg(&cases).arg("--model").arg(&model).arg("--out").arg(&shared).args(further);
        command
    };
    let share = |further: &[&str]| shared_by(further).output().unwrap();
    let merge = || {
        let mut command = program("merge");
        command.arg(&shared);
        command
    };
    share(&["--shard", "1/2"]);
    fail(&mut merge(), &["missing: 2/2"]);
    share(&["--shard", "2/2", "--match", "position"]);
    fail(&mut merge(), &["different data sets"]);
    share(&["--shard", "2/2", "--resume"]);
    fail(&mut merge(), &["one segmentation could not be graded"]);
    let without_time = |folder: &Path| {
        let mut report = json(&folder.join("report.json"));
        report["provenance"] = serde_json::Value::Null;
        (report, fs::read_to_string(folder.join("cases.csv")).unwrap())
    };
    assert_eq!(without_time(&shared), without_time(&graded));
    let written = |name: &str| fs::metadata(shared.join("whole").join(name)).unwrap().modified().unwrap();
    let picture = written("assessment.png");
    share(&["--resume", "--workers", "2"]);
    assert_eq!((without_time(&shared), written("assessment.png")), (without_time(&graded), picture));
    // Without --resume nothing is replaced, which is said before cases are graded again and costs no record.
    fs::remove_file(shared.join("report.json")).unwrap();
    fail(&mut shared_by(&[]), &["cases.csv exists"]);
    fs::remove_file(shared.join("cases.csv")).unwrap();
    let refused =
        ["3 segmentations could not be graded", "assessment.png exists", "reconstruction.nii.gz exists"];
    fail(&mut shared_by(&[]), &refused);
    // A case whose files are cut short is graded again, and a finished one is called what it is called now.
    let map = shared.join("whole/error.nii.gz");
    fs::write(&map, &before[..before.len() / 2]).unwrap();
    fs::rename(cases.join("zero"), cases.join("zero.nii.gz")).unwrap();
    let kept = || fs::metadata(shared.join("zero/difference.nii.gz")).unwrap().modified().unwrap();
    let earlier = kept();
    share(&["--resume"]);
    assert_eq!(fs::read(&map).unwrap(), before);
    assert_eq!(kept(), earlier, "a finished case is graded again");
    let said = without_time(&shared).1;
    assert!(said.contains("\nzero.nii.gz,zero.nii.gz,,"), "{said}");

    // Of a data set of BIDS, segmentations are in a derivative.
    let (bids, of_bids) = (folder.join("bids"), folder.join("of-bids"));
    let own = |folder: &str, name: &str, from: &Path| {
        fs::create_dir_all(bids.join(folder)).unwrap();
        fs::copy(from, bids.join(folder).join(name)).unwrap();
    };
    own("sub-1/anat", "sub-1_T1w.nii.gz", &image);
    own("derivatives/net/sub-1/anat", "sub-1_desc-net_dseg.nii.gz", &segmentation);
    fs::write(bids.join("dataset_description.json"), "{}").unwrap();
    let mut all = program("assess");
    all.arg("--data").arg(&bids).arg("--model").arg(&model).arg("--out").arg(&of_bids);
    succeed(all.args(["--layout", "bids"]));
    assert_eq!(json(&of_bids.join("report.json"))["cases"][0]["volume"], report["cases"][0]["volume"]);

    // Bad input is named, and nothing is written for it.
    let bad = folder.join("bad");
    let file = |name: &str, volume: &Volume<f32>| {
        write_volume(folder.join(name), volume).unwrap();
        folder.join(name)
    };
    let labels = |name: &str, volume: &Volume<u8>| {
        write_volume(folder.join(name), volume).unwrap();
        folder.join(name)
    };
    let mut nan = heart.image.clone();
    nan.data_mut()[[3, 4, 1]] = f32::NAN;
    let spacing = Geometry::from_spacing([1.0, 1.0, 1.0]).unwrap();
    let elsewhere = labels("elsewhere.nii.gz", &Volume::new(tested.data().clone(), spacing));
    let cut = tested.data().slice_axis(Axis(2), (0..2).into()).to_owned();
    let shorter = labels("shorter.nii.gz", &Volume::new(cut, *tested.geometry()));
    let other = labels("other.nii.gz", &tested.map(|&label| if label == 1 { 9 } else { label }));
    let series = series(folder, &heart.image);
    let refused: [(&Path, &Path, &str); 6] = [
        (&image, &elsewhere, "mm"),
        (&image, &shorter, "[44, 40, 2]"),
        (&image, &other, "label 9"),
        (&file("nan.nii.gz", &nan), &segmentation, "NaN"),
        (&series, &segmentation, "[44, 40, 3, 2]"),
        (&folder.join("missing.nii.gz"), &segmentation, "no such file"),
    ];
    for (image, segmentation, said) in refused {
        fail(&mut assess(image, segmentation, &bad), &[said]);
    }
    assert!(!bad.exists(), "something was written for bad input");
}

/// What `assess` wrote about a volume whose first slice has no segmentation.
fn check(out: &Path, image: &Path, heart: &Phantom) {
    let report = json(&out.join("report.json"));
    let volume = &report["volume"][0];
    assert_eq!(volume["label"], 2);
    let (dice, low, high) =
        (share(&volume["dice"]), share(&volume["interval"][0]), share(&volume["interval"][1]));
    assert!(low <= dice && dice <= high, "{low} {dice} {high}");
    assert!(volume["distance_millimeters"].as_f64().unwrap() >= 0.0);
    let slices = report["slices"].as_array().unwrap();
    let verdicts: Vec<&str> = slices.iter().map(|slice| slice["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["empty", "graded", "graded"]);
    share(&slices[1]["labels"][0]["dice"]);
    assert!(slices[1]["unlikeness"]["distance"].as_f64().unwrap() >= 0.0);

    let original = read_volume(image).unwrap();
    let read = |name: &str| {
        let map: Volume<f32> = ReadOptions::new().read_as(out.join(format!("{name}.nii.gz"))).unwrap();
        assert_eq!(map.shape(), original.shape(), "{name}");
        for corner in [[0.0; 3], [43.0, 39.0, 2.0]] {
            let (a, b) = (map.geometry().to_world(corner), original.geometry().to_world(corner));
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3), "{name}: {a:?} {b:?}");
        }
        map
    };
    let (painted, difference, error) = (read("reconstruction"), read("difference"), read("error"));
    for (index, &value) in original.data().indexed_iter() {
        let sum = painted.data()[index] + difference.data()[index];
        assert!((sum - value).abs() < 1e-3, "{index:?}: {sum} {value}");
        assert!((0.0..=1.0).contains(&error.data()[index]));
    }
    assert_eq!(
        painted.data().index_axis(Axis(2), 0),
        heart.image.data().index_axis(Axis(2), 0),
        "nothing is painted where nothing is segmented"
    );
    assert!(fs::read(out.join("assessment.png")).unwrap().starts_with(b"\x89PNG"));
}

/// A file of two volumes.
fn series(folder: &Path, volume: &Volume<f32>) -> PathBuf {
    let plain = folder.join("plain.nii");
    write_volume(&plain, volume).unwrap();
    let mut bytes = fs::read(&plain).unwrap();
    bytes[40..42].copy_from_slice(&4i16.to_le_bytes());
    bytes[48..50].copy_from_slice(&2i16.to_le_bytes());
    let second = bytes[352..].to_vec();
    bytes.extend(second);
    let series = folder.join("series.nii");
    fs::write(&series, bytes).unwrap();
    series
}

#[test]
fn a_study_compares_estimators_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_hearts(&data);
    let out = folder.path().join("study");
    let study = |pgd_steps: &str| {
        let mut command = program("study_quality");
        command.arg("--data").arg(&data).arg("--out").arg(&out);
        command.args(["--label", "1,2", "--size", "32", "--budget-minutes", "0.003", "--per-bin", "1"]);
        command.args(["--epsilon", "0.1", "--pgd-steps", pgd_steps]);
        command.args(["--certify", "0.4", "--certify-draws", "32"]);
        command
    };
    let said = succeed(&mut study("2")).out;
    assert!(said.contains("second opinion") && said.contains("direct regression"), "{said}");
    assert!(said.contains("second opinion, label 1") && said.contains("By label, PGD"), "{said}");
    let report = json(&out.join("report.json"));
    assert_eq!(report["schema"], 1);
    let rows = report["rows"].as_array().unwrap();
    for estimator in ["rec-reg", "direct", "best", "shape-only"] {
        for (attack, unit) in
            [("none", "std"), ("fgsm", "std"), ("pgd", "std"), ("fgsm", "range"), ("noise", "std")]
        {
            let row = |estimator: &str| {
                let is_it = |row: &&Value| {
                    row["estimator"] == estimator && row["attack"] == attack && row["unit"] == unit
                };
                let row = rows.iter().find(is_it);
                row.unwrap_or_else(|| panic!("no row of {estimator}, {attack}, {unit}"))
            };
            let mae = |row: &Value| share(&row["mae"]);
            for (other, less) in [("direct", "mae_less_direct"), ("shape-only", "mae_less_shape_only")] {
                let expected = mae(row(estimator)) - mae(row(other));
                let found = row(estimator)[less].as_f64().unwrap();
                assert!((found - expected).abs() < 1e-9, "{estimator}, {attack}: {found} {expected}");
            }
            let row = row(estimator);
            assert!(row["n"].as_u64().unwrap() > 0);
            let labels = row["by_label"].as_array().unwrap();
            assert_eq!(labels.iter().map(|own| own["label"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
            for own in labels {
                share(&own["mae"]);
            }
        }
    }
    assert_eq!(report["transfer"].as_array().unwrap().len(), 2);
    let certified = &report["certified"][0];
    assert_eq!(certified["deviation"], 0.4);
    let errors: Vec<f64> = [certified, &certified["bounds"][0]].map(|own| share(&own["mae"])).into();
    assert!(errors[0] < errors[1], "{errors:?}");
    // 32 draws are too few for two and a half deviations.
    assert!(certified["bounds"][2]["mae"].is_null() && said.contains("affordable radius"));
    assert!(report["intervals"].as_array().unwrap().iter().all(|row| row["coverage"].is_number()));
    assert_eq!(report["patients"]["test"], 2);
    assert!(fs::read_to_string(out.join("report.html")).unwrap().contains("<svg"));

    let again = succeed(&mut study("2")).out;
    let table =
        |said: &str| said.lines().filter(|line| line.starts_with('|')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(table(&again), table(&said));
    assert_eq!(json(&out.join("report.json"))["rows"], report["rows"]);
    // Other attacks are measured anew, also those on images that were made against others.
    succeed(&mut study("1"));
    let other = json(&out.join("report.json"));
    assert_eq!(other["transfer"].as_array().unwrap().len(), 2);
    for row in 0..2 {
        assert_ne!(other["transfer"][row]["mae"], report["transfer"][row]["mae"]);
    }
    // What teaches cannot test.
    let mut same = study("2");
    fail(same.arg("--test-data").arg(&data), &["has the same image as case", "which the training uses"]);
}

/// The networks of a model in ONNX compute what they compute in the model.
fn check_onnx(model: &Path, out: &Path) {
    let said = succeed(program("export").arg("--model").arg(model).arg("--out").arg(out)).out;
    assert!(said.contains("not in the graphs: what is computed between the networks"), "{said}");
    let description = json(&out.join("model.json"));
    assert_eq!(
        (&description["kind"], description["steps"].as_array().unwrap().len()),
        (&"quality".into(), 5)
    );
    let own = QualityModel::load(model.join("model.safetensors"), &Device::Cpu).unwrap();
    let names: Vec<String> = own.networks().unwrap().into_iter().map(|network| network.name).collect();
    assert_eq!(names, ["reg", "opinion", "head", "rec"]);
    for network in own.networks().unwrap() {
        let read = OnnxModel::read(out.join(format!("{}.onnx", network.name))).unwrap();
        assert_eq!(read.inputs().count(), network.network.inputs().len(), "{}", network.name);
        if read.inputs().count() > 1 {
            continue;
        }
        let read = read.network(&[], None).unwrap();
        let x: Vec<f32> =
            (0..network.network.input_shapes()[0].len()).map(|k| (k % 7) as f32 / 7.0).collect();
        let output = |network: &Network, parameters: &ParameterSet| {
            let inference =
                Inference::new(network, parameters, Differentiate::Nothing, &Device::Cpu).unwrap();
            inference.run(&[&x], 1).unwrap().output(0).to_vec()
        };
        let (found, expected) =
            (output(&read.network, &read.parameters), output(&network.network, &own.parameters()));
        let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let largest = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        assert!(off <= 1e-5 * largest, "{}: {off} of {largest}", network.name);
    }
}

/// Labels moved by a few rows, as a poor network gives them.
fn moved(labels: &Volume<u8>, rows: usize) -> Volume<u8> {
    let mut moved = labels.clone();
    let data = Array3::from_shape_fn(labels.data().dim(), |(i, j, k)| {
        *labels.data().get((i + rows, j, k)).unwrap_or(&0)
    });
    moved.data_mut().assign(&data);
    moved
}

/// Networks in use teach, calibrate, and are measured, by the model of other candidates and by their own.
fn check_networks(folder: &Path, data: &Path, made: &Path, train: impl Fn(&Path) -> Command) {
    let networks = folder.join("networks");
    for (name, rows) in [("good", 1), ("poor", 4)] {
        fs::create_dir_all(networks.join(name)).unwrap();
        for patient in
            fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
        {
            for file in fs::read_dir(patient).unwrap().map(|entry| entry.unwrap().path()) {
                let id = file.file_name().unwrap().to_str().unwrap().to_owned();
                if let Some(case) = id.strip_suffix("_gt.nii.gz") {
                    let labels = ReadOptions::new().read_as::<u8>(&file).unwrap();
                    let path = networks.join(name).join(format!("{case}.nii.gz"));
                    write_volume(path, &moved(&labels, rows)).unwrap();
                }
            }
        }
    }
    // Other candidates and other attacks give another estimator.
    let taught = folder.join("taught");
    succeed(train(&taught).args(["--attack-steps", "2", "--predictions"]).arg(&networks));
    let bytes = |model: &Path| fs::read(model.join("model.safetensors")).unwrap();
    assert_ne!(bytes(made), bytes(&taught));
    let report = json(&taught.join("report.json"));
    let levels: Vec<&str> =
        report["networks"].as_array().unwrap().iter().map(|own| own["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["slices", "slices", "slices", "volumes", "volumes", "volumes"]);

    let evaluate = |model: &Path, out: &str| {
        let mut command = program("evaluate_quality");
        command.arg("--model").arg(model).arg("--data").arg(data).arg("--predictions").arg(&networks);
        command.args(["--replicates", "50"]).arg("--out").arg(folder.join(out));
        command
    };
    for (model, intervals) in [(made, "other-networks"), (&taught, "model")] {
        let out = format!("{intervals}-{}", model.file_name().unwrap().to_str().unwrap());
        let said = succeed(evaluate(model, &out).args(["--intervals", intervals])).out;
        assert!(said.contains("| poor |"), "{said}");
        let out = folder.join(out);
        let report = json(&out.join("report.json"));
        assert_eq!(report["intervals"], intervals);
        let figures = report["figures"].as_array().unwrap();
        let of = |network: &str, level: &str| {
            figures.iter().find(|own| own["network"] == network && own["level"] == level).unwrap().clone()
        };
        for level in ["slices", "volumes"] {
            let (good, poor, all) = (of("good", level), of("poor", level), of("all", level));
            assert!(good["median_dice"].as_f64() > poor["median_dice"].as_f64());
            assert_eq!(good["count"].as_u64().unwrap() * 2, all["count"].as_u64().unwrap());
            share(&all["mae"]);
            share(&all["coverage"]);
        }
        let table = fs::read_to_string(out.join("segmentations.csv")).unwrap();
        let rows = ["slices", "volumes"].map(|level| of("all", level)["count"].as_u64().unwrap() as usize);
        assert_eq!(table.lines().count(), 1 + rows[0] + rows[1]);
        assert!(fs::read_to_string(out.join("report.html")).unwrap().contains("<svg"));
    }
    check_left_out(folder, data, &taught, &networks);
    check_unseen(folder, &taught);
    // Patients that taught the model cannot test it.
    fail(
        evaluate(made, "none").args(["--patients", "all"]),
        &["the model has seen patient", "cannot test it"],
    );
    let mut other = evaluate(made, "none");
    other.arg("--predictions").arg(made);
    fail(&mut other, &["holds no segmentation"]);
    fs::create_dir_all(folder.join("other")).unwrap();
    fs::copy(
        networks.join("good").read_dir().unwrap().next().unwrap().unwrap().path(),
        folder.join("other/x.nii.gz"),
    )
    .unwrap();
    let mut other = evaluate(made, "none");
    other.arg("--predictions").arg(folder.join("other"));
    fail(&mut other, &["holds no segmentation of these cases"]);
}

/// What cannot be graded is left out and listed, and all else is graded.
fn check_left_out(folder: &Path, data: &Path, model: &Path, networks: &Path) {
    let table = fs::read_to_string(folder.join("model-taught/segmentations.csv")).unwrap();
    let cases: BTreeSet<&str> = table.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
    let [unreadable, strange, absent, nan] = cases.into_iter().collect::<Vec<_>>().try_into().unwrap();
    let (bad, own) = (folder.join("bad-networks"), folder.join("bad-data"));
    for network in ["good", "poor"] {
        copy_all(&networks.join(network), &bad.join(network));
    }
    copy_all(&networks.join("good"), &bad.join("silent"));
    let file = |network: &str, case: &str| bad.join(network).join(format!("{case}.nii.gz"));
    let read = |path: &Path| ReadOptions::new().read_as::<u8>(path).unwrap();
    for path in fs::read_dir(bad.join("silent")).unwrap().map(|entry| entry.unwrap().path()) {
        replace(&path, &read(&path).map(|_| 0));
    }
    fs::write(file("good", unreadable), "x").unwrap();
    replace(&file("poor", strange), &read(&file("poor", strange)).map(|&label| 9 * (label / 2)));
    fs::remove_file(file("good", absent)).unwrap();
    for patient in fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()) {
        copy_all(&patient, &own.join(patient.file_name().unwrap()));
    }
    let image = own.join(nan.split('_').next().unwrap()).join(format!("{nan}.nii.gz"));
    let mut volume = read_volume(&image).unwrap();
    volume.data_mut()[[3, 4, 1]] = f32::NAN;
    replace(&image, &volume);

    let out = folder.join("left-out");
    let evaluate = || {
        let mut command = program("evaluate_quality");
        command.arg("--model").arg(model).arg("--data").arg(&own).arg("--predictions").arg(&bad);
        command.args(["--replicates", "20"]).arg("--out").arg(&out);
        command
    };
    fail(evaluate().arg("--strict"), &["cannot be used", ".nii.gz"]);
    assert!(!out.join("report.json").exists());
    let said = ran(&mut evaluate());
    assert!(
        said.code == Some(1) && said.err.contains("3 cases or segmentations were left out"),
        "{}",
        said.err
    );
    let report = json(&out.join("report.json"));
    let failed = report["failed"].as_array().unwrap();
    let expected = [
        (unreadable, Some("good"), file("good", unreadable), "gzip"),
        (strange, Some("poor"), file("poor", strange), "label 9"),
        (nan, None, image, "NaN"),
    ];
    for (case, network, path, why) in expected {
        let own = failed.iter().find(|own| own["id"] == case).unwrap();
        let error = own["error"].as_str().unwrap();
        assert_eq!(own["network"].as_str(), network);
        assert!(error.contains(path.to_str().unwrap()) && error.contains(why), "{error}");
        assert!(said.err.contains(&format!("{case}: ")) && said.err.contains(why), "{}", said.err);
    }
    let counts = |network: &str| {
        let own =
            report["networks"].as_array().unwrap().iter().find(|own| own["network"] == network).unwrap();
        ["graded", "empty", "absent", "failed"].map(|name| own[name].as_u64().unwrap())
    };
    assert_eq!(
        [counts("good"), counts("poor"), counts("silent")],
        [[1, 0, 1, 2], [2, 0, 0, 2], [0, 3, 0, 1]]
    );
    assert_eq!((&report["cases"], &report["absent"]), (&3.into(), &1.into()));
    assert!(
        said.out.contains("without any grade, which figures and plots leave out: silent."),
        "{}",
        said.out
    );
    assert!(said.out.contains("| silent | 0 | 0 | 3 | 0 | 1 |"), "{}", said.out);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("silent") && page.contains("label 9"), "{page}");

    // Of networks that segment nothing, that alone is told.
    let mut nothing = program("evaluate_quality");
    nothing.arg("--model").arg(model).arg("--data").arg(data).arg("--predictions").arg(bad.join("silent"));
    let said = succeed(nothing.arg("--out").arg(folder.join("silent"))).out;
    assert!(
        said.contains("Graded cases: 0 (patients: 0, networks: 1)")
            && said.contains("| silent | 0 | 0 | 4 |"),
        "{said}"
    );
    assert!(!fs::read_to_string(folder.join("silent/report.html")).unwrap().contains("<svg"));
}

/// Of data that the model has not seen, patients whose segmentations give the intervals are not graded.
fn check_unseen(folder: &Path, model: &Path) {
    let (data, networks, out) =
        (folder.join("unseen"), folder.join("unseen-networks"), folder.join("unseen-out"));
    for patient in 101..106 {
        let own = data.join(format!("patient{patient}"));
        fs::create_dir_all(&own).unwrap();
        let (heart, case) = (heart(patient, CardiacPhase::EndDiastole), format!("patient{patient}_frame01"));
        write_volume(own.join(format!("{case}.nii.gz")), &heart.image).unwrap();
        write_volume(own.join(format!("{case}_gt.nii.gz")), &heart.labels).unwrap();
        for (name, rows) in [("good", 1), ("poor", 4)] {
            fs::create_dir_all(networks.join(name)).unwrap();
            write_volume(networks.join(name).join(format!("{case}.nii.gz")), &moved(&heart.labels, rows))
                .unwrap();
        }
    }
    let mut evaluate = program("evaluate_quality");
    evaluate.arg("--model").arg(model).arg("--data").arg(&data).arg("--predictions").arg(&networks);
    evaluate.args(["--replicates", "20", "--patients", "all", "--intervals", "other-networks"]);
    let said = succeed(evaluate.arg("--out").arg(&out)).out;
    assert!(
        said.contains("Graded cases: 4 (patients: 4, networks: 2)") && said.contains("of these patients: 1."),
        "{said}"
    );
    let report = json(&out.join("report.json"));
    assert_eq!((&report["patients"], &report["calibrating_patients"]), (&4.into(), &1.into()));
    let table = fs::read_to_string(out.join("segmentations.csv")).unwrap();
    let patients: BTreeSet<&str> =
        table.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(patients.len(), 4, "{patients:?}");
}

/// Writes a volume in place of another.
fn replace<T: Voxel>(path: &Path, volume: &Volume<T>) {
    fs::remove_file(path).unwrap();
    write_volume(path, volume).unwrap();
}

/// Copies the files of a folder.
fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
