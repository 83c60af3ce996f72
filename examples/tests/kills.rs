//! `train` killed at random moments, again and again, ends with the model of a training that was not.
//!
//! `LESIO_KILLS` sets how often it is killed; docs/results.md has a long run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{program, ran, succeed, write_heads};

/// Kills of an ordinary run: some seconds.
const KILLS: usize = 8;

fn train(data: &Path, out: &Path) -> Command {
    let mut command = program("train");
    command.arg("--data").arg(data).arg("--out").arg(out);
    command.args(["--size", "32", "--widths", "4,8", "--latent", "4", "--batch", "8", "--seed", "3"]);
    command.args(["--epochs", "40", "--patience", "40", "--split", "all"]);
    command
}

/// Files that a writer had not finished.
fn temporary(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp")).count()
}

#[test]
fn a_training_that_is_killed_at_random_ends_as_one_that_is_not() {
    let kills = std::env::var("LESIO_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_heads(&data, 6);
    let whole = folder.path().join("whole");
    let started = Instant::now();
    succeed(&mut train(&data, &whole));
    // Other work on the machine slows it down by far: the quickest one counts.
    let mut lasts = started.elapsed();
    let expected = fs::read(whole.join("model.safetensors")).unwrap();

    // The moments differ from run to run by what the machine does; the seed spreads them.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (mut killed, mut resumed, mut finished, mut torn) = (0, 0, 0, 0);
    while killed < kills || finished == 0 {
        let out = folder.path().join(format!("out{finished}"));
        let checkpoint = out.join("checkpoint.safetensors");
        let mut command = train(&data, &out);
        let fresh = !checkpoint.exists();
        if !fresh {
            command.arg("--resume");
            resumed += 1;
        }
        if killed < kills {
            let started = Instant::now();
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            let mut running = command.spawn().unwrap();
            std::thread::sleep(Duration::from_secs_f64(lasts.as_secs_f64() * random()));
            if running.try_wait().unwrap().is_none() {
                running.kill().unwrap();
                running.wait().unwrap();
                killed += 1;
                let left = temporary(&out);
                // One of the checkpoint or of the model, and rarely one of a report that was being written.
                assert!(left <= 2, "kill {killed} leaves {left} temporary files");
                torn += left;
                // Whatever has its name is whole.
                if let Ok(model) = fs::read(out.join("model.safetensors")) {
                    assert!(model == expected, "kill {killed} leaves another model");
                }
                continue;
            }
            let output = running.wait_with_output().unwrap();
            if fresh {
                lasts = lasts.min(started.elapsed());
            }
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        } else {
            let ran = ran(&mut command);
            assert_eq!(ran.code, Some(0), "{}", ran.err);
        }
        let model = fs::read(out.join("model.safetensors")).unwrap();
        assert!(model == expected, "training {finished}, after {killed} kills in all, has another model");
        finished += 1;
    }
    println!(
        "{killed} kills of a training of {:.1} s, {torn} while a file was written; \
         {resumed} resumptions; {finished} trainings ended, each with the model of the one that was not killed",
        lasts.as_secs_f64()
    );
    assert!(resumed > 0, "no training had come far enough to be resumed");
}
