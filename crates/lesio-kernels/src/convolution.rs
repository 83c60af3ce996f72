//! Convolution, its adjoint, and the gradient of its weights.
//!
//! A transposed convolution is the adjoint of a convolution, its data gradient is that convolution, and
//! the data gradient of a convolution is its adjoint: two directions and one weight gradient serve both
//! layers.

use crate::bfloat16::{self, Precision};
use crate::error::{KernelError, check_equal, check_len};
use crate::images::{Combine, Images, ImagesMut, Rectifier};
use crate::layout::{Border, ImageLayout, LANES};
use crate::period::with_leftovers;
use crate::raw::{Ahead, Axis, Finish, Kind, Mask, Operands, Product, Start, TAPS, Workers, vectorized};
use crate::scatter::Scatter;
use crate::winograd::Winograd;

/// Terms of a sum after which the partial sums are put down: the weights of so many terms of two blocks
/// of lanes fill half of a first-level cache.
const PART_TERMS: usize = 256;

/// Pixels over which a weight gradient is summed before it is added to the others.
const PART_PIXELS: usize = 256;

/// Fewest channels on both sides for which rounding to bfloat16 saves more time than it takes.
const LEAST_ROUNDED: usize = 16;

/// Least number of independent parts into which a weight gradient is cut, by blocks of channels and by
/// samples. Fixed, so that sums do not depend on the number of threads.
pub(crate) const GRADIENT_PARTS: usize = 16;

/// The shape of a cross-correlation of `inputs` to `outputs` channels with zero padding.
///
/// Weights are `[outputs / 16][row][column][inputs][16]`, zero beyond the last output: see
/// [`Convolution::weight_index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    kernel: usize,
    stride: usize,
    padding: usize,
    inputs: usize,
    outputs: usize,
    precision: Precision,
}

/// What is done with a result before it is written.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// Whether the result replaces the output or is added to it.
    pub combine: Combine,
    /// Added to each channel.
    pub bias: Option<&'a [f32]>,
    /// Negative results are multiplied by this; 1 changes nothing, 0 is the rectified linear unit.
    pub slope: f32,
    /// The result is a gradient and is multiplied by the derivative of a rectifier.
    pub rectifier: Option<Rectifier<'a>>,
}

impl Default for Epilogue<'_> {
    /// Replaces the output, nothing else.
    fn default() -> Self {
        Self { combine: Combine::Replace, bias: None, slope: 1.0, rectifier: None }
    }
}

/// Positions along one axis of the larger image whose windows meet the same taps.
///
/// With stride 2, even and odd positions are two phases; where both have as many taps and positions,
/// they are one group with a loop of two.
#[derive(Clone, Copy, Debug)]
struct Phases {
    first: usize,
    count: usize,
    taps: usize,
    positions: usize,
    /// Position in the smaller image of the first tap of position 0, and how far the next phase moves it.
    start: isize,
    step: usize,
    /// Taps of all phases before.
    taps_before: usize,
}

