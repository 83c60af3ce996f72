//! The Adam update of all parameters in one sweep.

use crate::error::{KernelError, check_equal};
use crate::raw::{Workers, vectorized};

/// One step of Adam (Kingma and Ba 2015, arXiv:1412.6980) with weight decay apart from the gradient
/// (Loshchilov and Hutter 2019, arXiv:1711.05101).
///
/// ```text
/// g = gradient_scale * gradient
/// m = beta1 * m + (1 - beta1) * g,   v = beta2 * v + (1 - beta2) * g^2
/// w = w - rate * (weight_decay * w + m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + epsilon))
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamUpdate {
    /// Learning rate.
    pub rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of each weight that is taken away, times the rate.
    pub weight_decay: f64,
    /// Number of this step, the first being 1, for the correction of the moments' bias to zero.
    pub step: u64,
    /// Factor of the gradient: 1, or less to clip its norm.
    pub gradient_scale: f64,
}

/// The factors of an update, computed once.
#[derive(Clone, Copy)]
struct Factors {
    gradient: f32,
    first: [f32; 2],
    second: [f32; 2],
    keep: f32,
    rate: f32,
    root: f32,
    epsilon: f32,
}

impl AdamUpdate {
    /// Updates weights and moments from gradients.
    ///
    /// Second moments are in single precision: they stay finite for gradients of up to 1e18, times `gradient_scale`. An
    /// infinite one would stop its weight for good.
    ///
    /// # Errors
    /// For slices of different lengths.
    pub fn apply(
        &self,
        workers: &Workers<'_>,
        weights: &mut [f32],
        gradients: &[f32],
        first_moments: &mut [f32],
        second_moments: &mut [f32],
    ) -> Result<(), KernelError> {
        for len in [gradients.len(), first_moments.len(), second_moments.len()] {
            check_equal("the number of values", len, weights.len())?;
        }
        let correction = |beta: f64| 1.0 - beta.powf(self.step as f64);
        let factors = Factors {
            gradient: self.gradient_scale as f32,
            first: [self.beta1 as f32, (1.0 - self.beta1) as f32],
            second: [self.beta2 as f32, (1.0 - self.beta2) as f32],
            keep: (1.0 - self.rate * self.weight_decay) as f32,
            rate: (self.rate / correction(self.beta1)) as f32,
            root: (1.0 / correction(self.beta2)) as f32,
            epsilon: self.epsilon as f32,
        };
        let isa = workers.isa();
        workers.chunks_of([weights, first_moments, second_moments], CHUNK, |index, [w, m, v]| {
            let first = index * CHUNK;
            update(isa, factors, w, &gradients[first..first + w.len()], m, v);
        });
        Ok(())
    }
}

/// Values of a chunk of work.
const CHUNK: usize = 1 << 14;

vectorized! {
    fn update(f: Factors, weights: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32]) {
        let len = weights.len();
        let (gradients, first, second) = (&gradients[..len], &mut first[..len], &mut second[..len]);
        for i in 0..len {
            let gradient = gradients[i] * f.gradient;
            let m = f.first[0] * first[i] + f.first[1] * gradient;
            let v = f.second[0] * second[i] + f.second[1] * gradient * gradient;
            first[i] = m;
            second[i] = v;
            weights[i] = weights[i] * f.keep - f.rate * m / ((v * f.root).sqrt() + f.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{Isa, with_workers};

    #[test]
    fn updates_follow_the_formula() {
        for isa in Isa::available() {
            let len = 40_003;
            let value = |i: usize, k: usize| ((i * k + 7) % 101) as f32 / 50.0 - 1.0;
            let mut w: Vec<f32> = (0..len).map(|i| value(i, 13)).collect();
            let g: Vec<f32> = (0..len).map(|i| value(i, 29)).collect();
            let mut m: Vec<f32> = (0..len).map(|i| value(i, 31)).collect();
            let mut v: Vec<f32> = (0..len).map(|i| value(i, 37).abs()).collect();
            let before = (w.clone(), m.clone(), v.clone());
            let update = AdamUpdate {
                rate: 1e-2,
                beta1: 0.9,
                beta2: 0.99,
                epsilon: 1e-8,
                weight_decay: 0.1,
                step: 3,
                gradient_scale: 0.5,
            };
            with_workers(isa, |workers| update.apply(workers, &mut w, &g, &mut m, &mut v)).unwrap();
            for i in 0..len {
                let gradient = 0.5 * f64::from(g[i]);
                let first = 0.9 * f64::from(before.1[i]) + 0.1 * gradient;
                let second = 0.99 * f64::from(before.2[i]) + 0.01 * gradient * gradient;
                let moved =
                    first / (1.0 - 0.9_f64.powi(3)) / ((second / (1.0 - 0.99_f64.powi(3))).sqrt() + 1e-8);
                let weight = f64::from(before.0[i]) * (1.0 - 1e-3) - 1e-2 * moved;
                assert!((f64::from(w[i]) - weight).abs() < 1e-5, "{isa:?} {i}: {} {weight}", w[i]);
                assert!((f64::from(m[i]) - first).abs() < 1e-6 && (f64::from(v[i]) - second).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn moments_of_steep_gradients_stay_finite() {
        for isa in Isa::available() {
            for (beta2, size) in [(0.0, 1e18_f32), (0.999, 1e18), (1.0 - 1e-9, -1e18)] {
                let (mut w, mut m, mut v) = ([1.0; 9], [0.0; 9], [0.0; 9]);
                for step in 1..=50 {
                    let update = AdamUpdate {
                        rate: 1e-2,
                        beta1: 0.9,
                        beta2,
                        epsilon: 1e-8,
                        weight_decay: 0.0,
                        step,
                        gradient_scale: 1.0,
                    };
                    with_workers(isa, |workers| update.apply(workers, &mut w, &[size; 9], &mut m, &mut v))
                        .unwrap();
                }
                let all = w.iter().chain(&m).chain(&v);
                assert!(all.copied().all(f32::is_finite), "{isa:?} {beta2}: {w:?} {m:?} {v:?}");
                // By about the rate in each step.
                assert!(w.iter().all(|w| (0.4..1.6).contains(w) && *w != 1.0), "{isa:?} {beta2}: {w:?}");
            }
        }
    }
}
