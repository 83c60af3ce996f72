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
//! form of a [`Gemm`]. The matrices belong to the points 0, +-1/sqrt 2, +-sqrt 2 and infinity; those
//! lie around 1 and so round better than whole numbers do.
//!
//! 4x4 convolutions of stride 2, and their adjoints with padding 1, are sums or sets of convolutions with two
//! rows of the kernel each, for the even and the odd rows. For these three rows of the output come from four
//! products, two thirds of the multiplications; the points are 0, +-1 and infinity.
//!
//! All is done for some columns of some groups of four rows at a time, so that the sums stay in the near
//! caches.

mod gradient;
#[cfg(test)]
mod tests;

use crate::epilogue::Epilogue;
use crate::error::{KernelError, check_len};
use crate::images::{Combine, Images, ImagesMut, Rectifier};
use crate::layout::{ImageLayout, LANES};
use crate::period::with_leftovers;
use crate::raw::{
    Axis, Bands, FEW_PARTS, FEW_ROWS, Finish, Gemm, Kind, PARTS, Pixels, Place, Prefetch, ROWS, Start, TAPS,
    Workers, sums_of_products, sums_of_source,
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
            let region = OutputRegion { sample: 0, row: 0, rows: height, column: 0, columns: width };
            return strip.run(workers, region, &mut to.values[layout.index(0, 0, 0)..]);
        }
        workers.bands(to.values, bands, |sample, band, values| {
            let first = band * rows;
            let end = (first + rows).min(height);
            for row in (first..end).step_by(unit.groups * each) {
                let values = &mut values[(row - first) * layout.row_stride()..];
                for column in (0..width).step_by(unit.columns) {
                    let region = OutputRegion {
                        sample,
                        row,
                        rows: (unit.groups * each).min(end - row),
                        column,
                        columns: unit.columns.min(width - column),
                    };
                    let values = &mut values[column * layout.pixel_stride()..];
                    if let Err(error) = strip.run(&Workers::alone(isa), region, values) {
                        failed.get_or_init(|| error);
                    }
                }
            }
        })?;
        failed.into_inner().map_or(Ok(()), Err)
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

/// A unit of work: some rows and columns of the output.
#[derive(Clone, Copy, Debug)]
struct OutputRegion {
    sample: usize,
    row: usize,
    rows: usize,
    column: usize,
    columns: usize,
}

impl Strip<'_> {
    /// Computes one unit; `to` begins with its first pixel.
    fn run(&self, workers: &Workers<'_>, region: OutputRegion, to: &mut [f32]) -> Result<(), KernelError> {
        let Winograd { inputs, .. } = self.winograd;
        let outputs = self.winograd.padded_outputs();
        let (each, parts) = (self.winograd.rows(), self.winograd.parts());
        let (stride, up, phases) = (self.winograd.stride(), self.winograd.up(), self.winograd.phases());
        let groups = region.rows.div_ceil(each * up);
        let positions = region.columns.div_ceil(up);
        // Not whole pages apart, so that they do not fall on the same lines of the nearest cache.
        let columns = self.winograd.extent(region.columns);
        let sums = phases * self.winograd.extent(positions * up) * inputs;
        let product = up * up * positions * outputs + LANES;
        let zeros = (columns - 1) * self.source.layout.pixel_stride() + inputs;
        let lens = [zeros, parts * groups * sums, parts * groups * product];
        with_leftovers(lens.iter().sum(), |scratch| {
            let (zeros, rest) = scratch.split_at_mut(lens[0]);
            let (sources, products) = rest.split_at_mut(lens[1]);
            if !region.rows.is_multiple_of(each * up) {
                zeros.fill(0.0);
            }
            let isa = workers.isa();
            let first = self.start
                + region.sample * self.source.layout.sample_stride()
                + region.row * stride / up * self.source.layout.row_stride()
                + region.column * stride / up * self.source.layout.pixel_stride();
            for (group, phase) in (0..groups).flat_map(|group| (0..phases).map(move |phase| (group, phase))) {
                let rows: [&[f32]; PARTS] = std::array::from_fn(|row| {
                    let row = (group * each + row) * stride + phase;
                    if row >= self.winograd.extent(region.rows) {
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
            let prefetch = self.prefetch(region, first, groups, to);
            self.product(region, groups, [sums, product], prefetch).run(
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
                let rows = each.min(region.rows.saturating_sub(row).div_ceil(up));
                let count = region.columns.saturating_sub(column).div_ceil(up);
                if rows == 0 || count == 0 {
                    continue;
                }
                let mask = self.epilogue.rectifier.map(|rectifier| {
                    let layout = rectifier.images.layout;
                    let first = layout.index(region.sample, region.row + row, region.column + column);
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
    fn prefetch(&self, region: OutputRegion, first: usize, groups: usize, to: &[f32]) -> [Prefetch; 3] {
        let (each, stride, up) = (self.winograd.rows(), self.winograd.stride(), self.winograd.up());
        let rows = |wanted: Prefetch, layout: &ImageLayout| Prefetch {
            outer: [up * layout.row_stride(), each * up * layout.row_stride()],
            inner: [layout.row_stride(), layout.pixel_stride()],
            column: up * layout.pixel_stride(),
            positions: each,
            ..wanted
        };
        let by_block = |wanted| Prefetch { by_block: true, ..wanted };
        let output = by_block(rows(Prefetch::of(to, 0), self.layout));
        let mask = self.epilogue.rectifier.map_or(Prefetch::NOTHING, |Rectifier { images, .. }| {
            let first = images.layout.index(region.sample, region.row, region.column);
            by_block(rows(Prefetch::of(images.values, first), images.layout))
        });
        let layout = self.source.layout;
        let next = first + (groups * each * stride + 2) * layout.row_stride();
        // Rows that follow one another at each position, or a part of a pixel in each phase.
        let values = (self.winograd.inputs * stride * stride).div_ceil(up * up);
        let source = Prefetch {
            outer: [stride * layout.row_stride(), each * stride * layout.row_stride()],
            inner: [up * values, values],
            column: layout.pixel_stride() * stride * stride,
            positions: each,
            values,
            ..Prefetch::of(self.source.values, next)
        };
        [output, mask, source]
    }

    fn product(
        &self,
        region: OutputRegion,
        groups: usize,
        [sums, product]: [usize; 2],
        prefetch: [Prefetch; 3],
    ) -> Gemm {
        let Winograd { inputs, form, .. } = self.winograd;
        let outputs = self.winograd.padded_outputs();
        let (stride, up) = (self.winograd.stride(), self.winograd.up());
        let positions = region.columns.div_ceil(up);
        let next_phase = sums / self.winograd.phases();
        let axis = |count, len| Axis { count, a: len * LANES, b: len, c: 0, mask: 0 };
        let terms = match form {
            Form::Plain => [Axis::ONCE, axis(TAPS, inputs), axis(inputs, 1)],
            Form::Halving => [Axis { b: next_phase, ..axis(2, 4 * inputs) }, Axis::ONCE, axis(4 * inputs, 1)],
            Form::Doubling => [Axis::ONCE, Axis::ONCE, axis(2 * inputs, 1)],
        };
        let c = positions * outputs;
        let phase = |a: usize, b, c| Axis { count: up, a: a * inputs * LANES, b, c, mask: 0 };
        Gemm {
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
            prefetch,
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
