//! The programs one after the other, as a user runs them: heads, lesions, training, evaluation, maps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lesio::anomaly::{Localizer, PredictorName};
use lesio::image::{Image, Orientation, Plane, Volume};
use lesio::io::atomic::Existing;
use lesio::io::nifti::{NiftiImage, read_header};
use lesio::io::{ReadOptions, WriteOptions, read_image, read_volume, write_png, write_volume};
use lesio::nn::Device;
use ndarray::Array3;
use serde_json::Value;
use support::{fail, head, json, program, succeed, untrained_heads, untrained_pictures, write_heads};

/// `train` on the heads of a folder.
fn train(data: &Path, out: &Path, epochs: usize) -> Command {
    let mut command = program("train");
    command.arg("--data").arg(data).arg("--out").arg(out).args([
        "--mask",
        "mask.nii.gz",
        "--validation",
        "val",
    ]);
    command.args(["--size", "32", "--widths", "4,8", "--latent", "4", "--batch", "8", "--seed", "3"]);
    command.args(["--epochs", &epochs.to_string()]);
    command
}

/// Ten heads, two of them with lesions to test on.
fn data_set(folder: &Path) -> PathBuf {
    let (normal, data) = (folder.join("normal"), folder.join("data"));
    write_heads(&normal, 10);
    let mut inject = program("inject_lesions");
    inject.arg("--data").arg(&normal).arg("--out").arg(&data);
    succeed(inject.args(["--every", "5", "--lesions", "2", "--radius", "16,20", "--seed", "5"]));
    data
}

#[test]
fn lesions_of_validation_choose_the_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let data = data_set(folder.path());
    let by_lesions = |out: &Path, epochs: usize| {
        let mut command = train(&data, out, epochs);
        command.args(["--model", "segmenter", "--choose-by", "lesions"]);
        command
    };
    let (out, again) = (folder.path().join("model"), folder.path().join("again"));
    let said = succeed(&mut by_lesions(&out, 3)).err;
    assert_eq!(said.matches("average precision on lesions").count(), 3, "{said}");
    let report = json(&out.join("report.json"));
    let measured = report["history"][2]["validation"]["parts"].as_array().unwrap();
    assert!(measured.iter().any(|part| part[0] == "average precision on lesions"), "{measured:?}");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("which does not choose the model here") && page.contains("Lesions by epoch"));
    assert!(report["provenance"]["data"].as_str().unwrap().contains("lesions"), "{report}");

    succeed(&mut by_lesions(&again, 3));
    let model = |out: &Path| fs::read(out.join("model.safetensors")).unwrap();
    assert_eq!(model(&out), model(&again));
    // The choice belongs to the training that a checkpoint continues.
    let mut other = train(&data, &out, 3);
    fail(other.args(["--model", "segmenter", "--resume"]), &["checkpoint"]);

    // The training subjects have no lesion.
    let mut none = train(&data, &folder.path().join("none"), 1);
    none.args(["--model", "segmenter", "--choose-by", "lesions", "--split", "val", "--validation", "train"]);
    fail(&mut none, &["no validation slice has a lesion"]);
}

