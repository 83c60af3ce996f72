//! Anatomical directions of voxel axes, and the exact reorientation between orders of axes.

use std::fmt;

use ndarray::{Array3, ArrayView3, ArrayViewMut3, Axis};
use serde::{Deserialize, Serialize};

use crate::error::ImageError;

/// The anatomical direction in which a voxel axis increases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AxisCode {
    /// Toward the subject's right.
    R,
    /// Toward the subject's left.
    L,
    /// Toward the front (anterior).
    A,
    /// Toward the back (posterior).
    P,
    /// Toward the top (superior).
    S,
    /// Toward the bottom (inferior).
    I,
}

impl AxisCode {
    /// World axis (0: left-right, 1: back-front, 2: bottom-top) and whether it grows along it.
    #[must_use]
    pub fn world(self) -> (usize, bool) {
        match self {
            Self::R => (0, true),
            Self::L => (0, false),
            Self::A => (1, true),
            Self::P => (1, false),
            Self::S => (2, true),
            Self::I => (2, false),
        }
    }

    fn from_world(axis: usize, positive: bool) -> Self {
        match (axis, positive) {
            (0, true) => Self::R,
            (0, false) => Self::L,
            (1, true) => Self::A,
            (1, false) => Self::P,
            (_, true) => Self::S,
            (_, false) => Self::I,
        }
    }
}

impl fmt::Display for AxisCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The anatomical directions of three voxel axes: a permutation of the world's axes with signs.
///
/// ```
/// use lesio_image::{Geometry, Orientation};
///
/// let orientation = Geometry::default().orientation();
/// assert_eq!(orientation, Orientation::RAS);
/// assert_eq!(orientation.to_string(), "RAS");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Orientation {
    codes: [AxisCode; 3],
}

impl Orientation {
    /// Right, anterior, superior: the orientation of volumes for lesio's networks.
    pub const RAS: Self = Self { codes: [AxisCode::R, AxisCode::A, AxisCode::S] };

    /// The orientation of these directions; `None` if two name the same world axis.
    #[must_use]
    pub fn new(codes: [AxisCode; 3]) -> Option<Self> {
        let mut seen = [false; 3];
        for code in codes {
            let axis = code.world().0;
            if std::mem::replace(&mut seen[axis], true) {
                return None;
            }
        }
        Some(Self { codes })
    }

    /// The direction of each voxel axis.
    #[must_use]
    pub fn codes(&self) -> [AxisCode; 3] {
        self.codes
    }

    /// The orientation closest to an affine's axes: that of the rotation (or reflection) nearest to their
    /// directions, its axes matched from the clearest to the least clear, each to the world axis that is
    /// left and along which it grows most.
    ///
    /// nibabel's rule, so that both name the axes of a sheared or oblique image alike. The rotation is
    /// the orthogonal factor of the polar decomposition.
    pub(crate) fn closest(affine: &[[f64; 4]; 4]) -> Self {
        let mut directions = [[0.0; 3]; 3];
        for voxel in 0..3 {
            let length = (0..3).map(|row| affine[row][voxel].powi(2)).sum::<f64>().sqrt();
            for row in 0..3 {
                directions[row][voxel] = if length > 0.0 { affine[row][voxel] / length } else { 0.0 };
            }
        }
        let rotation = nearest_rotation(directions);
        let clearest = |voxel: usize| (0..3).map(|row| rotation[row][voxel].abs()).fold(0.0, f64::max);
        let mut order = [0, 1, 2];
        order.sort_by(|&a, &b| clearest(b).total_cmp(&clearest(a)));
        let mut codes = [AxisCode::R; 3];
        let mut free = [true; 3];
        for voxel in order {
            let mut best: Option<usize> = None;
            for world in (0..3).filter(|&world| free[world]) {
                if best.is_none_or(|best| rotation[world][voxel].abs() > rotation[best][voxel].abs()) {
                    best = Some(world);
                }
            }
            // There are as many world axes as voxel axes: one is always left.
            let world = best.unwrap_or(voxel);
            free[world] = false;
            codes[voxel] = AxisCode::from_world(world, rotation[world][voxel] >= 0.0);
        }
        Self { codes }
    }

