//! The geometry of a voxel grid: the affine from voxel indices to millimeters.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::orientation::{AxisCode, Orientation};

/// The position of a voxel grid in world coordinates.
///
/// The affine maps homogeneous voxel indices `(i, j, k, 1)` to world coordinates `(x, y, z, 1)` in
/// millimeters, with x growing to the subject's right, y to the front and z to the top (RAS+).
/// Its upper left 3x3 block is finite and invertible, which [`Geometry::new`] checks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[[f64; 4]; 4]", into = "[[f64; 4]; 4]")]
pub struct Geometry {
    affine: [[f64; 4]; 4],
}

/// Why a matrix is not a valid geometry.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// An entry is NaN or infinite.
    #[error("affine entry at row {row}, column {column} is {value}, expected a finite number")]
    NonFinite {
        /// Row of the entry.
        row: usize,
        /// Column of the entry.
        column: usize,
        /// The entry.
        value: f64,
    },
    /// The last row is not `(0, 0, 0, 1)`.
    #[error("last row of the affine is {found:?}, expected [0, 0, 0, 1]")]
    LastRow {
        /// The row found.
        found: [f64; 4],
    },
    /// The voxel axes do not span space.
    #[error("affine is singular: its determinant is {determinant:e}")]
    Singular {
        /// Determinant of the upper left block.
        determinant: f64,
    },
    /// A voxel size is zero, negative or not finite.
    #[error("voxel size along axis {axis} is {size}, expected a positive finite number")]
    Spacing {
        /// The axis.
        axis: usize,
        /// The size found.
        size: f64,
    },
}

impl Geometry {
    /// The geometry of an affine.
    ///
    /// # Errors
    /// For entries that are not finite, another last row than `(0, 0, 0, 1)`, and voxel axes
    /// that do not span space.
    pub fn new(affine: [[f64; 4]; 4]) -> Result<Self, GeometryError> {
        for (row, values) in affine.iter().enumerate() {
            for (column, &value) in values.iter().enumerate() {
                if !value.is_finite() {
                    return Err(GeometryError::NonFinite { row, column, value });
                }
            }
        }
        if affine[3] != [0.0, 0.0, 0.0, 1.0] {
            return Err(GeometryError::LastRow { found: affine[3] });
        }
        let geometry = Self { affine };
        let determinant = geometry.determinant();
        // Relative to the lengths of the axes, so that units do not matter.
        let scale: f64 = geometry.spacing().iter().product();
        if !determinant.is_finite() || scale == 0.0 || determinant.abs() <= 1e-9 * scale {
            return Err(GeometryError::Singular { determinant });
        }
        Ok(geometry)
    }

    /// Axis-aligned RAS+ voxels of `spacing` millimeters with the first voxel's center at the origin.
    ///
    /// # Errors
    /// For a spacing that is not positive and finite.
    pub fn from_spacing(spacing: [f64; 3]) -> Result<Self, GeometryError> {
        for (axis, &size) in spacing.iter().enumerate() {
            if !(size.is_finite() && size > 0.0) {
                return Err(GeometryError::Spacing { axis, size });
            }
        }
        let [x, y, z] = spacing;
        Self::new([[x, 0.0, 0.0, 0.0], [0.0, y, 0.0, 0.0], [0.0, 0.0, z, 0.0], [0.0, 0.0, 0.0, 1.0]])
    }

