//! Exact percentiles.

use std::borrow::Cow;

use ndarray::{Array, ArrayRef, Dimension, ShapeBuilder};

/// More values than this are counted where they lie instead of being copied and partly sorted.
const MOST_COPIED: usize = 1 << 20;

/// The values of an array, or those inside a mask, in whatever order they are visited fastest.
#[derive(Clone, Debug)]
pub(crate) struct Values<'a> {
    data: Cow<'a, [f32]>,
    mask: Option<Cow<'a, [bool]>>,
}

impl<'a> Values<'a> {
    /// Of an array and a mask of its shape; the array is copied only where it is a view with gaps.
    pub(crate) fn new<D: Dimension>(data: &'a ArrayRef<f32, D>, mask: Option<&'a ArrayRef<bool, D>>) -> Self {
        if let Some(values) = data.as_slice_memory_order() {
            let Some(mask) = mask else { return Self { data: Cow::Borrowed(values), mask: None } };
            if let Some(inside) = mask.as_slice_memory_order().filter(|_| mask.strides() == data.strides()) {
                return Self { data: Cow::Borrowed(values), mask: Some(Cow::Borrowed(inside)) };
            }
            // Standard or Fortran order, else none of the two is like the data.
            let standard = data.is_standard_layout();
            let mut alike = Array::from_elem(data.raw_dim().set_f(!standard), false);
            if alike.strides() == data.strides() {
                alike.assign(mask);
                return Self {
                    data: Cow::Borrowed(values),
                    mask: Some(Cow::Owned(alike.into_raw_vec_and_offset().0)),
                };
            }
        }
        Self {
            data: Cow::Owned(data.iter().copied().collect()),
            mask: mask.map(|mask| Cow::Owned(mask.iter().copied().collect())),
        }
    }

    /// The values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = f32> + Clone {
        let mask = self.mask.as_deref();
        let inside = move |place: usize| mask.is_none_or(|mask| mask[place]);
        self.data.iter().enumerate().filter(move |(place, _)| inside(*place)).map(|(_, &value)| value)
    }
}

/// Percentiles as of [`percentile_list`], of values that are visited some times and copied only where they are few.
pub(crate) fn percentiles_of<const N: usize>(
    values: impl Iterator<Item = f32> + Clone,
    wanted: [f64; N],
) -> [f64; N] {
    let mut found = [f64::NAN; N];
    found.iter_mut().zip(percentile_list_of(values, &wanted)).for_each(|(found, value)| *found = value);
    found
}

/// Like [`percentiles_of`], for any number of them.
pub(crate) fn percentile_list_of(values: impl Iterator<Item = f32> + Clone, wanted: &[f64]) -> Vec<f64> {
    let count = values.clone().count();
    if count <= MOST_COPIED {
        return percentile_list(&mut values.collect::<Vec<_>>(), wanted);
    }
    let places: Vec<(usize, f64)> =
        wanted.iter().map(|&percentile| place_of(percentile, count - 1)).collect();
    let ranks: Vec<usize> = places.iter().flat_map(|&(lower, _)| [lower, lower + 1]).collect();
    let ordered = order_statistics(values, &ranks);
    let pairs = places.iter().zip(ordered.chunks_exact(2));
    pairs.map(|(&(_, fraction), pair)| between(pair[0].into(), pair[1].into(), fraction)).collect()
}

/// The values at ranks, counted from 0 for the least, in the order of `f32::total_cmp`; a rank beyond the last is taken as
/// the last. The values are visited twice and not kept: the upper halves of their bits are counted, then the lower ones
/// of what shares an upper. NaN for no values.
///
/// ```
/// let values = [3.0, 1.0, 2.0, 1.0];
/// assert_eq!(lesio_image::order_statistics(values.into_iter(), &[0, 2, 9]), [1.0, 2.0, 3.0]);
/// ```
#[must_use]
pub fn order_statistics(values: impl Iterator<Item = f32> + Clone, ranks: &[usize]) -> Vec<f32> {
    let mut uppers = vec![0_usize; 1 << 16];
    values.clone().for_each(|value| uppers[(total_order(value) >> 16) as usize] += 1);
    let Some(last) = uppers.iter().sum::<usize>().checked_sub(1) else { return vec![f32::NAN; ranks.len()] };
    let places: Vec<(usize, usize)> = ranks.iter().map(|&rank| bucket_of(&uppers, rank.min(last))).collect();
    let mut lowers: std::collections::BTreeMap<usize, Vec<usize>> =
        places.iter().map(|&(upper, _)| (upper, Vec::new())).collect();
    // The counts of each upper half are told by its number without a search.
    let mut number = vec![u16::MAX; 1 << 16];
    let mut counts: Vec<Vec<usize>> = Vec::with_capacity(lowers.len());
    for &upper in lowers.keys() {
        number[upper] = counts.len() as u16;
        counts.push(vec![0; 1 << 16]);
    }
    for value in values {
        let key = total_order(value);
        if let Some(counts) = counts.get_mut(usize::from(number[(key >> 16) as usize])) {
            counts[(key & 0xffff) as usize] += 1;
        }
    }
    lowers.values_mut().zip(counts).for_each(|(own, counts)| *own = counts);
    let value = |&(upper, rank): &(usize, usize)| {
        let lower = lowers.get(&upper).map_or(0, |counts| bucket_of(counts, rank).0);
        from_total_order((upper << 16 | lower) as u32)
    };
    places.iter().map(value).collect()
}