    /// The reorientation of an array of this orientation to `target`.
    pub(crate) fn turn_to(&self, target: &Self) -> Turn {
        let mut source = [0; 3];
        let mut flip = [false; 3];
        for (axis, code) in target.codes.iter().enumerate() {
            let (world, positive) = code.world();
            for (candidate, own) in self.codes.iter().enumerate() {
                let (own_world, own_positive) = own.world();
                if own_world == world {
                    source[axis] = candidate;
                    flip[axis] = own_positive != positive;
                }
            }
        }
        Turn { source, flip }
    }
}

impl fmt::Display for Orientation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.codes.iter().try_for_each(|code| write!(f, "{code}"))
    }
}

/// The orthogonal factor of a matrix's polar decomposition, by Newton's iteration: the mean of a matrix
/// and its inverse transposed, again and again (Higham 1986). A singular matrix is returned as it is.
fn nearest_rotation(matrix: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    // Each step squares the distance of the singular values to 1, once they are near; before, it halves
    // the larger ones. Columns of length 1 that 64-bit floats can tell apart need some fifty steps.
    const MOST_STEPS: usize = 100;
    let mut rotation = matrix;
    for _ in 0..MOST_STEPS {
        let cofactors = cofactors(&rotation);
        let determinant: f64 = (0..3).map(|column| rotation[0][column] * cofactors[0][column]).sum();
        if determinant == 0.0 || !determinant.is_finite() {
            return matrix;
        }
        let mut change: f64 = 0.0;
        for (row, cofactors) in rotation.iter_mut().zip(&cofactors) {
            for (value, cofactor) in row.iter_mut().zip(cofactors) {
                let next = (*value + cofactor / determinant) / 2.0;
                change = change.max((next - *value).abs());
                *value = next;
            }
        }
        if change < 1e-15 {
            break;
        }
    }
    rotation
}

/// The inverse transposed, times the determinant.
fn cofactors(m: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    std::array::from_fn(|row| {
        let (a, b) = ((row + 1) % 3, (row + 2) % 3);
        std::array::from_fn(|column| {
            let (c, d) = ((column + 1) % 3, (column + 2) % 3);
            m[a][c] * m[b][d] - m[a][d] * m[b][c]
        })
    })
}

/// Axis `a` of the result is axis `source[a]` of the array, reversed where `flip[a]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) source: [usize; 3],
    pub(crate) flip: [bool; 3],
}

impl Turn {
    pub(crate) fn is_identity(&self) -> bool {
        self.source == [0, 1, 2] && self.flip == [false; 3]
    }

