//! The reports of all shares of a data set, joined.

use std::collections::BTreeMap;

use super::report::LocalizationReport;
use super::shard::ShardRecord;
use crate::workflow_error::WorkflowError;

/// Joins the reports of all shares of a data set into the one that a single run would have given.
///
/// # Errors
/// No report; a share that is missing or there twice; reports of other cases, of another model, or with other settings.
pub fn merge_shards(
    reports: impl IntoIterator<Item = LocalizationReport>,
) -> Result<LocalizationReport, WorkflowError> {
    let refused = |why: String| WorkflowError::Merge { why };
    let mut merged: Option<(LocalizationReport, ShardRecord)> = None;
    let mut seen = BTreeMap::new();
    let mut places = BTreeMap::new();
    for mut report in reports {
        let record = report.shard.take().ok_or_else(|| refused("a report is not of a share".to_owned()))?;
        if seen.insert(record.shard.index(), ()).is_some() {
            return Err(refused(format!("share {} is there twice", record.shard)));
        }
        places.extend(record.places.clone());
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
        if whole.rule != report.rule || whole.predictor_choice != report.predictor_choice {
            return Err(other("different settings"));
        }
        whole.cases.append(&mut report.cases);
        whole.failed.append(&mut report.failed);
    }
    let (mut whole, first) = merged.ok_or_else(|| refused("there is no report".to_owned()))?;
    let missing: Vec<String> = (1..=first.shard.of())
        .filter(|index| !seen.contains_key(index))
        .map(|index| format!("{index}/{}", first.shard.of()))
        .collect();
    if !missing.is_empty() {
        return Err(refused(format!("missing: {}", missing.join(", "))));
    }
    let place = |id: &str| places.get(id).copied().unwrap_or(usize::MAX);
    whole.cases.sort_by_key(|case| place(&case.id));
    whole.failed.sort_by_key(|case| place(&case.id));
    let (found, expected) = (whole.cases.len() + whole.failed.len(), first.all.0);
    if found != expected {
        return Err(refused(format!("{found} cases were found, expected {expected}")));
    }
    Ok(whole)
}
