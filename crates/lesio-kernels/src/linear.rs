//! Linear layers: products with a matrix of `narrow` rows and `wide` columns.
//!
//! The longer side of the matrix lies along its rows, so that all three products run along it: from the
//! narrow side to the wide, from the wide to the narrow, and the outer product that is the gradient.

use crate::convolution::LANES;
use crate::error::{KernelError, check_len};
use crate::raw::{Axis, Contraction, Finish, Kind, Product, Start, Workers};

/// The shape of a matrix `[narrow][wide]`, its rows padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    narrow: usize,
    wide: usize,
    row: usize,
}

impl Linear {
    /// A matrix of `narrow` rows of `wide` values; best with `narrow <= wide`.
    ///
    /// # Errors
    /// Refuses zeros, and matrices that do not fit the address space.
    pub fn new(narrow: usize, wide: usize) -> Result<Self, KernelError> {
        // Rows an odd number of cache lines apart: an even number, and above all a power of two, would put
        // the rows into few sets of the caches.
        let row = wide
            .checked_next_multiple_of(LANES)
            .and_then(|row| row.checked_add(if row / LANES % 2 == 0 { LANES } else { 0 }));
        let row = row.filter(|row| row.checked_mul(narrow).is_some_and(|len| len <= isize::MAX as usize / 8));
        match row {
            Some(row) if narrow > 0 && wide > 0 => Ok(Self { narrow, wide, row }),
            _ => Err(KernelError::Size { what: "a linear layer" }),
        }
    }

    /// Number of values of the padded matrix.
    #[must_use]
    pub fn weights_len(&self) -> usize {
        self.narrow * self.row
    }

    /// Where an element of the matrix lies.
    #[must_use]
    pub fn weight_index(&self, narrow: usize, wide: usize) -> usize {
        narrow * self.row + wide
    }

    /// `wide[sample, w] = sum over n of narrow[sample, n] * weights[n, w] (+ bias[w])`; then negative
    /// results are multiplied by `slope`.
    ///
    /// # Errors
    /// Refuses slices that are too short.
    #[allow(clippy::too_many_arguments)] // Three matrices and what follows.
    pub fn expand(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        narrow: &[f32],
        weights: &[f32],
        wide: &mut [f32],
        bias: Option<&[f32]>,
        slope: f32,
    ) -> Result<(), KernelError> {
        let axis = |count, a, b, c| Axis { count, a, b, c, mask: 0 };
        let product = Product {
            lanes: self.wide,
            kind: Kind::Values,
            a_block: LANES,
            c_block: LANES,
            outer: [Axis::ONCE; 4],
            columns: axis(samples, 0, self.narrow, self.wide),
            terms: [Axis::ONCE, Axis::ONCE, axis(self.narrow, self.row, 1, 0)],
            part: [1, 1, self.narrow],
            separate_parts: false,
            first: [0; 3],
            start: Start::Replace,
        };
        product.run(workers, weights, narrow, wide, Finish { bias, slope, mask: None })
    }

    /// `narrow[sample, n] = sum over w of wide[sample, w] * weights[n, w] (+ bias[n])`; then negative
    /// results are multiplied by `slope`.
    ///
    /// # Errors
    /// Refuses slices that are too short.
    #[allow(clippy::too_many_arguments)] // Three matrices and what follows.
    pub fn contract(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        wide: &[f32],
        weights: &[f32],
        narrow: &mut [f32],
        bias: Option<&[f32]>,
        slope: f32,
    ) -> Result<(), KernelError> {
        if let Some(bias) = bias {
            check_len("the bias", bias.len(), self.narrow)?;
        }
        let contraction = Contraction {
            rows: self.narrow,
            samples,
            terms: self.wide,
            a_row: self.row,
            b_sample: self.wide,
            c_sample: self.narrow,
        };
        contraction.run(workers, weights, wide, narrow)?;
        for sample in narrow[..samples * self.narrow].chunks_exact_mut(self.narrow) {
            if let Some(bias) = bias {
                sample.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
            }
            if slope != 1.0 {
                sample
                    .iter_mut()
                    .for_each(|value| *value = if *value > 0.0 { *value } else { *value * slope });
            }
        }
        Ok(())
    }

    /// `gradient[n, w] = sum over samples of narrow[sample, n] * wide[sample, w]`, in their order.
    ///
    /// # Errors
    /// Refuses slices that are too short.
    pub fn outer(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        narrow: &[f32],
        wide: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), KernelError> {
        let axis = |count, a, b, c| Axis { count, a, b, c, mask: 0 };
        let product = Product {
            lanes: self.wide,
            kind: Kind::Weights,
            a_block: LANES,
            c_block: LANES,
            outer: [Axis::ONCE; 4],
            columns: axis(self.narrow, 0, 1, self.row),
            terms: [Axis::ONCE, Axis::ONCE, axis(samples, self.wide, self.narrow, 0)],
            part: [1, 1, samples],
            separate_parts: false,
            first: [0; 3],
            start: Start::Replace,
        };
        product.run(workers, wide, narrow, gradient, Finish::NOTHING)
    }
}
