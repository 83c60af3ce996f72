//! Sums over the pixels of each channel, the same for any number of threads.
//!
//! Rows are summed in `f32`, a lane for each channel; blocks of rows, images and batches in `f64`.

use crate::error::{KernelError, check_len};
use crate::layout::ImageLayout;
use crate::raw::Workers;

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
