//! A run is repeated from the file of arguments beside its results.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::Path;

use support::{fail, program, programs, ran, succeed, write_pictures};

/// Runs a program whose arguments are wrong.
fn refuse(command: &mut std::process::Command, expected: &[&str]) {
    let ran = ran(command);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    expected.iter().for_each(|part| assert!(ran.err.contains(part), "{part}: {}", ran.err));
}

/// Trains on pictures, in a folder of its own, and returns it.
fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_pictures(&folder.path().join("pictures"), 12, 24);
    let mut train = program("train");
    train.current_dir(folder.path()).args(["--data", "pictures", "--layout", "images", "--split", "all"]);
    train.args(["--size", "16", "--widths", "4,8", "--latent", "4", "--epochs", "1", "--seed", "3"]);
    train.args(["--out", "model", "--mirror"]);
    succeed(&mut train);
    folder
}

fn bytes(folder: &Path, file: &str) -> Vec<u8> {
    fs::read(folder.join(file)).unwrap()
}

#[test]
fn a_result_is_made_again_from_its_own_folder() {
    let folder = trained();
    let within = folder.path();
    let text = String::from_utf8(bytes(within, "model/run.toml")).unwrap();
    for part in [
        "program = \"train\"",
        "seed = \"3\"",
        "widths = [",
        "mirror = \"left-right\"",
        "pictures = \"contents crc32 ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut again = program("train");
    again.current_dir(within).args(["--config", "model/run.toml", "--out", "again"]);
    succeed(&mut again);
    assert_eq!(bytes(within, "model/model.safetensors"), bytes(within, "again/model.safetensors"));
    // The command line replaces arguments of the file.
    let mut other = program("train");
    other.current_dir(within).args(["--config=model/run.toml", "--out", "other", "--seed", "4"]);
    succeed(&mut other);
    assert_ne!(bytes(within, "model/model.safetensors"), bytes(within, "other/model.safetensors"));

    // The same of maps: every file but the report, which has the time.
    let mut localize = program("localize");
    localize.current_dir(within).args(["--model", "model", "--input", "pictures", "--out", "maps"]);
    succeed(localize.args(["--predictor", "pixel-l1,pixel-l2", "--rate", "0.01"]));
    let mut again = program("localize");
    succeed(again.current_dir(within).args(["--config", "maps/run.toml", "--out", "maps-again"]));
    assert_eq!(bytes(within, "maps/cases.csv"), bytes(within, "maps-again/cases.csv"));
    assert_eq!(bytes(within, "maps/lesions.csv"), bytes(within, "maps-again/lesions.csv"));

    // Of shards merged into their own folder, too.
    for shard in ["1/2", "2/2"] {
        let mut localize = program("localize");
        localize.current_dir(within).args(["--config", "maps/run.toml", "--out", "shards", "--shard", shard]);
        succeed(&mut localize);
    }
    succeed(program("merge").current_dir(within).arg("shards"));
    succeed(program("merge").current_dir(within).args(["--config", "shards/run.toml", "--out", "merged"]));
    assert_eq!(bytes(within, "maps/cases.csv"), bytes(within, "merged/cases.csv"));
    // Their tables as Parquet.
    succeed(program("tables_to_parquet").current_dir(within).arg("merged"));
    assert!(bytes(within, "merged/lesions.parquet").starts_with(b"PAR1"));

    // Inputs that have changed are told.
    fs::copy(within.join("other/model.safetensors"), within.join("model/model.safetensors")).unwrap();
    let mut changed = program("localize");
    let said =
        succeed(changed.current_dir(within).args(["--config", "maps/run.toml", "--out", "changed"])).err;
    assert!(said.contains("model is not what it was for maps/run.toml"), "{said}");
    // Also those of the same name and size.
    let picture = fs::read_dir(within.join("pictures")).unwrap().next().unwrap().unwrap().path();
    let mut damaged = fs::read(&picture).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&picture, damaged).unwrap();
    let mut changed = program("localize");
    let said =
        ran(changed.current_dir(within).args(["--config", "maps/run.toml", "--out", "other-data"])).err;
    assert!(said.contains("pictures is not what it was for maps/run.toml"), "{said}");
}

