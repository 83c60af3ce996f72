//! Volumes too large for memory, a few slices at a time.

use std::marker::PhantomData;

use ndarray::{Array3, ShapeBuilder};

use crate::error::{ReadError, ReadErrorKind};
use crate::nifti::reader::VoxelReader;
use crate::nifti::voxel::Voxel;
use crate::source::reserve;

/// Some slices of a volume.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Slab<T> {
    /// The volume, from 0.
    pub volume: u64,
    /// The first slice along the third axis.
    pub first_slice: usize,
    /// Voxels `(i, j, k)`.
    pub data: Array3<T>,
}

/// The slabs of an image, in file order: see [`NiftiImage::slabs`](crate::nifti::NiftiImage::slabs).
///
/// After an error there are no more.
#[derive(Debug)]
pub struct Slabs<'a, T> {
    reader: VoxelReader<'a>,
    path: &'a std::path::Path,
    shape: (usize, usize, usize),
    thickness: usize,
    volumes: u64,
    volume: u64,
    slice: usize,
    /// How many bytes follow the last voxel of a compressed file, once it was read to its end.
    rest: u64,
    voxel: PhantomData<T>,
}

impl<'a, T: Voxel> Slabs<'a, T> {
    pub(crate) fn new(
        reader: VoxelReader<'a>,
        path: &'a std::path::Path,
        shape: (usize, usize, usize),
        thickness: usize,
        volumes: u64,
    ) -> Self {
        Self { reader, path, shape, thickness, volumes, volume: 0, slice: 0, rest: 0, voxel: PhantomData }
    }

    pub(crate) fn rest(&self) -> u64 {
        self.rest
    }

    fn read(&mut self) -> Result<Slab<T>, ReadErrorKind> {
        let (rows, columns, slices) = self.shape;
        let depth = self.thickness.min(slices - self.slice);
        let count = rows as u64 * columns as u64 * depth as u64;
        let mut values = Vec::new();
        reserve(&mut values, count)?;
        self.reader.next_values(count, &mut values)?;
        let data = Array3::from_shape_vec((rows, columns, depth).f(), values)
            .map_err(|_| ReadErrorKind::OutOfMemory { bytes: count })?;
        let slab = Slab { volume: self.volume, first_slice: self.slice, data };
        self.slice += depth;
        if self.slice == slices {
            self.slice = 0;
            self.volume += 1;
        }
        if self.volume == self.volumes {
            self.rest = self.reader.finish()?;
        }
        Ok(slab)
    }
}

impl<T: Voxel> Iterator for Slabs<'_, T> {
    type Item = Result<Slab<T>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.volume >= self.volumes {
            return None;
        }
        let slab = self.read();
        if slab.is_err() {
            self.volume = self.volumes;
        }
        Some(slab.map_err(|kind| kind.at(self.path)))
    }
}
