//! Arguments of programs that work on many cases.

use clap::Args;
use lesio::report::Existing;
use lesio::study::{FinishedCases, LocalizationReport, Shard};

use crate::{LeftOut, Outcome};

/// The result of a program that mapped images.
///
/// # Errors
/// If some could not be mapped; the message states their number.
pub fn not_mapped(found: &LocalizationReport) -> Outcome {
    match found.failed.len() {
        0 => Ok(()),
        count => {
            let all = found.cases.len() + count;
            Err(LeftOut(format!("{count} of {all} images could not be mapped")).into())
        }
    }
}

/// Options for many cases: shards, workers, and resuming.
#[derive(Clone, Debug, Args)]
pub struct CohortArgs {
    /// Process only a shard of the cases, for example 2/4 for the second of four. Use the same --out on every machine;
    /// `merge` merges the reports
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,
    /// Number of cases to process at once; each may use an equal part of --max-memory
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,
    /// Resume an earlier run into the same folder: skip cases that it finished with the same model and options
    #[arg(long)]
    pub resume: bool,
}

impl CohortArgs {
    /// What to do with existing files: a resumed run replaces them.
    #[must_use]
    pub fn existing(&self, overwrite: bool) -> Existing {
        if overwrite || self.resume { Existing::Replace } else { Existing::Refuse }
    }

    /// What to do with finished cases.
    #[must_use]
    pub fn finished(&self) -> FinishedCases {
        if self.resume { FinishedCases::Keep } else { FinishedCases::Redo }
    }
}
