//! What the processor can do in f32: a product of two large matrices.

#![allow(unsafe_code, reason = "the gemm crate has no safe interface; see the one block below")]

use crate::tensors::Tensors;
use crate::{Case, Result};

const SIZE: usize = 2048;

/// The product of two matrices of 2048x2048 values by the gemm crate, on all of rayon's threads.
#[derive(Clone, Debug)]
pub(crate) struct Sgemm {
    factors: [Vec<f32>; 2],
    product: Vec<f32>,
}

impl Sgemm {
    pub(crate) fn new() -> Self {
        let factor = |phase: f32| (0..SIZE * SIZE).map(|i| (i as f32 * 0.37 + phase).sin()).collect();
        Self { factors: [factor(0.0), factor(1.0)], product: vec![0.0; SIZE * SIZE] }
    }
}

impl Case for Sgemm {
    fn run(&mut self) -> Result<()> {
        let [left, right] = &self.factors;
        let row = SIZE as isize;
        // SAFETY: all three matrices are row-major of SIZE x SIZE values, as allocated in `new` and
        // never resized; the product is borrowed mutably and overlaps no factor.
        unsafe {
            gemm::gemm(
                SIZE,
                SIZE,
                SIZE,
                self.product.as_mut_ptr(),
                1,
                row,
                false,
                left.as_ptr(),
                1,
                row,
                right.as_ptr(),
                1,
                row,
                0.0_f32,
                1.0_f32,
                false,
                false,
                false,
                gemm::Parallelism::Rayon(0),
            );
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensors> {
        self.run()?;
        let mut tensors = Tensors::default();
        tensors.insert("product", &[SIZE, SIZE], &self.product);
        Ok(tensors)
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some((SIZE as u64).pow(3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_right_at_a_corner() -> Result<()> {
        let mut case = Sgemm::new();
        case.run()?;
        let [left, right] = &case.factors;
        let last = SIZE - 1;
        let expected: f64 =
            (0..SIZE).map(|k| f64::from(left[last * SIZE + k]) * f64::from(right[k * SIZE + last])).sum();
        assert!((f64::from(case.product[SIZE * SIZE - 1]) - expected).abs() < 1e-2);
        Ok(())
    }
}
