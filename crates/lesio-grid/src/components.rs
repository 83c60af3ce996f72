//! Connected components of masks.

use std::fmt;
use std::ops::Range;

use ndarray::{Array, Array3, ArrayRef2, ArrayRef3, Axis, Dim, Dimension, Ix2, Ix3};

use crate::bounds::BoundingBox;
use crate::connectivity::Connectivity;
use crate::runs::Runs;

/// One connected component.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Component<const N: usize> {
    /// Number of pixels or voxels.
    pub size: usize,
    /// The smallest box around it.
    pub bounds: BoundingBox<N>,
    /// Mean index along each axis.
    pub centroid: [f64; N],
}

/// The connected components of a mask, `N` = 2 for a plane and 3 for a volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Components<const N: usize>
where
    Dim<[usize; N]>: Dimension,
{
    labels: Array<u32, Dim<[usize; N]>>,
    components: Vec<Component<N>>,
}

impl<const N: usize> Components<N>
where
    Dim<[usize; N]>: Dimension,
{
    /// Label of every element: 0 outside the mask, `i + 1` in component `i`.
    #[must_use]
    pub fn labels(&self) -> &Array<u32, Dim<[usize; N]>> {
        &self.labels
    }

    /// The components, in the row-major order of their first elements.
    #[must_use]
    pub fn components(&self) -> &[Component<N>] {
        &self.components
    }

    /// Index of the largest component, the first of equally large ones; `None` without components.
    #[must_use]
    pub fn largest(&self) -> Option<usize> {
        // `max_by_key` returns the last maximum; in reverse order that is the first.
        (0..self.components.len()).rev().max_by_key(|&i| self.components[i].size)
    }

    /// The mask of the components for which `keep` returns true.
    #[must_use]
    pub fn select(&self, mut keep: impl FnMut(&Component<N>) -> bool) -> Array<bool, Dim<[usize; N]>> {
        let mut kept = vec![false];
        kept.extend(self.components.iter().map(&mut keep));
        self.labels.map(|&label| kept[label as usize])
    }
}

/// The connected components of a plane; none for a plane without `true` elements or without elements.
///
/// ```
/// use lesio_grid::{Connectivity, label_plane};
/// use ndarray::array;
///
/// let mask = array![[true, false], [false, true]];
/// assert_eq!(label_plane(&mask, Connectivity::Face).components().len(), 2);
/// assert_eq!(label_plane(&mask, Connectivity::Edge).labels(), array![[1, 0], [0, 1]]);
/// ```
#[must_use]
pub fn label_plane(mask: &ArrayRef2<bool>, connectivity: Connectivity) -> Components<2> {
    let runs = Runs::new(mask.view().insert_axis(Axis(0)), None, connectivity);
    let (rows, columns) = mask.dim();
    let components = describe(&runs).into_iter().map(|c| Component {
        size: c.size,
        bounds: BoundingBox {
            start: [c.bounds.start[1], c.bounds.start[2]],
            end: [c.bounds.end[1], c.bounds.end[2]],
        },
        centroid: [c.centroid[1], c.centroid[2]],
    });
    Components { components: components.collect(), labels: shaped::<Ix2, _>((rows, columns), runs.labels()) }
}

/// The connected components of a volume; none for a mask without `true` elements or without elements.
#[must_use]
pub fn label_volume(mask: &ArrayRef3<bool>, connectivity: Connectivity) -> Components<3> {
    let runs = Runs::new(mask.view(), None, connectivity);
    Components { components: describe(&runs), labels: shaped::<Ix3, _>(mask.dim(), runs.labels()) }
}

/// The connected components of a volume as runs of voxels along its last axis. If few voxels are in components, this
/// needs much less memory than labels.
///
/// ```
/// use lesio_grid::{ComponentRuns, Connectivity};
/// use ndarray::array;
///
/// let mask = array![[[true, true, false], [false, false, true]]];
/// let runs = ComponentRuns::new(&mask, Connectivity::Edge);
/// assert_eq!(runs.components().len(), 1);
/// let found: Vec<_> = runs.iter().map(|(row, columns, _)| (row, columns)).collect();
/// assert_eq!(found, [([0, 0], 0..2), ([0, 1], 2..3)]);
/// assert_eq!(runs.labels(|_| 7u8), array![[[7, 7, 0], [0, 0, 7]]]);
/// ```
pub struct ComponentRuns {
    runs: Runs,
    components: Vec<Component<3>>,
    shape: [usize; 3],
}

impl fmt::Debug for ComponentRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentRuns").field("components", &self.components).finish_non_exhaustive()
    }
}

impl ComponentRuns {
    /// The components of a mask, numbered as those of [`label_volume`].
    #[must_use]
    pub fn new(mask: &ArrayRef3<bool>, connectivity: Connectivity) -> Self {
        Self::of(mask, None, connectivity)
    }

