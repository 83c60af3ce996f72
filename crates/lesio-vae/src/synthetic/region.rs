//! The region of an anomaly.

use lesio_image::noise::SmoothNoise;
use lesio_nn::Shape;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::config::SyntheticAnomalies;

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

/// Smooth noise, `[h, w]`, whose lattice begins anywhere: noise on a lattice that is the same in all images has more and
/// rounder peaks at the same pixels, by which a network could recognize it.
pub(super) fn unaligned_noise(generator: &mut ChaCha8Rng, [h, w]: [usize; 2], cell: f64) -> Vec<f32> {
    let noise = SmoothNoise::new(generator.random(), cell);
    let most = cell.ceil() as usize;
    let [top, left] = [0, 0].map(|least| generator.random_range(least..=most));
    let whole = noise.plane(h + top, w + left, 1.0, 0.0);
    whole.outer_iter().skip(top).flat_map(|row| row.to_vec().split_off(left)).collect()
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

    /// On a lattice that is the same in all images, pixels at its nodes have 1.18 times the variance of those between them.
    #[test]
    fn noise_varies_alike_at_all_pixels() {
        let (side, cell, draws) = (24, 8.0, 4000);
        let mut squares = vec![0.0; side * side];
        for stream in 0..draws {
            let noise = unaligned_noise(&mut random::generator(3, stream), [side, side], cell);
            squares.iter_mut().zip(&noise).for_each(|(sum, value)| *sum += f64::from(value * value));
        }
        let mean = |offset: usize| {
            let places = (0..3).flat_map(|row| (0..3).map(move |column| (row, column)));
            let of = |(row, column): (usize, usize)| squares[(row * 8 + offset) * side + column * 8 + offset];
            places.map(of).sum::<f64>() / (9.0 * draws as f64)
        };
        let [nodes, between] = [0, 4].map(mean);
        assert!((nodes / between - 1.0).abs() < 0.05, "{nodes} {between}");
        // The third axis is always at a node, where the variance is 1/2 instead of 151/315.
        assert!((nodes * 302.0 / 315.0 - 1.0).abs() < 0.05, "{nodes}");
    }
}
