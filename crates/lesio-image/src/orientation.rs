//! Anatomical directions of voxel axes, and the exact turn from one order of axes to another.

use std::fmt;

use ndarray::Array3;
use serde::{Deserialize, Serialize};

/// The anatomical direction towards which a voxel axis grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AxisCode {
    /// Towards the subject's right.
    R,
    /// Towards the subject's left.
    L,
    /// Towards the front (anterior).
    A,
    /// Towards the back (posterior).
    P,
    /// Towards the top (superior).
    S,
    /// Towards the bottom (inferior).
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
    /// Right, anterior, superior: the orientation in which lesio's networks see a volume.
    pub const RAS: Self = Self { codes: [AxisCode::R, AxisCode::A, AxisCode::S] };

    /// The orientation of these directions; `None` where two name the same world axis.
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

    /// The orientation closest to an affine's axes, by the best one-to-one match of voxel axes to
    /// world axes (sum of absolute direction cosines); every affine with three axes has one.
    pub(crate) fn closest(affine: &[[f64; 4]; 4]) -> Self {
        const PERMUTATIONS: [[usize; 3]; 6] =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let cosine = |world: usize, voxel: usize| {
            let length = (0..3).map(|row| affine[row][voxel].powi(2)).sum::<f64>().sqrt();
            if length > 0.0 { affine[world][voxel] / length } else { 0.0 }
        };
        let mut best = (f64::NEG_INFINITY, PERMUTATIONS[0]);
        for permutation in PERMUTATIONS {
            let fit = (0..3).map(|voxel| cosine(permutation[voxel], voxel).abs()).sum::<f64>();
            if fit > best.0 {
                best = (fit, permutation);
            }
        }
        let codes = std::array::from_fn(|voxel| {
            let world = best.1[voxel];
            AxisCode::from_world(world, cosine(world, voxel) >= 0.0)
        });
        Self { codes }
    }

    /// How an array of this orientation becomes one of `target`.
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

    pub(crate) fn apply<T: Clone>(&self, data: Array3<T>) -> Array3<T> {
        if self.is_identity() {
            return data;
        }
        let mut turned = data.permuted_axes(self.source);
        for (axis, &flip) in self.flip.iter().enumerate() {
            if flip {
                turned.invert_axis(ndarray::Axis(axis));
            }
        }
        turned.as_standard_layout().into_owned()
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
}
