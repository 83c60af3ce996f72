//! Lengths of filters on the command line, the predictor that validation data chose, and what is said where a
//! calibration cannot hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;

use lesio::anomaly::{Localizer, PredictorName};
use lesio::image::{Geometry, Volume};
use lesio::io::write_volume;
use lesio::nn::Device;
use lesio::study::{Subject, calibrate};
use support::{head, json, program, ran, succeed, untrained_heads, write_heads};

/// Refused by the arguments alone: there is neither model nor data.
#[test]
fn lengths_that_cannot_be_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    for name in ["train", "evaluate"] {
        for (argument, value, words) in [
            ("--median", "3,5", "three lengths"),
            ("--median", "3,5,5,5", "three lengths"),
            ("--median", "2,2,2", "odd numbers"),
            ("--median", "1,1,100001", "0 to 1000"),
            ("--median", "-1,5,5", "0 to 1000"),
            ("--median", "nan,5,5", "0 to 1000"),
            ("--erosion", "nan", "0 to 1000"),
            ("--erosion", "-1", "0 to 1000"),
            ("--erosion", "1e9", "0 to 1000"),
            ("--erosion", "inf", "0 to 1000"),
        ] {
            let mut command = program(name);
            command.arg("--data").arg(&absent).args([argument, value]);
            if name == "evaluate" {
                command.arg("--model").arg(&absent);
            }
            let ran = ran(&mut command);
            assert_eq!(ran.code, Some(2), "{name} {argument} {value}: {}", ran.err);
            assert!(ran.err.contains(words) && ran.err.contains(argument), "{}", ran.err);
        }
    }
}

#[test]
fn localize_maps_by_the_predictor_that_was_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (folder.path().join("model.safetensors"), folder.path().join("data"));
    untrained_heads(&model);
    write_heads(&data, 3);
    let splits = "patient,split\nsubject00,val\nsubject01,val\nsubject02,test\n";
    // Lesions that the brightest voxels are: intensity is the best of the predictors.
    for case in (0..3).map(|number| data.join(format!("subject{number:02}"))) {
        let mut image = lesio::io::read_volume(case.join("image.nii.gz")).unwrap();
        let inside = image.map(|_| 0u8).data().clone();
        let mut inside = Volume::new(inside, *image.geometry());
        let square = ndarray::s![13..19, 13..19, 3..5];
        image.data_mut().slice_mut(square).fill(3.0);
        inside.data_mut().slice_mut(square).fill(1);
        write_volume(case.join("lesion.nii.gz"), &inside).unwrap();
        write_volume(case.join("bright.nii.gz"), &image).unwrap();
    }
    fs::write(data.join("splits.csv"), splits).unwrap();
    let input = data.join("subject00/bright.nii.gz");
    let localize = |out: &str| {
        let mut command = program("localize");
        command.arg("--model").arg(&model).arg("--input").arg(&input);
        command.arg("--out").arg(folder.path().join(out));
        command
    };
    let printed = succeed(&mut localize("before")).out;
    assert!(printed.contains("predictor pixel-l1: none was chosen"), "{printed}");
    assert!(folder.path().join("before/pixel-l1.nii.gz").is_file());

    let evaluate = |more: &[&str]| {
        let mut command = program("evaluate");
        command.arg("--model").arg(&model).arg("--data").arg(&data);
        command.args(["--image", "bright.nii.gz", "--mask", "lesion.nii.gz", "--split", "test"]);
        command.args(["--predictors", "pixel-negative,intensity,pixel-ssim"]);
        command.args(["--replicates", "10"]).arg("--out").arg(folder.path().join("evaluated")).args(more);
        command
    };
    // Only validation data choose, and only by the maps that the file will give.
    for more in [&["--save-choice"][..], &["--save-choice", "--validation", "val", "--median", "1,1,1"]] {
        assert_eq!(ran(&mut evaluate(more)).code, Some(2));
    }
    let before = fs::read(&model).unwrap();
    succeed(&mut evaluate(&["--validation", "val"]));
    assert_eq!(before, fs::read(&model).unwrap(), "nothing asked to save the choice");
    let printed = succeed(&mut evaluate(&["--validation", "val", "--save-choice"])).out;
    assert!(printed.contains("predictor intensity: chosen on validation data"), "{printed}");
    let chosen = Localizer::load(&model, &Device::Cpu).unwrap();
    let choice = chosen.chosen().unwrap();
    assert_eq!((choice.predictor, choice.subjects), (PredictorName::Intensity, 2));
    let reported = json(&folder.path().join("evaluated/report.json"));
    assert_eq!(reported["chosen"]["validation_average_precision"], choice.average_precision);
    // The rest of the file is what it was.
    chosen.with_chosen(None).unwrap().save(&model).unwrap();
    assert_eq!(before, fs::read(&model).unwrap());

    succeed(&mut evaluate(&["--validation", "val", "--save-choice"]));
    let printed = succeed(&mut localize("after")).out;
    assert!(printed.contains("predictor intensity: chosen on validation data"), "{printed}");
    assert!(printed.contains("over 2 subjects with lesions"), "{printed}");
    assert!(folder.path().join("after/intensity.nii.gz").is_file());
    let report = json(&folder.path().join("after/report.json"));
    assert!(report["predictor_choice"].as_str().unwrap().contains("intensity"));
    // What is asked for is what is mapped.
    let printed = succeed(localize("asked").args(["--predictor", "pixel-l2"])).out;
    assert!(!printed.contains("chosen") && folder.path().join("asked/pixel-l2.nii.gz").is_file());
}

#[test]
fn maps_say_where_a_calibration_cannot_hold() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    let normal = |subject: u64| Subject::new(subject.to_string(), head(subject).image, None);
    let made = calibrate(untrained_heads(&model), &[normal(3)], &[PredictorName::PixelL1], |_| {}).unwrap();
    made.save(&model).unwrap();
    let localize = |name: &str, spacing: [f64; 3]| {
        let input = folder.path().join(name).with_extension("nii.gz");
        let image = Volume::new(head(5).image.into_data(), Geometry::from_spacing(spacing).unwrap());
        write_volume(&input, &image).unwrap();
        let mut command = program("localize");
        command.arg("--model").arg(&model).arg("--input").arg(&input).args(["--rate", "0.05"]);
        let out = folder.path().join(name);
        let printed = succeed(command.arg("--out").arg(&out)).out;
        let report = json(&out.join("report.json"));
        (printed, report["cases"][0].clone())
    };
    let own = head(5).image.geometry().spacing();
    let (printed, case) = localize("own", own);
    assert!(case["resolution_doubt"].is_null() && !printed.contains("may not hold"), "{printed}");
    // One normal subject supports no finding, however high its score.
    assert!(
        printed.contains("number of normal subjects: 1; smallest p-value that they allow: 0.5"),
        "{printed}"
    );
    assert!(printed.contains("no p-value can support a finding"), "{printed}");
    let mapped = &case["predictors"][0];
    assert_eq!((&mapped["smallest_p_value"], &mapped["p_value_level"]), (&0.5.into(), &0.05.into()));
    let lesions = mapped["lesions"].as_array().unwrap();
    assert!(!lesions.is_empty() && lesions.iter().all(|lesion| lesion["p_value"].is_null()));

    let (printed, case) = localize("thin", [own[0], own[1], own[2] / 4.0]);
    let doubt = case["resolution_doubt"].as_str().unwrap();
    assert!(doubt.contains("slices are 4.0 times finer") && printed.contains(doubt), "{doubt}: {printed}");
    assert!(case["resolution"]["volume"].as_array().unwrap().len() == 3);
}
