//! 3x3 convolutions of stride 1 with half the multiplications, by Winograd's algorithm along the rows.
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
//! All is done for some columns of some groups of four rows at a time, so that the sums stay in the near
//! caches. Where these begin follows from the shapes alone.

use crate::convolution::{Epilogue, GRADIENT_PARTS, LANES};
use crate::error::{KernelError, check_len};
use crate::images::{Combine, Images, ImagesMut, Rectifier};
use crate::layout::ImageLayout;
use crate::period::with_leftovers;
use crate::raw::{
    Ahead, Axis, Bands, Finish, Kind, PARTS, Pixels, Place, Product, ROWS, Start, TAPS, Workers,
    sums_of_gradient, sums_of_products, sums_of_source, vectorized,
};

/// Least number of channels on either side: with fewer, sums cost more than they save.
const LEAST_CHANNELS: usize = 16;

/// Values of the sums and products that are worked on at once, where the weights leave them most of the
/// second cache and where they do not fit it themselves, and up to how many weights that is so.
const NEAR_ROOM: usize = 60_000;
const FAR_ROOM: usize = 100_000;
const NEAR_WEIGHTS: usize = 1 << 16;
/// Pairs of inputs and outputs whose gradients, 18 sums each, stay in the second cache.
const SLICE: usize = 1 << 12;
/// Pixels over which a gradient of weights is summed before it is added to the others.
const TERMS: usize = 128;

const ROOT: f32 = std::f32::consts::SQRT_2;

const THIRD: f32 = 1.0 / 3.0;
const SIXTH: f32 = 1.0 / 6.0;

type Lanes = [f32; LANES];

