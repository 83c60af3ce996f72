//! The region of an anomaly.

use lesio_nn::Shape;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::config::{Areas, SyntheticAnomalies};
use crate::noise::{elongated_noise, unaligned_noise};

/// Smallest area on a logarithmic scale, as a fraction of the image: less than a pixel of most images.
const SMALLEST_AREA: f64 = 1e-6;
/// Half the side of the window over which soft edges rise.
const SOFT: usize = 2;

/// The fraction of each pixel that is replaced, 0 to 1, `[h, w]`: the peaks of smooth noise inside the region.
pub(super) fn strength(
    config: &SyntheticAnomalies,
    generator: &mut ChaCha8Rng,
    shape: Shape,
    region: Option<&[bool]>,
) -> Vec<f32> {
    let (h, w) = (shape.height, shape.width);
    let cells = config.cells.get(generator.random_range(0..config.cells.len().max(1))).copied().unwrap_or(1);
    let cell = h.max(w) as f64 / cells as f64;
    let noise = match config.elongation > 1.0 {
        // On a logarithmic scale, so that twice and half as long are equally far.
        true => {
            let elongation = generator.random_range(0.0..=config.elongation.ln()).exp();
            elongated_noise(generator, [h, w], cell, elongation)
        }
        false => unaligned_noise(generator, [h, w], cell),
    };
    let share = outside(config, generator);
    let mut sorted = noise.clone();
    let rank = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    let threshold = match sorted.is_empty() {
        true => f32::INFINITY,
        false => *sorted.select_nth_unstable_by(rank, f32::total_cmp).1,
    };
    let inside = |pixel: usize| region.is_none_or(|region| region[pixel]);
    if config.gradual > 0.0 && generator.random_bool(config.gradual) {
        return gradual(&noise, threshold, generator.random(), inside);
    }
    let mut strength: Vec<f32> = noise
        .iter()
        .enumerate()
        .map(|(pixel, &value)| if value > threshold && inside(pixel) { 1.0 } else { 0.0 })
        .collect();
    if generator.random_bool(config.soft) {
        soften(&mut strength, h, w);
    }
    strength
}

/// A random fraction of the image's pixels outside a region.
fn outside(config: &SyntheticAnomalies, generator: &mut ChaCha8Rng) -> f64 {
    let [least, most] = config.quantile;
    match config.areas {
        Areas::Uniform => generator.random_range(least..=most),
        Areas::Logarithmic => {
            let [smallest, largest] = [most, least].map(|outside| (1.0 - outside).max(SMALLEST_AREA).ln());
            1.0 - generator.random_range(smallest..=largest).exp()
        }
    }
}

/// The strength that rises with the noise above the threshold, and is 1 from this share of its peak's height on.
fn gradual(noise: &[f32], threshold: f32, share: f32, inside: impl Fn(usize) -> bool) -> Vec<f32> {
    let values = noise.iter().enumerate().filter(|(pixel, _)| inside(*pixel)).map(|(_, &value)| value);
    let peak = values.fold(threshold, f32::max);
    let ramp = (share * (peak - threshold)).max(f32::MIN_POSITIVE);
    let strength = |(pixel, &value): (usize, &f32)| match inside(pixel) {
        true => ((value - threshold) / ramp).clamp(0.0, 1.0),
        false => 0.0,
    };
    noise.iter().enumerate().map(strength).collect()
}

/// Replaces each pixel of a mask by the fraction of its window that is inside.
fn soften(mask: &mut [f32], h: usize, w: usize) {
    let whole = mask.to_vec();
    let window = ((2 * SOFT + 1) * (2 * SOFT + 1)) as f32;
    for (pixel, value) in mask.iter_mut().enumerate().filter(|(_, value)| **value > 0.0) {
        let (row, column) = (pixel / w, pixel % w);
        let rows = row.saturating_sub(SOFT)..(row + SOFT + 1).min(h);
        let columns = column.saturating_sub(SOFT)..(column + SOFT + 1).min(w);
        let sum: f32 = rows.map(|row| whole[row * w..][columns.clone()].iter().sum::<f32>()).sum();
        *value = sum / window;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_nn::random;

    #[test]
    fn small_areas_are_as_frequent_as_large_ones_on_a_logarithmic_scale() {
        let config =
            |areas| SyntheticAnomalies { quantile: [0.9, 0.999], areas, ..SyntheticAnomalies::natural() };
        let fraction_below = |areas: Areas, limit: f64| {
            let config = config(areas);
            let area = |stream| 1.0 - outside(&config, &mut random::generator(2, stream));
            let all: Vec<f64> = (0..2000).map(area).collect();
            assert!(all.iter().all(|area| (0.001 - 1e-9..=0.1 + 1e-9).contains(area)));
            all.iter().filter(|area| **area < limit).count() as f64 / 2000.0
        };
        // The middle of the logarithmic scale is .01. Four standard deviations are .045.
        assert!((fraction_below(Areas::Logarithmic, 0.01) - 0.5).abs() < 0.045);
        assert!((fraction_below(Areas::Uniform, 0.01) - 0.009 / 0.099).abs() < 0.03);
    }

    #[test]
    fn an_area_of_nothing_is_possible() {
        let config = SyntheticAnomalies {
            quantile: [1.0, 1.0],
            areas: Areas::Logarithmic,
            ..SyntheticAnomalies::natural()
        };
        let shape = Shape::new(1, 16, 16);
        let strength = strength(&config, &mut random::generator(2, 0), shape, None);
        assert!(strength.iter().filter(|strength| **strength > 0.0).count() <= 1);
    }

    #[test]
    fn gradual_anomalies_have_smaller_steps_at_their_edge() {
        let shape = Shape::new(1, 64, 64);
        let config =
            |gradual: f64| SyntheticAnomalies { gradual, soft: 1.0, ..SyntheticAnomalies::medical() };
        // The median step from outside to the inside, over all edges of many regions.
        let step = |gradual: f64| {
            let mut steps = Vec::new();
            for stream in 0..40 {
                let strength = strength(&config(gradual), &mut random::generator(9, stream), shape, None);
                assert!(strength.iter().all(|value| (0.0..=1.0).contains(value)));
                let edges =
                    (0..strength.len() - 1).filter(|k| (strength[*k] > 0.0) != (strength[k + 1] > 0.0));
                steps.extend(edges.map(|k| strength[k].max(strength[k + 1])));
            }
            steps.sort_by(f32::total_cmp);
            steps[steps.len() / 2]
        };
        let [soft, gradual] = [0.0, 1.0].map(step);
        assert!(soft > 0.45 && gradual < 0.35, "{soft} {gradual}");
    }
}
