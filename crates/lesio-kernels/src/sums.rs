//! Sums over the pixels of each channel, the same for any number of threads.
//!
//! Rows are summed in `f32`, a lane for each channel; blocks of rows, images and batches in `f64`.

use crate::error::{KernelError, check_len};
use crate::layout::ImageLayout;
use crate::raw::{Workers, vectorized};

/// Rows that are summed by one thread; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 16;

/// Scratch values that [`channel_sums`] needs for `kinds` sums of every channel.
pub(crate) fn scratch_len(layout: &ImageLayout, samples: usize, kinds: usize) -> usize {
    samples * layout.height().div_ceil(ROWS) * layout.channels() * kinds
}

/// Sums `kinds` values of every channel over the pixels of each sample.
///
/// `add` is called with sample, row, and one `f32` sum for each kind and channel to which it adds the
/// row's pixels. The result is `[samples][kinds][channels]`, at the front of `scratch`.
pub(crate) fn channel_sums<'s>(
    workers: &Workers<'_>,
    samples: usize,
    layout: &ImageLayout,
    kinds: usize,
    scratch: &'s mut [f64],
    add: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Result<&'s [f64], KernelError> {
    let blocks = layout.height().div_ceil(ROWS);
    let len = layout.channels() * kinds;
    check_len("the scratch", scratch.len(), scratch_len(layout, samples, kinds))?;
    let scratch = &mut scratch[..samples * blocks * len];
    workers.chunks(scratch, len, |index, sums| {
        let (sample, block) = (index / blocks, index % blocks);
        // One allocation a block of rows: channels are not bounded.
        let mut row_sums = vec![0.0_f32; len];
        sums.fill(0.0);
        for row in block * ROWS..((block + 1) * ROWS).min(layout.height()) {
            row_sums.fill(0.0);
            add(sample, row, &mut row_sums);
            sums.iter_mut().zip(&row_sums).for_each(|(sum, &row)| *sum += f64::from(row));
        }
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

/// Values of a chunk of [`sum_of_squares`].
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
    /// Lane i sums the squares of values i, i + 8, i + 16, ...
    fn squares(values: &[f32]) -> f64 {
        let mut lanes = [0.0_f64; 8];
        let mut chunks = values.chunks_exact(8);
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

vectorized! {
    /// Adds each value to the one at its place.
    fn add_values(to: &mut [f32], from: &[f32]) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
    }
}

/// Adds each of `from` to the value of `to` at its place.
///
/// # Errors
/// Refuses slices of different lengths.
pub fn accumulate(workers: &Workers<'_>, to: &mut [f32], from: &[f32]) -> Result<(), KernelError> {
    crate::error::check_equal("the number of values", from.len(), to.len())?;
    let isa = workers.isa();
    workers.chunks(to, CHUNK, |index, to| add_values(isa, to, &from[index * CHUNK..]));
    Ok(())
}

/// Sums each column of a dense matrix `[rows][columns]`, in `f64` and in the order of the rows.
///
/// # Errors
/// Refuses slices that are too short.
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
