//! The adjoint of a convolution, which is also the gradient of its input.

use super::rounded::rounded;
use super::terms::{finish, mask_layout, start_of, window_terms};
use super::{ConvolutionShape, Phases, check_mask};
use crate::bfloat16;
use crate::epilogue::Epilogue;
use crate::error::{KernelError, check_equal, check_len};
use crate::images::{Images, ImagesMut};
use crate::layout::LANES;
use crate::raw::{Axis, Gemm, Kind, Operands, Prefetch, TAPS, Workers};

impl ConvolutionShape {
    /// The adjoint of the convolution, from images of `outputs` channels to images of `inputs` channels.
    ///
    /// # Errors
    /// For layouts whose channels, sizes or borders do not fit, and slices that are too short.
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
        if let Some(col2im) = self.col2im() {
            return col2im.run(workers, samples, output, weights, input, epilogue);
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
                let product = Gemm {
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
                    prefetch: [Prefetch::NOTHING; 3],
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
}
