//! Smooth noise for regions, textures and uneven light.

use std::f64::consts::PI;

use lesio_image::noise::SmoothNoise;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Smooth noise, `[h, w]`, whose lattice begins anywhere: noise on a lattice that is the same in all images has more and
/// rounder peaks at the same pixels, by which a network could recognize it.
pub(crate) fn unaligned_noise(generator: &mut ChaCha8Rng, [h, w]: [usize; 2], cell: f64) -> Vec<f32> {
    let noise = SmoothNoise::new(generator.random(), cell);
    let most = cell.ceil() as usize;
    let [top, left] = [0, 0].map(|least| generator.random_range(least..=most));
    let whole = noise.plane(h + top, w + left, 1.0, 0.0);
    whole.outer_iter().skip(top).flat_map(|row| row.to_vec().split_off(left)).collect()
}

/// [`unaligned_noise`] whose cells are `elongation` times longer along a random direction than across it, of the same
/// area.
pub(crate) fn elongated_noise(
    generator: &mut ChaCha8Rng,
    [h, w]: [usize; 2],
    cell: f64,
    elongation: f64,
) -> Vec<f32> {
    let (sine, cosine) = generator.random_range(0.0..PI).sin_cos();
    let across = elongation.sqrt();
    // The plane holds the image in any direction, compressed along it and spread across it.
    let diagonal = (h as f64).hypot(w as f64);
    let sides = [diagonal * across, diagonal / across].map(|side| side.ceil() as usize + 2);
    let plane = unaligned_noise(generator, sides, cell);
    let middle = [h, w].map(|side| (side.max(1) - 1) as f64 / 2.0);
    let origin = sides.map(|side| (side - 1) as f64 / 2.0);
    let value = |pixel: usize| {
        let (y, x) = ((pixel / w) as f64 - middle[0], (pixel % w) as f64 - middle[1]);
        let row = (cosine * y - sine * x) * across + origin[0];
        let column = (sine * y + cosine * x) / across + origin[1];
        let (top, left) = (row as usize, column as usize);
        let (down, right) = ((row - top as f64) as f32, (column - left as f64) as f32);
        let at = |row: usize, column: usize| plane[row * sides[1] + column];
        let above = at(top, left) * (1.0 - right) + at(top, left + 1) * right;
        let below = at(top + 1, left) * (1.0 - right) + at(top + 1, left + 1) * right;
        above * (1.0 - down) + below * down
    };
    (0..h * w).map(value).collect()
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

    /// Along its direction, elongated noise changes more slowly than across it, by the elongation.
    #[test]
    fn elongated_noise_is_longer_than_wide() {
        let side = 64;
        let mut ratios = Vec::new();
        for stream in 0..200 {
            let noise = elongated_noise(&mut random::generator(3, stream), [side, side], 16.0, 9.0);
            // The structure tensor: its eigenvalues are the mean squares of the slopes across and along.
            let mut tensor = [0.0; 3];
            for row in 0..side - 1 {
                for column in 0..side - 1 {
                    let at = |row: usize, column: usize| f64::from(noise[row * side + column]);
                    let (dy, dx) =
                        (at(row + 1, column) - at(row, column), at(row, column + 1) - at(row, column));
                    tensor[0] += dy * dy;
                    tensor[1] += dx * dx;
                    tensor[2] += dy * dx;
                }
            }
            let [yy, xx, yx] = tensor;
            let (mean, spread) = ((yy + xx) / 2.0, ((yy - xx) / 2.0).hypot(yx));
            ratios.push(((mean + spread) / (mean - spread)).sqrt());
        }
        ratios.sort_by(f64::total_cmp);
        assert!((7.0..12.0).contains(&ratios[100]), "{}", ratios[100]);
    }

    #[test]
    fn elongated_noise_fills_any_image() {
        for [h, w] in [[1, 1], [1, 40], [7, 3], [0, 5]] {
            for elongation in [1.0, 100.0] {
                let noise = elongated_noise(&mut random::generator(3, 1), [h, w], 4.0, elongation);
                assert!(noise.len() == h * w && noise.iter().all(|value| value.is_finite()));
            }
        }
    }
}
