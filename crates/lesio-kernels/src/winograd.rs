//! 3x3 convolutions of stride 1 with half the multiplications, and 4x4 convolutions of stride 2 with two
//! thirds of them, by Winograd's algorithm along the rows.
//!
//! Four rows of the output depend on six rows of the source. Their 4 x 3 products with the three rows of
//! the kernel are replaced by six products of sums: with `d` the six rows, `g` the rows of the kernel and
//! fixed matrices `B`, `G` and `A`,
//!
//! ```text
//! y = A' ((G g) . (B' d))
//! ```
//!
//! where each of the six products is a convolution along the columns over all channels, and so has the
//! form of a [`Product`]. The matrices belong to the points 0, +-1/sqrt 2, +-sqrt 2 and infinity; those
//! lie around 1 and so round better than whole numbers do.
//!
//! 4x4 convolutions of stride 2, and their adjoints with padding 1, are sums or sets of convolutions with two
//! rows of the kernel each, for the even and the odd rows. For these three rows of the output come from four
//! products, two thirds of the multiplications; the points are 0, +-1 and infinity.
//!
//! All is done for some columns of some groups of four rows at a time, so that the sums stay in the near
//! caches.

use std::ops::Range;

use crate::convolution::{Epilogue, GRADIENT_PARTS, LANES};
use crate::error::{KernelError, check_len};
use crate::images::{Combine, Images, ImagesMut, Rectifier};
use crate::layout::ImageLayout;
use crate::period::with_leftovers;
use crate::raw::{
    Ahead, Axis, Bands, FEW_PARTS, FEW_ROWS, Finish, Kind, PARTS, Pixels, Place, Product, ROWS, Start, TAPS,
    Workers, sums_of_gradient, sums_of_products, sums_of_source, vectorized,
};

/// Least number of channels on either side: with fewer, sums cost more than they save.
const LEAST_CHANNELS: usize = 8;
/// The same for 4x4 kernels of stride 2, which save less.
const LEAST_HALVING_CHANNELS: usize = 16;

/// Values of the sums and products that are worked on at once, where the weights leave them most of the
/// second cache and where they do not fit it themselves, and up to how many weights that is so.
const NEAR_ROOM: usize = 60_000;
const FAR_ROOM: usize = 100_000;
const NEAR_WEIGHTS: usize = 1 << 16;
/// Pairs of inputs and outputs whose gradients, 18 sums each, stay in the second cache.
const SLICE: usize = 1 << 12;
/// Pixels over which a gradient of weights is summed before it is added to the others.
const TERMS: usize = 128;

/// Least pixels of a part: with fewer, adding the parts takes as long as summing them.
const LEAST_TERMS: usize = 256;
/// More bands than threads, so that a thread that comes late or is interrupted costs little.
const BANDS_PER_THREAD: usize = 8;

const ROOT: f32 = std::f32::consts::SQRT_2;

const THIRD: f32 = 1.0 / 3.0;
const SIXTH: f32 = 1.0 / 6.0;

type Lanes = [f32; LANES];

/// What kind of convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// 3x3, stride 1.
    Plain,
    /// 4x4, stride 2: even and odd rows of the source meet two rows of the kernel each.
    Halving,
    /// The adjoint of that, with padding 1: even and odd rows of the output come from two rows each, the
    /// odd ones one row further down, and columns likewise.
    Doubling,
}

/// The kind and the channels of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Winograd {
    form: Form,
    inputs: usize,
    outputs: usize,
}

/// How much is worked on at once.
#[derive(Clone, Copy, Debug)]
struct Unit {
    /// Groups of [`ROWS`] rows.
    groups: usize,
    columns: usize,
}

impl Winograd {
    /// If a convolution of these channels is 3x3 with stride 1 and has enough of them.
    pub(crate) fn new(kernel: usize, stride: usize, inputs: usize, outputs: usize) -> Option<Self> {
        let worth = kernel == TAPS && stride == 1 && inputs.min(outputs) >= LEAST_CHANNELS;
        worth.then_some(Self { form: Form::Plain, inputs, outputs })
    }

    /// If it is 4x4 with stride 2 and has enough of them.
    pub(crate) fn halving(kernel: usize, stride: usize, inputs: usize, outputs: usize) -> Option<Self> {
        let worth = kernel == 4 && stride == 2 && inputs.min(outputs) >= LEAST_HALVING_CHANNELS;
        worth.then_some(Self { form: Form::Halving, inputs, outputs })
    }

    /// The adjoint of such a convolution with padding 1, from `inputs` to `outputs`.
    pub(crate) fn doubling(
        kernel: usize,
        stride: usize,
        padding: usize,
        inputs: usize,
        outputs: usize,
    ) -> Option<Self> {
        let halving = Self::halving(kernel, stride, inputs, outputs).filter(|_| padding == 1);
        halving.map(|halving| Self { form: Form::Doubling, ..halving })
    }

