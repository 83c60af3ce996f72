//! Joins the reports of several shares of the same images into one.
//!
//! `cargo run --release --example merge -- maps`

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::report::{Existing, write_json};
use lesio::study::{LocalizationReport, merge_shards, prepare_folder};
use lesio_examples::{Outcome, run, say, stamp};

/// Join the reports that `localize --shard` wrote into the one that a single run would have written.
///
/// Writes report.json, cases.csv and lesions.csv. Shares that are missing, there twice, or made by another model, with other
/// settings or of other images are an error.
#[derive(Debug, Parser)]
struct Args {
    /// Reports of shares, or folders in which they lie as report-K-of-N.json
    #[arg(required = true)]
    reports: Vec<PathBuf>,
    /// Folder for the results; by default that of the first report
    #[arg(long)]
    out: Option<PathBuf>,
    /// Replace results that are there
    #[arg(long)]
    overwrite: bool,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let started = Instant::now();
    let mut files = Vec::new();
    for path in &args.reports {
        if path.is_dir() { files.extend(reports_in(path)?) } else { files.push(path.clone()) }
    }
    let mut reports = Vec::new();
    for file in &files {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let report = LocalizationReport::read(File::open(file).map_err(|error| failed(&error))?);
        reports.push(report.map_err(|error| failed(&format!("no report of `localize --shard`: {error}")))?);
    }
    let found = merge_shards(reports)?;
    let out = args.out.as_deref().or(files[0].parent()).unwrap_or(Path::new("."));
    prepare_folder(out)?;
    let existing = if args.overwrite { Existing::Replace } else { Existing::Refuse };
    let path = out.join(LocalizationReport::file_name(None));
    write_json(&path, &found.record(None, &stamp("merge", started)), existing)?;
    found.write_tables(out, existing)?;
    found.summary()?.iter().for_each(|text| say!("{text}"));
    say!("wrote {}", path.display());
    match found.failed.len() {
        0 => Ok(()),
        count => Err(format!("{count} of {} images could not be mapped", found.cases.len() + count).into()),
    }
}

/// The reports of shares in a folder, in order of their names.
fn reports_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: &std::io::Error| format!("{}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(|error| failed(&error))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(&error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("report-") && name.contains("-of-") && name.ends_with(".json") {
            found.push(path);
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(format!("{}: holds no report-K-of-N.json", folder.display())),
        false => Ok(found),
    }
}
