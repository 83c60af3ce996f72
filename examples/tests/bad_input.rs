//! What is wrong with its input, every program says, and fails: no panic, no result, nothing half written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use lesio::image::{Image, Volume};
use lesio::io::atomic::Existing;
use lesio::io::{write_png, write_volume};
use ndarray::Array3;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;
use support::{
    fail, head, program, ran, succeed, untrained_heads, untrained_pictures, write_heads, write_pictures,
};

/// Files that cannot be scored, with what is said of each.
fn bad_volumes(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let good = head(0).image;
    let file = |name: &str| folder.join(name);
    let write = |name: &str, volume: &Volume<f32>| {
        write_volume(file(name), volume).unwrap();
        file(name)
    };
    let mut nan = good.clone();
    nan.data_mut()[[3, 4, 5]] = f32::NAN;
    let empty = file("empty.nii");
    fs::write(&empty, b"").unwrap();
    let plain = write("plain.nii", &good);
    let mut bytes = fs::read(&plain).unwrap();
    let truncated = file("truncated.nii");
    fs::write(&truncated, &bytes[..bytes.len() / 2]).unwrap();
    // A fourth dimension of two volumes, and the voxels of the second.
    let series = file("series.nii");
    bytes[40..42].copy_from_slice(&4i16.to_le_bytes());
    bytes[48..50].copy_from_slice(&2i16.to_le_bytes());
    let second = bytes[352..].to_vec();
    bytes.extend(second);
    fs::write(&series, bytes).unwrap();
    let text = file("text.nii.gz");
    fs::write(&text, "this is no volume").unwrap();
    fs::remove_file(plain).unwrap();
    vec![
        (file("missing.nii.gz"), "there is no such file"),
        (empty, "the header needs 348 bytes"),
        (truncated, "the image needs"),
        (series, "shape is [32, 32, 8, 2]"),
        (text, "gzip"),
        (write("nan.nii.gz", &nan), "1 values are NaN or infinite"),
        (write("constant.nii.gz", &good.map(|_| 5.0)), "no contrast"),
    ]
}

fn write_picture(path: &Path, channels: usize) {
    let pixels =
        Array3::from_shape_fn((channels, 40, 30), |(c, y, x)| ((7 * x + 3 * y + 50 * c) % 251) as u8);
    write_png(path, &Image::new(pixels), Existing::Replace).unwrap();
}

#[test]
fn localize_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model.safetensors"), folder.path().join("out"));
    untrained_heads(&model);
    let localize = |input: &Path| {
        let mut command = program("localize");
        command.arg("--model").arg(&model).arg("--input").arg(input).arg("--out").arg(&out);
        command
    };
    let bad = bad_volumes(folder.path());
    for (input, said) in &bad {
        fail(&mut localize(input), &[said]);
    }
    let left = || fs::read_dir(&out).map_or(0, Iterator::count);
    assert_eq!(left(), 0, "something was written for bad input");

    let picture = folder.path().join("rgb.png");
    write_picture(&picture, 3);
    fail(&mut localize(&picture), &["the image has 3 channels, the model was trained on 1"]);
    let empty = folder.path().join("nothing");
    fs::create_dir(&empty).unwrap();
    fail(&mut localize(&empty), &["nothing", "holds no case"]);
    fail(localize(&empty).args(["--layout", "cases", "--image", "flair.nii.gz"]), &["holds no case"]);
    // It would map every image of the folder, masks too.
    let said = ["--image goes with --layout cases, the layout is images"];
    fail(localize(&empty).args(["--image", "flair.nii.gz"]), &said);
    let text = folder.path().join("notes.txt");
    fs::write(&text, "hello").unwrap();
    fail(&mut localize(&text), &["notes.txt", "expected a name that ends in one of"]);

    // Models.
    let with_model = |model: &Path| {
        let mut command = program("localize");
        command.arg("--model").arg(model).arg("--input").arg(&bad[5].0).arg("--out").arg(&out);
        command
    };
    fail(
        &mut with_model(&folder.path().join("absent.safetensors")),
        &["could not read", "absent.safetensors"],
    );
    fail(&mut with_model(&empty), &["could not read", "model.safetensors"]);
    let damaged = folder.path().join("damaged.safetensors");
    let mut bytes = fs::read(&model).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&damaged, bytes).unwrap();
    fail(&mut with_model(&damaged), &["damaged", "checksum"]);
    let other = folder.path().join("rgb.safetensors");
    untrained_pictures(&other, 3);
    let good = folder.path().join("good.nii.gz");
    write_volume(&good, &head(3).image).unwrap();
    let mut misfit = program("localize");
    misfit.arg("--model").arg(&other).arg("--input").arg(&good).arg("--out").arg(&out);
    fail(&mut misfit, &["the image has 1 channel, the model was trained on 3"]);

    // Arguments.
    let unknown = ran(localize(&good).args(["--predictor", "pixel-l3"]));
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("pixel-l3") && unknown.err.contains("grad-kl"), "{}", unknown.err);
    assert_eq!(ran(localize(&good).args(["--rate", "1.5"])).code, Some(2));
    fail(localize(&good).args(["--family-wise", "0.01"]), &["needs 99 normal subjects", "calibrated on 19"]);
}

