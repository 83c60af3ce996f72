//! Which axes of a volume lie within its slices.

/// Voxels that are longer along one axis than this times their length along both others say that this axis is the one
/// across the slices.
const ELONGATED: f64 = 1.5;
/// Voxel sizes that differ by less than this factor are the same: affines carry rounding errors.
const SAME: f64 = 1.01;

/// The axes of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axes {
    /// The two axes within a slice, in the order of the array.
    pub(super) plane: [usize; 2],
    /// The axis from slice to slice.
    pub(super) across: usize,
    /// Whether there is one slice only.
    pub(super) flat: bool,
    /// The axis along which voxels are closest, of those that have three voxels at least; the first of equal ones.
    pub(super) finest: usize,
}

impl Axes {
    /// The axes of a volume of this shape and voxel size. The axis across the slices is one that has a single voxel
    /// (the last of several), else one along which voxels are evidently longest, else the last.
    pub(super) fn of(shape: [usize; 3], spacing: [f64; 3]) -> Self {
        let single = (0..3).rev().find(|&axis| shape[axis] == 1);
        let is_longest =
            |axis: usize| (0..3).all(|other| other == axis || spacing[axis] > ELONGATED * spacing[other]);
        let across = single.or_else(|| (0..3).find(|&axis| is_longest(axis))).unwrap_or(2);
        let plane = match across {
            0 => [1, 2],
            1 => [0, 2],
            _ => [0, 1],
        };
        let long = |axis: &usize| shape[*axis] >= 3;
        let least = (0..3).filter(long).map(|axis| spacing[axis]).fold(f64::INFINITY, f64::min);
        let finest = (0..3).filter(long).find(|&axis| spacing[axis] <= SAME * least).unwrap_or(0);
        Self { plane, across, flat: single.is_some(), finest }
    }

    /// Coordinates along the two axes of a slice and across the slices, so that the same anatomy has the same
    /// coordinates in whichever order its voxels are stored.
    pub(super) fn ordered(&self, place: [f64; 3]) -> [f64; 3] {
        [place[self.plane[0]], place[self.plane[1]], place[self.across]]
    }

    /// The longer side of a pixel of a slice.
    pub(super) fn pixel(&self, spacing: [f64; 3]) -> f64 {
        spacing[self.plane[0]].max(spacing[self.plane[1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_found_by_voxel_size() {
        let axes = |spacing| Axes::of([20, 20, 20], spacing);
        let found = |spacing| (axes(spacing).plane, axes(spacing).across, axes(spacing).finest);
        assert_eq!(found([1.0, 1.0, 1.0]), ([0, 1], 2, 0));
        assert_eq!(found([1.0, 1.0, 3.0]), ([0, 1], 2, 0));
        assert_eq!(found([3.0, 1.0, 1.0]), ([1, 2], 0, 1));
        assert_eq!(found([0.9, 5.0, 0.5]), ([0, 2], 1, 2));
        // Rounding errors choose nothing, and thin slices are slices.
        assert_eq!(found([1.0, 0.999_99, 3.0]), ([0, 1], 2, 0));
        assert_eq!(found([0.98, 0.98, 0.6]), ([0, 1], 2, 2));
        assert_eq!(found([1.2, 0.94, 0.94]), ([0, 1], 2, 1));
    }

    #[test]
    fn a_single_slice_is_flat_whatever_its_axis() {
        let found = |shape| {
            let axes = Axes::of(shape, [1.0, 1.0, 1.0]);
            (axes.across, axes.flat, axes.finest)
        };
        assert_eq!(found([9, 9, 1]), (2, true, 0));
        assert_eq!(found([1, 9, 9]), (0, true, 1));
        assert_eq!(found([9, 1, 1]), (2, true, 0));
        assert_eq!(found([9, 9, 9]), (2, false, 0));
        // The thickness of a single slice says nothing.
        assert_eq!(Axes::of([9, 9, 1], [1.0, 4.0, 0.1]).across, 2);
    }

    #[test]
    fn coordinates_follow_the_anatomy() {
        let axes = Axes::of([6, 20, 20], [3.0, 1.0, 2.0]);
        // Axis 0 is 1.5 times as long as axis 2, and not more.
        assert_eq!(axes.across, 2);
        let axes = Axes::of([6, 20, 20], [4.0, 1.0, 2.0]);
        assert_eq!((axes.ordered([7.0, 8.0, 9.0]), axes.pixel([4.0, 1.0, 2.0])), ([8.0, 9.0, 7.0], 2.0));
    }
}
