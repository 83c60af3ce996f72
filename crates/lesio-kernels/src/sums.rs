//! Sums over the pixels of each channel and over flat arrays, the same for any number of threads.
//!
//! Rows are summed in `f32`, a lane for each channel; blocks of rows, images and batches in `f64`.

use crate::error::{KernelError, check_equal, check_len};
use crate::images::Images;
use crate::layout::ImageLayout;
use crate::period::{Period, with_scratch};
use crate::raw::{Workers, vectorized};

/// Least number of independent parts into which a weight gradient is cut, by blocks of channels and by
/// samples. Fixed, so that sums do not depend on the number of threads.
pub(crate) const GRADIENT_PARTS: usize = 16;

/// Rows that are summed by one thread; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 16;

/// Scratch values that [`channel_sums`] needs for `kinds` sums of every channel.
pub(crate) fn scratch_len(layout: &ImageLayout, samples: usize, kinds: usize) -> usize {
    samples * layout.height().div_ceil(ROWS) * layout.channels() * kinds
}

/// Sums `kinds` values of every channel over the pixels of each sample.
///
/// `add` is called with sample, row, and `kinds` runs of `period` sums in `f32` to which it adds the row's
/// pixels, each channel in one or more places: see [`Period`]. The result is `[samples][kinds][channels]`,
/// at the front of `scratch`.
pub(crate) fn channel_sums<'s>(
    workers: &Workers<'_>,
    samples: usize,
    layout: &ImageLayout,
    kinds: usize,
    scratch: &'s mut [f64],
    add: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Result<&'s [f64], KernelError> {
    let blocks = layout.height().div_ceil(ROWS);
    let channels = layout.channels();
    let len = channels * kinds;
    check_len("the scratch", scratch.len(), scratch_len(layout, samples, kinds))?;
    let period = Period::of(channels).len();
    let used = &mut scratch[..samples * blocks * len];
    workers.chunks(used, len, |index, sums| {
        let (sample, block) = (index / blocks, index % blocks);
        sums.fill(0.0);
        with_scratch(kinds * period, |row_sums| {
            for row in block * ROWS..((block + 1) * ROWS).min(layout.height()) {
                row_sums.fill(0.0);
                add(sample, row, row_sums);
                for (kind, row_sums) in row_sums.chunks_exact(period).enumerate() {
                    let sums = &mut sums[kind * channels..(kind + 1) * channels];
                    for places in row_sums.chunks_exact(channels) {
                        sums.iter_mut().zip(places).for_each(|(sum, &place)| *sum += f64::from(place));
                    }
                }
            }
        });
    });
    for sample in 0..samples {
        for block in 0..blocks {
            let from = (sample * blocks + block) * len;
            for index in 0..len {
                let value = scratch[from + index];
                let to = &mut scratch[sample * len + index];
                *to = if block == 0 { value } else { *to + value };
            }
        }
    }
    Ok(&scratch[..samples * len])
}

/// Sum of each channel over the pixels of all samples, as for the gradient of a bias.
///
/// # Errors
/// For slices that are too short.
pub fn channel_totals(
    workers: &Workers<'_>,
    samples: usize,
    images: Images<'_>,
    totals: &mut [f32],
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    let layout = images.layout;
    let channels = layout.channels();
    layout.check("an image", images.values, samples)?;
    check_len("the totals", totals.len(), channels)?;
    let period = Period::of(channels);
    let isa = workers.isa();
    let sums = channel_sums(workers, samples, layout, 1, scratch, |sample, row, sums| {
        add_row(isa, period, layout.pixel_stride(), images.row(sample, row), sums);
    })?;
    for (c, total) in totals[..channels].iter_mut().enumerate() {
        *total = (0..samples).map(|sample| sums[sample * channels + c]).sum::<f64>() as f32;
    }
    Ok(())
}

/// Number of `f64` values that [`channel_totals`] needs as scratch.
#[must_use]
pub fn totals_scratch_len(layout: &ImageLayout, samples: usize) -> usize {
    scratch_len(layout, samples, 1)
}

