//! The reports of all shares of a data set, joined.

use std::collections::{BTreeMap, BTreeSet};

use super::report::LocalizationReport;
use crate::shard::ShardRecord;
use crate::workflow_error::WorkflowError;

/// Joins the reports of all shares of a data set into the one that a single run would have given.
///
/// # Errors
/// No report; a share that is missing or there twice, or does not hold its cases; reports of other data sets, of another model, or
/// with other options.
pub fn merge_shards(
    reports: impl IntoIterator<Item = LocalizationReport>,
) -> Result<LocalizationReport, WorkflowError> {
    let refused = |why: String| WorkflowError::Merge { why };
    let mut merged: Option<(LocalizationReport, ShardRecord)> = None;
    let (mut seen, mut places) = (BTreeSet::new(), BTreeMap::new());
    for mut report in reports {
        let record = report.shard.take().ok_or_else(|| refused("a report is not of a share".to_owned()))?;
        if !seen.insert(record.shard.index()) {
            return Err(refused(format!("share {} is there twice", record.shard)));
        }
        let found: BTreeSet<&str> = report.ids().collect();
        if !found.iter().copied().eq(record.places.keys().map(String::as_str)) {
            return Err(refused(format!("share {} does not hold its cases", record.shard)));
        }
        for (id, &place) in &record.places {
            if places.insert(id.clone(), place).is_some() {
                return Err(refused(format!("case {id} is in two shares")));
            }
        }
        let Some((whole, first)) = &mut merged else {
            merged = Some((report, record));
            continue;
        };
        let other =
            |what: &str| refused(format!("shares {} and {} are of {what}", first.shard, record.shard));
        if first.shard.of() != record.shard.of() {
            return Err(other("different numbers of shares"));
        }
        if first.all != record.all {
            return Err(other("different data sets"));
        }
        if whole.fingerprint != report.fingerprint {
            return Err(other("different models"));
        }
        if first.options != record.options {
            return Err(other("different options"));
        }
        whole.cases.append(&mut report.cases);
        whole.failed.append(&mut report.failed);
    }
    let (mut whole, first) = merged.ok_or_else(|| refused("there is no report".to_owned()))?;
    let missing: Vec<String> = (1..=first.shard.of())
        .filter(|index| !seen.contains(index))
        .map(|index| format!("{index}/{}", first.shard.of()))
        .collect();
    if !missing.is_empty() {
        return Err(refused(format!("missing: {}", missing.join(", "))));
    }
    let place = |id: &str| places.get(id).copied().unwrap_or(usize::MAX);
    whole.cases.sort_by_key(|case| place(&case.id));
    whole.failed.sort_by_key(|case| place(&case.id));
    if places.len() != first.all.0 {
        let (found, expected) = (places.len(), first.all.0);
        return Err(refused(format!("{found} cases were found, expected {expected}")));
    }
    Ok(whole)
}
