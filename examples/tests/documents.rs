//! The commands of README.md, CONTRIBUTING.md and docs: all can be typed, and those of README and the guide run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lesio::image::{Image, Volume};
use lesio::io::atomic::Existing;
use lesio::io::{write_png, write_volume};
use lesio::phantom::{CardiacPhase, LesionConfig, LesionInjector, LesionKind};
use ndarray::Array3;
use support::commands::{DocumentCommand, Runs, commands, commands_of, documents};
use support::{head, heart, manifest_folder, program, programs, ran, untrained_heads, write_patients};

/// Commands of others than lesio and cargo.
const OTHERS: &[&str] = &["benches/peers/run", "valgrind"];
/// Programs that run without data, which are run elsewhere: by CI, and by their own tests.
const NEED_NO_DATA: &[&str] = &["quickstart", "own_predictor", "own_model", "multichannel"];
/// Programs of README and the guide that are not run here, with the test that does.
const RUN_ELSEWHERE: &[(&str, &str)] = &[
    ("quickstart", "CI"),
    ("own_predictor", "docs/guide/own-predictor.md, and CI compiles it"),
    ("own_model", "docs/guide/own-model.md, and CI compiles it"),
    ("from_pytorch", "interop.rs: weights of others cannot be drawn"),
    ("study_quality", "quality.rs"),
];

/// Patients with hearts: for training, to calibrate, and to test.
const PATIENTS: u64 = 5;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every command names a program that there is, and arguments that it takes: in an empty folder it fails because data are
/// missing, not because of what was typed (exit code 2).
#[test]
fn documented_commands_can_be_typed() {
    let (programs, folder) = (programs(), tempfile::tempdir().unwrap());
    let mut seen = Vec::new();
    for command in documents().iter().flat_map(|document| commands(document)).chain(headers()) {
        let place = format!("{}: {}", command.document.display(), command.words.join(" "));
        match command.runs(&programs) {
            Runs::Program(name, arguments) => {
                assert!(programs.contains(&name), "{place}: there is no program {name:?}");
                seen.push(name.clone());
                if !NEED_NO_DATA.contains(&name.as_str()) {
                    let arguments = arguments.iter().map(|word| word.replace("cuda", "cpu"));
                    let ran = ran(program(&name).args(arguments).current_dir(folder.path()));
                    assert_eq!(ran.code, Some(1), "{place}: {}{}", ran.out, ran.err);
                } else if !arguments.is_empty() {
                    let ran = ran(program(&name).args(&arguments).arg("--help"));
                    assert_eq!(ran.code, Some(0), "{place}: {}", ran.err);
                }
            }
            Runs::Cargo { package, target } => {
                let name = package.as_deref().unwrap_or("lesio-examples");
                let at = match name {
                    "lesio-examples" => root().join("examples"),
                    "lesio-tests" => root().join("tests"),
                    "lesio-benches" => root().join("benches"),
                    name => root().join("crates").join(name),
                };
                assert!(at.is_dir(), "{place}: there is no package {name}");
                if let (Some(_), Some((kind, file))) = (&package, &target) {
                    let own = at.join(if *kind == "--test" { "tests" } else { "benches" }).join(file);
                    assert!(
                        own.with_extension("rs").is_file() || own.is_dir(),
                        "{place}: there is no {kind} {file}"
                    );
                }
            }
            Runs::Other(name) => assert!(OTHERS.contains(&name.as_str()), "{place}: {name:?} is not known"),
        }
    }
    for name in &programs {
        assert!(seen.contains(name), "no document shows {name}");
    }
}

/// The commands in the headers of the programs.
fn headers() -> Vec<DocumentCommand> {
    let mut found = Vec::new();
    for name in programs() {
        let source = manifest_folder().join(format!("{name}.rs"));
        let text = fs::read_to_string(&source).unwrap();
        for line in text.lines().filter(|line| line.starts_with("//!") && line.contains("`cargo run")) {
            let command = line.split('`').nth(1).unwrap();
            found.extend(commands_of(&format!("\n```sh\n{command}\n```\n"), &source));
        }
    }
    found
}