#[test]
fn from_normal_heads_to_tables_and_maps() {
    let folder = tempfile::tempdir().unwrap();
    let data = data_set(folder.path());

    // Every case has a mask, whose numbers are those of the list.
    let splits = fs::read_to_string(data.join("splits.csv")).unwrap();
    assert_eq!(splits.lines().filter(|line| line.ends_with(",test")).count(), 2);
    assert!(splits.contains("subject04,test") && splits.contains("subject09,test"), "{splits}");
    let list = fs::read_to_string(data.join("lesions.csv")).unwrap();
    let mut listed = 0;
    for case in (0..10).map(|subject| format!("subject{subject:02}")) {
        let mask = ReadOptions::new().read_as::<u8>(data.join(&case).join("mask.nii.gz")).unwrap();
        let rows: Vec<Vec<&str>> = list
            .lines()
            .map(|line| line.split(',').collect::<Vec<_>>())
            .filter(|row| row[0] == case)
            .collect();
        assert_eq!(usize::from(*mask.data().iter().max().unwrap()), rows.len(), "{case}");
        for row in &rows {
            let voxels = mask.data().iter().filter(|&&value| value.to_string() == row[1]).count();
            assert_eq!(voxels.to_string(), row[11], "{case}");
        }
        let train = splits.contains(&format!("{case},train"));
        assert!(!train || rows.is_empty(), "{case} is to be trained on and has lesions");
        listed += rows.len();
    }
    // Two subjects for testing, one for validation.
    assert_eq!((listed, list.lines().count()), (6, 7), "{list}");

    let out = folder.path().join("model");
    succeed(&mut train(&data, &out, 2));
    let report = json(&out.join("report.json"));
    assert_eq!((report["history"].as_array().unwrap().len(), &report["members"]), (2, &0.into()));
    let inspected = succeed(program("inspect").arg(out.join("model.safetensors"))).out;
    assert!(inspected.contains("a localizer of version"), "{inspected}");

    let evaluated = folder.path().join("evaluated");
    let mut evaluate = program("evaluate");
    evaluate.arg("--model").arg(&out).arg("--data").arg(&data).arg("--out").arg(&evaluated);
    evaluate.args(["--mask", "mask.nii.gz", "--predictors", "pixel-l1,grad-kl", "--validation", "val"]);
    let printed = succeed(evaluate.args(["--replicates", "50"])).out;
    for title in ["\nSlices with lesions (prevalence 0.", "\nAll slices (prevalence 0."] {
        assert!(printed.contains(title), "{printed}");
    }
    let report = json(&evaluated.join("report.json"));
    assert_eq!(report["schema"], 1);
    let scopes = report["scopes"].as_array().unwrap();
    assert_eq!(
        scopes.iter().map(|scope| &scope["scope"]).collect::<Vec<_>>(),
        ["lesion-slices", "all-slices"]
    );
    for scope in scopes {
        let prevalence = scope["prevalence"].as_f64().unwrap();
        assert!(prevalence > 0.0 && prevalence < 0.5, "{prevalence}");
        let names: Vec<_> = scope["predictors"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
        assert_eq!(names, ["intensity", "pixel-l1", "grad-kl"]);
        for row in scope["predictors"].as_array().unwrap() {
            for stage in ["raw", "postprocessed"] {
                for figure in ["auroc", "average_precision", "ceil_dice", "aupro_30", "dice_at_val"] {
                    let value = row[stage][figure].as_f64().unwrap();
                    assert!((0.0..=1.0).contains(&value), "{figure}: {value}");
                }
            }
        }
    }
    assert!(evaluated.join("report.html").is_file());

    let maps = folder.path().join("maps");
    let input = data.join("subject09/image.nii.gz");
    let mut localize = program("localize");
    localize.arg("--model").arg(&out).arg("--input").arg(&input).arg("--out").arg(&maps);
    localize.args(["--predictor", "pixel-l1,grad-kl", "--rate", "0.02"]);
    let printed = succeed(&mut localize).out;
    assert!(printed.contains("image.nii.gz, pixel-l1:"), "{printed}");
    // The file holds what the library says.
    let localizer = Localizer::load(out.join("model.safetensors"), &Device::Cpu).unwrap();
    let volume = read_volume(&input).unwrap();
    let names = [PredictorName::PixelL1, PredictorName::GradKl];
    for scored in localizer.score(&volume.clone().into(), &names).unwrap().scores {
        let name = scored.predictor;
        assert_eq!(read_volume(maps.join(format!("{name}.nii.gz"))).unwrap(), scored.postprocessed);
        assert_eq!(read_volume(maps.join(format!("{name}_raw.nii.gz"))).unwrap(), scored.raw);
        assert!(read_image(maps.join(format!("{name}.png"))).unwrap().width() > 300);
    }
    // What was found is what the labels show, and where the map reaches the threshold.
    let found = json(&maps.join("report.json"));
    let found = &found["cases"][0]["predictors"][0];
    let labels = ReadOptions::new().read_as::<u32>(maps.join("pixel-l1_lesions.nii.gz")).unwrap();
    let map = read_volume(maps.join("pixel-l1.nii.gz")).unwrap();
    let lesions = found["lesions"].as_array().unwrap();
    assert!(!lesions.is_empty(), "a trained model that sees nothing at 2 %: choose another seed");
    let spacing = volume.geometry().spacing();
    for lesion in lesions {
        let inside = || {
            labels
                .data()
                .iter()
                .zip(map.data())
                .filter(|&(&label, _)| label == lesion["label"].as_u64().unwrap() as u32)
        };
        assert_eq!(inside().count() as u64, lesion["voxels"].as_u64().unwrap());
        let ml = inside().count() as f64 * spacing.iter().product::<f64>() / 1000.0;
        assert!((lesion["volume_ml"].as_f64().unwrap() - ml).abs() < 1e-6 * ml);
        let peak = inside().map(|(_, &score)| score).fold(f32::MIN, f32::max);
        assert_eq!(lesion["peak"].as_f64().unwrap() as f32, peak);
        let threshold = found["threshold"].as_f64().unwrap() as f32;
        assert!(inside().all(|(_, &score)| score >= threshold));
        // The one subject that calibrated says no more than .5 of any score.
        assert!(lesion["p_value"].is_null() && lesion["world"].as_array().unwrap().len() == 3);
    }

    // Nothing is replaced unless that is asked for.
    let before = fs::read(maps.join("pixel-l1.nii.gz")).unwrap();
    fail(&mut localize, &["exists", "--overwrite"]);
    succeed(localize.arg("--overwrite"));
    assert_eq!(before, fs::read(maps.join("pixel-l1.nii.gz")).unwrap());
}

/// The same seed gives the same model, byte for byte, on one thread and on two, and so does a training
/// that was killed and taken up again.
#[test]
fn the_same_seed_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let data = data_set(folder.path());
    let model = |name: &str| fs::read(folder.path().join(name).join("model.safetensors")).unwrap();
    let epochs = 6;
    succeed(&mut train(&data, &folder.path().join("one"), epochs));
    succeed(train(&data, &folder.path().join("two"), epochs).env("RAYON_NUM_THREADS", "2"));
    assert!(model("one") == model("two"), "two threads give another model than one");

    let killed = folder.path().join("killed");
    let mut running = train(&data, &killed, epochs).spawn().unwrap();
    let checkpoint = killed.join("checkpoint.safetensors");
    let started = Instant::now();
    while !checkpoint.exists() && running.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(120), "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(2));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    succeed(train(&data, &killed, epochs).arg("--resume"));
    assert!(model("one") == model("killed"), "a resumed training gives another model");
    // Another seed, another model: the comparison above can fail.
    let mut other = train(&data, &folder.path().join("other"), 1);
    succeed(other.args(["--seed", "4"]));
    assert!(model("one") != model("other"));
}

