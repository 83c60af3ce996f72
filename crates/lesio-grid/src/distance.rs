//! Exact distances to a mask.

use ndarray::{Array, ArrayRef, ArrayViewMut3, Axis, Dimension};
use rayon::prelude::*;

/// Columns per task: a few cache lines, so that each line along an outer axis stays in the cache.
const COLUMNS: usize = 16;

/// Squared distance of every element to the nearest `true` of a mask, in pixels or voxels; infinite
/// for a mask without any.
///
/// Exact Euclidean distances between centers, in time linear in the number of elements, by lower
/// envelopes of parabolas along each axis in turn (Felzenszwalb and Huttenlocher, "Distance
/// transforms of sampled functions", Theory of Computing 8, 2012).
#[must_use]
pub fn squared_distance<D: Dimension>(mask: &ArrayRef<bool, D>) -> Array<f64, D> {
    squared_distance_spaced(mask, &[])
}

/// Like [`squared_distance`], in the squared unit of `spacing`: the distances of neighbors along the axes, each
/// positive and finite; axes beyond its end have distance 1. A distance of 0, below 0, infinite or not a number is not
/// checked: the result then has no meaning.
///
/// ```
/// use lesio_grid::squared_distance_spaced;
/// use ndarray::array;
///
/// let mask = array![[true, false, false], [false, false, false]];
/// assert_eq!(squared_distance_spaced(&mask, &[3.0, 0.5]), array![[0.0, 0.25, 1.0], [9.0, 9.25, 10.0]]);
/// ```
#[must_use]
pub fn squared_distance_spaced<D: Dimension>(mask: &ArrayRef<bool, D>, spacing: &[f64]) -> Array<f64, D> {
    let mut values: Vec<f64> = mask.iter().map(|&inside| if inside { 0.0 } else { f64::INFINITY }).collect();
    let shape = mask.shape();
    for axis in (0..shape.len()).rev().filter(|&axis| shape[axis] > 1) {
        let inner = shape[axis + 1..].iter().product();
        let step = spacing.get(axis).copied().unwrap_or(1.0);
        along_middle(&mut values, shape[axis], inner, step);
    }
    let dim = mask.raw_dim();
    // One value per element.
    Array::from_shape_vec(dim.clone(), values).unwrap_or_else(|_| Array::from_elem(dim, f64::INFINITY))
}

/// Lower envelopes along the middle axis of `[outer, length, inner]`, whose elements are `step` apart.
fn along_middle(values: &mut [f64], length: usize, inner: usize, step: f64) {
    if inner == 1 {
        values
            .par_chunks_mut(length)
            .for_each_init(|| Envelope::new(length), |envelope, line| envelope.transform(line, step));
        return;
    }
    if values.is_empty() {
        return;
    }
    let shape = [values.len() / (length * inner), length, inner];
    let Ok(mut volume) = ArrayViewMut3::from_shape(shape, values) else { return };
    let planes: Vec<_> = volume.outer_iter_mut().collect();
    planes.into_par_iter().for_each(|mut plane| {
        let blocks: Vec<_> = plane.axis_chunks_iter_mut(Axis(1), COLUMNS).collect();
        blocks.into_par_iter().for_each_init(
            || (Envelope::new(length), vec![0.0; length]),
            |(envelope, line), mut block| {
                for mut column in block.columns_mut() {
                    line.iter_mut().zip(&column).for_each(|(to, from)| *to = *from);
                    envelope.transform(line, step);
                    column.iter_mut().zip(&*line).for_each(|(to, from)| *to = *from);
                }
            },
        );
    });
}

/// The parabolas that make up the lower envelope of a line, from left to right.
struct Envelope {
    /// Position and height of each apex.
    apexes: Vec<(f64, f64)>,
    /// The position from which each parabola is lower than the previous one.
    starts: Vec<f64>,
}

impl Envelope {
    fn new(length: usize) -> Self {
        Self { apexes: Vec::with_capacity(length), starts: Vec::with_capacity(length) }
    }

