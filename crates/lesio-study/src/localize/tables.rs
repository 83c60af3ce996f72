//! What was found, as tables: of comma-separated values, and in Markdown.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use lesio_anomaly::PredictorName;
use lesio_io::atomic::{self, Existing, WriteError};
use lesio_io::spreadsheet::CommaWriter;
use lesio_report::{Column, Table, TableCell, TableError, compact};

use super::case::{LocalizedCase, MappedPredictor};
use super::config::OutputLayout;
use super::derivative::write_participants;
use super::report::LocalizationReport;
use crate::findings::is_supported;
use crate::further::FurtherColumns;
use crate::verdict::{CaseVerdict, Verdict};
use crate::workflow_error::WorkflowError;

/// Lesions of an image in a table.
const LISTED: usize = 12;
/// Cases in a summary.
const MOST_SUMMED_UP: usize = 30;
/// Names of the tables.
const CASE_TABLE: &str = "cases.csv";
const LESION_TABLE: &str = "lesions.csv";

impl LocalizationReport {
    /// The columns that a manifest adds to those of lesio, with their values by case.
    pub(super) fn further(&self) -> io::Result<FurtherColumns> {
        let mut columns = FurtherColumns::default();
        for case in &self.cases {
            columns.add(&case?.further);
        }
        self.failed.iter().for_each(|case| columns.add(&case.further));
        Ok(columns)
    }

    /// Writes a row for each case and predictor, in order of the cases: the verdict, what it rests on, and what was found.
    /// Cases that could not be mapped have their error in the last of these columns. What else a manifest says of the cases
    /// follows.
    ///
    /// # Errors
    /// Those of `out`, and of [`LocalizedCases`](super::LocalizedCases).
    pub fn write_case_table(&self, out: impl Write) -> io::Result<()> {
        let further = self.further()?;
        let columns = [
            "case",
            "patient",
            "predictor",
            "verdict",
            "p_value",
            "score",
            "threshold",
            "level",
            "findings",
            "voxels",
            "volume_ml",
            "reason",
            "error",
        ];
        let mut table = CommaWriter::new(BufWriter::new(out), columns, further.beside(&columns))?;
        for case in &self.cases {
            let case = case?;
            for mapped in &case.predictors {
                let verdict = &mapped.verdict;
                let row = [
                    (&case.id).into(),
                    (&case.patient).into(),
                    mapped.name.as_str().into(),
                    verdict.verdict.name().into(),
                    verdict.p_value.into(),
                    verdict.score.into(),
                    verdict.threshold.into(),
                    verdict.level.into(),
                    mapped.lesions.as_ref().map(Vec::len).into(),
                    mapped.voxels().into(),
                    mapped.volume_ml(&case.resolution).into(),
                    verdict.reason.as_ref().into(),
                    None::<&str>.into(),
                ];
                table.row(row, further.values(&case.further))?;
            }
        }
        for failed in &self.failed {
            let nothing = || None::<&str>.into();
            let mut row = [(); 13].map(|()| nothing());
            row[0] = (&failed.id).into();
            row[1] = (&failed.patient).into();
            row[12] = (&failed.error).into();
            table.row(row, further.values(&failed.further))?;
        }
        table.into_inner().flush()
    }

    /// Writes a row for each lesion found: its size, place and scores. The place is the mean voxel index along each axis of
    /// the file (of pictures row and column), and for volumes millimeters of the world (RAS+).
    ///
    /// # Errors
    /// Those of `out`, and of [`LocalizedCases`](super::LocalizedCases).
    pub fn write_lesion_table(&self, out: impl Write) -> io::Result<()> {
        let columns = [
            "case",
            "patient",
            "predictor",
            "lesion",
            "voxels",
            "volume_ml",
            "i",
            "j",
            "k",
            "x",
            "y",
            "z",
            "peak",
            "mean",
            "p_value",
        ];
        let mut table = CommaWriter::new(BufWriter::new(out), columns, [])?;
        for case in &self.cases {
            let case = case?;
            for mapped in &case.predictors {
                for lesion in mapped.lesions.iter().flatten() {
                    let ([i, j, k], world) =
                        (lesion.center, |axis: usize| lesion.world.map(|world| world[axis]));
                    let row = [
                        (&case.id).into(),
                        (&case.patient).into(),
                        mapped.name.as_str().into(),
                        lesion.label.into(),
                        lesion.voxels.into(),
                        lesion.volume_ml.into(),
                        i.into(),
                        j.into(),
                        k.into(),
                        world(0).into(),
                        world(1).into(),
                        world(2).into(),
                        lesion.peak.into(),
                        lesion.mean.into(),
                        lesion.p_value.into(),
                    ];
                    table.row(row, [])?;
                }
            }
        }
        table.into_inner().flush()
    }

