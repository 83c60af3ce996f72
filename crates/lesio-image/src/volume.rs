//! Volumes: voxels with their geometry.

use ndarray::{Array3, ArrayView2, ArrayView3, ArrayViewMut2, Axis};
use serde::{Deserialize, Serialize};

use crate::geometry::Geometry;
use crate::orientation::Orientation;

/// A three-dimensional array of voxels with its [`Geometry`].
///
/// Axes are `(i, j, k)`, the order in which NIfTI stores them (first axis fastest in a file); after
/// [`Volume::reoriented`] to [`Orientation::RAS`] they are left to right, back to front and bottom
/// to top.
///
/// ```
/// use lesio_image::{Geometry, Orientation, Plane, Volume};
/// use ndarray::Array3;
///
/// let geometry = Geometry::from_spacing([1.0, 1.0, 3.0])?;
/// let volume = Volume::new(Array3::from_shape_fn((4, 5, 6), |(i, j, k)| (i + j + k) as f32), geometry);
/// // Slices show rows from front to back and columns from left to right.
/// assert_eq!(volume.plane(Plane::Axial, 2).map(|s| s.dim()), Some((5, 4)));
///
/// let there = volume.reoriented(&"LPI".parse()?);
/// assert_eq!(there.reoriented(&Orientation::RAS), volume);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Volume<T = f32> {
    data: Array3<T>,
    geometry: Geometry,
}

/// A stack of slices of a volume: which voxel axis runs through the stack.
///
/// Named for a volume in RAS+ order; for another order, [`Volume::reoriented`] first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plane {
    /// Slices of constant `i`, viewed from the side.
    Sagittal,
    /// Slices of constant `j`, viewed from the front.
    Coronal,
    /// Slices of constant `k`, viewed from below. The default: most brain and heart stacks are axial.
    #[default]
    Axial,
}

impl Plane {
    /// The voxel axis through the stack.
    #[must_use]
    pub fn axis(self) -> usize {
        match self {
            Self::Sagittal => 0,
            Self::Coronal => 1,
            Self::Axial => 2,
        }
    }
}

impl Plane {
    /// A slice, which there is, of voxels in the order of RAS+, as [`Volume::plane`] shows it.
    pub(crate) fn slice<'a, T>(self, turned: ArrayView3<'a, T>, index: usize) -> ArrayView2<'a, T> {
        let mut view = turned.index_axis_move(Axis(self.axis()), index).reversed_axes();
        view.invert_axis(Axis(0));
        view
    }

    /// A slice as it lies in a volume, as [`Volume::plane`] shows it.
    pub(crate) fn upright<T>(slice: ArrayViewMut2<'_, T>) -> ArrayViewMut2<'_, T> {
        let mut view = slice.reversed_axes();
        view.invert_axis(Axis(0));
        view
    }
}

/// One slice of values on a grid, of the grid in RAS+ with its front or top up, as [`Volume::upright_plane`] shows it;
/// `None` past the last. Rows of a picture run as it is seen.
#[must_use]
pub fn upright_slice<'a, T>(
    geometry: &Geometry,
    values: ArrayView3<'a, T>,
    plane: Plane,
    index: usize,
) -> Option<ArrayView2<'a, T>> {
    let turned = geometry.orientation().turn_to(&Orientation::RAS).view(values);
    (index < turned.len_of(Axis(plane.axis()))).then(|| plane.slice(turned, index))
}

impl<T> Volume<T> {
    /// Makes a volume of voxels and their geometry.
    #[must_use]
    pub fn new(data: Array3<T>, geometry: Geometry) -> Self {
        Self { data, geometry }
    }

    /// The voxels, axes `(i, j, k)`.
    #[must_use]
    pub fn data(&self) -> &Array3<T> {
        &self.data
    }

    /// The voxels, to be changed in place; shape and geometry stay.
    pub fn data_mut(&mut self) -> ndarray::ArrayViewMut3<'_, T> {
        self.data.view_mut()
    }

    /// The voxels alone.
    #[must_use]
    pub fn into_data(self) -> Array3<T> {
        self.data
    }

    /// Where the voxels are.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Number of voxels along each axis.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.data.dim().into()
    }

    /// A volume on the same grid, voxel by voxel.
    #[must_use]
    pub fn map<U>(&self, f: impl FnMut(&T) -> U) -> Volume<U> {
        Volume { data: self.data.map(f), geometry: self.geometry }
    }

    /// Number of slices in a plane.
    #[must_use]
    pub fn planes(&self, plane: Plane) -> usize {
        self.data.len_of(Axis(plane.axis()))
    }

    /// One slice as `[row, column]`; `None` past the last.
    ///
    /// Rows run against the later of the two remaining axes, so that the front (or top) of a RAS+
    /// volume is up; columns run along the earlier.
    #[must_use]
    pub fn plane(&self, plane: Plane, index: usize) -> Option<ArrayView2<'_, T>> {
        if index >= self.planes(plane) {
            return None;
        }
        Some(plane.slice(self.data.view(), index))
    }

    /// Number of slices in a plane of the volume in RAS+.
    #[must_use]
    pub fn upright_planes(&self, plane: Plane) -> usize {
        self.turned().len_of(Axis(plane.axis()))
    }

    /// One slice of the volume in RAS+, as [`Volume::reoriented`] and [`Volume::plane`] give it, but as a view of this
    /// volume; `None` past the last.
    #[must_use]
    pub fn upright_plane(&self, plane: Plane, index: usize) -> Option<ArrayView2<'_, T>> {
        (index < self.upright_planes(plane)).then(|| plane.slice(self.turned(), index))
    }

    /// Where a voxel is seen: its slice by [`Volume::upright_plane`], and its row and column there. Of a voxel outside it is the
    /// nearest at the border.
    #[must_use]
    pub fn upright_position(&self, plane: Plane, voxel: [usize; 3]) -> [usize; 3] {
        // Place and number of voxels along each axis of RAS+.
        let (mut place, mut length) = ([0; 3], [1; 3]);
        for ((code, index), size) in self.geometry.axis_codes().into_iter().zip(voxel).zip(self.shape()) {
            let (world, is_positive) = code.world();
            let last = size.saturating_sub(1);
            length[world] = size;
            place[world] = if is_positive { index.min(last) } else { last - index.min(last) };
        }
        let (across, up) = match plane {
            Plane::Sagittal => (1, 2),
            Plane::Coronal => (0, 2),
            Plane::Axial => (0, 1),
        };
        [place[plane.axis()], length[up].saturating_sub(1) - place[up], place[across]]
    }

    /// The voxels in the order of RAS+.
    fn turned(&self) -> ArrayView3<'_, T> {
        self.geometry.orientation().turn_to(&Orientation::RAS).view(self.data.view())
    }

    /// Like [`Volume::plane`], but mutable.
    pub fn plane_mut(&mut self, plane: Plane, index: usize) -> Option<ArrayViewMut2<'_, T>> {
        if index >= self.planes(plane) {
            return None;
        }
        Some(Plane::upright(self.data.index_axis_mut(Axis(plane.axis()), index)))
    }
}