    /// Positions of rows of the output from the same sums, and the number of these.
    fn rows(&self) -> usize {
        if self.form == Form::Plain { ROWS } else { FEW_ROWS }
    }

    fn parts(&self) -> usize {
        if self.form == Form::Plain { PARTS } else { FEW_PARTS }
    }

    /// How far the source moves from one position to the next.
    fn stride(&self) -> usize {
        if self.form == Form::Halving { 2 } else { 1 }
    }

    /// Rows and columns of the output at one position.
    fn up(&self) -> usize {
        if self.form == Form::Doubling { 2 } else { 1 }
    }

    /// Sets of sums of each group, of sources that begin one row apart.
    fn phases(&self) -> usize {
        self.stride() * self.up()
    }

    /// How many values of each input the sums of all phases take with the weights of one product.
    fn window(&self) -> usize {
        if self.form == Form::Plain { TAPS } else { 8 }
    }

    /// Packed weights of a block of 16 outputs for one product.
    fn part(&self) -> usize {
        self.window() * self.inputs * LANES
    }

    /// Rows or columns of the source that some of the output depend on.
    fn extent(&self, of_output: usize) -> usize {
        of_output * self.stride() / self.up() + 2
    }

    fn padded_outputs(&self) -> usize {
        self.outputs.next_multiple_of(LANES)
    }

    /// Packed weights of a block of 16 outputs.
    fn block(&self) -> usize {
        self.parts() * self.part()
    }

    /// Number of packed weights.
    pub(crate) fn weights_len(&self) -> usize {
        self.padded_outputs() / LANES * self.block()
    }

    /// Packs weights, given those of 16 outputs from a first one, for an input, row and column:
    /// `[outputs / 16][product][column][inputs][16]`, or `[outputs / 16][product][phase][column][inputs][16]`,
    /// where with phases of columns too each has its own columns side by side.
    pub(crate) fn pack(
        &self,
        workers: &Workers<'_>,
        packed: &mut [f32],
        lanes: impl Fn(usize, usize, usize, usize) -> Lanes + Sync,
    ) {
        workers.chunks(&mut packed[..self.weights_len()], self.block(), |block, packed| {
            let mut put = |part: usize, at: usize, values: &Lanes| {
                let first = part * self.part() + at * LANES;
                packed[first..first + LANES].copy_from_slice(values);
            };
            for at in 0..self.part() / LANES {
                let (input, place) = (at % self.inputs, at / self.inputs);
                let lanes = |row, column| lanes(block * LANES, input, row, column);
                if self.form == Form::Plain {
                    let parts = transform_weights([0, 1, 2].map(|row| lanes(row, place)));
                    parts.iter().enumerate().for_each(|(part, values)| put(part, at, values));
                } else {
                    let (phase, column) = (place / 4, place % 4);
                    let column =
                        if self.form == Form::Halving { column } else { column / 2 + column % 2 * 2 };
                    let parts = transform_few([phase, phase + 2].map(|row| lanes(row, column)));
                    parts.iter().enumerate().for_each(|(part, values)| put(part, at, values));
                }
            }
        });
    }

    fn unit(&self, height: usize, width: usize) -> Unit {
        let [sums, products] = [self.phases() * self.stride(), self.up() * self.up()];
        let channels = self.parts() * (sums * self.inputs + products * self.padded_outputs());
        let room = if self.weights_len() > NEAR_WEIGHTS { FAR_ROOM } else { NEAR_ROOM };
        let pieces = width.div_ceil((room / channels).max(LANES));
        let columns = width.div_ceil(pieces).next_multiple_of(LANES).min(width);
        let groups = (room / (channels * columns)).clamp(1, height.div_ceil(self.rows()));
        Unit { groups, columns }
    }