impl Convolution {
    /// A square kernel, stride, padding on each side, and channels.
    ///
    /// # Errors
    /// Refuses zeros, and weights that do not fit the address space.
    pub fn new(
        kernel: usize,
        stride: usize,
        padding: usize,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self, KernelError> {
        let largest = inputs.max(outputs).checked_next_multiple_of(LANES);
        let fits = largest
            .and_then(|channels| channels.checked_mul(channels))
            .and_then(|pairs| pairs.checked_mul(kernel.checked_mul(kernel)?))
            .is_some_and(|len| len <= isize::MAX as usize / 8);
        if kernel == 0 || stride == 0 || inputs == 0 || outputs == 0 || !fits {
            return Err(KernelError::Size { what: "a convolution" });
        }
        Ok(Self { kernel, stride, padding, inputs, outputs, precision: Precision::Single })
    }

    /// With factors of another precision in [`Convolution::forward_packed`] and [`Convolution::adjoint`]. Weights
    /// must be packed anew; their gradient is computed in `f32` always.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Whether factors are rounded: not where half the multiplications in `f32` take as little time.
    fn is_rounded(&self) -> bool {
        self.precision == Precision::Bfloat16
            && self.inputs.min(self.outputs) >= LEAST_ROUNDED
            && self.winograd().is_none()
    }

    /// Rows and columns of the kernel.
    #[must_use]
    pub fn kernel(&self) -> usize {
        self.kernel
    }

    /// Number of packed weights.
    #[must_use]
    pub fn weights_len(&self) -> usize {
        self.outputs.next_multiple_of(LANES) * self.kernel * self.kernel * self.inputs
    }

    /// Number of weights packed for [`Convolution::adjoint`].
    #[must_use]
    pub fn adjoint_len(&self) -> usize {
        if let Some(scatter) = self.scatter() {
            return scatter.weights_len();
        }
        if let Some(winograd) = self.winograd_adjoint() {
            return winograd.weights_len();
        }
        let outputs = if self.is_rounded() { bfloat16::words(self.outputs) } else { self.outputs };
        self.inputs.next_multiple_of(LANES) * self.kernel * self.kernel * outputs
    }

    /// Where the weight of an output, an input and a tap lies.
    #[must_use]
    pub fn weight_index(&self, output: usize, input: usize, row: usize, column: usize) -> usize {
        let block = (output / LANES * self.kernel + row) * self.kernel + column;
        (block * self.inputs + input) * LANES + output % LANES
    }

    /// The border that the larger image (the input) needs for an output of `height` rows and `width`
    /// columns, in all three operations.
    #[must_use]
    pub fn input_border(&self, input: [usize; 2], output: [usize; 2]) -> Border {
        let after = |input: usize, output: usize| {
            ((output - 1) * self.stride + self.kernel).saturating_sub(self.padding + input)
        };
        Border { before: self.padding, after: after(input[0], output[0]).max(after(input[1], output[1])) }
    }

    /// The border that the smaller image (the output, or its gradient) needs in [`Convolution::adjoint`].
    #[must_use]
    pub fn output_border(&self, input: [usize; 2], output: [usize; 2]) -> Border {
        let mut border = Border::NONE;
        for (input, output) in input.into_iter().zip(output) {
            for phases in self.phases(input) {
                if phases.taps == 0 {
                    continue;
                }
                let last = phases.start
                    + ((phases.count - 1) * phases.step + phases.positions + phases.taps) as isize
                    - 2;
                let before = usize::try_from(-phases.start).unwrap_or(0);
                let after = usize::try_from(last - (output as isize - 1)).unwrap_or(0);
                border = border.union(Border { before, after });
            }
        }
        border
    }

    /// How the adjoint is computed where few channels come out: see [`Scatter`].
    fn scatter(&self) -> Option<Scatter> {
        Scatter::new(self.kernel, self.stride, self.padding, self.inputs, self.outputs)
    }

    /// How the convolution is computed where half the multiplications do.
    fn winograd(&self) -> Option<Winograd> {
        Winograd::new(self.kernel, self.stride, self.inputs, self.outputs)
    }

    /// How its weights are packed: as above, or where two thirds of the multiplications do.
    fn winograd_packed(&self) -> Option<Winograd> {
        self.winograd().or_else(|| Winograd::halving(self.kernel, self.stride, self.inputs, self.outputs))
    }

    /// The same for the adjoint, which is a convolution of `outputs` to `inputs` channels.
    fn winograd_adjoint(&self) -> Option<Winograd> {
        let Self { kernel, stride, padding, inputs, outputs, .. } = *self;
        if self.is_rounded() {
            return None;
        }
        Winograd::new(kernel, stride, outputs, inputs)
            .or_else(|| Winograd::doubling(kernel, stride, padding, outputs, inputs))
    }

    /// Number of weights packed for [`Convolution::forward_packed`]: 0 where [`Convolution::forward`] reads
    /// the weights as they are and nothing is gained by packing them.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        if self.is_rounded() {
            return self.of_words().weights_len();
        }
        self.winograd_packed().map_or(0, |winograd| winograd.weights_len())
    }

    /// The convolution of images whose words stand for two channels each.
    fn of_words(&self) -> Self {
        Self { inputs: bfloat16::words(self.inputs), precision: Precision::Single, ..*self }
    }

    /// Packs weights for [`Convolution::forward_packed`].
    ///
    /// # Errors
    /// Refuses slices that are too short.
    pub fn pack(
        &self,
        workers: &Workers<'_>,
        weights: &[f32],
        packed: &mut [f32],
    ) -> Result<(), KernelError> {
        check_len("the weights", weights.len(), self.weights_len())?;
        check_len("the packed weights", packed.len(), self.packed_len())?;
        let lanes = |output, input, row, column| {
            let mut lanes = [0.0; LANES];
            if input < self.inputs {
                let first = self.weight_index(output, input, row, column);
                lanes.copy_from_slice(&weights[first..first + LANES]);
            }
            lanes
        };
        if self.is_rounded() {
            let words = self.of_words().inputs;
            let len = self.packed_len();
            workers.chunks(&mut packed[..len], words * LANES, |tap, packed| {
                let (block, row) = (tap / self.kernel / self.kernel, tap / self.kernel % self.kernel);
                for (word, to) in packed.chunks_exact_mut(LANES).enumerate() {
                    let lanes = |input| lanes(block * LANES, input, row, tap % self.kernel);
                    to.copy_from_slice(&bfloat16::lanes(&lanes(word), &lanes(word + words)));
                }
            });
        } else if let Some(winograd) = self.winograd_packed() {
            winograd.pack(workers, packed, lanes);
        }
        Ok(())
    }

    /// Phases of the `size` positions along an axis of the larger image.
    fn phases(&self, size: usize) -> Vec<Phases> {
        let mut all: Vec<Phases> = Vec::new();
        let mut taps_before = 0;
        for first in 0..self.stride {
            let tap = (first + self.padding) % self.stride;
            let taps = self.kernel.saturating_sub(tap).div_ceil(self.stride);
            let start = ((first + self.padding) / self.stride) as isize - taps.saturating_sub(1) as isize;
            let positions = size.saturating_sub(first).div_ceil(self.stride);
            if positions > 0 {
                let phase = Phases { first, count: 1, taps, positions, start, step: 0, taps_before };
                match all.last_mut() {
                    Some(last)
                        if last.count == 1
                            && last.taps == taps
                            && last.positions == positions
                            && start >= last.start =>
                    {
                        last.count = 2;
                        last.step = (start - last.start) as usize;
                    }
                    _ => all.push(phase),
                }
            }
            taps_before += taps;
        }
        all
    }

    /// Packs weights for [`Convolution::adjoint`]: `[inputs / 16][phase][taps of the phase][outputs][16]`,
    /// zero beyond the last input, unless few channels come out or fewer multiplications do.
    ///
    /// # Errors
    /// Refuses slices that are too short.
    pub fn pack_adjoint(
        &self,
        workers: &Workers<'_>,
        weights: &[f32],
        adjoint: &mut [f32],
    ) -> Result<(), KernelError> {
        check_len("the weights", weights.len(), self.weights_len())?;
        check_len("the weights of the adjoint", adjoint.len(), self.adjoint_len())?;
        if let Some(scatter) = self.scatter() {
            scatter.pack(adjoint, |output, input, row, column| {
                weights[self.weight_index(output, input, row, column)]
            });
            return Ok(());
        }
        if let Some(winograd) = self.winograd_adjoint() {
            // Lanes are inputs; the larger tap meets the smaller position.
            winograd.pack(workers, adjoint, |first, output, row, column| {
                let mut lanes = [0.0; LANES];
                let count = (self.inputs - first).min(LANES);
                let from = self.weight_index(output, first, self.kernel - 1 - row, self.kernel - 1 - column);
                let values = weights[from..].iter().step_by(LANES);
                lanes[..count].iter_mut().zip(values).for_each(|(to, &from)| *to = from);
                lanes
            });
            return Ok(());
        }
        // Taps along an axis in the order of the packed phases; within a phase the larger tap meets the
        // smaller position.
        let phase = |first: usize| {
            let tap = (first + self.padding) % self.stride;
            let taps = self.kernel.saturating_sub(tap).div_ceil(self.stride);
            (0..taps).rev().map(move |index| tap + index * self.stride).collect::<Vec<_>>()
        };
        let phases: Vec<Vec<usize>> = (0..self.stride).map(phase).collect();
        let taps: Vec<(usize, usize)> = phases
            .iter()
            .flat_map(|rows| phases.iter().map(move |columns| (rows, columns)))
            .flat_map(|(rows, columns)| {
                rows.iter().flat_map(|&row| columns.iter().map(move |&column| (row, column)))
            })
            .collect();
        let lanes = |output: usize, block: usize, (row, column): (usize, usize)| {
            let mut lanes = [0.0; LANES];
            if output < self.outputs {
                let inputs = (self.inputs - block * LANES).min(LANES);
                let values = weights[self.weight_index(output, block * LANES, row, column)..].iter();
                let values = values.step_by(LANES);
                lanes[..inputs].iter_mut().zip(values).for_each(|(to, &from)| *to = from);
            }
            lanes
        };
        let words = if self.is_rounded() { bfloat16::words(self.outputs) } else { self.outputs };
        let len = self.adjoint_len();
        workers.chunks(&mut adjoint[..len], words * LANES, |index, packed| {
            let (block, tap) = (index / taps.len(), taps[index % taps.len()]);
            for (output, to) in packed.chunks_exact_mut(LANES).enumerate() {
                let own = lanes(output, block, tap);
                to.copy_from_slice(&match self.is_rounded() {
                    true => bfloat16::lanes(&own, &lanes(output + words, block, tap)),
                    false => own,
                });
            }
        });
        Ok(())
    }

    /// The convolution of images of `inputs` channels; the size of the output follows its layout.
    ///
    /// # Errors
    /// Refuses layouts whose channels, sizes or borders do not fit, and slices that are too short.
    pub fn forward(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        input: Images<'_>,
        weights: &[f32],
        output: ImagesMut<'_>,
        epilogue: Epilogue<'_>,
    ) -> Result<(), KernelError> {
        check_len("the weights", weights.len(), self.weights_len())?;
        self.check_operands(samples, input, output.layout, output.values.len(), epilogue)?;
        self.correlate(workers, Operands::Single, samples, input, weights, output, epilogue)
    }

    /// The convolution by products as its definition has them.
    #[allow(clippy::too_many_arguments)] // Those of `forward`.
    fn correlate(
        &self,
        workers: &Workers<'_>,
        operands: Operands,
        samples: usize,
        input: Images<'_>,
        weights: &[f32],
        output: ImagesMut<'_>,
        epilogue: Epilogue<'_>,
    ) -> Result<(), KernelError> {
        let (large, small) = (input.layout, output.layout);
        let start = self.window_start(large, small)?;
        let mask = mask_layout(small, epilogue);
        let k = self.kernel;
        let product = Product {
            lanes: self.outputs,
            kind: Kind::Values,
            a_block: k * k * self.inputs * LANES,
            c_block: LANES,
            outer: [
                Axis {
                    count: samples,
                    a: 0,
                    b: large.sample_stride(),
                    c: small.sample_stride(),
                    mask: mask.sample_stride(),
                },
                Axis {
                    count: small.height(),
                    a: 0,
                    b: self.stride * large.row_stride(),
                    c: small.row_stride(),
                    mask: mask.row_stride(),
                },
                Axis::ONCE,
                Axis::ONCE,
            ],
            columns: Axis {
                count: small.width(),
                a: 0,
                b: self.stride * large.pixel_stride(),
                c: small.pixel_stride(),
                mask: mask.pixel_stride(),
            },
            terms: window_terms([k, k], self.stride, large),
            part: [0; 3],
            separate_parts: false,
            first: [0, start, small.index(0, 0, 0)],
            start: start_of(epilogue.combine),
            ahead: [Ahead::NOTHING; 3],
        };
        let product = product.in_parts();
        product.run_on(operands, workers, weights, input.values, output.values, finish(epilogue))
    }

    /// As [`Convolution::forward`], with weights that [`Convolution::pack`] packed; `weights` are those that
    /// it packed, for convolutions that are better computed from them.
    ///
    /// # Errors
    /// As [`Convolution::forward`].
    #[allow(clippy::too_many_arguments)] // Those of `forward`, and the packed weights.
    pub fn forward_packed(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        input: Images<'_>,
        weights: &[f32],
        packed: &[f32],
        output: ImagesMut<'_>,
        epilogue: Epilogue<'_>,
    ) -> Result<(), KernelError> {
        if self.is_rounded() {
            check_len("the packed weights", packed.len(), self.packed_len())?;
            self.check_operands(samples, input, output.layout, output.values.len(), epilogue)?;
            let words = self.of_words();
            return rounded(
                workers,
                samples,
                input,
                output,
                epilogue,
                |workers, samples, from, to, epilogue| {
                    words.correlate(workers, Operands::Pairs, samples, from, packed, to, epilogue)
                },
            );
        }
        let Some(winograd) = self.winograd_packed() else {
            return self.forward(workers, samples, input, weights, output, epilogue);
        };
        check_len("the packed weights", packed.len(), self.packed_len())?;
        self.check_operands(samples, input, output.layout, output.values.len(), epilogue)?;
        let start = self.window_start(input.layout, output.layout)?;
        winograd.run(workers, samples, input, start, packed, output, epilogue)
    }

    /// The adjoint of the convolution, from images of `outputs` channels to images of `inputs` channels.
    ///
    /// # Errors
    /// Refuses layouts whose channels, sizes or borders do not fit, and slices that are too short.
    pub fn adjoint(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        output: Images<'_>,
        weights: &[f32],
        input: ImagesMut<'_>,
        epilogue: Epilogue<'_>,
    ) -> Result<(), KernelError> {
        let (large, small) = (input.layout, output.layout);
        check_len("the weights of the adjoint", weights.len(), self.adjoint_len())?;
        check_equal("the number of channels", large.channels(), self.inputs)?;
        check_equal("the number of channels", small.channels(), self.outputs)?;
        small.check("the source", output.values, samples)?;
        large.check("the output", input.values, samples)?;
        check_mask(large, samples, epilogue)?;
        if let Some(scatter) = self.scatter() {
            return scatter.run(workers, samples, output, weights, input, epilogue);
        }
        if let Some(winograd) = self.winograd_adjoint() {
            // The window of a position begins so many positions before it.
            let before = if self.stride == 1 { (TAPS - 1) as isize - self.padding as isize } else { 1 };
            let border = KernelError::Border { what: "the source" };
            let needed = self.output_border([large.height(), large.width()], [small.height(), small.width()]);
            if small.border().after < needed.after {
                return Err(border);
            }
            let start = small.index_before(before, before).ok_or(border)?;
            return winograd.run(workers, samples, output, start, weights, input, epilogue);
        }
        if self.is_rounded() {
            let words = Self { outputs: bfloat16::words(self.outputs), ..*self };
            return rounded(
                workers,
                samples,
                output,
                input,
                epilogue,
                |workers, samples, from, to, epilogue| {
                    words.spread(workers, Operands::Pairs, samples, from, weights, to, epilogue)
                },
            );
        }
        self.spread(workers, Operands::Single, samples, output, weights, input, epilogue)
    }

    /// The adjoint by products as its definition has them.
    #[allow(clippy::too_many_arguments)] // Those of `adjoint`.
    fn spread(
        &self,
        workers: &Workers<'_>,
        operands: Operands,
        samples: usize,
        output: Images<'_>,
        weights: &[f32],
        input: ImagesMut<'_>,
        epilogue: Epilogue<'_>,
    ) -> Result<(), KernelError> {
        let (large, small) = (input.layout, output.layout);
        let mask = mask_layout(large, epilogue);
        let (stride, tap) = (self.stride, self.outputs * LANES);
        for rows in self.phases(large.height()) {
            for columns in self.phases(large.width()) {
                let taps = rows.taps * columns.taps;
                let a = (rows.taps_before * self.kernel + rows.taps * columns.taps_before) * tap;
                let b = match taps {
                    0 => 0,
                    _ => small
                        .index_before(-rows.start, -columns.start)
                        .ok_or(KernelError::Border { what: "the source" })?,
                };
                let last = |phases: &Phases| {
                    phases.start
                        + ((phases.count - 1) * phases.step + phases.positions + phases.taps) as isize
                        - 2
                };
                if taps > 0
                    && (last(&rows) >= (small.height() + small.border().after) as isize
                        || last(&columns) >= (small.width() + small.border().after) as isize)
                {
                    return Err(KernelError::Border { what: "the source" });
                }
                let product = Product {
                    lanes: self.inputs,
                    kind: Kind::Values,
                    a_block: self.kernel * self.kernel * tap,
                    c_block: LANES,
                    outer: [
                        Axis {
                            count: samples,
                            a: 0,
                            b: small.sample_stride(),
                            c: large.sample_stride(),
                            mask: mask.sample_stride(),
                        },
                        Axis {
                            count: rows.positions,
                            a: 0,
                            b: small.row_stride(),
                            c: stride * large.row_stride(),
                            mask: stride * mask.row_stride(),
                        },
                        Axis {
                            count: rows.count,
                            a: rows.taps * self.kernel * tap,
                            b: rows.step * small.row_stride(),
                            c: large.row_stride(),
                            mask: mask.row_stride(),
                        },
                        Axis {
                            count: columns.count,
                            a: taps * tap,
                            b: columns.step * small.pixel_stride(),
                            c: large.pixel_stride(),
                            mask: mask.pixel_stride(),
                        },
                    ],
                    columns: Axis {
                        count: columns.positions,
                        a: 0,
                        b: small.pixel_stride(),
                        c: stride * large.pixel_stride(),
                        mask: stride * mask.pixel_stride(),
                    },
                    terms: window_terms([rows.taps, columns.taps], 1, small),
                    part: [0; 3],
                    separate_parts: false,
                    first: [a, b, large.index(0, rows.first, columns.first)],
                    start: start_of(epilogue.combine),
                    ahead: [Ahead::NOTHING; 3],
                };
                let mut finish = finish(epilogue);
                if let Some(finish) = &mut finish.mask {
                    finish.first = mask.index(0, rows.first, columns.first);
                }
                let product = product.in_parts();
                product.run_on(operands, workers, weights, output.values, input.values, finish)?;
            }
        }
        Ok(())
    }

    /// Number of values that [`Convolution::weight_gradient`] needs as scratch.
    #[must_use]
    pub fn gradient_scratch(&self, samples: usize) -> usize {
        if let Some(winograd) = self.winograd() {
            return winograd.gradient_scratch();
        }
        match self.gradient_groups(samples) {
            1 => 0,
            groups => groups * self.weights_len(),
        }
    }

    fn gradient_groups(&self, samples: usize) -> usize {
        (GRADIENT_PARTS / self.outputs.div_ceil(LANES)).clamp(1, samples.max(1))
    }

    /// The gradient of the weights, from the larger image and the gradient of the smaller (for a transposed
    /// convolution: the gradient of the larger and the smaller image), in the layout of the weights.
    /// Replaces what `gradient` held.
    ///
    /// # Errors
    /// Refuses layouts whose channels, sizes or borders do not fit, and slices that are too short.
    pub fn weight_gradient(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        input: Images<'_>,
        output: Images<'_>,
        gradient: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), KernelError> {
        let (large, small) = (input.layout, output.layout);
        let len = self.weights_len();
        check_len("the gradient", gradient.len(), len)?;
        self.check_operands(samples, input, small, output.values.len(), Epilogue::default())?;
        let start = self.window_start(large, small)?;
        let gradient = &mut gradient[..len];
        if samples == 0 {
            gradient.fill(0.0);
            return Ok(());
        }
        if let Some(winograd) = self.winograd() {
            return winograd.weight_gradient(workers, samples, input, start, output, gradient, scratch);
        }
        let k = self.kernel;
        let groups = self.gradient_groups(samples);
        check_len("the scratch", scratch.len(), self.gradient_scratch(samples))?;
        // Groups of equally many samples, and one of the rest.
        let per_group = samples.div_ceil(groups);
        let (whole, rest) = (samples / per_group, samples % per_group);
        let product = |first_group: usize, groups: usize, per_group: usize| {
            let first = first_group * samples.div_ceil(self.gradient_groups(samples));
            let (columns, taps) = if large.pixel_stride() == self.inputs {
                (k * self.inputs, Axis::ONCE)
            } else {
                (
                    self.inputs,
                    Axis { count: k, a: 0, b: large.pixel_stride(), c: self.inputs * LANES, mask: 0 },
                )
            };
            Product {
                lanes: self.outputs,
                kind: Kind::Weights,
                a_block: LANES,
                c_block: k * k * self.inputs * LANES,
                outer: [
                    Axis {
                        count: groups,
                        a: per_group * small.sample_stride(),
                        b: per_group * large.sample_stride(),
                        c: len,
                        mask: 0,
                    },
                    Axis { count: k, a: 0, b: large.row_stride(), c: k * self.inputs * LANES, mask: 0 },
                    taps,
                    Axis::ONCE,
                ],
                columns: Axis { count: columns, a: 0, b: 1, c: LANES, mask: 0 },
                terms: [
                    Axis {
                        count: per_group,
                        a: small.sample_stride(),
                        b: large.sample_stride(),
                        c: 0,
                        mask: 0,
                    },
                    Axis {
                        count: small.height(),
                        a: small.row_stride(),
                        b: self.stride * large.row_stride(),
                        c: 0,
                        mask: 0,
                    },
                    Axis {
                        count: small.width(),
                        a: small.pixel_stride(),
                        b: self.stride * large.pixel_stride(),
                        c: 0,
                        mask: 0,
                    },
                ],
                part: [1, PART_PIXELS.div_ceil(small.width()), small.width()],
                separate_parts: true,
                first: [
                    first * small.sample_stride() + small.index(0, 0, 0),
                    first * large.sample_stride() + start,
                    first_group * len,
                ],
                start: Start::Replace,
                ahead: [Ahead::NOTHING; 3],
            }
        };
        let target = if groups == 1 { &mut *gradient } else { &mut *scratch };
        product(0, whole, per_group).run(workers, output.values, input.values, target, Finish::NOTHING)?;
        if rest > 0 {
            product(whole, 1, rest).run(workers, output.values, input.values, target, Finish::NOTHING)?;
        }
        if groups > 1 {
            let parts = &scratch[..len * (whole + usize::from(rest > 0))];
            let isa = workers.isa();
            workers.chunks(gradient, 1 << 12, |index, sum| add_parts(isa, sum, &parts[index << 12..], len));
        }
        Ok(())
    }

    /// Index in the larger image of the first tap of the first window.
    fn window_start(&self, large: &ImageLayout, small: &ImageLayout) -> Result<usize, KernelError> {
        let border = large.border();
        let needed = self.input_border([large.height(), large.width()], [small.height(), small.width()]);
        if border.before < needed.before || border.after < needed.after {
            return Err(KernelError::Border { what: "the input" });
        }
        let padding = self.padding as isize;
        large.index_before(padding, padding).ok_or(KernelError::Border { what: "the input" })
    }

    fn check_operands(
        &self,
        samples: usize,
        large: Images<'_>,
        small: &ImageLayout,
        small_len: usize,
        epilogue: Epilogue<'_>,
    ) -> Result<(), KernelError> {
        check_equal("the number of channels", large.layout.channels(), self.inputs)?;
        check_equal("the number of channels", small.channels(), self.outputs)?;
        large.layout.check("the input", large.values, samples)?;
        check_len("the output", small_len, small.len(samples)?)?;
        check_mask(small, samples, epilogue)
    }
}

