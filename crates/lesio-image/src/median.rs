//! The median filter.

use std::ops::Range;

use lesio_settings::SettingError;
use ndarray::{Array2, Array3, ArrayRef2, ArrayRef3, ArrayView3, Axis, Slice};
use rayon::prelude::*;

use crate::error::{ImageError, check_finite};
use crate::rank_set::RankSet;
use crate::sorting_network::{LANES, MedianNetwork, batcher, sort_rows};

/// Windows of more values than this slide a set of ranks instead of running a network; about where
/// the two take the same time.
const LARGEST_NETWORK: usize = 125;

/// The largest window along an axis.
const MAX_SIZE: usize = 255;

/// Rows that one task filters. Fixed, so that results cannot depend on the number of threads.
const BAND: usize = 16;

/// Number of values that are filtered at a time, which are copied with a border.
const SLAB: usize = 1 << 22;

/// Why an image was not filtered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// A setting of the filter is out of range.
    #[error("invalid filter")]
    Config(#[from] SettingError),
    /// The image cannot be filtered.
    #[error("image cannot be filtered")]
    Image(#[from] ImageError),
}

/// The median of the window of `[rows, columns]` about every pixel.
///
/// Beyond its border the plane is mirrored about the pixels' edges (`d c b a | a b c d | d c b a`),
/// so the result equals `scipy.ndimage.median_filter` with its default mode `reflect`. Post-processing
/// of anomaly maps commonly takes 5x5, which removes what is thinner than three pixels.
///
/// ```
/// use lesio_image::median_filter_plane;
/// use ndarray::array;
///
/// let speck = array![[1.0, 1.0, 1.0], [1.0, 9.0, 1.0], [1.0, 1.0, 2.0]];
/// assert_eq!(median_filter_plane(&speck, [3, 3])?[[1, 1]], 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`FilterError::Config`] for a size that is even, 0 or above 255; [`FilterError::Image`] for an
/// empty plane and for values that are not finite.
pub fn median_filter_plane(plane: &ArrayRef2<f32>, size: [usize; 2]) -> Result<Array2<f32>, FilterError> {
    check_finite(plane)?;
    let filtered = median_filter_volume(&plane.view().insert_axis(Axis(0)), [1, size[0], size[1]])?;
    Ok(filtered.index_axis_move(Axis(0), 0))
}

/// The median of the window of `size` voxels about every voxel; a size of 1 along an axis filters
/// the slices across it one by one.
///
/// Borders as for [`median_filter_plane`]. Up to 125 values a window (5x5x5, or 11x11 in slices) go
/// through a comparator network that works on many windows at once; larger ones slide a set of
/// ranks, whose cost grows with the window's face and not its volume.
///
/// # Errors
/// Those of [`median_filter_plane`].
pub fn median_filter_volume(data: &ArrayRef3<f32>, size: [usize; 3]) -> Result<Array3<f32>, FilterError> {
    let mut filtered = data.to_owned();
    median_filter_in_place(&mut filtered, size)?;
    Ok(filtered)
}

/// Like [`median_filter_volume`], but in place: about 32 MiB of additional memory are needed for windows of a few
/// voxels, independent of the size of the volume.
///
/// # Errors
/// Those of [`median_filter_plane`]; the volume is unchanged then.
pub fn median_filter_in_place(data: &mut ArrayRef3<f32>, size: [usize; 3]) -> Result<(), FilterError> {
    if size.iter().any(|n| n % 2 == 0 || *n > MAX_SIZE) {
        return Err(SettingError::new("median window", size, "odd sizes of 1 to 255").into());
    }
    check_finite(data)?;
    if size == [1, 1, 1] {
        return Ok(());
    }
    // A median does not depend on the order of the axes, but its time does.
    let order = order_of(data);
    let size = order.map(|axis| size[axis]);
    let mut turned = data.view_mut().permuted_axes(order);
    let (depth, rows, columns) = turned.dim();
    let network = (size.iter().product::<usize>() <= LARGEST_NETWORK).then(|| MedianNetwork::new(size));
    let reach = size[0] / 2;
    // A slab takes over the slices before it as they were: it must be as thick as the window reaches. Where the window
    // is thicker than the volume, whose mirror images it then sees, the volume is one slab.
    let thickness = if size[0] > depth { depth } else { (SLAB / (rows * columns)).max(reach).max(1) };
    let mut before: Array3<f32> = Array3::zeros((0, rows, columns));
    for first in (0..depth).step_by(thickness) {
        let end = (first + thickness).min(depth);
        let padded = Padded::new(&before, &turned.view(), first..end, size);
        let kept = end.saturating_sub(reach).max(first)..end;
        let next = turned.slice_axis(Axis(0), Slice::from(kept)).to_owned();
        let mut slab = turned.slice_axis_mut(Axis(0), Slice::from(first..end));
        match slab.as_slice_mut() {
            Some(out) => padded.filter(network.as_ref(), rows, columns, out),
            None => {
                let mut out = vec![0.0; (end - first) * rows * columns];
                padded.filter(network.as_ref(), rows, columns, &mut out);
                slab.iter_mut().zip(out).for_each(|(value, filtered)| *value = filtered);
            }
        }
        before = next;
    }
    Ok(())
}

/// The axes from the one whose neighbors lie farthest apart in memory to the nearest. An axis too short for the lanes
/// of a network is not the last one, and one of a single value is not the first, along which slabs are cut.
fn order_of(data: &ArrayRef3<f32>) -> [usize; 3] {
    let shape = data.shape();
    let mut order = [0, 1, 2];
    order.sort_by_key(|&axis| std::cmp::Reverse(data.strides()[axis].unsigned_abs()));
    let fills_lanes = |axis: usize| 2 * shape[axis].next_multiple_of(LANES) <= 3 * shape[axis];
    let last = (0..3).rev().find(|&place| fills_lanes(order[place]));
    let longest = || (0..3).rev().max_by_key(|&place| shape[order[place]]);
    if let Some(last) = last.or_else(longest) {
        order[last..].rotate_left(1);
    }
    if shape[order[0]] == 1 {
        order.swap(0, 1);
    }
    order
}

/// A volume with its mirrored border.
struct Padded {
    values: Vec<f32>,
    /// Slices, rows and columns with their borders.
    shape: [usize; 3],
    /// The window.
    size: [usize; 3],
}

/// The order of a padded volume's values: equal ones by position.
struct Ranked {
    rank: Vec<u32>,
    by_rank: Vec<f32>,
}

impl Padded {
    /// The slices of `range` with their border. Those before the range are the last of `before`, as they were before they
    /// were filtered; all others are still in `data`.
    fn new(before: &Array3<f32>, data: &ArrayView3<'_, f32>, range: Range<usize>, size: [usize; 3]) -> Self {
        let inner: [usize; 3] = data.dim().into();
        let shape = [range.len() + size[0] - 1, inner[1] + size[1] - 1, inner[2] + size[2] - 1];
        let [rows, columns] = [1, 2].map(|axis| mirrored(inner[axis], size[axis] / 2, shape[axis]));
        let slices = mirrored(inner[0], size[0] / 2, inner[0] + size[0] - 1);
        let mut values = vec![0.0; shape.iter().product()];
        values.par_chunks_mut(shape[1] * shape[2]).zip(&slices[range.start..]).for_each(|(out, &slice)| {
            let source = match slice.checked_sub(range.start) {
                Some(_) => data.index_axis(Axis(0), slice),
                None => before.index_axis(Axis(0), before.len_of(Axis(0)) + slice - range.start),
            };
            for (out, &row) in out.chunks_mut(shape[2]).zip(&rows) {
                let line = source.row(row);
                match line.as_slice() {
                    Some(line) => {
                        out.iter_mut().zip(&columns).for_each(|(value, &column)| *value = line[column]);
                    }
                    None => out.iter_mut().zip(&columns).for_each(|(value, &column)| *value = line[column]),
                }
            }
        });
        Self { values, shape, size }
    }

    /// Filters all slices of the range into `out`, row after row.
    fn filter(&self, network: Option<&MedianNetwork>, rows: usize, columns: usize, out: &mut [f32]) {
        let tasks: Vec<(usize, &mut [f32])> = out
            .chunks_mut(rows * columns)
            .enumerate()
            .flat_map(|(slice, values)| {
                let bands = values.chunks_mut(BAND * columns).enumerate();
                bands.map(move |(band, values)| (slice * rows + band * BAND, values))
            })
            .collect();
        match network {
            Some(network) => tasks.into_par_iter().for_each(|(line, out)| {
                self.band_by_network(network, line / rows, line % rows, columns, out);
            }),
            None => {
                let ranked = self.ranked();
                tasks.into_par_iter().for_each_init(
                    || RankSet::new(self.values.len()),
                    |set, (line, out)| {
                        self.band_by_ranks(&ranked, set, line / rows, line % rows, columns, out);
                    },
                );
            }
        }
    }

    /// Filters rows from `first` of a slice into `out`, by a network.
    ///
    /// Along the slices and then along the rows, values are sorted position by position, which all
    /// windows that hold them share; the network does the rest.
    fn band_by_network(
        &self,
        network: &MedianNetwork,
        slice: usize,
        first: usize,
        columns: usize,
        out: &mut [f32],
    ) {
        let [across, down, along] = self.size;
        let width = self.shape[2];
        // Whole blocks are loaded, of which the last may reach beyond the border.
        let stride = columns.next_multiple_of(LANES) + along - 1;
        let lines = out.len() / columns + down - 1;
        let mut sorted = vec![0.0; across * lines * stride];
        for i in 0..across {
            for line in 0..lines {
                let from = ((slice + i) * self.shape[1] + first + line) * width;
                sorted[(i * lines + line) * stride..][..width]
                    .copy_from_slice(&self.values[from..from + width]);
            }
        }
        sort_rows(&mut sorted, lines * stride, &batcher(across));
        let rows_sort = batcher(down);
        let mut window = vec![0.0; across * down * stride];
        let mut block = vec![[0.0; LANES]; across * down * along];
        for (row, out) in out.chunks_mut(columns).enumerate() {
            for (i, part) in window.chunks_mut(down * stride).enumerate() {
                part.copy_from_slice(&sorted[(i * lines + row) * stride..][..down * stride]);
                sort_rows(part, stride, &rows_sort);
            }
            for (index, out) in out.chunks_mut(LANES).enumerate() {
                for (line, lanes) in block.chunks_mut(along).enumerate() {
                    let values = &window[line * stride + index * LANES..];
                    for (shift, lane) in lanes.iter_mut().enumerate() {
                        lane.copy_from_slice(&values[shift..shift + LANES]);
                    }
                }
                let medians = network.run(&mut block);
                out.copy_from_slice(&medians[..out.len()]);
            }
        }
    }

    fn ranked(&self) -> Ranked {
        let key = |(index, &value): (usize, &f32)| u64::from(ordered(value)) << 32 | index as u64;
        let mut order: Vec<u64> = self.values.iter().enumerate().map(key).collect();
        order.par_sort_unstable();
        let mut rank = vec![0; order.len()];
        for (position, &packed) in order.iter().enumerate() {
            rank[packed as u32 as usize] = position as u32;
        }
        Ranked { rank, by_rank: order.iter().map(|&packed| self.values[packed as u32 as usize]).collect() }
    }

    /// Filters rows from `first` of a slice into `out`, by sliding a set of ranks along each row.
    fn band_by_ranks(
        &self,
        ranked: &Ranked,
        set: &mut RankSet,
        slice: usize,
        first: usize,
        columns: usize,
        out: &mut [f32],
    ) {
        let [across, down, along] = self.size;
        let middle = across * down * along / 2;
        for (row, out) in out.chunks_mut(columns).enumerate() {
            let starts: Vec<usize> = (0..across)
                .flat_map(|i| (0..down).map(move |j| (slice + i, first + row + j)))
                .map(|(i, j)| (i * self.shape[1] + j) * self.shape[2])
                .collect();
            let face = |column: usize| starts.iter().map(move |start| ranked.rank[start + column] as usize);
            (0..along - 1).for_each(|column| face(column).for_each(|rank| set.insert(rank)));
            for (column, value) in out.iter_mut().enumerate() {
                face(column + along - 1).for_each(|rank| set.insert(rank));
                *value = ranked.by_rank[set.select(middle)];
                face(column).for_each(|rank| set.remove(rank));
            }
            (columns..columns + along - 1).for_each(|column| face(column).for_each(|rank| set.remove(rank)));
        }
    }
}

/// For every position of a padded axis its source: mirrored about the edges, as often as needed.
pub(crate) fn mirrored(length: usize, border: usize, padded: usize) -> Vec<usize> {
    let period = 2 * length;
    (0..padded)
        .map(|position| {
            // A multiple of the period keeps the sum positive.
            let phase = (position + period * border.div_ceil(period) - border) % period;
            phase.min(period - 1 - phase)
        })
        .collect()
}

/// An integer that orders as the value does; both zeros are one value.
fn ordered(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, voxel by voxel.
    fn brute(data: &Array3<f32>, size: [usize; 3]) -> Array3<f32> {
        let shape: [usize; 3] = data.dim().into();
        let at = |index: isize, length: usize| {
            let length = length as isize;
            let mut index = index;
            while !(0..length).contains(&index) {
                index = if index < 0 { -1 - index } else { 2 * length - 1 - index };
            }
            index as usize
        };
        Array3::from_shape_fn(data.dim(), |(i, j, k)| {
            let mut window = Vec::new();
            for a in 0..size[0] {
                for b in 0..size[1] {
                    for c in 0..size[2] {
                        let shifted = [(i, a), (j, b), (k, c)].map(|(x, s)| x as isize + s as isize);
                        let source: [usize; 3] = std::array::from_fn(|axis| {
                            at(shifted[axis] - (size[axis] / 2) as isize, shape[axis])
                        });
                        window.push(data[source]);
                    }
                }
            }
            window.sort_by(f32::total_cmp);
            window[window.len() / 2]
        })
    }

    fn any_volume(rows: usize, columns: usize) -> impl Strategy<Value = Array3<f32>> {
        (1_usize..4, 1..rows, 1..columns).prop_flat_map(|(a, b, c)| {
            // Few levels, so that ties are common.
            prop::collection::vec(-6_i8..6, a * b * c).prop_map(move |values| {
                Array3::from_shape_vec((a, b, c), values.into_iter().map(f32::from).collect()).unwrap()
            })
        })
    }

    fn odd(most: usize) -> impl Strategy<Value = usize> {
        (0..most.div_ceil(2)).prop_map(|n| 2 * n + 1)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_the_definition(data in any_volume(20, 40), a in odd(3), b in odd(7), c in odd(7)) {
            let found = median_filter_volume(&data, [a, b, c]).unwrap();
            prop_assert_eq!(found, brute(&data, [a, b, c]));
        }

        #[test]
        fn large_windows_agree_too(data in any_volume(18, 10), a in odd(5), c in odd(9)) {
            let size = [a, 15, c];
            prop_assert_eq!(median_filter_volume(&data, size).unwrap(), brute(&data, size));
        }
    }

    #[test]
    fn both_ways_agree_where_they_meet() {
        let data =
            Array3::from_shape_fn((3, 19, 40), |(i, j, k)| ((i * 7919 + j * 104_729 + k * 31) % 1009) as f32);
        let padded = Padded::new(&Array3::zeros((0, 19, 40)), &data.view(), 0..3, [1, 11, 11]);
        let mut by_ranks = vec![0.0; 40 * 16];
        padded.band_by_ranks(
            &padded.ranked(),
            &mut RankSet::new(padded.values.len()),
            1,
            0,
            40,
            &mut by_ranks,
        );
        let by_network = median_filter_volume(&data, [1, 11, 11]).unwrap();
        assert!(by_ranks.iter().zip(by_network.index_axis(Axis(0), 1)).all(|(a, b)| a == b));
    }

    #[test]
    fn slabs_see_what_was_before_them() {
        // 524 slices of 100 x 80 are a slab.
        let value = |place: usize| (place.wrapping_mul(2_654_435_761) % 1_000_003) as f32;
        let tall = Array3::from_shape_fn((600, 100, 80), |(i, j, k)| value((i * 100 + j) * 80 + k));
        let filtered = median_filter_volume(&tall, [5, 1, 3]).unwrap();
        for slice in [0, 1, 522, 523, 524, 525, 526, 598, 599] {
            let first = slice.max(6) - 6;
            let part = tall.slice_axis(Axis(0), Slice::from(first..(slice + 7).min(600)));
            let part = part.slice_axis(Axis(1), Slice::from(41..42)).to_owned();
            let expected = brute(&part, [5, 1, 3]);
            let found = filtered.index_axis(Axis(0), slice);
            assert_eq!(found.row(41), expected.index_axis(Axis(0), slice - first).row(0), "{slice}");
        }
    }

    #[test]
    fn the_order_in_memory_makes_no_difference() {
        let data = Array3::from_shape_fn((37, 1, 50), |(i, _, k)| ((i * 7919 + k * 104_729) % 997) as f32);
        let expected = brute(&data, [5, 1, 3]);
        for axes in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]] {
            let turned = data.view().permuted_axes(axes);
            let size = axes.map(|axis| [5, 1, 3][axis]);
            let found = median_filter_volume(&turned, size).unwrap();
            assert_eq!(found, expected.view().permuted_axes(axes));
            // Not a copy but a view that leaves gaps.
            let mut wide = Array3::zeros((37, 2, 100));
            let mut view = wide.slice_axis_mut(Axis(1), Slice::from(..1));
            view.slice_axis_inplace(Axis(2), Slice::new(0, None, 2));
            let mut view = view.permuted_axes(axes);
            view.assign(&turned);
            median_filter_in_place(&mut view, size).unwrap();
            assert_eq!(view, expected.view().permuted_axes(axes));
        }
    }

    #[test]
    fn what_cannot_be_filtered_is_refused() {
        let plane = Array2::<f32>::zeros((4, 4));
        for size in [[2, 3], [0, 1], [3, 257]] {
            assert!(matches!(median_filter_plane(&plane, size), Err(FilterError::Config(_))));
        }
        assert!(matches!(
            median_filter_plane(&Array2::<f32>::zeros((0, 4)), [3, 3]),
            Err(FilterError::Image(ImageError::EmptyImage { .. }))
        ));
        let mut nan = plane.clone();
        nan[[2, 3]] = f32::NAN;
        assert_eq!(
            median_filter_plane(&nan, [3, 3]),
            Err(ImageError::NonFiniteVoxels { count: 1, first: vec![2, 3] }.into())
        );
        assert_eq!(median_filter_plane(&plane, [1, 1]), Ok(plane));
    }

    #[test]
    fn one_pixel_is_its_own_median() {
        let one = Array2::from_elem((1, 1), 5.5);
        assert_eq!(median_filter_plane(&one, [5, 5]).unwrap(), one);
        assert_eq!(median_filter_plane(&one, [31, 255]).unwrap(), one);
    }
}
