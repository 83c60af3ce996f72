//! What an evaluation of models found, as JSON, tables and a page.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use lesio_anomaly::{ChosenPredictor, PostProcessing};
use lesio_io::spreadsheet::CommaTable;
use lesio_metrics::BootstrapConfig;
use lesio_report::{CohortContent, EvaluationReport, HtmlReport, Scale, Scope, ScopeReport, Table, compact};
use serde::Serialize;
use serde_json::json;

use crate::evaluation::Evaluated;
use crate::groups::GroupScores;
use crate::images::ImageFigures;
use crate::incomplete::Missing;
use crate::localize::FailedCase;
use crate::maps::Stage;
use crate::model_set::LearnedEnsemble;
use crate::operating::{OperatingEvaluation, OperatingFigures};
use crate::presentation::{
    Shown, curve_figures, group_table, image_table, leading, montage, operating_table, scope_table,
};
use crate::workflow_error::WorkflowError;

/// Titles of tables.
const BY_GROUP: &str = "By kind of lesion";
const AT_THRESHOLDS: &str = "At the thresholds that ship";

/// What an evaluation of models found.
#[derive(Debug)]
#[non_exhaustive]
pub struct EvaluationResults {
    /// Test cases that were scored.
    pub cases: usize,
    /// Those that could not be, or whose truth is elsewhere, after the validation cases that could not be used.
    pub failed: Vec<FailedCase>,
    /// Test patients.
    pub patients: usize,
    /// Metrics by scope and predictor, with curves.
    pub evaluated: Evaluated,
    /// Metrics by group of lesions; empty where no groups are known.
    pub groups: Vec<GroupScores>,
    /// How well predictors tell abnormal images from normal ones: cases, and slices of volumes. What is all normal or all
    /// abnormal is left out.
    pub images: Vec<ImageFigures>,
    /// What is marked in each case at the thresholds that ship.
    pub operating: OperatingEvaluation,
    /// Figures at these thresholds.
    pub at_thresholds: Vec<OperatingFigures>,
    /// The ensembles that validation cases taught; empty without.
    pub learned: Vec<LearnedEnsemble>,
    /// The predictor or ensemble that validation cases chose, where they hold a lesion.
    pub chosen: Option<ChosenMap>,
    /// Of each model the best predictor on the validation cases, with [`ModelChoices::Best`](crate::ModelChoices::Best).
    pub best: BTreeMap<String, ChosenPredictor>,
    /// How patients were resampled.
    pub bootstrap: BootstrapConfig,
    /// What the test cases are.
    pub content: CohortContent,
    /// What else a manifest says of the cases.
    pub(super) further: BTreeMap<String, Vec<(String, String)>>,
    pub(super) slices: Vec<Shown>,
    /// The maps in their order, with the scale on which each is shown.
    pub(super) maps: Vec<(String, Scale)>,
    /// The filters of each model, by its label.
    pub(super) filters: Vec<(String, PostProcessing)>,
    /// The label of the first model, if others have another foreground.
    pub(super) common_foreground: Option<String>,
}

impl EvaluationResults {
    /// The number of test and validation cases that could not be read or scored and are left out.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.evaluated.incomplete.iter().filter(|one| one.missing == Missing::Scores).count()
    }
}

/// The predictor or ensemble that validation data chose, and what it reaches.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChosenMap {
    /// Its name.
    pub name: String,
    /// Its average precision on the validation data, after post-processing.
    pub validation_average_precision: f64,
    /// By scope: average precision after post-processing, with its interval.
    pub reached: Vec<(Scope, Option<f64>, Option<[f64; 2]>)>,
}

impl ChosenMap {
    /// The best of the maps, and of equal ones the first.
    pub(super) fn of(
        maps: &[(String, Scale)],
        validation: &BTreeMap<(String, Stage), f64>,
        scopes: &[ScopeReport],
    ) -> Option<Self> {
        let filtered = maps.iter().filter_map(|(name, _)| {
            validation.get(&(name.clone(), Stage::Postprocessed)).map(|&precision| (name, precision))
        });
        let (name, best) = filtered.rev().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let reached = scopes
            .iter()
            .filter_map(|scope| {
                let row = scope.predictors.iter().find(|row| row.name == *name)?;
                let interval = row.ci95.postprocessed.average_precision;
                Some((scope.scope, row.postprocessed.average_precision, interval))
            })
            .collect();
        Some(Self { name: name.clone(), validation_average_precision: best, reached })
    }
}

impl fmt::Display for ChosenMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Chosen on the validation split: {} (average precision there {:.3}).",
            self.name, self.validation_average_precision
        )?;
        for (scope, found, interval) in &self.reached {
            let Some(found) = found else {
                write!(f, " On {}: not defined without lesions or without normal pixels.", scope.name())?;
                continue;
            };
            write!(f, " On {}: {found:.3}", scope.name())?;
            if let Some([low, high]) = interval {
                write!(f, " [{low:.3}, {high:.3}]")?;
            }
            f.write_char('.')?;
        }
        Ok(())
    }
}

