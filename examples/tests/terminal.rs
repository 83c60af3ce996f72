//! What programs print costs no results, and their arguments are checked before they begin.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use support::{
    fail, program, ran, succeed, untrained_heads, untrained_pictures, write_heads, write_pictures,
};

fn train(data: &Path, out: &Path) -> Command {
    train_kind("denoiser", data, out)
}

fn train_kind(kind: &str, data: &Path, out: &Path) -> Command {
    let mut command = program("train");
    command.arg("--data").arg(data).arg("--out").arg(out).args(["--layout", "mvtec", "--model", kind]);
    command.args(["--size", "16", "--widths", "4,4", "--epochs", "2", "--batch", "8"]);
    command
}

/// As `| head -1`: the reader goes away after a line.
#[test]
fn a_reader_that_goes_away_costs_no_results() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("model"));
    write_pictures(&data.join("train/good"), 12, 16);
    let behind_head = |command: &mut Command| {
        let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(running.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let output = running.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{err}");
        assert!(!err.contains("panicked") && !err.to_lowercase().contains("broken pipe"), "{err}");
        first
    };
    assert!(behind_head(&mut train(&data, &model)).contains("to validate"));
    assert!(model.join("model.safetensors").is_file() && model.join("report.json").is_file());
    let maps = folder.path().join("maps");
    let mut localize = program("localize");
    localize.arg("--model").arg(&model).arg("--input").arg(data.join("train/good")).arg("--out").arg(&maps);
    behind_head(&mut localize);
    assert!(maps.join("report.json").is_file() && maps.join("0011/pixel-l1.tiff").is_file());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_told_and_costs_no_results() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("model"));
    write_pictures(&data.join("train/good"), 12, 16);
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = train(&data, &model).stdout(full()).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert_eq!(err.matches("warning: standard output: ").count(), 1, "{err}");
    assert!(model.join("model.safetensors").is_file() && model.join("report.json").is_file());
    // Nobody can be told that standard error is full.
    let output = train(&data, &folder.path().join("other")).stdout(full()).stderr(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(folder.path().join("other/report.json").is_file());
}

#[test]
fn an_earlier_training_is_not_lost_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("model"));
    write_pictures(&data.join("train/good"), 12, 16);
    // Where there is nothing to go on from, --resume fails, and --resume-or-fresh starts and says so.
    fail(train(&data, &model).arg("--resume"), &["checkpoint"]);
    let first = succeed(train(&data, &model).arg("--resume-or-fresh"));
    assert!(first.err.contains("no checkpoint"), "{}", first.err);
    let file = model.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    fail(&mut train(&data, &model), &["checkpoint.safetensors", "--resume", "--overwrite"]);
    succeed(train(&data, &model).arg("--resume"));
    let again = succeed(train(&data, &model).arg("--resume-or-fresh"));
    assert!(!again.err.contains("no checkpoint"), "{}", again.err);
    assert_eq!(fs::read(&file).unwrap(), bytes);
    succeed(train(&data, &model).args(["--overwrite", "--seed", "9"]));
    assert_ne!(fs::read(&file).unwrap(), bytes);
    // Members are trained elsewhere, but their ensemble would replace the model.
    let ensemble = ["--model", "segmenter", "--ensemble", "--resume-or-fresh"];
    fail(train(&data, &model).args(ensemble), &["model.safetensors", "--overwrite"]);
    assert!(!model.join("member-1").exists());
    // The model alone counts as well.
    for name in ["checkpoint.safetensors", "checkpoint.safetensors.previous"] {
        fs::remove_file(model.join(name)).unwrap();
    }
    fail(&mut train(&data, &model), &["model.safetensors", "--overwrite"]);
    fail(train(&data, &model).arg("--resume-or-fresh"), &["model.safetensors", "--overwrite"]);
}

