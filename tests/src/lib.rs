//! Helpers of the tests in `tests/`, which check the workspace as a whole. The guide's programs run from here, too.

// A test may panic.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![forbid(unsafe_code)]

pub mod alarms;
pub mod interface;
pub mod modules;
mod source;

/// The programs of the guide, compiled and run as doc tests. `tests/markdown.rs` checks that every chapter is listed.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../docs/guide/data.md")]
    struct Data;
    #[doc = include_str!("../../docs/guide/first-map.md")]
    struct FirstMap;
    #[doc = include_str!("../../docs/guide/geometry.md")]
    struct GeometryOfVolumes;
    #[doc = include_str!("../../docs/guide/many-cases.md")]
    struct ManyCases;
    #[doc = include_str!("../../docs/guide/measuring.md")]
    struct Measuring;
    #[doc = include_str!("../../docs/guide/models.md")]
    struct Models;
    #[doc = include_str!("../../docs/guide/own-model.md")]
    struct OwnModel;
    #[doc = include_str!("../../docs/guide/own-predictor.md")]
    struct OwnPredictor;
    #[doc = include_str!("../../docs/guide/quality.md")]
    struct SegmentationQuality;
    #[doc = include_str!("../../docs/guide/thresholds.md")]
    struct Thresholds;
    #[doc = include_str!("../../docs/guide/weights.md")]
    struct Weights;
}