    /// Replaces each value `f(x)` by the least `f(y) + (x - y)^2`, for `x` and `y` multiples of `spacing`.
    fn transform(&mut self, line: &mut [f64], spacing: f64) {
        self.apexes.clear();
        self.starts.clear();
        for (index, &height) in line.iter().enumerate() {
            if height == f64::INFINITY {
                continue;
            }
            let place = index as f64 * spacing;
            let mut start = f64::NEG_INFINITY;
            while let (Some(&(last_place, last_height)), Some(&last_start)) =
                (self.apexes.last(), self.starts.last())
            {
                // The position where both parabolas have the same height.
                start = 0.5 * ((height - last_height) / (place - last_place) + place + last_place);
                if start > last_start {
                    break;
                }
                self.apexes.pop();
                self.starts.pop();
                start = f64::NEG_INFINITY;
            }
            self.apexes.push((place, height));
            self.starts.push(start);
        }
        if self.apexes.is_empty() {
            return;
        }
        let mut parabola = 0;
        for (index, value) in line.iter_mut().enumerate() {
            let place = index as f64 * spacing;
            while self.starts.get(parabola + 1).is_some_and(|&start| start <= place) {
                parabola += 1;
            }
            let (apex, height) = self.apexes[parabola];
            *value = (place - apex) * (place - apex) + height;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;
    use proptest::prelude::*;

    fn brute(mask: &Array3<bool>) -> Array3<f64> {
        Array3::from_shape_fn(mask.dim(), |(i, j, k)| {
            let mut best = f64::INFINITY;
            for ((a, b, c), &inside) in mask.indexed_iter() {
                if inside {
                    let d = [(i, a), (j, b), (k, c)].map(|(x, y)| (x as f64 - y as f64).powi(2));
                    best = best.min(d.iter().sum());
                }
            }
            best
        })
    }

    fn any_mask() -> impl Strategy<Value = Array3<bool>> {
        (1_usize..6, 1_usize..7, 1_usize..9, 0.02_f64..0.98).prop_flat_map(|(a, b, c, p)| {
            prop::collection::vec(prop::bool::weighted(p), a * b * c)
                .prop_map(move |values| Array3::from_shape_vec((a, b, c), values).unwrap())
        })
    }

    proptest! {
        #[test]
        fn distances_are_exact(mask in any_mask()) {
            prop_assert_eq!(squared_distance(&mask), brute(&mask));
        }
    }

    proptest! {
        #[test]
        fn sizes_of_elements_count(mask in any_mask(), spacing in prop::array::uniform3(0.2_f64..5.0)) {
            let found = squared_distance_spaced(&mask, &spacing);
            for ((i, j, k), &distance) in found.indexed_iter() {
                let mut best = f64::INFINITY;
                for ((a, b, c), _) in mask.indexed_iter().filter(|&(_, &inside)| inside) {
                    let d = [(i, a), (j, b), (k, c)].map(|(x, y)| x as f64 - y as f64);
                    best = best.min((0..3).map(|axis| (d[axis] * spacing[axis]).powi(2)).sum());
                }
                prop_assert!(distance == best || (distance - best).abs() < 1e-9 * best, "{distance} {best}");
            }
        }
    }

    /// Whatever the distances of neighbors are, there is a value for each element.
    #[test]
    fn distances_that_are_none_do_not_panic() {
        let mask = Array3::from_shape_fn((3, 4, 5), |(i, j, k)| (i * 7 + j * 3 + k) % 5 == 0);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            for spacing in [vec![bad], vec![1.0, bad, 2.0], vec![bad; 3], vec![1.0; 4]] {
                assert_eq!(squared_distance_spaced(&mask, &spacing).dim(), mask.dim(), "{spacing:?}");
            }
        }
        assert_eq!(squared_distance_spaced(&mask, &[1.0]), squared_distance(&mask));
    }

    #[test]
    fn nothing_is_infinitely_far() {
        assert!(squared_distance(&Array3::from_elem((2, 3, 2), false)).iter().all(|d| *d == f64::INFINITY));
        assert!(squared_distance(&Array3::from_elem((2, 0, 2), true)).is_empty());
    }
}
