//! The gradient of the weights of 3x3 convolutions with half the multiplications: the same sums of rows of the
//! source, met by sums of rows of the output's gradient.

use std::ops::Range;

use super::{Lanes, ROOT, SIXTH, THIRD, Winograd};
use crate::error::{KernelError, check_len};
use crate::images::Images;
use crate::layout::{ImageLayout, LANES};
use crate::period::with_leftovers;
use crate::raw::{
    Axis, Bands, Finish, Gemm, Kind, PARTS, Pixels, Prefetch, ROWS, Start, TAPS, Workers, sums_of_gradient,
    sums_of_source, vectorized,
};
use crate::sums::GRADIENT_PARTS;

/// Pairs of inputs and outputs whose gradients, 18 sums each, stay in the second cache.
const SLICE: usize = 1 << 12;
/// Pixels over which a gradient of weights is summed before it is added to the others.
const TERMS: usize = 128;
/// Least pixels of a part: with fewer, adding the parts takes as long as summing them.
const LEAST_TERMS: usize = 256;

/// How the gradient of weights is cut, by the shapes alone: the sums would round differently.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Inputs that are worked on together, and how many such slices there are.
    slice: usize,
    slices: usize,
    /// Groups of rows of all samples that are worked on at once, and how many columns of them.
    groups: usize,
    columns: usize,
    /// All groups of rows, how many of them are summed one after the other, and of how many such parts the
    /// sums are then added.
    all: usize,
    per_part: usize,
    parts: usize,
}

impl Winograd {
    /// Inputs whose sums stay in the second cache, and how many such slices there are.
    fn slices(&self) -> (usize, usize) {
        let slices = (self.inputs * self.padded_outputs()).div_ceil(SLICE);
        let slice = self.inputs.div_ceil(slices).next_multiple_of(LANES).min(self.inputs);
        (slice, self.inputs.div_ceil(slice))
    }

    /// Most parts whose sums are added.
    fn most_parts(&self) -> usize {
        (GRADIENT_PARTS / self.slices().1).max(1)
    }

    fn cut(&self, samples: usize, height: usize, width: usize) -> Cut {
        let (slice, slices) = self.slices();
        let columns = width.div_ceil(width.div_ceil(TERMS));
        let groups = TERMS / columns;
        let all = samples * height.div_ceil(ROWS);
        let parts = (all * width / LEAST_TERMS).clamp(1, self.most_parts());
        let per_part = all.div_ceil(parts).next_multiple_of(groups).max(1);
        Cut { slice, slices, groups, columns, all, per_part, parts: all.div_ceil(per_part) }
    }

    /// Number of values that [`Winograd::weight_gradient`] needs as scratch, whatever the size of the images.
    pub(crate) fn gradient_scratch(&self) -> usize {
        self.most_parts() * self.weights_len()
    }