#[test]
fn a_file_by_hand_is_read_and_mistakes_are_named() {
    let folder = trained();
    let within = folder.path();
    let localize = |text: &str, more: &[&str]| {
        fs::write(within.join("own.toml"), text).unwrap();
        let mut command = program("localize");
        command.current_dir(within).args(["--config", "own.toml"]).args(more);
        command
    };
    let own = "[arguments]\nmodel = \"model\"\ninput = \"pictures\"\nrate = 0.01\nby-channel = false\n\
               predictor = [\"pixel-l1\", \"intensity\"]\nout = \"maps\"\n";
    succeed(&mut localize(own, &[]));
    let cases = String::from_utf8(bytes(within, "maps/cases.csv")).unwrap();
    assert!(cases.contains("pixel-l1") && cases.contains("intensity"));
    // A run that fails leaves the file of the earlier run as it is.
    let before = bytes(within, "maps/run.toml");
    fail(&mut localize(own, &["--rate", "0.5"]), &["exist"]);
    assert_eq!(bytes(within, "maps/run.toml"), before);

    // One that began to replace results leaves no file of the earlier run.
    let picture = fs::read_dir(within.join("pictures")).unwrap().next().unwrap().unwrap().path();
    let single = format!("[arguments]\nmodel = \"model\"\ninput = {picture:?}\nout = \"single\"\n");
    succeed(&mut localize(&single, &[]));
    assert!(within.join("single/run.toml").exists());
    let whole = fs::read(&picture).unwrap();
    fs::write(&picture, "no picture").unwrap();
    fail(&mut localize(&single, &["--overwrite", "--rate", "0.5"]), &[]);
    assert!(!within.join("single/run.toml").exists());
    fs::write(&picture, whole).unwrap();

    fail(&mut localize("[arguments]\nmodle = \"model\"\n", &[]), &["own.toml", "modle"]);
    fail(&mut localize("[arguments]\nmodel = { a = 1 }\n", &[]), &["value of an argument"]);
    fail(&mut localize("rate = ", &[]), &["own.toml"]);
    fail(&mut localize("[run]\nprogram = \"train\"\n", &[]), &["own.toml", "arguments of train"]);
    refuse(&mut localize("[arguments]\nrate = 7\n", &["--model", "m", "--input", "i"]), &["rate", "7"]);
    let mut missing = program("localize");
    fail(missing.args(["--config", "nowhere.toml"]), &["nowhere.toml"]);
    // An option of the command line also replaces those of the file that it excludes.
    succeed(&mut localize(own, &["--family-wise", "0.5", "--out", "excluded"]));
    // Results of some cases are results: their arguments are saved.
    fs::write(within.join("pictures/zz.png"), "no picture").unwrap();
    fail(&mut localize(own, &["--out", "partial"]), &["1 of 13 images could not be mapped"]);
    assert!(within.join("partial/run.toml").is_file());
    // What was a default when the file was written stays what it was.
    fs::remove_file(within.join("pictures/zz.png")).unwrap();
    let older = format!("{own}[defaults]\nlevel = \"0.2\"\n");
    succeed(&mut localize(&older, &["--out", "older"]));
    let text = String::from_utf8(bytes(within, "older/run.toml")).unwrap();
    assert!(text.contains("level = \"0.2\""), "{text}");
}

#[test]
fn programs_complete_their_arguments_in_a_shell() {
    for name in programs().iter().filter(|name| !name.starts_with("own_")) {
        if ["from_pytorch", "multichannel", "gallery", "phantom_montage"].contains(&name.as_str()) {
            continue;
        }
        let said = succeed(program(name).env("LESIO_COMPLETIONS", "bash")).out;
        assert!(said.contains("complete") && said.contains("--help"), "{name}: {said}");
        let version = succeed(program(name).arg("--version")).out;
        assert_eq!(version, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
    refuse(program("train").env("LESIO_COMPLETIONS", "cmd"), &["LESIO_COMPLETIONS", "cmd"]);
}
