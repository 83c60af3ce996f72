//! The page that lists all cases of a report.

use std::path::{Component, Path, PathBuf};

use lesio_anomaly::{PredictorName, Resolution};
use lesio_io::atomic::{Existing, WriteError};
use lesio_report::{CohortPage, CohortResult, CohortRow, Content, Link};

use super::config::ReportPages;
use super::pages::{rule_in_words, status};
use super::report::{LocalizationReport, LocalizedCase, MappedPredictor};
use crate::folder::{PAGE, REPORT};

impl LocalizationReport {
    /// A page that lists all cases, to lie in a folder, with links to the files of the cases from there: `report.html`.
    ///
    /// Links lead to the files of a case next to the page, where all shards write their cases, and otherwise to the paths in the
    /// report.
    #[must_use]
    pub fn page(&self, folder: &Path) -> CohortPage {
        let content = self.content();
        let (cases, unit) = match content {
            Content::Pictures => ("images", "pixels"),
            Content::Volumes => ("volumes", "voxels"),
            Content::Mixed => ("cases", "pixels"),
        };
        let all = self.cases.len() + self.failed.len();
        let mut page = CohortPage::new(format!("Anomalies in {all} {}", one_or(all, cases)), content);
        page.notes.extend(self.predictor_choice.as_ref().map(|choice| format!("Mapped by {choice}.")));
        if let Some(first) = self.cases.iter().flat_map(|case| &case.predictors).next() {
            let level = first.verdict.level;
            let subjects = match first.normal_subjects {
                Some(1) => "; the model was calibrated on one normal subject".to_owned(),
                Some(count) => format!("; the model was calibrated on {count} normal subjects"),
                None => String::new(),
            };
            page.notes.push(format!(
                "Verdicts at a level of {level}: a normal one of these {cases} is called abnormal with a probability of at most \
                 {level}, if it comes from where the normal subjects of the calibration came from{subjects}. Findings are counted \
                 {}.",
                rule_in_words(self.rule, unit)
            ));
        }
        let predictors = self.predictors();
        page.predictors = predictors.iter().map(|name| name.to_string()).collect();
        page.further = self.further().names().map(str::to_owned).collect();
        for case in &self.cases {
            let results = predictors.iter().map(|name| {
                let own = case.predictors.iter().find(|own| own.name == *name)?;
                Some(result(folder, case, own))
            });
            let mut row = CohortRow::new(case.id.as_str(), results);
            row.subject = (case.patient != case.id).then(|| case.patient.clone());
            row.further = values(&page.further, &case.further);
            page.rows.push(row);
        }
        for failed in &self.failed {
            let mut row = CohortRow::failed(failed.id.as_str(), failed.error.as_str());
            row.further = values(&page.further, &failed.further);
            page.rows.push(row);
        }
        let beside = Self::table_files(Path::new("")).into_iter().chain([PathBuf::from(REPORT)]);
        page.files = beside.map(|file| (file.display().to_string(), Link::new(&file))).collect();
        page
    }

    /// Writes [`LocalizationReport::page`] as `report.html` into a folder, unless the report was made without pages.
    ///
    /// # Errors
    /// A failure of the file system, and with [`Existing::Refuse`] a file that is there.
    pub fn write_page(&self, folder: &Path, existing: Existing) -> Result<(), WriteError> {
        match self.pages {
            ReportPages::None => Ok(()),
            ReportPages::Table | ReportPages::Full => self.page(folder).write(folder.join(PAGE), existing),
        }
    }

    /// The predictors of all cases, in the order of their first appearance.
    pub(super) fn predictors(&self) -> Vec<PredictorName> {
        let mut names = Vec::new();
        for mapped in self.cases.iter().flat_map(|case| &case.predictors) {
            if !names.contains(&mapped.name) {
                names.push(mapped.name);
            }
        }
        names
    }

    fn content(&self) -> Content {
        let is_picture = |case: &LocalizedCase| matches!(case.resolution, Resolution::Image(_));
        let pictures = self.cases.iter().filter(|case| is_picture(case)).count();
        match pictures {
            0 if self.cases.is_empty() => Content::Mixed,
            0 => Content::Volumes,
            all if all == self.cases.len() => Content::Pictures,
            _ => Content::Mixed,
        }
    }
}

fn one_or(count: usize, several: &str) -> &str {
    if count == 1 { several.trim_end_matches('s') } else { several }
}

/// The values of further columns, empty where a case has none.
fn values(names: &[String], further: &[(String, String)]) -> Vec<String> {
    let value = |name: &String| further.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    names.iter().map(|name| value(name).unwrap_or_default()).collect()
}

fn result(folder: &Path, case: &LocalizedCase, own: &MappedPredictor) -> CohortResult {
    let verdict = &own.verdict;
    let mut result = CohortResult::new(status(verdict.verdict));
    (result.p_value, result.score, result.threshold) = (verdict.p_value, verdict.score, verdict.threshold);
    result.reason.clone_from(&verdict.reason);
    result.findings = own.lesions.as_ref().map(Vec::len);
    (result.pixels, result.volume_ml) = (own.voxels(), own.volume_ml());
    result.thumbnail = own.thumbnail.as_ref().map(|file| link(folder, case, file));
    let opened = case.page.as_ref().or(own.thumbnail.as_ref().map(|_| &own.overlay));
    result.link = opened.map(|file| link(folder, case, file));
    result
}

/// A link from a folder to a file of a case: to that beside the page, or else to where it was written.
fn link(folder: &Path, case: &LocalizedCase, file: &Path) -> Link {
    let beside = case.folder.join(file.file_name().unwrap_or_default());
    if folder.join(&beside).exists() {
        return Link::new(beside);
    }
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Link::new(relative(&absolute(folder), &absolute(file)))
}

/// The path from a folder to a file, both absolute.
fn relative(folder: &Path, file: &Path) -> PathBuf {
    let (from, to): (Vec<Component<'_>>, Vec<_>) =
        (folder.components().collect(), file.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - common);
    up.chain(to[common..].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_folder_to_file() {
        let found =
            |folder: &str, file: &str| relative(Path::new(folder), Path::new(file)).display().to_string();
        assert_eq!(found("/a/b", "/a/b/c/d.png"), "c/d.png");
        assert_eq!(found("/a/b/e", "/a/c/d.png"), "../../c/d.png");
        assert_eq!(found("/", "/c"), "c");
    }
}