    /// Computes the correlation of images with packed weights; the window of the first result begins at
    /// index `start` of the source, and all windows lie inside its border.
    #[allow(clippy::too_many_arguments)] // Three operands and how they meet.
    pub(crate) fn run(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        source: Images<'_>,
        start: usize,
        weights: &[f32],
        to: ImagesMut<'_>,
        epilogue: Epilogue<'_>,
    ) -> Result<(), KernelError> {
        if let Some(bias) = epilogue.bias {
            check_len("the bias", bias.len(), self.outputs)?;
        }
        let layout = *to.layout;
        let (height, width) = (layout.height(), layout.width());
        if samples == 0 {
            return Ok(());
        }
        let up = self.up();
        let mut unit = self.unit(height.div_ceil(up), width.div_ceil(up));
        unit.columns *= up;
        let isa = workers.isa();
        // Bands for all threads, of whole units, which may be less high for that: a matter of speed only,
        // as all groups of rows are computed alike. Weights that come from afar should serve
        // two, and those of a single sample as many as they can.
        let each = self.rows() * up;
        let groups = height.div_ceil(each);
        let least = match samples {
            _ if self.weights_len() <= NEAR_WEIGHTS => 1,
            1 => groups.div_ceil(workers.threads()),
            _ => 2,
        };
        let band =
            (groups * samples).div_ceil(BANDS_PER_THREAD * workers.threads()).clamp(least, groups.max(least));
        unit.groups = unit.groups.min(band);
        let rows = band.next_multiple_of(unit.groups) * each;
        let row_len = (width - 1) * layout.pixel_stride() + layout.channels();
        let len = |rows: usize| (rows - 1) * layout.row_stride() + row_len;
        let bands = height.div_ceil(rows);
        let bands = Bands {
            first: layout.index(0, 0, 0),
            samples,
            sample: layout.sample_stride(),
            bands,
            band: rows * layout.row_stride(),
            len: len(rows.min(height)),
            last: len(height - (bands - 1) * rows),
        };
        let failed = std::sync::OnceLock::new();
        let strip = Strip { winograd: *self, source, start, weights, layout: &layout, epilogue };
        let few = samples == 1 && groups < 2 * workers.threads() && width <= unit.columns;
        if few && self.weights_len() > NEAR_WEIGHTS {
            // Bands would differ in length, and each thread would read all weights: better, all threads share
            // the products of one unit.
            let here = Here { sample: 0, row: 0, rows: height, column: 0, columns: width };
            return strip.run(workers, here, &mut to.values[layout.index(0, 0, 0)..]);
        }
        workers.bands(to.values, bands, |sample, band, values| {
            let first = band * rows;
            let end = (first + rows).min(height);
            for row in (first..end).step_by(unit.groups * each) {
                let values = &mut values[(row - first) * layout.row_stride()..];
                for column in (0..width).step_by(unit.columns) {
                    let here = Here {
                        sample,
                        row,
                        rows: (unit.groups * each).min(end - row),
                        column,
                        columns: unit.columns.min(width - column),
                    };
                    let values = &mut values[column * layout.pixel_stride()..];
                    if let Err(error) = strip.run(&Workers::alone(isa), here, values) {
                        failed.get_or_init(|| error);
                    }
                }
            }
        })?;
        failed.into_inner().map_or(Ok(()), Err)
    }
}

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
                    return Ahead::NOTHING;
                }
                let sample = first_group / per_sample;
                let first = layout.index(sample, row, 0);
                let each = groups * layout.row_stride();
                let values_of_column = each.div_ceil(TAPS * inputs);
                Ahead {
                    outer: [each, 0],
                    column: values_of_column,
                    positions: ROWS,
                    values: values_of_column,
                    ..Ahead::of(values, first)
                }
            };
            let next = (first_group % per_sample + groups) * ROWS;
            let of_source = wanted(self.source.values, source, next + 1);
            let of_output = wanted(self.output.values, output, next);
            let ahead = [
                if inputs == source.channels() { of_source } else { Ahead::NOTHING },
                of_output,
                Ahead::NOTHING,
            ];
            let part = TAPS * inputs * LANES;
            let product = Product {
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
                ahead,
            };
            product.run(workers, gradients, sources, to, Finish::NOTHING)
        })
    }
}

/// Operands that all units share.
struct Strip<'a> {
    winograd: Winograd,
    source: Images<'a>,
    start: usize,
    weights: &'a [f32],
    layout: &'a ImageLayout,
    epilogue: Epilogue<'a>,
}

/// A unit of work: which rows and columns of the output.
#[derive(Clone, Copy, Debug)]
struct Here {
    sample: usize,
    row: usize,
    rows: usize,
    column: usize,
    columns: usize,
}