/// Commands of README, the guide and the page about cohorts run one after the other, as a reader types them, on small
/// images and with small budgets. A command that stands in several documents runs once.
#[test]
fn documented_commands_run() {
    let (programs, folder, mut done) = (programs(), tempfile::tempdir().unwrap(), BTreeSet::new());
    write_data(folder.path());
    for command in
        documents().iter().filter(|document| is_run(document)).flat_map(|document| commands(document))
    {
        let Runs::Program(name, arguments) = command.runs(&programs) else { continue };
        let text = command.words.join(" ");
        if RUN_ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == name) || !done.insert(text.clone()) {
            continue;
        }
        if name == "train_quality" && arguments.iter().any(|own| own == "--predictions") {
            // quality.rs runs it. Half a minute is saved where the model that was trained without stands in.
            copy_folder(&folder.path().join("quality"), &folder.path().join("own-quality"));
            continue;
        }
        let mut program = program(&name);
        program.args(&arguments).args(small(&name, &arguments)).current_dir(folder.path());
        let started = Instant::now();
        run(&mut program, &format!("{}: {text}", command.document.display()));
        let out = arguments.windows(2).find(|own| own[0] == "--out").map(|own| folder.path().join(&own[1]));
        if let Some(out) = out {
            let files = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name());
            let is_run_file = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("run");
            assert!(files.into_iter().any(|name| is_run_file(&name)), "{text} wrote no run.toml");
        }
        eprintln!("{:5.1} s  {text}", started.elapsed().as_secs_f64());
    }
    assert!(done.len() > 20, "only {} commands: is the search broken?", done.len());
}

/// Whether the commands of a document are run, and not only typed.
fn is_run(document: &Path) -> bool {
    let own = document.strip_prefix(root()).unwrap();
    own == Path::new("README.md") || own.starts_with("docs/guide") || own == Path::new("docs/cohorts.md")
}

/// Copies the files of a folder.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn run(command: &mut Command, place: &str) {
    let ran = ran(command.env("RAYON_NUM_THREADS", "2"));
    assert_eq!(ran.code, Some(0), "{place}: {}{}", ran.out, ran.err);
}

/// Arguments that make a program short, and let it replace earlier results; the last of an argument counts.
fn small(name: &str, arguments: &[String]) -> Vec<&'static str> {
    let has = |option: &str| arguments.iter().any(|own| own == option);
    match name {
        "train" if has("--budget") => {
            vec!["--size", "32", "--widths", "4,8", "--batch", "4", "--budget", "0.01", "--overwrite"]
        }
        "train" => vec!["--size", "32", "--widths", "4,8", "--latent", "4", "--epochs", "1", "--overwrite"],
        "evaluate" => vec!["--replicates", "20"],
        "inject_lesions" => vec!["--radius", "8,12", "--overwrite"],
        "train_quality" => vec!["--size", "16", "--budget-minutes", "0.005"],
        "evaluate_quality" => vec!["--replicates", "20"],
        "localize" if has("--resume") => vec![],
        "localize" | "recalibrate" | "combine" | "assess" | "merge" | "tables_to_parquet" => {
            vec!["--overwrite"]
        }
        _ => vec![],
    }
}

