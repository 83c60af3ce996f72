//! Curves of the metrics in lesio-metrics.

use lesio_metrics::{CurveBand, PrecisionRecallCurve, RiskCoverage, RocCurve};

use super::lines::{Band, Curve};

impl Curve {
    /// A receiver operating characteristic, for [`LinePlot::roc`](crate::LinePlot::roc).
    #[must_use]
    pub fn roc(name: impl Into<String>, curve: &RocCurve) -> Self {
        let points = curve.points.iter().map(|point| (point.false_positive_rate, point.true_positive_rate));
        Self::through(name, points)
    }

    /// Precision and recall, for [`LinePlot::precision_recall`](crate::LinePlot::precision_recall). The
    /// line begins at recall 0 with the precision of the highest scores.
    #[must_use]
    pub fn precision_recall(name: impl Into<String>, curve: &PrecisionRecallCurve) -> Self {
        let start = curve.points.first().map(|point| (0.0, point.precision));
        let points = curve.points.iter().map(|point| (point.recall, point.precision));
        Self::through(name, start.into_iter().chain(points))
    }

    /// Risk over coverage, for [`LinePlot::risk_coverage`](crate::LinePlot::risk_coverage).
    #[must_use]
    pub fn risk_coverage(name: impl Into<String>, curve: &RiskCoverage) -> Self {
        Self::through(name, curve.coverage.iter().copied().zip(curve.risk.iter().copied()))
    }

    /// Shades a band of pointwise intervals.
    #[must_use]
    pub fn measured_band(self, band: &CurveBand) -> Self {
        let column = |value: fn(&lesio_metrics::BandPoint) -> f64| band.points.iter().map(value).collect();
        self.shaded(Band { x: column(|p| p.x), lower: column(|p| p.lower), upper: column(|p| p.upper) })
    }
}

#[cfg(test)]
mod tests {
    use crate::Curve;
    use lesio_metrics::{PixelCurve, RiskCoverage};

    const SCORES: [f32; 6] = [0.1, 0.4, 0.35, 0.8, 0.7, 0.2];
    const TRUTH: [bool; 6] = [false, false, true, true, true, false];

    #[test]
    fn curves_keep_the_measured_points() {
        let mut pixels = PixelCurve::new();
        pixels.update(&SCORES, &TRUTH).unwrap();
        let ranked = pixels.rank().unwrap();
        let expected = Curve::new(
            "a",
            [0.0, 0.0, 0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0],
            [0.0, 1.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 1.0, 1.0],
        );
        assert_eq!(Curve::roc("a", &ranked.roc(100)), expected.unwrap());
        let expected = Curve::new("a", [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0], [1.0, 1.0, 1.0, 0.75]);
        assert_eq!(Curve::precision_recall("a", &ranked.precision_recall(100)), expected.unwrap());
        let kept = RiskCoverage::new(&[0.1, 0.5], &[0.9, 0.2]).unwrap();
        assert_eq!(Curve::risk_coverage("a", &kept), Curve::new("a", [0.5, 1.0], [0.1, 0.3]).unwrap());
    }
}
