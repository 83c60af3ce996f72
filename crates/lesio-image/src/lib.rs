//! Volumes and images with their geometry, and the processing before and after a network: resampling, intensity
//! normalization, masks, filters and connected components.
//!
//! - Data: [`Volume`] is a three-dimensional array with its [`Geometry`] (affine, spacing,
//!   [`Orientation`]), viewed slice by slice along a [`Plane`]; [`Image`] holds the pixels of a picture. A [`Scan`] has
//!   one or several channels of either kind, on one grid. [`Volume::aligned_to`] reorders the voxels of a volume to
//!   match another one of the same position.
//! - To a network and back: [`Preprocessing`] is the configuration, [`FittedPreprocessing`] is saved with a
//!   model, [`PreparedScan`] is the input of a network, with the inverse of every step.
//! - Its parts, each usable alone: [`ForegroundMask`] and [`Threshold`] (what is head and what is
//!   air); [`RobustScaling`], [`ZScore`] and [`HistogramStandardizer`] (intensities on a common
//!   scale); [`GridFit`] and [`Alignment`], which make a [`Placement`] (where on the grid an image
//!   lies); [`resample_volume`] and [`respace_volume`].
//! - After a network: [`median_filter_volume`], [`gaussian_filter_volume`], [`erode`],
//!   [`label_volume`], and the same for planes.
//!
//! Functions take `&ArrayRef`, to which arrays and views of ndarray dereference. Nothing depends on
//! the number of threads: work is split by shape, and sums are taken in `f64`.
//!
//! ```
//! use lesio_image::{Connectivity, Geometry, Preprocessing, Scan, Volume, label_volume, median_filter_volume};
//! use ndarray::Array3;
//!
//! // A head of 50 mm with a bright spot in it.
//! let data = Array3::from_shape_fn((50, 60, 10), |(i, j, k)| {
//!     let from = |x: f32, y: f32, z: f32| {
//!         ((i as f32 - x).powi(2) + (j as f32 - y).powi(2) + 9.0 * (k as f32 - z).powi(2)).sqrt()
//!     };
//!     if from(30.0, 35.0, 5.0) < 5.0 { 300.0 } else if from(24.0, 30.0, 5.0) < 20.0 { 100.0 } else { 2.0 }
//! });
//! let scan = Scan::from(Volume::new(data, Geometry::from_spacing([1.0, 1.0, 3.0])?));
//!
//! // To a network's grid, through a stand-in for the network, and back to the volume's grid.
//! let preprocessing = Preprocessing::heads([64, 64]).fit([&scan])?;
//! let prepared = preprocessing.prepare(&scan)?;
//! let maps: Vec<_> =
//!     prepared.planes.iter().map(|plane| plane.input.index_axis(ndarray::Axis(0), 0).to_owned()).collect();
//! let map = prepared.restore_map(&maps, 0.0)?;
//!
//! // The result is one lesion at the position of the spot.
//! let smooth = median_filter_volume(map.data(), [3, 3, 1])?;
//! let lesions = label_volume(&smooth.mapv(|score| score > 0.9), Connectivity::Vertex);
//! assert_eq!(lesions.components().len(), 1);
//! assert!(lesions.components()[0].bounds.contains([30, 35, 5]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod agreement;
mod alignment;
mod error;
mod fitted;
mod gaussian;
mod geometry;
mod grid;
mod histogram;
mod image;
mod intensity;
mod intensity_scale;
mod mask;
mod median;
mod morphology;
pub mod noise;
mod orientation;
mod percentile;
mod placement;
mod prepared;
mod preprocess;
mod rank_set;
mod resample;
mod scan;
mod sorting_network;
mod threshold;
mod volume;

pub use agreement::{
    Agreement, AxisAgreement, CENTER_TOLERANCE, CORNER_TOLERANCE, GridError, GridFault, SPACING_TOLERANCE,
    VoxelGrid,
};
pub use alignment::{Alignment, AlignmentScope, Aspect};
pub use error::{ImageError, check_finite};
pub use fitted::{FittedPreprocessing, PreprocessError};
pub use gaussian::{gaussian_filter_plane, gaussian_filter_volume};
pub use geometry::{Geometry, GeometryError};
pub use grid::{GridFit, Resize};
pub use histogram::{FittedHistogram, HistogramFit, HistogramStandardizer, PiecewiseScale};
pub use image::Image;
pub use intensity::{LinearScale, RobustScaling, ZScore};
pub use intensity_scale::IntensityScale;
pub use lesio_grid::{
    BoundingBox, Component, ComponentRuns, Components, Connectivity, bounding_box, label_plane, label_volume,
    squared_distance, trimmed_box,
};
pub use lesio_settings::SettingError;
pub use mask::{ForegroundMask, Holes, KeepComponents};
pub use median::{FilterError, median_filter_in_place, median_filter_plane, median_filter_volume};
pub use morphology::{close, dilate, erode, erode_spaced, fill_holes_plane, open};
pub use orientation::{AxisCode, Orientation};
pub use percentile::order_statistics;
pub use placement::Placement;
pub use prepared::{PreparedPlane, PreparedScan};
pub use preprocess::{Background, Foreground, Frame, Intensity, Preprocessing, SlicePosition};
pub use resample::{Interpolation, ResampleError, resample_plane, resample_volume, respace_volume};
pub use scan::{Scan, ScanError};
pub use threshold::Threshold;
pub use volume::{OrientationParseError, Plane, Volume, upright_slice};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
