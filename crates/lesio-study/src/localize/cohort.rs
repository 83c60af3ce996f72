//! The page that lists all cases of a report.

use std::io;
use std::path::{Component, Path, PathBuf};

use lesio_anomaly::{PredictorName, Resolution};
use lesio_io::atomic::Existing;
use lesio_report::{CohortContent, CohortPage, CohortResult, CohortRow, Link};

use super::case::{LocalizedCase, MappedPredictor};
use super::config::ReportPages;
use super::pages::{rule_in_words, status};
use super::report::LocalizationReport;
use crate::folder::{PAGE, REPORT};
use crate::workflow_error::WorkflowError;

impl LocalizationReport {
    /// A page that lists all cases, to be stored in a folder, with links from there to the files of the cases: `report.html`.
    ///
    /// Links lead to the files of a case next to the page, where all shards write their cases, and otherwise to the paths in the
    /// report.
    ///
    /// # Errors
    /// Those of [`LocalizedCases`](super::LocalizedCases).
    pub fn page(&self, folder: &Path) -> io::Result<CohortPage> {
        let mut page = self.page_without_rows()?;
        page.rows = self.rows(folder, &page).collect::<Result<_, _>>()?;
        Ok(page)
    }

    fn page_without_rows(&self) -> io::Result<CohortPage> {
        let further = self.further()?;
        let (mut pictures, mut first) = (0, None);
        let mut predictors: Vec<PredictorName> = Vec::new();
        for case in &self.cases {
            let case = case?;
            pictures += usize::from(matches!(case.resolution, Resolution::Image(_)));
            for own in case.predictors {
                if !predictors.contains(&own.name) {
                    predictors.push(own.name);
                }
                first.get_or_insert((own.verdict.level, own.normal_subjects));
            }
        }
        let content = content(pictures, self.cases.len());
        let (cases, unit) = match content {
            CohortContent::Pictures => ("images", "pixels"),
            CohortContent::Volumes => ("volumes", "voxels"),
            CohortContent::Mixed => ("cases", "pixels"),
        };
        let all = self.cases.len() + self.failed.len();
        let mut page = CohortPage::new(format!("Anomalies in {all} {}", one_or(all, cases)), content);
        page.notes.extend(self.predictor_choice.as_ref().map(|choice| format!("Mapped by {choice}.")));
        if let Some((level, normal_subjects)) = first {
            let subjects = match normal_subjects {
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
        page.predictors = predictors.iter().map(|name| name.to_string()).collect();
        page.further = further.names().map(str::to_owned).collect();
        let beside = Self::table_files(Path::new("")).into_iter().chain([PathBuf::from(REPORT)]);
        page.files = beside.map(|file| (file.display().to_string(), Link::new(&file))).collect();
        Ok(page)
    }

    /// The rows of all cases for the predictors and further columns of a page, each made when it is asked for.
    fn rows<'r>(
        &'r self,
        folder: &Path,
        page: &CohortPage,
    ) -> impl Iterator<Item = io::Result<CohortRow>> + use<'r> {
        let (folder, predictors, further) =
            (folder.to_owned(), page.predictors.clone(), page.further.clone());
        let columns = further.clone();
        let mapped = self.cases.iter().map(move |case| {
            let case = case?;
            let own = |name: &String| case.predictors.iter().find(|own| own.name.as_str() == name);
            let results = predictors.iter().map(|name| Some(result(&folder, &case, own(name)?)));
            let mut row = CohortRow::new(case.id.as_str(), results);
            row.further = values(&further, &case.further);
            row.subject = (case.patient != case.id).then_some(case.patient);
            Ok(row)
        });
        let failed = self.failed.iter().map(move |failed| {
            let mut row = CohortRow::failed(failed.id.as_str(), failed.error.as_str());
            row.further = values(&columns, &failed.further);
            Ok(row)
        });
        mapped.chain(failed)
    }

    /// Writes [`LocalizationReport::page`] as `report.html` into a folder, unless the report was made without pages.
    ///
    /// # Errors
    /// A failure of the file system, also of [`LocalizedCases`](super::LocalizedCases), and with [`Existing::Refuse`] a file that is there.
    pub fn write_page(&self, folder: &Path, existing: Existing) -> Result<(), WorkflowError> {
        match self.pages {
            ReportPages::None => Ok(()),
            ReportPages::Table | ReportPages::Full => {
                let page = self.page_without_rows().map_err(WorkflowError::Results)?;
                Ok(page.write_with(folder.join(PAGE), existing, self.rows(folder, &page))?)
            }
        }
    }
}

/// What is listed, if so many of all cases are pictures.
fn content(pictures: usize, all: usize) -> CohortContent {
    match pictures {
        _ if all == 0 => CohortContent::Mixed,
        0 => CohortContent::Volumes,
        _ if pictures == all => CohortContent::Pictures,
        _ => CohortContent::Mixed,
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
    (result.pixels, result.volume_ml) = (own.voxels(), own.volume_ml(&case.resolution));
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