    /// The turned array as a view of the array.
    pub(crate) fn view<'a, T>(&self, data: ArrayView3<'a, T>) -> ArrayView3<'a, T> {
        let mut turned = data.permuted_axes(self.source);
        self.flipped().for_each(|axis| turned.invert_axis(axis));
        turned
    }

    /// Like [`Turn::view`], but mutable.
    pub(crate) fn view_mut<'a, T>(&self, data: ArrayViewMut3<'a, T>) -> ArrayViewMut3<'a, T> {
        let mut turned = data.permuted_axes(self.source);
        self.flipped().for_each(|axis| turned.invert_axis(axis));
        turned
    }

    /// The turned array; nothing moves in memory.
    pub(crate) fn apply<T>(&self, data: Array3<T>) -> Array3<T> {
        let mut turned = data.permuted_axes(self.source);
        self.flipped().for_each(|axis| turned.invert_axis(axis));
        turned
    }

    /// The array of a turned one; nothing moves in memory.
    pub(crate) fn undo<T>(&self, mut turned: Array3<T>) -> Array3<T> {
        self.flipped().for_each(|axis| turned.invert_axis(axis));
        let mut back = [0; 3];
        self.source.iter().enumerate().for_each(|(axis, &source)| back[source] = axis);
        turned.permuted_axes(back)
    }

    /// An error about a turned array of this shape, with the index in the array itself.
    pub(crate) fn undo_error(&self, error: ImageError, shape: [usize; 3]) -> ImageError {
        match error {
            ImageError::NonFiniteVoxels { count, first } if first.len() == 3 => {
                let mut own = vec![0; 3];
                for (axis, index) in first.into_iter().enumerate() {
                    let source = self.source[axis];
                    own[source] = if self.flip[axis] { shape[source] - 1 - index } else { index };
                }
                ImageError::NonFiniteVoxels { count, first: own }
            }
            other => other,
        }
    }

    fn flipped(&self) -> impl Iterator<Item = Axis> {
        self.flip.into_iter().enumerate().filter(|(_, flip)| *flip).map(|(axis, _)| Axis(axis))
    }

    /// Matrix and offset that take a voxel of the result to its voxel in the array of `shape`.
    pub(crate) fn voxel_map(&self, shape: [usize; 3]) -> ([[f64; 3]; 3], [f64; 3]) {
        let mut matrix = [[0.0; 3]; 3];
        let mut offset = [0.0; 3];
        for (axis, (&source, &flip)) in self.source.iter().zip(&self.flip).enumerate() {
            matrix[source][axis] = if flip { -1.0 } else { 1.0 };
            if flip {
                offset[source] = shape[source].saturating_sub(1) as f64;
            }
        }
        (matrix, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_axes_along_one_world_axis_are_refused() {
        assert!(Orientation::new([AxisCode::R, AxisCode::L, AxisCode::S]).is_none());
        assert!(Orientation::new([AxisCode::P, AxisCode::I, AxisCode::L]).is_some());
    }

    #[test]
    fn an_oblique_affine_has_the_nearest_orientation() {
        let affine =
            [[0.1, -0.9, 0.2, 0.0], [0.2, 0.1, -0.95, 0.0], [0.97, 0.1, 0.1, 0.0], [0.0, 0.0, 0.0, 1.0]];
        assert_eq!(Orientation::closest(&affine).to_string(), "SLP");
    }

    #[test]
    fn a_sheared_affine_has_the_orientation_that_nibabel_gives() {
        // What nibabel 5.4.2 says of each; along the first world axis grow all three axes of the first.
        let sheared: [([[f64; 3]; 3], &str); 7] = [
            ([[1.0, 50.0, 50.0], [0.0, 1.0, 50.0], [0.0, 0.0, 1.0]], "RIA"),
            ([[2.04, -2.56, 0.42], [-0.57, -0.45, -0.22], [-2.02, -0.23, -0.87]], "PLI"),
            ([[3.32, 0.23, -0.35], [-0.28, -0.67, -1.06], [-0.39, 0.48, -0.24]], "RSP"),
            ([[0.96, -0.2, 0.02], [1.55, 0.55, -0.51], [-0.18, 0.54, 1.94]], "RAS"),
            ([[-0.27, -0.24, 1.0], [-0.89, -0.29, 0.88], [0.58, 0.09, 0.67]], "PLS"),
            ([[-2.83, 1.02, -0.96], [-1.67, 0.28, 0.7], [-0.44, -1.08, 0.03]], "LIA"),
            ([[-0.05, 1.41, 0.75], [0.19, 1.11, -0.21], [-0.93, 0.58, 0.58]], "IAR"),
        ];
        for (m, expected) in sheared {
            let row = |i: usize| [m[i][0], m[i][1], m[i][2], 0.0];
            let affine = [row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]];
            assert_eq!(Orientation::closest(&affine).to_string(), expected, "{m:?}");
        }
    }

    #[test]
    fn the_nearest_rotation_is_one_and_leaves_a_rotation_alone() {
        let (sine, cosine) = 0.4_f64.sin_cos();
        let turn = [[cosine, 0.0, -sine], [0.0, -1.0, 0.0], [sine, 0.0, cosine]];
        let sheared = [[0.6, 0.9, -0.3], [0.1, 0.4, 0.2], [-0.7, 0.1, 0.9]];
        for matrix in [turn, sheared] {
            let rotation = nearest_rotation(matrix);
            for a in 0..3 {
                for b in 0..3 {
                    let product: f64 = (0..3).map(|row| rotation[row][a] * rotation[row][b]).sum();
                    assert!((product - f64::from(u8::from(a == b))).abs() < 1e-14);
                    assert!(matrix != turn || (rotation[a][b] - turn[a][b]).abs() < 1e-15);
                }
            }
        }
    }
}
