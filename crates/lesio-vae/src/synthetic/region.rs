//! The region of an anomaly.

use lesio_nn::Shape;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::config::SyntheticAnomalies;
use super::noise::unaligned_noise;

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
    let noise = unaligned_noise(generator, [h, w], cell);
    let [least, most] = config.quantile;
    let share: f64 = generator.random_range(least..=most);
    let mut sorted = noise.clone();
    let rank = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    let threshold = match sorted.is_empty() {
        true => f32::INFINITY,
        false => *sorted.select_nth_unstable_by(rank, f32::total_cmp).1,
    };
    let inside = |pixel: usize| region.is_none_or(|region| region[pixel]);
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