/// In a folder the good images are mapped, the bad ones named, and the program fails in the end.
#[test]
fn one_bad_image_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (model, images, out) =
        (folder.path().join("model.safetensors"), folder.path().join("images"), folder.path().join("out"));
    untrained_heads(&model);
    fs::create_dir(&images).unwrap();
    bad_volumes(&images);
    write_volume(images.join("good.nii.gz"), &head(3).image).unwrap();
    let mut command = program("localize");
    command.arg("--model").arg(&model).arg("--input").arg(&images).arg("--out").arg(&out);
    fail(&mut command, &["6 of 7 images could not be mapped", "nan.nii.gz", "1 values are NaN"]);
    let report: Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["failed"].as_array().unwrap().len(), 6);
    assert_eq!(report["cases"][0]["id"], "good.nii.gz");
    assert!(out.join("good/pixel-l1.nii.gz").is_file() && out.join("good/pixel-l1.png").is_file());
    assert!(!out.join("nan").exists());
}

#[test]
fn train_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let train = |data: &Path| {
        let mut command = program("train");
        command.args(["--split", "all", "--size", "32", "--widths", "4,8", "--latent", "4", "--epochs", "1"]);
        command.arg("--data").arg(data).arg("--out").arg(&out);
        command
    };
    fail(&mut train(&folder.path().join("absent")), &["absent", "there is no such folder"]);
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fail(&mut train(&empty), &["empty", "holds no case"]);
    let odd = folder.path().join("odd");
    fs::create_dir_all(odd.join("a")).unwrap();
    fail(&mut train(&odd), &["image.nii.gz", "there is no such file"]);

    let bad = folder.path().join("bad");
    fs::create_dir(&bad).unwrap();
    for (file, said) in bad_volumes(&bad).into_iter().skip(1) {
        // One bad case among good ones.
        let data = folder.path().join("data");
        write_heads(&data, 3);
        fs::create_dir(data.join("ill")).unwrap();
        let name =
            if file.extension().is_some_and(|ending| ending == "gz") { "image.nii.gz" } else { "image.nii" };
        fs::rename(&file, data.join("ill").join(name)).unwrap();
        fail(train(&data).arg("--strict"), &[said]);
        assert!(!out.join("model.safetensors").exists());
        // The others teach, and the exit code says that one did not.
        fail(&mut train(&data), &["case ill was left out", said]);
        let report: Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
        assert_eq!(report["failed"][0]["id"], "ill");
        let cases = |part: &str| report["data"][part]["cases"].as_u64().unwrap();
        assert_eq!(cases("training") + cases("validation"), 3);
        fs::remove_dir_all(&out).unwrap();
        fs::remove_dir_all(data).unwrap();
    }

    // Pictures beside volumes.
    let mixed = folder.path().join("mixed");
    write_pictures(&mixed, 2, 24);
    write_volume(mixed.join("head.nii.gz"), &head(1).image).unwrap();
    let kinds = ["\"head.nii.gz\" is a volume and \"0000.tif\" a picture"];
    fail(train(&mixed).args(["--layout", "images"]), &kinds);

    // An ensemble is calibrated on images that are held out, of which a single one leaves none. Told before the training.
    let one = folder.path().join("one");
    fs::create_dir(&one).unwrap();
    write_pictures(&one, 1, 24);
    let mut command = train(&one);
    command.args(["--layout", "images", "--split", "all", "--model", "segmenter", "--ensemble"]);
    fail(&mut command, &["no normal slice is left to calibrate the models"]);
    assert!(!out.join("member-1").exists());

    // Every slice holds a lesion.
    let data = folder.path().join("ill");
    write_heads(&data, 3);
    for case in fs::read_dir(&data).unwrap() {
        let mask = head(0).labels.map(|_| 1u8);
        write_volume(case.unwrap().path().join("mask.nii.gz"), &mask).unwrap();
    }
    fail(train(&data).args(["--mask", "mask.nii.gz"]), &["no normal slice to train on"]);
    fail(train(&data).args(["--split", "nobody"]), &["nobody"]);
    fail(train(&data).arg("--resume"), &["no intact checkpoint"]);
    assert!(!out.join("model.safetensors").exists());
}

