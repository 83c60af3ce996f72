//! Exact distances to a mask.

use ndarray::{Array, ArrayRef, Dimension};
use rayon::prelude::*;

/// Squared distance of every element to the nearest `true` of a mask, in pixels or voxels; infinite
/// for a mask without any.
///
/// Exact Euclidean distances between centres, in time linear in the number of elements, by lower
/// envelopes of parabolas along each axis in turn (Felzenszwalb and Huttenlocher, "Distance
/// transforms of sampled functions", Theory of Computing 8, 2012).
#[must_use]
pub fn squared_distance<D: Dimension>(mask: &ArrayRef<bool, D>) -> Array<f64, D> {
    squared_distance_spaced(mask, &[])
}

/// As [`squared_distance`], in the unit of `spacing`, the sizes of an element along the axes; axes beyond
/// its end have size 1.
pub(crate) fn squared_distance_spaced<D: Dimension>(
    mask: &ArrayRef<bool, D>,
    spacing: &[f64],
) -> Array<f64, D> {
    let mut values: Vec<f64> = mask.iter().map(|&inside| if inside { 0.0 } else { f64::INFINITY }).collect();
    let shape = mask.shape();
    if !values.is_empty() {
        for axis in (0..shape.len()).rev() {
            let inner = shape[axis + 1..].iter().product();
            let step = spacing.get(axis).copied().unwrap_or(1.0);
            distance_along(&mut values, shape[axis], inner, step);
        }
    }
    let dim = mask.raw_dim();
    // One value an element.
    Array::from_shape_vec(dim.clone(), values).unwrap_or_else(|_| Array::from_elem(dim, f64::INFINITY))
}

/// Lower envelope along the middle axis of `[outer, length, inner]`, whose elements are `step` apart.
fn distance_along(values: &mut [f64], length: usize, inner: usize, step: f64) {
    values.par_chunks_mut(length * inner).for_each(|block| {
        let mut line = vec![0.0; length];
        let mut envelope = Envelope::default();
        for offset in 0..inner {
            for (slot, value) in line.iter_mut().zip(block[offset..].iter().step_by(inner)) {
                *slot = *value;
            }
            envelope.build(&line, step);
            envelope.evaluate(&line, step, block[offset..].iter_mut().step_by(inner));
        }
    });
}

/// The parabolas `(x - p)^2 + f(p)` that are lowest somewhere, and where each begins to be.
#[derive(Default)]
struct Envelope {
    apex: Vec<usize>,
    begin: Vec<f64>,
}

impl Envelope {
    fn build(&mut self, line: &[f64], step: f64) {
        self.apex.clear();
        self.begin.clear();
        for (position, &height) in line.iter().enumerate() {
            if height == f64::INFINITY {
                continue;
            }
            loop {
                let (Some(&apex), Some(&begin)) = (self.apex.last(), self.begin.last()) else {
                    self.begin.push(f64::NEG_INFINITY);
                    break;
                };
                let (p, q) = (apex as f64 * step, position as f64 * step);
                let crossing = ((height + q * q) - (line[apex] + p * p)) / (2.0 * (q - p));
                if crossing > begin {
                    self.begin.push(crossing);
                    break;
                }
                self.apex.pop();
                self.begin.pop();
            }
            self.apex.push(position);
        }
    }

    fn evaluate<'a>(&self, line: &[f64], step: f64, out: impl Iterator<Item = &'a mut f64>) {
        if self.apex.is_empty() {
            return;
        }
        let mut current = 0;
        for (position, value) in out.enumerate() {
            while self.begin.get(current + 1).is_some_and(|begin| *begin < position as f64 * step) {
                current += 1;
            }
            let apex = self.apex[current];
            let offset = (position as f64 - apex as f64) * step;
            *value = offset * offset + line[apex];
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

    #[test]
    fn nothing_is_infinitely_far() {
        assert!(squared_distance(&Array3::from_elem((2, 3, 2), false)).iter().all(|d| *d == f64::INFINITY));
        assert!(squared_distance(&Array3::from_elem((2, 0, 2), true)).is_empty());
    }
}
