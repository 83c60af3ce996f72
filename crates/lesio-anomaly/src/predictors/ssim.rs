//! Structural similarity.

use crate::channels::compare_planes;

/// Radius and standard deviation of the Gaussian window, and the constants for values of [0, 1]: those of Wang et al. 2004,
/// "Image quality assessment".
const RADIUS: usize = 5;
const DEVIATION: f64 = 1.5;
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// `1 - SSIM` of each pixel of two images with planes `[.., h, w]`, whose values are brought from a range to [0, 1]; between
/// 0 and 2 for values in the range. The window is cut at the border and its weights scaled to sum to 1 there.
///
/// Moments are taken in f64: in f32 the variance of a bright, flat region would be lost in rounding.
pub(crate) fn dissimilarity([x, y]: [&[f32]; 2], range: [f32; 2], height: usize, width: usize) -> Vec<f32> {
    compare_planes([x, y], height * width, |out, pair| plane(out, pair, range, height, width))
}

fn plane(out: &mut [f32], [x, y]: [&[f32]; 2], range: [f32; 2], height: usize, width: usize) {
    let [low, high] = range.map(f64::from);
    let scaled = |value: f32| (f64::from(value) - low) / (high - low);
    let mean_of = |value: &dyn Fn(f64, f64) -> f64| {
        let values: Vec<f64> = x.iter().zip(y).map(|(&x, &y)| value(scaled(x), scaled(y))).collect();
        blur(&values, height, width)
    };
    let (mean_x, mean_y) = (mean_of(&|x, _| x), mean_of(&|_, y| y));
    let (mean_xx, mean_yy, mean_xy) =
        (mean_of(&|x, _| x * x), mean_of(&|_, y| y * y), mean_of(&|x, y| x * y));
    for k in 0..out.len() {
        let (mx, my) = (mean_x[k], mean_y[k]);
        let variances = (mean_xx[k] - mx * mx).max(0.0) + (mean_yy[k] - my * my).max(0.0);
        let covariance = mean_xy[k] - mx * my;
        let similarity =
            (2.0 * mx * my + C1) * (2.0 * covariance + C2) / ((mx * mx + my * my + C1) * (variances + C2));
        out[k] = (1.0 - similarity) as f32;
    }
}

fn blur(values: &[f64], height: usize, width: usize) -> Vec<f64> {
    let rows = pass(values, height, width, width, 1);
    pass(&rows, width, height, 1, width)
}

/// Blurs `lines` lines of `length` values, `line_step` apart, with `step` between values.
fn pass(values: &[f64], lines: usize, length: usize, line_step: usize, step: usize) -> Vec<f64> {
    let weights: Vec<f64> =
        (0..=RADIUS).map(|d| (-((d * d) as f64) / (2.0 * DEVIATION * DEVIATION)).exp()).collect();
    let mut out = vec![0.0; values.len()];
    for at in 0..length {
        let from = at.saturating_sub(RADIUS);
        let to = (at + RADIUS).min(length - 1);
        let total: f64 = (from..=to).map(|other| weights[other.abs_diff(at)]).sum();
        for line in 0..lines {
            let sum: f64 = (from..=to)
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

    const UNIT: [f32; 2] = [0.0, 1.0];

    #[test]
    fn equal_images_are_similar_and_inverted_ones_are_not() {
        let x: Vec<f32> = (0..15 * 9).map(|k| ((k * 7) % 11) as f32 / 11.0).collect();
        assert!(dissimilarity([&x, &x], UNIT, 15, 9).iter().all(|d| d.abs() < 1e-4));
        let inverted: Vec<f32> = x.iter().map(|v| 1.0 - v).collect();
        assert!(dissimilarity([&x, &inverted], UNIT, 15, 9).iter().all(|d| *d > 1.0));
        assert_eq!(dissimilarity([&[0.5], &[0.5]], UNIT, 1, 1), [0.0]);
        assert!(dissimilarity([&[], &[]], UNIT, 0, 5).is_empty());
    }

    /// The definition, pixel by pixel: weighted moments of the window around each.
    fn defined(x: &[f32], y: &[f32], height: usize, width: usize) -> Vec<f64> {
        let mut out = Vec::new();
        for row in 0..height {
            for column in 0..width {
                let mut inside = Vec::new();
                for r in row.saturating_sub(5)..(row + 6).min(height) {
                    for c in column.saturating_sub(5)..(column + 6).min(width) {
                        let square = (r.abs_diff(row).pow(2) + c.abs_diff(column).pow(2)) as f64;
                        let at = r * width + c;
                        inside.push(((-square / 4.5).exp(), f64::from(x[at]), f64::from(y[at])));
                    }
                }
                let total: f64 = inside.iter().map(|(weight, _, _)| weight).sum();
                let mean = |f: &dyn Fn(f64, f64) -> f64| {
                    inside.iter().map(|&(weight, x, y)| weight * f(x, y)).sum::<f64>() / total
                };
                let (mx, my) = (mean(&|x, _| x), mean(&|_, y| y));
                let (vx, vy) = (mean(&|x, _| (x - mx).powi(2)), mean(&|_, y| (y - my).powi(2)));
                let covariance = mean(&|x, y| (x - mx) * (y - my));
                let similarity = (2.0 * mx * my + 1e-4) * (2.0 * covariance + 9e-4)
                    / ((mx * mx + my * my + 1e-4) * (vx + vy + 9e-4));
                out.push(1.0 - similarity);
            }
        }
        out
    }

    #[test]
    fn agrees_with_the_definition_for_any_brightness() {
        let (height, width) = (13, 9);
        for (offset, tolerance) in [(0.0f32, 1e-6), (300.0, 1e-4)] {
            let value = |k: usize, p: usize| offset + ((k * p + k / 5) % 17) as f32 / 17.0;
            let x: Vec<f32> = (0..height * width).map(|k| value(k, 7)).collect();
            let y: Vec<f32> = (0..height * width).map(|k| 0.7 * value(k, 7) + 0.3 * value(k, 3)).collect();
            let found = dissimilarity([&x, &y], UNIT, height, width);
            for (found, expected) in found.iter().zip(defined(&x, &y, height, width)) {
                assert!((f64::from(*found) - expected).abs() < tolerance, "{found} {expected}");
            }
        }
    }
}