    /// The components of the intersection of two masks, which is not copied; `None` if their shapes differ.
    #[must_use]
    pub fn within(
        mask: &ArrayRef3<bool>,
        inside: &ArrayRef3<bool>,
        connectivity: Connectivity,
    ) -> Option<Self> {
        (mask.dim() == inside.dim()).then(|| Self::of(mask, Some(inside), connectivity))
    }

    fn of(mask: &ArrayRef3<bool>, inside: Option<&ArrayRef3<bool>>, connectivity: Connectivity) -> Self {
        let runs = Runs::new(mask.view(), inside.map(|inside| inside.view()), connectivity);
        Self { components: describe(&runs), runs, shape: mask.dim().into() }
    }

    /// The components, in the row-major order of their first elements.
    #[must_use]
    pub fn components(&self) -> &[Component<3>] {
        &self.components
    }

    /// Every run in row-major order: its row (the indices along the first two axes), its voxels along the third axis,
    /// and the index of its component, from 0.
    pub fn iter(&self) -> impl Iterator<Item = ([usize; 2], Range<usize>, usize)> {
        self.runs.iter().map(|(row, span, component)| (row, span.clone(), component))
    }

    /// A value for every voxel: the default outside of components, and `of` of the component's index inside.
    #[must_use]
    pub fn labels<T: Copy + Default + Send>(&self, of: impl Fn(usize) -> T + Sync) -> Array3<T> {
        let mut values = vec![T::default(); self.shape.iter().product()];
        self.runs.paint(&mut values, of);
        // There is one value per voxel.
        Array3::from_shape_vec(self.shape, values)
            .unwrap_or_else(|_| Array3::from_elem(self.shape, T::default()))
    }

    /// Sets the voxels of every component to `of` of the component's index, and no others; `values` has one element for
    /// each voxel in row-major order.
    pub fn paint<T: Copy + Send>(&self, values: &mut [T], of: impl Fn(usize) -> T + Sync) {
        self.runs.paint(values, of);
    }
}

fn shaped<D: Dimension, S: ndarray::ShapeBuilder<Dim = D> + Clone>(
    shape: S,
    labels: Vec<u32>,
) -> Array<u32, D> {
    // There is one label per element.
    Array::from_shape_vec(shape.clone().into_shape_with_order(), labels)
        .unwrap_or_else(|_| Array::from_elem(shape, 0))
}

