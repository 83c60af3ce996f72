//! Curves for plots: thinned points, with exact areas.

use serde::Serialize;

use crate::keys;
use crate::ranking::RankedPixels;
use crate::sweep::{Step, steps};
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
    /// Fraction of positive pixels: the precision of an uninformative score.
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
        let sorted = &self.keys().negatives;
        let mut roc = RocThinning::new(points, self.positives(), self.negatives());
        for step in steps(self.keys()) {
            let lowest_above = sorted.len().checked_sub(step.negatives_above as usize);
            roc.add(&step, lowest_above.and_then(|place| sorted.get(place)).copied());
        }
        roc.finish(sorted.first().copied(), self.auroc())
    }

    /// The precision-recall curve in at most `max(points, 2)` points: the first, the last, and between them the first
    /// score to reach each of equally spaced recalls.
    #[must_use]
    pub fn precision_recall(&self, points: usize) -> PrecisionRecallCurve {
        let mut curve = PrecisionRecallThinning::new(points, self.positives());
        steps(self.keys()).for_each(|step| curve.add(&step));
        curve.finish(self.average_precision(), self.prevalence())
    }
}

/// Gathers the points of a [`RocCurve`] as the threshold comes down.
pub(crate) struct RocThinning {
    thinned: Thinned,
    positives: u64,
    negatives: u64,
    end: Vertex,
}

impl RocThinning {
    pub(crate) fn new(points: usize, positives: u64, negatives: u64) -> Self {
        let end = Vertex { threshold: None, x: 0.0, y: 0.0 };
        Self { thinned: Thinned::new(points), positives, negatives, end }
    }

    /// `lowest_above` is the lowest key of a negative above this step's: there the curve has run flat through negatives.
    pub(crate) fn add(&mut self, step: &Step, lowest_above: Option<u32>) {
        if let Some(key) = lowest_above {
            self.thinned.offer(self.vertex(key, step.positives_above, step.negatives_above));
        }
        self.end = self.vertex(step.key, step.true_positives(), step.false_positives());
        self.thinned.offer(self.end);
    }

    /// `lowest` is the lowest key of a negative.
    pub(crate) fn finish(mut self, lowest: Option<u32>, area: f64) -> RocCurve {
        if let Some(lowest) = lowest.filter(|_| self.end.x < 1.0) {
            self.end = self.vertex(lowest, self.positives, self.negatives);
        }
        let point = |Vertex { threshold, x, y }| RocPoint {
            threshold,
            false_positive_rate: x,
            true_positive_rate: y,
        };
        let points = self.thinned.finish(self.end).into_iter().map(point).collect();
        RocCurve { points, area }
    }

    fn vertex(&self, key: u32, found: u64, alarms: u64) -> Vertex {
        Vertex {
            threshold: Some(keys::score(key)),
            x: alarms as f64 / self.negatives as f64,
            y: found as f64 / self.positives as f64,
        }
    }
}

/// Gathers the points of a [`PrecisionRecallCurve`] as the threshold comes down.
pub(crate) struct PrecisionRecallThinning {
    kept: Vec<PrecisionRecallPoint>,
    positives: u64,
    /// Number of intervals between equally spaced recalls.
    intervals: u64,
    /// The lowest multiple of the spacing that was not yet reached.
    next: u64,
}

impl PrecisionRecallThinning {
    pub(crate) fn new(points: usize, positives: u64) -> Self {
        let intervals = points.saturating_sub(1).max(1) as u64;
        Self { kept: Vec::new(), positives, intervals, next: 0 }
    }

    pub(crate) fn add(&mut self, step: &Step) {
        let found = step.true_positives();
        // In integers: a recall over the spacing may lie just below its multiple, which would then count twice.
        let reached = u128::from(found) * u128::from(self.intervals);
        let positives = u128::from(self.positives);
        if reached >= u128::from(self.next) * positives {
            let recall = found as f64 / self.positives as f64;
            let precision = found as f64 / (found + step.false_positives()) as f64;
            self.kept.push(PrecisionRecallPoint { threshold: keys::score(step.key), recall, precision });
            // At most `intervals + 1`, which fits: `intervals` is below the largest `usize`.
            self.next = (reached / positives) as u64 + 1;
        }
    }

    pub(crate) fn finish(self, average_precision: f64, prevalence: f64) -> PrecisionRecallCurve {
        PrecisionRecallCurve { points: self.kept, average_precision, prevalence }
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
    fn recalls_are_kept_once_each_however_they_round() {
        for positives in (1..=60u16).chain([398]) {
            let mut pixels = PixelCurve::new();
            let scores: Vec<f32> = (0..=positives).map(f32::from).collect();
            // The lowest is the only negative.
            let truth: Vec<bool> = scores.iter().map(|&score| score > 0.0).collect();
            pixels.update(&scores, &truth).unwrap();
            let ranked = pixels.rank().unwrap();
            for points in (0..=60).chain([200]) {
                let curve = ranked.precision_recall(points);
                assert!(curve.points.len() <= points.max(2), "{points} of {positives}");
                let kept: Vec<usize> =
                    curve.points.iter().map(|p| (p.recall * f64::from(positives)).round() as usize).collect();
                // The first score, and the first to reach each multiple of the spacing.
                let intervals = points.saturating_sub(1).max(1);
                let reaching = |multiple: usize| (multiple * usize::from(positives)).div_ceil(intervals);
                let mut expected: Vec<usize> =
                    std::iter::once(1).chain((1..=intervals).map(reaching)).collect();
                expected.dedup();
                assert_eq!(kept, expected, "{points} of {positives}");
            }
        }
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
