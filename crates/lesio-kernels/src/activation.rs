//! Functions of each value and their derivatives.
//!
//! The exponential is computed here, by the same operations in every lane and on every processor:
//! results do not depend on where in a row a value stands.

use crate::error::KernelError;
use crate::images::{Combine, Images, ImagesMut, Runs, for_rows};
use crate::raw::{Workers, vectorized};

/// A function of each value. NaN stays NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Function {
    /// `x` where positive, else `slope * x`.
    LeakyRelu {
        /// Slope for negative values.
        slope: f32,
    },
    /// `x * sigmoid(x)`.
    Silu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x * F(x)`, `F` the distribution function of the standard normal distribution.
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`, which approximates [`Function::Gelu`].
    GeluTanh,
}

/// Computes a function of each value.
///
/// # Errors
/// For images of different sizes and slices that are too short.
pub fn activate(
    workers: &Workers<'_>,
    samples: usize,
    function: Function,
    from: Images<'_>,
    to: ImagesMut<'_>,
) -> Result<(), KernelError> {
    to.layout.check_same_size("the size of the source", from.layout)?;
    from.layout.check("the source", from.values, samples)?;
    let runs = Runs::common([from.layout, to.layout, to.layout]);
    let isa = workers.isa();
    for_rows(workers, samples, to, |sample, row, to| {
        activate_row(isa, runs, function, from.row(sample, row), to);
    })
}

/// Computes the gradient with respect to the argument of a function from the gradient with respect to
/// its value, given the arguments and the values.
///
/// # Errors
/// For images of different sizes and slices that are too short.
#[allow(clippy::too_many_arguments)] // Four images.
pub fn activation_gradient(
    workers: &Workers<'_>,
    samples: usize,
    function: Function,
    arguments: Images<'_>,
    values: Images<'_>,
    from: Images<'_>,
    to: ImagesMut<'_>,
    combine: Combine,
) -> Result<(), KernelError> {
    // Derivatives of products with `x` need the argument; those of the others follow from the value.
    let known = match function {
        Function::Silu | Function::Gelu | Function::GeluTanh => arguments,
        _ => values,
    };
    for (what, images) in [("the known values", known), ("the gradient", from)] {
        to.layout.check_same_size(what, images.layout)?;
        images.layout.check(what, images.values, samples)?;
    }
    let runs = Runs::common([known.layout, from.layout, to.layout]);
    let isa = workers.isa();
    for_rows(workers, samples, to, |sample, row, to| {
        gradient_row(isa, runs, function, known.row(sample, row), from.row(sample, row), to, combine);
    })
}

vectorized! {
    fn activate_row(runs: Runs, function: Function, from: &[f32], to: &mut [f32]) {
        for [a, b, _] in runs.starts() {
            let pairs = to[b..b + runs.len].iter_mut().zip(&from[a..a + runs.len]);
            match function {
                Function::LeakyRelu { slope } => pairs.for_each(|(to, &x)| *to = if x > 0.0 { x } else { slope * x }),
                Function::Silu => pairs.for_each(|(to, &x)| *to = x * sigmoid(x)),
                Function::Sigmoid => pairs.for_each(|(to, &x)| *to = sigmoid(x)),
                Function::Tanh => pairs.for_each(|(to, &x)| *to = tanh(x)),
                Function::Gelu => pairs.for_each(|(to, &x)| *to = x * normal_distribution(x)),
                Function::GeluTanh => pairs.for_each(|(to, &x)| *to = x * tanh_gate(x)),
            }
        }
    }
}

vectorized! {
    fn gradient_row(runs: Runs, function: Function, known: &[f32], from: &[f32], to: &mut [f32], combine: Combine) {
        for [a, b, c] in runs.starts() {
            let (known, from) = (&known[a..a + runs.len], &from[b..b + runs.len]);
            let to = &mut to[c..c + runs.len];
            match function {
                Function::LeakyRelu { slope } => {
                    chain(known, from, to, combine, |y| if y > 0.0 { 1.0 } else { slope });
                }
                Function::Silu => chain(known, from, to, combine, |x| {
                    let s = sigmoid(x);
                    s + x * s * (1.0 - s)
                }),
                Function::Sigmoid => chain(known, from, to, combine, |y| y * (1.0 - y)),
                Function::Tanh => chain(known, from, to, combine, |y| 1.0 - y * y),
                Function::Gelu => chain(known, from, to, combine, |x| {
                    normal_distribution(x) + x * INVERSE_ROOT_TWO_PI * exp(-0.5 * x * x)
                }),
                Function::GeluTanh => chain(known, from, to, combine, |x| {
                    let gate = tanh_gate(x);
                    gate + x * 2.0 * gate * (1.0 - gate) * ROOT_TWO_OVER_PI * (1.0 + 3.0 * CUBIC * x * x)
                }),
            }
        }
    }
}

#[inline(always)]
fn chain(known: &[f32], from: &[f32], to: &mut [f32], combine: Combine, derivative: impl Fn(f32) -> f32) {
    let triples = to.iter_mut().zip(from).zip(known);
    match combine {
        Combine::Replace => triples.for_each(|((to, &from), &known)| *to = from * derivative(known)),
        Combine::Add => triples.for_each(|((to, &from), &known)| *to += from * derivative(known)),
    }
}

