//! The reports of all shares of a data set, joined.

use super::report::LocalizationReport;
use crate::shard::{ShardRecord, ShareReport, join_shares};
use crate::workflow_error::WorkflowError;

/// Joins the reports of all shares of a data set into the one that a single run would have given.
///
/// # Errors
/// No report; a share that is missing or there twice, or does not hold its cases; reports of other data sets, of another
/// model, or with other options.
pub fn merge_shards(
    reports: impl IntoIterator<Item = LocalizationReport>,
) -> Result<LocalizationReport, WorkflowError> {
    join_shares(reports)
}

impl ShareReport for LocalizationReport {
    fn shard(&mut self) -> &mut Option<ShardRecord> {
        &mut self.shard
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        let failed = self.failed.iter().map(|case| case.id.as_str());
        self.cases.iter().map(|case| case.id.as_str()).chain(failed)
    }

    fn absorb(&mut self, mut other: Self) {
        self.cases.append(&mut other.cases);
        self.failed.append(&mut other.failed);
    }

    fn sort_by(&mut self, place: impl Fn(&str) -> Option<usize>) {
        self.cases.sort_by_key(|case| place(&case.id));
        self.failed.sort_by_key(|case| place(&case.id));
    }
}
