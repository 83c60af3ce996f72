//! Erosion, dilation and holes of masks.

use lesio_grid::{Connectivity, label_plane, squared_distance, squared_distance_spaced};
use ndarray::{Array, Array2, ArrayRef, ArrayRef2, ArrayViewMut, Axis, Dimension, Slice};
use rayon::prelude::*;

/// Above this radius distances are computed; up to it, steps of every length are tried, many
/// elements at a time.
const LARGEST_STEPPED: f64 = 24.0;

/// A squared distance beyond every radius that is tried, with room for the square of a step.
const FAR: i16 = i16::MAX - 24 * 24;

/// A mask without the elements within `radius` of its background: eroded by a disc or ball.
///
/// A radius of 1 takes the elements that share a face with the background, 1.5 those that touch it
/// at a corner of a plane too. The outside of the array does not erode: the edge of the field of view is not
/// a border of the head. A radius below 1 (or NaN) changes nothing.
#[must_use]
pub fn erode<D: Dimension>(mask: &ArrayRef<bool, D>, radius: f64) -> Array<bool, D> {
    within(&mask.map(|inside| !inside), radius).mapv_into(|near| !near)
}

/// Like [`erode`], with elements of any size: `spacing` is the size along each axis, in the unit of the radius.
///
/// Removes the elements whose center is within `radius` of the center of a background element. Lengths with a relative
/// difference below a millionth are equal. If all elements are larger than the radius, nothing changes.
///
/// Sizes are one positive finite number for each axis. This is not checked: with others the result has no meaning.
///
/// ```
/// use lesio_image::erode_spaced;
/// use ndarray::Array2;
///
/// // Two millimeters of a square of 12 x 12 mm, in pixels of 1 mm by 2 mm.
/// let square = Array2::from_shape_fn((16, 8), |(r, c)| (2..14).contains(&r) && (1..7).contains(&c));
/// let smaller = erode_spaced(&square, 2.0, &[1.0, 2.0]);
/// assert_eq!(smaller.iter().filter(|&&inside| inside).count(), 8 * 4);
/// ```
#[must_use]
pub fn erode_spaced<D: Dimension>(mask: &ArrayRef<bool, D>, radius: f64, spacing: &[f64]) -> Array<bool, D> {
    within_spaced(&mask.map(|inside| !inside), radius, spacing).mapv_into(|near| !near)
}

/// A mask with all elements within `radius` of it: dilated by a disc or ball.
///
/// A radius below 1 (or NaN) changes nothing.
#[must_use]
pub fn dilate<D: Dimension>(mask: &ArrayRef<bool, D>, radius: f64) -> Array<bool, D> {
    within(mask, radius)
}

/// Erosion, then dilation: removes parts thinner than the disc or ball; the rest keeps its size.
#[must_use]
pub fn open<D: Dimension>(mask: &ArrayRef<bool, D>, radius: f64) -> Array<bool, D> {
    dilate(&erode(mask, radius), radius)
}

/// Like [`open`], with elements of these sizes along the axes, in the unit of the radius.
pub(crate) fn open_spaced<D: Dimension>(
    mask: &ArrayRef<bool, D>,
    radius: f64,
    spacing: &[f64],
) -> Array<bool, D> {
    within_spaced(&erode_spaced(mask, radius, spacing), radius, spacing)
}

/// Dilation, then erosion: gaps narrower than the disc or ball are bridged, the rest keeps its size.
///
/// Beyond the array there is background, into which the dilation may reach, so that nothing clings
/// to the border. A radius is limited to the longest side of the array; one below 1 (or NaN) changes nothing.
#[must_use]
pub fn close<D: Dimension>(mask: &ArrayRef<bool, D>, radius: f64) -> Array<bool, D> {
    close_spaced(mask, radius, &vec![1.0; mask.ndim()])
}

