//! The submission files of `examples/slurm`, in a Slurm that the test starts on this machine, and by GNU parallel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lesio::io::write_volume;
use lesio::phantom::{BrainConfig, BrainPhantom, Contrast, Tissue};
use serde_json::Value;
use support::{fail, head, manifest_folder, program, ran, succeed, untrained_heads, write_heads};

/// Longer than any job of the test takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// A Slurm of its own, which ends with the value.
struct Slurm {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Slurm {
    /// Starts it, or tells why it cannot be had.
    fn start() -> Result<Self, String> {
        // Sockets have short names.
        let folder = tempfile::Builder::new().prefix("slurm").tempdir().unwrap();
        let started =
            Command::new(tool("start")).arg(folder.path()).output().map_err(|error| error.to_string())?;
        match started.status.code() {
            Some(0) => {
                let config = PathBuf::from(String::from_utf8(started.stdout).unwrap().trim());
                Ok(Self { folder, config })
            }
            _ => Err(String::from_utf8_lossy(&started.stderr).trim().to_owned()),
        }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", &self.config).env("LESIO_BIN", programs()).env("RUST_BACKTRACE", "0");
        // As in the shell of a user, not as in a job.
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("SLURM_") && name != "SLURM_CONF")
        {
            command.env_remove(name);
        }
        command
    }

