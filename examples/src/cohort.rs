//! Arguments of programs that work on many cases.

use clap::Args;
use lesio::study::{FinishedCases, Shard};

/// How many cases are worked on, and what becomes of those that an earlier run finished.
#[derive(Clone, Debug, Args)]
pub struct CohortArgs {
    /// Work on a share of the cases, 2/4 for the second of four: on each machine another, into one folder for --out; `merge`
    /// joins their reports
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,
    /// Cases that are worked on at once; each may take an equal share of --max-memory
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,
    /// Go on with an earlier run into the same folder: cases that it finished with the same model and options are not worked
    /// on again
    #[arg(long)]
    pub resume: bool,
}

impl CohortArgs {
    /// What becomes of finished cases.
    #[must_use]
    pub fn finished(&self) -> FinishedCases {
        if self.resume { FinishedCases::Keep } else { FinishedCases::Redo }
    }
}
