//! The figures of a study.

use lesio_metrics::{BinScores, Interval, RegressionScores};
use lesio_quality::{Method, QualityModel, Scored};
use serde_json::{Value, json};

use crate::quality::error::QualityStudyError;
use crate::quality::measure::{QualityStudy, Run, rounded};
use crate::quality::schema::{QualityRow, document_name};

impl QualityStudy {
    /// Makes the report; `patients` counts those of each group.
    pub(super) fn record(&mut self, patients: Value) -> Result<(), QualityStudyError> {
        let rows = self.runs.iter().map(|run| self.row(run)).collect::<Result<_, _>>()?;
        let mut intervals = Vec::new();
        for (method, model) in &self.models {
            intervals.extend(self.calibration(*method, model)?);
        }
        let transfer = self.transfer()?;
        self.report.rows = rows;
        self.report.extra.insert("patients".to_owned(), patients);
        self.report.extra.insert("intervals".to_owned(), json!(intervals));
        self.report.extra.insert("transfer".to_owned(), json!(transfer));
        Ok(())
    }

    fn row(&self, run: &Run) -> Result<QualityRow, QualityStudyError> {
        let own = Scored::of_mean(&self.samples, &run.dice);
        let scores = own.evaluate(&self.bootstrap())?;
        let regression = &scores.regression;
        let mut row = QualityRow::new(run.method, run.perturbation, rounded(run.strength), run.unit);
        row.mae = Some(regression.mean_absolute_error);
        row.mae_sd = regression.absolute_error_deviation;
        row.rmse = Some(regression.root_mean_square_error);
        (row.pearson, row.spearman) = (regression.pearson, regression.spearman);
        row.n = regression.samples as u64;
        let mut add = |name: &str, value: Value| row.extra.insert(name.to_owned(), value);
        add("bias", json!(regression.bias));
        add("kendall_tau_b", json!(regression.kendall_tau_b));
        add("failure_auroc", json!(scores.failure_auroc));
        add("mae_ci95", json!(scores.mae_interval.map(ends)));
        add("pearson_ci95", json!(scores.pearson_interval.map(ends)));
        let of_range = |bin: &BinScores| {
            let scores = bin.scores.as_ref();
            json!({
                "lower": bin.lower,
                "upper": bin.upper,
                "mae": scores.map(|s| s.mean_absolute_error),
                "n": scores.map_or(0, |s| s.samples),
            })
        };
        add("by_true_dice", json!(scores.by_range.iter().map(of_range).collect::<Vec<_>>()));
        if let Some(clean) = self.clean(run.method) {
            let drift = clean.dice.iter().zip(&run.dice).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
            add("drift", json!(drift / run.dice.len().max(1) as f64));
        }
        if let [_, _, ..] = self.labels() {
            add("by_label", json!(self.by_label(run)?));
        }
        let change = |run: &Run| (run.perturbation, run.strength, run.unit);
        for Reference { method, difference, interval, .. } in REFERENCES {
            let mut others = self.runs.iter().filter(|other| other.method == method);
            let Some(other) = others.find(|other| change(other) == change(run)) else { continue };
            let other = Scored::of_mean(&self.samples, &other.dice);
            let found = own.mae_difference(&other, &self.bootstrap())?;
            add(difference, json!(found.map(|found| found.estimate)));
            add(interval, json!(found.map(ends)));
        }
        Ok(row)
    }

    /// The labels that are graded.
    fn labels(&self) -> &[u8] {
        self.models.first().map_or(&[], |(_, model)| &model.config().framing.labels)
    }

    /// The errors of a run for each label apart.
    fn by_label(&self, run: &Run) -> Result<Vec<Value>, QualityStudyError> {
        let of_label = |(position, label)| {
            let scores = Scored::of_label(&self.samples, &run.dice, position).evaluate(&self.bootstrap())?;
            Ok(json!({
                "label": label,
                "mae": scores.regression.mean_absolute_error,
                "mae_ci95": scores.mae_interval.map(ends),
                "pearson": scores.regression.pearson,
                "failure_auroc": scores.failure_auroc,
            }))
        };
        self.labels().iter().enumerate().map(of_label).collect()
    }

    /// Coverage and width of a model's intervals on clean test images, and what refusing the doubtful brings.
    fn calibration(&self, method: Method, model: &QualityModel) -> Result<Vec<Value>, QualityStudyError> {
        let Some(clean) = self.clean(method) else { return Ok(Vec::new()) };
        let labels = &model.config().framing.labels;
        let distances = model.estimator().estimate_samples(&self.samples, None)?.distance;
        let mut rows = Vec::new();
        for (position, (label, conformal)) in labels.iter().zip(model.conformal()).enumerate() {
            let own = Scored::of_label(&self.samples, &clean.dice, position);
            let intervals: Vec<_> = own.predicted.iter().map(|&dice| conformal.interval(dice)).collect();
            let coverage = own.coverage(&intervals)?;
            let risk = own.risk_coverage(&certainty(model, position, &own))?;
            let scores = own.evaluate(&self.bootstrap())?;
            // Only where segmentation and truth both hold the label is there a distance.
            let predicted = distances.iter().skip(position).step_by(labels.len());
            let (truth, predicted): (Vec<f64>, Vec<f64>) = self
                .samples
                .iter()
                .zip(predicted)
                .filter_map(|(sample, &own)| Some(((*sample.distance.get(position)?)?, f64::from(own))))
                .unzip();
            let distance = RegressionScores::new(&truth, &predicted).ok();
            rows.push(json!({
                "estimator": document_name::of(method),
                "hd95_mae_pixels": distance.as_ref().map(|scores| scores.mean_absolute_error),
                "hd95_spearman": distance.as_ref().and_then(|scores| scores.spearman),
                "label": label,
                "level": conformal.level,
                "coverage": coverage.coverage,
                "mean_width": coverage.mean_width,
                "mae": scores.regression.mean_absolute_error,
                "pearson": scores.regression.pearson,
                "failure_auroc": scores.failure_auroc,
                "risk_coverage_area": risk.area,
                "risk_coverage_ideal_area": risk.ideal_area,
            }));
        }
        Ok(rows)
    }
}

/// An estimator that others are compared with on the same segmentations, each under attacks on itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    pub(super) method: Method,
    /// Keys of the difference of mean absolute errors and of its interval.
    pub(super) difference: &'static str,
    pub(super) interval: &'static str,
    /// The title of its table.
    pub(super) title: &'static str,
}

/// The published rival of REC-Net, and the estimate that does not look at the image, which no attack can worsen.
pub(super) const REFERENCES: [Reference; 2] = [
    Reference {
        method: Method::Direct,
        difference: "mae_less_direct",
        interval: "mae_less_direct_ci95",
        title: "Less the direct regression",
    },
    Reference {
        method: Method::ShapeOnly,
        difference: "mae_less_shape_only",
        interval: "mae_less_shape_only_ci95",
        title: "Less the segmentation alone",
    },
];

/// How certain a model is of estimates of a label: the narrower the interval, the more.
pub(super) fn certainty(model: &QualityModel, label: usize, own: &Scored) -> Vec<f64> {
    let conformal = model.conformal().get(label);
    own.predicted.iter().map(|&dice| conformal.map_or(0.0, |conformal| -conformal.reach(dice))).collect()
}

pub(super) fn ends(interval: Interval) -> [f64; 2] {
    [interval.lower, interval.upper]
}
