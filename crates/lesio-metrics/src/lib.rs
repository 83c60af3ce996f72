//! Exact evaluation metrics for anomaly localization and segmentation.

#![forbid(unsafe_code)]

mod bands;
mod bootstrap;
mod calibration;
mod components;
mod confusion;
mod correlation;
mod curve;
mod distance_transform;
mod error;
mod grid;
mod keys;
mod lesions;
mod patient_regions;
mod patients;
mod ranking;
mod region;
mod regression;
mod selective;
mod sum;
mod surface;
mod sweep;
mod thinning;
mod threshold;

pub use bands::{BandPoint, CurveBand};
pub use bootstrap::{Bootstrap, BootstrapConfig, Interval, Replicates};
pub use calibration::{IntervalScores, Uniformity};
pub use components::Connectivity;
pub use confusion::{Confusion, WhenEmpty, dice, dice_per_label, jaccard};
pub use correlation::{kendall_tau_b, pearson, spearman};
pub use curve::{PrecisionRecallCurve, PrecisionRecallPoint, RocCurve, RocPoint};
pub use error::MetricError;
pub use lesions::{LesionConfig, LesionCounts, OverlapRule, lesion_counts};
pub use patient_regions::{PatientRegions, RankedPatientRegions};
pub use patients::{PatientPixels, PixelReplicates, RankedPatients};
pub use ranking::{CeilDice, PixelCurve, RankedPixels, auroc, average_precision};
pub use region::{RankedRegions, RegionCurve, RegionOverlapCurve, RegionOverlapPoint};
pub use regression::{BinScores, RegressionScores, regression_by_true_value};
pub use selective::{RiskCoverage, failure_auroc};
pub use surface::{Directions, SurfaceDistances, WhenNoSurface, hd95};
pub use threshold::{ThresholdRule, ValidationPixels, ValidationThreshold};
