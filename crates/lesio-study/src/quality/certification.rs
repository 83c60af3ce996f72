//! Certified errors of the second opinion: over all changes of the image within a radius.

use lesio_quality::{Method, Scored, SmoothedDice, Smoothing};
use lesio_report::{Column, Estimate, Table, TableCell, TableError};
use serde_json::{Value, json};

use crate::quality::error::QualityStudyError;
use crate::quality::figures::ends;
use crate::quality::measure::QualityStudy;
use crate::quality::progress::{QualityObserver, QualityProgress, report};
use crate::quality::schema::QualityReport;

/// The key of the rows in the report.
const KEY: &str = "certified";
/// Radii for which errors are reported: Euclidean norms of the change, in deviations of the image.
const RADII: [f64; 3] = [0.25, 0.5, 1.0];
/// The radius that estimates afford is searched up to so many deviations of the noise.
const MOST_DEVIATIONS: f64 = 6.0;

impl QualityStudy {
    /// Smooths the estimates of the second opinion, and records their largest errors within each radius.
    pub(super) fn certify(&mut self, observer: &mut QualityObserver<'_>) -> Result<(), QualityStudyError> {
        let mut rows = Vec::new();
        for &deviation in &self.config.certify {
            let smoothing = Smoothing::new(deviation).draws(self.config.certify_draws).seed(self.config.seed);
            let smoothed = self.smoothed(&smoothing, observer)?;
            rows.push(self.certified(&smoothed, deviation)?);
        }
        if !rows.is_empty() {
            self.report.extra.insert(KEY.to_owned(), json!(rows));
        }
        Ok(())
    }

    /// The smoothed mean Dice of each sample.
    fn smoothed(
        &self,
        smoothing: &Smoothing,
        observer: &mut QualityObserver<'_>,
    ) -> Result<Vec<SmoothedDice>, QualityStudyError> {
        let Some(model) = self.model(Method::SecondOpinion) else { return Ok(Vec::new()) };
        let name = format!("smoothed-{}", smoothing.deviation);
        let key = format!("{} {} {smoothing:?}", model.provenance().training, self.key());
        let draws = self.kept(&name, &key, || {
            let what = format!("certifying with noise of {}", smoothing.deviation);
            report(observer, &QualityProgress::Begin { what: &what, total: self.samples.len() })?;
            let mut draws = Vec::new();
            for sample in self.samples.iter() {
                let own = model.estimator().smoothed(&sample.image, &sample.segmentation, smoothing)?;
                draws.extend_from_slice(own.mean.estimates());
                report(observer, &QualityProgress::Advance { parts: 1 })?;
            }
            report(observer, &QualityProgress::End)?;
            Ok(draws)
        })?;
        let own = draws.chunks_exact(smoothing.draws);
        Ok(own.map(|own| SmoothedDice::new(own.to_vec(), *smoothing)).collect::<Result<_, _>>()?)
    }

    fn certified(&self, smoothed: &[SmoothedDice], deviation: f64) -> Result<Value, QualityStudyError> {
        let mut scored = Scored::of_mean(&self.samples, &[]);
        scored.predicted = smoothed.iter().map(SmoothedDice::dice).collect();
        let scores = scored.evaluate(&self.bootstrap())?;
        let mut bounds = Vec::new();
        for radius in RADII {
            let widths = smoothed.iter().map(|own| own.bounds(radius)).map(|[low, high]| high - low);
            let width = widths.sum::<f64>() / smoothed.len().max(1) as f64;
            if !enough_draws(smoothed, radius) {
                bounds.push(json!({"radius": radius, "mae": null}));
                continue;
            }
            scored.predicted = farthest(smoothed, &scored.truth, radius);
            let worst = scored.evaluate(&self.bootstrap())?;
            bounds.push(json!({
                "radius": radius,
                "mae": worst.regression.mean_absolute_error,
                "mae_ci95": worst.mae_interval.map(ends),
                "mean_width": width,
            }));
        }
        let affordable = self.clean(Method::ShapeOnly).and_then(|run| {
            let alone = error(&Scored::of_mean(&self.samples, &run.dice).predicted, &scored.truth);
            affordable(smoothed, &scored.truth, alone, MOST_DEVIATIONS * deviation)
        });
        Ok(json!({
            "deviation": deviation,
            "mae": scores.regression.mean_absolute_error,
            "mae_ci95": scores.mae_interval.map(ends),
            "bounds": bounds,
            "affordable_radius": affordable,
            "limited_by_draws": affordable.is_some_and(|radius| !enough_draws(smoothed, 1.001 * radius)),
        }))
    }
}

