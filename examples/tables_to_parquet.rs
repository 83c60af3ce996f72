//! Writes tables of results as Apache Parquet.
//!
//! `cargo run --release --example tables_to_parquet -- maps`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesio::report::Existing;
use lesio::study::table_to_parquet;
use lesio_examples::{Outcome, parse, run, say};

/// Write the tables of `localize`, `evaluate`, `assess` and `merge` as Apache Parquet.
///
/// Each table is read from its CSV file and written beside it: cases.csv as cases.parquet. Numbers become 64-bit
/// integers and floating-point numbers, empty cells become null, and all other columns are text.
#[derive(Debug, Parser)]
struct Args {
    /// Tables (CSV), or folders whose tables are all written
    #[arg(required = true)]
    tables: Vec<PathBuf>,
    /// Replace existing files
    #[arg(long)]
    overwrite: bool,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let existing = if args.overwrite { Existing::Replace } else { Existing::Refuse };
    for path in &args.tables {
        let tables = if path.is_dir() { tables_in(path)? } else { vec![path.clone()] };
        for table in tables {
            say!("wrote {}", table_to_parquet(table, existing)?.display());
        }
    }
    Ok(())
}

/// The tables in a folder, in order of their names.
fn tables_in(folder: &PathBuf) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut tables = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "csv") {
            tables.push(path);
        }
    }
    tables.sort();
    match tables.is_empty() {
        true => Err(format!("{}: contains no table (*.csv)", folder.display())),
        false => Ok(tables),
    }
}