#[test]
fn evaluate_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data, out) =
        (folder.path().join("model.safetensors"), folder.path().join("data"), folder.path().join("out"));
    untrained_heads(&model);
    write_heads(&data, 2);
    let evaluate = |model: &Path, data: &Path| {
        let mut command = program("evaluate");
        command.arg("--model").arg(model).arg("--data").arg(data).arg("--out").arg(&out);
        command.args(["--split", "all", "--predictors", "pixel-l1"]);
        command
    };
    fail(&mut evaluate(&folder.path().join("absent"), &data), &["could not read", "absent"]);
    fail(&mut evaluate(&model, &folder.path().join("absent")), &["there is no such folder"]);
    fail(&mut evaluate(&model, &data), &["2 of 2 cases have no mask", "subject00", "subject01"]);
    fail(evaluate(&model, &data).args(["--mask", "maks.nii.gz"]), &["have no mask maks.nii.gz", "subject00"]);
    fail(evaluate(&model, &data).args(["--split", "nobody"]), &["nobody"]);
    let pictures = folder.path().join("pictures.safetensors");
    untrained_pictures(&pictures, 3);
    fail(
        evaluate(&pictures, &data).args(["--mask", "tissue.nii.gz"]),
        &["subject00", "has 1 channel, the model was trained on 3"],
    );
    // A mask of another size than its image.
    let mask = head(0).labels;
    let cut = Volume::new(mask.data().slice(ndarray::s![.., .., 1..]).to_owned(), *mask.geometry());
    write_volume(data.join("subject00/mask.nii.gz"), &cut).unwrap();
    write_volume(data.join("subject01/mask.nii.gz"), &mask).unwrap();
    let said = ["subject00", "[32, 32, 7]", "[32, 32, 8]"];
    fail(evaluate(&model, &data).args(["--mask", "mask.nii.gz", "--strict"]), &said);
    assert!(!out.join("report.json").exists());
    // The other case is measured, and the exit code says that one was not.
    fail(evaluate(&model, &data).args(["--mask", "mask.nii.gz"]), &said);
    let report: Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["data"]["cases"], &report["failed"][0]["id"]), (&1.into(), &"subject00".into()));
}

/// Without lesions there is no curve to draw, but false findings are measured.
#[test]
fn cases_without_a_lesion_are_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data, out) =
        (folder.path().join("model.safetensors"), folder.path().join("data"), folder.path().join("out"));
    untrained_heads(&model);
    write_heads(&data, 2);
    for subject in ["subject00", "subject01"] {
        let labels = head(0).labels;
        write_volume(data.join(subject).join("mask.nii.gz"), &labels.map(|_| 0_u8)).unwrap();
    }
    let mut command = program("evaluate");
    command.arg("--model").arg(&model).arg("--data").arg(&data).arg("--out").arg(&out);
    succeed(command.args(["--mask", "mask.nii.gz", "--split", "all", "--predictors", "pixel-l1"]));
    assert!(out.join("report.html").is_file() && !out.join("scores").exists());
}

