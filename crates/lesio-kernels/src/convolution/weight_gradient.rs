//! The gradient of a convolution's weights.

use super::ConvolutionShape;
use crate::epilogue::Epilogue;
use crate::error::{KernelError, check_len};
use crate::images::Images;
use crate::layout::LANES;
use crate::raw::{Axis, Finish, Gemm, Kind, Prefetch, Start, Workers, vectorized};
use crate::sums::GRADIENT_PARTS;

/// Pixels over which a weight gradient is summed before it is added to the others.
const PART_PIXELS: usize = 256;

impl ConvolutionShape {
    /// Number of values that [`ConvolutionShape::weight_gradient`] needs as scratch.
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

    /// The gradient of the weights, from the larger image and the gradient of the smaller (for a transposed
    /// convolution: the gradient of the larger and the smaller image), in the layout of the weights.
    /// Replaces the content of `gradient`.
    ///
    /// # Errors
    /// For layouts whose channels, sizes or borders do not fit, and slices that are too short.
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
            Gemm {
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
                prefetch: [Prefetch::NOTHING; 3],
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

    fn gradient_groups(&self, samples: usize) -> usize {
        (GRADIENT_PARTS / self.outputs.div_ceil(LANES)).clamp(1, samples.max(1))
    }
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
