//! Joins the reports of several shares of the same images into one.
//!
//! `cargo run --release --example merge -- maps`

use std::fmt::Display;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::report::{Existing, Extra, write_json};
use lesio::study::quality::GradingReport;
use lesio::study::{CohortMeasurements, LocalizationReport, merge_shards, prepare_folder};
use lesio_examples::cohort::not_mapped;
use lesio_examples::evaluation::{unmeasured, write_evaluation};
use lesio_examples::grades::{graded_by, not_graded, write_grades};
use lesio_examples::inputs::files_at;
use lesio_examples::invocation::results_in;
use lesio_examples::{Outcome, parse, run, say, stamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Merge the reports that `localize`, `evaluate` or `assess` wrote with --shard into the report of a single run.
///
/// Writes the files that a single run writes into its folder: report.json, tables and report.html. A shard that is
/// missing or occurs twice is an error, and so are shards with different models, options or images.
#[derive(Debug, Parser)]
struct Args {
    /// Reports of shards, or folders that contain them as report-K-of-N.json
    #[arg(required = true)]
    reports: Vec<PathBuf>,
    /// Folder for the results [default: the folder of the first report]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Replace existing results
    #[arg(long)]
    overwrite: bool,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let started = Instant::now();
    let mut files = Vec::new();
    for path in &args.reports {
        let is_report =
            |name: &str| name.starts_with("report-") && name.contains("-of-") && name.ends_with(".json");
        files.extend(files_at(path, is_report, "report-K-of-N.json")?);
    }
    let out = args.out.as_deref().or(files[0].parent()).unwrap_or(Path::new("."));
    let existing = if args.overwrite { Existing::Replace } else { Existing::Refuse };
    prepare_folder(out)?;
    results_in(out);
    match kind_of(&files[0])? {
        Kind::Localization => merge_maps(&files, out, existing, started),
        Kind::Evaluation => {
            let shares: Result<Vec<_>, _> = files.iter().map(|file| CohortMeasurements::read(file)).collect();
            let share = merge_shards(shares?)?.in_folder(out);
            let found = write_evaluation(&share, out, existing, || stamp("merge", started))?;
            say!("wrote {}", out.join("report.html").display());
            unmeasured(&found)
        }
        Kind::Grading => {
            let mut first: Extra = read_json(&files[0])?;
            let stamp = graded_by(first.remove("model").unwrap_or_default(), "merge", started);
            let shares: Result<Vec<GradingReport>, _> = files.iter().map(read_json).collect();
            let found = merge_shards(shares?)?;
            write_grades(&found, out, existing, &stamp)?;
            not_graded(&found)
        }
    }
}

/// Merges the reports of `localize`.
fn merge_maps(files: &[PathBuf], out: &Path, existing: Existing, started: Instant) -> Outcome {
    let mut reports = Vec::new();
    for file in files {
        let failed = |error: &dyn Display| format!("{}: {error}", file.display());
        let report = LocalizationReport::read(File::open(file).map_err(|error| failed(&error))?);
        reports
            .push(report.map_err(|error| failed(&format!("not a report of `localize --shard`: {error}")))?);
    }
    let found = merge_shards(reports)?;
    let path = out.join(LocalizationReport::file_name(None));
    write_json(&path, &found.record(None, &stamp("merge", started)), existing)?;
    found.write_tables(out, existing)?;
    found.write_page(out, existing)?;
    found.summary()?.iter().for_each(|text| say!("{text}"));
    say!("wrote {}", path.display());
    not_mapped(&found)
}

/// The program that wrote a report.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    Localization,
    Evaluation,
    Grading,
}

fn kind_of(file: &PathBuf) -> Result<Kind, String> {
    #[derive(Deserialize)]
    struct Report {
        #[serde(default)]
        of: Kind,
    }
    read_json(file).map(|Report { of }| of)
}

fn read_json<T: DeserializeOwned>(file: &PathBuf) -> Result<T, String> {
    let failed = |error: &dyn Display| format!("{}: {error}", file.display());
    let open = File::open(file).map_err(|error| failed(&error))?;
    serde_json::from_reader(BufReader::new(open))
        .map_err(|error| failed(&format!("not the report of a shard: {error}")))
}
