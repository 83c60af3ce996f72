//! A model of quality on segmentations by networks in use: from a data set and their folders to figures, tables and a page.

use std::collections::BTreeSet;
use std::path::Path;

use lesio_io::dataset::Case;
use lesio_metrics::BootstrapConfig;
use lesio_quality::{PatientPart, QualityModel};
use lesio_report::{Best, Column, Estimate, HtmlReport, RunRecord, Scale, ScatterPlot, Table, TableCell};
use lesio_settings::setters;
use serde::Serialize;
use serde_json::{Value, json};

use crate::quality::data::{Dealt, QualityDataConfig};
use crate::quality::error::QualityStudyError;
use crate::quality::networks::{NetworkFolder, check_file_names};
use crate::quality::predictions::{GradeLevel, NetworkCounts, NetworkFigures, PredictionGrades, scored};
use crate::quality::progress::QualityObserver;
use crate::quality::ungraded::UngradedCase;
use crate::reading::BadCases;

/// Whose segmentations are graded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradedPatients {
    /// The test patients of the data set that the model was made of, by the split that its seed deals.
    #[default]
    Test,
    /// All patients: for data of which the model has seen nothing. With [`IntervalSource::OtherNetworks`], the patients whose
    /// segmentations are used for the intervals are not graded: a fifth of the patients that are not in a split `test`, by the
    /// seed.
    All,
}

/// Where corrections and intervals come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntervalSource {
    /// The model.
    #[default]
    Model,
    /// For each network, the segmentations of all other networks of the patients that were held out from the training: how far
    /// intervals hold for a network that nobody has seen yet.
    OtherNetworks,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QualityEvaluationConfig {
    /// Whose segmentations are graded. Default: those of the test patients.
    pub patients: GradedPatients,
    /// Where intervals come from. Default: the model.
    pub intervals: IntervalSource,
    /// How to treat cases and segmentations that cannot be graded. Default: they are left out and listed.
    pub bad_cases: BadCases,
    /// The resampling of patients.
    pub bootstrap: BootstrapConfig,
}

impl QualityEvaluationConfig {
    /// Test patients and the model's intervals, with this resampling.
    #[must_use]
    pub fn new(bootstrap: BootstrapConfig) -> Self {
        let (patients, intervals) = (GradedPatients::default(), IntervalSource::default());
        Self { patients, intervals, bad_cases: BadCases::default(), bootstrap }
    }
}

setters!(QualityEvaluationConfig {
    patients: GradedPatients,
    intervals: IntervalSource,
    bad_cases: BadCases
});

/// What an evaluation of a model of quality found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QualityEvaluation {
    /// Cases with a grade.
    pub cases: usize,
    /// Their patients.
    pub patients: usize,
    /// Patients whose segmentations are used for the intervals, and who are not graded; 0 with the intervals of the model.
    pub calibrating_patients: usize,
    /// Every grade, beside the truth.
    pub grades: PredictionGrades,
    /// Cases and segmentations that could not be graded, those of calibrating patients among them.
    pub failed: Vec<UngradedCase>,
    /// The figures of each network and of all together, by level and label.
    pub figures: Vec<NetworkFigures>,
    intervals: IntervalSource,
}

