//! The image that is being read, channel by channel, and rotated by its orientation.

use lesio_image::Image;
use ndarray::Array3;

use super::budget::MemoryBudget;
use super::orientation::ExifTurn;
use crate::error::ReadErrorKind;

/// Values of all channels, filled row by row in the order of the file.
#[derive(Debug)]
pub(super) struct Planes {
    values: Vec<f32>,
    channels: usize,
    /// Rows and columns as stored.
    size: [usize; 2],
    orientation: ExifTurn,
}

impl Planes {
    /// Allocates zeros. Their memory is the only copy of the pixels that is counted here.
    pub(super) fn new(
        budget: &mut MemoryBudget,
        channels: usize,
        size: [usize; 2],
        orientation: ExifTurn,
    ) -> Result<Self, ReadErrorKind> {
        let count = (size[0] as u64).saturating_mul(size[1] as u64).saturating_mul(channels as u64);
        Ok(Self { values: budget.zeros(count)?, channels, size, orientation })
    }

    /// Writes values of one channel into every `spacing`-th column of a stored row, from a start column. Values outside
    /// the row are dropped.
    pub(super) fn put(
        &mut self,
        channel: usize,
        [row, column]: [usize; 2],
        spacing: usize,
        values: impl Iterator<Item = f32>,
    ) {
        let [rows, columns] = self.size;
        if channel >= self.channels || row >= rows || column >= columns {
            return;
        }
        let width = self.orientation.shown(self.size)[1];
        let index = |column| {
            let [row, column] = self.orientation.place([row, column], self.size);
            channel * rows * columns + row * width + column
        };
        let first = index(column);
        // Displayed positions along a stored row are evenly spaced, forward or backward.
        let step = if column + 1 < columns {
            index(column + 1).wrapping_sub(first).wrapping_mul(spacing)
        } else {
            0
        };
        let mut at = first;
        for value in values.take((columns - column).div_ceil(spacing)) {
            if let Some(place) = self.values.get_mut(at) {
                *place = value;
            }
            at = at.wrapping_add(step);
        }
    }

    /// The image, `[channel, row, column]` as displayed.
    pub(super) fn finish(self) -> Result<Image<f32>, ReadErrorKind> {
        let [rows, columns] = self.orientation.shown(self.size);
        let have = self.values.len() as u64;
        Array3::from_shape_vec((self.channels, rows, columns), self.values)
            .map(Image::new)
            .map_err(|_| ReadErrorKind::Truncated { what: "the image", need: have, have })
    }
}

/// Counts pixels that are not opaque, since the meaning of their values is undefined.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opacity {
    transparent: u64,
}

impl Opacity {
    pub(super) fn count(&mut self, transparent: usize) {
        self.transparent += transparent as u64;
    }

    pub(super) fn check(self) -> Result<(), ReadErrorKind> {
        if self.transparent == 0 {
            return Ok(());
        }
        Err(ReadErrorKind::UnsupportedPixels {
            found: format!("transparent in {} places", self.transparent),
            expected: "opaque pixels",
        })
    }
}
