//! Errors of scoring images.

use crate::ensemble::EnsembleError;
use lesio_image::{FilterError, ImageError, PreprocessError, ResampleError, ScanError};
use lesio_nn::BatchError;
use lesio_settings::SettingError;
use lesio_vae::ModelError;

/// Why images could not be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The model could not be computed.
    #[error("the model gave no result")]
    Model(#[from] ModelError),
    /// The number of values is not a multiple of an image's size.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The images could not be brought to the network's grid.
    #[error("the image could not be brought to the network's grid")]
    Preprocess(#[from] PreprocessError),
    /// A map could not be brought back.
    #[error("the map could not be brought back to the image")]
    Image(#[from] ImageError),
    /// A map could not be filtered.
    #[error("the map could not be filtered")]
    Filter(#[from] FilterError),
    /// A map could not be brought to another grid to be filtered.
    #[error("the map could not be brought to another grid")]
    Resample(#[from] ResampleError),
    /// The members of an ensemble could not be combined.
    #[error("the ensemble's members could not be combined")]
    Ensemble(#[from] EnsembleError),
    /// A setting is out of range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Parts that do not fit together.
    #[error("{0}")]
    Config(String),
    /// A predictor was requested more than once.
    #[error("predictor {predictor:?} is named more than once")]
    Repeated {
        /// The predictor.
        predictor: String,
    },
    /// The image has another number of channels than the model.
    #[error("the image has {found} channel{}, the model was trained on {expected}", if *found == 1 { "" } else { "s" })]
    Channels {
        /// Channels of the image.
        found: usize,
        /// Channels of the model.
        expected: usize,
    },
    /// Names of channels that a localizer cannot have.
    #[error("the names of the channels do not fit the model")]
    ChannelNames(#[source] ScanError),
    /// A predictor gave another number of scores than there are pixels.
    #[error("predictor {predictor:?} gave {found} scores, expected {expected}")]
    Scores {
        /// The predictor.
        predictor: String,
        /// Scores given.
        found: usize,
        /// Pixels of the images.
        expected: usize,
    },
    /// A predictor has no normal scores for comparison.
    #[error("predictor {predictor:?} was not calibrated")]
    NotCalibrated {
        /// The predictor.
        predictor: String,
    },
    /// A scan was not scored by this predictor.
    #[error("the scan was not scored by predictor {predictor:?}")]
    NotScored {
        /// The predictor.
        predictor: String,
    },
    /// A user-defined predictor was requested but not registered.
    #[error("predictor {predictor:?} is not built in, and no function was registered for it")]
    NotRegistered {
        /// The predictor.
        predictor: String,
    },
    /// The predictor `ensemble` was requested of a localizer without an ensemble.
    #[error(
        "the localizer has no ensemble: one is made when several models are trained together or combined"
    )]
    NoEnsemble,
    /// A predictor needs another kind of model.
    #[error("predictor {predictor:?} needs {needs}, and the model is a {model}")]
    Unsupported {
        /// The predictor.
        predictor: String,
        /// The kind of model that it needs, with an article.
        needs: &'static str,
        /// The kind of model.
        model: String,
    },
}