    /// The geometry of a picture, in pixels: columns run to the right, rows down.
    pub(crate) fn picture() -> Self {
        Self {
            affine: [[1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
        }
    }

    /// The affine from voxel indices to millimeters, row by row.
    #[must_use]
    pub fn affine(&self) -> &[[f64; 4]; 4] {
        &self.affine
    }

    /// Lengths of the three voxel axes in millimeters, all positive.
    #[must_use]
    pub fn spacing(&self) -> [f64; 3] {
        std::array::from_fn(|axis| (0..3).map(|row| self.affine[row][axis].powi(2)).sum::<f64>().sqrt())
    }

    /// Volume of one voxel in cubic millimeters.
    #[must_use]
    pub fn voxel_volume(&self) -> f64 {
        self.determinant().abs()
    }

    /// World coordinates in millimeters of a voxel position; `[0, 0, 0]` is the first voxel's center.
    #[must_use]
    pub fn to_world(&self, voxel: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|row| {
            let a = &self.affine[row];
            a[0] * voxel[0] + a[1] * voxel[1] + a[2] * voxel[2] + a[3]
        })
    }

    /// The anatomical direction closest to each voxel axis.
    #[must_use]
    pub fn orientation(&self) -> Orientation {
        Orientation::closest(&self.affine)
    }

    /// Letters of the directions, as in `['R', 'A', 'S']`.
    #[must_use]
    pub fn axis_codes(&self) -> [AxisCode; 3] {
        self.orientation().codes()
    }

    /// The geometry of the grid whose voxel `v` is this grid's voxel `matrix * v + offset`.
    ///
    /// # Errors
    /// Those of [`Geometry::new`], for the product.
    pub fn composed(&self, matrix: [[f64; 3]; 3], offset: [f64; 3]) -> Result<Self, GeometryError> {
        let mut affine = [[0.0; 4]; 4];
        for (row, out) in affine.iter_mut().enumerate().take(3) {
            let a = &self.affine[row];
            for (column, value) in out.iter_mut().enumerate().take(3) {
                *value = (0..3).map(|k| a[k] * matrix[k][column]).sum();
            }
            out[3] = a[3] + (0..3).map(|k| a[k] * offset[k]).sum::<f64>();
        }
        affine[3][3] = 1.0;
        Self::new(affine)
    }

    /// Whether every entry differs by at most `tolerance` millimeters.
    #[must_use]
    pub fn is_close(&self, other: &Self, tolerance: f64) -> bool {
        self.affine
            .iter()
            .flatten()
            .zip(other.affine.iter().flatten())
            .all(|(a, b)| (a - b).abs() <= tolerance)
    }

    /// Matrix and offset from a voxel of this grid to the same point in voxels of another grid.
    pub(crate) fn seen_from(&self, other: &Self) -> ([[f64; 3]; 3], [f64; 3]) {
        let (own, inverse) = (&self.affine, other.inverse_matrix());
        let apply = |vector: [f64; 3]| -> [f64; 3] {
            std::array::from_fn(|row| (0..3).map(|k| inverse[row][k] * vector[k]).sum())
        };
        let columns: [[f64; 3]; 3] =
            std::array::from_fn(|column| apply([0, 1, 2].map(|row| own[row][column])));
        let matrix = std::array::from_fn(|row| std::array::from_fn(|column| columns[column][row]));
        (matrix, apply([0, 1, 2].map(|row| own[row][3] - other.affine[row][3])))
    }

    /// The inverse of the upper left block.
    fn inverse_matrix(&self) -> [[f64; 3]; 3] {
        // Columns are scaled to length 1 first, so that tiny voxels lose no precision.
        let (a, spacing, determinant) = (&self.affine, self.spacing(), self.determinant());
        let unit = |row: usize, column: usize| a[row][column] / spacing[column];
        let unit_determinant = determinant / spacing.iter().product::<f64>();
        std::array::from_fn(|row| {
            let (c, d) = ((row + 1) % 3, (row + 2) % 3);
            std::array::from_fn(|column| {
                let (e, f) = ((column + 1) % 3, (column + 2) % 3);
                let cofactor = unit(e, c) * unit(f, d) - unit(e, d) * unit(f, c);
                cofactor / unit_determinant / spacing[row]
            })
        })
    }

    fn determinant(&self) -> f64 {
        let a = &self.affine;
        a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1]) - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0])
            + a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0])
    }
}

impl fmt::Display for Geometry {
    /// The first three rows of the affine, to 32 bits: `[1 0 0 -90; 0 1 0 -126; 0 0 2.5 -72]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (row, values) in self.affine.iter().take(3).enumerate() {
            f.write_str(if row == 0 { "[" } else { "; " })?;
            for (column, &value) in values.iter().enumerate() {
                // Adding zero makes -0 a 0.
                let rounded = value as f32 + 0.0;
                write!(f, "{}{rounded}", if column == 0 { "" } else { " " })?;
            }
        }
        f.write_str("]")
    }
}

