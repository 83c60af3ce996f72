//! The training of an estimator of quality, and how good it is on held-out patients.

use std::path::Path;

use lesio_metrics::BootstrapConfig;
use lesio_nn::Device;
use lesio_quality::{
    Method, PipelineConfig, PipelineError, PipelineProgress, QualityModel, QualityPipeline, QualityScores,
    Scored, StepCache,
};
use lesio_report::{HtmlReport, RunRecord, Scale, ScatterPlot, Table};
use serde_json::{Value, json};

use crate::quality::data::QualityData;
use crate::quality::error::QualityStudyError;
use crate::quality::evaluation::figures_table;
use crate::quality::predictions::{GradeLevel, NetworkFigures, PredictionGrades};
use crate::quality::progress::{QualityObserver, QualityProgress};
use crate::reading::BadCases;

/// A trained model, and how good it is on held-out patients.
#[derive(Debug)]
#[non_exhaustive]
pub struct TrainedQuality {
    /// The model.
    pub model: QualityModel,
    /// Each label graded, with its scores. The patients chose the epoch: the scores flatter a little.
    pub held_out: Vec<(u8, Scored, QualityScores)>,
    /// Number of training samples.
    pub training_samples: usize,
    /// What networks in use reach on the held-out patients, with intervals from all other networks, by level and label; empty
    /// if fewer than two networks segmented something that is graded.
    pub networks: Vec<NetworkFigures>,
}

/// Trains a model of quality by one method. What is finished is kept in a folder, which must exist: the same call continues
/// an interrupted one.
///
/// Where the data hold segmentations by networks in use, intervals are calibrated on those of the held-out patients: of slices, and
/// of volumes, too.
///
/// # Errors
/// A training that fails, a held-out case or a segmentation of one that has changed since `data` were read and cannot be
/// graded, and a stop by the observer.
pub fn train_quality(
    data: &QualityData,
    method: Method,
    pipeline: PipelineConfig,
    folder: &Path,
    device: &Device,
    observer: &mut QualityObserver<'_>,
) -> Result<TrainedQuality, QualityStudyError> {
    let mut training = |progress: &PipelineProgress<'_>| observer(&QualityProgress::Pipeline(progress));
    let (estimators, cache, seed) = (data.estimators.clone(), StepCache::new(folder), pipeline.seed);
    let (own, held_out) = (&data.training, &data.held_out);
    let pipeline =
        QualityPipeline::prepare(pipeline, estimators, own, held_out, cache, device, &mut training)?;
    let model = pipeline.model(method, &mut training)?;
    let model = model.with_channel_names(data.channels.clone()).map_err(PipelineError::from)?;
    let estimates = model.estimator().estimate_samples(pipeline.held_out(), None)?;
    let labels = model.config().framing.labels.iter().enumerate();
    let scores = labels.map(|(position, &label)| {
        let own = Scored::of_label(pipeline.held_out(), &estimates.dice, position);
        let scores = own.evaluate(&BootstrapConfig::new(seed))?;
        Ok((label, own, scores))
    });
    let held_out = scores.collect::<Result<_, QualityStudyError>>()?;
    let training_samples = pipeline.training().len();
    let mut trained = TrainedQuality { model, held_out, training_samples, networks: Vec::new() };
    if !data.networks.is_empty() {
        let labels = &data.estimators.framing.labels;
        let (model, cases) = (&trained.model, &data.held_out_cases);
        let grades =
            PredictionGrades::measure(model, cases, &data.networks, &data.reading, BadCases::Stop, observer)?;
        let [slices, volumes] = grades.calibrations(labels, None)?;
        trained.model = trained.model.calibrated(slices, volumes).map_err(PipelineError::from)?;
        // Of networks that segmented nothing, nothing is known, and nothing can be learned from them.
        if grades.networks.iter().filter(|network| network.graded > 0).count() > 1 {
            let own = grades.clone().leaving_networks_out(&grades, labels)?;
            trained.networks = own.figures(&BootstrapConfig::new(seed))?;
        }
    }
    Ok(trained)
}

impl TrainedQuality {
    /// The record of the training.
    #[must_use]
    pub fn report(&self, provenance: &RunRecord) -> Value {
        let figures = self.held_out.iter().map(|(label, _, scores)| {
            let (mae, pearson) = (scores.regression.mean_absolute_error, scores.regression.pearson);
            json!({"label": label, "mae": mae, "pearson": pearson, "failure_auroc": scores.failure_auroc})
        });
        json!({
            "schema": 1,
            "method": self.model.config().method,
            "held_out": figures.collect::<Vec<_>>(),
            "training_samples": self.training_samples,
            "networks": self.networks,
            "training": self.model.provenance(),
            "provenance": provenance,
        })
    }

    /// The training as a page.
    ///
    /// # Errors
    /// None in practice; tables and plots check their own rows.
    pub fn page(&self, provenance: RunRecord) -> Result<HtmlReport, QualityStudyError> {
        let mut plot = ScatterPlot::new("Held-out candidates", "true Dice", "estimated Dice").identity();
        let mut table =
            Table::new("Held-out patients, by label.", ["label", "MAE", "Pearson", "AUROC of failure"]);
        for (label, own, scores) in &self.held_out {
            table = table.row([
                label.to_string().as_str().into(),
                scores.regression.mean_absolute_error.into(),
                scores.regression.pearson.into(),
                scores.failure_auroc.into(),
            ])?;
            plot = plot.points(format!("label {label}"), own.truth.clone(), own.predicted.clone())?;
        }
        let plot = plot.range(Scale::new(0.0, 1.0)?);
        let page = HtmlReport::new("An estimator of segmentation quality")
            .lead(format!("Trained on {} candidates.", self.training_samples))
            .section("Held-out patients")
            .paragraph(
                "These patients chose the epoch and calibrated the intervals; study_quality measures on others.",
            )
            .table(table)
            .figure_svg(&plot.to_svg()?, "One point a candidate.");
        if self.networks.is_empty() {
            return Ok(page.provenance(provenance));
        }
        let mut page = page.section("Networks in use, on the same patients").paragraph(
            "The intervals of each network were fitted on the others; the model's are fitted on all.",
        );
        for level in GradeLevel::ALL {
            page = page.table(figures_table(&self.networks, level)?);
        }
        Ok(page.provenance(provenance))
    }
}
