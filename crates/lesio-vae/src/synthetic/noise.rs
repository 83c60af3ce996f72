//! The noise that cuts regions and makes textures.

use lesio_image::noise::SmoothNoise;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Smooth noise, `[h, w]`, whose lattice begins anywhere: noise on a lattice that is the same in all images has more and
/// rounder peaks at the same pixels, by which a network could recognize it.
pub(super) fn unaligned_noise(generator: &mut ChaCha8Rng, [h, w]: [usize; 2], cell: f64) -> Vec<f32> {
    let noise = SmoothNoise::new(generator.random(), cell);
    let most = cell.ceil() as usize;
    let [top, left] = [0, 0].map(|least| generator.random_range(least..=most));
    let whole = noise.plane(h + top, w + left, 1.0, 0.0);
    whole.outer_iter().skip(top).flat_map(|row| row.to_vec().split_off(left)).collect()
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
