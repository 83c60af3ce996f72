//! Effects of the scanner: uneven sensitivity and noise.

use lesio_image::noise::SmoothNoise;
use ndarray::Array2;
use rand::RngExt;
use rand_distr::StandardNormal;

use crate::random::generator;

/// Multiplies by a smooth field of logarithmic standard deviation about `strength`, `height`
/// millimeters up.
pub(crate) fn add_bias(image: &mut Array2<f32>, seed: u64, strength: f64, pixel: f64, height: f64) {
    // Over some ten centimeters, as the sensitivity of head and body coils varies.
    let (rows, columns) = image.dim();
    let field = SmoothNoise::new(seed, 110.0).plane(rows, columns, pixel, height);
    let strength = strength as f32;
    image.zip_mut_with(&field, |value, &bias| *value *= (strength * bias).exp());
}

/// Makes every value the magnitude of a complex signal with Gaussian noise of deviation `sigma` in both
/// parts: Rician noise (Gudbjartsson and Patz 1995), which leaves a floor of 1.25 `sigma` in air.
pub(crate) fn add_rician_noise(image: &mut Array2<f32>, seed: u64, sigma: f64) {
    if sigma == 0.0 {
        return;
    }
    let mut generator = generator(seed);
    let sigma = sigma as f32;
    for value in image {
        let real: f32 = generator.sample(StandardNormal);
        let imaginary: f32 = generator.sample(StandardNormal);
        *value = (*value + sigma * real).hypot(sigma * imaginary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn air_shows_a_rayleigh_distribution() {
        let mut air = Array2::zeros((300, 300));
        add_rician_noise(&mut air, 9, 0.5);
        let mean = air.iter().map(|&v| f64::from(v)).sum::<f64>() / air.len() as f64;
        let expected = 0.5 * (std::f64::consts::PI / 2.0).sqrt();
        assert!((mean - expected).abs() < 0.005, "{mean} {expected}");
    }

    #[test]
    fn no_noise_and_no_bias_change_nothing() {
        let image = Array2::from_shape_fn((20, 30), |(i, j)| (i * 30 + j) as f32);
        let mut same = image.clone();
        add_rician_noise(&mut same, 1, 0.0);
        add_bias(&mut same, 1, 0.0, 1.0, 0.0);
        assert_eq!(same, image);
    }
}
