//! Nothing but tests: what holds of the workspace as a whole stands in `tests/`, and the guide's programs run from here.

#![forbid(unsafe_code)]

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
