//! Convolution, its adjoint, and the gradient of its weights.
//!
//! A transposed convolution is the adjoint of a convolution, its data gradient is that convolution, and
//! the data gradient of a convolution is its adjoint: two directions and one weight gradient serve both
//! layers.

mod adjoint;
mod forward;
mod packing;
mod rounded;
mod terms;
mod weight_gradient;

use crate::bfloat16::{self, Precision};
use crate::col2im::Col2im;
use crate::epilogue::Epilogue;
use crate::error::{KernelError, check_equal, check_len};
use crate::images::Images;
use crate::layout::{Border, ImageLayout, LANES};
use crate::winograd::Winograd;

/// Fewest channels on both sides for which rounding to bfloat16 saves more time than it takes.
const LEAST_ROUNDED: usize = 16;

/// The shape of a cross-correlation of `inputs` to `outputs` channels with zero padding.
///
/// Weights are `[outputs / 16][row][column][inputs][16]`, zero beyond the last output: see
/// [`ConvolutionShape::weight_index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvolutionShape {
    kernel: usize,
    stride: usize,
    padding: usize,
    inputs: usize,
    outputs: usize,
    precision: Precision,
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

impl ConvolutionShape {
    /// A square kernel, stride, padding on each side, and channels.
    ///
    /// # Errors
    /// For zeros, and weights that do not fit the address space.
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

    /// With factors of another precision in [`ConvolutionShape::forward_packed`] and [`ConvolutionShape::adjoint`]. Weights
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

    /// The border that the smaller image (the output, or its gradient) needs in [`ConvolutionShape::adjoint`].
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

    /// How the adjoint is computed where few channels come out: see [`Col2im`].
    fn col2im(&self) -> Option<Col2im> {
        Col2im::new(self.kernel, self.stride, self.padding, self.inputs, self.outputs)
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

    /// The convolution of images whose words stand for two channels each.
    fn of_words(&self) -> Self {
        Self { inputs: bfloat16::words(self.inputs), precision: Precision::Single, ..*self }
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

fn check_mask(layout: &ImageLayout, samples: usize, epilogue: Epilogue<'_>) -> Result<(), KernelError> {
    if let Some(rectifier) = epilogue.rectifier {
        layout.check_same_size("the size of the rectified image", rectifier.images.layout)?;
        rectifier.images.layout.check("the rectified image", rectifier.images.values, samples)?;
    }
    Ok(())
}