/// An argument that no model uses is told, and one that a model uses is not.
#[test]
fn arguments_without_an_effect_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_pictures(&data.join("train/good"), 12, 16);
    let arguments = ["--noise", "0.1", "--latent", "8", "--precision", "bfloat16"];
    let told = succeed(train(&data, &folder.path().join("denoiser")).args(arguments)).err;
    for name in ["--latent", "--precision"] {
        assert!(
            told.contains(&format!("warning: {name} has no effect here: it is for --model vae")),
            "{told}"
        );
    }
    assert!(!told.contains("--noise"), "{told}");
    let vae = |name: &str, more: &[&str]| {
        let mut command = train_kind("vae", &data, &folder.path().join(name));
        succeed(command.args(["--scale", "0.2"]).args(arguments).args(more)).err
    };
    let told = vae("vae", &["--corruption", "noise"]);
    assert!(!told.contains("no effect"), "{told}");
    let told = vae("bernoulli", &["--likelihood", "bernoulli"]);
    assert!(told.contains("warning: --scale has no effect here: this --likelihood has no scale"), "{told}");
    assert!(told.contains("warning: --noise has no effect here"), "{told}");
    assert!(!told.contains("--latent"), "{told}");
    // Programs that use a model, and the treatment of masks that nobody asked for.
    let localize = |model: &str, out: &str| {
        let mut command = program("localize");
        command.arg("--model").arg(folder.path().join(model)).arg("--input").arg(data.join("train/good"));
        command.arg("--out").arg(folder.path().join(out)).args(["--precision", "bfloat16"]);
        succeed(&mut command).err
    };
    let told = localize("denoiser", "maps");
    assert!(told.contains("warning: --precision has no effect on"), "{told}");
    assert!(!localize("vae", "maps-vae").contains("no effect"));
    let heads = folder.path().join("heads");
    write_heads(&heads, 3);
    let mut command = program("train");
    command
        .arg("--data")
        .arg(&heads)
        .args(["--split", "all", "--size", "32", "--widths", "4,8", "--latent", "4"]);
    command
        .args(["--epochs", "1", "--missing-mask", "skip", "--match", "position"])
        .arg("--out")
        .arg(folder.path().join("of-heads"));
    let told = succeed(&mut command).err;
    assert!(told.contains("warning: --missing-mask has no effect here: no --mask is given"), "{told}");
    assert!(told.contains("warning: --match has no effect here: no --mask and no second channel"), "{told}");
}

/// Settings that no program can use are refused by name, at once: the data they are given do not exist.
#[test]
fn arguments_are_checked_before_work_begins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let refused = |name: &str, arguments: &[&str], expected: &str| {
        let mut command = program(name);
        command.args(arguments).current_dir(folder.path());
        let ran = ran(&mut command);
        assert!(matches!(ran.code, Some(1 | 2)), "{name} {arguments:?}: {:?} {}", ran.code, ran.out);
        // A setting that the library refuses has its name there.
        assert!(ran.err.contains(expected.trim_start_matches('-')), "{name} {arguments:?}: {}", ran.err);
        assert!(!ran.err.contains("no such"), "{name} {arguments:?} looked for its data first: {}", ran.err);
    };
    for (option, values) in [
        ("--size", &["0", "-1", "1e9", "99999999"][..]),
        ("--batch", &["0", "99999999999999999999"]),
        ("--epochs", &["0"]),
        ("--patience", &["0"]),
        ("--position-bands", &["99999999", "-1"]),
        ("--latent", &["0", "99999999"]),
        ("--widths", &["0", "x"]),
        ("--rate", &["nan", "0", "-1", "inf"]),
        ("--beta", &["nan", "-1"]),
        ("--scale", &["nan", "0", "inf"]),
        ("--noise", &["nan", "-1"]),
        ("--brightness", &["nan", "7"]),
        ("--erosion", &["nan", "-1", "1e9"]),
        ("--median", &["3,5", "2,2,2", "nan,1,1", "3,5,5,5"]),
    ] {
        for value in values {
            refused("train", &["--data", "nowhere", "--out", "out", &format!("{option}={value}")], option);
        }
    }
    // The name that an option had before is understood.
    refused("train", &["--data", "nowhere", "--out", "out", "--locate=99999999"], "--position-bands");
    for (size, widths, expected) in
        [("128", "65536,65536", "68720656384 parameters"), ("100", "8,16,32", "100")]
    {
        let arguments = ["--data", "nowhere", "--out", "out", "--size", size, "--widths", widths];
        refused("train", &arguments, expected);
    }
    refused("train", &["--data", "nowhere", "--out", "file"], "file: is a file");
    let evaluate = ["--model", "model.safetensors", "--data", "nowhere"];
    untrained_heads(&folder.path().join("model.safetensors"));
    for (option, values) in [
        ("--replicates", &["0", "99999999999", "18446744073709551615"][..]),
        ("--erosion", &["nan", "-1"]),
        ("--median", &["3,5", "2,2,2"]),
    ] {
        for value in values {
            refused(
                "evaluate",
                &[&evaluate[..], &["--out", "out", &format!("{option}={value}")]].concat(),
                option,
            );
        }
    }
    refused("evaluate", &[&evaluate[..], &["--out", "file"]].concat(), "file: is a file");
    refused("evaluate", &[&evaluate[..], &["--out", "file/below"]].concat(), "file/below");
    let localize = ["--model", "model.safetensors", "--input", "nowhere", "--out", "out"];
    refused(
        "localize",
        &[&localize[..], &["--predictor", "pixel-l1,pixel-l1"]].concat(),
        "names pixel-l1 twice",
    );
    refused("localize", &[&localize[..], &["--family-wise", "0.01"]].concat(), "needs 99 normal subjects");
    refused("localize", &[&localize[..], &["--rate", "nan"]].concat(), "--rate");
    for option in ["--epsilon", "--budget-minutes", "--certify"] {
        let name = "study_quality";
        for value in ["nan", "-1", "0", "inf"] {
            refused(name, &["--data", "nowhere", &format!("{option}={value}")], option);
        }
    }
}

