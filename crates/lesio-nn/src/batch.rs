//! A batch of images, as passed between models, predictors and engines.

use crate::shape::Shape;

/// A borrowed batch of images `[n, channel, row, column]`, row-major.
///
/// ```
/// use lesio_nn::{ImageBatch, Shape};
///
/// let values = [0.0; 2 * 3 * 4 * 4];
/// let batch = ImageBatch::new(&values, Shape::new(3, 4, 4))?;
/// assert_eq!((batch.len(), batch.image(1).len()), (2, 48));
/// assert!(ImageBatch::new(&values[1..], Shape::new(3, 4, 4)).is_err());
/// # Ok::<(), lesio_nn::BatchError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageBatch<'a> {
    values: &'a [f32],
    shape: Shape,
}

/// The number of values is not a multiple of an image's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} values are not a whole number of images of shape {shape}")]
#[non_exhaustive]
pub struct BatchError {
    /// Number of values.
    pub found: usize,
    /// Shape of an image.
    pub shape: Shape,
}

impl<'a> ImageBatch<'a> {
    /// Splits values into images of a shape; no values are no images.
    ///
    /// # Errors
    /// [`BatchError`] if values are left over, and for an empty shape.
    pub fn new(values: &'a [f32], shape: Shape) -> Result<Self, BatchError> {
        if shape.is_empty() || !values.len().is_multiple_of(shape.len()) {
            return Err(BatchError { found: values.len(), shape });
        }
        Ok(Self { values, shape })
    }

    /// All values.
    #[must_use]
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Shape of an image.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.shape.len()
    }

    /// Whether there is no image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values of an image, `[channel, row, column]`; empty past the last.
    #[must_use]
    pub fn image(&self, index: usize) -> &'a [f32] {
        let start = index.saturating_mul(self.shape.len());
        self.values.get(start..).and_then(|rest| rest.get(..self.shape.len())).unwrap_or(&[])
    }

    /// The images one by one.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &'a [f32]> {
        self.values.chunks_exact(self.shape.len())
    }
}
