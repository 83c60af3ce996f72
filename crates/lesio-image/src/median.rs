//! The median filter.

use lesio_settings::SettingError;
use ndarray::{Array2, Array3, ArrayRef2, ArrayRef3, Axis};
use rayon::prelude::*;

use crate::error::{ImageError, check_finite};
use crate::network::{LANES, MedianNetwork, batcher, sort_rows};
use crate::rank_set::RankSet;

/// Windows of more values than this slide a set of ranks instead of running a network; about where
/// the two take the same time.
const LARGEST_NETWORK: usize = 125;

/// The largest window along an axis.
const MAX_SIZE: usize = 255;

/// Rows that one task filters. Fixed, so that results cannot depend on the number of threads.
const BAND: usize = 16;

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
/// As [`median_filter_plane`].
pub fn median_filter_volume(data: &ArrayRef3<f32>, size: [usize; 3]) -> Result<Array3<f32>, FilterError> {
    if size.iter().any(|n| n % 2 == 0 || *n > MAX_SIZE) {
        return Err(SettingError::new("median window", size, "odd sizes of 1 to 255").into());
    }
    check_finite(data)?;
    if size == [1, 1, 1] {
        return Ok(data.to_owned());
    }
    let padded = Padded::new(data, size);
    let (depth, rows, columns) = data.dim();
    let mut out = Array3::zeros((depth, rows, columns));
    let Some(values) = out.as_slice_mut() else { return Ok(out) };
    let tasks: Vec<(usize, &mut [f32])> = values
        .chunks_mut(rows * columns)
        .enumerate()
        .flat_map(|(slice, values)| {
            let bands = values.chunks_mut(BAND * columns).enumerate();
            bands.map(move |(band, values)| (slice * rows + band * BAND, values))
        })
        .collect();
    if size.iter().product::<usize>() <= LARGEST_NETWORK {
        let network = MedianNetwork::new(size);
        tasks.into_par_iter().for_each(|(line, out)| {
            padded.band_by_network(&network, line / rows, line % rows, columns, out);
        });
    } else {
        let ranked = padded.ranked();
        tasks.into_par_iter().for_each_init(
            || RankSet::new(padded.values.len()),
            |set, (line, out)| padded.band_by_ranks(&ranked, set, line / rows, line % rows, columns, out),
        );
    }
    Ok(out)
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
    rank: Vec<usize>,
    by_rank: Vec<f32>,
}

impl Padded {
    fn new(data: &ArrayRef3<f32>, size: [usize; 3]) -> Self {
        let inner: [usize; 3] = data.dim().into();
        let shape: [usize; 3] = std::array::from_fn(|axis| inner[axis] + size[axis] - 1);
        let sources: [Vec<usize>; 3] =
            std::array::from_fn(|axis| mirrored(inner[axis], size[axis] / 2, shape[axis]));
        let standard = data.as_standard_layout();
        let source = standard.as_slice().unwrap_or_default();
        let mut values = Vec::with_capacity(shape.iter().product());
        for &slice in &sources[0] {
            for &row in &sources[1] {
                let line = &source[(slice * inner[1] + row) * inner[2]..][..inner[2]];
                values.extend(sources[2].iter().map(|&column| line[column]));
            }
        }
        Self { values, shape, size }
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
        let mut order: Vec<(u32, usize)> =
            self.values.iter().enumerate().map(|(index, &value)| (ordered(value), index)).collect();
        order.par_sort_unstable();
        let mut rank = vec![0; order.len()];
        for (position, &(_, index)) in order.iter().enumerate() {
            rank[index] = position;
        }
        Ranked { rank, by_rank: order.iter().map(|&(_, index)| self.values[index]).collect() }
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
            let face = |column: usize| starts.iter().map(move |start| ranked.rank[start + column]);
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
        let padded = Padded::new(&data, [1, 11, 11]);
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
