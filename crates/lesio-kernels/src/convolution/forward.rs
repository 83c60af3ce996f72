//! The convolution itself.

use super::ConvolutionShape;
use super::rounded::rounded;
use super::terms::{finish, mask_layout, start_of, window_terms};
use crate::epilogue::Epilogue;
use crate::error::{KernelError, check_len};
use crate::images::{Images, ImagesMut};
use crate::layout::LANES;
use crate::raw::{Axis, Gemm, Kind, Operands, Prefetch, Workers};

impl ConvolutionShape {
    /// The convolution of images of `inputs` channels; the size of the output follows its layout.
    ///
    /// # Errors
    /// For layouts whose channels, sizes or borders do not fit, and slices that are too short.
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

    /// Like [`ConvolutionShape::forward`], with weights that [`ConvolutionShape::pack`] packed; `weights` are those that
    /// it packed, for convolutions that are better computed from them.
    ///
    /// # Errors
    /// Those of [`ConvolutionShape::forward`].
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
        let product = Gemm {
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
            prefetch: [Prefetch::NOTHING; 3],
        };
        let product = product.in_parts();
        product.run_on(operands, workers, weights, input.values, output.values, finish(epilogue))
    }
}