/// Like [`close`], with elements of these sizes along the axes, in the unit of the radius.
pub(crate) fn close_spaced<D: Dimension>(
    mask: &ArrayRef<bool, D>,
    radius: f64,
    spacing: &[f64],
) -> Array<bool, D> {
    // `f64::min` would take the longest side for NaN.
    if radius.is_nan() {
        return mask.to_owned();
    }
    let sides = mask.shape().iter().zip(spacing).map(|(&length, &size)| length as f64 * size);
    let radius = radius.min(sides.fold(0.0, f64::max));
    let borders: Vec<usize> = spacing.iter().map(|size| (radius.max(0.0) / size).ceil() as usize).collect();
    let mut padded_dim = mask.raw_dim();
    for (axis, border) in borders.iter().enumerate() {
        padded_dim[axis] += 2 * border;
    }
    let mut padded = Array::from_elem(padded_dim, false);
    inner(&mut padded, &borders).assign(mask);
    let mut closed = erode_spaced(&within_spaced(&padded, radius, spacing), radius, spacing);
    inner(&mut closed, &borders).to_owned()
}

/// An array without its border.
fn inner<'a, D: Dimension>(padded: &'a mut Array<bool, D>, borders: &[usize]) -> ArrayViewMut<'a, bool, D> {
    let mut view = padded.view_mut();
    for (axis, &border) in borders.iter().enumerate() {
        let end = view.len_of(Axis(axis)) - border;
        view.slice_axis_inplace(Axis(axis), Slice::from(border..end));
    }
    view
}

/// A plane's mask with its holes filled: the parts of the background, connected by faces, that do
/// not reach the border of the plane.
#[must_use]
pub fn fill_holes_plane(mask: &ArrayRef2<bool>) -> Array2<bool> {
    let shape = mask.shape();
    let background = mask.map(|inside| !inside);
    let open = label_plane(&background, Connectivity::Face).select(|component| {
        (0..2).any(|axis| component.bounds.start[axis] == 0 || component.bounds.end[axis] == shape[axis])
    });
    open.mapv_into(|open| !open)
}

/// The elements within `radius` of a mask.
fn within<D: Dimension>(mask: &ArrayRef<bool, D>, radius: f64) -> Array<bool, D> {
    let radius = radius.max(0.0);
    if radius < 1.0 {
        return mask.to_owned();
    }
    if radius > LARGEST_STEPPED {
        return squared_distance(mask)
            .mapv(|distance| distance <= radius * radius && distance < f64::INFINITY);
    }
    let shape = mask.shape();
    let mut squares: Vec<i16> = mask.iter().map(|&inside| if inside { 0 } else { FAR }).collect();
    for axis in (0..shape.len()).rev() {
        if shape[axis] > 1 && !squares.is_empty() {
            let inner: usize = shape[axis + 1..].iter().product();
            squares = least_along(&squares, shape[axis], inner, radius as i16);
        }
    }
    let limit = (radius * radius) as i16;
    let dim = mask.raw_dim();
    // One value an element.
    Array::from_shape_vec(dim, squares).map_or_else(|_| mask.to_owned(), |s| s.mapv(|square| square <= limit))
}

/// Lengths that differ by this share are equal: affines are read from numbers of 32 bits.
const SAME_LENGTH: f64 = 1e-6;

/// The elements within `radius` of a mask, whose elements have these sizes along its axes.
fn within_spaced<D: Dimension>(mask: &ArrayRef<bool, D>, radius: f64, spacing: &[f64]) -> Array<bool, D> {
    let radius = radius.max(0.0) * (1.0 + SAME_LENGTH);
    let least = spacing.iter().copied().fold(f64::INFINITY, f64::min);
    let most = spacing.iter().copied().fold(0.0, f64::max);
    if most <= least * (1.0 + SAME_LENGTH) {
        return within(mask, radius / least);
    }
    squared_distance_spaced(mask, spacing)
        .mapv(|distance| distance <= radius * radius && distance < f64::INFINITY)
}

