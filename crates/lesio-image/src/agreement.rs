//! Compares two grids, and finds the exact reorientation from one to the other.

use std::fmt;

use crate::geometry::Geometry;
use crate::orientation::Turn;
use crate::volume::Volume;

/// Largest distance between the centers of two equal grids, in voxels along each axis: a quarter.
///
/// Half a voxel is the smallest shift that software makes by mistake (corners instead of centers), and it makes the
/// correspondence of voxels ambiguous. Rounding stays below a quarter: an affine written with three decimals moves the
/// middle of 128 voxels of a millimeter along each axis by a sixth at most.
pub const CENTER_TOLERANCE: f64 = 0.25;

/// Largest distance between the centers of corresponding voxels, in voxels along each axis: less than half, so that no
/// other voxel is as near.
///
/// Rounding moves the far corners most: three decimals move that of 128 voxels of a millimeter by a third at most,
/// and quaternions of 32 bits, whose fourth part is lost near half a turn, that of 512 voxels by a sixth.
pub const CORNER_TOLERANCE: f64 = 0.45;

/// Largest relative difference of spacings along an axis with more than one voxel: a hundredth.
///
/// With few slices, corners do not determine the slice spacing. Three decimals of a spacing of a tenth of a
/// millimeter are half a hundredth; spacings that were measured differently, as 3 and 3.3 mm, differ by more.
pub const SPACING_TOLERANCE: f64 = 0.01;

/// Distance in voxels that counts as rounding to 32 bits.
const ROUNDING: f64 = 1e-3;

/// The agreement of two grids of the same position.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Agreement {
    /// Whether axes had to be permuted or reversed.
    pub axes: AxisAgreement,
    /// Largest distance between the center of a voxel and that of its counterpart along an axis, in voxels: at
    /// most [`CORNER_TOLERANCE`].
    pub voxels: f64,
    /// The same distance through space, in millimeters.
    pub millimeters: f64,
    /// Largest difference of spacings along an axis, as a part of the spacing. Beyond [`SPACING_TOLERANCE`] only
    /// along an axis with one voxel, where no center depends on it.
    pub spacing: f64,
}

/// Whether the voxel axes of two grids have the same order and directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisAgreement {
    /// In the same order and directions.
    Same,
    /// In another order or direction.
    Turned,
}

impl Agreement {
    /// Whether the grids differ by no more than the rounding of their numbers to 32 bits.
    ///
    /// Otherwise a warning is appropriate: the voxels correspond, but one of the headers is inaccurate.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.voxels <= ROUNDING && self.spacing <= ROUNDING
    }
}

/// Why two grids are not the same.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GridError {
    /// The grid that was to be matched.
    pub found: Box<VoxelGrid>,
    /// The other.
    pub expected: Box<VoxelGrid>,
    /// The difference.
    pub fault: GridFault,
}

/// The shape and the geometry of a grid of voxels.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct VoxelGrid {
    /// Number of voxels along each axis.
    pub shape: [usize; 3],
    /// The geometry.
    pub geometry: Geometry,
}

impl fmt::Display for VoxelGrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shape {:?} and affine {}", self.shape, self.geometry)
    }
}

/// A difference between two grids.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum GridFault {
    /// The numbers of voxels, in any order of axes.
    Shape,
    /// The directions of axes, for any permutation and reversal.
    Directions,
    /// The distance between voxels along an axis.
    Spacing {
        /// The axis of the other grid.
        axis: usize,
        /// The difference as a part of the other grid's spacing.
        difference: f64,
    },
    /// The position.
    Place {
        /// Largest distance between the center of a voxel and that of its counterpart along an axis, in voxels.
        voxels: f64,
        /// The same distance through space, in millimeters.
        millimeters: f64,
    },
}

impl fmt::Display for GridError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, expected, fault } = self;
        match fault {
            GridFault::Shape => write!(f, "the shapes differ")?,
            GridFault::Directions => write!(f, "the axes have other directions")?,
            GridFault::Spacing { axis, difference } => {
                write!(f, "spacings differ by {:.1} % along axis {axis}", 100.0 * difference)?;
            }
            GridFault::Place { voxels, millimeters } => {
                write!(f, "corners are up to {voxels:.2} voxels ({millimeters:.3} mm) apart")?;
            }
        }
        write!(f, ": {found}, expected {expected}")
    }
}