/// Calls `work` with some samples at a time, the source's channels joined in pairs: each thread with samples of its
/// own, which it finds in its caches, or all with all, where there are few.
fn rounded(
    workers: &Workers<'_>,
    samples: usize,
    from: Images<'_>,
    to: ImagesMut<'_>,
    epilogue: Epilogue<'_>,
    work: impl Fn(&Workers<'_>, usize, Images<'_>, ImagesMut<'_>, Epilogue<'_>) -> Result<(), KernelError> + Sync,
) -> Result<(), KernelError> {
    let words = bfloat16::layout(from.layout)?;
    let some = |workers: &Workers<'_>, first: usize, count: usize, values: &mut [f32]| {
        with_leftovers(words.len(count)?, |joined| {
            bfloat16::join(workers, first..first + count, from, &words, joined)?;
            let mut epilogue = epilogue;
            if let Some(Rectifier { images, .. }) = &mut epilogue.rectifier {
                images.values = &images.values[first * images.layout.sample_stride()..];
            }
            work(workers, count, Images::new(joined, &words), ImagesMut::new(values, to.layout), epilogue)
        })
    };
    let threads = workers.threads();
    if samples < 2 * threads {
        return some(workers, 0, samples, to.values);
    }
    let each = bfloat16::samples_at_once(&words).min(samples.div_ceil(4 * threads));
    let stride = to.layout.sample_stride();
    let (failed, isa) = (std::sync::OnceLock::new(), workers.isa());
    workers.chunks(&mut to.values[..samples * stride], each * stride, |chunk, values| {
        let first = chunk * each;
        if let Err(error) = some(&Workers::alone(isa), first, each.min(samples - first), values) {
            failed.get_or_init(|| error);
        }
    });
    failed.into_inner().map_or(Ok(()), Err)
}