/// `min over |d| <= reach of (source[position + d] + d^2)` along the middle axis of
/// `[outer, length, inner]`.
fn least_along(source: &[i16], length: usize, inner: usize, reach: i16) -> Vec<i16> {
    let mut out = source.to_vec();
    // Lines along the last axis are taken whole, others row by row; tasks of some thousand elements.
    let (lines, row) = if inner == 1 { (length, length) } else { (1, inner) };
    out.par_chunks_mut(row).enumerate().with_min_len((1 << 13) / row + 1).for_each(|(index, out)| {
        if lines > 1 {
            let line = &source[index * length..][..length];
            for step in (1..=reach).take(length - 1) {
                let shift = step as usize;
                shorten(&mut out[shift..], &line[..length - shift], step);
                shorten(&mut out[..length - shift], &line[shift..], step);
            }
            return;
        }
        let position = index % length;
        for step in 1..=reach {
            let shift = step as usize;
            if shift <= position {
                shorten(out, &source[(index - shift) * inner..][..inner], step);
            }
            if position + shift < length {
                shorten(out, &source[(index + shift) * inner..][..inner], step);
            }
        }
    });
    out
}

fn shorten(squares: &mut [i16], others: &[i16], step: i16) {
    for (square, other) in squares.iter_mut().zip(others) {
        *square = (*square).min(other + step * step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};
    use proptest::prelude::*;

    fn any_mask() -> impl Strategy<Value = Array3<bool>> {
        (1_usize..6, 1_usize..7, 1_usize..9, 0.02_f64..0.98).prop_flat_map(|(a, b, c, p)| {
            prop::collection::vec(prop::bool::weighted(p), a * b * c)
                .prop_map(move |values| Array3::from_shape_vec((a, b, c), values).unwrap())
        })
    }

    #[test]
    fn a_radius_that_is_none_changes_nothing() {
        let mask = Array2::from_shape_fn((9, 9), |(row, column)| (row * 7 + column) % 3 == 0);
        for radius in [f64::NAN, -1.0, 0.0, 0.9] {
            for function in [erode, dilate, open, close] {
                assert_eq!(function(&mask, radius), mask, "{radius}");
            }
        }
    }

    proptest! {
        #[test]
        fn steps_agree_with_distances(mask in any_mask(), radius in 0.0_f64..6.0) {
            let far = squared_distance(&mask).mapv(|d| d <= radius * radius && d < f64::INFINITY);
            prop_assert_eq!(dilate(&mask, radius), far);
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
            for plane in mask.outer_iter() {
                let filled = fill_holes_plane(&plane);
                prop_assert!(plane.iter().zip(&filled).all(|(&was, &is)| is || !was));
                prop_assert_eq!(&fill_holes_plane(&filled), &filled);
            }
        }
    }

    #[test]
    fn radii_name_their_neighbors() {
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
    fn equal_sizes_erode_as_pixels_do() {
        // The affine of a file of 32-bit numbers is not exactly 1.
        let mask = Array2::from_shape_fn((40, 40), |(r, c)| {
            (r as f64 - 20.0).powi(2) + (c as f64 - 18.0).powi(2) <= 225.0
        });
        for radius in [0.5, 1.0, 4.0, 5.0, 7.3] {
            for size in [0.999_999_9, 1.0, 1.000_000_1] {
                assert_eq!(
                    erode_spaced(&mask, radius, &[size, 1.0]),
                    erode(&mask, radius),
                    "{radius} {size}"
                );
            }
            assert_eq!(erode_spaced(&mask, 3.0 * radius, &[3.0, 3.0]), erode(&mask, radius));
        }
        assert_eq!(erode_spaced(&mask, f64::NAN, &[1.0, 2.0]), mask);
    }

    #[test]
    fn closing_does_not_cling_to_the_border() {
        // A disc two pixels from the border: its closing by four is itself.
        let disc = Array2::from_shape_fn((30, 30), |(r, c)| {
            (r as f64 - 10.0).powi(2) + (c as f64 - 15.0).powi(2) <= 64.0
        });
        assert_eq!(close(&disc, 4.0), disc);
        assert_eq!(close(&disc, f64::INFINITY).dim(), disc.dim());
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