impl EvaluationResults {
    /// As `report.json` of the program `evaluate` has it, but for the command, the time, and where the data are.
    ///
    /// # Errors
    /// None in practice.
    pub fn report(&self) -> Result<EvaluationReport, serde_json::Error> {
        let scopes = self.evaluated.scopes.clone();
        let filters = match &self.filters[..] {
            [(_, filters)] => json!(filters),
            all => json!(all.iter().cloned().collect::<BTreeMap<_, _>>()),
        };
        let mut report = EvaluationReport { scopes, ..EvaluationReport::default() };
        for (name, value) in
            [("cases", json!(self.cases)), ("patients", json!(self.patients)), ("postprocessing", filters)]
        {
            report.data.insert(name.to_owned(), value);
        }
        let mut extra = |name: &str, value| report.extra.insert(name.to_owned(), value);
        for ensemble in &self.learned {
            // The older of the two has the older name.
            let key =
                if ensemble.name == "ensemble-weighted" { "ensemble_weights" } else { "ensemble_members" };
            extra(key, json!(ensemble.weights));
        }
        if !self.evaluated.incomplete.is_empty() {
            extra("incomplete", json!(self.evaluated.incomplete));
        }
        if !self.at_thresholds.is_empty() {
            extra("at_thresholds", json!(self.at_thresholds));
        }
        if !self.failed.is_empty() {
            extra("failed", json!(self.failed));
        }
        if let Some(chosen) = &self.chosen {
            extra("chosen", serde_json::to_value(chosen)?);
        }
        if !self.groups.is_empty() {
            extra("lesion_groups", json!(self.groups));
        }
        if !self.images.is_empty() {
            extra("images", json!(self.images));
        }
        Ok(report)
    }

    /// What is marked in each case, as [`OperatingEvaluation::case_table`]; what else a manifest says of the cases follows.
    #[must_use]
    pub fn case_table(&self) -> CommaTable<13> {
        self.operating.case_table(&self.further)
    }

    /// The tables with their titles: one of each scope, and one by group of lesions where there are groups, and one of
    /// whole images where some are normal and some are not, and one of figures at the thresholds that ship.
    ///
    /// # Errors
    /// None in practice; the tables check their own rows.
    pub fn tables(&self) -> Result<Vec<(String, Table)>, WorkflowError> {
        let mut tables = Vec::new();
        for scope in &self.evaluated.scopes {
            let mut title = self.heading(scope.scope);
            if let Some(prevalence) = scope.prevalence {
                title.push_str(&format!(" (prevalence {})", compact(prevalence)));
            }
            tables.push((title, scope_table(scope)?));
        }
        if !self.groups.is_empty() {
            tables.push((BY_GROUP.to_owned(), group_table(&self.groups)?));
        }
        for images in &self.images {
            tables.push((heading_of_images(images), image_table(images)?));
        }
        if !self.at_thresholds.is_empty() {
            tables.push((AT_THRESHOLDS.to_owned(), operating_table(&self.at_thresholds)?));
        }
        Ok(tables)
    }

    /// A page with the tables, the curves of the best predictors and slices of the first cases.
    ///
    /// # Errors
    /// None in practice; tables and pictures check what they show.
    pub fn page(&self, lead: impl Into<String>) -> Result<HtmlReport, WorkflowError> {
        let mut page = HtmlReport::new("Predictors against the truth").lead(lead);
        if let Some(chosen) = &self.chosen {
            page = page.paragraph(chosen.to_string());
        }
        if let Some(first) = &self.common_foreground {
            page = page.paragraph(format!(
                "The models find the foreground of images by different rules. All maps are ranked within that of {first}, so that \
                 they are ranked on the same pixels. Marks at thresholds are those within each model's own."
            ));
        }
        for scope in &self.evaluated.scopes {
            page = page.section(self.heading(scope.scope)).table(scope_table(scope)?);
            if scope.scope == Scope::LesionSlices {
                let (shown, prevalence) = (leading(scope, 3), scope.prevalence.unwrap_or(0.0));
                // Without lesions, or without normal pixels, there is no curve.
                if scope.prevalence.is_some_and(|share| share > 0.0 && share < 1.0) {
                    page = page.figures(curve_figures(&self.evaluated.curves, &shown, prevalence)?);
                }
            }
        }
        if !self.groups.is_empty() {
            page = page.section(BY_GROUP).table(group_table(&self.groups)?);
        }
        if !self.at_thresholds.is_empty() {
            page = page.section(AT_THRESHOLDS).table(operating_table(&self.at_thresholds)?);
        }
        for images in &self.images {
            page = page.section(heading_of_images(images)).table(image_table(images)?);
        }
        if self.slices.is_empty() {
            return Ok(page);
        }
        let shown = self.evaluated.scopes.first().map_or(Vec::new(), |scope| leading(scope, 4));
        let places: Vec<usize> =
            shown.iter().filter_map(|name| self.maps.iter().position(|(own, _)| own == name)).collect();
        let rows: Vec<Shown> = self.slices.iter().map(|row| row.picked(&places)).collect();
        let scales: Vec<Scale> = places.iter().map(|&place| self.maps[place].1).collect();
        let figure = montage(&shown, &scales, &rows)?;
        let (heading, shown) = match self.content {
            CohortContent::Pictures => ("Images", "The images"),
            _ => ("Slices", "The slice with most lesion pixels of the cases"),
        };
        let sides = match rows.iter().any(|row| row.left_to_right) {
            true => " L and R are the left and the right of the subject.",
            false => "",
        };
        Ok(page.section(heading).montage(
            &figure,
            format!(
                "{shown} that the chosen or the leading map finds best, in the middle and worst, of each kind of defect \
                 if the data set states kinds. Of several channels, the first is shown. Each predictor has one scale for \
                 all: from the median of held-out normal pixels (dark) to the score that one in ten thousand of them \
                 exceeds, if the model was calibrated.{sides}"
            ),
        )?)
    }

    fn heading(&self, scope: Scope) -> String {
        let [several, all] = match self.content {
            CohortContent::Pictures => ["Images", "images"],
            _ => ["Slices", "slices"],
        };
        match scope {
            Scope::LesionSlices => format!("{several} with lesions"),
            _ => format!("All {all}"),
        }
    }
}

fn heading_of_images(images: &ImageFigures) -> String {
    format!("Whole images: {}", images.level.name())
}
