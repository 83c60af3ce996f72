//! What `evaluate`, and `merge` after it, write and print.

use std::error::Error;
use std::path::Path;

use lesio::report::{CohortContent, Existing, Extra, write_json};
use lesio::study::{CohortMeasurements, EvaluationResults};
use serde_json::Value;

use crate::output::print;
use crate::watch::Watch;
use crate::{LeftOut, Outcome, left_out};

/// Computes the figures of the measured cases, writes report.json, cases.csv and report.html, and prints the tables.
///
/// # Errors
/// If a record cannot be read, or a file cannot be written.
pub fn write_evaluation(
    share: &CohortMeasurements,
    out: &Path,
    existing: Existing,
    stamp: impl FnOnce() -> Extra,
) -> Result<EvaluationResults, Box<dyn Error>> {
    let found = share.results(&mut Watch::default())?;
    let mut report = found.report()?;
    report.data.extend(share.about.clone());
    report.extra.extend(stamp());
    write_json(out.join("report.json"), &report, existing)?;
    found.case_table().write(out.join("cases.csv"), existing)?;
    let split = share.about.get("split").and_then(Value::as_str).unwrap_or("all");
    let (cases, patients, replicates) = (found.cases, found.patients, found.bootstrap.replicates);
    let lead = match found.content {
        CohortContent::Pictures if patients == cases => {
            format!("{cases} images, split {split}. Intervals: 95 %, {replicates} resamplings of images.")
        }
        _ => format!(
            "{cases} cases of {patients} patients, split {split}. Intervals: 95 %, {replicates} resamplings of patients."
        ),
    };
    found.page(lead)?.write(out.join("report.html"), existing)?;
    found.chosen.iter().for_each(|chosen| print(&chosen.to_string()));
    for (title, table) in found.tables()? {
        print(&format!("\n{title}:\n\n{}", table.to_markdown()));
    }
    Ok(found)
}

/// The result of a program that evaluates.
///
/// # Errors
/// If cases were left out, because they could not be read or scored; the message states their number.
pub fn unmeasured(found: &EvaluationResults) -> Outcome {
    match (&found.failed[..], found.left_out()) {
        ([], 0) => Ok(()),
        ([], 1) => Err(LeftOut("1 case was left out, see above and report.json".to_owned()).into()),
        (failed, all) if failed.len() < all => {
            Err(LeftOut(format!("{all} cases were left out, see above and report.json")).into())
        }
        (failed, _) => left_out(failed),
    }
}