fn check_mask(layout: &ImageLayout, samples: usize, epilogue: Epilogue<'_>) -> Result<(), KernelError> {
    if let Some(rectifier) = epilogue.rectifier {
        layout.check_same_size("the size of the rectified image", rectifier.images.layout)?;
        rectifier.images.layout.check("the rectified image", rectifier.images.values, samples)?;
    }
    Ok(())
}

vectorized! {
    /// Sums `parts[0], parts[stride], ...` in their order.
    fn add_parts(sum: &mut [f32], parts: &[f32], stride: usize) {
        let len = sum.len();
        sum.copy_from_slice(&parts[..len]);
        for part in parts.chunks(stride).skip(1) {
            for (sum, value) in sum.iter_mut().zip(&part[..len.min(part.len())]) {
                *sum += value;
            }
        }
    }
}

/// The sum over a window and its channels: in two loops, if the channels of its columns lie side by side,
/// unless a sliding tile needs the columns by themselves. `step` is how far the next window is.
fn window_terms([rows, columns]: [usize; 2], step: usize, image: &ImageLayout) -> [Axis; 3] {
    let channels = image.channels();
    let axis = |count, a, b| Axis { count, a: a * LANES, b, c: 0, mask: 0 };
    let slides = step == 1 && columns == TAPS;
    if image.pixel_stride() == channels && !slides {
        [axis(rows, columns * channels, image.row_stride()), Axis::ONCE, axis(columns * channels, 1, 1)]
    } else {
        [
            axis(rows, columns * channels, image.row_stride()),
            axis(columns, channels, image.pixel_stride()),
            axis(channels, 1, 1),
        ]
    }
}