/// The bucket that holds a rank, and the rank within it.
fn bucket_of(counts: &[usize], mut rank: usize) -> (usize, usize) {
    for (bucket, &count) in counts.iter().enumerate() {
        if rank < count {
            return (bucket, rank);
        }
        rank -= count;
    }
    (counts.len() - 1, 0)
}

/// An integer that orders as `f32::total_cmp` does.
fn total_order(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

fn from_total_order(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key ^ 1 << 31 } else { !key })
}

/// The rank below a percentile of values whose last rank is this, and how far it lies towards the next.
fn place_of(percentile: f64, last: usize) -> (usize, f64) {
    let rank = (percentile.clamp(0.0, 100.0) / 100.0) * last as f64;
    let lower = (rank.floor() as usize).min(last);
    (lower, rank - lower as f64)
}

fn between(value: f64, next: f64, fraction: f64) -> f64 {
    if fraction == 0.0 { value } else { value + fraction * (next - value) }
}

/// Percentiles of `values`, which are reordered; NaN for no values.
///
/// The `p`-th percentile of `n` sorted values lies at rank `p / 100 * (n - 1)` and between ranks on
/// the line between its neighbors (definition 7 of Hyndman and Fan, The American Statistician 50,
/// 1996; NumPy's default). `wanted` ascends, within [0, 100]. Takes time linear in the number of
/// values for each percentile; values are ordered by `f32::total_cmp`.
fn percentile_list(values: &mut [f32], wanted: &[f64]) -> Vec<f64> {
    let mut done = 0;
    wanted.iter().map(|&percentile| percentile_from(values, &mut done, percentile)).collect()
}

/// One percentile of values whose first `done` are known to be the least of all, in any order.
fn percentile_from(values: &mut [f32], done: &mut usize, percentile: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    let (lower, fraction) = place_of(percentile, last);
    // Ranks ascend, so the search goes on in what is not below the last one.
    let from = (*done).min(lower);
    let (_, &mut value, above) = values[from..].select_nth_unstable_by(lower - from, f32::total_cmp);
    *done = lower;
    let value = f64::from(value);
    if fraction == 0.0 {
        return value;
    }
    let next = above.iter().copied().min_by(f32::total_cmp).map_or(value, f64::from);
    between(value, next, fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agrees_with_numpy() {
        // numpy.percentile([3, 1, 4, 1, 5, 9, 2, 6], [0, 10, 50, 99, 100]) of NumPy 2.4.6.
        let values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        let found = percentiles_of(values.into_iter(), [0.0, 10.0, 50.0, 99.0, 100.0]);
        for (found, expected) in found.iter().zip([1.0, 1.0, 3.5, 8.79, 9.0]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert!(percentiles_of([].into_iter(), [50.0])[0].is_nan());
    }

    #[test]
    fn counted_values_have_the_percentiles_of_sorted_ones() {
        use ndarray::{Array3, Axis};
        // Few upper halves of bits and many; both zeros, negative values and ties.
        let value = |place: usize| match place % 5 {
            0 => -0.0,
            1 => 0.0,
            2 => (place % 1000) as f32 - 500.0,
            3 => 100.0 + (place.wrapping_mul(2_654_435_761) % 1_000_003) as f32 * 1e-6,
            _ => f32::from_bits((place.wrapping_mul(40_503) % 0x7f00_0000) as u32),
        };
        let data = Array3::from_shape_fn((120, 110, 140), |(i, j, k)| value((i * 110 + j) * 140 + k));
        let mask = data.map(|value| value.to_bits() % 7 != 0);
        let wanted = [0.0, 0.1, 12.5, 50.0, 98.0, 99.999, 100.0];
        let mut sorted: Vec<f32> =
            data.iter().zip(&mask).filter(|(_, inside)| **inside).map(|(value, _)| *value).collect();
        assert!(sorted.len() > MOST_COPIED);
        let expected = percentile_list(&mut sorted, &wanted);
        let turned = (data.view().reversed_axes(), mask.view().reversed_axes());
        let fortran = turned.0.as_standard_layout().into_owned().reversed_axes();
        let mut flipped = (data.view(), mask.view());
        flipped.0.invert_axis(Axis(0));
        flipped.1.invert_axis(Axis(0));
        let copy = flipped.1.as_standard_layout().into_owned();
        let found = [
            percentile_list_of(Values::new(&data, Some(&mask)).iter(), &wanted),
            percentile_list_of(Values::new(&turned.0, Some(&turned.1)).iter(), &wanted),
            percentile_list_of(Values::new(&fortran, Some(&mask)).iter(), &wanted),
            percentile_list_of(Values::new(&flipped.0, Some(&flipped.1)).iter(), &wanted),
            percentile_list_of(Values::new(&flipped.0, Some(&copy)).iter(), &wanted),
        ];
        for found in found {
            let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{found:?} {expected:?}");
        }
        assert!(percentiles_of(Values::new(&data, None).iter().take(0), [50.0])[0].is_nan());
    }

    proptest! {
        #[test]
        fn agrees_with_sorting(mut values in prop::collection::vec(-50_i32..50, 1..60),
                               mut wanted in prop::collection::vec(0.0_f64..=100.0, 1..8)) {
            wanted.sort_by(f64::total_cmp);
            let mut data: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            let found = percentile_list(&mut data, &wanted);
            values.sort_unstable();
            for (percentile, found) in wanted.iter().zip(found) {
                let rank = percentile / 100.0 * (values.len() - 1) as f64;
                let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
                let expected = f64::from(low) + rank.fract() * f64::from(high - low);
                prop_assert!((found - expected).abs() < 1e-9);
            }
        }
    }
}