#[cfg(unix)]
#[test]
fn arguments_that_are_no_text_are_refused_at_once() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_pictures(&data.join("train/good"), 3, 16);
    let out = folder.path().join(OsStr::from_bytes(b"m\xff"));
    fail(&mut train(&data, &out), &[r"m\xff", "is not valid UTF-8"]);
    assert!(!out.exists());
}

/// A report keeps its name, whatever images are called.
#[test]
fn an_image_that_is_called_like_the_report_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (model, input, out) =
        (folder.path().join("model.safetensors"), folder.path().join("in"), folder.path().join("out"));
    untrained_pictures(&model, 1);
    write_pictures(&input, 2, 40);
    fs::rename(input.join("0001.tif"), input.join("report.json.tif")).unwrap();
    let mut localize = program("localize");
    localize.arg("--model").arg(&model).arg("--input").arg(&input).arg("--out").arg(&out);
    succeed(&mut localize);
    assert!(out.join("report.json").is_file());
    assert!(out.join("report.json.tif/pixel-l1.tiff").is_file() && out.join("0000/pixel-l1.tiff").is_file());
}

/// What a process that was killed had not finished goes away; what another one is writing stays.
#[cfg(target_os = "linux")]
#[test]
fn what_killed_programs_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (model, input, out) =
        (folder.path().join("model.safetensors"), folder.path().join("in.tif"), folder.path().join("out"));
    untrained_pictures(&model, 1);
    write_pictures(folder.path(), 1, 40);
    fs::rename(folder.path().join("0000.tif"), &input).unwrap();
    fs::create_dir(&out).unwrap();
    let left = out.join(".lesio-0123456789abcdef-99999999-0.tmp");
    let written = out.join(".lesio-0123456789abcdef-99999999-1.tmp");
    fs::write(&left, "half").unwrap();
    let held = fs::File::create(&written).unwrap();
    held.lock().unwrap();
    let mut localize = program("localize");
    localize.arg("--model").arg(&model).arg("--input").arg(&input).arg("--out").arg(&out);
    succeed(&mut localize);
    assert!(!left.exists() && written.exists());
}

/// Names of files may hold what moves a cursor or rings a bell.
#[cfg(unix)]
#[test]
fn names_do_not_control_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let (model, input) = (folder.path().join("model.safetensors"), folder.path().join("in"));
    untrained_pictures(&model, 1);
    write_pictures(&input, 2, 40);
    fs::rename(input.join("0001.tif"), input.join("a\u{1b}[2Jb\u{7}.tif")).unwrap();
    fs::write(input.join("c\u{1b}]0;x.tif"), "no picture").unwrap();
    let mut localize = program("localize");
    localize
        .arg("--model")
        .arg(&model)
        .arg("--input")
        .arg(&input)
        .arg("--out")
        .arg(folder.path().join("out"));
    let ran = ran(&mut localize);
    for text in [&ran.out, &ran.err] {
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    }
    assert!(ran.err.contains("a\\u{1b}[2Jb\\u{7}"), "{}", ran.err);
}

/// What a library finds odd, the user sees.
#[test]
fn heads_whose_header_is_odd_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (model, input) = (folder.path().join("model.safetensors"), folder.path().join("in"));
    untrained_heads(&model);
    write_heads(&input, 1);
    let volume = input.join("subject00/image.nii.gz");
    // A slope that is NaN means that voxels are not scaled, and is odd.
    let plain = folder.path().join("odd.nii");
    lesio::io::write_volume(&plain, &lesio::io::read_volume(&volume).unwrap()).unwrap();
    let mut bytes = fs::read(&plain).unwrap();
    bytes[112..116].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&plain, bytes).unwrap();
    let mut localize = program("localize");
    localize
        .arg("--model")
        .arg(&model)
        .arg("--input")
        .arg(&plain)
        .arg("--out")
        .arg(folder.path().join("out"));
    let ran = succeed(&mut localize);
    assert!(ran.err.contains("warning: ") && ran.err.contains("odd.nii"), "{}", ran.err);
}
