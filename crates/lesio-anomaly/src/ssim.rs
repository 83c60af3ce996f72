//! Structural similarity.

use rayon::prelude::*;

/// Radius and standard deviation of the Gaussian window, and the constants for values of about
/// [0, 1]: those of Wang et al. 2004, "Image quality assessment".
const RADIUS: usize = 5;
const DEVIATION: f64 = 1.5;
const C1: f32 = 0.01 * 0.01;
const C2: f32 = 0.03 * 0.03;

/// `1 - SSIM` of each pixel of planes `[.., h, w]`, between 0 and 2. The window is cut at the border
/// and its weights scaled to sum to 1 there.
pub(crate) fn dissimilarity(x: &[f32], y: &[f32], height: usize, width: usize) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    let pixels = height * width;
    if pixels == 0 {
        return out;
    }
    out.par_chunks_exact_mut(pixels)
        .zip(x.par_chunks_exact(pixels).zip(y.par_chunks_exact(pixels)))
        .for_each(|(out, (x, y))| plane(out, x, y, height, width));
    out
}

fn plane(out: &mut [f32], x: &[f32], y: &[f32], height: usize, width: usize) {
    let product = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| a * b).collect() };
    let mean_x = blur(x, height, width);
    let mean_y = blur(y, height, width);
    let mean_xx = blur(&product(x, x), height, width);
    let mean_yy = blur(&product(y, y), height, width);
    let mean_xy = blur(&product(x, y), height, width);
    for k in 0..out.len() {
        let (mx, my) = (mean_x[k], mean_y[k]);
        let variances = (mean_xx[k] - mx * mx).max(0.0) + (mean_yy[k] - my * my).max(0.0);
        let covariance = mean_xy[k] - mx * my;
        let similarity =
            (2.0 * mx * my + C1) * (2.0 * covariance + C2) / ((mx * mx + my * my + C1) * (variances + C2));
        out[k] = 1.0 - similarity;
    }
}

fn blur(values: &[f32], height: usize, width: usize) -> Vec<f32> {
    let rows = pass(values, height, width, width, 1);
    pass(&rows, width, height, 1, width)
}

/// Blurs `lines` lines of `length` values, `line_step` apart, with `step` between values.
fn pass(values: &[f32], lines: usize, length: usize, line_step: usize, step: usize) -> Vec<f32> {
    let weights: Vec<f32> =
        (0..=RADIUS).map(|d| (-((d * d) as f64) / (2.0 * DEVIATION * DEVIATION)).exp() as f32).collect();
    let mut out = vec![0.0; values.len()];
    for at in 0..length {
        let from = at.saturating_sub(RADIUS);
        let to = (at + RADIUS).min(length - 1);
        let total: f32 = (from..=to).map(|other| weights[other.abs_diff(at)]).sum();
        for line in 0..lines {
            let sum: f32 = (from..=to)
                .map(|other| weights[other.abs_diff(at)] * values[line * line_step + other * step])
                .sum();
            out[line * line_step + at * step] = sum / total;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_images_are_similar_and_inverted_ones_are_not() {
        let x: Vec<f32> = (0..15 * 9).map(|k| ((k * 7) % 11) as f32 / 11.0).collect();
        assert!(dissimilarity(&x, &x, 15, 9).iter().all(|d| d.abs() < 1e-4));
        let inverted: Vec<f32> = x.iter().map(|v| 1.0 - v).collect();
        assert!(dissimilarity(&x, &inverted, 15, 9).iter().all(|d| *d > 1.0));
        assert_eq!(dissimilarity(&[0.5], &[0.5], 1, 1), [0.0]);
    }
}
