//! What was found, as tables: of comma-separated values, and in Markdown.

use std::path::{Path, PathBuf};

use lesio_io::atomic::{Existing, WriteError};
use lesio_io::spreadsheet::CommaTable;
use lesio_report::{Column, Table, TableCell, TableError};

use super::config::OutputLayout;
use super::derivative::write_participants;
use super::report::{LocalizationReport, LocalizedCase, MappedPredictor};
use crate::findings::is_supported;
use crate::further::FurtherColumns;
use crate::verdict::{CaseVerdict, Verdict};

/// Lesions of an image in a table.
const LISTED: usize = 12;
/// Cases in a summary.
const MOST_SUMMED_UP: usize = 30;
/// Names of the tables.
const CASE_TABLE: &str = "cases.csv";
const LESION_TABLE: &str = "lesions.csv";

impl LocalizationReport {
    /// The columns that a manifest adds to those of lesio, with their values by case.
    pub(super) fn further(&self) -> FurtherColumns<'_> {
        let of_failed = self.failed.iter().map(|case| case.further.as_slice());
        FurtherColumns::of(self.cases.iter().map(|case| case.further.as_slice()).chain(of_failed))
    }

    /// A row for each case and predictor, in order of the cases: the verdict, what it rests on, and what was found. Cases that
    /// could not be mapped have their error in the last of these columns. What else a manifest says of the cases follows.
    #[must_use]
    pub fn case_table(&self) -> CommaTable<13> {
        let further = self.further();
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
        let mut table = CommaTable::with_further(columns, further.beside(&columns));
        for case in &self.cases {
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
                    mapped.volume_ml().into(),
                    verdict.reason.as_ref().into(),
                    None::<&str>.into(),
                ];
                table.row_with(row, further.values(&case.further));
            }
        }
        for failed in &self.failed {
            let nothing = || None::<&str>.into();
            let mut row = [(); 13].map(|()| nothing());
            row[0] = (&failed.id).into();
            row[12] = (&failed.error).into();
            table.row_with(row, further.values(&failed.further));
        }
        table
    }

    /// A row for each lesion found: its size, place and scores. The place is the mean voxel index along each axis of the
    /// file (of pictures row and column), and for volumes millimetres of the world (RAS+).
    #[must_use]
    pub fn lesion_table(&self) -> CommaTable<15> {
        let mut table = CommaTable::new([
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
        ]);
        for case in &self.cases {
            for mapped in &case.predictors {
                for lesion in mapped.lesions.iter().flatten() {
                    let ([i, j, k], world) =
                        (lesion.centre, |axis: usize| lesion.world.map(|world| world[axis]));
                    table.row([
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
                    ]);
                }
            }
        }
        table
    }

    /// The files that [`LocalizationReport::write_tables`] writes into a folder.
    pub(super) fn table_files(folder: &Path) -> [PathBuf; 2] {
        [CASE_TABLE, LESION_TABLE].map(|name| folder.join(name))
    }

    /// Writes [`LocalizationReport::case_table`] as `cases.csv` and [`LocalizationReport::lesion_table`] as `lesions.csv`; of
    /// a derivative of BIDS also `participants.tsv`.
    ///
    /// # Errors
    /// A failure of the file system, and with [`Existing::Refuse`] a file that is there.
    pub fn write_tables(&self, folder: &Path, existing: Existing) -> Result<(), WriteError> {
        let [cases, lesions] = Self::table_files(folder);
        self.case_table().write(cases, existing)?;
        self.lesion_table().write(lesions, existing)?;
        match self.layout {
            OutputLayout::Bids => write_participants(self, folder),
            OutputLayout::Folders => Ok(()),
        }
    }

    /// The verdicts of several cases in Markdown, the most suspicious first: at most thirty rows for each predictor.
    ///
    /// # Errors
    /// None in practice; the table checks its own rows.
    pub fn summary(&self) -> Result<Vec<String>, TableError> {
        let mut texts = Vec::new();
        for name in self.predictors() {
            let mut rows: Vec<(&str, &MappedPredictor)> = Vec::new();
            for case in &self.cases {
                let own = case.predictors.iter().find(|own| own.name == name);
                rows.extend(own.map(|own| (case.id.as_str(), own)));
            }
            let count = |verdict| rows.iter().filter(|(_, own)| own.verdict.verdict == verdict).count();
            let counts = [Verdict::Abnormal, Verdict::CannotTell, Verdict::Normal]
                .map(|verdict| format!("{} {verdict}", count(verdict)));
            let level = rows.first().map_or(f64::NAN, |(_, own)| own.verdict.level);
            texts.push(format!("{name}, verdicts at a level of {level}: {}", counts.join(", ")));
            // Stable: equal scores keep the order of the cases.
            rows.sort_by(|(_, a), (_, b)| {
                let key = |own: &MappedPredictor| own.verdict.score.unwrap_or(f32::NEG_INFINITY);
                (a.verdict.verdict.cmp(&b.verdict.verdict)).then(key(b).total_cmp(&key(a)))
            });
            let columns = [("case", 0), ("verdict", 0), ("p", 3), ("score", 3), ("findings", 0), ("ml", 2)];
            let mut table = Table::new(
                name.to_string(),
                columns.map(|(name, decimals)| Column::new(name).decimals(decimals)),
            );
            for (id, mapped) in rows.iter().take(MOST_SUMMED_UP) {
                let verdict = &mapped.verdict;
                table = table.row([
                    TableCell::from(*id),
                    verdict.verdict.name().into(),
                    verdict.p_value.into(),
                    verdict.score.map(f64::from).into(),
                    mapped.lesions.as_ref().map_or_else(|| TableCell::from("–"), |found| found.len().into()),
                    mapped.volume_ml().into(),
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
            (None, Some(p_value)) => format!(", p = {p_value:.3}"),
            (None, None) => String::new(),
        };
        texts.push(format!("{heading}: {verdict} at a level of {level}{why}"));
        texts.push(format!("{heading}: {} found where the score is at least {threshold:.4}", lesions.len()));
        let (subjects, smallest) =
            (self.normal_subjects.unwrap_or_default(), self.smallest_p_value.unwrap_or(1.0));
        let of_subjects =
            format!("number of normal subjects: {subjects}; smallest p-value that they allow: {smallest:.3}");
        texts.push(match is_supported(smallest, self.p_value_level) {
            true => of_subjects,
            false => format!("{of_subjects}, above {}: no p-value can support a finding", self.p_value_level),
        });
        if lesions.is_empty() {
            return Ok(());
        }
        let columns =
            [("lesion", 0), ("voxels", 0), ("ml", 2), ("centre", 0), ("peak", 3), ("mean", 3), ("p", 3)];
        let mut table =
            Table::new(heading, columns.map(|(name, decimals)| Column::new(name).decimals(decimals)));
        for lesion in lesions.iter().take(LISTED) {
            let centre = lesion.world.unwrap_or(lesion.centre).map(|value| format!("{value:.1}"));
            table = table.row([
                u64::from(lesion.label).into(),
                lesion.voxels.into(),
                lesion.volume_ml.into(),
                TableCell::from(centre[..if lesion.world.is_some() { 3 } else { 2 }].join(", ")),
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
