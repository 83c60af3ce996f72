//! Defects of an affine.

use lesio_image::GeometryError;

/// Why the numbers of a header do not form an affine.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AffineError {
    /// The matrix is not a valid geometry.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// `quatern_b`, `quatern_c` and `quatern_d` are too long for a rotation.
    #[error("b^2 + c^2 + d^2 of the quaternion is {squared_length}, expected at most 1")]
    Quaternion {
        /// The sum of squares.
        squared_length: f64,
    },
}