    /// The files that [`LocalizationReport::write_tables`] writes into a folder.
    pub(super) fn table_files(folder: &Path) -> [PathBuf; 2] {
        [CASE_TABLE, LESION_TABLE].map(|name| folder.join(name))
    }

    /// Writes [`LocalizationReport::write_case_table`] as `cases.csv` and [`LocalizationReport::write_lesion_table`] as
    /// `lesions.csv`; of a derivative of BIDS also `participants.tsv`.
    ///
    /// # Errors
    /// A failure of the file system, and with [`Existing::Refuse`] a file that is there.
    pub fn write_tables(&self, folder: &Path, existing: Existing) -> Result<(), WriteError> {
        let [cases, lesions] = Self::table_files(folder);
        atomic::write(cases, existing, |out| self.write_case_table(out))?;
        atomic::write(lesions, existing, |out| self.write_lesion_table(out))?;
        match self.layout {
            OutputLayout::Bids => write_participants(self, folder),
            OutputLayout::Folders => Ok(()),
        }
    }

    /// The verdicts of several cases in Markdown, the most suspicious first: at most thirty rows for each predictor.
    ///
    /// # Errors
    /// If the results of a case cannot be read.
    pub fn summary(&self) -> Result<Vec<String>, WorkflowError> {
        let mut by_predictor: Vec<(PredictorName, Vec<SummaryRow>)> = Vec::new();
        for case in &self.cases {
            let case = case.map_err(WorkflowError::Results)?;
            for own in &case.predictors {
                let row = SummaryRow::new(&case, own);
                match by_predictor.iter_mut().find(|(name, _)| *name == own.name) {
                    Some((_, rows)) => rows.push(row),
                    None => by_predictor.push((own.name, vec![row])),
                }
            }
        }
        let mut texts = Vec::new();
        for (name, mut rows) in by_predictor {
            let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
            let counts = [Verdict::Abnormal, Verdict::CannotTell, Verdict::Normal]
                .map(|verdict| format!("{} {verdict}", count(verdict)));
            let level = rows.first().map_or(f64::NAN, |row| row.level);
            texts.push(format!("{name}, verdicts at a level of {level}: {}", counts.join(", ")));
            // Stable: equal scores keep the order of the cases.
            rows.sort_by(|a, b| {
                let key = |row: &SummaryRow| row.score.unwrap_or(f32::NEG_INFINITY);
                a.verdict.cmp(&b.verdict).then(key(b).total_cmp(&key(a)))
            });
            let columns = [("case", 0), ("verdict", 0), ("p", 3), ("score", 3), ("findings", 0), ("ml", 2)];
            let mut table = Table::new(
                name.to_string(),
                columns.map(|(name, decimals)| Column::new(name).decimals(decimals)),
            );
            for row in rows.iter().take(MOST_SUMMED_UP) {
                table = table.row([
                    TableCell::from(&*row.id),
                    row.verdict.name().into(),
                    row.p_value.into(),
                    row.score.map(f64::from).into(),
                    row.findings.map_or_else(|| TableCell::from("–"), Into::into),
                    row.volume_ml.into(),
                ])?;
            }
            texts.push(table.to_markdown());
            if rows.len() > MOST_SUMMED_UP {
                texts.push(format!("and {} more in {CASE_TABLE}", rows.len() - MOST_SUMMED_UP));
            }
        }
        Ok(texts)
    }
}

/// What a summary says of a case.
struct SummaryRow {
    id: Box<str>,
    verdict: Verdict,
    level: f64,
    p_value: Option<f64>,
    score: Option<f32>,
    findings: Option<usize>,
    volume_ml: Option<f64>,
}

impl SummaryRow {
    fn new(case: &LocalizedCase, own: &MappedPredictor) -> Self {
        let CaseVerdict { verdict, level, p_value, score, .. } = own.verdict;
        let (findings, volume_ml) = (own.lesions.as_ref().map(Vec::len), own.volume_ml(&case.resolution));
        Self { id: case.id.as_str().into(), verdict, level, p_value, score, findings, volume_ml }
    }
}