/// The channels of a 3x3 convolution of stride 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Winograd {
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
    /// If a convolution is of this kind and has enough channels.
    pub(crate) fn new(kernel: usize, stride: usize, inputs: usize, outputs: usize) -> Option<Self> {
        let worth = kernel == TAPS && stride == 1 && inputs.min(outputs) >= LEAST_CHANNELS;
        worth.then_some(Self { inputs, outputs })
    }

    fn padded_outputs(&self) -> usize {
        self.outputs.next_multiple_of(LANES)
    }

    /// Packed weights of a block of 16 outputs.
    fn block(&self) -> usize {
        PARTS * TAPS * self.inputs * LANES
    }

    /// Number of packed weights.
    pub(crate) fn weights_len(&self) -> usize {
        self.padded_outputs() / LANES * self.block()
    }

    /// Packs weights, given those of 16 outputs from a first one, for an input, row and column:
    /// `[outputs / 16][product][column][inputs][16]`.
    pub(crate) fn pack(
        &self,
        workers: &Workers<'_>,
        packed: &mut [f32],
        lanes: impl Fn(usize, usize, usize, usize) -> Lanes + Sync,
    ) {
        workers.chunks(&mut packed[..self.weights_len()], self.block(), |block, packed| {
            for column in 0..TAPS {
                for input in 0..self.inputs {
                    let rows = [0, 1, 2].map(|row| lanes(block * LANES, input, row, column));
                    for (part, values) in transform_weights(rows).into_iter().enumerate() {
                        let first = ((part * TAPS + column) * self.inputs + input) * LANES;
                        packed[first..first + LANES].copy_from_slice(&values);
                    }
                }
            }
        });
    }

    fn unit(&self, height: usize, width: usize) -> Unit {
        let channels = PARTS * (self.inputs + self.padded_outputs());
        let room = if self.weights_len() > NEAR_WEIGHTS { FAR_ROOM } else { NEAR_ROOM };
        let pieces = width.div_ceil((room / channels).max(LANES));
        let columns = width.div_ceil(pieces).next_multiple_of(LANES).min(width);
        let groups = (room / (channels * columns)).clamp(1, height.div_ceil(ROWS));
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
        let unit = self.unit(height, width);
        let isa = workers.isa();
        let groups = height.div_ceil(ROWS).div_ceil(unit.groups);
        // Units of a band: fewer where there would not be enough for all threads.
        let wanted = (4 * workers.threads()).div_ceil(samples).min(groups);
        let rows = groups.div_ceil(wanted) * unit.groups * ROWS;
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
        workers.bands(to.values, bands, |sample, band, values| {
            let first = band * rows;
            let strip = Strip { winograd: *self, source, start, weights, layout: &layout, epilogue };
            let end = (first + rows).min(height);
            for row in (first..end).step_by(unit.groups * ROWS) {
                let values = &mut values[(row - first) * layout.row_stride()..];
                for column in (0..width).step_by(unit.columns) {
                    let here = Here {
                        sample,
                        row,
                        rows: (unit.groups * ROWS).min(end - row),
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
    unit: Unit,
    /// Inputs that are worked on together, and how many such slices there are.
    slice: usize,
    slices: usize,
    /// Units of rows of all samples, how many of them are summed one after the other, and of how many such
    /// parts the sums are then added.
    bands: usize,
    units: usize,
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
        let groups = (TERMS / columns).clamp(1, height.div_ceil(ROWS));
        let bands = height.div_ceil(ROWS).div_ceil(groups);
        let units = samples * bands;
        let parts = self.most_parts().min(units.max(1));
        let per_part = units.div_ceil(parts).max(1);
        Cut {
            unit: Unit { groups, columns },
            slice,
            slices,
            bands,
            units,
            per_part,
            parts: units.div_ceil(per_part),
        }
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
            for unit in part * cut.per_part..((part + 1) * cut.per_part).min(cut.units) {
                let row = unit % cut.bands * cut.unit.groups * ROWS;
                for column in (0..width).step_by(cut.unit.columns) {
                    let here = Here {
                        sample: unit / cut.bands,
                        row,
                        rows: (cut.unit.groups * ROWS).min(height - row),
                        column,
                        columns: cut.unit.columns.min(width - column),
                    };
                    if let Err(error) = correlation.run(&workers, here, begun, sums) {
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
    inputs: std::ops::Range<usize>,
}

impl Correlation<'_> {
    /// Adds the terms of a unit to the sums, or replaces them if these have not `begun`.
    fn run(&self, workers: &Workers<'_>, here: Here, begun: bool, to: &mut [f32]) -> Result<(), KernelError> {
        let isa = workers.isa();
        let (source, output) = (self.source.layout, self.output.layout);
        let (inputs, outputs) = (self.inputs.len(), self.winograd.padded_outputs());
        let groups = here.rows.div_ceil(ROWS);
        // Not whole pages apart.
        let (sums, products) = ((here.columns + TAPS - 1) * inputs, here.columns * outputs + LANES);
        let spans = [
            (here.columns + TAPS - 2) * source.pixel_stride() + inputs,
            (here.columns - 1) * output.pixel_stride() + output.channels(),
        ];
        let lens = [spans[0].max(spans[1]), PARTS * groups * sums, PARTS * groups * products];
        with_leftovers(lens.iter().sum(), |scratch| {
            let (zeros, rest) = scratch.split_at_mut(lens[0]);
            let (sources, gradients) = rest.split_at_mut(lens[1]);
            if !here.rows.is_multiple_of(ROWS) {
                zeros.fill(0.0);
            }
            let first = self.start
                + here.sample * source.sample_stride()
                + here.row * source.row_stride()
                + here.column * source.pixel_stride()
                + self.inputs.start;
            for group in 0..groups {
                let rows: [&[f32]; PARTS] = std::array::from_fn(|row| {
                    let row = group * ROWS + row;
                    if row >= here.rows + TAPS - 1 {
                        return &zeros[..spans[0]];
                    }
                    &self.source.values[first + row * source.row_stride()..][..spans[0]]
                });
                let pixels =
                    Pixels { count: here.columns + TAPS - 1, step: source.pixel_stride(), channels: inputs };
                sums_of_source(isa, rows, pixels, &mut sources[group * sums..], groups * sums)?;
                let rows: [&[f32]; ROWS] = std::array::from_fn(|row| {
                    let row = group * ROWS + row;
                    if row >= here.rows {
                        return &zeros[..spans[1]];
                    }
                    let first = output.index(here.sample, here.row + row, here.column);
                    &self.output.values[first..][..spans[1]]
                });
                let pixels =
                    Pixels { count: here.columns, step: output.pixel_stride(), channels: output.channels() };
                let to = &mut gradients[group * products..];
                sums_of_gradient(isa, rows, pixels, to, groups * products)?;
            }
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
                    Axis { count: here.columns, a: outputs, b: inputs, c: 0, mask: 0 },
                ],
                part: [1, groups, here.columns],
                separate_parts: true,
                first: [0; 3],
                start: if begun { Start::Add } else { Start::Replace },
                ahead: [Ahead::NOTHING; 3],
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

/// A unit of work.
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
        let groups = here.rows.div_ceil(ROWS);
        // Not whole pages apart, so that the six do not fall on the same lines of the nearest cache.
        let sums = (here.columns + TAPS - 1) * inputs;
        let product = here.columns * outputs + LANES;
        let zeros = (here.columns + 1) * self.source.layout.pixel_stride() + inputs;
        let lens = [zeros, PARTS * groups * sums, PARTS * groups * product];
        with_leftovers(lens.iter().sum(), |scratch| {
            let (zeros, rest) = scratch.split_at_mut(lens[0]);
            let (sources, products) = rest.split_at_mut(lens[1]);
            if !here.rows.is_multiple_of(ROWS) {
                zeros.fill(0.0);
            }
            let isa = workers.isa();
            let first = self.start
                + here.sample * self.source.layout.sample_stride()
                + here.row * self.source.layout.row_stride()
                + here.column * self.source.layout.pixel_stride();
            for group in 0..groups {
                let rows: [&[f32]; PARTS] = std::array::from_fn(|row| {
                    let row = group * ROWS + row;
                    if row >= here.rows + TAPS - 1 {
                        return &zeros[..];
                    }
                    let first = first + row * self.source.layout.row_stride();
                    &self.source.values[first..first + zeros.len()]
                });
                let pixels = Pixels {
                    count: here.columns + TAPS - 1,
                    step: self.source.layout.pixel_stride(),
                    channels: inputs,
                };
                sums_of_source(isa, rows, pixels, &mut sources[group * sums..], groups * sums)?;
            }
            let ahead = self.ahead(here, first, groups, to);
            self.product(here, groups, [sums, product], ahead).run(
                workers,
                self.weights,
                sources,
                products,
                Finish::NOTHING,
            )?;
            for group in 0..groups {
                let rows = ROWS.min(here.rows - group * ROWS);
                let mask = self.epilogue.rectifier.map(|rectifier| {
                    let layout = rectifier.images.layout;
                    let first = layout.index(here.sample, here.row + group * ROWS, here.column);
                    (
                        &rectifier.images.values[first..],
                        [layout.row_stride(), layout.pixel_stride()],
                        rectifier.slope,
                    )
                });
                let place = Place {
                    rows,
                    row: self.layout.row_stride(),
                    pixels: Pixels {
                        count: here.columns,
                        step: self.layout.pixel_stride(),
                        channels: self.winograd.outputs,
                    },
                    add: self.epilogue.combine == Combine::Add,
                    bias: self.epilogue.bias,
                    slope: self.epilogue.slope,
                    mask,
                };
                let to = &mut to[group * ROWS * self.layout.row_stride()..];
                sums_of_products(isa, &products[group * product..], groups * product, to, &place)?;
            }
            Ok(())
        })
    }

    /// What is wanted after the product: the rows of the output and of the mask, and of the source for the
    /// next unit, which begins below this one.
    fn ahead(&self, here: Here, first: usize, groups: usize, to: &[f32]) -> [Ahead; 3] {
        let rows = |wanted: Ahead, layout: &ImageLayout| Ahead {
            outer: [layout.row_stride(), ROWS * layout.row_stride()],
            column: layout.pixel_stride(),
            positions: ROWS,
            ..wanted
        };
        let by_block = |wanted| Ahead { by_block: true, ..wanted };
        let output = by_block(rows(Ahead::of(to, 0), self.layout));
        let mask = self.epilogue.rectifier.map_or(Ahead::NOTHING, |Rectifier { images, .. }| {
            let first = images.layout.index(here.sample, here.row, here.column);
            by_block(rows(Ahead::of(images.values, first), images.layout))
        });
        let layout = self.source.layout;
        let next = first + (groups * ROWS + TAPS - 1) * layout.row_stride();
        let source =
            Ahead { values: self.winograd.inputs, ..rows(Ahead::of(self.source.values, next), layout) };
        [output, mask, source]
    }

    fn product(&self, here: Here, groups: usize, [sums, product]: [usize; 2], ahead: [Ahead; 3]) -> Product {
        let inputs = self.winograd.inputs;
        let outputs = self.winograd.padded_outputs();
        Product {
            lanes: outputs,
            kind: Kind::Values,
            a_block: self.winograd.block(),
            c_block: LANES,
            outer: [
                Axis {
                    count: PARTS,
                    a: TAPS * inputs * LANES,
                    b: groups * sums,
                    c: groups * product,
                    mask: 0,
                },
                Axis { count: groups, a: 0, b: sums, c: product, mask: 0 },
                Axis::ONCE,
                Axis::ONCE,
            ],
            columns: Axis { count: here.columns, a: 0, b: inputs, c: outputs, mask: 0 },
            terms: [
                Axis::ONCE,
                Axis { count: TAPS, a: inputs * LANES, b: inputs, c: 0, mask: 0 },
                Axis { count: inputs, a: LANES, b: 1, c: 0, mask: 0 },
            ],
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
