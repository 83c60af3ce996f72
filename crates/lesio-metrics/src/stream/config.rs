//! The metrics to compute of streamed pixels.

use lesio_settings::setters;

use crate::threshold::ValidationThreshold;

/// The metrics to compute of streamed pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MeasureConfig {
    /// False positive rate up to which the per-region overlap is integrated, in (0, 1]. Default .3, as for MVTec AD.
    pub overlap_limit: f64,
    /// Points of the curves, see [`RankedPixels::roc`](crate::RankedPixels::roc). Default 200, more than a figure shows.
    pub curve_points: usize,
    /// The threshold for Dice. Default none.
    pub threshold: Option<ValidationThreshold>,
}

impl Default for MeasureConfig {
    fn default() -> Self {
        Self { overlap_limit: 0.3, curve_points: 200, threshold: None }
    }
}

impl MeasureConfig {}

setters!(MeasureConfig {
    overlap_limit: f64,
    curve_points: usize,
    threshold: Option<ValidationThreshold>,
});
