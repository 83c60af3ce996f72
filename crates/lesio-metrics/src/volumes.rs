//! Masks of two or three axes as volumes, and their connected regions.

use lesio_grid::{ComponentRuns, Connectivity};
use ndarray::{Array3, ArrayView, ArrayView3, Axis, Dimension};

use crate::error::MetricError;

/// The connected regions of a mask, numbered from 1 in the order of their first voxel.
#[derive(Clone, Debug)]
pub(crate) struct Regions {
    /// Region of each voxel in row-major order, 0 outside.
    pub(crate) labels: Array3<u32>,
    /// Number of voxels of each region, that of region 1 first.
    pub(crate) sizes: Vec<u64>,
}

impl Regions {
    /// Labels the voxels where a mask holds and, if there is one, `within` of the same shape.
    pub(crate) fn new(
        mask: &ArrayView3<'_, bool>,
        within: Option<&ArrayView3<'_, bool>>,
        connectivity: Connectivity,
    ) -> Result<Self, MetricError> {
        let voxels = mask.len();
        if u32::try_from(voxels).is_err() {
            return Err(MetricError::TooMany { what: "voxels of one mask", found: voxels as u64 });
        }
        let runs = match within {
            Some(within) => ComponentRuns::within(mask, within, connectivity).ok_or_else(|| {
                let (expected, found) = (mask.shape().to_vec(), within.shape().to_vec());
                MetricError::Shape { what: "mask", expected, found }
            })?,
            None => ComponentRuns::new(mask, connectivity),
        };
        Ok(Self {
            labels: runs.labels(|region| region as u32 + 1),
            sizes: runs.components().iter().map(|component| component.size as u64).collect(),
        })
    }

    /// Number of regions.
    pub(crate) fn count(&self) -> usize {
        self.sizes.len()
    }
}

/// An array of two or three axes as a volume; an image is a volume of one slice.
pub(crate) fn volume<T, D: Dimension>(array: ArrayView<'_, T, D>) -> Result<ArrayView3<'_, T>, MetricError> {
    let found = array.ndim();
    let array = array.into_dyn();
    let array = if found == 2 { array.insert_axis(Axis(0)) } else { array };
    array.into_dimensionality().map_err(|_| MetricError::Axes { found })
}
