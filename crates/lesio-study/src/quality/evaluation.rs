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
use crate::quality::networks::NetworkFolder;
use crate::quality::predictions::{GradeLevel, LEVELS, NetworkFigures, PredictionGrades, scored};
use crate::quality::progress::QualityObserver;

/// Whose segmentations are graded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradedPatients {
    /// The test patients of the data set that the model was made of, by the split that its seed deals.
    #[default]
    Test,
    /// All patients: for data of which the model has seen nothing.
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
    /// The resampling of patients.
    pub bootstrap: BootstrapConfig,
}

impl QualityEvaluationConfig {
    /// Test patients and the model's intervals, with this resampling.
    #[must_use]
    pub fn new(bootstrap: BootstrapConfig) -> Self {
        Self { patients: GradedPatients::default(), intervals: IntervalSource::default(), bootstrap }
    }
}

setters!(QualityEvaluationConfig { patients: GradedPatients, intervals: IntervalSource });

/// What an evaluation of a model of quality found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QualityEvaluation {
    /// Cases.
    pub cases: usize,
    /// Patients.
    pub patients: usize,
    /// Every grade, beside the truth.
    pub grades: PredictionGrades,
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
/// Folders that cannot be listed, no network, patients that the model has seen, cases that cannot be read, segmentations of another place than their image; with
/// [`IntervalSource::OtherNetworks`] fewer than two networks; a stop by the observer.
pub fn evaluate_quality(
    model: QualityModel,
    folder: &Path,
    data: &QualityDataConfig,
    config: &QualityEvaluationConfig,
    observer: &mut QualityObserver<'_>,
) -> Result<QualityEvaluation, QualityStudyError> {
    let networks = NetworkFolder::open_all(&data.predictions)?;
    if networks.is_empty() {
        return Err(QualityStudyError::Data {
            what: "there are no folders of segmentations to grade".to_owned(),
        });
    }
    let Dealt { training, held_out, test } = data.deal(folder, config.patients == GradedPatients::All)?;
    let cases: Vec<Case> = match config.patients {
        GradedPatients::Test => test,
        GradedPatients::All => training.into_iter().chain(held_out.clone()).chain(test).collect(),
    };
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
    if config.intervals == IntervalSource::OtherNetworks
        && let Some(case) = held_out.iter().find(|case| seen(case, &[PatientPart::Learned]))
    {
        let what = format!("the model has learned from patient {}, who cannot calibrate it", case.patient());
        return Err(QualityStudyError::Data { what });
    }
    // Corrections are fitted on estimates that none has corrected yet.
    let model = match config.intervals {
        IntervalSource::Model => model,
        IntervalSource::OtherNetworks => model.uncalibrated(),
    };
    let mut grades = PredictionGrades::measure(&model, &cases, &networks, observer)?;
    if config.intervals == IntervalSource::OtherNetworks {
        if networks.len() < 2 {
            let what = "intervals from other networks take at least two networks".to_owned();
            return Err(QualityStudyError::Data { what });
        }
        let calibration = PredictionGrades::measure(&model, &held_out, &networks, observer)?;
        grades = grades.leaving_networks_out(&calibration, &model.config().framing.labels)?;
    }
    let figures = grades.figures(&config.bootstrap)?;
    let patients: BTreeSet<&str> = cases.iter().map(Case::patient).collect();
    let (cases, patients, intervals) = (cases.len(), patients.len(), config.intervals);
    Ok(QualityEvaluation { cases, patients, grades, figures, intervals })
}

impl QualityEvaluation {
    /// The record of the evaluation.
    #[must_use]
    pub fn report(&self, provenance: &RunRecord) -> Value {
        json!({
            "schema": 1,
            "cases": self.cases,
            "patients": self.patients,
            "intervals": self.intervals,
            "ungraded_slices": self.grades.ungraded_slices,
            "absent": self.grades.absent,
            "figures": self.figures,
            "provenance": provenance,
        })
    }

    /// A table of each level.
    ///
    /// # Errors
    /// None in practice; tables check their own rows.
    pub fn tables(&self) -> Result<Vec<Table>, QualityStudyError> {
        LEVELS.into_iter().map(|level| figures_table(&self.figures, level)).collect()
    }

    /// A page with the tables, and every estimate over its truth.
    ///
    /// # Errors
    /// None in practice; tables and plots check what they show.
    pub fn page(&self, provenance: RunRecord) -> Result<HtmlReport, QualityStudyError> {
        let mut page = HtmlReport::new("Estimated quality against the truth")
            .lead(format!("Segmentations of {} cases of {} patients.", self.cases, self.patients));
        for (level, table) in LEVELS.into_iter().zip(self.tables()?) {
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
        if self.grades.ungraded_slices > 0 {
            let slices = self.grades.ungraded_slices;
            page = page.paragraph(format!(
                "In {slices} slices the truth holds a graded structure and a network segmented nothing: they have no grade."
            ));
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