impl std::error::Error for GridError {}

impl<T> Volume<T> {
    /// Returns the same voxels in the order of another grid of the same position, exactly on that grid.
    ///
    /// Grids are the same up to the order and directions of their axes, any of the 48, where their
    /// middles agree within [`CENTER_TOLERANCE`], the centers of all voxels within [`CORNER_TOLERANCE`], and spacings
    /// within [`SPACING_TOLERANCE`]. Axes are permuted and reversed; nothing is interpolated. The result has the affine
    /// of `grid`, so that later results do not differ by rounding.
    ///
    /// If [`Agreement::is_exact`] is false, one of the two headers is inaccurate, and the user should be warned.
    ///
    /// # Errors
    /// [`GridError`], with shapes and affines of both, for a grid of another shape, position, direction or spacing.
    ///
    /// ```
    /// use lesio_image::{AxisAgreement, Geometry, Volume};
    /// use ndarray::Array3;
    ///
    /// let image = Volume::new(Array3::<f32>::zeros((4, 5, 6)), Geometry::from_spacing([1.0, 1.0, 3.0])?);
    /// // A mask whose first axis runs from right to left.
    /// let left = Geometry::new([[-1., 0., 0., 3.], [0., 1., 0., 0.], [0., 0., 3., 0.], [0., 0., 0., 1.]])?;
    /// let mask = Volume::new(Array3::from_shape_fn((4, 5, 6), |(i, _, _)| i == 0), left);
    ///
    /// let (mask, agreement) = mask.aligned_to(image.geometry(), image.shape())?;
    /// assert!(mask.data()[[3, 0, 0]] && !mask.data()[[0, 0, 0]]);
    /// assert_eq!((mask.geometry(), agreement.axes), (image.geometry(), AxisAgreement::Turned));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn aligned_to(self, grid: &Geometry, shape: [usize; 3]) -> Result<(Self, Agreement), GridError>
    where
        T: Clone,
    {
        let (turn, agreement) = compare(self.geometry(), self.shape(), grid, shape)?;
        let data = if turn.is_identity() {
            self.into_data()
        } else {
            turn.view(self.data().view()).as_standard_layout().into_owned()
        };
        Ok((Self::new(data, *grid), agreement))
    }
}

/// The reorientation of the grid `found` to the grid `expected`, if they are the same.
fn compare(
    found: &Geometry,
    found_shape: [usize; 3],
    expected: &Geometry,
    expected_shape: [usize; 3],
) -> Result<(Turn, Agreement), GridError> {
    let refused = |fault| GridError {
        found: Box::new(VoxelGrid { shape: found_shape, geometry: *found }),
        expected: Box::new(VoxelGrid { shape: expected_shape, geometry: *expected }),
        fault,
    };
    let sorted = |mut shape: [usize; 3]| {
        shape.sort_unstable();
        shape
    };
    if sorted(found_shape) != sorted(expected_shape) {
        return Err(refused(GridFault::Shape));
    }
    let (matrix, offset) = found.seen_from(expected);
    let turn = nearest_turn(&matrix, found_shape).ok_or_else(|| refused(GridFault::Directions))?;
    if turn.source.map(|axis| found_shape[axis]) != expected_shape {
        let same = found_shape == expected_shape;
        return Err(refused(if same { GridFault::Directions } else { GridFault::Shape }));
    }
    let Apart { center, voxels, millimeters } = apart(&matrix, offset, &turn, found_shape, expected);
    let (own, other) = (found.spacing(), expected.spacing());
    // A NaN, of affines whose numbers are out of all bounds, is not the same.
    let same = center <= CENTER_TOLERANCE && voxels <= CORNER_TOLERANCE;
    if !same {
        return Err(refused(GridFault::Place { voxels, millimeters }));
    }
    let differences: [f64; 3] =
        std::array::from_fn(|axis| (own[turn.source[axis]] / other[axis] - 1.0).abs());
    for (axis, (&difference, side)) in differences.iter().zip(expected_shape).enumerate() {
        if side > 1 && (difference.is_nan() || difference > SPACING_TOLERANCE) {
            return Err(refused(GridFault::Spacing { axis, difference }));
        }
    }
    let spacing = largest(differences.into_iter());
    let axes = if turn.is_identity() { AxisAgreement::Same } else { AxisAgreement::Turned };
    Ok((turn, Agreement { axes, voxels, millimeters, spacing }))
}