/// `exp(x)` for `x` up to 88; below -87 the result is about 1e-38. Relative error below 2e-7.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`: the Taylor polynomial of degree 7 of `exp(r)` is off by less
/// than 6e-9, the rest is rounding; `2^n` is put together from its bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // ln 2 in two parts; the first has few bits, so that its multiples are exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + coefficient;
    }
    // The low bits of `shifted` hold n in two's complement.
    let power = f32::from_bits((shifted.to_bits().wrapping_add(127)) << 23);
    sum * power
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent: its Taylor series by continued fraction near 0, by the exponential else.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let square = x * x;
    // Lambert's continued fraction, cut after five terms: below |x| = 0.6 it is off by less than 1e-8.
    let near = x * (945.0 + square * (105.0 + square)) / (945.0 + square * (420.0 + square * 15.0));
    let far = {
        let t = exp(-2.0 * x.abs());
        ((1.0 - t) / (1.0 + t)).copysign(x)
    };
    if x.abs() < 0.6 { near } else { far }
}

/// `1 / sqrt(2 pi)`
const INVERSE_ROOT_TWO_PI: f32 = 0.398_942_3;
/// `sqrt(2 / pi)`
const ROOT_TWO_OVER_PI: f32 = 0.797_884_6;
/// The factor of the cube in the approximation of GELU (Hendrycks, Gimpel 2016, arXiv:1606.08415).
const CUBIC: f32 = 0.044_715;

/// The distribution function of the standard normal distribution. Error below 2e-7.
///
/// Near 0 the Maclaurin series `1/2 + x / sqrt(2 pi) * sum (-x^2 / 2)^k / (k! (2 k + 1))`; else the density times the continued
/// fraction of Mills' ratio, `1 / (x + 1 / (x + 2 / (x + 3 / (x + ...))))`, which converges the sooner the larger `x`.
#[inline(always)]
pub(crate) fn normal_distribution(x: f32) -> f32 {
    let magnitude = x.abs();
    let near = {
        let half = -0.5 * x * x;
        let mut sum = 0.0;
        for coefficient in SERIES {
            sum = sum * half + coefficient;
        }
        0.5 + x * INVERSE_ROOT_TWO_PI * sum
    };
    let far = {
        let mut ratio = magnitude;
        for k in TERMS {
            ratio = magnitude + k / ratio;
        }
        let tail = INVERSE_ROOT_TWO_PI * exp(-0.5 * x * x) / ratio;
        if x > 0.0 { 1.0 - tail } else { tail }
    };
    if magnitude < 2.5 { near } else { far }
}

/// Where the continued fraction is cut, down to its beginning.
const TERMS: [f32; 16] =
    [16.0, 15.0, 14.0, 13.0, 12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0];

/// `1 / (k! (2 k + 1))` for k from 16 to 0.
const SERIES: [f32; 17] = series();

const fn series() -> [f32; 17] {
    let mut coefficients = [0.0; 17];
    let (mut k, mut factorial) = (0, 1.0f64);
    while k < 17 {
        if k > 0 {
            factorial *= k as f64;
        }
        coefficients[16 - k] = (1.0 / (factorial * (2 * k + 1) as f64)) as f32;
        k += 1;
    }
    coefficients
}

/// `1/2 (1 + tanh(u)) = sigmoid(2 u)` with the argument of [`Function::GeluTanh`].
#[inline(always)]
fn tanh_gate(x: f32) -> f32 {
    sigmoid(2.0 * ROOT_TWO_OVER_PI * (x + CUBIC * x * x * x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(approximate: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, low: f32, high: f32) -> f64 {
        (0..=200_000)
            .map(|i| low + (high - low) * i as f32 / 200_000.0)
            .map(|x| (f64::from(approximate(x)) / exact(f64::from(x)) - 1.0).abs())
            .filter(|error| !error.is_nan())
            .fold(0.0, f64::max)
    }

    #[test]
    fn functions_are_within_a_few_units_in_the_last_place() {
        let unit = f64::from(f32::EPSILON);
        assert!(worst(exp, f64::exp, -87.0, 88.0) < 1.6 * unit);
        assert!(worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -80.0, 80.0) < 3.0 * unit);
        assert!(worst(tanh, f64::tanh, -10.0, 10.0) < 3.0 * unit);
        assert!(worst(tanh, f64::tanh, -1e-3, 1e-3) < 3.0 * unit);
        let mut worst = 0f64;
        // From the left, step by step, by Simpson's rule.
        let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let (mut sum, step) = (0.0, 1.0 / 1024.0);
        for k in -8 * 1024..8 * 1024 {
            let x = f64::from(k) * step;
            worst = worst.max((f64::from(normal_distribution(x as f32)) - sum).abs());
            sum += step / 6.0 * (density(x) + 4.0 * density(x + 0.5 * step) + density(x + step));
        }
        assert!(worst < 2e-7, "{worst}");
    }

    #[test]
    fn extremes_saturate_and_nan_stays() {
        assert_eq!((sigmoid(f32::INFINITY), tanh(f32::INFINITY), tanh(-1e30)), (1.0, 1.0, -1.0));
        assert!(sigmoid(f32::NEG_INFINITY) < 1e-37 && sigmoid(-1e30) >= 0.0);
        assert_eq!((normal_distribution(f32::INFINITY), normal_distribution(-40.0) < 1e-30), (1.0, true));
        assert!(normal_distribution(f32::NAN).is_nan() && tanh_gate(f32::NAN).is_nan());
        assert!(exp(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
        assert_eq!((tanh(0.0), sigmoid(0.0), exp(0.0)), (0.0, 0.5, 1.0));
    }
}