    /// The gradient of the weights in the layout `[outputs / 16][row][column][inputs][16]`, from the source,
    /// whose first window begins at index `start`, and the gradient of the output.
    #[allow(clippy::too_many_arguments)] // Four operands and how they meet.
    pub(crate) fn weight_gradient(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        source: Images<'_>,
        start: usize,
        output: Images<'_>,
        gradient: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), KernelError> {
        let layout = output.layout;
        let (height, width) = (layout.height(), layout.width());
        let cut = self.cut(samples, height, width);
        let len = self.weights_len();
        let sums = PARTS * TAPS * self.padded_outputs();
        let failed = std::sync::OnceLock::new();
        let bands = Bands {
            first: 0,
            samples: cut.parts,
            sample: len,
            bands: cut.slices,
            band: sums * cut.slice,
            len: sums * cut.slice,
            last: sums * (self.inputs - (cut.slices - 1) * cut.slice),
        };
        check_len("the scratch", scratch.len(), cut.parts * len)?;
        let isa = workers.isa();
        workers.bands(&mut *scratch, bands, |part, slice, sums| {
            let workers = Workers::alone(isa);
            let inputs = slice * cut.slice..((slice + 1) * cut.slice).min(self.inputs);
            let correlation = Correlation { winograd: *self, source, start, output, inputs };
            let mut begun = false;
            let end = ((part + 1) * cut.per_part).min(cut.all);
            for group in (part * cut.per_part..end).step_by(cut.groups) {
                let groups = group..(group + cut.groups).min(end);
                for column in (0..width).step_by(cut.columns) {
                    let columns = column..(column + cut.columns).min(width);
                    if let Err(error) = correlation.run(&workers, groups.clone(), columns, begun, sums) {
                        failed.get_or_init(|| error);
                    }
                    begun = true;
                }
            }
        })?;
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        let scratch = &scratch[..cut.parts * len];
        let row = TAPS * self.inputs * LANES;
        // Rows of the kernel side by side, cut at multiples of a column's inputs.
        workers.chunks(
            &mut gradient[..TAPS * self.padded_outputs() / LANES * row],
            TAPS * row,
            |block, to| {
                for slice in 0..cut.slices {
                    let inputs = cut.slice.min(self.inputs - slice * cut.slice);
                    let apart = TAPS * inputs * LANES;
                    let first =
                        slice * cut.slice * PARTS * TAPS * self.padded_outputs() + block * PARTS * apart;
                    for column in 0..TAPS {
                        let from = &scratch[first + column * inputs * LANES..];
                        let to = &mut to[(column * self.inputs + slice * cut.slice) * LANES..];
                        transform_gradient(isa, from, [cut.parts, len], apart, to, row, inputs * LANES);
                    }
                }
            },
        );
        Ok(())
    }
}

vectorized! {
    /// `G' s` of sums over parts: six rows of sums `apart` from each other in each part, to three rows.
    fn transform_gradient(
        from: &[f32],
        parts: [usize; 2],
        apart: usize,
        to: &mut [f32],
        row: usize,
        len: usize,
    ) {
        let [parts, distance] = parts;
        for at in (0..len).step_by(LANES) {
            let mut sums = [[0.0; LANES]; PARTS];
            for part in 0..parts {
                for (index, sum) in sums.iter_mut().enumerate() {
                    let from = &from[part * distance + index * apart + at..][..LANES];
                    for (sum, value) in sum.iter_mut().zip(from) {
                        *sum += value;
                    }
                }
            }
            for (index, values) in of_gradient(&sums).into_iter().enumerate() {
                to[index * row + at..][..LANES].copy_from_slice(&values);
            }
        }
    }
}

/// `G' s` for 16 weights.
#[inline(always)]
fn of_gradient(sums: &[Lanes; PARTS]) -> [Lanes; TAPS] {
    let mut to = [[0.0; LANES]; TAPS];
    for lane in 0..LANES {
        let [a, b, c, d, e, f] = sums.map(|sums| sums[lane]);
        let (even, odd) = ((b + c) * THIRD, (c - b) * THIRD);
        let (far_even, far_odd) = ((d + e) * SIXTH, (d - e) * SIXTH);
        to[0][lane] = a - 2.0 * even + far_even;
        to[1][lane] = ROOT * (odd + far_odd);
        to[2][lane] = f - even + 2.0 * far_even;
    }
    to
}

/// Operands of a gradient of weights, for some inputs.
struct Correlation<'a> {
    winograd: Winograd,
    source: Images<'a>,
    start: usize,
    output: Images<'a>,
    inputs: Range<usize>,
}

