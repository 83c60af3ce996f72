//! Merging the reports of shards.

use super::report::LocalizationReport;
use crate::shard::{ShardRecord, ShardReport, join_shards};
use crate::workflow_error::WorkflowError;

/// Merges the reports of all shards of a data set into the report of a single run.
///
/// # Errors
/// If there is no report, if a shard is missing, occurs twice or lacks cases, and if reports differ in data set, model or
/// options.
pub fn merge_shards(
    reports: impl IntoIterator<Item = LocalizationReport>,
) -> Result<LocalizationReport, WorkflowError> {
    join_shards(reports)
}

impl ShardReport for LocalizationReport {
    fn shard(&mut self) -> &mut Option<ShardRecord> {
        &mut self.shard
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        let failed = self.failed.iter().map(|case| case.id.as_str());
        self.cases.ids().chain(failed)
    }

    fn absorb(&mut self, mut other: Self) -> Result<(), WorkflowError> {
        self.failed.append(&mut other.failed);
        self.cases.append(other.cases).map_err(WorkflowError::Results)
    }

    fn sort_by(&mut self, place: impl Fn(&str) -> Option<usize>) {
        self.cases.sort_by_key(&place);
        self.failed.sort_by_key(|case| place(&case.id));
    }
}
