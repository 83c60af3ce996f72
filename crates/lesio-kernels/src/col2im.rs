//! The adjoint of a convolution to few channels.
//!
//! Its lanes cannot be the channels that come out: most would be idle. So the taps become lanes: each
//! pixel gives, for every tap and channel, one product, and these are added up where they belong.

use std::ops::Range;

use crate::epilogue::Epilogue;
use crate::error::{KernelError, check_len};
use crate::images::{Combine, Images, ImagesMut, for_bands};
use crate::layout::LANES;
use crate::period::{Period, with_scratch};
use crate::raw::{Axis, Finish, Gemm, Kind, Prefetch, Start, Workers, vectorized};

/// Rows of the output that one thread computes; the rows of products that two bands share are computed twice.
const ROWS: usize = 32;

/// A convolution's shape, seen from its adjoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Col2im {
    kernel: usize,
    stride: usize,
    padding: usize,
    /// Channels that come out, and that go in.
    few: usize,
    many: usize,
}

impl Col2im {
    /// If taps as lanes take at most half the work of channels as lanes.
    pub(crate) fn new(kernel: usize, stride: usize, padding: usize, few: usize, many: usize) -> Option<Self> {
        let taps = kernel * kernel;
        let worth = taps * few.div_ceil(LANES) >= 2 * (taps * few).div_ceil(LANES);
        worth.then_some(Self { kernel, stride, padding, few, many })
    }

    fn lanes(&self) -> usize {
        self.kernel * self.kernel * self.few
    }

    /// Lanes of a row of taps.
    fn row(&self) -> usize {
        self.kernel * self.few
    }

    fn padded_lanes(&self) -> usize {
        self.lanes().next_multiple_of(LANES)
    }

    /// Number of packed weights.
    pub(crate) fn weights_len(&self) -> usize {
        self.many * self.padded_lanes()
    }

    /// Packs the weights `[many][tap row][tap column][few]`, the last three padded with zeros.
    pub(crate) fn pack(&self, packed: &mut [f32], weight: impl Fn(usize, usize, usize, usize) -> f32) {
        for (many, lanes) in packed.chunks_exact_mut(self.padded_lanes()).enumerate().take(self.many) {
            lanes.fill(0.0);
            for (lane, value) in lanes[..self.lanes()].iter_mut().enumerate() {
                let (tap, few) = (lane / self.few, lane % self.few);
                *value = weight(many, few, tap / self.kernel, tap % self.kernel);
            }
        }
    }

