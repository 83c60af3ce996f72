//! Many images, as a user maps them: runs that are killed and go on, shares and their report, unreadable files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{fail, program, ran, succeed, untrained_pictures, write_pictures};

fn localize(model: &Path, data: &Path, out: &Path) -> Command {
    let mut command = program("localize");
    command.arg("--model").arg(model).arg("--input").arg(data).arg("--out").arg(out);
    command.args(["--predictor", "pixel-l1", "--maps", "filtered"]);
    command
}

/// A report without its command, its times, and the folder in which it lies.
fn report(out: &Path) -> Value {
    let text = fs::read_to_string(out.join("report.json")).unwrap();
    let folder = serde_json::to_string(out).unwrap();
    let mut report: Value = serde_json::from_str(&text.replace(folder.trim_matches('"'), "OUT")).unwrap();
    for field in ["command", "seconds"] {
        assert!(report.as_object_mut().unwrap().remove(field).is_some(), "{field}");
    }
    report["model"].as_object_mut().unwrap().remove("file");
    report
}

fn tables(out: &Path) -> [String; 2] {
    ["cases.csv", "lesions.csv"].map(|name| fs::read_to_string(out.join(name)).unwrap())
}

#[test]
fn killed_runs_and_shares_end_as_one_run_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (data, model) = (folder.join("data"), folder.join("model.safetensors"));
    write_pictures(&data, 40, 24);
    fs::write(data.join("0099.png"), "no picture").unwrap();
    untrained_pictures(&model, 1);
    let whole = folder.join("whole");
    let started = Instant::now();
    fail(&mut localize(&model, &data, &whole), &["1 of 41 images could not be mapped", "0099.png"]);
    let lasts = started.elapsed();
    let expected = (report(&whole), tables(&whole));
    assert_eq!(expected.1[0].lines().count(), 42);
    assert!(expected.1[0].lines().last().unwrap().starts_with("0099.png,,,"), "{}", expected.1[0]);

    // Killed after a third and after two thirds of its time, and started again.
    let out = folder.join("killed");
    for share in [1, 2] {
        let mut child = localize(&model, &data, &out)
            .arg("--resume")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(lasts.max(Duration::from_millis(30)) * share / 3);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    fail(localize(&model, &data, &out).arg("--resume"), &["1 of 41 images could not be mapped"]);
    assert_eq!((report(&out), tables(&out)), expected);
    fail(&mut localize(&model, &data, &out), &["report.json exists"]);

    // Several at once, and killed, too.
    let out = folder.join("workers");
    let several = || {
        let mut command = localize(&model, &data, &out);
        command.args(["--resume", "--workers", "3"]);
        command
    };
    let mut child = several().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(lasts.max(Duration::from_millis(30)) / 3);
    child.kill().unwrap();
    child.wait().unwrap();
    fail(&mut several(), &["1 of 41 images could not be mapped"]);
    assert_eq!((report(&out), tables(&out)), expected);

    // Three machines, of which one is late.
    let out = folder.join("shares");
    let merge = || {
        let mut command = program("merge");
        command.arg(&out);
        command
    };
    for share in ["3/3", "1/3"] {
        let _ = localize(&model, &data, &out).args(["--shard", share]).output().unwrap();
    }
    fail(&mut merge(), &["missing: 2/3"]);
    let other = localize(&model, &data, &out).args(["--shard", "2/3", "--level", "0.1"]).output().unwrap();
    assert!(out.join("report-2-of-3.json").is_file(), "{other:?}");
    fail(&mut merge(), &["different options"]);
    let _ = localize(&model, &data, &out).args(["--shard", "2/3", "--resume"]).output().unwrap();
    fail(&mut merge(), &["1 of 41 images could not be mapped"]);
    assert_eq!((report(&out), tables(&out)), expected);
    fail(&mut merge(), &["report.json"]);
    let no_share = ran(localize(&model, &data, &out).args(["--shard", "4/3"]));
    assert_eq!(no_share.code, Some(2), "{}", no_share.err);
    assert!(no_share.err.contains("K from 1 to N"), "{}", no_share.err);
    fail(program("merge").arg(&data), &["holds no report-K-of-N.json"]);
    // A table of cases, with a column of its own, from another folder.
    let table = folder.join("studies.csv");
    let rows: String = (0..3).map(|tile| format!("data/{tile:04}.tif,case{tile},site {tile}\n")).collect();
    fs::write(&table, format!("image,case,site\n{rows}gone.png,gone,north\n")).unwrap();
    let listed = folder.join("listed");
    fail(&mut localize(&model, &table, &listed), &["1 of 4 images could not be mapped", "gone.png"]);
    let cases = fs::read_to_string(listed.join("cases.csv")).unwrap();
    let column = |line: &str| line.rsplit(',').next().unwrap().to_owned();
    let sites: Vec<String> = cases.lines().map(column).collect();
    assert_eq!(sites, ["site", "site 0", "site 1", "site 2", "north"]);
    // The site of a finished case is what the table says now.
    fs::write(&table, fs::read_to_string(&table).unwrap().replace("site 1", "south")).unwrap();
    fail(localize(&model, &table, &listed).arg("--resume"), &["1 of 4 images could not be mapped"]);
    assert!(
        fs::read_to_string(listed.join("cases.csv")).unwrap().lines().nth(2).unwrap().ends_with(",south")
    );
    // A share without a case.
    let few = folder.join("few");
    write_pictures(&few, 1, 24);
    let empty = folder.join("empty");
    succeed(localize(&model, &few, &empty).args(["--shard", "2/2"]));
    succeed(localize(&model, &few, &empty).args(["--shard", "1/2"]));
    succeed(program("merge").arg(&empty));
    assert_eq!(tables(&empty)[0].lines().count(), 2);
}

#[test]
fn pictures_and_tables_alone_are_written_where_maps_are_not_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("model.safetensors"));
    write_pictures(&data, 3, 24);
    untrained_pictures(&model, 1);
    for (maps, expected) in [("none", 1), ("filtered", 2), ("all", 3)] {
        let out = folder.path().join(maps);
        let said = succeed(localize(&model, &data, &out).args(["--maps", maps])).out;
        assert!(said.contains("verdicts at a level of 0.05"), "{said}");
        let case = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
        let files = fs::read_dir(case.unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
        let files = files.filter(|name| name != "case.json").count();
        assert_eq!(files, expected, "{maps}");
    }
}
