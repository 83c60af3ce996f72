//! Exact evaluation metrics for anomaly localization and segmentation.

#![forbid(unsafe_code)]

mod confusion;
mod curve;
mod error;
mod keys;
mod ranking;
mod sum;
mod sweep;
mod threshold;

pub use confusion::{Confusion, WhenEmpty, dice, dice_per_label, jaccard};
pub use curve::{PrecisionRecallCurve, PrecisionRecallPoint, RocCurve, RocPoint};
pub use error::MetricError;
pub use ranking::{CeilDice, PixelCurve, RankedPixels, auroc, average_precision};
pub use threshold::{ThresholdRule, ValidationPixels, ValidationThreshold};