/// Maps come back on the grid of their input, whatever its orientation, and what the header says of space stays.
#[test]
fn maps_lie_where_their_input_lies() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    let localizer = untrained_heads(&model);
    let images = folder.path().join("images/deep");
    fs::create_dir_all(&images).unwrap();
    let volume = head(5).image;
    write_volume(images.join("ras.nii"), &volume).unwrap();
    let turned = volume.reoriented(&"PIR".parse().unwrap());
    write_volume(images.join("pir.nii.gz"), &turned).unwrap();
    // Scanner space in micrometres, of which this says what it is.
    let plain = images.join("ras.nii");
    let mut bytes = fs::read(&plain).unwrap();
    bytes[123] = 3;
    bytes[252..254].copy_from_slice(&1i16.to_le_bytes());
    bytes[254..256].copy_from_slice(&4i16.to_le_bytes());
    bytes[148..156].copy_from_slice(b"scanner7");
    fs::write(&plain, bytes).unwrap();

    let out = folder.path().join("out");
    let mut localize = program("localize");
    localize
        .arg("--model")
        .arg(&model)
        .arg("--input")
        .arg(folder.path().join("images"))
        .arg("--out")
        .arg(&out);
    succeed(localize.args(["--predictor", "pixel-l1,pixel-l2"]));
    for (name, input) in [("deep/ras", plain), ("deep/pir", images.join("pir.nii.gz"))] {
        let (before, after) =
            (read_header(&input).unwrap(), read_header(out.join(name).join("pixel-l1.nii.gz")).unwrap());
        assert_eq!(before.shape, after.shape, "{name}");
        assert_eq!(
            (before.srow, before.quaternion, before.pixdim),
            (after.srow, after.quaternion, after.pixdim)
        );
        assert_eq!((before.sform_code, before.qform_code), (after.sform_code, after.qform_code));
        assert_eq!((before.xyzt_units, before.description), (after.xyzt_units, after.description));
        let image = NiftiImage::open(out.join(name).join("pixel-l1_lesions.nii.gz")).unwrap();
        assert_eq!(image.header().srow, before.srow);
    }
    let map = |name: &str| read_volume(out.join(name).join("pixel-l1_raw.nii.gz")).unwrap();
    // One is in millimeters, the other in micrometers, which are converted: sizes differ in the last digit.
    let (turned, plain) = (map("deep/pir").reoriented(&Orientation::RAS), map("deep/ras"));
    let off = turned.data().iter().zip(plain.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-5, "{off}");
    // As the file says it: in micrometres.
    let told = read_volume(images.join("ras.nii")).unwrap();
    let scored = localizer.score(&told.clone().into(), &[PredictorName::PixelL1]).unwrap();
    assert_eq!(map("deep/ras").data(), scored.scores[0].raw.data());
    assert_eq!(map("deep/ras").geometry(), told.geometry());
    // Without normal scores there is a map, and no table.
    let report = json(&out.join("report.json"));
    let (known, unknown) = (&report["cases"][0]["predictors"][0], &report["cases"][0]["predictors"][1]);
    assert!(known["lesions"].is_array() && unknown["lesions"].is_null() && unknown["threshold"].is_null());
    assert!(out.join("deep/ras/pixel-l2.nii.gz").is_file());
    assert!(!out.join("deep/ras/pixel-l2_lesions.nii.gz").exists());
}