impl Correlation<'_> {
    /// Adds the terms of some columns of some groups of rows, counted through all samples, to the sums, or
    /// replaces these if they have not `begun`.
    fn run(
        &self,
        workers: &Workers<'_>,
        groups: Range<usize>,
        columns: Range<usize>,
        begun: bool,
        to: &mut [f32],
    ) -> Result<(), KernelError> {
        let isa = workers.isa();
        let (source, output) = (self.source.layout, self.output.layout);
        let (inputs, outputs) = (self.inputs.len(), self.winograd.padded_outputs());
        let height = output.height();
        let per_sample = height.div_ceil(ROWS);
        let (first_group, groups) = (groups.start, groups.len());
        let (first_column, columns) = (columns.start, columns.len());
        // Not whole pages apart.
        let (sums, products) = ((columns + TAPS - 1) * inputs, columns * outputs + LANES);
        let spans = [
            (columns + TAPS - 2) * source.pixel_stride() + inputs,
            (columns - 1) * output.pixel_stride() + output.channels(),
        ];
        let lens = [spans[0].max(spans[1]), PARTS * groups * sums, PARTS * groups * products];
        with_leftovers(lens.iter().sum(), |scratch| {
            let (zeros, rest) = scratch.split_at_mut(lens[0]);
            let (sources, gradients) = rest.split_at_mut(lens[1]);
            if !height.is_multiple_of(ROWS) {
                zeros.fill(0.0);
            }
            for group in 0..groups {
                let sample = (first_group + group) / per_sample;
                let first_row = (first_group + group) % per_sample * ROWS;
                let first = self.start
                    + sample * source.sample_stride()
                    + first_row * source.row_stride()
                    + first_column * source.pixel_stride()
                    + self.inputs.start;
                let rows: [&[f32]; PARTS] = std::array::from_fn(|row| {
                    if first_row + row >= height + TAPS - 1 {
                        return &zeros[..spans[0]];
                    }
                    &self.source.values[first + row * source.row_stride()..][..spans[0]]
                });
                let pixels =
                    Pixels { count: columns + TAPS - 1, step: source.pixel_stride(), channels: inputs };
                sums_of_source(isa, &rows, pixels, &mut sources[group * sums..], groups * sums)?;
                let rows: [&[f32]; ROWS] = std::array::from_fn(|row| {
                    if first_row + row >= height {
                        return &zeros[..spans[1]];
                    }
                    let first = output.index(sample, first_row + row, first_column);
                    &self.output.values[first..][..spans[1]]
                });
                let pixels =
                    Pixels { count: columns, step: output.pixel_stride(), channels: output.channels() };
                let to = &mut gradients[group * products..];
                sums_of_gradient(isa, rows, pixels, to, groups * products)?;
            }
            // The rows of the next groups follow in memory, unless other channels lie between.
            let wanted = |values: &[f32], layout: &ImageLayout, row: usize| {
                if layout.pixel_stride() > layout.channels() || columns < layout.width() {
                    return Prefetch::NOTHING;
                }
                let sample = first_group / per_sample;
                let first = layout.index(sample, row, 0);
                let each = groups * layout.row_stride();
                let values_of_column = each.div_ceil(TAPS * inputs);
                Prefetch {
                    outer: [each, 0],
                    column: values_of_column,
                    positions: ROWS,
                    values: values_of_column,
                    ..Prefetch::of(values, first)
                }
            };
            let next = (first_group % per_sample + groups) * ROWS;
            let of_source = wanted(self.source.values, source, next + 1);
            let of_output = wanted(self.output.values, output, next);
            let prefetch = [
                if inputs == source.channels() { of_source } else { Prefetch::NOTHING },
                of_output,
                Prefetch::NOTHING,
            ];
            let part = TAPS * inputs * LANES;
            let product = Gemm {
                lanes: outputs,
                kind: Kind::Weights,
                a_block: LANES,
                c_block: PARTS * part,
                outer: [
                    Axis { count: PARTS, a: groups * products, b: groups * sums, c: part, mask: 0 },
                    Axis::ONCE,
                    Axis::ONCE,
                    Axis::ONCE,
                ],
                columns: Axis { count: TAPS * inputs, a: 0, b: 1, c: LANES, mask: 0 },
                terms: [
                    Axis::ONCE,
                    Axis { count: groups, a: products, b: sums, c: 0, mask: 0 },
                    Axis { count: columns, a: outputs, b: inputs, c: 0, mask: 0 },
                ],
                part: [1, groups, columns],
                separate_parts: true,
                first: [0; 3],
                start: if begun { Start::Add } else { Start::Replace },
                prefetch,
            };
            product.run(workers, gradients, sources, to, Finish::NOTHING)
        })
    }
}