#[test]
fn what_chooses_and_what_tests_must_be_different_patients() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (folder.path().join("model.safetensors"), folder.path().join("data"));
    untrained_heads(&model);
    write_heads(&data, 2);
    fs::write(data.join("splits.csv"), "patient,split\nsubject00,val\nsubject01,test\n").unwrap();
    let said = ["have patients in common: subject00"];
    let run = |name: &str, options: &[&str]| {
        let mut command = program(name);
        command.arg("--data").arg(&data).arg("--out").arg(folder.path().join("out"));
        command.args(["--mask", "tissue.nii.gz"]).args(options);
        command
    };
    let evaluate = |split| {
        let mut command = run("evaluate", &["--validation", "val", "--split", split]);
        command.arg("--model").arg(&model);
        command
    };
    fail(&mut evaluate("all"), &said);
    fail(&mut evaluate("val"), &said);
    fail(&mut run("train", &["--validation", "val", "--split", "all"]), &said);
    // Splits that differ in case alone are two.
    fs::write(data.join("splits.csv"), "patient,split\nsubject00,test\nsubject01,Test\n").unwrap();
    let mut evaluate = run("evaluate", &["--split", "Test", "--predictors", "pixel-l1"]);
    let warned = succeed(evaluate.arg("--model").arg(&model)).err;
    assert!(warned.contains(r#"splits ["Test", "test"] differ in upper and lower case alone"#), "{warned}");
    fs::write(data.join("splits.csv"), "patient,split\nsubject00,val\nsubject01,test\n").unwrap();
    let mut combine = run("combine", &["--lesions-of", "all"]);
    fail(combine.arg("--model").arg(&model), &said);
}

#[test]
fn recalibrate_leaves_out_what_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data, out) =
        (folder.path().join("model.safetensors"), folder.path().join("data"), folder.path().join("out"));
    untrained_heads(&model);
    write_heads(&data, 3);
    fs::write(data.join("subject01/image.nii.gz"), "no volume").unwrap();
    let recalibrate = || {
        let mut command = program("recalibrate");
        command.arg("--model").arg(&model).arg("--data").arg(&data).arg("--out").arg(&out);
        command
    };
    fail(recalibrate().arg("--strict"), &["subject01"]);
    assert!(!out.join("model.safetensors").exists());
    fail(&mut recalibrate(), &["case subject01 was left out"]);
    let report: Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["subjects"], &report["failed"][0]["id"]), (&2.into(), &"subject01".into()));
    assert!(out.join("model.safetensors").exists());
}

#[test]
fn inject_lesions_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    let inject = |data: &Path| {
        let mut command = program("inject_lesions");
        command.arg("--data").arg(data).arg("--out").arg(&out);
        command
    };
    fail(&mut inject(&data), &["there is no such folder"]);
    write_heads(&data, 6);
    fail(inject(&data).args(["--tissue", "absent.nii.gz"]), &["subject00", "no mask"]);
    let every = ran(inject(&data).args(["--every", "1"]));
    assert!(every.code == Some(2) && every.err.contains("whole number from 2"), "{every:?}");
    let few = folder.path().join("few");
    write_heads(&few, 3);
    fail(inject(&few).args(["--every", "4"]), &["no case would get a lesion: there are 3, and one in 4"]);
    fail(inject(&data).args(["--radius", "5"]), &["--radius takes two numbers"]);
    fail(inject(&data).args(["--radius", "9,4"]), &["radius is [9.0, 4.0]", "the smaller number first"]);
    // It reads volumes of one channel.
    for channels in [&["--channels-last-axis"] as &[&str], &["--channels", "flair,t1"]] {
        let refused = ran(inject(&data).args(channels));
        assert!(refused.code == Some(2) && refused.err.contains("unexpected argument"), "{refused:?}");
    }
    fail(inject(&data).args(["--within", "77"]), &["case subject04", "no voxel has a label"]);
    fail(inject(&data).args(["--radius", "90,95"]), &["case subject04", "found room for 0"]);
    let told = succeed(inject(&data).args(["--radius", "8,9", "--lesions", "1"]));
    let shares = "5 cases for training, 0 for validation, 1 for testing";
    assert!(told.out.contains(shares) && told.err.contains("no case is left for validation"), "{told:?}");
    let told = succeed(inject(&data).args(["--radius", "8,9", "--validation-every", "2", "--overwrite"]));
    let shares = "6 lesions in 2 of them; 3 cases for training, 2 for validation, 1 for testing";
    assert!(told.out.contains(shares) && told.err.is_empty(), "{told:?}");
}

