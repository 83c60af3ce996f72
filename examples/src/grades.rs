//! What `assess`, and `merge` after it, write and print of a folder.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use lesio::io::dataset::Layout;
use lesio::report::{Existing, Extra, RunRecord, write_json};
use lesio::study::quality::GradingReport;
use serde_json::{Value, json};

use crate::arguments::command;
use crate::output::print;
use crate::{LeftOut, Outcome};

/// Rows of grades that are printed.
const MOST_PRINTED: usize = 30;

/// The default name of the segmentations in a layout.
#[must_use]
pub fn segmentation_name(layout: &Layout) -> &'static str {
    match layout {
        Layout::Bids { .. } => "dseg",
        Layout::Dicom { .. } => "{case}.nii.gz",
        _ => "segmentation.nii.gz",
    }
}

/// The fields of a report of grades besides the grades: the model, the command and the time.
#[must_use]
pub fn graded_by(model: Value, program: &str, started: Instant) -> Extra {
    let run = RunRecord::new(command(program)).seconds(started.elapsed().as_secs_f64());
    [("model".to_owned(), model), ("provenance".to_owned(), json!(run))].into()
}

/// A report as JSON, with additional fields.
///
/// # Errors
/// None in practice.
pub fn stamped_grades(found: &GradingReport, stamp: &Extra) -> Result<Value, serde_json::Error> {
    Ok(stamped_with(found.to_json()?, stamp))
}

/// A JSON object with additional fields.
#[must_use]
pub fn stamped_with(mut report: Value, stamp: &Extra) -> Value {
    stamp.iter().for_each(|(name, value)| report[name] = value.clone());
    report
}

/// Writes report.json and cases.csv, and prints the lowest grades.
///
/// # Errors
/// If a file cannot be written.
pub fn write_grades(
    found: &GradingReport,
    out: &Path,
    existing: Existing,
    stamp: &Extra,
) -> Result<(), Box<dyn Error>> {
    write_json(out.join("report.json"), &stamped_grades(found, stamp)?, existing)?;
    found.case_table().write(out.join("cases.csv"), existing)?;
    let table = found.table()?.to_markdown();
    let (shown, more) = first_rows(&table);
    print(shown);
    if more > 0 {
        print(&format!("and {more} more in cases.csv"));
    }
    print(&format!("wrote {}", out.display()));
    Ok(())
}

/// Returns an error if a segmentation could not be graded.
///
/// # Errors
/// The number of these segmentations.
pub fn not_graded(found: &GradingReport) -> Outcome {
    match found.failed.len() {
        0 => Ok(()),
        1 => Err(LeftOut("one segmentation could not be graded".to_owned()).into()),
        count => Err(LeftOut(format!("{count} segmentations could not be graded")).into()),
    }
}

/// The heading and the first rows of a table in Markdown, and the number of its other rows.
fn first_rows(table: &str) -> (&str, usize) {
    // After the heading and the line below it.
    let end = table.match_indices('\n').nth(1 + MOST_PRINTED).map_or(table.len(), |(place, _)| place + 1);
    let (shown, others) = table.split_at(end);
    (shown, others.lines().count())
}

#[cfg(test)]
mod tests {
    use lesio::report::Table;

    use super::*;

    #[test]
    fn thirty_rows_are_printed() {
        for (rows, expected) in [(0, [0, 0]), (29, [29, 0]), (30, [30, 0]), (31, [30, 1]), (4004, [30, 3974])]
        {
            let mut table = Table::new("grades", ["case", "Dice"]);
            for case in 0..rows {
                table = table.row([format!("case {case}").into(), 0.5.into()]).unwrap();
            }
            let table = table.to_markdown();
            let (shown, more) = first_rows(&table);
            assert_eq!([shown.lines().count() - 2, more], expected, "{rows}");
            assert!(shown.ends_with(" |\n") || rows == 0, "{shown}");
        }
    }
}
