//! Volumes and images that keep their geometry, and what is done to them before and after a network:
//! resampling, intensity normalization, masks, filters and connected components.
//!
//! - [`Volume`] is a three-dimensional array with its [`Geometry`] (affine, spacing, orientation);
//!   [`Image`] is a two-dimensional one of any number of channels.

#![forbid(unsafe_code)]

mod alignment;
mod bounds;
mod components;
mod distance;
mod error;
mod gaussian;
mod geometry;
mod grid;
mod histogram;
mod image;
mod intensity;
mod mask;
mod median;
mod morphology;
mod network;
mod orientation;
mod percentile;
mod placement;
mod prepared;
mod preprocess;
mod rank_set;
mod resample;
mod runs;
mod threshold;
mod volume;

pub use alignment::{Alignment, AlignmentScope, Aspect};
pub use bounds::{BoundingBox, bounding_box, trimmed_box};
pub use components::{
    Component, Components, Connectivity, label_plane, label_volume, remove_small_plane, remove_small_volume,
};
pub use distance::squared_distance;
pub use error::{ConfigError, ImageError};
pub use gaussian::{gaussian_filter_plane, gaussian_filter_volume, positive_part};
pub use geometry::{Geometry, GeometryError};
pub use grid::{GridFit, Resize};
pub use histogram::{FittedHistogram, HistogramFit, HistogramStandardizer, PiecewiseScale};
pub use image::Image;
pub use intensity::{LinearScale, RobustScaling, ZScore};
pub use mask::{ForegroundMask, Holes, KeepComponents};
pub use median::{FilterError, median_filter_plane, median_filter_volume};
pub use morphology::{close, dilate, erode, fill_holes_plane, fill_holes_volume, open};
pub use orientation::{AxisCode, Orientation};
pub use placement::Placement;
pub use prepared::{PreparedImage, PreparedPlane, PreparedVolume};
pub use preprocess::{
    Background, FittedPreprocessing, Foreground, Frame, Intensity, IntensityScale, PreprocessError,
    Preprocessing, SlicePosition,
};
pub use resample::{Interpolation, ResampleError, resample_plane, resample_volume, respace_volume};
pub use threshold::Threshold;
pub use volume::{OrientationParseError, Plane, Volume};
