//! Weights in the order in which the ways of computing a convolution read them.

use super::ConvolutionShape;
use crate::bfloat16;
use crate::error::{KernelError, check_len};
use crate::layout::LANES;
use crate::raw::Workers;

impl ConvolutionShape {
    /// Number of weights packed for [`ConvolutionShape::adjoint`].
    #[must_use]
    pub fn adjoint_len(&self) -> usize {
        if let Some(col2im) = self.col2im() {
            return col2im.weights_len();
        }
        if let Some(winograd) = self.winograd_adjoint() {
            return winograd.weights_len();
        }
        let outputs = if self.is_rounded() { bfloat16::words(self.outputs) } else { self.outputs };
        self.inputs.next_multiple_of(LANES) * self.kernel * self.kernel * outputs
    }

    /// Number of weights packed for [`ConvolutionShape::forward_packed`]: 0 where [`ConvolutionShape::forward`] reads
    /// the weights as they are and nothing is gained by packing them.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        if self.is_rounded() {
            return self.of_words().weights_len();
        }
        self.winograd_packed().map_or(0, |winograd| winograd.weights_len())
    }

    /// Packs weights for [`ConvolutionShape::forward_packed`].
    ///
    /// # Errors
    /// For slices that are too short.
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

    /// Packs weights for [`ConvolutionShape::adjoint`]: `[inputs / 16][phase][taps of the phase][outputs][16]`,
    /// zero beyond the last input, unless few channels come out or fewer multiplications do.
    ///
    /// # Errors
    /// For slices that are too short.
    pub fn pack_adjoint(
        &self,
        workers: &Workers<'_>,
        weights: &[f32],
        adjoint: &mut [f32],
    ) -> Result<(), KernelError> {
        check_len("the weights", weights.len(), self.weights_len())?;
        check_len("the weights of the adjoint", adjoint.len(), self.adjoint_len())?;
        if let Some(col2im) = self.col2im() {
            col2im.pack(adjoint, |output, input, row, column| {
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
}
