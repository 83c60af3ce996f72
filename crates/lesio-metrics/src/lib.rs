//! Exact evaluation metrics for anomaly localization and segmentation.

#![forbid(unsafe_code)]

mod components;
mod confusion;
mod curve;
mod error;
mod keys;
mod lesions;
mod ranking;
mod region;
mod sum;
mod sweep;
mod thinning;
mod threshold;

pub use components::Connectivity;
pub use confusion::{Confusion, WhenEmpty, dice, dice_per_label, jaccard};
pub use curve::{PrecisionRecallCurve, PrecisionRecallPoint, RocCurve, RocPoint};
pub use error::MetricError;
pub use lesions::{LesionConfig, LesionCounts, OverlapRule, lesion_counts};
pub use ranking::{CeilDice, PixelCurve, RankedPixels, auroc, average_precision};
pub use region::{RankedRegions, RegionCurve, RegionOverlapCurve, RegionOverlapPoint};
pub use threshold::{ThresholdRule, ValidationPixels, ValidationThreshold};