vectorized! {
    fn add_row(period: Period, pixel: usize, row: &[f32], sums: &mut [f32]) {
        for values in period.runs(row, pixel) {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
}

/// Values of a chunk of a flat array.
const CHUNK: usize = 1 << 14;

/// Sum of the squares of all values: in `f64`, in chunks of fixed length, in their order.
#[must_use]
pub fn sum_of_squares(workers: &Workers<'_>, values: &[f32]) -> f64 {
    let mut sums = vec![0.0_f64; values.len().div_ceil(CHUNK)];
    let isa = workers.isa();
    workers.chunks(&mut sums, 1, |index, sum| {
        let chunk = &values[index * CHUNK..((index + 1) * CHUNK).min(values.len())];
        sum[0] = squares(isa, chunk);
    });
    sums.iter().sum()
}

vectorized! {
    /// Lane i sums the squares of values i, i + 16, i + 32, ...
    fn squares(values: &[f32]) -> f64 {
        let mut lanes = [0.0_f64; 16];
        let mut chunks = values.chunks_exact(16);
        for chunk in &mut chunks {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                *lane += f64::from(value) * f64::from(value);
            }
        }
        for (lane, &value) in lanes.iter_mut().zip(chunks.remainder()) {
            *lane += f64::from(value) * f64::from(value);
        }
        lanes.iter().sum()
    }
}

/// Adds each of `from` to the value of `to` at its place.
///
/// # Errors
/// For slices of different lengths.
pub fn accumulate(workers: &Workers<'_>, to: &mut [f32], from: &[f32]) -> Result<(), KernelError> {
    check_equal("the number of values", from.len(), to.len())?;
    let isa = workers.isa();
    workers.chunks(to, CHUNK, |index, to| add_values(isa, to, &from[index * CHUNK..]));
    Ok(())
}

vectorized! {
    fn add_values(to: &mut [f32], from: &[f32]) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
    }
}

/// Sums each column of a dense matrix `[rows][columns]`, in `f64` and in the order of the rows.
///
/// # Errors
/// For slices that are too short.
pub fn column_sums(
    workers: &Workers<'_>,
    rows: usize,
    matrix: &[f32],
    sums: &mut [f32],
) -> Result<(), KernelError> {
    const COLUMNS: usize = 256;
    let columns = sums.len();
    check_len("the matrix", matrix.len(), rows.saturating_mul(columns))?;
    let isa = workers.isa();
    workers.chunks(sums, COLUMNS, |index, sums| {
        let mut exact = [0.0_f64; COLUMNS];
        let first = index * COLUMNS;
        for row in 0..rows {
            let values = &matrix[row * columns + first..][..sums.len()];
            add_exact(isa, &mut exact[..sums.len()], values);
        }
        sums.iter_mut().zip(exact).for_each(|(sum, exact)| *sum = exact as f32);
    });
    Ok(())
}

vectorized! {
    fn add_exact(to: &mut [f64], from: &[f32]) {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to += f64::from(from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Border;
    use crate::raw::{Isa, with_workers};

    #[test]
    fn totals_are_sums_over_all_pixels() {
        for (channels, part) in [(1, 1), (3, 3), (16, 16), (70, 70), (20, 7)] {
            let whole = ImageLayout::new(channels, 37, 9, Border { before: 1, after: 2 }).unwrap();
            let layout = whole.channel_range(channels - part, part).unwrap();
            let samples = 3;
            let values: Vec<f32> = (0..whole.len(samples).unwrap()).map(|k| (k % 29) as f32 - 14.5).collect();
            let mut exact = vec![0.0_f64; part];
            for (sample, row, column) in
                (0..samples).flat_map(|s| (0..37).flat_map(move |y| (0..9).map(move |x| (s, y, x))))
            {
                let at = layout.index(sample, row, column);
                exact.iter_mut().zip(&values[at..]).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            for isa in Isa::available() {
                let mut totals = vec![0.0; part];
                let mut scratch = vec![0.0; totals_scratch_len(&layout, samples)];
                let images = Images::new(&values, &layout);
                with_workers(isa, |w| channel_totals(w, samples, images, &mut totals, &mut scratch)).unwrap();
                assert!(totals.iter().zip(&exact).all(|(&a, &b)| f64::from(a) == b), "{isa:?} {channels}");
            }
        }
    }

    #[test]
    fn flat_sums_take_every_value_once() {
        let values: Vec<f32> = (0..40_007).map(|k| (k % 7) as f32).collect();
        let exact: f64 = values.iter().map(|&v| f64::from(v * v)).sum();
        let mut columns = vec![0.0; 301];
        with_workers(Isa::best(), |workers| {
            assert_eq!(sum_of_squares(workers, &values), exact);
            column_sums(workers, 5, &values, &mut columns).unwrap();
        });
        let of = |column: usize| (0..5).map(|row| values[row * 301 + column]).sum::<f32>();
        assert!((0..301).all(|column| columns[column] == of(column)));
    }
}