impl Strip<'_> {
    /// Computes one unit; `to` begins with its first pixel.
    fn run(&self, workers: &Workers<'_>, here: Here, to: &mut [f32]) -> Result<(), KernelError> {
        let Winograd { inputs, .. } = self.winograd;
        let outputs = self.winograd.padded_outputs();
        let (each, parts) = (self.winograd.rows(), self.winograd.parts());
        let (stride, up, phases) = (self.winograd.stride(), self.winograd.up(), self.winograd.phases());
        let groups = here.rows.div_ceil(each * up);
        let positions = here.columns.div_ceil(up);
        // Not whole pages apart, so that they do not fall on the same lines of the nearest cache.
        let columns = self.winograd.extent(here.columns);
        let sums = phases * self.winograd.extent(positions * up) * inputs;
        let product = up * up * positions * outputs + LANES;
        let zeros = (columns - 1) * self.source.layout.pixel_stride() + inputs;
        let lens = [zeros, parts * groups * sums, parts * groups * product];
        with_leftovers(lens.iter().sum(), |scratch| {
            let (zeros, rest) = scratch.split_at_mut(lens[0]);
            let (sources, products) = rest.split_at_mut(lens[1]);
            if !here.rows.is_multiple_of(each * up) {
                zeros.fill(0.0);
            }
            let isa = workers.isa();
            let first = self.start
                + here.sample * self.source.layout.sample_stride()
                + here.row * stride / up * self.source.layout.row_stride()
                + here.column * stride / up * self.source.layout.pixel_stride();
            for (group, phase) in (0..groups).flat_map(|group| (0..phases).map(move |phase| (group, phase))) {
                let rows: [&[f32]; PARTS] = std::array::from_fn(|row| {
                    let row = (group * each + row) * stride + phase;
                    if row >= self.winograd.extent(here.rows) {
                        return &zeros[..];
                    }
                    let first = first + row * self.source.layout.row_stride();
                    &self.source.values[first..first + zeros.len()]
                });
                let pixels =
                    Pixels { count: columns, step: self.source.layout.pixel_stride(), channels: inputs };
                let to = &mut sources[group * sums + phase * (sums / phases)..];
                sums_of_source(isa, &rows[..parts], pixels, to, groups * sums)?;
            }
            let ahead = self.ahead(here, first, groups, to);
            self.product(here, groups, [sums, product], ahead).run(
                workers,
                self.weights,
                sources,
                products,
                Finish::NOTHING,
            )?;
            for (group, phase) in (0..groups).flat_map(|group| (0..up * up).map(move |phase| (group, phase)))
            {
                // The first row and column of the phase, and how many follow.
                let (row, column) = (group * each * up + phase / up, phase % up);
                let rows = each.min(here.rows.saturating_sub(row).div_ceil(up));
                let count = here.columns.saturating_sub(column).div_ceil(up);
                if rows == 0 || count == 0 {
                    continue;
                }
                let mask = self.epilogue.rectifier.map(|rectifier| {
                    let layout = rectifier.images.layout;
                    let first = layout.index(here.sample, here.row + row, here.column + column);
                    (
                        &rectifier.images.values[first..],
                        [up * layout.row_stride(), up * layout.pixel_stride()],
                        rectifier.slope,
                    )
                });
                let (row_stride, step) = (self.layout.row_stride(), self.layout.pixel_stride());
                let place = Place {
                    parts,
                    rows,
                    row: up * row_stride,
                    pixels: Pixels { count, step: up * step, channels: self.winograd.outputs },
                    add: self.epilogue.combine == Combine::Add,
                    bias: self.epilogue.bias,
                    slope: self.epilogue.slope,
                    mask,
                };
                let from = &products[group * product + phase * positions * outputs..];
                let to = &mut to[row * row_stride + column * step..];
                sums_of_products(isa, from, groups * product, to, &place)?;
            }
            Ok(())
        })
    }

    /// What is wanted after the product: the rows of the output and of the mask, and of the source for the
    /// next unit, which begins below this one.
    fn ahead(&self, here: Here, first: usize, groups: usize, to: &[f32]) -> [Ahead; 3] {
        let (each, stride, up) = (self.winograd.rows(), self.winograd.stride(), self.winograd.up());
        let rows = |wanted: Ahead, layout: &ImageLayout| Ahead {
            outer: [up * layout.row_stride(), each * up * layout.row_stride()],
            inner: [layout.row_stride(), layout.pixel_stride()],
            column: up * layout.pixel_stride(),
            positions: each,
            ..wanted
        };
        let by_block = |wanted| Ahead { by_block: true, ..wanted };
        let output = by_block(rows(Ahead::of(to, 0), self.layout));
        let mask = self.epilogue.rectifier.map_or(Ahead::NOTHING, |Rectifier { images, .. }| {
            let first = images.layout.index(here.sample, here.row, here.column);
            by_block(rows(Ahead::of(images.values, first), images.layout))
        });
        let layout = self.source.layout;
        let next = first + (groups * each * stride + 2) * layout.row_stride();
        // Rows that follow one another at each position, or a part of a pixel in each phase.
        let values = (self.winograd.inputs * stride * stride).div_ceil(up * up);
        let source = Ahead {
            outer: [stride * layout.row_stride(), each * stride * layout.row_stride()],
            inner: [up * values, values],
            column: layout.pixel_stride() * stride * stride,
            positions: each,
            values,
            ..Ahead::of(self.source.values, next)
        };
        [output, mask, source]
    }

    fn product(&self, here: Here, groups: usize, [sums, product]: [usize; 2], ahead: [Ahead; 3]) -> Product {
        let Winograd { inputs, form, .. } = self.winograd;
        let outputs = self.winograd.padded_outputs();
        let (stride, up) = (self.winograd.stride(), self.winograd.up());
        let positions = here.columns.div_ceil(up);
        let next_phase = sums / self.winograd.phases();
        let axis = |count, len| Axis { count, a: len * LANES, b: len, c: 0, mask: 0 };
        let terms = match form {
            Form::Plain => [Axis::ONCE, axis(TAPS, inputs), axis(inputs, 1)],
            Form::Halving => [Axis { b: next_phase, ..axis(2, 4 * inputs) }, Axis::ONCE, axis(4 * inputs, 1)],
            Form::Doubling => [Axis::ONCE, Axis::ONCE, axis(2 * inputs, 1)],
        };
        let c = positions * outputs;
        let phase = |a: usize, b, c| Axis { count: up, a: a * inputs * LANES, b, c, mask: 0 };
        Product {
            lanes: outputs,
            kind: Kind::Values,
            a_block: self.winograd.block(),
            c_block: LANES,
            outer: [
                Axis {
                    count: self.winograd.parts(),
                    a: self.winograd.part(),
                    b: groups * sums,
                    c: groups * product,
                    mask: 0,
                },
                Axis { count: groups, a: 0, b: sums, c: product, mask: 0 },
                phase(4, next_phase, up * c),
                phase(2, inputs, c),
            ],
            columns: Axis { count: positions, a: 0, b: stride * inputs, c: outputs, mask: 0 },
            terms,
            part: [0; 3],
            separate_parts: false,
            first: [0; 3],
            start: Start::Replace,
            ahead,
        }
        .in_parts()
    }
}