/// Grades what networks ([`QualityDataConfig::predictions`]) gave for cases of a data set whose truth is known, and measures it.
///
/// The seed of `data` must be that of the model ([`QualityProvenance::seed`](lesio_quality::QualityProvenance::seed)): it deals the
/// patients, and those that taught the model must not test it.
///
/// # Errors
/// Folders that cannot be listed, no network, two cases that stand for one file, patients that the model has seen; with
/// [`IntervalSource::OtherNetworks`] fewer than two patients, and a network without another one that segmented something; a
/// stop by the observer. With [`BadCases::Stop`] the first case that cannot be graded, see
/// [`PredictionGrades::measure`].
pub fn evaluate_quality(
    model: QualityModel,
    folder: &Path,
    data: &QualityDataConfig,
    config: &QualityEvaluationConfig,
    observer: &mut QualityObserver<'_>,
) -> Result<QualityEvaluation, QualityStudyError> {
    let (networks, reading) = (NetworkFolder::open_all(&data.predictions)?, &data.reading);
    if networks.is_empty() {
        return Err(QualityStudyError::Data {
            what: "there are no folders of segmentations to grade".to_owned(),
        });
    }
    let Dealt { training, held_out, test } = data.deal(folder, config.patients == GradedPatients::All)?;
    check_file_names(&networks, training.iter().chain(&held_out).chain(&test))?;
    let by_others = config.intervals == IntervalSource::OtherNetworks;
    if by_others && networks.len() < 2 {
        let what = "intervals from other networks need at least two networks".to_owned();
        return Err(QualityStudyError::Data { what });
    }
    let cases: Vec<Case> = match config.patients {
        GradedPatients::Test => test,
        // What intervals are fitted on must not show how well they hold.
        GradedPatients::All if by_others => training.into_iter().chain(test).collect(),
        GradedPatients::All => training.into_iter().chain(held_out.clone()).chain(test).collect(),
    };
    if cases.is_empty() && !held_out.is_empty() && config.patients == GradedPatients::All {
        let what =
            "intervals from other networks need at least two patients: one to fit them and one to be graded";
        return Err(QualityStudyError::Data { what: what.to_owned() });
    }
    if cases.is_empty() {
        return Err(QualityStudyError::Data { what: format!("{}: no case has labels", folder.display()) });
    }
    let seen = |case: &&Case, parts: &[PatientPart]| {
        model.provenance().part_of(case.patient()).is_some_and(|part| parts.contains(&part))
    };
    if let Some(case) = cases.iter().find(|case| seen(case, &[PatientPart::Learned, PatientPart::HeldOut])) {
        let what = format!("the model has seen patient {}, who cannot test it", case.patient());
        return Err(QualityStudyError::Data { what });
    }
    if by_others && let Some(case) = held_out.iter().find(|case| seen(case, &[PatientPart::Learned])) {
        let what = format!("the model has learned from patient {}, who cannot calibrate it", case.patient());
        return Err(QualityStudyError::Data { what });
    }
    // Corrections are fitted on estimates that none has corrected yet.
    let model = match config.intervals {
        IntervalSource::Model => model,
        IntervalSource::OtherNetworks => model.uncalibrated(),
    };
    let mut grades =
        PredictionGrades::measure(&model, &cases, &networks, reading, config.bad_cases, observer)?;
    let mut failed = grades.failed.clone();
    let mut calibrating_patients = 0;
    if by_others {
        let calibration =
            PredictionGrades::measure(&model, &held_out, &networks, reading, config.bad_cases, observer)?;
        calibrating_patients = distinct(calibration.grades.iter().map(|grade| &grade.patient));
        failed.extend(calibration.failed.iter().cloned());
        grades = grades.leaving_networks_out(&calibration, &model.config().framing.labels)?;
    }
    let figures = grades.figures(&config.bootstrap)?;
    let cases = distinct(grades.grades.iter().map(|grade| &grade.case));
    let patients = distinct(grades.grades.iter().map(|grade| &grade.patient));
    let intervals = config.intervals;
    Ok(QualityEvaluation { cases, patients, calibrating_patients, grades, failed, figures, intervals })
}

/// The number of different names.
fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> usize {
    names.collect::<BTreeSet<_>>().len()
}

impl QualityEvaluation {
    /// The record of the evaluation.
    #[must_use]
    pub fn report(&self, provenance: &RunRecord) -> Value {
        let sum = |of: fn(&NetworkCounts) -> usize| self.grades.networks.iter().map(of).sum::<usize>();
        json!({
            "schema": 1,
            "cases": self.cases,
            "patients": self.patients,
            "calibrating_patients": self.calibrating_patients,
            "intervals": self.intervals,
            "ungraded_slices": sum(|network| network.ungraded_slices),
            "absent": sum(|network| network.absent),
            "networks": self.grades.networks,
            "failed": self.failed,
            "figures": self.figures,
            "provenance": provenance,
        })
    }

    /// In words: what was graded, and what was left out.
    #[must_use]
    pub fn summary(&self) -> Vec<String> {
        let networks = self.grades.networks.len();
        let mut lines = vec![format!(
            "Graded cases: {} (patients: {}, networks: {networks}).",
            self.cases, self.patients
        )];
        if self.intervals == IntervalSource::OtherNetworks {
            lines.push(format!(
                "Estimates are corrected, and intervals fitted, for each network by the other networks' segmentations of \
                 patients who are not graded. Number of these patients: {}.",
                self.calibrating_patients
            ));
        }
        let without: Vec<&str> = self.without_grade().collect();
        if !without.is_empty() {
            lines.push(format!(
                "Networks without any grade, which figures and plots leave out: {}.",
                without.join(", ")
            ));
        }
        if !self.failed.is_empty() {
            let count = self.failed.len();
            lines.push(format!(
                "Cases and segmentations that were left out, because they could not be graded: {count}."
            ));
        }
        lines
    }