#[test]
fn pictures_get_maps_of_floats_and_overlays() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    let localizer = untrained_pictures(&model, 3);
    let image =
        Image::new(Array3::from_shape_fn((3, 40, 30), |(c, y, x)| ((7 * x + 3 * y + 50 * c) % 251) as u8));
    let input = folder.path().join("tile.png");
    write_png(&input, &image, Existing::Replace).unwrap();
    let out = folder.path().join("out");
    let mut localize = program("localize");
    localize.arg("--model").arg(&model).arg("--input").arg(&input).arg("--out").arg(&out);
    succeed(localize.args(["--rate", "0.5"]));
    let scored =
        localizer.score(&image.map(|&value| f32::from(value)).into(), &[PredictorName::PixelL1]).unwrap();
    let read = |name: &str| read_image(out.join(name)).unwrap().channel(0).unwrap().to_owned();
    let seen = |map: &Volume<f32>| map.upright_plane(Plane::Axial, 0).unwrap().to_owned();
    assert_eq!(read("pixel-l1.tiff"), seen(&scored.scores[0].postprocessed));
    assert_eq!(read("pixel-l1_raw.tiff"), seen(&scored.scores[0].raw));
    let overlay = read_image(out.join("pixel-l1.png")).unwrap();
    assert_eq!(overlay.channels(), 3);
    assert!(
        overlay.width() > 3 * 30 * 5 && overlay.height() > 40 * 5,
        "{} x {}",
        overlay.height(),
        overlay.width()
    );
    let report = json(&out.join("report.json"));
    for lesion in report["cases"][0]["predictors"][0]["lesions"].as_array().unwrap() {
        assert!(lesion["world"].is_null() && lesion["volume_ml"].is_null());
    }
}

