//! Several co-registered channels a case through the programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test may.

mod support;

use std::fs;
use std::path::Path;

use lesio::image::{Geometry, Scan, Volume};
use lesio::io::{read_volume, write_volume};
use lesio::nn::Device;
use lesio::phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio::prelude::{Localizer, PredictorName};
use support::{fail, json, program, ran, succeed};

/// Cases of two channels; in the last two the upper half holds a lesion that only the second channel shows.
fn write(root: &Path) {
    let channel = |contrast, subject| {
        let config = BrainConfig::new([32, 32], contrast, 7).slices(6);
        BrainPhantom::new(config).unwrap().volume(subject).unwrap().image
    };
    let mut splits = "case,split\n".to_owned();
    for subject in 0..10 {
        let (name, split) = (format!("c{subject}"), if subject < 8 { "train" } else { "test" });
        splits += &format!("{name},{split}\n");
        let case = root.join(&name);
        fs::create_dir_all(&case).unwrap();
        let (flair, mut t1) = (channel(Contrast::Flair, subject), channel(Contrast::T1, subject));
        let inside = |(i, j, k): (usize, usize, usize)| {
            split == "test" && (12..18).contains(&i) && (13..18).contains(&j) && (2..4).contains(&k)
        };
        let mask = Volume::new(
            ndarray::Array3::from_shape_fn(t1.data().dim(), |at| u8::from(inside(at))),
            *t1.geometry(),
        );
        for (value, &lesion) in t1.data_mut().iter_mut().zip(mask.data()) {
            *value += f32::from(lesion) * 0.8;
        }
        write_volume(case.join("flair.nii.gz"), &flair).unwrap();
        // Another order of voxels.
        write_volume(case.join("t1.nii.gz"), &t1.reoriented(&"LPS".parse().unwrap())).unwrap();
        write_volume(case.join("mask.nii.gz"), &mask).unwrap();
    }
    fs::write(root.join("splits.csv"), splits).unwrap();
}

