//! Errors of configurations, input and estimation.

use std::path::Path;

use lesio_image::{GridError, ImageError, ScanError};
use lesio_metrics::MetricError;
use lesio_nn::{EngineError, LoadError, NetworkError, ParameterError};
use lesio_settings::SettingError;

/// Why an image and its segmentation cannot be graded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// Image and segmentation have different shapes.
    #[error("the segmentation has shape {segmentation:?}, the image {image:?}")]
    Shape {
        /// Shape of the image.
        image: Vec<usize>,
        /// Shape of the segmentation.
        segmentation: Vec<usize>,
    },
    /// Image and segmentation have different positions in space.
    #[error("the segmentation has another position in space than the image: {0}")]
    Grid(GridError),
    /// The slices of a volume do not lie along its third axis.
    #[error(
        "the slices must lie along the third axis, but voxels are longest along another one: they are {} mm; reorder the voxels",
        .spacing.map(|length| format!("{length:.2}")).join(" x ")
    )]
    SliceAxis {
        /// Size of a voxel along each axis, in millimeters.
        spacing: [f64; 3],
    },
    /// The segmentation holds a label that the estimator was not trained with.
    #[error("the segmentation holds label {label}, expected 0 and {expected:?}")]
    UnknownLabel {
        /// The label.
        label: u8,
        /// The labels known.
        expected: Vec<u8>,
    },
    /// The image has another number of channels than the estimator was trained with.
    #[error("the image has {found} channels, expected {expected}")]
    Channels {
        /// Those of the image.
        found: usize,
        /// Those of the training images.
        expected: usize,
    },
    /// The channels of the image have other names than those of the training images.
    #[error(transparent)]
    Names(#[from] ScanError),
    /// The image is empty, constant or not finite.
    #[error("the image cannot be used")]
    Image(#[from] ImageError),
    /// A setting is out of range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A metric of the input is not defined.
    #[error(transparent)]
    Metric(#[from] MetricError),
}

impl InputError {
    /// Whether the image is constant, as padding is.
    pub(crate) fn is_constant(&self) -> bool {
        matches!(self, Self::Image(ImageError::ConstantImage { .. }))
    }
}

/// The error of a channel, which is named if there are several.
pub(crate) fn in_channel(name: String, channels: usize, source: ImageError) -> ImageError {
    if channels == 1 { source } else { ImageError::Channel { channel: name, source: Box::new(source) } }
}

/// Why an estimator cannot be made of its configuration and parameters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QualityBuildError {
    /// A setting is out of range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A network cannot be declared so.
    #[error("the network cannot be declared")]
    Network(#[from] NetworkError),
    /// The parameters do not fit the configuration.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// An engine could not be made.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl QualityBuildError {
    /// The error of reading a file that holds such a configuration and such parameters.
    pub(crate) fn into_load_error(self, path: &Path) -> LoadError {
        match self {
            Self::Parameters(source) => LoadError::Parameters { path: path.to_owned(), source },
            other => LoadError::Refused { path: path.to_owned(), reason: other.to_string() },
        }
    }
}

/// Why quality could not be estimated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EstimateError {
    /// The input is invalid.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A slice of a volume is invalid.
    #[error("slice {slice} is invalid")]
    Slice {
        /// The slice, from 0.
        slice: usize,
        /// The cause.
        source: InputError,
    },
    /// An engine failed.
    #[error("the networks could not be computed")]
    Engine(#[from] EngineError),
}
