//! Errors about the values of an image.

use ndarray::{ArrayRef, Dimension};

/// Why the values of an image cannot be processed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// An axis has no elements.
    #[error("image of shape {shape:?} is empty")]
    EmptyImage {
        /// The shape.
        shape: Vec<usize>,
    },
    /// Values are NaN or infinite.
    #[error("{count} values are NaN or infinite, the first at {first:?}")]
    NonFiniteVoxels {
        /// How many.
        count: usize,
        /// Index of the first in logical (row-major) order.
        first: Vec<usize>,
    },
    /// All values that a step uses are equal, so there is no contrast.
    #[error(
        "there is no contrast to work with: of {voxels} values, all that determine the scale are {value}"
    )]
    ConstantImage {
        /// The value.
        value: f64,
        /// Number of values in the image or its foreground.
        voxels: usize,
    },
    /// No voxel belongs to the foreground.
    #[error("the foreground is empty")]
    EmptyForeground,
    /// One of several channels of a volume cannot be processed.
    #[error("channel {channel:?} cannot be used")]
    Channel {
        /// Its name, or its number from 0 if channels have no names.
        channel: String,
        /// Why.
        source: Box<ImageError>,
    },
    /// An array has another shape than the one it belongs to.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    ShapeMismatch {
        /// The array.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// The number of arrays is wrong.
    #[error("{found} {what} given, expected {expected}")]
    CountMismatch {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
}

/// Returns an error for an array (of any number of axes) without elements, or with NaN or infinite values.
///
/// # Errors
/// [`ImageError::EmptyImage`], and [`ImageError::NonFiniteVoxels`] with the count and the index of the first.
///
/// ```
/// use lesio_image::check_finite;
/// use ndarray::array;
///
/// assert!(check_finite(&array![[1.0, 2.0]]).is_ok());
/// let error = check_finite(&array![[1.0, f32::NAN]]).unwrap_err();
/// assert_eq!(error.to_string(), "1 values are NaN or infinite, the first at [0, 1]");
/// ```
pub fn check_finite<D: Dimension>(data: &ArrayRef<f32, D>) -> Result<(), ImageError> {
    if data.is_empty() {
        return Err(ImageError::EmptyImage { shape: data.shape().to_vec() });
    }
    // Without an early exit the count vectorizes; it is taken over every image that is read.
    let count: usize = match data.as_slice_memory_order() {
        Some(values) => values.iter().map(|v| usize::from(!v.is_finite())).sum(),
        None => data.iter().map(|v| usize::from(!v.is_finite())).sum(),
    };
    if count == 0 {
        return Ok(());
    }
    let position = data.iter().position(|v| !v.is_finite()).unwrap_or(0);
    Err(ImageError::NonFiniteVoxels { count, first: unravel(position, data.shape()) })
}

/// Returns an error for an array without elements, with values that are not finite, or whose values are all equal.
pub(crate) fn check_contrast<D: Dimension>(data: &ArrayRef<f32, D>) -> Result<(), ImageError> {
    check_finite(data)?;
    let first = data.first().copied().unwrap_or_default();
    match data.iter().all(|&value| value == first) {
        true => Err(ImageError::ConstantImage { value: f64::from(first), voxels: data.len() }),
        false => Ok(()),
    }
}

/// Returns an error for an array whose shape is not `expected`.
pub(crate) fn check_shape(what: &'static str, found: &[usize], expected: &[usize]) -> Result<(), ImageError> {
    if found == expected {
        return Ok(());
    }
    Err(ImageError::ShapeMismatch { what, found: found.to_vec(), expected: expected.to_vec() })
}

/// The index of the `position`-th element in row-major order.
fn unravel(mut position: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (slot, &length) in index.iter_mut().zip(shape).rev() {
        *slot = position % length.max(1);
        position /= length.max(1);
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    #[test]
    fn names_the_first_bad_voxel_and_counts_them_all() {
        let mut data = Array3::<f32>::zeros((3, 4, 5));
        assert_eq!(check_finite(&data), Ok(()));
        data[[1, 2, 3]] = f32::NAN;
        data[[2, 0, 0]] = f32::NEG_INFINITY;
        let error = check_finite(&data).unwrap_err();
        assert_eq!(error, ImageError::NonFiniteVoxels { count: 2, first: vec![1, 2, 3] });
        assert_eq!(error.to_string(), "2 values are NaN or infinite, the first at [1, 2, 3]");
        // The index is of the view that was given, whatever its order in memory.
        let turned = data.view().reversed_axes();
        assert_eq!(
            check_finite(&turned),
            Err(ImageError::NonFiniteVoxels { count: 2, first: vec![0, 0, 2] })
        );
    }
}