/// `G g` for 16 weights.
fn transform_weights([a, b, c]: [Lanes; TAPS]) -> [Lanes; PARTS] {
    let mut to = [[0.0; LANES]; PARTS];
    for lane in 0..LANES {
        let [a, b, c] = [a[lane], b[lane], c[lane]];
        let (even, odd) = (-(2.0 * a + c) * THIRD, ROOT * THIRD * b);
        let (far_even, far_odd) = ((a + 2.0 * c) * SIXTH, ROOT * SIXTH * b);
        to[0][lane] = a;
        to[1][lane] = even - odd;
        to[2][lane] = even + odd;
        to[3][lane] = far_even + far_odd;
        to[4][lane] = far_even - far_odd;
        to[5][lane] = c;
    }
    to
}

/// `G g` for 16 weights of two rows.
fn transform_few([a, b]: [Lanes; 2]) -> [Lanes; FEW_PARTS] {
    let half = |sign: f32| std::array::from_fn(|lane| 0.5 * (a[lane] + sign * b[lane]));
    [a, half(1.0), half(-1.0), b]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convolution::Convolution;
    use crate::images::clear;
    use crate::layout::Border;
    use crate::raw::{Isa, with_workers};
    use proptest::prelude::*;

    /// Values in -1..1 that look random.
    fn noise(len: usize, seed: usize) -> Vec<f32> {
        let value = |index: usize| {
            let mixed = (index + 1).wrapping_mul(seed * 2 + 0x9e37_79b9).wrapping_mul(0x85eb_ca6b);
            ((mixed >> 16) % 20_011) as f32 / 10_005.5 - 1.0
        };
        (0..len).map(value).collect()
    }

    /// Images of noise, their border zero, as a range of the channels of wider pixels.
    #[derive(Clone)]
    struct Held {
        layout: ImageLayout,
        values: Vec<f32>,
    }

    impl Held {
        fn new(
            samples: usize,
            channels: usize,
            size: [usize; 2],
            border: Border,
            wider: usize,
            seed: usize,
        ) -> Self {
            let whole = ImageLayout::new(channels + wider, size[0], size[1], border).unwrap();
            let layout = whole.channel_range(wider.div_ceil(2), channels).unwrap();
            let mut values = vec![0.0; whole.len(samples).unwrap()];
            let noise = noise(samples * whole.values(), seed);
            with_workers(Isa::PORTABLE, |workers| {
                let to = ImagesMut::new(&mut values, &whole);
                crate::images::from_planes(workers, samples, &noise, to, Combine::Replace).unwrap();
            });
            Self { layout, values }
        }

        fn images(&self) -> Images<'_> {
            Images::new(&self.values, &self.layout)
        }

        /// A value, or zero outside.
        fn at(&self, sample: usize, row: isize, column: isize, channel: usize) -> f64 {
            let (height, width) = (self.layout.height() as isize, self.layout.width() as isize);
            if !(0..height).contains(&row) || !(0..width).contains(&column) {
                return 0.0;
            }
            f64::from(self.values[self.layout.index(sample, row as usize, column as usize) + channel])
        }
    }

    #[derive(Clone, Copy, Debug)]
    struct Case {
        /// Kernel and stride.
        form: [usize; 2],
        samples: usize,
        inputs: usize,
        outputs: usize,
        size: [usize; 2],
        padding: usize,
        wider: [usize; 2],
        add: bool,
        bias: bool,
        mask: bool,
    }

    /// How far sums of `terms` products of values up to 1 may be off. Each of the additions of such a sum
    /// rounds by at most 6e-8 of what it has reached, which is far below `terms`: with signs at random it
    /// stays near the root of it, and errors cancel too, so that 6e-8 a term is ample for plain sums.
    /// The sums before and after the products add up to 25 times the largest product where plain sums add
    /// up 3 (the largest row sum of |A'| (|G| 1 . |B'| 1)): that is the factor of their rounding.
    fn tolerance(terms: usize) -> f64 {
        6e-8 * 25.0 / 3.0 * (terms + 10) as f64
    }

    /// Calls `visit` with each sample, row, column and channel of images.
    fn every(samples: usize, layout: &ImageLayout, mut visit: impl FnMut(usize, usize, usize, usize)) {
        for sample in 0..samples {
            for row in 0..layout.height() {
                for column in 0..layout.width() {
                    (0..layout.channels()).for_each(|channel| visit(sample, row, column, channel));
                }
            }
        }
    }

    /// Compares images with what is expected of sums, and all around them with what was there.
    #[allow(clippy::too_many_arguments)] // All that makes a result.
    fn check_images(
        case: Case,
        what: &str,
        before: &Held,
        after: &Held,
        mask: &Held,
        bias: &[f32],
        sum: impl Fn(usize, isize, isize, usize) -> f64,
        terms: usize,
    ) {
        let mut rest = (before.values.clone(), after.values.clone());
        every(case.samples, &before.layout, |s, y, x, c| {
            let mut expected = sum(s, y as isize, x as isize, c);
            expected += if case.add { before.at(s, y as isize, x as isize, c) } else { 0.0 };
            expected += if case.bias { f64::from(bias[c]) } else { 0.0 };
            expected *= if expected > 0.0 { 1.0 } else { 0.2 };
            let masked = case.mask && mask.at(s, y as isize, x as isize, c) <= 0.0;
            expected *= if masked { 0.3 } else { 1.0 };
            let found = after.at(s, y as isize, x as isize, c);
            assert!(
                (found - expected).abs() < tolerance(terms),
                "{what} {case:?} at {:?}: {found} {expected}",
                (s, y, x, c)
            );
            let index = before.layout.index(s, y, x) + c;
            (rest.0[index], rest.1[index]) = (0.0, 0.0);
        });
        assert_eq!(rest.0, rest.1, "{what} {case:?} writes elsewhere");
    }

    fn check(case: Case) {
        let Case { form: [kernel, stride], samples, inputs, outputs, size, padding, wider, .. } = case;
        let geometry = Convolution::new(kernel, stride, padding, inputs, outputs).unwrap();
        let least = if stride == 1 { LEAST_CHANNELS } else { LEAST_HALVING_CHANNELS };
        let worth = inputs.min(outputs) >= least;
        assert_eq!(geometry.packed_len() > 0, worth);
        let small_size = size.map(|size| (size + 2 * padding - kernel) / stride + 1);
        let borders = [geometry.input_border(size, small_size), geometry.output_border(size, small_size)];
        let large = Held::new(samples, inputs, size, borders[0], wider[0], 1);
        let small = Held::new(samples, outputs, small_size, borders[1], wider[1], 2);
        let masks = [
            Held::new(samples, inputs, size, Border::NONE, wider[1], 3),
            Held::new(samples, outputs, small_size, Border { before: 1, after: 0 }, wider[0], 4),
        ];
        let bias = noise(inputs.max(outputs), 5);
        let weights = {
            let mut weights = vec![0.0; geometry.weights_len()];
            let values = noise(outputs * inputs * kernel * kernel, 6);
            for (index, value) in values.into_iter().enumerate() {
                let (pair, r, c) = (index / kernel / kernel, index / kernel % kernel, index % kernel);
                let (o, i) = (pair / inputs, pair % inputs);
                weights[geometry.weight_index(o, i, r, c)] = value;
            }
            weights
        };
        let weight = |o, i, r: usize, c: usize| f64::from(weights[geometry.weight_index(o, i, r, c)]);
        let taps = || (0..kernel).flat_map(|r| (0..kernel).map(move |c| (r, c)));
        let (p, step) = (padding as isize, stride as isize);
        let epilogue = |mask: usize| Epilogue {
            combine: if case.add { Combine::Add } else { Combine::Replace },
            bias: case.bias.then_some(&bias[..]),
            slope: 0.2,
            rectifier: case.mask.then(|| Rectifier { images: masks[mask].images(), slope: 0.3 }),
        };
        for isa in Isa::available() {
            let run = |threads: usize| {
                let (mut to_small, mut to_large) = (small.clone(), large.clone());
                let mut gradient = vec![9.0; geometry.weights_len()];
                let mut scratch = vec![f32::NAN; geometry.gradient_scratch(samples)];
                let mut packed = vec![f32::NAN; geometry.packed_len()];
                let mut adjoint = vec![f32::NAN; geometry.adjoint_len()];
                let work = |workers: &Workers<'_>| {
                    geometry.pack(workers, &weights, &mut packed).unwrap();
                    geometry.pack_adjoint(workers, &weights, &mut adjoint).unwrap();
                    let to = ImagesMut::new(&mut to_small.values, &small.layout);
                    let from = large.images();
                    geometry
                        .forward_packed(workers, samples, from, &weights, &packed, to, epilogue(1))
                        .unwrap();
                    let to = ImagesMut::new(&mut to_large.values, &large.layout);
                    geometry.adjoint(workers, samples, small.images(), &adjoint, to, epilogue(0)).unwrap();
                    let (from, of) = (large.images(), small.images());
                    geometry
                        .weight_gradient(workers, samples, from, of, &mut gradient, &mut scratch)
                        .unwrap();
                };
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| with_workers(isa, work));
                (to_small, to_large, gradient)
            };
            let (to_small, to_large, gradient) = run(1);
            let others = run(3);
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert!(
                bits(&to_small.values) == bits(&others.0.values)
                    && bits(&to_large.values) == bits(&others.1.values)
                    && bits(&gradient) == bits(&others.2),
                "{case:?} depends on threads"
            );
            let sum = |s, y: isize, x: isize, o| {
                taps()
                    .flat_map(|(r, c)| (0..inputs).map(move |i| (r, c, i)))
                    .map(|(r, c, i)| {
                        let (y, x) = (y * step + r as isize - p, x * step + c as isize - p);
                        weight(o, i, r, c) * large.at(s, y, x, i)
                    })
                    .sum()
            };
            check_images(case, "forward", &small, &to_small, &masks[1], &bias, sum, kernel * kernel * inputs);
            let sum = |s, y: isize, x: isize, i| {
                taps()
                    .flat_map(|(r, c)| (0..outputs).map(move |o| (r, c, o)))
                    .map(|(r, c, o)| {
                        let (y, x) = (y + p - r as isize, x + p - c as isize);
                        let meets = y.rem_euclid(step) == 0 && x.rem_euclid(step) == 0;
                        let value = small.at(s, y.div_euclid(step), x.div_euclid(step), o);
                        if meets { weight(o, i, r, c) * value } else { 0.0 }
                    })
                    .sum()
            };
            check_images(
                case,
                "adjoint",
                &large,
                &to_large,
                &masks[0],
                &bias,
                sum,
                kernel * kernel / stride / stride * outputs,
            );
            for (r, c) in taps() {
                for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                    let mut expected = 0.0;
                    for s in 0..samples {
                        for y in 0..small_size[0] as isize {
                            for x in 0..small_size[1] as isize {
                                expected += small.at(s, y, x, o)
                                    * large.at(s, y * step + r as isize - p, x * step + c as isize - p, i);
                            }
                        }
                    }
                    let found = f64::from(gradient[geometry.weight_index(o, i, r, c)]);
                    let terms = samples * small_size[0] * small_size[1];
                    assert!(
                        (found - expected).abs() < tolerance(terms),
                        "gradient {case:?} {:?}: {found} {expected}",
                        (o, i, r, c)
                    );
                }
            }
        }
    }

    const PLAIN: Case = Case {
        form: [3, 1],
        samples: 1,
        inputs: 16,
        outputs: 16,
        size: [5, 7],
        padding: 1,
        wider: [0; 2],
        add: false,
        bias: false,
        mask: false,
    };

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 1 } else { 64 },
            failure_persistence: None,
            ..Default::default()
        })]

        #[test]
        fn all_three_operations_are_those_of_plain_loops(
            channels in prop::sample::select(vec![1, 3, 7, 8, 15, 16, 17, 24, 32, 33, 48]),
            outputs in prop::sample::select(vec![1, 7, 8, 16, 16, 17, 20, 32, 35]),
            (height, width, samples, padding) in (1_usize..14, 1_usize..22, 1_usize..4, 0_usize..3),
            wider in (0_usize..3, 0_usize..3),
            (add, bias, mask) in (any::<bool>(), any::<bool>(), any::<bool>()),
            form in prop::sample::select(vec![[3, 1], [4, 2]]),
        ) {
            prop_assume!(height.min(width) + 2 * padding >= form[0]);
            let (size, wider) = ([height, width], [wider.0, wider.1]);
            check(Case { form, samples, inputs: channels, outputs, size, padding, wider, add, bias, mask });
        }
    }

    #[test]
    fn no_samples_are_no_work() {
        let geometry = Convolution::new(3, 1, 1, 16, 16).unwrap();
        let layout = ImageLayout::new(16, 4, 4, Border { before: 1, after: 1 }).unwrap();
        let mut weights = vec![1.0; geometry.weights_len()];
        let packed = vec![0.0; geometry.packed_len()];
        with_workers(Isa::best(), |workers| {
            let (from, epilogue) = (Images::new(&[], &layout), Epilogue::default());
            let to = ImagesMut::new(&mut [], &layout);
            geometry.forward_packed(workers, 0, from, &weights, &packed, to, epilogue).unwrap();
            let mut scratch = vec![0.0; geometry.gradient_scratch(0)];
            geometry.weight_gradient(workers, 0, from, from, &mut weights, &mut scratch).unwrap();
            let to = ImagesMut::new(&mut [], &layout);
            let short = geometry.forward_packed(workers, 0, from, &weights, &packed[1..], to, epilogue);
            assert!(short.is_err());
        });
        assert!(weights.iter().all(|&value| value == 0.0));
    }

    #[test]
    fn images_larger_than_a_unit_are_cut() {
        if cfg!(miri) {
            return;
        }
        // Wide, high, with many weights, and the gradient of many inputs.
        for (inputs, outputs, size) in
            [(16, 16, [3, 330]), (16, 16, [139, 6]), (64, 65, [9, 5]), (128, 48, [6, 3]), (16, 17, [1, 1])]
        {
            check(Case { inputs, outputs, size, samples: 2, mask: true, ..PLAIN });
        }
        for (inputs, outputs, size) in
            [(16, 16, [5, 661]), (16, 16, [279, 7]), (64, 65, [18, 10]), (128, 48, [13, 6]), (16, 17, [2, 2])]
        {
            for samples in [1, 2] {
                check(Case { form: [4, 2], inputs, outputs, size, samples, mask: true, ..PLAIN });
            }
        }
    }

    /// A sample's results do not depend on the samples beside it.
    #[test]
    fn samples_do_not_depend_on_their_neighbours() {
        let geometry = Convolution::new(3, 1, 1, 20, 16).unwrap();
        let size = [11, 9];
        let border = geometry.input_border(size, size);
        let large = Held::new(3, 20, size, border, 0, 1);
        let dense = ImageLayout::new(16, size[0], size[1], Border::NONE).unwrap();
        let weights = noise(geometry.weights_len(), 2);
        for isa in Isa::available() {
            with_workers(isa, |workers| {
                let mut packed = vec![0.0; geometry.packed_len()];
                geometry.pack(workers, &weights, &mut packed).unwrap();
                let forward = |samples: usize, values: &[f32]| {
                    let mut to = vec![0.0; dense.len(samples).unwrap()];
                    let (from, to_images) =
                        (Images::new(values, &large.layout), ImagesMut::new(&mut to, &dense));
                    let epilogue = Epilogue::default();
                    geometry
                        .forward_packed(workers, samples, from, &weights, &packed, to_images, epilogue)
                        .unwrap();
                    to
                };
                let all = forward(3, &large.values);
                let one = large.layout.sample_stride();
                for sample in 0..3 {
                    let alone = forward(1, &large.values[sample * one..(sample + 1) * one]);
                    assert_eq!(alone, all[sample * dense.values()..(sample + 1) * dense.values()], "{isa:?}");
                }
            });
        }
    }

    /// The matrices round little: errors are within a few times those of the direct sums.
    #[test]
    fn rounding_is_within_a_few_times_that_of_direct_sums() {
        if cfg!(miri) {
            return;
        }
        let (channels, size) = (64, [16, 16]);
        let geometry = Convolution::new(3, 1, 1, channels, channels).unwrap();
        let border = geometry.input_border(size, size);
        let large = Held::new(1, channels, size, border, 0, 1);
        let mut small = Held::new(1, channels, size, Border::NONE, 0, 2);
        let weights = noise(geometry.weights_len(), 3);
        let mut packed = vec![0.0; geometry.packed_len()];
        with_workers(Isa::best(), |workers| {
            geometry.pack(workers, &weights, &mut packed).unwrap();
            clear(workers, 1, ImagesMut::new(&mut small.values, &small.layout)).unwrap();
            let (layout, epilogue) = (small.layout, Epilogue::default());
            let mut error = |packed: Option<&[f32]>| {
                let to = ImagesMut::new(&mut small.values, &layout);
                match packed {
                    Some(packed) => {
                        geometry.forward_packed(workers, 1, large.images(), &weights, packed, to, epilogue)
                    }
                    None => geometry.forward(workers, 1, large.images(), &weights, to, epilogue),
                }
                .unwrap();
                let (mut squares, mut scale) = (0.0, 0.0);
                every(1, &layout, |s, y, x, o| {
                    let mut exact = 0.0;
                    for (r, c) in (0..3).flat_map(|r| (0..3).map(move |c| (r, c))) {
                        for i in 0..channels {
                            exact += f64::from(weights[geometry.weight_index(o, i, r, c)])
                                * large.at(s, (y + r) as isize - 1, (x + c) as isize - 1, i);
                        }
                    }
                    squares += (exact - small.at(s, y as isize, x as isize, o)).powi(2);
                    scale += exact.powi(2);
                });
                (squares / scale).sqrt()
            };
            let (direct, transformed) = (error(None), error(Some(&packed)));
            println!("relative error {direct:e} direct, {transformed:e} by sums");
            assert!(direct < 1e-6 && transformed < 4.0 * direct, "{direct:e} {transformed:e}");
        });
    }
}
