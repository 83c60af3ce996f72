//! NIfTI-1 and NIfTI-2 images.
//!
//! [`read_volume`](crate::read_volume) and [`write_volume`] suffice for most purposes. This module adds the header,
//! images of other ranks and types, and reading in parts.

mod affine;
mod byte_order;
mod datatype;
mod encode;
mod extension;
mod header;
mod image;
#[cfg(feature = "nifti")]
pub mod interchange;
mod names;
mod oddity;
mod parse;
mod raw;
mod reader;
mod slabs;
mod start;
mod statistics;
mod units;
mod voxel;
mod write;

pub use affine::AffineSource;
pub use byte_order::ByteOrder;
pub use datatype::Datatype;
pub use extension::Extension;
pub use header::{NiftiHeader, NiftiVersion};
pub use image::NiftiImage;
pub use oddity::Oddity;
pub use slabs::{Slab, Slabs};
pub use start::read_header;
pub use statistics::VoxelStatistics;
pub use units::SpaceUnit;
pub(crate) use voxel::Sealed;
pub use voxel::Voxel;
pub use write::{Compression, WriteOptions, write_volume};