/// The permutation and reversal of axes nearest to a matrix between voxel indices, if there is one.
///
/// An axis with one voxel may have any direction: it gets the one that remains.
fn nearest_turn(matrix: &[[f64; 3]; 3], shape: [usize; 3]) -> Option<Turn> {
    let mut source = [None; 3];
    let mut flip = [false; 3];
    let many = (0..3).filter(|&axis| shape[axis] > 1);
    let single = (0..3).filter(|&axis| shape[axis] <= 1);
    for column in many.chain(single) {
        let free = (0..3).filter(|&row| shape[column] > 1 || source[row].is_none());
        let row = free.max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        if source[row].replace(column).is_some() {
            return None;
        }
        flip[row] = matrix[row][column] < 0.0;
    }
    match source {
        [Some(a), Some(b), Some(c)] => Some(Turn { source: [a, b, c], flip }),
        _ => None,
    }
}

/// Distances between corresponding voxels.
struct Apart {
    /// In the middle of the grid, along an axis, in voxels.
    center: f64,
    /// In the farthest corner, along an axis, in voxels.
    voxels: f64,
    /// In the farthest corner, through space.
    millimeters: f64,
}

/// How far the voxels of a grid lie from where a turn puts them. The distance is linear in the voxel: it is largest in
/// a corner, and in the middle it is the mean of the corners'.
fn apart(
    matrix: &[[f64; 3]; 3],
    offset: [f64; 3],
    turn: &Turn,
    shape: [usize; 3],
    expected: &Geometry,
) -> Apart {
    let last = shape.map(|side| side.saturating_sub(1) as f64);
    let gaps: [[f64; 3]; 8] = std::array::from_fn(|corner| {
        let voxel: [f64; 3] =
            std::array::from_fn(|axis| if corner >> axis & 1 == 1 { last[axis] } else { 0.0 });
        std::array::from_fn(|row| {
            let seen = offset[row] + (0..3).map(|column| matrix[row][column] * voxel[column]).sum::<f64>();
            let source = turn.source[row];
            seen - if turn.flip[row] { last[source] - voxel[source] } else { voxel[source] }
        })
    });
    let [x0, y0, z0] = expected.to_world([0.0; 3]);
    let length = |gap: &[f64; 3]| {
        let [x, y, z] = expected.to_world(*gap);
        ((x - x0).powi(2) + (y - y0).powi(2) + (z - z0).powi(2)).sqrt()
    };
    let middle = (0..3).map(|axis| gaps.iter().map(|gap| gap[axis]).sum::<f64>().abs() / 8.0);
    Apart {
        center: largest(middle),
        voxels: largest(gaps.iter().flatten().map(|gap| gap.abs())),
        millimeters: largest(gaps.iter().map(length)),
    }
}

