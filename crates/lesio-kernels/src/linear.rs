//! Linear layers: products with a matrix of `narrow` rows and `wide` columns.
//!
//! The longer side of the matrix lies along its rows, so that all three products run along it: from the
//! narrow side to the wide, from the wide to the narrow, and the outer product that is the gradient.

use crate::error::{KernelError, check_len};
use crate::layout::LANES;
use crate::raw::{Axis, Contraction, Finish, Gemm, Kind, Prefetch, Start, Workers, vectorized};

/// Samples for which the matrix is read anew for each.
const FEW: usize = 2;
/// Outputs of one item of work for these: runs of the matrix that are long enough for the processor to
/// fetch ahead, and sums that stay in the nearest cache.
const RUN: usize = 1024;

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
    /// For zeros, and matrices that do not fit the address space.
    pub fn new(narrow: usize, wide: usize) -> Result<Self, KernelError> {
        // Rows an odd number of cache lines apart: an even number, and above all a power of two, would put
        // the rows into few sets of the caches.
        let row = wide
            .checked_next_multiple_of(LANES)
            .and_then(|row| row.checked_add(if (row / LANES).is_multiple_of(2) { LANES } else { 0 }));
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
    /// For slices that are too short.
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
        if samples <= FEW {
            return self.expand_few(workers, samples, narrow, weights, wide, bias, slope);
        }
        let axis = |count, a, b, c| Axis { count, a, b, c, mask: 0 };
        let product = Gemm {
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
            prefetch: [Prefetch::NOTHING; 3],
        };
        product.run(workers, weights, narrow, wide, Finish { bias, slope, mask: None })
    }

    /// As `expand`, with the same sums in the same order, in an order of reading for few samples: the matrix
    /// then comes from far memory for each of them, and long runs of its rows come fastest.
    #[allow(clippy::too_many_arguments)] // As `expand`.
    fn expand_few(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        narrow: &[f32],
        weights: &[f32],
        wide: &mut [f32],
        bias: Option<&[f32]>,
        slope: f32,
    ) -> Result<(), KernelError> {
        check_len("the left operand", weights.len(), self.weights_len())?;
        check_len("the right operand", narrow.len(), samples * self.narrow)?;
        check_len("the output", wide.len(), samples * self.wide)?;
        check_len("the bias", bias.map_or(self.wide, <[f32]>::len), self.wide)?;
        let isa = workers.isa();
        let wide = wide[..samples * self.wide].chunks_exact_mut(self.wide);
        for (narrow, wide) in narrow.chunks_exact(self.narrow).zip(wide) {
            workers.chunks(wide, RUN, |index, sums| {
                let weights = &weights[index * RUN..];
                let bias = bias.map(|bias| &bias[index * RUN..][..sums.len()]);
                expand_run(isa, narrow, weights, self.row, sums, bias, slope, isa.fuses());
            });
        }
        Ok(())
    }

    /// `narrow[sample, n] = sum over w of wide[sample, w] * weights[n, w] (+ bias[n])`; then negative
    /// results are multiplied by `slope`.
    ///
    /// # Errors
    /// For slices that are too short.
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
    /// For slices that are too short.
    pub fn outer(
        &self,
        workers: &Workers<'_>,
        samples: usize,
        narrow: &[f32],
        wide: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), KernelError> {
        let axis = |count, a, b, c| Axis { count, a, b, c, mask: 0 };
        let product = Gemm {
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
            prefetch: [Prefetch::NOTHING; 3],
        };
        product.run(workers, wide, narrow, gradient, Finish::NOTHING)
    }
}

vectorized! {
    /// Sums rows of the matrix, each times its value of `narrow`; then bias and rectifier.
    fn expand_run(narrow: &[f32], weights: &[f32], row: usize, sums: &mut [f32], bias: Option<&[f32]>, slope: f32, fuse: bool) {
        sums.fill(0.0);
        // Two rows in one go: the sums are fetched and put down half as often.
        let mut rows = narrow.iter().zip(weights.chunks(row));
        while let Some((&first, a)) = rows.next() {
            let len = sums.len();
            let a = &a[..len];
            match rows.next() {
                Some((&second, b)) => {
                    for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(&b[..len]) {
                        *sum = multiply_add(b, second, multiply_add(a, first, *sum, fuse), fuse);
                    }
                }
                None => sums.iter_mut().zip(a).for_each(|(sum, &a)| *sum = multiply_add(a, first, *sum, fuse)),
            }
        }
        if let Some(bias) = bias {
            sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
        }
        if slope != 1.0 {
            sums.iter_mut().for_each(|sum| *sum = if *sum > 0.0 { *sum } else { *sum * slope });
        }
    }
}

/// `a * b + sum`, rounded as the kernels of the instruction set round it.
#[inline(always)]
fn multiply_add(a: f32, b: f32, sum: f32, fuse: bool) -> f32 {
    if fuse { a.mul_add(b, sum) } else { a * b + sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{Isa, with_workers};

    #[test]
    fn few_samples_give_the_same_bits_as_many() {
        for (narrow, wide) in [(1, 1), (3, 20), (7, 1030), (16, 2048)] {
            let linear = Linear::new(narrow, wide).unwrap();
            let value = |k: usize| ((k * 7919) % 1013) as f32 / 1013.0 - 0.5;
            let weights: Vec<f32> = (0..linear.weights_len()).map(value).collect();
            let bias: Vec<f32> = (0..wide).map(value).collect();
            let samples = FEW + 3;
            let values: Vec<f32> = (0..samples * narrow).map(value).collect();
            for isa in Isa::available() {
                for bias in [None, Some(&bias[..])] {
                    let mut all = vec![0.0; samples * wide];
                    let mut one = vec![0.0; wide];
                    with_workers(isa, |workers| {
                        linear.expand(workers, samples, &values, &weights, &mut all, bias, 0.3).unwrap();
                        for sample in 0..samples {
                            let values = &values[sample * narrow..][..narrow];
                            linear.expand(workers, 1, values, &weights, &mut one, bias, 0.3).unwrap();
                            assert_eq!(one, all[sample * wide..][..wide], "{isa:?} {narrow} {wide}");
                        }
                        let short = &values[..narrow - 1];
                        assert!(linear.expand(workers, 1, short, &weights, &mut one, bias, 0.3).is_err());
                    });
                }
            }
        }
    }
}