/// What `inspect` prints of a file that others read, too.
#[test]
fn inspect_tells_what_a_file_holds() {
    let folder = tempfile::tempdir().unwrap();
    let volume = head(2).image.reoriented(&"LPS".parse().unwrap());
    let path = folder.path().join("head.nii.gz");
    WriteOptions::new().write(&path, &volume).unwrap();
    let found: Value =
        serde_json::from_str(&succeed(program("inspect").arg("--json").arg(&path)).out).unwrap();
    assert_eq!(
        (&found["reads"], &found["version"], &found["datatype"]),
        (&true.into(), &1.into(), &16.into())
    );
    assert_eq!(found["shape"], serde_json::json!([32, 32, 8]));
    assert_eq!((&found["axcodes"], &found["byte_order"]), (&"LPS".into(), &"<".into()));
    let sum: f64 = volume.data().iter().map(|&value| f64::from(value)).sum();
    assert!((found["sum"].as_f64().unwrap() - sum).abs() < 1e-9 * sum);
    let first: Vec<f64> = volume.data().t().iter().take(8).map(|&value| f64::from(value)).collect();
    assert_eq!(found["first"], serde_json::json!(first));
    let histogram = found["histogram"].as_array().unwrap();
    assert_eq!(histogram.iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 32 * 32 * 8);
    let text = succeed(program("inspect").arg(&path)).out;
    assert!(
        text.contains("NIfTI-1, 32 x 32 x 8 voxels of float32") && text.contains("problem      none"),
        "{text}"
    );

    let picture = folder.path().join("tile.jpg");
    write_png(
        folder.path().join("tile.png"),
        &Image::new(Array3::from_shape_fn((1, 4, 6), |(_, y, x)| (y * 6 + x) as u16)),
        Existing::Replace,
    )
    .unwrap();
    // The content decides, not the name.
    fs::rename(folder.path().join("tile.png"), &picture).unwrap();
    let found: Value =
        serde_json::from_str(&succeed(program("inspect").arg("--json").arg(&picture)).out).unwrap();
    assert_eq!((&found["shape"], &found["sum"]), (&serde_json::json!([1, 4, 6]), &serde_json::json!(276.0)));
    assert_eq!(found["max"], 23.0);
}