    /// Computes the adjoint; operands were checked to fit each other.
    pub(crate) fn run(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        from: Images<'_>,
        weights: &[f32],
        to: ImagesMut<'_>,
        epilogue: Epilogue<'_>,
    ) -> Result<(), KernelError> {
        if let Some(bias) = epilogue.bias {
            check_len("the bias", bias.len(), self.few)?;
        }
        // One product over all rows that a band needs, checked here once for all: rows and columns inside
        // the image, no border.
        let source = from.layout;
        let product = Gemm {
            lanes: self.padded_lanes(),
            kind: Kind::Values,
            a_block: LANES,
            c_block: LANES,
            outer: [
                Axis {
                    count: 0,
                    a: 0,
                    b: source.row_stride(),
                    c: source.width() * self.padded_lanes(),
                    mask: 0,
                },
                Axis::ONCE,
                Axis::ONCE,
                Axis::ONCE,
            ],
            columns: Axis {
                count: source.width(),
                a: 0,
                b: source.pixel_stride(),
                c: self.padded_lanes(),
                mask: 0,
            },
            terms: [
                Axis::ONCE,
                Axis::ONCE,
                Axis { count: self.many, a: self.padded_lanes(), b: 1, c: 0, mask: 0 },
            ],
            part: [1, 1, self.many],
            separate_parts: false,
            first: [0; 3],
            start: Start::Replace,
            prefetch: [Prefetch::NOTHING; 3],
        };
        let isa = workers.isa();
        let layout = *to.layout;
        let failed = std::sync::OnceLock::new();
        for_bands(workers, samples, to, ROWS, |sample, rows, band| {
            let needed = self.source_rows(&rows, source.height());
            // Sums of a row of the output, of the rows of taps that meet it, and all products.
            let lens =
                [layout.width() * self.few, source.width() * self.row(), needed.len() * product.outer[0].c];
            with_scratch(lens.iter().sum(), |scratch| {
                let (sums, rest) = scratch.split_at_mut(lens[0]);
                let (met, products) = rest.split_at_mut(lens[1]);
                let mut product = product;
                product.outer[0].count = needed.len();
                product.first[1] = source.index(sample, needed.start, 0);
                let alone = Workers::alone(isa);
                if let Err(error) = product.run(&alone, weights, from.values, products, Finish::NOTHING) {
                    failed.get_or_init(|| error);
                    return;
                }
                let first = layout.row_range(0).start % layout.row_stride();
                let len = layout.row_range(0).len();
                for (row, to) in rows.zip(band.chunks_mut(layout.row_stride())) {
                    sums.fill(0.0);
                    met.fill(0.0);
                    for tap in 0..self.kernel {
                        let at = (row + self.padding).checked_sub(tap).filter(|at| at % self.stride == 0);
                        if let Some(at) = at.map(|at| at / self.stride).filter(|at| needed.contains(at)) {
                            let products = &products[(at - needed.start) * product.outer[0].c..];
                            add_row(isa, *self, tap, &products[..product.outer[0].c], met);
                        }
                    }
                    add_columns(isa, *self, met, sums);
                    let mask = epilogue.rectifier.map(|rectifier| {
                        let images = rectifier.images;
                        (images.row(sample, row), images.layout.pixel_stride(), rectifier.slope)
                    });
                    finish(
                        isa,
                        self.few,
                        sums,
                        &mut to[first..first + len],
                        layout.pixel_stride(),
                        epilogue,
                        mask,
                    );
                }
            });
        })?;
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// Rows of the source whose taps meet these rows of the output.
    fn source_rows(&self, rows: &Range<usize>, height: usize) -> Range<usize> {
        let first = (rows.start + self.padding).saturating_sub(self.kernel - 1).div_ceil(self.stride);
        let end = (rows.end - 1 + self.padding) / self.stride + 1;
        first.min(height)..end.min(height).max(first.min(height))
    }
}

vectorized! {
    /// Adds the products of a row of taps, `[pixels][lanes]`, to those of others, `[pixels][row of taps]`.
    fn add_row(col2im: Col2im, tap: usize, products: &[f32], met: &mut [f32]) {
        let (lanes, row) = (col2im.padded_lanes(), col2im.row());
        let from = &products[tap * row..];
        // The usual rows by themselves, with lengths that the compiler knows.
        match row {
            3 => add_known::<3>(from, lanes, met),
            4 => add_known::<4>(from, lanes, met),
            _ => {
                for (met, from) in met.chunks_exact_mut(row).zip(from.chunks(lanes)) {
                    met.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                }
            }
        }
    }
}

#[inline(always)]
fn add_known<const ROW: usize>(from: &[f32], lanes: usize, met: &mut [f32]) {
    for (met, from) in met.as_chunks_mut::<ROW>().0.iter_mut().zip(from.chunks(lanes)) {
        for (to, from) in met.iter_mut().zip(&from[..ROW]) {
            *to += from;
        }
    }
}

vectorized! {
    /// Adds what the pixels of a row give for each column of taps to the columns of the output.
    fn add_columns(col2im: Col2im, met: &[f32], sums: &mut [f32]) {
        let Col2im { kernel, stride, padding, few, .. } = col2im;
        let row = col2im.row();
        let (width, columns) = (met.len() / row, sums.len() / few);
        for column in 0..kernel {
            // Pixel x goes to column x * stride + column - padding, if that is inside.
            let first = padding.saturating_sub(column).div_ceil(stride);
            let end = (columns + padding).saturating_sub(column).div_ceil(stride).min(width);
            if first >= end {
                continue;
            }
            let count = end - first;
            let to = &mut sums[(first * stride + column - padding) * few..];
            let from = &met[first * row..];
            match (few, stride, kernel) {
                (1, 2, 4) => add_strided::<2, 4>(from, column, count, to),
                (1, 1, 3) => add_strided::<1, 3>(from, column, count, to),
                _ => {
                    for (to, from) in to.chunks_mut(stride * few).zip(from.chunks(row)).take(count) {
                        let from = &from[column * few..(column + 1) * few];
                        to[..few].iter_mut().zip(from).for_each(|(to, from)| *to += from);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn add_strided<const STRIDE: usize, const ROW: usize>(
    from: &[f32],
    column: usize,
    count: usize,
    to: &mut [f32],
) {
    let from = &from.as_chunks::<ROW>().0[..count];
    // The last position need not have a whole stride behind it.
    let (whole, rest) = to[..(count - 1) * STRIDE + 1].as_chunks_mut::<STRIDE>();
    for (to, from) in whole.iter_mut().zip(from) {
        to[0] += from[column % ROW];
    }
    if let (Some(to), Some(from)) = (rest.first_mut(), from.last()) {
        *to += from[column % ROW];
    }
}

vectorized! {
    /// What is there already, bias, rectifier and mask.
    fn finish(few: usize, sums: &[f32], to: &mut [f32], pixel: usize, epilogue: Epilogue<'_>, mask: Option<(&[f32], usize, f32)>) {
        let runs = Period::common(few, [pixel, pixel, mask.map_or(pixel, |mask| mask.1)]);
        if epilogue.combine == Combine::Add {
            for (to, sums) in runs.runs_mut(to, pixel).zip(runs.runs(sums, few)) {
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
            }
        } else {
            for (to, sums) in runs.runs_mut(to, pixel).zip(runs.runs(sums, few)) {
                to.copy_from_slice(sums);
            }
        }
        if let Some(bias) = epilogue.bias {
            for to in to.chunks_mut(pixel) {
                to.iter_mut().zip(&bias[..few]).for_each(|(to, bias)| *to += bias);
            }
        }
        if epilogue.slope != 1.0 {
            for to in runs.runs_mut(to, pixel) {
                to.iter_mut().for_each(|to| *to = if *to > 0.0 { *to } else { *to * epilogue.slope });
            }
        }
        if let Some((values, pixels, slope)) = mask {
            for (to, values) in runs.runs_mut(to, pixel).zip(runs.runs(values, pixels)) {
                for (to, &value) in to.iter_mut().zip(values) {
                    *to = if value > 0.0 { *to } else { *to * slope };
                }
            }
        }
    }
}
