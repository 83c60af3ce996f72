//! Anomaly localization: predictors, calibration, post-processing and the Localizer.

#![forbid(unsafe_code)]

mod calibration;
mod catalogue;
mod combination;
pub mod conformance;
mod error;
mod gradient;
mod localizer;
mod model;
mod pixel;
mod planes;
mod postprocessing;
mod predictor;
mod projection;
mod restoration;
mod shared;
mod smoothing;
mod ssim;

pub use calibration::{Calibration, NormalScores, NormalScoresBuilder};
pub use catalogue::{PredictorName, PredictorSettings, UnknownPredictor, predictor};
pub use combination::{Combination, Combined};
pub use error::PredictError;
pub use gradient::{GradientConfig, GradientPredictor, Target};
pub use localizer::{ImageScore, Localizer, Provenance, ScoredImage, ScoredVolume, VolumeScore};
pub use model::{Model, ModelConfig};
pub use pixel::{Distance, Intensity, PixelError, PixelLikelihood};
pub use postprocessing::{NegativeValues, PostProcessing};
pub use predictor::Predictor;
pub use projection::{Projection, ProjectionConfig, ProjectionMap, ProjectionTrace};
pub use restoration::{Restoration, RestorationConfig};
pub use shared::SharedPass;
