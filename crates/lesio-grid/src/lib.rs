//! Masks on a grid of pixels or voxels: connected components, boxes and distances.
//!
//! - [`label_plane`] and [`label_volume`] label the [`Components`] of a mask and describe each; [`ComponentRuns`]
//!   stores those of a volume without a label for each voxel. [`Connectivity`] defines which neighbors are connected.
//! - [`squared_distance`] and [`squared_distance_spaced`] are exact Euclidean distances to a mask.
//! - [`bounding_box`] and [`trimmed_box`] are boxes around a mask.
//!
//! Functions take borrowed arrays in any layout in memory, and results do not depend on the layout or on the number of threads.
//!
//! ```
//! use lesio_grid::{Connectivity, label_plane, squared_distance};
//! use ndarray::array;
//!
//! let mask = array![[true, true, false], [false, false, true]];
//! assert_eq!(label_plane(&mask, Connectivity::Face).components().len(), 2);
//! assert_eq!(label_plane(&mask, Connectivity::Vertex).components().len(), 1);
//! assert_eq!(squared_distance(&mask), array![[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]);
//! ```

#![forbid(unsafe_code)]

mod bounds;
mod components;
mod connectivity;
mod distance;
mod runs;

pub use bounds::{BoundingBox, bounding_box, trimmed_box};
pub use components::{Component, ComponentRuns, Components, label_plane, label_volume};
pub use connectivity::Connectivity;
pub use distance::{squared_distance, squared_distance_spaced};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