impl Default for Geometry {
    /// Voxels of one millimeter, RAS+, at the origin.
    fn default() -> Self {
        let mut affine = [[0.0; 4]; 4];
        for (axis, row) in affine.iter_mut().enumerate() {
            row[axis] = 1.0;
        }
        Self { affine }
    }
}

impl TryFrom<[[f64; 4]; 4]> for Geometry {
    type Error = GeometryError;

    fn try_from(affine: [[f64; 4]; 4]) -> Result<Self, Self::Error> {
        Self::new(affine)
    }
}

impl From<Geometry> for [[f64; 4]; 4] {
    fn from(geometry: Geometry) -> Self {
        geometry.affine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_geometry() {
        let mut nan = *Geometry::default().affine();
        nan[1][2] = f64::NAN;
        assert!(matches!(Geometry::new(nan), Err(GeometryError::NonFinite { row: 1, column: 2, .. })));
        let mut flat = *Geometry::default().affine();
        flat[2][2] = 0.0;
        assert!(matches!(Geometry::new(flat), Err(GeometryError::Singular { .. })));
        let mut perspective = *Geometry::default().affine();
        perspective[3][0] = 1.0;
        assert!(matches!(Geometry::new(perspective), Err(GeometryError::LastRow { .. })));
        assert!(Geometry::from_spacing([1.0, -1.0, 1.0]).is_err());
    }

    #[test]
    fn tiny_voxels_are_not_singular() {
        let micro = Geometry::from_spacing([1e-6, 1e-6, 1e-6]).unwrap();
        assert!((micro.voxel_volume() - 1e-18).abs() < 1e-30);
    }

    #[test]
    fn affines_are_shown_row_by_row() {
        assert_eq!(Geometry::default().to_string(), "[1 0 0 0; 0 1 0 0; 0 0 1 0]");
        let affine =
            [[-0.1, -0.0, 0.0, 90.25], [0.0, 2.5, 0.0, -126.0], [0.0, 0.0, 1e-7, 0.0], [0.0, 0.0, 0.0, 1.0]];
        let shown = Geometry::new(affine).unwrap().to_string();
        assert_eq!(shown, "[-0.1 0 0 90.25; 0 2.5 0 -126; 0 0 0.0000001 0]");
    }

    #[test]
    fn a_grid_is_seen_from_another() {
        let affine =
            [[0.0, -2.0, 0.1, 5.0], [1.5, 0.0, 0.0, -3.0], [0.0, 0.2, 3.0, 7.0], [0.0, 0.0, 0.0, 1.0]];
        let (one, other) =
            (Geometry::new(affine).unwrap(), Geometry::from_spacing([1e-6, 2e-3, 40.0]).unwrap());
        for (from, to) in [(one, other), (other, one), (one, one)] {
            let (matrix, offset) = from.seen_from(&to);
            let voxel = [3.0, -2.0, 11.0];
            let seen = std::array::from_fn(|row| {
                offset[row] + (0..3).map(|column| matrix[row][column] * voxel[column]).sum::<f64>()
            });
            for (a, b) in to.to_world(seen).into_iter().zip(from.to_world(voxel)) {
                assert!((a - b).abs() < 1e-9, "{a} {b}");
            }
        }
    }

    #[test]
    fn composition_agrees_with_mapping() {
        let geometry = Geometry::new([
            [0.0, -2.0, 0.1, 5.0],
            [1.5, 0.0, 0.0, -3.0],
            [0.0, 0.2, 3.0, 7.0],
            [0.0, 0.0, 0.0, 1.0],
        ])
        .unwrap();
        let flipped =
            geometry.composed([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], [9.0, 0.0, 0.0]).unwrap();
        let a = flipped.to_world([2.0, 3.0, 4.0]);
        let b = geometry.to_world([7.0, 4.0, 3.0]);
        for axis in 0..3 {
            assert!((a[axis] - b[axis]).abs() < 1e-12);
        }
    }
}
