//! Corruption of training images, so that a network learns to restore normal images.

use lesio_nn::{Shape, random};
use lesio_settings::{SettingError, in_range};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Most squares of an image.
const LARGEST_COUNT: usize = 4096;
/// Largest cell size: no image is larger.
const LARGEST_CELL: usize = 1 << 16;

/// A corruption of training images; the loss compares the output with the original image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Corruption {
    /// None: plain reconstruction.
    #[default]
    None,
    /// Context encoding (Zimmerer et al. 2018, arXiv:1812.05941): squares filled with one value each.
    Squares {
        /// Largest number of squares, 1 to 4096; each image gets 1 to this many.
        count: usize,
        /// Largest side, as a share of the shorter side of the image, 1e-6 to 1.
        side: f64,
    },
    /// Coarse noise (Kascenas et al. 2022): normal noise drawn on a coarse grid, enlarged smoothly,
    /// shifted at random and added inside the region.
    CoarseNoise {
        /// Standard deviation of the noise on its grid, 1e-6 to 1000.
        deviation: f64,
        /// Pixels of the image per cell of the grid, 1 to 65536.
        cell: usize,
    },
}

impl Corruption {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::None => Ok(()),
            Self::Squares { count, side } => {
                in_range("squares.count", count, 1..=LARGEST_COUNT)?;
                in_range("squares.side", side, 1e-6..=1.0)
            }
            Self::CoarseNoise { deviation, cell } => {
                in_range("coarse-noise.deviation", deviation, 1e-6..=1e3)?;
                in_range("coarse-noise.cell", cell, 1..=LARGEST_CELL)
            }
        }
    }

    /// Corrupts an image `[c, h, w]` inside its region `[h, w]`.
    pub(crate) fn apply(
        &self,
        generator: &mut ChaCha8Rng,
        shape: Shape,
        image: &mut [f32],
        region: Option<&[bool]>,
    ) {
        let (h, w) = (shape.height, shape.width);
        let inside = |pixel: usize| region.is_none_or(|region| region[pixel]);
        match *self {
            Self::None => {}
            Self::Squares { count, side } => {
                let largest = ((side * h.min(w) as f64).round() as usize).clamp(1, h.min(w));
                for _ in 0..generator.random_range(1..=count) {
                    let size = generator.random_range(1..=largest);
                    let top = generator.random_range(0..=h - size);
                    let left = generator.random_range(0..=w - size);
                    let value: f32 = generator.random();
                    for row in top..top + size {
                        for pixel in row * w + left..row * w + left + size {
                            if inside(pixel) {
                                image.chunks_exact_mut(h * w).for_each(|channel| channel[pixel] = value);
                            }
                        }
                    }
                }
            }
            Self::CoarseNoise { deviation, cell } => {
                for channel in image.chunks_exact_mut(h * w) {
                    let noise = coarse_noise(generator, h, w, cell);
                    for (pixel, (value, noise)) in channel.iter_mut().zip(noise).enumerate() {
                        if inside(pixel) {
                            *value += deviation as f32 * noise;
                        }
                    }
                }
            }
        }
    }
}

/// Unit noise on a grid of cells, interpolated linearly, with the grid at a random offset.
fn coarse_noise(generator: &mut ChaCha8Rng, h: usize, w: usize, cell: usize) -> Vec<f32> {
    let (rows, columns) = (h / cell + 3, w / cell + 3);
    let mut grid = vec![0.0; rows * columns];
    random::fill_normal(generator, &mut grid);
    let offset_row: f32 = generator.random();
    let offset_column: f32 = generator.random();
    let at = |index: usize, offset: f32| {
        let position = index as f32 / cell as f32 + offset;
        let low = position as usize;
        (low, position - low as f32)
    };
    let mut noise = Vec::with_capacity(h * w);
    for row in 0..h {
        let (r, down) = at(row, offset_row);
        for column in 0..w {
            let (c, right) = at(column, offset_column);
            let corner = |dr: usize, dc: usize| grid[(r + dr) * columns + c + dc];
            let top = corner(0, 0) * (1.0 - right) + corner(0, 1) * right;
            let bottom = corner(1, 0) * (1.0 - right) + corner(1, 1) * right;
            noise.push(top * (1.0 - down) + bottom * down);
        }
    }
    noise
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_outside_the_region() {
        let shape = Shape::new(2, 9, 7);
        let region: Vec<bool> = (0..63).map(|p| p % 3 == 0).collect();
        for corruption in
            [Corruption::Squares { count: 3, side: 1.0 }, Corruption::CoarseNoise { deviation: 0.5, cell: 4 }]
        {
            let mut changed = 0;
            for stream in 0..20 {
                let mut image = vec![2.0; shape.len()];
                corruption.apply(&mut random::generator(3, stream), shape, &mut image, Some(&region));
                for (index, value) in image.iter().enumerate() {
                    assert!(region[index % 63] || *value == 2.0);
                    changed += usize::from(*value != 2.0);
                }
            }
            assert!(changed > 100, "{corruption:?} changed {changed}");
        }
    }

    #[test]
    fn coarse_noise_is_smooth_and_of_unit_size() {
        let noise = coarse_noise(&mut random::generator(1, 1), 64, 64, 8);
        let mean_square = |values: &mut dyn Iterator<Item = f32>| {
            let values: Vec<f64> = values.map(f64::from).collect();
            values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64
        };
        let size = mean_square(&mut noise.iter().copied());
        let steps = mean_square(
            &mut noise.windows(2).enumerate().filter(|(k, _)| k % 64 != 63).map(|(_, p)| p[1] - p[0]),
        );
        // Interpolation takes the variance along each axis to 2/3 on average, so to 4/9; neighbors differ by an
        // eighth of the difference of two cells, whose variance is 2 * 2/3: .047 of the size. White noise has 2.
        assert!((0.2..0.9).contains(&size), "{size}");
        assert!(steps < 0.1 * size, "{steps} {size}");
    }
}
