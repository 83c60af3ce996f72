//! Writes tables of results as Apache Parquet.
//!
//! `cargo run --release --example tables_to_parquet -- maps`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesio::report::Existing;
use lesio::study::table_to_parquet;
use lesio_examples::inputs::files_at;
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
        for table in files_at(path, |name| name.ends_with(".csv"), "table (*.csv)")? {
            say!("wrote {}", table_to_parquet(table, existing)?.display());
        }
    }
    Ok(())
}