impl LocalizedCase {
    /// What was found, as paragraphs and tables in Markdown: at most twelve lesions of each map. `name` is what the case
    /// is called.
    ///
    /// # Errors
    /// None in practice; the table checks its own rows.
    pub fn to_markdown(&self, name: &str) -> Result<Vec<String>, TableError> {
        let mut texts = Vec::new();
        if let Some(doubt) = &self.resolution_doubt {
            texts.push(format!("{name}: {doubt}"));
        }
        for mapped in &self.predictors {
            mapped.add_markdown(&format!("{name}, {}", mapped.name), &mut texts)?;
        }
        Ok(texts)
    }
}

impl MappedPredictor {
    fn add_markdown(&self, heading: &str, texts: &mut Vec<String>) -> Result<(), TableError> {
        let (Some(lesions), Some(threshold)) = (&self.lesions, self.threshold) else {
            texts.push(format!("{heading}: not calibrated, so there is no threshold; see the map"));
            return Ok(());
        };
        let CaseVerdict { verdict, reason, p_value, level, .. } = &self.verdict;
        let why = match (reason, p_value) {
            (Some(reason), _) => format!(": {reason}"),
            (None, Some(p_value)) => format!(", p = {}", compact(*p_value)),
            (None, None) => String::new(),
        };
        texts.push(format!("{heading}: {verdict} at a level of {level}{why}"));
        // Four decimals say nothing of a small one.
        let from = match threshold.abs() {
            small if small < 1e-3 => compact(threshold.into()),
            _ => format!("{threshold:.4}").replace('-', "\u{2212}"),
        };
        texts.push(format!("{heading}: {} found where the score is at least {from}", lesions.len()));
        let (subjects, smallest) =
            (self.normal_subjects.unwrap_or_default(), self.smallest_p_value.unwrap_or(1.0));
        let of_subjects = format!(
            "number of normal subjects: {subjects}; smallest p-value that they allow: {}",
            compact(smallest)
        );
        texts.push(match is_supported(smallest, self.p_value_level) {
            true => of_subjects,
            false => format!("{of_subjects}, above {}: no p-value can support a finding", self.p_value_level),
        });
        if lesions.is_empty() {
            return Ok(());
        }
        // Findings of pictures have no place in the world.
        let center = match lesions.iter().all(|lesion| lesion.world.is_some()) {
            true => "center (mm, RAS+)",
            false => "center (row, column)",
        };
        let columns =
            [("lesion", 0), ("voxels", 0), ("ml", 2), (center, 0), ("peak", 3), ("mean", 3), ("p", 3)];
        let mut table =
            Table::new(heading, columns.map(|(name, decimals)| Column::new(name).decimals(decimals)));
        for lesion in lesions.iter().take(LISTED) {
            let center = lesion.world.unwrap_or(lesion.center).map(|value| format!("{value:.1}"));
            table = table.row([
                u64::from(lesion.label).into(),
                lesion.voxels.into(),
                lesion.volume_ml.into(),
                TableCell::from(center[..if lesion.world.is_some() { 3 } else { 2 }].join(", ")),
                f64::from(lesion.peak).into(),
                lesion.mean.into(),
                lesion.p_value.into(),
            ])?;
        }
        texts.push(table.to_markdown());
        if lesions.len() > LISTED {
            texts.push(format!("and {} more in report.json", lesions.len() - LISTED));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Finding;

    #[test]
    fn places_are_named_by_their_axes() {
        for (world, expected) in [
            (None, ["| center (row, column) |", "| 5.0, 6.0 |"]),
            (Some([1.0, 2.0, 3.0]), ["| center (mm, RAS+) |", "| 1.0, 2.0, 3.0 |"]),
        ] {
            let finding = Finding {
                label: 1,
                voxels: 4,
                volume_ml: None,
                center: [5.0, 6.0, 0.0],
                world,
                peak: 2.0,
                peak_voxel: [5, 6, 0],
                mean: 1.5,
                p_value: None,
            };
            let mapped = MappedPredictor::example(vec![finding]);
            let mut texts = Vec::new();
            mapped.add_markdown("case", &mut texts).unwrap();
            let table = texts.last().unwrap();
            assert!(expected.iter().all(|part| table.contains(part)), "{table}");
        }
    }
}
