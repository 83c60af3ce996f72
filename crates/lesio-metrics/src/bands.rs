//! Bands about the ROC and precision-recall curves, from resampled patients.

use lesio_settings::{SettingError, in_range};
use serde::Serialize;

use crate::bins::BinnedPatients;
use crate::bootstrap::{Bootstrap, BootstrapConfig};
use crate::error::MetricError;
use crate::grid::Grid;
use crate::patients::RankedPatients;
use crate::resampled::{Resampled, resampled};

/// Pointwise intervals of a curve: each point has the stated level by itself, not all together.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CurveBand {
    /// From left to right.
    pub points: Vec<BandPoint>,
    /// Level of each interval.
    pub level: f64,
}

/// The interval of a curve at one place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BandPoint {
    /// False positive rate, or recall.
    pub x: f64,
    /// Lower end of the true positive rate, or of the precision.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

impl RankedPatients {
    /// Intervals of the true positive rate at `points` (2 to 10000) equally spaced false positive rates from 0 to 1.
    ///
    /// # Errors
    /// As for [`Bootstrap::new`]; [`MetricError::Parameter`] for another number of points; [`MetricError::Undefined`]
    /// when no replicate has both classes.
    pub fn roc_band(&self, points: usize, config: &BootstrapConfig) -> Result<CurveBand, MetricError> {
        let (grid, patients) = self.binned();
        roc_band(grid, patients, &Bootstrap::new(self.patients(), *config)?, points)
    }

    /// Intervals of the precision at `points` (2 to 10000) equally spaced recalls from 1 / points to 1.
    ///
    /// # Errors
    /// As for [`RankedPatients::roc_band`].
    pub fn precision_recall_band(
        &self,
        points: usize,
        config: &BootstrapConfig,
    ) -> Result<CurveBand, MetricError> {
        let (grid, patients) = self.binned();
        precision_recall_band(grid, patients, &Bootstrap::new(self.patients(), *config)?, points)
    }
}

pub(crate) fn roc_band(
    grid: &Grid,
    patients: impl BinnedPatients,
    bootstrap: &Bootstrap,
    points: usize,
) -> Result<CurveBand, MetricError> {
    let last = check_points(points)? - 1;
    let places = (0..=last).map(|point| point as f64 / last as f64).collect();
    band(grid, patients, bootstrap, places, sensitivities)
}

pub(crate) fn precision_recall_band(
    grid: &Grid,
    patients: impl BinnedPatients,
    bootstrap: &Bootstrap,
    points: usize,
) -> Result<CurveBand, MetricError> {
    let last = check_points(points)?;
    let places = (1..=last).map(|point| point as f64 / last as f64).collect();
    band(grid, patients, bootstrap, places, precisions)
}