    /// The networks of which nothing is graded.
    fn without_grade(&self) -> impl Iterator<Item = &str> {
        self.grades
            .networks
            .iter()
            .filter(|network| network.graded == 0)
            .map(|network| network.network.as_str())
    }

    /// How many cases each network gave something for.
    ///
    /// # Errors
    /// None in practice; the table checks its own rows.
    pub fn counts(&self) -> Result<Table, QualityStudyError> {
        let caption = "Cases of each network: graded, with the number of their patients; with nothing, or too little, segmented; \
                       without a file; left out, because they could not be graded. Ungraded slices are those in which the truth \
                       holds a graded label and the network segmented nothing, or too little.";
        let columns =
            ["network", "graded", "patients", "nothing segmented", "no file", "left out", "ungraded slices"];
        let mut table = Table::new(caption, columns);
        for own in &self.grades.networks {
            table = table.row([
                own.network.as_str().into(),
                own.graded.into(),
                own.patients.into(),
                own.empty.into(),
                own.absent.into(),
                own.failed.into(),
                own.ungraded_slices.into(),
            ])?;
        }
        Ok(table)
    }

    /// A table of each level.
    ///
    /// # Errors
    /// None in practice; tables check their own rows.
    pub fn tables(&self) -> Result<Vec<Table>, QualityStudyError> {
        GradeLevel::ALL.into_iter().map(|level| figures_table(&self.figures, level)).collect()
    }

    /// A page with the tables, and every estimate over its truth; only with the counts if nothing is graded.
    ///
    /// # Errors
    /// None in practice; tables and plots check what they show.
    pub fn page(&self, provenance: RunRecord) -> Result<HtmlReport, QualityStudyError> {
        let mut page = HtmlReport::new("Estimated quality against the truth").lead(self.summary().join(" "));
        page = page.section("Cases").table(self.counts()?);
        for failed in &self.failed {
            page = page.paragraph(format!("{}: {}", failed.id, failed.error));
        }
        if self.grades.grades.is_empty() {
            return Ok(page.provenance(provenance));
        }
        for (level, table) in GradeLevel::ALL.into_iter().zip(self.tables()?) {
            let mut plot =
                ScatterPlot::new(format!("Dice of {}", level.name()), "true Dice", "estimated Dice")
                    .identity();
            let networks: BTreeSet<&str> =
                self.grades.grades.iter().map(|grade| grade.network.as_str()).collect();
            for network in networks {
                let own = self.grades.grades.iter();
                let own = scored(own.filter(|grade| grade.level() == level && grade.network == network));
                plot = plot.points(network, own.truth, own.predicted)?;
            }
            let plot = plot.range(Scale::new(0.0, 1.0)?);
            page = page
                .section(level.name())
                .table(table)
                .figure_svg(&plot.to_svg()?, "One point a grade, one color a network.");
        }
        Ok(page.provenance(provenance))
    }
}

/// The figures of a level.
pub(super) fn figures_table(
    figures: &[NetworkFigures],
    level: GradeLevel,
) -> Result<Table, QualityStudyError> {
    let caption = format!(
        "Grades of {} against the truth, by network: error and correlation with 95 % intervals over patients, AUROC of telling a Dice \
         below .7, coverage and width of 90 % intervals, and the share of which the model abstains since the image is unlike those it \
         was trained on.",
        level.name()
    );
    let titles = ["network", "label", "n", "median Dice"].map(Column::new);
    let columns = titles.into_iter().chain([
        Column::new("MAE").best(Best::Lowest),
        Column::new("bias"),
        Column::new("Pearson").best(Best::Highest),
        Column::new("AUROC of failure").best(Best::Highest),
        Column::new("coverage"),
        Column::new("width").best(Best::Lowest),
        Column::new("abstained"),
        Column::new("MAE of the rest"),
    ]);
    let mut table = Table::new(caption, columns);
    for own in figures.iter().filter(|own| own.level == level) {
        let with = |value: f64, interval: Option<[f64; 2]>| {
            let estimate = Estimate::new(value);
            TableCell::from(interval.map_or(estimate, |[low, high]| estimate.with_interval(low, high)))
        };
        table = table.row([
            own.network.as_str().into(),
            own.label.to_string().as_str().into(),
            own.count.to_string().as_str().into(),
            own.median_dice.into(),
            with(own.mae, own.mae_ci95),
            own.bias.into(),
            with(own.pearson.unwrap_or(f64::NAN), own.pearson_ci95),
            own.failure_auroc.into(),
            own.coverage.into(),
            own.width.into(),
            own.abstained.into(),
            own.mae_of_rest.into(),
        ])?;
    }
    Ok(table)
}