impl Product {
    /// With sums cut so that the weights of a part stay in the nearest cache.
    pub(crate) fn in_parts(mut self) -> Self {
        let [rows, columns, inner] = self.terms.map(|axis| axis.count.max(1));
        self.part = if inner * columns * rows <= PART_TERMS {
            [rows, columns, inner]
        } else if inner * columns <= PART_TERMS {
            [PART_TERMS / (inner * columns), columns, inner]
        } else if columns == TAPS {
            let most = PART_TERMS / TAPS;
            [1, TAPS, inner.div_ceil(inner.div_ceil(most))]
        } else if inner <= PART_TERMS {
            [1, PART_TERMS / inner, inner]
        } else {
            [1, 1, inner.div_ceil(inner.div_ceil(PART_TERMS))]
        };
        self
    }
}

fn start_of(combine: Combine) -> Start {
    match combine {
        Combine::Replace => Start::Replace,
        Combine::Add => Start::Add,
    }
}

fn mask_layout<'a>(output: &'a ImageLayout, epilogue: Epilogue<'a>) -> &'a ImageLayout {
    epilogue.rectifier.map_or(output, |rectifier| rectifier.images.layout)
}

fn finish(epilogue: Epilogue<'_>) -> Finish<'_> {
    Finish {
        bias: epilogue.bias,
        slope: epilogue.slope,
        mask: epilogue.rectifier.map(|rectifier| Mask {
            values: rectifier.images.values,
            first: rectifier.images.layout.index(0, 0, 0),
            slope: rectifier.slope,
        }),
    }
}