fn band(
    grid: &Grid,
    patients: impl BinnedPatients,
    bootstrap: &Bootstrap,
    places: Vec<f64>,
    curve: impl Fn(&Resampled<'_>, &[f64]) -> Option<Vec<f64>> + Sync,
) -> Result<CurveBand, MetricError> {
    let (_, curves) = resampled(grid, patients, bootstrap, |drawn| curve(drawn, &places))?;
    let curves: Vec<Vec<f64>> = curves.into_iter().flatten().collect();
    let undefined = MetricError::Undefined { what: "the curve", why: "no replicate has both classes" };
    let interval = |(point, &x): (usize, &f64)| {
        let mut values: Vec<f64> = curves.iter().map(|curve| curve[point]).collect();
        let (lower, upper) = bootstrap.middle(&mut values)?;
        Some(BandPoint { x, lower, upper })
    };
    let points: Option<Vec<BandPoint>> = places.iter().enumerate().map(interval).collect();
    Ok(CurveBand { points: points.ok_or(undefined)?, level: bootstrap.config().level })
}

/// Most places of a band: curves of every replicate are kept at each.
const MOST_POINTS: usize = 10_000;

/// How far, relatively, a rate times a count may lie from its whole number: .14 * 100 lies above 14, .58 * 100 below
/// 58.
const ROUNDING: f64 = 1e-12;

/// Refuses a number of places of which there is no band.
fn check_points(points: usize) -> Result<usize, SettingError> {
    in_range("number of points", points, 2..=MOST_POINTS).map(|()| points)
}

/// True positive rates at ascending false positive rates: the highest at each, linear within a bin.
fn sensitivities(pixels: &Resampled<'_>, rates: &[f64]) -> Option<Vec<f64>> {
    let (positives, negatives) = pixels.totals()?;
    let mut values = Vec::with_capacity(rates.len());
    for bin in pixels.bins() {
        // A rate that is reached at the end of the bin belongs to the next, above what rises between them.
        let end = (bin.false_positives + bin.negatives) * (1.0 - ROUNDING);
        while let Some(target) = rates.get(values.len()).map(|rate| rate * negatives).filter(|t| *t < end) {
            let part = ((target - bin.false_positives) / bin.negatives).max(0.0);
            values.push((bin.true_positives + part * bin.positives) / positives);
        }
    }
    values.resize(rates.len(), 1.0);
    Some(values)
}

/// Precisions at ascending recalls: of the first threshold that reaches each, within a bin of evenly mixed pixels.
fn precisions(pixels: &Resampled<'_>, recalls: &[f64]) -> Option<Vec<f64>> {
    let (positives, negatives) = pixels.totals()?;
    let mut values = Vec::with_capacity(recalls.len());
    for bin in pixels.bins().filter(|bin| bin.positives > 0.0) {
        // A recall that is reached at the end of the bin needs no lower score.
        let end = (bin.true_positives + bin.positives) * (1.0 + ROUNDING);
        while let Some(target) =
            recalls.get(values.len()).map(|recall| recall * positives).filter(|t| *t <= end)
        {
            let mixed = ((target - bin.true_positives) / bin.positives).min(1.0);
            let part = if bin.is_tied { 1.0 } else { mixed };
            values.push(bin.precision(part));
        }
    }
    // Rounding may put the last recall a hair beyond the last positive.
    values.resize(recalls.len(), positives / (positives + negatives));
    Some(values)
}

#[cfg(test)]
mod tests {
    use crate::{BootstrapConfig, MetricError, PatientPixels, RankedPatients};

    fn patients() -> PatientPixels {
        let mut pixels = PatientPixels::new();
        for patient in 0..8u32 {
            let scores: Vec<f32> =
                (0..400).map(|i| ((i * 7919 + patient * 101) % 1000) as f32 / 1000.0).collect();
            let truth: Vec<bool> =
                scores.iter().enumerate().map(|(i, s)| s * s > ((i * 613) % 997) as f32 / 700.0).collect();
            pixels.update(&patient.to_string(), &scores, &truth).unwrap();
        }
        pixels
    }

    #[test]
    fn bands_hold_the_curves_they_are_about() {
        let ranked = patients().rank().unwrap();
        let config = BootstrapConfig::new(3).replicates(300);
        let roc = ranked.pooled().roc(2000).points;
        let band = ranked.roc_band(21, &config).unwrap();
        assert_eq!((band.points.len(), band.level), (21, 0.95));
        for point in &band.points[1..20] {
            let above = roc.partition_point(|p| p.false_positive_rate <= point.x);
            let value = roc[above - 1].true_positive_rate;
            assert!(point.lower <= value + 0.02 && value - 0.02 <= point.upper, "{point:?} {value}");
            assert!(point.upper - point.lower < 0.3);
        }
        let end = band.points[20];
        assert_eq!((end.x, end.lower, end.upper), (1.0, 1.0, 1.0));

        let curve = ranked.pooled().precision_recall(2000).points;
        let band = ranked.precision_recall_band(20, &config).unwrap();
        for point in &band.points[1..] {
            let reached = curve.partition_point(|p| p.recall < point.x);
            let value = curve[reached.min(curve.len() - 1)].precision;
            assert!(point.lower <= value + 0.02 && value - 0.02 <= point.upper, "{point:?} {value}");
        }
    }

    /// Patients of equal pixels: every replicate is the curve itself.
    fn equal_patients(scores: &[f32], truth: &[bool]) -> RankedPatients {
        let mut pixels = PatientPixels::new();
        for patient in ["a", "b"] {
            pixels.update(patient, scores, truth).unwrap();
        }
        pixels.rank().unwrap()
    }

    #[test]
    fn rounding_moves_no_place_to_another_score() {
        let config = BootstrapConfig::new(3).replicates(5);
        // Fifty positives; the one negative lies between the seventh and the eighth.
        let mut scores: Vec<f32> = (0..50u8).map(|i| f32::from(50 - i)).collect();
        let mut truth = vec![true; 50];
        scores.push(43.5);
        truth.push(false);
        let band = equal_patients(&scores, &truth).precision_recall_band(100, &config).unwrap();
        for (point, percent) in band.points.iter().zip(1usize..) {
            let found = percent.div_ceil(2);
            let expected = found as f64 / (found + usize::from(found > 7)) as f64;
            assert_eq!((point.lower, point.upper), (expected, expected), "{percent} %");
        }

        // Fifty negatives; the two positives lie between the 29th and the 30th, and below all.
        let truth: Vec<bool> = (0..52).map(|i| i >= 50).collect();
        scores[50] = 21.5;
        scores.push(0.5);
        let band = equal_patients(&scores, &truth).roc_band(101, &config).unwrap();
        for (point, percent) in band.points.iter().zip(0..) {
            let expected = match percent {
                0..58 => 0.0,
                58..100 => 0.5,
                _ => 1.0,
            };
            assert_eq!((point.lower, point.upper), (expected, expected), "{percent} %");
        }
    }

    #[test]
    fn a_perfect_score_has_no_width() {
        let mut pixels = PatientPixels::new();
        for patient in ["a", "b", "c"] {
            pixels.update(patient, &[0.1, 0.9], &[false, true]).unwrap();
        }
        let ranked = pixels.rank().unwrap();
        let config = BootstrapConfig::new(3).replicates(50);
        for band in [ranked.roc_band(5, &config).unwrap(), ranked.precision_recall_band(5, &config).unwrap()]
        {
            assert!(band.points.iter().all(|p| p.lower == 1.0 && p.upper == 1.0), "{band:?}");
        }
        for replicates in [0, 1_000_001, usize::MAX] {
            let refused = ranked.roc_band(5, &config.replicates(replicates));
            assert!(matches!(
                refused,
                Err(MetricError::Parameter(error))
                    if error.setting == "number of replicates" && error.found == replicates.to_string()
            ));
        }
        for points in [0, 1, 10_001, usize::MAX] {
            for refused in [ranked.roc_band(points, &config), ranked.precision_recall_band(points, &config)] {
                assert!(
                    matches!(&refused, Err(MetricError::Parameter(error)) if error.setting == "number of points"),
                    "{points}"
                );
            }
        }
    }
}