/// The files that the commands name.
fn write_data(folder: &Path) {
    let dir = folder.join("DIR");
    let mut splits = "patient,split\n".to_owned();
    for subject in 0..12 {
        let split = match subject {
            0..8 => "train",
            8..10 => "val",
            _ => "test",
        };
        write_case(&dir.join(format!("case{subject:02}")), subject, split != "train");
        splits.push_str(&format!("case{subject:02},{split}\n"));
    }
    fs::write(dir.join("splits.csv"), splits).unwrap();
    for subject in 0..6 {
        write_case(&folder.join(format!("labeled/case{subject}")), subject, true);
    }
    let mut table = "image:flair,case\n".to_owned();
    for subject in 20..22 {
        write_case(&folder.join(format!("studies/case{subject}")), subject, true);
        write_case(&folder.join(format!("NORMALS/case{subject}")), subject + 10, false);
        table.push_str(&format!("studies/case{subject}/flair.nii.gz,case{subject}\n"));
    }
    fs::write(folder.join("studies.csv"), table).unwrap();
    for file in ["flair.nii.gz", "t1.nii.gz"] {
        fs::copy(folder.join("studies/case20").join(file), folder.join(file)).unwrap();
    }
    fs::copy(folder.join("studies/case20/mask.nii.gz"), folder.join("lesion.nii.gz")).unwrap();
    fs::copy(folder.join("flair.nii.gz"), folder.join("scan.nii.gz")).unwrap();
    fs::create_dir_all(folder.join("model")).unwrap();
    untrained_heads(&folder.join("model/model.safetensors"));

    // Pictures of a part.
    let parts = folder.join("PARTS/train/good");
    fs::create_dir_all(&parts).unwrap();
    for number in 0..12 {
        let value = |(channel, y, x): (usize, usize, usize)| (40 * channel + 3 * y + x + number) as u8;
        let picture = Image::new(Array3::from_shape_fn((3, 24, 32), value));
        write_png(parts.join(format!("{number:02}.png")), &picture, Existing::Replace).unwrap();
    }

    // A VAE that another program wrote.
    let golden = root().join("crates/lesio-onnx/tests/golden/vae.onnx");
    fs::copy(golden, folder.join("vae.onnx")).unwrap();

    // Hearts as ACDC, with the segmentations of a network that is always right.
    write_patients(&folder.join("acdc"), PATIENTS);
    fs::create_dir_all(folder.join("networks")).unwrap();
    for patient in 1..=PATIENTS {
        for frame in ["01", "09"] {
            let name = format!("patient{patient:03}_frame{frame}");
            let truth = folder.join(format!("acdc/patient{patient:03}/{name}_gt.nii.gz"));
            fs::copy(truth, folder.join(format!("networks/{name}.nii.gz"))).unwrap();
        }
    }
    let frame = heart(77, CardiacPhase::EndDiastole);
    write_volume(folder.join("frame.nii.gz"), &frame.image).unwrap();
    write_volume(folder.join("mask.nii.gz"), &frame.labels).unwrap();
}

/// A head in two contrasts with its tissue, and a mask: of a lesion, or empty.
fn write_case(case: &Path, subject: u64, ill: bool) {
    fs::create_dir_all(case).unwrap();
    let head = head(subject);
    let lesion = LesionConfig::new(LesionKind::Bright, 0.6).in_brain_tissue().radius(16.0, 20.0);
    let injected = LesionInjector::new(lesion).unwrap().inject(&head.image, &head.labels, subject).unwrap();
    let (image, mask): (Volume, Volume<u8>) = match ill {
        true => (injected.image, injected.truth.map(|&lesion| u8::from(lesion))),
        false => (head.image.clone(), head.labels.map(|_| 0)),
    };
    write_volume(case.join("flair.nii.gz"), &image).unwrap();
    write_volume(case.join("t1.nii.gz"), &head.image).unwrap();
    write_volume(case.join("mask.nii.gz"), &mask).unwrap();
    write_volume(case.join("tissue.nii.gz"), &head.labels).unwrap();
}

#[test]
fn commands_are_found_and_faults_seen() {
    let programs = programs();
    let text = "x\n```sh\n# A comment.\nLESIO_X=1 cargo run --release --example train -- --data 'a b' \\\n    --out x  # end\n\
                for n in 4 12; do\n    /usr/bin/time -v localize --input $n\ndone\ncargo test -p lesio-io --test masks\n```\n\
                ```text\ntrain\n```\n";
    let found = commands_of(text, Path::new("x.md"));
    let runs: Vec<Runs> = found.iter().map(|command| command.runs(&programs)).collect();
    let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        runs,
        [
            Runs::Program("train".into(), own(&["--data", "a b", "--out", "x"])),
            Runs::Program("localize".into(), own(&["--input", "4"])),
            Runs::Cargo { package: Some("lesio-io".into()), target: Some(("--test", "masks".into())) },
        ]
    );
    let refused = ran(program("train").args(["--data", "DIR", "--no-such-option"]));
    assert_eq!(refused.code, Some(2), "{}", refused.err);
}