/// Several seeds of one training are an ensemble, and a calibration can be another's.
#[test]
fn members_are_trained_evaluated_and_calibrated_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = data_set(folder.path());
    let out = folder.path().join("marks");
    let members = |more: &[&str]| {
        let mut command = train(&data, &out, 1);
        command.args(["--model", "segmenter", "--members", "2"]);
        command.args(more);
        command
    };
    let said = succeed(&mut members(&[])).out;
    assert!(said.contains("ensemble: ") && said.contains("ms a slice"), "{said}");
    let report = json(&out.join("report.json"));
    assert_eq!((&report["ensemble"]["choice"], &report["members"]), (&"greedy".into(), &2.into()));
    let whole = Localizer::load(out.join("model.safetensors"), &Device::Cpu).unwrap();
    assert!(whole.ensemble().is_some() && whole.calibration().get(PredictorName::Ensemble).is_some());
    let reports = [1, 2].map(|member| json(&out.join(format!("member-{member}/report.json"))));
    let seeds =
        reports.each_ref().map(|report| report["recipe"]["segmenter"]["training"]["train"]["seed"].clone());
    assert_eq!(seeds, [3, 4]);
    // The page shows what the model was taught.
    let page = std::fs::read_to_string(out.join("member-1/report.html")).unwrap();
    assert!(page.contains("with an anomaly") && page.contains("class=\"montage\""), "{page}");
    // What was trained is not lost unasked; a scheduler that repeats the job finds it done.
    fail(&mut members(&[]), &["--overwrite"]);
    succeed(&mut members(&["--resume-or-fresh"]));

    let report = folder.path().join("report");
    let mut evaluate = program("evaluate");
    evaluate.arg("--model").arg(&out).arg("--data").arg(&data).arg("--out").arg(&report);
    evaluate.args(["--mask", "mask.nii.gz", "--validation", "val", "--replicates", "20"]);
    succeed(evaluate.args(["--ensemble", "anomaly-logit,intensity"]));
    let found = json(&report.join("report.json"));
    let names: Vec<&str> =
        found["ensemble_members"].as_array().unwrap().iter().map(|own| own[0].as_str().unwrap()).collect();
    assert_eq!(names, ["intensity", "marks/member-1/anomaly-logit", "marks/member-2/anomaly-logit"]);
    // The ensemble that was saved is measured beside its members.
    let scope = found["scopes"][0]["predictors"].as_array().unwrap();
    assert!(scope.iter().any(|row| row["name"] == "marks/ensemble"), "{scope:?}");
    // Models that were trained apart are combined later: here the same, so the result is the same.
    let combined = folder.path().join("combined");
    let mut combine = program("combine");
    combine.arg("--model").arg(&out).arg("--data").arg(&data).arg("--out").arg(&combined);
    succeed(combine.args(["--mask", "mask.nii.gz"]));
    let own = Localizer::load(combined.join("model.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(own.fingerprint().unwrap(), whole.fingerprint().unwrap());
    fail(&mut combine, &["--overwrite"]);
    // A single model has an ensemble, too, where it is asked for.
    let alone = folder.path().join("alone");
    succeed(train(&data, &alone, 1).args(["--model", "segmenter", "--ensemble"]));
    assert_eq!(json(&alone.join("report.json"))["ensemble"]["choice"], "greedy");
    let model = Localizer::load(alone.join("model.safetensors"), &Device::Cpu).unwrap();
    assert!(model.ensemble().is_some() && model.others().is_empty());
    // Without the single model beside it, an ensemble is taken apart, and its model combined again.
    let mut single = program("combine");
    single.arg("--model").arg(alone.join("model.safetensors")).arg("--data").arg(&data);
    succeed(single.arg("--out").arg(&report).args(["--mask", "mask.nii.gz", "--overwrite"]));
    let again = Localizer::load(report.join("model.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(again.fingerprint().unwrap(), model.fingerprint().unwrap());
    let vae = folder.path().join("vae");
    let mut without = program("train");
    without.arg("--data").arg(&data).args(["--mask", "mask.nii.gz", "--ensemble", "--out"]).arg(&vae);
    fail(&mut without, &["--ensemble", "segmenter", "--validation"]);
    let maps = folder.path().join("maps");
    let mut localize = program("localize");
    localize.arg("--model").arg(&out).arg("--input").arg(&data).arg("--out").arg(&maps);
    succeed(localize.args(["--layout", "cases", "--image", "image.nii.gz", "--predictor", "ensemble"]));
    let cases = std::fs::read_to_string(maps.join("cases.csv")).unwrap();
    assert!(cases.contains("ensemble"), "{cases}");
    // Filters of its members are part of an ensemble.
    let mut filtered = program("evaluate");
    filtered
        .arg("--model")
        .arg(&out)
        .arg("--data")
        .arg(&data)
        .arg("--out")
        .arg(folder.path().join("filtered"));
    fail(filtered.args(["--mask", "mask.nii.gz", "--median", "0,3,3"]), &["--median", "ensemble"]);
    let weights = found["ensemble_members"].as_array().unwrap().iter().map(|own| own[1].as_f64().unwrap());
    assert!((weights.sum::<f64>() - 1.0).abs() < 1e-9);

    let again = folder.path().join("again");
    let mut recalibrate = program("recalibrate");
    recalibrate.arg("--model").arg(out.join("member-1")).arg("--data").arg(&data).arg("--out").arg(&again);
    recalibrate.args(["--mask", "mask.nii.gz", "--split", "train"]);
    let said = succeed(&mut recalibrate).out;
    assert!(said.contains("anomaly-logit") && said.contains("calibrated on 7 images"), "{said}");
    fail(&mut recalibrate, &["--overwrite"]);
    let load = |path: PathBuf| Localizer::load(path.join("model.safetensors"), &Device::Cpu).unwrap();
    let (before, after) = (load(out.join("member-1")), load(again));
    let subjects = |made: &Localizer| made.calibration().get(PredictorName::AnomalyLogit).unwrap().subjects();
    assert_eq!((subjects(&before), subjects(&after)), (1, 7));
    assert_eq!(before.chosen(), after.chosen());
}
