//! Volumes and images that keep their geometry, and what is done to them before and after a network:
//! resampling, intensity normalization, masks, filters and connected components.
//!
//! - [`Volume`] is a three-dimensional array with its [`Geometry`] (affine, spacing, orientation);
//!   [`Image`] is a two-dimensional one of any number of channels.

#![forbid(unsafe_code)]

mod geometry;
mod image;
mod orientation;
mod volume;

pub use geometry::{Geometry, GeometryError};
pub use image::Image;
pub use orientation::{AxisCode, Orientation};
pub use volume::{OrientationParseError, Plane, Volume};
