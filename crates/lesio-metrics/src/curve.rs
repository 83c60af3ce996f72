//! Curves to be drawn: as few points as asked for, areas from all of them.

use serde::Serialize;

use crate::keys;
use crate::ranking::RankedPixels;
use crate::sweep::steps;
use crate::thinning::{Thinned, Vertex};

/// A receiver operating characteristic, thinned for drawing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RocCurve {
    /// From (0, 0) to (1, 1), both rates rising; to be joined by straight lines.
    pub points: Vec<RocPoint>,
    /// The exact area, not that of the points.
    pub area: f64,
}

/// One point of a [`RocCurve`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RocPoint {
    /// Pixels are positive when their score is `>=` this; `None` at (0, 0), where no pixel is.
    pub threshold: Option<f32>,
    /// Fraction of the negatives that are positive at the threshold.
    pub false_positive_rate: f64,
    /// Fraction of the positives that are.
    pub true_positive_rate: f64,
}

/// A precision-recall curve, thinned for drawing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PrecisionRecallCurve {
    /// Recall rising to 1; from the precision at the highest score of a positive, without the artificial point
    /// (0, 1) that some tools prepend. To be drawn as steps: no threshold leads between two points.
    pub points: Vec<PrecisionRecallPoint>,
    /// The exact average precision, not that of the points.
    pub average_precision: f64,
    /// Fraction of positive pixels: the precision of a score that tells nothing.
    pub prevalence: f64,
}

/// One point of a [`PrecisionRecallCurve`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PrecisionRecallPoint {
    /// Pixels are positive when their score is `>=` this.
    pub threshold: f32,
    /// Fraction of the positives found.
    pub recall: f64,
    /// Fraction of the pixels found that are positives.
    pub precision: f64,
}

impl RankedPixels {
    /// The receiver operating characteristic in at most `max(points, 2)` points.
    ///
    /// A point is kept when it is 2 / (points - 2) away from the last, in the sum of both rates; so no point of the
    /// full curve is farther than that from the drawn one.
    #[must_use]
    pub fn roc(&self, points: usize) -> RocCurve {
        let (positives, negatives) = (self.positives() as f64, self.negatives() as f64);
        let mut thinned = Thinned::new(points);
        let sorted_negatives = &self.keys().negatives;
        let vertex = |key, found: u64, alarms: u64| Vertex {
            threshold: Some(keys::score(key)),
            x: alarms as f64 / negatives,
            y: found as f64 / positives,
        };
        let mut end = Vertex { threshold: None, x: 0.0, y: 0.0 };
        for step in steps(self.keys()) {
            // The lowest score above this one: there the curve has run flat through negatives.
            let lowest_above = sorted_negatives.len().checked_sub(step.negatives_above as usize);
            if let Some(&key) = lowest_above.and_then(|i| sorted_negatives.get(i)) {
                thinned.offer(vertex(key, step.positives_above, step.negatives_above));
            }
            end = vertex(step.key, step.true_positives(), step.false_positives());
            thinned.offer(end);
        }
        if let Some(&lowest) = sorted_negatives.first().filter(|_| end.x < 1.0) {
            end = vertex(lowest, self.positives(), self.negatives());
        }
        let point = |Vertex { threshold, x, y }| RocPoint {
            threshold,
            false_positive_rate: x,
            true_positive_rate: y,
        };
        let points = thinned.finish(end).into_iter().map(point).collect();
        RocCurve { points, area: self.auroc() }
    }

    /// The precision-recall curve in at most `max(points, 2)` points: the first, the last, and between them the first
    /// score to reach each of equally spaced recalls.
    #[must_use]
    pub fn precision_recall(&self, points: usize) -> PrecisionRecallCurve {
        let positives = self.positives() as f64;
        let spacing = 1.0 / points.saturating_sub(1).max(1) as f64;
        let mut kept: Vec<PrecisionRecallPoint> = Vec::new();
        let mut next_recall = 0.0;
        for step in steps(self.keys()) {
            let found = step.true_positives();
            let recall = found as f64 / positives;
            if recall >= next_recall || found == self.positives() {
                let precision = found as f64 / (found + step.false_positives()) as f64;
                kept.push(PrecisionRecallPoint { threshold: keys::score(step.key), recall, precision });
                // The first multiple of the spacing not yet passed.
                next_recall = ((recall / spacing).floor() + 1.0) * spacing;
            }
        }
        PrecisionRecallCurve {
            points: kept,
            average_precision: self.average_precision(),
            prevalence: self.prevalence(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PixelCurve;

    fn ranked(n: u32) -> RankedPixels {
        let mut pixels = PixelCurve::new();
        // A fixed shuffle; abnormal pixels lean to higher scores.
        let scores: Vec<f32> = (0..n).map(|i| (i.wrapping_mul(2_654_435_761) % 1000) as f32).collect();
        let truth: Vec<bool> =
            scores.iter().zip(0..n).map(|(s, i)| i.wrapping_mul(40_503) % 1000 < (*s as u32) / 3).collect();
        pixels.update(&scores, &truth).unwrap();
        pixels.rank().unwrap()
    }

    fn trapezoids(points: &[RocPoint]) -> f64 {
        let area = |w: &[RocPoint]| {
            (w[1].false_positive_rate - w[0].false_positive_rate)
                * (w[1].true_positive_rate + w[0].true_positive_rate)
                / 2.0
        };
        points.windows(2).map(area).sum()
    }

    #[test]
    fn all_points_together_have_the_exact_area() {
        let ranked = ranked(5_000);
        let roc = ranked.roc(usize::MAX);
        assert!((trapezoids(&roc.points) - roc.area).abs() < 1e-12);
        let curve = ranked.precision_recall(usize::MAX);
        let mut last = 0.0;
        let mut area = 0.0;
        for p in &curve.points {
            area += (p.recall - last) * p.precision;
            last = p.recall;
        }
        assert!((area - curve.average_precision).abs() < 1e-12);
    }

    #[test]
    fn thinning_keeps_the_ends_and_the_shape() {
        let ranked = ranked(20_000);
        for points in [0, 2, 3, 10, 100] {
            let roc = ranked.roc(points);
            assert!(roc.points.len() <= points.max(2), "{points} {}", roc.points.len());
            let (first, last) = (roc.points[0], roc.points[roc.points.len() - 1]);
            assert_eq!((first.false_positive_rate, first.true_positive_rate), (0.0, 0.0));
            assert_eq!((last.false_positive_rate, last.true_positive_rate), (1.0, 1.0));
            let curve = ranked.precision_recall(points);
            assert!(curve.points.len() <= points.max(2), "{points} {}", curve.points.len());
            assert_eq!(curve.points[curve.points.len() - 1].recall, 1.0);
        }
        let roc = ranked.roc(200);
        assert!((trapezoids(&roc.points) - roc.area).abs() < 0.02);
    }

    #[test]
    fn every_point_is_what_its_threshold_gives() {
        let ranked = ranked(3_000);
        for point in ranked.roc(50).points {
            let Some(threshold) = point.threshold else { continue };
            let counts = ranked.confusion_at(threshold).unwrap();
            assert_eq!(counts.sensitivity(), Some(point.true_positive_rate));
            assert!((counts.specificity().unwrap() - (1.0 - point.false_positive_rate)).abs() < 1e-12);
        }
        for point in ranked.precision_recall(50).points {
            let counts = ranked.confusion_at(point.threshold).unwrap();
            assert_eq!(counts.sensitivity(), Some(point.recall));
            assert_eq!(counts.precision(), Some(point.precision));
        }
    }
}