/// The box and the mean index of every component, from its runs.
fn describe(runs: &Runs) -> Vec<Component<3>> {
    let none = BoundingBox { start: [usize::MAX; 3], end: [0; 3] };
    let mut components = vec![Component { size: 0, bounds: none, centroid: [0.0; 3] }; runs.count()];
    for ([plane, line], span, index) in runs.iter() {
        let component = &mut components[index];
        component.size += span.len();
        let ranges = [plane..plane + 1, line..line + 1, span.clone()];
        for (axis, range) in ranges.iter().enumerate() {
            component.bounds.start[axis] = component.bounds.start[axis].min(range.start);
            component.bounds.end[axis] = component.bounds.end[axis].max(range.end);
            // The sum of the run's indices along this axis.
            component.centroid[axis] += 0.5 * (range.start + range.end - 1) as f64 * span.len() as f64;
        }
    }
    for component in &mut components {
        component.centroid = component.centroid.map(|sum| sum / component.size as f64);
    }
    components
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use proptest::prelude::*;

    /// Labels by repeated flooding, straight from the definition.
    fn flood(mask: &Array3<bool>, connectivity: Connectivity) -> (Array3<u32>, Vec<usize>) {
        let mut labels = Array3::<u32>::zeros(mask.dim());
        let mut sizes = Vec::new();
        let reach = match connectivity {
            Connectivity::Face => 1,
            Connectivity::Edge => 2,
            Connectivity::Vertex => 3,
        };
        for (seed, &inside) in mask.indexed_iter() {
            if !inside || labels[seed] != 0 {
                continue;
            }
            sizes.push(0);
            let label = sizes.len() as u32;
            labels[seed] = label;
            let mut stack = vec![seed];
            while let Some((i, j, k)) = stack.pop() {
                sizes[label as usize - 1] += 1;
                for di in -1_isize..=1 {
                    for dj in -1_isize..=1 {
                        for dk in -1_isize..=1 {
                            let steps = di.abs() + dj.abs() + dk.abs();
                            let next = (
                                i.wrapping_add_signed(di),
                                j.wrapping_add_signed(dj),
                                k.wrapping_add_signed(dk),
                            );
                            if (1..=reach).contains(&steps)
                                && mask.get(next) == Some(&true)
                                && labels[next] == 0
                            {
                                labels[next] = label;
                                stack.push(next);
                            }
                        }
                    }
                }
            }
        }
        (labels, sizes)
    }

    fn any_mask() -> impl Strategy<Value = Array3<bool>> {
        (1_usize..6, 1_usize..7, 1_usize..12).prop_flat_map(|(a, b, c)| {
            prop::collection::vec(prop::bool::weighted(0.4), a * b * c)
                .prop_map(move |values| Array3::from_shape_vec((a, b, c), values).unwrap())
        })
    }

    proptest! {
        #[test]
        fn agrees_with_flooding(mask in any_mask()) {
            for connectivity in [Connectivity::Face, Connectivity::Edge, Connectivity::Vertex] {
                let found = label_volume(&mask, connectivity);
                let (labels, sizes) = flood(&mask, connectivity);
                prop_assert_eq!(found.labels(), &labels);
                prop_assert_eq!(found.components().iter().map(|c| c.size).collect::<Vec<_>>(), sizes);
                for (index, component) in found.components().iter().enumerate() {
                    let own = labels.mapv(|l| l as usize == index + 1);
                    prop_assert_eq!(crate::bounds::bounding_box(&own), Some(component.bounds));
                    for (axis, &center) in component.centroid.iter().enumerate() {
                        let sum: usize = own.indexed_iter().filter(|(_, inside)| **inside)
                            .map(|((i, j, k), _)| [i, j, k][axis]).sum();
                        prop_assert!((center - sum as f64 / component.size as f64).abs() < 1e-9);
                    }
                }
            }
        }

        #[test]
        fn planes_are_volumes_of_one_slice(mask in any_mask()) {
            let plane = mask.index_axis(Axis(0), 0);
            let slab = plane.insert_axis(Axis(0)).to_owned();
            for connectivity in [Connectivity::Face, Connectivity::Edge] {
                let found = label_plane(&plane, connectivity);
                let (labels, _) = flood(&slab, connectivity);
                prop_assert_eq!(found.labels().view().insert_axis(Axis(0)), labels);
            }
        }
    }

    #[test]
    fn slabs_are_joined() {
        // 900 rows of speckle are two slabs; so are 600 rows of a plane.
        let mut state = 7_u32;
        let mut speckle = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 30 == 0
        };
        for shape in [(30, 30, 7), (1, 600, 5), (600, 1, 5)] {
            let mask = Array3::from_shape_simple_fn(shape, &mut speckle);
            for connectivity in [Connectivity::Face, Connectivity::Edge, Connectivity::Vertex] {
                assert_eq!(label_volume(&mask, connectivity).labels(), flood(&mask, connectivity).0);
            }
        }
    }

    #[test]
    fn empty_masks_have_no_components() {
        for shape in [(0, 3, 4), (3, 0, 4), (3, 4, 0), (2, 2, 2)] {
            let found = label_volume(&Array3::from_elem(shape, false), Connectivity::Face);
            assert!(found.components().is_empty());
            assert_eq!(found.largest(), None);
            assert_eq!(found.labels().dim(), shape);
        }
    }

    fn picture(rows: &[&str]) -> Array2<bool> {
        Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, column)| {
            rows[row].as_bytes()[column] == b'#'
        })
    }

    #[test]
    fn vertices_join_or_not() {
        let mask = picture(&["#..#.", ".#..#", "...#.", "##..."]);
        let sizes = |c| label_plane(&mask, c).components().iter().map(|c| c.size).collect::<Vec<_>>();
        assert_eq!(sizes(Connectivity::Face), [1, 1, 1, 1, 1, 2]);
        assert_eq!(sizes(Connectivity::Vertex), [2, 3, 2]);
        assert_eq!(sizes(Connectivity::Edge), sizes(Connectivity::Vertex));
    }

    #[test]
    fn branches_that_meet_late_are_one() {
        let mask = picture(&["#.#.#", "#.#.#", "#.###", "###.."]);
        assert_eq!(label_plane(&mask, Connectivity::Face).labels(), mask.mapv(u32::from));
    }

    #[test]
    fn small_components_go_and_the_first_of_equals_is_the_largest() {
        let mut mask = Array2::from_elem((1, 9), false);
        for column in [0, 1, 3, 5, 6] {
            mask[[0, column]] = true;
        }
        let found = label_plane(&mask, Connectivity::Face);
        assert_eq!(found.largest(), Some(0));
        let kept = found.select(|component| component.size >= 2);
        assert_eq!(kept.iter().filter(|v| **v).count(), 4);
        assert!(!kept[[0, 3]]);
    }

    #[test]
    fn views_of_any_layout_are_labeled_alike() {
        let mask = Array3::from_shape_fn((4, 5, 6), |(i, j, k)| (i * j + k) % 3 == 0);
        let turned = mask.view().permuted_axes([2, 0, 1]);
        let direct = label_volume(&turned, Connectivity::Vertex);
        let copied = label_volume(&turned.as_standard_layout().into_owned(), Connectivity::Vertex);
        assert_eq!(direct, copied);
        let inside = Array3::from_shape_fn((6, 4, 5), |(i, j, k)| (i + j * k) % 2 == 0);
        let both = ComponentRuns::within(&turned, &inside, Connectivity::Vertex).unwrap();
        let expected = label_volume(&(&turned & &inside), Connectivity::Vertex);
        assert!(ComponentRuns::within(&mask, &inside, Connectivity::Vertex).is_none());
        assert_eq!(both.components(), expected.components());
        assert_eq!(both.labels(|component| component as u32 + 1), expected.labels());
    }
}
