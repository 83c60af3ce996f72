//! Erosion, dilation and holes of masks.

use ndarray::{Array, Array2, Array3, ArrayRef, ArrayRef2, ArrayRef3, Dimension};
use rayon::prelude::*;

use crate::components::{fill_holes, label_plane, label_volume};

/// Squared distance of every element to the nearest `true` of a mask, in pixels or voxels; infinite
/// for a mask without any.
///
/// Exact Euclidean distances between centres, in time linear in the number of elements, by lower
/// envelopes of parabolas along each axis in turn (Felzenszwalb and Huttenlocher, "Distance
/// transforms of sampled functions", Theory of Computing 8, 2012).
#[must_use]
pub fn squared_distance<D: Dimension>(mask: &ArrayRef<bool, D>) -> Array<f64, D> {
    let mut values: Vec<f64> = mask.iter().map(|&inside| if inside { 0.0 } else { f64::INFINITY }).collect();
    let shape = mask.shape();
    if !values.is_empty() {
        for axis in (0..shape.len()).rev() {
            let inner = shape[axis + 1..].iter().product();
            distance_along(&mut values, shape[axis], inner);
        }
    }
    let dim = mask.raw_dim();
    // One value an element.
    Array::from_shape_vec(dim.clone(), values).unwrap_or_else(|_| Array::from_elem(dim, f64::INFINITY))
}

/// A mask without the elements within `radius` of its background: eroded by a disc or ball.
///
/// A radius of 1 takes the elements that share a face with the background, 1.5 those that touch it
/// at a corner of a plane too. What lies beyond the array does not erode: the field of view is no
/// border of the head. A radius below 1 (or NaN) changes nothing.
#[must_use]
pub fn erode<D: Dimension>(mask: &ArrayRef<bool, D>, radius: f64) -> Array<bool, D> {
    let limit = radius.max(0.0).powi(2);
    squared_distance(&mask.map(|inside| !inside))
        .mapv(|distance| distance > limit || distance == f64::INFINITY)
}

/// A mask with all elements within `radius` of it: dilated by a disc or ball.
///
/// A radius below 1 (or NaN) changes nothing.
#[must_use]
pub fn dilate<D: Dimension>(mask: &ArrayRef<bool, D>, radius: f64) -> Array<bool, D> {
    let limit = radius.max(0.0).powi(2);
    squared_distance(mask).mapv(|distance| distance <= limit && distance < f64::INFINITY)
}

/// Erosion, then dilation: what is thinner than the disc or ball goes, the rest keeps its size.
#[must_use]
pub fn open<D: Dimension>(mask: &ArrayRef<bool, D>, radius: f64) -> Array<bool, D> {
    dilate(&erode(mask, radius), radius)
}

/// Dilation, then erosion: gaps narrower than the disc or ball are bridged, the rest keeps its size.
#[must_use]
pub fn close<D: Dimension>(mask: &ArrayRef<bool, D>, radius: f64) -> Array<bool, D> {
    erode(&dilate(mask, radius), radius)
}

/// A plane's mask with its holes filled: the parts of the background, connected by faces, that do
/// not reach the border of the plane.
#[must_use]
pub fn fill_holes_plane(mask: &ArrayRef2<bool>) -> Array2<bool> {
    fill_holes(mask, label_plane)
}

/// A volume's mask with its holes filled: the parts of the background, connected by faces, that do
/// not reach the border of the volume.
#[must_use]
pub fn fill_holes_volume(mask: &ArrayRef3<bool>) -> Array3<bool> {
    fill_holes(mask, label_volume)
}

/// Lower envelope along the middle axis of `[outer, length, inner]`.
fn distance_along(values: &mut [f64], length: usize, inner: usize) {
    values.par_chunks_mut(length * inner).for_each(|block| {
        let mut line = vec![0.0; length];
        let mut envelope = Envelope::default();
        for offset in 0..inner {
            for (slot, value) in line.iter_mut().zip(block[offset..].iter().step_by(inner)) {
                *slot = *value;
            }
            envelope.build(&line);
            envelope.evaluate(&line, block[offset..].iter_mut().step_by(inner));
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
    fn build(&mut self, line: &[f64]) {
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
                let (p, q) = (apex as f64, position as f64);
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

    fn evaluate<'a>(&self, line: &[f64], out: impl Iterator<Item = &'a mut f64>) {
        if self.apex.is_empty() {
            return;
        }
        let mut current = 0;
        for (position, value) in out.enumerate() {
            while self.begin.get(current + 1).is_some_and(|begin| *begin < position as f64) {
                current += 1;
            }
            let apex = self.apex[current];
            let offset = position as f64 - apex as f64;
            *value = offset * offset + line[apex];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
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

        #[test]
        fn erosion_is_the_dilation_of_the_rest(mask in any_mask(), radius in 0.0_f64..4.0) {
            let rest = mask.mapv(|v| !v);
            prop_assert_eq!(erode(&mask, radius), dilate(&rest, radius).mapv(|v| !v));
        }

        #[test]
        fn opening_shrinks_and_closing_grows(mask in any_mask(), radius in 0.0_f64..4.0) {
            let (opened, closed) = (open(&mask, radius), close(&mask, radius));
            for ((&was, &less), &more) in mask.iter().zip(&opened).zip(&closed) {
                prop_assert!(!less || was);
                prop_assert!(!was || more);
            }
            prop_assert_eq!(open(&opened, radius), opened);
            prop_assert_eq!(close(&closed, radius), closed);
        }

        #[test]
        fn filled_masks_have_no_holes_left(mask in any_mask()) {
            let filled = fill_holes_volume(&mask);
            prop_assert!(mask.iter().zip(&filled).all(|(&was, &is)| is || !was));
            prop_assert_eq!(&fill_holes_volume(&filled), &filled);
        }
    }

    #[test]
    fn radii_name_their_neighbours() {
        let mut mask = Array2::from_elem((5, 5), true);
        mask[[2, 2]] = false;
        let removed = |radius: f64| mask.len() - 1 - erode(&mask, radius).iter().filter(|v| **v).count();
        assert_eq!([removed(0.9), removed(1.0), removed(1.5), removed(2.0)], [0, 4, 8, 12]);
        // The border of the array does not erode.
        assert!(erode(&Array2::from_elem((3, 3), true), 2.0).iter().all(|v| *v));
        assert!(dilate(&Array2::from_elem((3, 3), false), 2.0).iter().all(|v| !*v));
        assert_eq!(erode(&mask, f64::NAN), mask);
        assert_eq!(dilate(&mask, -3.0), mask);
        assert!(erode(&Array2::from_elem((3, 3), true), f64::INFINITY).iter().all(|v| *v));
        assert!(dilate(&Array2::from_elem((3, 3), false), f64::INFINITY).iter().all(|v| !*v));
    }

    #[test]
    fn a_ring_is_filled_and_a_bay_is_not() {
        let ring = array![
            [true, true, true, false, false],
            [true, false, true, true, true],
            [true, true, true, false, false],
        ];
        let filled = fill_holes_plane(&ring);
        assert!(filled[[1, 1]]);
        assert!(!filled[[0, 3]] && !filled[[2, 4]]);
    }
}
