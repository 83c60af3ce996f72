//! Two-dimensional images of any number of channels.

use ndarray::{Array2, Array3, ArrayView2, Axis};

/// A two-dimensional image: values `[channel, row, column]`, with any number of channels.
///
/// Values keep their units: an image read from a file of 8 or 16 bits has values of 0 to 255 or 0 to 65535.
#[derive(Clone, Debug, PartialEq)]
pub struct Image<T = f32> {
    data: Array3<T>,
}

impl<T> Image<T> {
    /// An image of `[channel, row, column]`.
    #[must_use]
    pub fn new(data: Array3<T>) -> Self {
        Self { data }
    }

    /// An image of one channel from `[row, column]`.
    #[must_use]
    pub fn from_plane(plane: Array2<T>) -> Self {
        Self { data: plane.insert_axis(Axis(0)) }
    }

    /// The values, `[channel, row, column]`.
    #[must_use]
    pub fn data(&self) -> &Array3<T> {
        &self.data
    }

    /// Returns the values without the image.
    #[must_use]
    pub fn into_data(self) -> Array3<T> {
        self.data
    }

    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.data.len_of(Axis(0))
    }

    /// Number of rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.data.len_of(Axis(1))
    }

    /// Number of columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.data.len_of(Axis(2))
    }

    /// One channel as `[row, column]`; `None` past the last.
    #[must_use]
    pub fn channel(&self, channel: usize) -> Option<ArrayView2<'_, T>> {
        (channel < self.channels()).then(|| self.data.index_axis(Axis(0), channel))
    }

    /// An image of the same size, value by value.
    #[must_use]
    pub fn map<U>(&self, f: impl FnMut(&T) -> U) -> Image<U> {
        Image { data: self.data.map(f) }
    }
}
