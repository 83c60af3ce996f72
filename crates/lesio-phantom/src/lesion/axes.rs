//! Which axes of a volume lie within its slices, and how they lie in the world.

use lesio_image::Geometry;

/// Voxels that are longer along one axis than this times their length along both others say that this axis is the one
/// across the slices.
const ELONGATED: f64 = 1.5;
/// Voxel sizes that differ by less than this factor are the same: affines carry rounding errors.
const SAME: f64 = 1.01;

/// The axes of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axes {
    /// The two axes within a slice, in the order of the world's axes.
    pub(super) plane: [usize; 2],
    /// The axis from slice to slice.
    pub(super) across: usize,
    /// Whether there is one slice only.
    pub(super) flat: bool,
    /// The axis along which voxels are closest, of those that have three voxels at least; the first of equal ones in
    /// the world's order.
    pub(super) finest: usize,
    /// The axes of the array that lie closest to the world's: to the right, to the front, up.
    world: [usize; 3],
    /// Whether each axis of the array runs against its axis of the world.
    reversed: [bool; 3],
}

impl Axes {
    /// The axes of a volume of this shape and geometry. The axis across the slices is one that has a single voxel (the
    /// last of several in the world's order), else one along which voxels are evidently longest, else the one that lies
    /// closest to the world's upward axis.
    pub(super) fn in_world(shape: [usize; 3], geometry: &Geometry) -> Self {
        let (mut world, mut reversed) = ([0, 1, 2], [false; 3]);
        for (axis, code) in geometry.axis_codes().into_iter().enumerate() {
            let (of_world, is_along) = code.world();
            world[of_world] = axis;
            reversed[axis] = !is_along;
        }
        Self::new(shape, geometry.spacing(), world, reversed)
    }

    /// The axes of a volume that is stored in RAS+.
    #[cfg(test)]
    pub(super) fn of(shape: [usize; 3], spacing: [f64; 3]) -> Self {
        Self::new(shape, spacing, [0, 1, 2], [false; 3])
    }

    fn new(shape: [usize; 3], spacing: [f64; 3], world: [usize; 3], reversed: [bool; 3]) -> Self {
        let single = world.into_iter().rev().find(|&axis| shape[axis] == 1);
        let is_longest =
            |axis: usize| (0..3).all(|other| other == axis || spacing[axis] > ELONGATED * spacing[other]);
        let across = single.or_else(|| (0..3).find(|&axis| is_longest(axis))).unwrap_or(world[2]);
        let [right, front, up] = world;
        let plane = match across {
            axis if axis == right => [front, up],
            axis if axis == front => [right, up],
            _ => [right, front],
        };
        let long = |axis: &usize| shape[*axis] >= 3;
        let of_long = || world.into_iter().filter(long);
        let least = of_long().map(|axis| spacing[axis]).fold(f64::INFINITY, f64::min);
        let finest = of_long().find(|&axis| spacing[axis] <= SAME * least).unwrap_or(right);
        Self { plane, across, flat: single.is_some(), finest, world, reversed }
    }

    /// The axis that lies closest to the world's upward axis.
    pub(super) fn up(&self) -> usize {
        self.world[2]
    }

    /// Coordinates along the two axes of a slice and across the slices, in the directions of the world's axes, so that
    /// the same anatomy has the same coordinates in whichever order its voxels are stored.
    pub(super) fn ordered(&self, place: [f64; 3]) -> [f64; 3] {
        [self.plane[0], self.plane[1], self.across].map(|axis| match self.reversed[axis] {
            true => -place[axis],
            false => place[axis],
        })
    }

    /// The voxels of an array of this shape, in the order of an array that is stored in RAS+: the same anatomy comes in
    /// the same order.
    pub(super) fn voxels(&self, shape: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
        let Self { world, reversed, .. } = *self;
        let along = move |of_world: usize| 0..shape[world[of_world]];
        along(0).flat_map(move |i| {
            along(1).flat_map(move |j| {
                along(2).map(move |k| {
                    let mut voxel = [0; 3];
                    for (axis, step) in world.into_iter().zip([i, j, k]) {
                        voxel[axis] = if reversed[axis] { shape[axis] - 1 - step } else { step };
                    }
                    voxel
                })
            })
        })
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
    fn slices_lie_across_the_upward_axis_where_voxel_sizes_do_not_tell() {
        let geometry = |codes: &str, spacing: [f64; 3]| {
            let mut affine = [[0.0; 4]; 4];
            affine[3][3] = 1.0;
            for (axis, code) in codes.chars().enumerate() {
                let (row, sign) = match code {
                    'R' => (0, 1.0),
                    'L' => (0, -1.0),
                    'A' => (1, 1.0),
                    'P' => (1, -1.0),
                    'S' => (2, 1.0),
                    _ => (2, -1.0),
                };
                affine[row][axis] = sign * spacing[axis];
            }
            Geometry::new(affine).unwrap()
        };
        let axes = |codes, spacing| Axes::in_world([20, 30, 40], &geometry(codes, spacing));
        let found = |codes, spacing| (axes(codes, spacing).plane, axes(codes, spacing).across);
        for codes in ["RAS", "LAS", "LPS", "RAI"] {
            assert_eq!(found(codes, [1.0; 3]), ([0, 1], 2), "{codes}");
        }
        assert_eq!(found("SRA", [1.0; 3]), ([1, 2], 0));
        assert_eq!(found("PIR", [1.0, 1.2, 0.9]), ([2, 0], 1));
        // Evidently longest.
        assert_eq!(found("RAS", [2.0, 1.0, 1.0]), ([1, 2], 0));
        assert_eq!(found("PIR", [1.0, 1.0, 2.0]), ([0, 1], 2));
        assert_eq!((axes("SRA", [1.0; 3]).finest, axes("PIR", [1.0; 3]).finest), (1, 2));
        // Right, front, up.
        assert_eq!(axes("PIR", [1.0, 1.0, 3.0]).ordered([1.0, 2.0, 3.0]), [-1.0, -2.0, 3.0]);
        assert_eq!(axes("PIR", [1.0; 3]).ordered([1.0, 2.0, 3.0]), [3.0, -1.0, -2.0]);
        let first: Vec<[usize; 3]> = axes("PIR", [1.0; 3]).voxels([20, 30, 40]).take(2).collect();
        assert_eq!(first, [[19, 29, 0], [19, 28, 0]]);
        let all: Vec<[usize; 3]> = Axes::of([2, 3, 4], [1.0; 3]).voxels([2, 3, 4]).collect();
        assert!(all.is_sorted() && all.len() == 24);
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
