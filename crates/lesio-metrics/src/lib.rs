//! Exact evaluation metrics for anomaly localization and segmentation.
//!
//! Higher scores are more abnormal; truth is `true` where something is abnormal; a pixel is positive at a threshold when
//! its score is `>=` it. Every convention (pooling, connectivity, limits, empty input) is stated with the item it
//! applies to; `docs/metrics.md` collects them.
//!
//! | question | answer |
//! |---|---|
//! | Do scores rank abnormal pixels first? | [`auroc`], [`average_precision`]; over many images [`PixelCurve`] |
//! | How good is a threshold chosen on validation data? | [`ValidationThreshold`] and [`RankedPixels::dice_at`]; the upper bound is [`RankedPixels::ceil_dice`] |
//! | Are small lesions found as well as large ones? | [`RegionCurve`] (AUPRO), [`LesionCounts`] |
//! | Do two masks agree? | [`dice`], [`jaccard`], [`Confusion`], [`hd95`], [`SurfaceDistances`] |
//! | Is a predicted quality accurate? | [`RegressionScores`], [`failure_auroc`], [`RiskCoverage`] |
//! | Is stated uncertainty calibrated? | [`IntervalScores`], [`Uniformity`] |
//! | How large are the intervals over patients? | [`PatientPixels`], [`PatientRegions`], [`Bootstrap`] |
//! | How to evaluate more pixels than fit into memory? | [`StreamedPatients`], [`StreamedValidation`] in a [`Scratch`] |
//!
//! # Arrays
//!
//! Arguments may have any memory layout; no layout causes a copy or another result:
//!
//! - **Maps and masks** that belong together have one shape. They are passed as `impl Into<ArrayView<..>>`: an array or
//!   a view by reference (`&map`), a view by value (`map.view()`, sliced, reversed, transposed, in Fortran order), and
//!   for one axis a slice or a vector (`&scores`). Pass an `ArrayRef` as its `view()`. If neighbors matter
//!   ([`RegionCurve`],
//!   [`LesionCounts`], [`SurfaceDistances`], [`TruePixels`]) there are two axes `[row, column]` or three `[i, j, k]`,
//!   otherwise any number.
//! - **Samples** ([`RegressionScores`], [`pearson`] and others of two series) are passed in the same way with one axis,
//!   for example a column of a table.
//! - **Single series** (scores of [`StreamedScores`] or of normal pixels, p-values, names of patients) are any
//!   iterator, including an array, a view or a slice. Pixels come from iterators by [`PixelCurve::update_pixels`] and
//!   into a
//!   [`Confusion`].
//!
//! Only [`SurfaceDistances`] copies voxels, as documented there. Indices in errors are in row-major order.
//!
//! # Results
//!
//! Results are the same bits for any number of threads, any split into batches and any order of updates.
//! An undefined value is an error or `None`, never a number.
//!
//! ```
//! use lesio_metrics::{PixelCurve, ThresholdRule, ValidationPixels};
//!
//! // A threshold is chosen on validation images, before the test set is opened.
//! let mut validation = ValidationPixels::new();
//! validation.update(&[0.1, 0.3, 0.2, 0.8], &[false, false, false, true])?;
//! let threshold = validation.choose(ThresholdRule::BestDice)?;
//!
//! // Test images stream in; their pixels are pooled and ranked once.
//! let mut test = PixelCurve::new();
//! test.update(&[0.2, 0.9, 0.4], &[false, true, false])?;
//! test.update(&[0.3, 0.1, 0.7], &[true, false, false])?;
//! let ranked = test.rank()?;
//! assert_eq!(ranked.auroc(), 0.75);
//! assert_eq!(ranked.dice_at(&threshold), 2.0 / 3.0);
//! assert!(ranked.ceil_dice().dice >= ranked.dice_at(&threshold));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod bands;
mod bins;
mod bootstrap;
mod calibration;
mod confusion;
mod correlation;
mod curve;
mod error;
mod grid;
mod keys;
mod lesions;
mod merge;
mod patient_regions;
mod patients;
mod ranking;
mod region;
mod regression;
mod replicates;
mod resampled;
mod run;
mod scratch;
mod selective;
mod stream;
mod sum;
mod surface;
mod sweep;
mod thinning;
mod threshold;
mod validation;
mod volumes;

pub use bands::{BandPoint, CurveBand};
pub use bootstrap::{Bootstrap, BootstrapConfig, Interval, Replicates};
pub use calibration::{IntervalScores, Uniformity};
pub use confusion::{Confusion, WhenEmpty, dice, dice_per_label, jaccard};
pub use correlation::{kendall_tau_b, pearson, spearman};
pub use curve::{PrecisionRecallCurve, PrecisionRecallPoint, RocCurve, RocPoint};
pub use error::MetricError;
pub use lesio_grid::Connectivity;
pub use lesions::{LesionCounts, LesionMatching, OverlapRule};
pub use patient_regions::{PatientRegions, RankedPatientRegions};
pub use patients::{PatientPixels, RankedPatients};
pub use ranking::{CeilDice, PixelCurve, RankedPixels, auroc, average_precision};
pub use region::{RankedRegions, RegionCurve};
pub use regression::{BinScores, RegressionScores, regression_by_true_value};
pub use replicates::PixelReplicates;
pub use scratch::{Moved, Scratch};
pub use selective::{RiskCoverage, failure_auroc};
pub use stream::{
    MeasureConfig, MeasuredPatients, StreamedPatients, StreamedScores, StreamedValidation, TruePixels,
};
pub use surface::{Directions, SurfaceDistances, WhenNoSurface, hd95};
pub use threshold::{ThresholdRule, ValidationThreshold};
pub use validation::ValidationPixels;

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