/// Whether there are enough draws for bounds within a radius.
fn enough_draws(smoothed: &[SmoothedDice], radius: f64) -> bool {
    smoothed.iter().all(|own| own.bounds(radius) != [0.0, 1.0])
}

/// The bound that is farther from the truth, for each sample.
fn farthest(smoothed: &[SmoothedDice], truth: &[f64], radius: f64) -> Vec<f64> {
    let of_sample = |(own, &truth): (&SmoothedDice, &f64)| {
        let [low, high] = own.bounds(radius);
        if truth - low > high - truth { low } else { high }
    };
    smoothed.iter().zip(truth).map(of_sample).collect()
}

fn error(predicted: &[f64], truth: &[f64]) -> f64 {
    let errors = predicted.iter().zip(truth).map(|(predicted, truth)| (predicted - truth).abs());
    errors.sum::<f64>() / truth.len().max(1) as f64
}

/// The largest radius, up to `most`, within which no change brings the mean error above `limit`; `None` where it is
/// above without one.
fn affordable(smoothed: &[SmoothedDice], truth: &[f64], limit: f64, most: f64) -> Option<f64> {
    let holds = |radius: f64| error(&farthest(smoothed, truth, radius), truth) <= limit;
    if !holds(0.0) {
        return None;
    }
    let (mut low, mut high) = (0.0, most);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if holds(middle) { low = middle } else { high = middle }
    }
    Some(low)
}

/// The table of certified errors; `None` for a study without them.
pub(super) fn certified(report: &QualityReport) -> Result<Option<Table>, TableError> {
    let Some(rows) = report.extra.get(KEY).and_then(Value::as_array) else { return Ok(None) };
    let radii = RADII.map(|radius| Column::new(format!("within {radius}")));
    let columns = [Column::new("noise"), Column::new("unchanged")].into_iter().chain(radii);
    let mut table = Table::new(
        "Certified mean absolute error of the second opinion: of its median over noisy images, and the largest over all \
         changes of the image whose Euclidean norm is within a radius; 95 % intervals over patients. The affordable radius \
         is the largest within which no change brings the mean error above that of the segmentation alone, as far as \
         the number of noisy images can certify. Noise and radii are in deviations of the image.",
        columns.chain([Column::new("affordable radius")]),
    );
    for row in rows {
        let bounds = row["bounds"].as_array().map_or(&[][..], Vec::as_slice);
        let errors = std::iter::once(row).chain(bounds).map(|own| {
            let end = |k: usize| own["mae_ci95"].get(k).and_then(Value::as_f64);
            match (own["mae"].as_f64(), end(0), end(1)) {
                (Some(mae), Some(low), Some(high)) => Estimate::new(mae).with_interval(low, high).into(),
                (mae, ..) => TableCell::from(mae),
            }
        });
        let cells = std::iter::once(row["deviation"].as_f64().into()).chain(errors);
        let affordable = match (row["affordable_radius"].as_f64(), row["limited_by_draws"].as_bool()) {
            (Some(radius), Some(true)) => format!("at least {radius:.2}").as_str().into(),
            (Some(radius), _) => format!("{radius:.2}").as_str().into(),
            (None, _) => TableCell::from(None),
        };
        table = table.row(cells.chain([affordable]))?;
    }
    Ok(Some(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_affordable_radius_is_where_the_error_reaches_the_limit() {
        let estimates = || (0..2000).map(|k| 0.4 + 0.2 * k as f32 / 2000.0).collect::<Vec<f32>>();
        let smoothed: Vec<SmoothedDice> =
            (0..3).map(|_| SmoothedDice::new(estimates(), Smoothing::new(0.5)).unwrap()).collect();
        let truth = [0.5, 0.3, 0.8];
        let at = |radius| error(&farthest(&smoothed, &truth, radius), &truth);
        let radius = affordable(&smoothed, &truth, 0.2, 3.0).unwrap();
        assert!(radius > 0.0 && radius < 3.0, "{radius}");
        assert!(at(radius) <= 0.2 && at(radius + 0.01) > 0.2, "{} {}", at(radius), at(radius + 0.01));
        assert_eq!(affordable(&smoothed, &truth, 0.1, 3.0), None);
        assert!(enough_draws(&smoothed, radius) && !enough_draws(&smoothed, 3.0));
        // Bounds on the far side of the truth.
        let far = farthest(&smoothed, &truth, 0.2);
        assert!(far[1] > 0.5 && far[2] < 0.5, "{far:?}");
    }
}