impl<T: Clone> Volume<T> {
    /// The same voxels with their axes permuted and reversed to `orientation`; nothing is
    /// interpolated, and the geometry follows, so every voxel keeps its world coordinates.
    #[must_use]
    pub fn reoriented(&self, orientation: &Orientation) -> Self {
        let turn = self.geometry.orientation().turn_to(orientation);
        let (matrix, offset) = turn.voxel_map(self.shape());
        // A signed permutation of a valid geometry is valid: the fallback is never taken.
        let geometry = self.geometry.composed(matrix, offset).unwrap_or(self.geometry);
        let data = if turn.is_identity() {
            self.data.clone()
        } else {
            turn.view(self.data.view()).as_standard_layout().into_owned()
        };
        Self { data, geometry }
    }
}

/// The error for letters that do not form an orientation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an orientation, expected three of R/L, A/P and S/I, one of each pair")]
pub struct OrientationParseError(String);

impl std::str::FromStr for Orientation {
    type Err = OrientationParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use crate::orientation::AxisCode::{A, I, L, P, R, S};
        let code = |letter: char| match letter {
            'R' => Some(R),
            'L' => Some(L),
            'A' => Some(A),
            'P' => Some(P),
            'S' => Some(S),
            'I' => Some(I),
            _ => None,
        };
        let codes: Option<Vec<_>> = text.chars().map(code).collect();
        codes
            .and_then(|codes| <[_; 3]>::try_from(codes).ok())
            .and_then(Orientation::new)
            .ok_or_else(|| OrientationParseError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_orientation_there_and_back() {
        let data = Array3::from_shape_fn((3, 4, 5), |(i, j, k)| i * 100 + j * 10 + k);
        let geometry = Geometry::new([
            [1.1, 0.1, 0.0, -7.0],
            [-0.1, 2.0, 0.2, 3.0],
            [0.0, 0.1, 3.0, 11.0],
            [0.0, 0.0, 0.0, 1.0],
        ])
        .unwrap();
        let volume = Volume::new(data, geometry);
        let mut seen = 0;
        for a in "RLAPSI".chars() {
            for b in "RLAPSI".chars() {
                for c in "RLAPSI".chars() {
                    let Ok(orientation) = format!("{a}{b}{c}").parse::<Orientation>() else { continue };
                    seen += 1;
                    let turned = volume.reoriented(&orientation);
                    assert_eq!(turned.geometry().orientation(), orientation);
                    for plane in [Plane::Sagittal, Plane::Coronal, Plane::Axial] {
                        for (index, value) in turned.data().indexed_iter() {
                            let [slice, row, column] = turned.upright_position(plane, index.into());
                            let seen = turned.upright_plane(plane, slice).unwrap();
                            assert_eq!(seen[[row, column]], *value, "{orientation} {plane:?}");
                        }
                    }
                    // A voxel keeps its world coordinates.
                    let value = turned.data()[[1, 1, 1]];
                    let [x, y, z] = turned.geometry().to_world([1.0; 3]);
                    let own = [value / 100, value / 10 % 10, value % 10].map(|v| v as f64);
                    let expected = volume.geometry().to_world(own);
                    assert!(
                        ((x - expected[0]).abs() + (y - expected[1]).abs() + (z - expected[2]).abs()) < 1e-9
                    );
                    let back = turned.reoriented(&Orientation::RAS);
                    assert_eq!(back.data(), volume.data());
                    assert!(back.geometry().is_close(volume.geometry(), 1e-9));
                }
            }
        }
        assert_eq!(seen, 48);
    }

    #[test]
    fn planes_show_the_front_up() {
        let volume = Volume::new(Array3::from_shape_fn((2, 3, 1), |(i, j, _)| (i, j)), Geometry::default());
        let slice = volume.plane(Plane::Axial, 0).unwrap();
        assert_eq!(slice.dim(), (3, 2));
        assert_eq!(slice[[0, 0]], (0, 2));
        assert_eq!(slice[[2, 1]], (1, 0));
        assert!(volume.plane(Plane::Axial, 1).is_none());
    }
}