/// The programs to copy from fail as all others do, and name the files.
#[test]
fn short_programs_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_picture(&path("gray.png"), 1);
    let from_pytorch = |weights: &str, picture: &str| {
        let mut command = program("from_pytorch");
        command.arg(path(weights)).arg(path(picture));
        command
    };
    fail(&mut from_pytorch("absent.pth", "gray.png"), &["absent.pth", "cannot be read", "because: "]);
    fail(&mut from_pytorch("absent.pth", "absent.png"), &["absent.png", "there is no such file"]);
    let tensor = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
    fs::write(path("other.safetensors"), safetensors::serialize([("a", tensor)], None).unwrap()).unwrap();
    let told = ran(&mut from_pytorch("other.safetensors", "gray.png"));
    assert!(told.code == Some(1) && told.err.contains("other.safetensors\" cannot be used"), "{told:?}");
    // Mean and log-variance are rows of one parameter, which is listed once.
    assert_eq!(told.err.matches("encoder.mu_logvar_gen.weight").count(), 1, "{told:?}");
    let good = head(0).image;
    write_volume(path("one.nii.gz"), &good).unwrap();
    write_volume(path("two.nii.gz"), &Volume::new(Array3::<f32>::zeros((4, 5, 6)), *good.geometry()))
        .unwrap();
    let mut joined = program("multichannel");
    joined.arg(path("one.nii.gz")).arg(path("two.nii.gz"));
    fail(&mut joined, &["one.nii.gz", "two.nii.gz", "channel 1 has another position"]);
    for name in ["own_model", "own_predictor"] {
        fail(program(name).arg("--config").arg(path("absent.toml")), &["absent.toml"]);
    }
}

#[test]
fn inspect_names_every_fault() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = ["NotFound", "Truncated", "Truncated", "", "GzipCorrupt", "", ""];
    for ((file, said), kind) in bad_volumes(folder.path()).into_iter().zip(kinds) {
        let text = ran(program("inspect").arg(&file));
        let json = ran(program("inspect").arg("--json").arg(&file));
        let object: Value = serde_json::from_str(&json.out).unwrap();
        if kind.is_empty() {
            // It can be read, and what will stand in the way is told.
            assert_eq!((text.code, json.code, &object["reads"]), (Some(0), Some(0), &Value::Bool(true)));
            assert!(!object["problems"].as_array().unwrap().is_empty(), "{json:?}");
            assert!(!text.out.contains("problem      none"), "{text:?}");
        } else {
            assert_eq!((text.code, json.code, &object["reads"]), (Some(1), Some(1), &Value::Bool(false)));
            assert_eq!(object["error"]["kind"], kind, "{}", file.display());
            assert!(object["error"]["message"].as_str().unwrap().contains(said), "{json:?}");
            assert!(text.err.contains(said), "{text:?}");
            assert_eq!(object.as_object().unwrap().len(), 2);
        }
    }
    let model = folder.path().join("model.safetensors");
    untrained_heads(&model);
    let mut bytes = fs::read(&model).unwrap();
    let found: Value = serde_json::from_str(&ran(program("inspect").arg("--json").arg(&model)).out).unwrap();
    assert_eq!((&found["reads"], &found["kind"]), (&Value::Bool(true), &"a localizer".into()));
    assert!(found["parameters"].as_u64().unwrap() > 1000 && found["document"]["model"]["vae"].is_object());
    for (length, kind) in [(4, "Format"), (bytes.len() - 3, "Format")] {
        fs::write(&model, &bytes[..length]).unwrap();
        let found: Value =
            serde_json::from_str(&ran(program("inspect").arg("--json").arg(&model)).out).unwrap();
        assert_eq!(found["error"]["kind"], kind);
    }
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&model, &bytes).unwrap();
    fail(program("inspect").arg(&model), &["damaged"]);
    // A folder stands for the model in it.
    fail(program("inspect").arg(folder.path()), &["model.safetensors", "damaged"]);
    fs::remove_file(&model).unwrap();
    fail(program("inspect").arg(folder.path()), &["a folder"]);
}
