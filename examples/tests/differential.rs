//! The programs give the same bytes however far they are optimized, so that a fault of the compiler in lesio's own
//! code shows.
//!
//! Compares the programs of two folders, which `LESIO_COMPARE=FOLDER:FOLDER` names relative to the workspace; `.ci/run`
//! builds them with lesio's own crates at opt-level 1 and at 3. Skipped where it is not set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{manifest_folder, succeed, write_heads, write_hearts, write_pictures};

#[test]
fn results_do_not_depend_on_how_far_programs_are_optimized() {
    let Some(folders) = std::env::var_os("LESIO_COMPARE") else {
        println!("skipped: LESIO_COMPARE names no two folders of programs");
        return;
    };
    let root = manifest_folder().parent().unwrap().to_owned();
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).map(|folder| root.join(folder)).collect();
    assert_eq!(folders.len(), 2, "LESIO_COMPARE takes two folders, found {folders:?}");
    let results: Vec<BTreeMap<PathBuf, Vec<u8>>> = folders.iter().map(|programs| results(programs)).collect();
    let names: Vec<&PathBuf> = results[0].keys().collect();
    assert_eq!(names, results[1].keys().collect::<Vec<_>>());
    let mut differ = Vec::new();
    for (name, content) in &results[0] {
        if *content != results[1][name] {
            differ.push(name);
        }
    }
    assert!(differ.is_empty(), "these files differ between {folders:?}: {differ:?}");
    // Models, maps, pictures, reports of every program.
    assert!(names.len() > 60, "only {names:?} were compared");
    println!("{} files are the same", names.len());
}

/// Runs the programs of a folder one after the other; gives what they wrote, but for times.
fn results(programs: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_heads(&folder.join("heads"), 20);
    write_hearts(&folder.join("hearts"));
    write_pictures(&folder.join("tiles/train/good"), 30, 24);
    let run = |line: &str| {
        let mut words = line.split_whitespace();
        let mut command = Command::new(programs.join(words.next().unwrap()));
        command.args(words).current_dir(folder).env("RAYON_NUM_THREADS", "2").env("NO_COLOR", "1");
        succeed(&mut command);
    };
    run("inject_lesions --data heads --out data --every 4 --lesions 2 --radius 12,18 --seed 5");
    let small = "--size 32 --widths 8,16 --batch 8 --epochs 3 --seed 3";
    let cases = "--data data --image image.nii.gz --mask mask.nii.gz --validation val";
    run(&format!("train {cases} {small} --latent 8 --mirror --shift 1 --brightness 0.1 --out vae"));
    run(&format!("train {cases} {small} --model denoiser --out denoiser"));
    // Nothing is said of validation: it is held out.
    run(&format!("train --data tiles --layout mvtec {small} --latent 8 --out tiles-vae"));
    run(&format!(
        "evaluate --model vae,denoiser {cases} --lesions data/lesions.csv --ensemble intensity,pixel-positive \
         --replicates 50 --out report"
    ));
    let brief = "--size 32 --widths 8,16 --batch 8 --updates 12 --seed 3";
    let anomalies = "--choose-by lesions --absent 0.3 --areas 0.01,0.2 --mirror=both";
    run(&format!("train {cases} {brief} --model segmenter --members 2 {anomalies} --out marks"));
    run(&format!("train --data tiles --layout mvtec {brief} --model restorer --out painter"));
    run(&format!(
        "evaluate --model marks {cases} --ensemble anomaly-logit,pixel-positive --replicates 50 --out marks-report"
    ));
    run(&format!("combine --model vae,marks {cases} --out combined"));
    run("recalibrate --model painter --data tiles/train/good --layout images --out painter-again");
    run("localize --model vae --input data --layout cases --split test --out maps --predictor \
         pixel-l1,pixel-positive,pixel-ssim,grad-kl,grad-rec,grad-elbo,combi-product,combi-sum,projection,restoration");
    run("localize --model tiles-vae --input tiles/train/good/0003.tif --out tile-map");
    run("train_quality --data hearts --label 2 --size 32 --budget-minutes 0.01 --seed 3 --out quality");
    run("assess --model quality --image hearts/patient001/patient001_frame01.nii.gz --segmentation \
         hearts/patient001/patient001_frame01_gt.nii.gz --out assessed");
    let mut found = BTreeMap::new();
    for part in [
        "data",
        "vae",
        "denoiser",
        "tiles-vae",
        "report",
        "maps",
        "tile-map",
        "quality",
        "assessed",
        "marks",
        "painter",
        "marks-report",
        "painter-again",
        "combined",
    ] {
        gather(folder, &folder.join(part), &mut found);
    }
    found
}

fn gather(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(root, &path, found);
            continue;
        }
        let mut content = fs::read(&path).unwrap();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => {
                let mut report: Value = serde_json::from_slice(&content).unwrap();
                drop_times(&mut report);
                content = report.to_string().into_bytes();
            }
            // What it shows is in report.json, and its times are in the midst of sentences.
            Some("html") => continue,
            // The folder, and the sizes of files with times.
            Some("toml") => continue,
            _ => {}
        }
        found.insert(path.strip_prefix(root).unwrap().to_owned(), content);
    }
}

/// Takes out what is measured with a clock.
fn drop_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.contains("seconds"));
            fields.values_mut().for_each(drop_times);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_times),
        _ => {}
    }
}