/// The largest value, NaN where one is: `f64::max` would drop it.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |most, value| if value.is_nan() || most.is_nan() { f64::NAN } else { most.max(value) })
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use proptest::prelude::*;

    use super::*;
    use crate::orientation::Orientation;

    const SHAPE: [usize; 3] = [5, 4, 3];

    /// An oblique grid of anisotropic voxels.
    fn oblique() -> Geometry {
        let (s, c) = 0.3_f64.sin_cos();
        Geometry::new([
            [0.8 * c, -1.1 * s, 0.0, -40.0],
            [0.8 * s, 1.1 * c, 0.2, 12.0],
            [0.0, -0.1, 4.0, 7.5],
            [0.0, 0.0, 0.0, 1.0],
        ])
        .unwrap()
    }

    fn numbered(geometry: Geometry) -> Volume<usize> {
        Volume::new(Array3::from_shape_fn(SHAPE, |(i, j, k)| 100 * i + 10 * j + k), geometry)
    }

    fn orientations() -> Vec<Orientation> {
        let letters = "RLAPSI";
        let all = letters.chars().flat_map(|a| {
            letters.chars().flat_map(move |b| letters.chars().map(move |c| format!("{a}{b}{c}")))
        });
        all.filter_map(|codes| codes.parse().ok()).collect()
    }

    /// A grid moved by these voxels, with spacings multiplied.
    fn moved(grid: &Geometry, voxels: [f64; 3], factors: [f64; 3]) -> Geometry {
        let [x, y, z] = factors;
        grid.composed([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]], voxels).unwrap()
    }

    #[test]
    fn every_orientation_is_brought_to_every_other() {
        let all = orientations();
        assert_eq!(all.len(), 48);
        for grid in [oblique(), Geometry::from_spacing([1.0, 1.0, 3.0]).unwrap()] {
            let volume = numbered(grid);
            for one in &all {
                let image = volume.reoriented(one);
                for other in &all {
                    let (mask, agreement) =
                        volume.reoriented(other).aligned_to(image.geometry(), image.shape()).unwrap();
                    assert_eq!(mask, image, "{other} to {one}");
                    assert!(agreement.is_exact() && agreement.voxels < 1e-9);
                    assert_eq!(agreement.axes == AxisAgreement::Same, one == other);
                }
            }
        }
    }

    #[test]
    fn places_that_differ_are_refused_with_both_affines() {
        let flip = Geometry::new([[1., 0., 0., 0.], [0., 1., 0., 0.], [0., 0., -3., 33.], [0., 0., 0., 1.]])
            .unwrap();
        let mask = Volume::new(Array3::from_elem((40, 44, 12), 0_u8), Geometry::default());
        let error = mask.clone().aligned_to(&flip, [40, 44, 12]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("[1 0 0 0; 0 1 0 0; 0 0 1 0]"), "{text}");
        assert!(text.contains("[1 0 0 0; 0 1 0 0; 0 0 -3 33]"), "{text}");
        // The same voxels in other axis order, and a mask without its place.
        let sagittal =
            Geometry::new([[0., 0., 1., 0.], [1., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 0., 1.]]).unwrap();
        let mask = Volume::new(Array3::from_elem((44, 12, 40), 0_u8), Geometry::default());
        assert_eq!(mask.aligned_to(&sagittal, [44, 12, 40]).unwrap_err().fault, GridFault::Directions);
        let small = numbered(oblique());
        assert_eq!(small.clone().aligned_to(&oblique(), [5, 4, 4]).unwrap_err().fault, GridFault::Shape);
        assert_eq!(small.aligned_to(&oblique(), [4, 5, 3]).unwrap_err().fault, GridFault::Shape);
    }

    #[test]
    fn a_shift_of_half_a_voxel_is_another_place() {
        for axis in 0..3 {
            let shifted = |by: f64| {
                moved(&oblique(), std::array::from_fn(|k| if k == axis { by } else { 0.0 }), [1.0; 3])
            };
            let align = |by: f64| numbered(shifted(by)).aligned_to(&oblique(), SHAPE);
            assert!(
                matches!(align(0.5).unwrap_err().fault, GridFault::Place { voxels, .. } if (voxels - 0.5).abs() < 1e-9)
            );
            assert!(align(-0.5).is_err() && align(1.0).is_err() && align(0.26).is_err());
            let (volume, agreement) = align(0.2).unwrap();
            assert_eq!(volume, numbered(oblique()));
            assert!(!agreement.is_exact() && (agreement.voxels - 0.2).abs() < 1e-9);
            let millimeters = 0.2 * oblique().spacing()[axis];
            assert!((agreement.millimeters - millimeters).abs() < 1e-9);
        }
    }

    #[test]
    fn spacings_that_differ_are_refused_though_corners_are_near() {
        for axis in 0..3 {
            let factor = |by: f64| std::array::from_fn(|k| if k == axis { by } else { 1.0 });
            let align = |by| numbered(moved(&oblique(), [0.0; 3], factor(by))).aligned_to(&oblique(), SHAPE);
            assert!(
                matches!(align(1.05).unwrap_err().fault, GridFault::Spacing { axis: found, .. } if found == axis)
            );
            assert!(!align(1.005).unwrap().1.is_exact());
        }
        // A single slice has no distance to the next.
        let slice = |thickness| {
            let grid = Geometry::from_spacing([1.0, 1.0, thickness]).unwrap();
            Volume::new(Array3::from_shape_fn((6, 7, 1), |(i, j, _)| (i, j)), grid)
        };
        let (volume, agreement) = slice(1.0).aligned_to(slice(5.0).geometry(), [6, 7, 1]).unwrap();
        assert_eq!(volume, slice(5.0));
        assert!(!agreement.is_exact());
    }

    #[test]
    fn units_do_not_matter() {
        let micro = Geometry::from_spacing([1e-3, 1e-3, 5e-3]).unwrap();
        assert!(numbered(moved(&micro, [0.5, 0.0, 0.0], [1.0; 3])).aligned_to(&micro, SHAPE).is_err());
        assert!(
            numbered(moved(&micro, [1e-4, 0.0, 0.0], [1.0; 3]))
                .aligned_to(&micro, SHAPE)
                .unwrap()
                .1
                .is_exact()
        );
        let huge =
            Geometry::new([[1e30, 0., 0., 1e38], [0., 1e30, 0., 0.], [0., 0., 1e30, 0.], [0., 0., 0., 1.]]);
        assert!(numbered(huge.unwrap()).aligned_to(&micro, SHAPE).is_err());
    }

    proptest! {
        /// What writers do to a good header: three decimals of the matrix, 32 bits, quaternions of 32 bits.
        #[test]
        fn rounded_headers_are_the_same_place(angles in prop::array::uniform3(-3.2_f64..3.2), spacing in prop::array::uniform3(0.7_f64..5.0),
                                              offset in prop::array::uniform3(-200.0_f64..200.0), orientation in 0_usize..48) {
            let [x, y, z] = angles.map(f64::sin_cos);
            // Rz Ry Rx.
            let rotation = [
                [z.1 * y.1, z.1 * y.0 * x.0 - z.0 * x.1, z.1 * y.0 * x.1 + z.0 * x.0],
                [z.0 * y.1, z.0 * y.0 * x.0 + z.1 * x.1, z.0 * y.0 * x.1 - z.1 * x.0],
                [-y.0, y.1 * x.0, y.1 * x.1],
            ];
            let affine = |round: &dyn Fn(f64) -> f64| {
                let row = |r: usize| [0, 1, 2, 3].map(|c| round(if c < 3 { rotation[r][c] * spacing[c] } else { offset[r] }));
                Geometry::new([row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]]).unwrap()
            };
            // What is much larger, or finer, may lose its place by three decimals.
            let rounded = affine(&|v| (v * 1e3).round() / 1e3);
            let sides = spacing.map(|size| if size < 1.0 { 96 } else { 128 });
            prop_assert!(compare(&rounded, sides, &affine(&|v| v), sides).is_ok());
            let shape = [64, 48, 20];
            let image = Volume::new(Array3::from_shape_fn(shape, |(i, j, k)| i * 10_000 + j * 100 + k), affine(&|v| v));
            let turned = image.reoriented(&orientations()[orientation]);
            for (round, exact) in [(&(|v: f64| f64::from(v as f32)) as &dyn Fn(f64) -> f64, true), (&|v: f64| (v * 1e3).round() / 1e3, false)] {
                let (aligned, agreement) = turned.clone().aligned_to(&affine(round), shape).unwrap();
                prop_assert_eq!(aligned.data(), image.data());
                prop_assert!(agreement.is_exact() || !exact, "{:?}", agreement);
            }
        }
    }
}