    /// What a command of Slurm prints.
    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        String::from_utf8(self.command(program).args(arguments).output().unwrap().stdout).unwrap()
    }

    /// Waits until no job is left.
    fn wait(&self) {
        self.wait_for(PATIENCE);
    }

    fn wait_for(&self, patience: Duration) {
        let started = Instant::now();
        loop {
            let left = self.ask("squeue", &["-h", "-o", "%i %T %r"]);
            if left.trim().is_empty() {
                return;
            }
            assert!(started.elapsed() < patience, "jobs do not end: {left}");
            // What was put back into the queue would wait for two minutes. Not at once: what is left of its first run must be
            // cleared away, or it is taken for the second.
            if started.elapsed() > Duration::from_secs(4) {
                for job in left.lines().filter_map(|line| line.strip_suffix(" PENDING BeginTime")) {
                    self.ask("scontrol", &["update", &format!("job={job}"), "StartTime=now"]);
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The state in which a job, or a task of an array, ended.
    fn state(&self, job: &str) -> String {
        let about = self.ask("scontrol", &["show", "job", job]);
        let state = about.split_whitespace().find_map(|part| part.strip_prefix("JobState="));
        state.unwrap_or_else(|| panic!("{about}")).to_owned()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = Command::new(tool("stop")).arg(self.folder.path()).status();
    }
}

fn tool(name: &str) -> PathBuf {
    manifest_folder().parent().unwrap().join("tests/slurm").join(name)
}

fn script(name: &str) -> PathBuf {
    manifest_folder().join("slurm").join(name)
}

/// The folder of the programs, built.
fn programs() -> PathBuf {
    PathBuf::from(program("merge").get_program()).parent().unwrap().to_owned()
}

/// A report without its command, its times, the file of the model and the folder in which it lies; and the tables.
fn results(out: &Path) -> (Value, [String; 2]) {
    let text =
        fs::read_to_string(out.join("report.json")).unwrap_or_else(|error| panic!("{error}: {}", logs(out)));
    let mut report: Value = serde_json::from_str(&text.replace(out.to_str().unwrap(), "OUT")).unwrap();
    for field in ["command", "seconds"] {
        assert!(report.as_object_mut().unwrap().remove(field).is_some(), "{field}");
    }
    report["model"].as_object_mut().unwrap().remove("file");
    (report, ["cases.csv", "lesions.csv"].map(|name| fs::read_to_string(out.join(name)).unwrap()))
}

/// What the jobs of a run printed.
fn logs(out: &Path) -> String {
    let files = fs::read_dir(out.join("logs")).into_iter().flatten().flatten();
    let text =
        |path: PathBuf| format!("\n{}:\n{}", path.display(), fs::read_to_string(&path).unwrap_or_default());
    files.map(|file| text(file.path())).collect()
}

/// The numbers of the jobs in what `submit` says: `shards 12, merge 13, logs in maps/logs`.
fn jobs(said: &str) -> [String; 2] {
    let number = |what: &str| {
        let after = said.split(what).nth(1).unwrap_or_else(|| panic!("{said}"));
        after.trim().chars().take_while(char::is_ascii_digit).collect()
    };
    [number("shards "), number("merge ")]
}

/// Waits until some cases of a run are finished.
fn wait_for_cases(out: &Path, count: usize) {
    let started = Instant::now();
    let finished = || {
        let folders = fs::read_dir(out).into_iter().flatten().flatten();
        folders.filter(|folder| folder.path().join("case.json").is_file()).count()
    };
    while finished() < count {
        assert!(started.elapsed() < PATIENCE, "no case is finished");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Heads, one of which cannot be read, with the options that map them.
fn cohort(folder: &Path, heads: u64) -> [String; 7] {
    let (data, model) = (folder.join("data"), folder.join("model.safetensors"));
    write_heads(&data, heads);
    fs::write(data.join("subject03/image.nii.gz"), "no volume").unwrap();
    untrained_heads(&model);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let [model_option, input, layout] = ["--model", "--input", "--layout"].map(str::to_owned);
    [
        model_option,
        path(&model),
        input,
        path(&data),
        layout,
        "cases".into(),
        "--predictor=pixel-l1,grad-kl".into(),
    ]
}

/// A single run, which says that one head could not be read.
fn whole(options: &[String], out: &Path) -> (Value, [String; 2]) {
    let said = ran(program("localize").args(options).arg("--out").arg(out));
    assert!(said.err.contains("1 of 40 images could not be mapped"), "{}", said.err);
    results(out)
}

#[test]
fn shards_and_trainings_run_under_slurm() {
    let slurm = match Slurm::start() {
        Ok(slurm) => slurm,
        Err(why) => return println!("skipped: Slurm: {why}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let options = cohort(folder, 40);
    let expected = whole(&options, &folder.join("whole"));
    let submit = |out: &Path| {
        let mut command = slurm.command(script("submit"));
        command.args(["--mem=256M", "--cpus-per-task=1", "--", "localize", "4"]).arg(out).args(&options);
        jobs(&succeed(&mut command).out)
    };

    // Shares that are put back into the queue while they run, and run again.
    let out = folder.join("requeued");
    let [shards, merge] = submit(&out);
    wait_for_cases(&out, 3);
    for shard in 1..=4 {
        slurm.ask("scontrol", &["requeue", &format!("{shards}_{shard}")]);
    }
    slurm.wait();
    assert_eq!(results(&out), expected);
    // It has written all, and says by its state that a case is missing.
    assert_eq!(
        (slurm.state(&format!("{shards}_1")), slurm.state(&merge)),
        ("COMPLETED".into(), "FAILED".into())
    );
    let log = fs::read_to_string(out.join(format!("logs/merge-{merge}.log"))).unwrap();
    assert!(log.contains("1 of 40 images could not be mapped"), "{log}");

    // A shard that is killed: nothing is joined. The same command goes on.
    let out = folder.join("killed");
    let [shards, merge] = submit(&out);
    wait_for_cases(&out, 3);
    slurm.ask("scancel", &["--signal=KILL", "--full", &format!("{shards}_2")]);
    slurm.wait();
    if slurm.state(&format!("{shards}_2")) == "COMPLETED" {
        println!("the shard ended before it was killed");
    } else {
        assert_eq!(slurm.state(&merge), "CANCELLED");
        assert!(!out.join("report.json").exists());
    }
    submit(&out);
    slurm.wait();
    assert_eq!(results(&out), expected);

    // Models of several kinds and seeds; what is trained is not trained again.
    let (cells, models) = (folder.join("cells.txt"), folder.join("models"));
    fs::write(&cells, "# name  options\nvae-1 --seed 1\n\nvae-2 --seed 2\n").unwrap();
    let train = || {
        let mut command = slurm.command(script("submit-training"));
        command.args(["--mem=512M", "--cpus-per-task=1", "--"]).args([&cells, &models]).arg("--data");
        command.arg(folder.join("data")).args(["--split", "all", "--epochs", "1", "--size", "32"]);
        command.args(["--widths", "4,8", "--latent", "4", "--batch", "8"]);
        let said = succeed(&mut command).out;
        slurm.wait();
        let number = said.trim_start_matches("models ").split(',').next().unwrap().to_owned();
        [1, 2].map(|task| fs::read_to_string(models.join(format!("logs/train-{number}-{task}.log"))).unwrap())
    };
    train();
    let seed = |name: &str| -> Value {
        let text = fs::read_to_string(models.join(name).join("report.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["command"].clone()
    };
    assert!(seed("vae-1").as_str().unwrap().contains("--seed 1"), "{}", seed("vae-1"));
    assert!(seed("vae-2").as_str().unwrap().contains("--seed 2"), "{}", seed("vae-2"));
    for log in train() {
        assert!(log.contains("is finished"), "{log}");
    }
}

#[test]
fn shards_run_by_gnu_parallel() {
    if Command::new("parallel").arg("--version").output().is_err() {
        return println!("skipped: GNU parallel is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let options = cohort(folder.path(), 40);
    let expected = whole(&options, &folder.path().join("whole"));
    let out = folder.path().join("with a space");
    let mut command = Command::new(script("parallel-cohort"));
    command.env("LESIO_BIN", programs()).args(["2", "localize", "4"]).arg(&out).args(&options);
    let said = ran(&mut command);
    assert!(said.code == Some(1) && said.err.contains("1 of 40 images could not be mapped"), "{said:?}");
    assert_eq!(results(&out), expected);
}

/// What a process took.
#[derive(Debug, Default)]
struct Usage {
    seconds: f64,
    /// Processors that it kept busy, on average.
    processors: f64,
    /// Largest resident set.
    mebibytes: f64,
}

impl Usage {
    /// Runs a program that must succeed. What Linux counts of it is read while it runs.
    fn of(command: &mut Command) -> Self {
        let started = Instant::now();
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let of_process = PathBuf::from(format!("/proc/{}", process.id()));
        let mut usage = Self::default();
        let status = loop {
            if let Some(status) = process.try_wait().unwrap() {
                break status;
            }
            usage.read(&of_process);
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{command:?}");
        usage.seconds = started.elapsed().as_secs_f64();
        // Ticks of a hundredth of a second.
        usage.processors /= 100.0 * usage.seconds;
        usage
    }

    fn read(&mut self, of_process: &Path) {
        let text = |name: &str| fs::read_to_string(of_process.join(name)).unwrap_or_default();
        let peak = text("status")
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().trim_end_matches(" kB").parse::<f64>().ok());
        // The name in parentheses may contain spaces; user and system time are the fields 14 and 15.
        let ticks = text("stat").rsplit_once(") ").map(|(_, fields)| {
            fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
        });
        self.mebibytes = peak.map_or(self.mebibytes, |kibibytes| kibibytes / 1024.0);
        self.processors = ticks.unwrap_or(self.processors);
    }
}

/// Volumes of 128x128x20 in a folder: twenty heads, and links to them.
fn write_volumes(folder: &Path, name: &str, count: usize) -> PathBuf {
    let drawn: Vec<PathBuf> = (0..20).map(|subject| folder.join(format!("{subject}.nii.gz"))).collect();
    for (subject, path) in drawn.iter().enumerate().filter(|(_, path)| !path.exists()) {
        let config = BrainConfig::new([128, 128], Contrast::T1, 7).slices(20);
        let head = BrainPhantom::new(config).unwrap().volume(subject as u64).unwrap();
        write_volume(path, &head.image).unwrap();
        // What the evaluation takes for a lesion.
        let deep = head.labels.map(|&label| u8::from(label == Tissue::DeepGray.label()));
        write_volume(folder.join(format!("{subject} truth.nii.gz")), &deep).unwrap();
    }
    let data = folder.join(name);
    fs::create_dir(&data).unwrap();
    for case in 0..count {
        fs::hard_link(&drawn[case % drawn.len()], data.join(format!("{case:05}.nii.gz"))).unwrap();
    }
    data
}

/// Programs of a release are needed, since others take an hour:
/// `LESIO_PROGRAMS=target/release/examples cargo test --workspace --test cluster -- --ignored --nocapture`;
/// `LESIO_VOLUMES=400` makes it shorter.
#[test]
#[ignore = "maps 8,000 volumes"]
fn two_thousand_volumes_in_four_shards_are_as_in_one() {
    let count: usize = std::env::var("LESIO_VOLUMES").map_or(2000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let model = folder.join("model.safetensors");
    untrained_heads(&model);
    let options = |command: &mut Command, data: &Path| {
        command.arg("--model").arg(&model).arg("--input").arg(data);
        command.args(["--predictor", "pixel-l1,intensity", "--rate", "0.1", "--maps", "none"]);
    };
    let single = |data: &Path, out: &Path| {
        let mut command = program("localize");
        options(&mut command, data);
        command.env("RAYON_NUM_THREADS", "2").args(["--workers", "2"]).arg("--out").arg(out);
        Usage::of(&mut command)
    };
    let few = single(&write_volumes(folder, "few", count / 10), &folder.join("few maps"));
    let data = write_volumes(folder, "data", count);
    let whole = folder.join("whole");
    let all = single(&data, &whole);
    println!("{} volumes by one process of two workers: {few:.2?}", count / 10);
    println!("{count}: {all:.2?}");
    assert!(all.mebibytes < 1.1 * few.mebibytes, "memory grows with the number of cases");

    // By hand: the second is killed midway and started again.
    let by_hand = folder.join("by hand");
    for shard in 1..=4 {
        let run = || {
            let mut command = program("localize");
            options(&mut command, &data);
            command.arg("--out").arg(&by_hand).args(["--shard", &format!("{shard}/4"), "--resume"]);
            command
        };
        if shard == 2 {
            let finished = |out: &Path| fs::read_dir(out).unwrap().count();
            let (before, mut killed) = (finished(&by_hand), run().stderr(Stdio::null()).spawn().unwrap());
            while finished(&by_hand) < before + count / 10 {
                assert!(killed.try_wait().unwrap().is_none(), "the shard ended before it was killed");
                std::thread::sleep(Duration::from_millis(5));
            }
            killed.kill().unwrap();
            killed.wait().unwrap();
            assert!(!by_hand.join("report-2-of-4.json").exists());
        }
        succeed(&mut run());
    }
    succeed(program("merge").arg(&by_hand));
    let expected = results(&whole);
    assert_eq!(results(&by_hand), expected);

    let slurm = match Slurm::start() {
        Ok(slurm) => slurm,
        Err(why) => return println!("skipped: Slurm: {why}"),
    };
    let shards = folder.join("shards");
    let started = Instant::now();
    let mut submit = slurm.command(script("submit"));
    submit.args(["--mem=512M", "--cpus-per-task=1", "--", "localize", "4"]).arg(&shards);
    options(&mut submit, &data);
    succeed(&mut submit);
    slurm.wait_for(Duration::from_secs(7200));
    println!("in four shards under Slurm: {:.0} s", started.elapsed().as_secs_f64());
    assert_eq!(results(&shards), expected);
}

/// As above: `LESIO_PROGRAMS=target/release/examples cargo test --workspace --test cluster -- --ignored --nocapture`.
#[test]
#[ignore = "evaluates 2,200 volumes"]
fn evaluating_two_thousand_volumes_takes_hardly_more_memory_than_two_hundred() {
    let count: usize = std::env::var("LESIO_VOLUMES").map_or(2000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let model = folder.join("model.safetensors");
    untrained_heads(&model);
    // More than the numbers of patients and of maps that are in memory at once.
    let [few, all] = [(count / 10).max(100), count].map(|count| {
        let data = write_volumes(folder, &count.to_string(), count);
        let rows = (0..count).map(|case| {
            let truth = folder.join(format!("{} truth.nii.gz", case % 20));
            format!("{}/{case:05}.nii.gz,{},{case:05},test\n", data.display(), truth.display())
        });
        let manifest = folder.join(format!("{count}.csv"));
        fs::write(&manifest, format!("image,mask,case,split\n{}", rows.collect::<String>())).unwrap();
        let mut command = program("evaluate");
        command.arg("--model").arg(&model).arg("--data").arg(&manifest).args(["--split", "test"]);
        command.args(["--predictors", "intensity,pixel-l1", "--replicates", "200"]);
        let usage = Usage::of(command.arg("--out").arg(folder.join(format!("report of {count}"))));
        println!("{count} volumes evaluated: {usage:.2?}");
        usage
    });
    assert!(all.mebibytes < 1.1 * few.mebibytes, "memory grows with the number of cases");
}

/// As above: `LESIO_PROGRAMS=target/release/examples cargo test --workspace --test cluster -- --ignored --nocapture`.
#[test]
#[ignore = "maps 11,000 volumes"]
fn ten_thousand_cases_take_hardly_more_memory_than_a_thousand() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (model, drawn) = (folder.join("model.safetensors"), folder.join("head.nii.gz"));
    untrained_heads(&model);
    write_volume(&drawn, &head(3).image).unwrap();
    let [few, all] = [1_000, 10_000].map(|count| {
        let data = folder.join(count.to_string());
        fs::create_dir(&data).unwrap();
        (0..count).for_each(|case| fs::hard_link(&drawn, data.join(format!("{case:05}.nii.gz"))).unwrap());
        let mut command = program("localize");
        command
            .arg("--model")
            .arg(&model)
            .arg("--input")
            .arg(&data)
            .args(["--maps", "none", "--report", "table"]);
        command
            .args(["--predictor", "pixel-l1,intensity", "--rate", "0.1"])
            .arg("--out")
            .arg(folder.join("out"));
        let usage = Usage::of(command.arg("--overwrite"));
        println!("{count} small volumes: {usage:.2?}");
        usage
    });
    // The list of the cases and of their files.
    let bytes_per_case = (all.mebibytes - few.mebibytes) * f64::from(1 << 20) / 9_000.0;
    assert!(bytes_per_case < 1000.0, "{bytes_per_case} bytes per case");
}

/// The models of the file beside the scripts, which docs/cluster.md submits.
#[test]
fn the_cells_of_the_examples_are_options_of_train() {
    let cells = fs::read_to_string(script("cells.txt")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    for line in cells.lines().filter(|line| !line.starts_with('#')) {
        let mut options = line.split_whitespace();
        let out = folder.path().join(options.next().unwrap());
        // Only the data are wrong.
        let mut command = program("train");
        command.args(options).arg("--out").arg(out).arg("--data").arg(folder.path().join("no-such-folder"));
        fail(&mut command, &["no-such-folder"]);
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn submission_files_say_how_they_are_used() {
    for name in ["submit", "submit-training", "parallel-cohort", "parallel-training"] {
        let said = ran(&mut Command::new(script(name)));
        assert!(said.code == Some(2) && said.err.contains(&format!("  {name} ")), "{name}: {said:?}");
    }
}
