//! Many images, as a user maps them: runs that are killed and go on, shares and their report, unreadable files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
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

/// The page of all cases, and those of the cases.
fn pages(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut pages = vec![("report.html".to_owned(), fs::read(out.join("report.html")).unwrap())];
    for entry in case_folders(out) {
        for name in ["case.html", "pixel-l1_thumbnail.png"] {
            let path = entry.join(name);
            pages.push((path.strip_prefix(out).unwrap().display().to_string(), fs::read(path).unwrap()));
        }
    }
    pages.sort();
    pages
}

fn case_folders(out: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
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
    let expected = (report(&whole), tables(&whole), pages(&whole));
    assert_eq!(expected.2.len(), 81);
    assert_eq!(expected.1[0].lines().count(), 42);
    assert!(expected.1[0].lines().last().unwrap().starts_with("0099.png,0099.png,,"), "{}", expected.1[0]);

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
    assert!((report(&out), tables(&out), pages(&out)) == expected, "as one run that was not stopped");
    fail(&mut localize(&model, &data, &out), &["report.json exists"]);
    // A map that lost its content, or a part of it, is written again.
    let map = case_folders(&out)[0].join("pixel-l1.tiff");
    let bytes = fs::read(&map).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    for content in [&[][..], &bytes[..bytes.len() / 2], &changed] {
        fs::write(&map, content).unwrap();
        fail(localize(&model, &data, &out).arg("--resume"), &["1 of 41 images could not be mapped"]);
        assert!(fs::read(&map).unwrap() == bytes);
    }

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
    assert!((report(&out), tables(&out), pages(&out)) == expected, "as one run that was not stopped");

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
    assert!((report(&out), tables(&out), pages(&out)) == expected, "as one run that was not stopped");
    fail(&mut merge(), &["report.json"]);
    let merged: Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(merged["model"]["file"], Value::from(model.to_str().unwrap()));
    let halves = folder.join("halves");
    let _ = localize(&model, &data, &halves).args(["--shard", "1/2"]).output().unwrap();
    fail(
        program("merge").arg(out.join("report-1-of-3.json")).arg(halves.join("report-1-of-2.json")),
        &["shards 1/3 and 1/2 have different numbers of shards"],
    );
    let no_share = ran(localize(&model, &data, &out).args(["--shard", "4/3"]));
    assert_eq!(no_share.code, Some(2), "{}", no_share.err);
    assert!(no_share.err.contains("K from 1 to N"), "{}", no_share.err);
    fail(program("merge").arg(&data), &["contains no report-K-of-N.json"]);
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

/// Pictures with masks in the layout of MVTec AD: of two kinds of defect and good ones, one of them constant and one no picture;
/// the last four are for validation.
fn write_defects(data: &Path) {
    use lesio::image::Image;
    use lesio::io::{atomic::Existing, write_png};
    use ndarray::Array3;

    write_pictures(&data.join("drawn"), 24, 40);
    for number in 0..24 {
        let kind = ["good", "hole", "stain"][number % 3];
        let (test, truth) = (data.join("test").join(kind), data.join("ground_truth").join(kind));
        fs::create_dir_all(&test).unwrap();
        fs::create_dir_all(&truth).unwrap();
        fs::rename(data.join(format!("drawn/{number:04}.tif")), test.join(format!("{number:04}.tif")))
            .unwrap();
        let inside = |y: usize, x: usize| (8..14 + number / 4).contains(&y) && (10..18).contains(&x);
        let mask = Array3::from_shape_fn((1, 40, 40), |(_, y, x)| u8::from(inside(y, x)) * 255);
        if kind != "good" {
            let path = truth.join(format!("{number:04}_mask.png"));
            write_png(path, &Image::new(mask), Existing::Refuse).unwrap();
        }
    }
    let constant = Image::new(Array3::from_elem((1, 40, 40), 7_u8));
    write_png(data.join("test/good/constant.png"), &constant, Existing::Refuse).unwrap();
    fs::write(data.join("test/good/broken.png"), "no picture").unwrap();
    fs::remove_dir(data.join("drawn")).unwrap();
    fs::create_dir_all(data.join("train/good")).unwrap();
}

#[test]
fn evaluations_go_on_and_are_shared_between_machines() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (data, model) = (folder.join("data"), folder.join("model.safetensors"));
    write_defects(&data);
    untrained_pictures(&model, 1);
    let evaluate = |out: &Path| {
        let mut command = program("evaluate");
        command.arg("--model").arg(&model).arg("--data").arg(&data).arg("--out").arg(out);
        command.args(["--layout", "mvtec", "--predictors", "pixel-l1,grad-kl", "--replicates", "50"]);
        command
    };
    let found = |out: &Path| {
        let text = fs::read_to_string(out.join("report.json")).unwrap();
        let mut report: Value = serde_json::from_str(&text).unwrap();
        for field in ["command", "seconds"] {
            assert!(report.as_object_mut().unwrap().remove(field).is_some(), "{field}");
        }
        // Times differ.
        for scope in report["scopes"].as_array_mut().unwrap() {
            for row in scope["predictors"].as_array_mut().unwrap() {
                assert!(row.as_object_mut().unwrap().remove("seconds_per_image").is_some());
            }
        }
        let page = fs::read_to_string(out.join("report.html")).unwrap();
        // The pictures of the page, without its tables, in which times stand.
        let pictures: Vec<String> = page
            .split("data:image/png")
            .skip(1)
            .map(|part| part[..part.len().min(4000)].to_owned())
            .collect();
        (report, fs::read_to_string(out.join("cases.csv")).unwrap(), pictures)
    };
    let whole = folder.join("whole");
    let started = Instant::now();
    fail(&mut evaluate(&whole), &["2 cases were left out", "the content is none of PNG"]);
    let lasts = started.elapsed();
    let expected = found(&whole);
    assert!(
        expected.0["incomplete"].to_string().contains("test/good/constant"),
        "{}",
        expected.0["incomplete"]
    );
    assert_eq!((expected.0["lesion_groups"].as_array().unwrap().len(), expected.2.is_empty()), (2, false));
    assert!(
        whole.join("scores").exists(),
        "two cases can be mended, and the others need not be measured again"
    );

    let out = folder.join("killed");
    for (share, workers) in [(1, "1"), (2, "3")] {
        let mut command = evaluate(&out);
        command.args(["--resume", "--workers", workers]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(lasts * share / 3);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let records = || fs::read_dir(out.join("scores/test/hole")).map_or(0, |files| files.count());
    let kept = records();
    fail(evaluate(&out).args(["--resume", "--workers", "2"]), &["2 cases were left out"]);
    assert!(found(&out) == expected, "what was kept: {kept} records");

    let out = folder.join("shares");
    let share = |share: &str, out: &Path| {
        let mut command = evaluate(out);
        command.args(["--shard", share]);
        let ran = ran(&mut command);
        let report = fs::read(out.join(format!("report-{}.json", share.replace('/', "-of-"))));
        let report: Value = serde_json::from_slice(&report.expect(&ran.err)).unwrap();
        // Of two cases, one cannot be read and one cannot be scored. Their shards end as the whole does.
        let places = report["shard"]["places"].as_object().unwrap();
        let bad = ["test/good/broken", "test/good/constant"].map(|case| places.contains_key(case));
        assert_eq!(ran.code, Some(i32::from(bad.contains(&true))), "{share} {bad:?}: {}", ran.err);
        assert_ne!(bad, [true, true], "one shard has both");
    };
    let merge = || {
        let mut command = program("merge");
        command.arg(&out);
        command
    };
    share("1/3", &out);
    share("3/3", &out);
    fail(&mut merge(), &["missing: 2/3"]);
    let mut other = evaluate(&out);
    let _ = other.args(["--shard", "2/3", "--seed", "9"]).output().unwrap();
    fail(&mut merge(), &["different options"]);
    share("2/3", &out);
    fail(&mut merge(), &["2 cases were left out"]);
    assert!(found(&out) == expected, "joined");
    fail(merge().arg("--out").arg(&out), &["report.json"]);
    // A run with other options that was killed has replaced records, and the report of the shard is the old one.
    let report_of_shard = out.join("report-2-of-3.json");
    let earlier = fs::read(&report_of_shard).unwrap();
    let _ = evaluate(&out).args(["--shard", "2/3", "--seed", "9"]).output().unwrap();
    fs::write(&report_of_shard, earlier).unwrap();
    fail(merge().arg("--overwrite"), &[".scores: another run with other models, options or images"]);
    share("2/3", &out);
    // A damaged record is an error, and is replaced when the run is resumed.
    let record = out.join("scores/test/hole/0001.scores");
    let mut bytes = fs::read(&record).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&record, &bytes).unwrap();
    fail(merge().arg("--overwrite"), &["0001.scores: the file is damaged"]);
    fail(evaluate(&out).arg("--resume"), &["2 cases were left out"]);
    assert!(found(&out) == expected, "made anew");
}

#[test]
fn pictures_and_tables_alone_are_written_where_maps_are_not_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("model.safetensors"));
    write_pictures(&data, 3, 24);
    untrained_pictures(&model, 1);
    for (maps, expected) in [("none", 1), ("filtered", 2), ("all", 3)] {
        let out = folder.path().join(maps);
        let said = succeed(localize(&model, &data, &out).args(["--maps", maps, "--report", "none"])).out;
        assert!(said.contains("verdicts at a level of 0.05"), "{said}");
        let case = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
        let files = fs::read_dir(case.unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
        let files = files.filter(|name| name != "case.json").count();
        assert_eq!(files, expected, "{maps}");
        assert!(!out.join("report.html").exists());
    }
    // Pages of each case, the small pictures of the table alone, and neither.
    for (pages, expected) in
        [("full", [true, true, true]), ("table", [true, true, false]), ("none", [false; 3])]
    {
        let out = folder.path().join(format!("pages-{pages}"));
        succeed(localize(&model, &data, &out).args(["--report", pages]));
        let files = ["report.html", "0001/pixel-l1_thumbnail.png", "0001/case.html"];
        assert_eq!(files.map(|file| out.join(file).is_file()), expected, "{pages}");
    }
    // A page that is there is not replaced, and this is said before any work.
    let out = folder.path().join("taken");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("report.html"), "mine").unwrap();
    fail(&mut localize(&model, &data, &out), &["report.html exists"]);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}