/// Writes the channels of a scan as one NIfTI image whose fourth axis they are.
fn write_stacked(path: &Path, scan: &Scan) {
    let [i, j, k] = scan.grid();
    let stacked = Volume::new(
        ndarray::Array3::from_shape_fn((i, j, 2 * k), |(i, j, at)| scan.data()[[at / k, i, j, at % k]]),
        *scan.geometry(),
    );
    write_volume(path, &stacked).unwrap();
    let mut bytes = fs::read(path).unwrap();
    // The header's dimensions.
    for (place, size) in [4, i, j, k, 2].into_iter().enumerate() {
        bytes[40 + 2 * place..42 + 2 * place].copy_from_slice(&(size as i16).to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn channels_go_by_name_and_place_through_every_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let data = path("data");
    write(&data);
    let train = |image: &str, out: &str| {
        let mut command = program("train");
        command.arg("--data").arg(&data).arg("--out").arg(path(out)).args(["--image", image]);
        command.args(["--mask", "mask.nii.gz", "--split", "train", "--size", "32", "--widths", "6,12"]);
        command.args(["--latent", "6", "--epochs", "3", "--batch", "8"]);
        command
    };
    succeed(&mut train("flair.nii.gz,t1.nii.gz", "both"));
    let model = path("both/model.safetensors");
    let localizer = Localizer::load(&model, &Device::Cpu).unwrap();
    assert_eq!(localizer.channel_names(), ["flair", "t1"]);
    assert_eq!(localizer.model().image_shape().channels, 2);

    let evaluate = |image: &str, out: &str| {
        let mut command = program("evaluate");
        command.arg("--model").arg(&model).arg("--data").arg(&data).arg("--out").arg(path(out));
        command.args(["--image", image, "--mask", "mask.nii.gz", "--split", "test", "--replicates", "10"]);
        command.args(["--predictors", "intensity,pixel-l1,pixel-positive,grad-kl"]);
        command
    };
    succeed(&mut evaluate("flair.nii.gz,t1.nii.gz", "report"));
    let precision = |out: &str, row: usize| {
        let report = json(&path(out).join("report.json"));
        report["scopes"][0]["predictors"][row]["raw"]["average_precision"].as_f64().unwrap()
    };
    assert!((0..4).all(|row| precision("report", row).is_finite()));
    // In the other order they are the same channels.
    succeed(&mut evaluate("t1.nii.gz,flair.nii.gz", "turned"));
    (0..4).for_each(|row| assert_eq!(precision("report", row), precision("turned", row)));
    fail(&mut evaluate("flair.nii.gz", "one"), &["1 channel,", "2"]);
    // A file that is named like another channel than it is given for, and one file for two channels.
    let crossed = "is given as the channel \"flair\", but is named like the channel \"t1\"";
    fail(evaluate("t1.nii.gz,flair.nii.gz", "crossed").args(["--channels", "flair,t1"]), &[crossed]);
    fail(&mut evaluate("t1.nii.gz,t1.nii.gz", "twice"), &["t1.nii.gz", "given for two channels"]);
    // Files of other names are the same channels where the user says so.
    succeed(evaluate("t1.nii.gz,flair.nii.gz", "told").args(["--channels", "t1,flair"]));
    (0..4).for_each(|row| assert_eq!(precision("report", row), precision("told", row)));

    // One case of two files, in either order, and of one file whose fourth axis holds both.
    let file = |case: &str, name: &str| data.join(case).join(name);
    let pair = |names: [&str; 2]| names.map(|name| file("c9", name).display().to_string()).join(",");
    let localize = |input: &str, out: &str| {
        let mut command = program("localize");
        command.arg("--model").arg(&model).args(["--input", input, "--predictor", "pixel-l1"]);
        command.arg("--out").arg(path(out));
        command
    };
    succeed(localize(&pair(["flair.nii.gz", "t1.nii.gz"]), "maps").arg("--by-channel"));
    succeed(&mut localize(&pair(["t1.nii.gz", "flair.nii.gz"]), "maps-turned"));
    fail(&mut localize(&pair(["flair.nii.gz", "mask.nii.gz"]), "other"), &["flair, mask", "flair, t1"]);
    let map = |out: &str, name: &str| read_volume(path(out).join(name)).unwrap();
    let raw = map("maps", "pixel-l1_raw.nii.gz");
    let flair = read_volume(file("c9", "flair.nii.gz")).unwrap();
    assert_eq!((raw.shape(), raw.geometry()), (flair.shape(), flair.geometry()));
    let turned = map("maps-turned", "pixel-l1_raw.nii.gz");
    let same = turned.aligned_to(raw.geometry(), raw.shape()).unwrap().0;
    assert_eq!(same.data(), raw.data());
    // Maps by channel: their mean inside the head is the map.
    let of = |channel: &str| map("maps", &format!("pixel-l1_raw_{channel}.nii.gz"));
    let (of_flair, of_t1) = (of("flair"), of("t1"));
    assert_ne!(of_flair.data(), of_t1.data());
    let at = [14, 15, 3];
    let mean = (of_flair.data()[at] + of_t1.data()[at]) / 2.0;
    assert!((mean - raw.data()[at]).abs() < 1e-5, "{mean} {}", raw.data()[at]);

    let read = |name| read_volume(file("c9", name)).unwrap();
    let scan = Scan::joined(vec![read("flair.nii.gz"), read("t1.nii.gz")]).unwrap();
    let stacked = path("stacked.nii");
    write_stacked(&stacked, &scan);
    succeed(localize(stacked.to_str().unwrap(), "maps-stacked").arg("--channels-last-axis"));
    assert_eq!(map("maps-stacked", "pixel-l1_raw.nii.gz").data(), raw.data());
    // It is not guessed that the fourth axis holds channels.
    fail(&mut localize(stacked.to_str().unwrap(), "maps-series"), &["stacked.nii"]);

    // The names in a table decide which channel is which: once they are corrected, nothing is kept.
    let table = data.join("cases.csv");
    let name_channels = |header: &str| {
        let rows = ["c8", "c9"]
            .map(|case| format!("{case}/flair.nii.gz,{case}/t1.nii.gz,{case}/mask.nii.gz,{case}\n"));
        fs::write(&table, format!("{header},mask,case\n{}", rows.concat())).unwrap();
    };
    let from_table = |name: &str, input: &str, out: &str| {
        let mut command = program(name);
        command.arg("--model").arg(&model).arg(input).arg(&table).args(["--layout", "manifest"]);
        command.arg("--out").arg(path(out)).args(if name == "localize" {
            &["--predictor", "pixel-l1", "--report", "none"][..]
        } else {
            &["--predictors", "pixel-l1", "--replicates", "10", "--split", "all"]
        });
        command
    };
    let table_map = || map("named/c9", "pixel-l1_raw.nii.gz");
    name_channels("image:t1,image:flair");
    succeed(&mut from_table("localize", "--input", "named"));
    assert_ne!(table_map().data(), raw.data());
    // Measurements stay after a run only if it left out a case.
    fs::write(data.join("c0/bad.nii"), [0]).unwrap();
    fs::write(&table, fs::read_to_string(&table).unwrap() + "c0/bad.nii,c0/t1.nii.gz,c8/mask.nii.gz,c0\n")
        .unwrap();
    let left_out = ran(&mut from_table("evaluate", "--data", "named-report"));
    assert_eq!(left_out.code, Some(1), "{}", left_out.err);
    assert!(left_out.err.contains("c0/bad.nii"), "{}", left_out.err);
    let wrong = precision("named-report", 0);
    name_channels("image:flair,image:t1");
    succeed(from_table("localize", "--input", "named").args(["--resume", "--overwrite"]));
    assert_eq!(table_map().data(), raw.data());
    succeed(from_table("evaluate", "--data", "named-report").arg("--resume"));
    succeed(&mut from_table("evaluate", "--data", "named-afresh"));
    assert!(precision("named-report", 0) != wrong && wrong.is_finite());
    assert_eq!(precision("named-report", 0), precision("named-afresh", 0));

    // A channel elsewhere is an error that names both files.
    let far = Volume::new(read("t1.nii.gz").into_data(), Geometry::from_spacing([3.0; 3]).unwrap());
    fs::remove_file(file("c3", "t1.nii.gz")).unwrap();
    write_volume(file("c3", "t1.nii.gz"), &far).unwrap();
    fail(&mut train("flair.nii.gz,t1.nii.gz", "far"), &["t1.nii.gz", "flair.nii.gz", "c3"]);
    let scored = localizer.score(&scan, &[PredictorName::PixelL1]).unwrap();
    assert_eq!(scored.scores[0].raw.data(), raw.data());
}

/// A file can be renamed, so another name is no error; but a model of one contrast says nothing about another.
#[test]
fn the_name_of_an_only_channel_is_kept_and_another_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let data = path("data");
    write(&data);
    let run = |name: &str, image: &str, out: &str| {
        let mut command = program(name);
        command.arg(if name == "localize" { "--input" } else { "--data" }).arg(&data);
        command.args(["--image", image]).arg("--out").arg(path(out));
        command
    };
    let mut train = run("train", "flair.nii.gz", "model");
    train.args(["--split", "train", "--size", "32", "--widths", "4,8", "--latent", "4", "--epochs", "1"]);
    succeed(&mut train);
    let model = path("model/model.safetensors");
    assert_eq!(Localizer::load(&model, &Device::Cpu).unwrap().channel_names(), ["flair"]);
    let said = "trained on images called flair, and these are called t1";
    for (name, options) in [
        ("localize", &["--layout", "cases", "--predictor", "pixel-l1"][..]),
        ("evaluate", &["--split", "all", "--mask", "mask.nii.gz", "--replicates", "10"]),
        ("recalibrate", &["--split", "all"]),
        ("combine", &["--validation", "test", "--mask", "mask.nii.gz"]),
    ] {
        for (image, expected) in [("flair.nii.gz", 0), ("t1.nii.gz", 1)] {
            let mut command = run(name, image, &format!("{name}-{image}"));
            let told = succeed(command.args(options).arg("--model").arg(&model)).err;
            assert_eq!(told.matches(said).count(), expected, "{name} {image}: {told}");
        }
    }
    // The name of one file says nothing.
    let mut alone = program("localize");
    alone.arg("--input").arg(data.join("c9/t1.nii.gz")).arg("--model").arg(&model);
    let told = succeed(alone.args(["--predictor", "pixel-l1"]).arg("--out").arg(path("alone"))).err;
    assert!(!told.contains("called"), "{told}");
}

/// A case with a constant or broken channel is left out, with its name and that of the channel.
#[test]
fn a_case_with_a_bad_channel_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let data = path("data");
    write(&data);
    let spoil = |case: &str, value: f32| {
        let file = data.join(case).join("t1.nii.gz");
        let volume = read_volume(&file).unwrap();
        let mut values = volume.data().clone();
        if value.is_nan() {
            values[[3, 4, 2]] = value
        } else {
            values.fill(value)
        }
        fs::remove_file(&file).unwrap();
        write_volume(&file, &Volume::new(values, *volume.geometry())).unwrap();
    };
    spoil("c1", 0.5);
    spoil("c2", f32::NAN);
    spoil("c9", 0.0);
    let run = |name: &str, options: &[&str]| {
        let mut command = program(name);
        command.arg("--data").arg(&data).args(["--image", "flair.nii.gz,t1.nii.gz", "--mask", "mask.nii.gz"]);
        command.args(options).arg("--out").arg(path(name));
        command
    };
    let small = ["--split", "train", "--size", "32", "--widths", "4,8", "--latent", "4", "--epochs", "1"];
    let said = [
        "c1",
        r#"channel "t1" cannot be used"#,
        "no contrast",
        "c2",
        "1 values are NaN",
        "2 cases were left out",
    ];
    fail(&mut run("train", &small), &said);
    let model = path("train/model.safetensors");
    for name in ["evaluate", "recalibrate"] {
        let mut command = run(name, &["--split", "test"]);
        fail(command.arg("--model").arg(&model), &["c9", r#"channel "t1" cannot be used"#, "was left out"]);
    }
    let mut strict = run("evaluate", &["--split", "all", "--strict", "--replicates", "10"]);
    fail(strict.arg("--model").arg(&model), &["c1", r#"channel "t1""#]);
    let mut combine = run("combine", &["--validation", "test"]);
    fail(combine.arg("--model").arg(&model), &["case c9 was left out"]);
}
