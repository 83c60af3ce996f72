//! Natural changes of an image, as by another scanner, patient motion or a defective coil.

use lesio_nn::random;
use lesio_settings::{SettingError, in_range, named, require};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A natural change of a framed image, whose unit of strength is that of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NaturalShift {
    /// Gaussian noise; strength is its deviation in deviations of the slice.
    Noise,
    /// A smooth field that multiplies intensities by up to `exp(strength)` and down to its inverse.
    BiasField,
    /// Intensities' distance from the lowest one is raised to the power `exp(±strength)`, the range kept.
    Contrast,
    /// A Gaussian blur; strength 0.1 is a deviation of one pixel.
    Blur,
    /// A ghost of the image, moved by a third of the frame along one axis, of `strength` times its intensities.
    Motion,
}

named!(NaturalShift, "natural shift", {
    "noise" => Self::Noise,
    "bias-field" => Self::BiasField,
    "contrast" => Self::Contrast,
    "blur" => Self::Blur,
    "motion" => Self::Motion,
});

/// Largest strength: a blur of a thousand pixels.
const LARGEST_STRENGTH: f32 = 100.0;

impl NaturalShift {
    /// Changes a framed image `[channel, row, column]` on a grid of `[rows, columns]`, in deviations, each channel by another
    /// draw; strength 0 leaves it as it is.
    ///
    /// # Errors
    /// A strength outside 0 to 100, and an image that is no whole number of channels.
    pub fn apply(
        self,
        image: &[f32],
        grid: [usize; 2],
        strength: f32,
        seed: u64,
    ) -> Result<Vec<f32>, SettingError> {
        in_range("strength", strength, 0.0..=LARGEST_STRENGTH)?;
        let pixels = grid[0].saturating_mul(grid[1]);
        let sound = pixels > 0 && image.len().is_multiple_of(pixels);
        require(sound, "grid", grid, format!("one of {} values in whole channels", image.len()))?;
        let mut changed = Vec::with_capacity(image.len());
        for (channel, values) in (0_u64..).zip(image.chunks_exact(pixels)) {
            let mut generator = random::generator(seed, self as u64 + 0x5417 + (channel << 32));
            changed.append(&mut self.of_channel(values, grid, strength, &mut generator));
        }
        Ok(changed)
    }

    fn of_channel(
        self,
        image: &[f32],
        [height, width]: [usize; 2],
        strength: f32,
        generator: &mut ChaCha8Rng,
    ) -> Vec<f32> {
        let lowest = image.iter().copied().fold(f32::INFINITY, f32::min);
        let highest = image.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut changed = image.to_vec();
        if strength == 0.0 || lowest >= highest {
            return changed;
        }
        match self {
            Self::Noise => {
                let mut noise = vec![0.0; image.len()];
                random::fill_normal(generator, &mut noise);
                changed.iter_mut().zip(noise).for_each(|(value, noise)| *value += strength * noise);
            }
            Self::BiasField => {
                let angle = generator.random_range(0.0..std::f32::consts::TAU);
                let phase = generator.random_range(-0.5..=0.5f32);
                for (k, value) in changed.iter_mut().enumerate() {
                    let row = (k / width) as f32 / height as f32 - 0.5;
                    let column = (k % width) as f32 / width as f32 - 0.5;
                    let along = row * angle.sin() + column * angle.cos();
                    let field = (strength * (std::f32::consts::PI * (along + phase)).sin()).exp();
                    *value = lowest + (*value - lowest) * field;
                }
            }
            Self::Contrast => {
                let sign = if generator.random_range(0..2) == 0 { 1.0 } else { -1.0 };
                let power = (sign * strength).exp();
                for value in &mut changed {
                    *value =
                        lowest + (highest - lowest) * ((*value - lowest) / (highest - lowest)).powf(power);
                }
            }
            Self::Blur => changed = blurred(image, width, f64::from(strength) * 10.0),
            Self::Motion => {
                let along_rows = generator.random_range(0..2) == 0;
                for (k, value) in changed.iter_mut().enumerate() {
                    let (row, column) = (k / width, k % width);
                    let ghost = match along_rows {
                        true => (row + height / 3) % height * width + column,
                        false => row * width + (column + width / 3) % width,
                    };
                    *value = (*value + strength * (image[ghost] - lowest)).min(highest);
                }
            }
        }
        changed
    }
}

/// A separable Gaussian blur; beyond the border the border's pixels go on.
fn blurred(image: &[f32], width: usize, deviation: f64) -> Vec<f32> {
    let radius = (3.0 * deviation).ceil() as isize;
    let kernel: Vec<f64> =
        (-radius..=radius).map(|k| (-0.5 * (k as f64 / deviation).powi(2)).exp()).collect();
    let total: f64 = kernel.iter().sum();
    let height = image.len() / width;
    let pass = |from: &[f32], rows: bool| -> Vec<f32> {
        (0..from.len())
            .map(|k| {
                let (row, column) = (k / width, k % width);
                let sum: f64 = kernel
                    .iter()
                    .zip(-radius..)
                    .map(|(weight, offset)| {
                        let place = |at: usize, size: usize| at.saturating_add_signed(offset).min(size - 1);
                        let source = match rows {
                            true => place(row, height) * width + column,
                            false => row * width + place(column, width),
                        };
                        weight * f64::from(from[source])
                    })
                    .sum();
                (sum / total) as f32
            })
            .collect()
    };
    pass(&pass(image, true), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Vec<f32> {
        (0..400).map(|k| ((k * 17) % 23) as f32 / 7.0 - 1.0).collect()
    }

    #[test]
    fn strengths_and_images_that_cannot_be_are_refused() {
        for shift in NaturalShift::ALL {
            for strength in [f32::NAN, f32::INFINITY, -0.1, 1e9] {
                assert!(
                    shift.apply(&[0.0, 1.0, 2.0, 3.0], [2, 2], strength, 1).is_err(),
                    "{shift:?} {strength}"
                );
            }
            // A last channel that is not whole, fewer pixels than a channel, and no columns.
            for (pixels, grid) in [(6, [2, 2]), (2, [2, 2]), (4, [4, 0])] {
                let image: Vec<f32> = (0..pixels).map(|k| k as f32).collect();
                assert!(shift.apply(&image, grid, 0.1, 1).is_err(), "{shift:?} {pixels} {grid:?}");
            }
        }
    }

    #[test]
    fn strength_is_what_it_says() {
        let image = image();
        for shift in NaturalShift::ALL {
            assert_eq!(shift.apply(&image, [20, 20], 0.0, 1).unwrap(), image);
            let distance = |strength: f32| -> f64 {
                let changed = shift.apply(&image, [20, 20], strength, 1).unwrap();
                assert_eq!(changed, shift.apply(&image, [20, 20], strength, 1).unwrap(), "seeded");
                changed.iter().zip(&image).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / 400.0
            };
            assert!(distance(0.05) > 0.0);
            assert!(distance(0.3) > distance(0.05), "{shift:?}");
            assert!(shift.apply(&image, [20, 20], -1.0, 1).is_err());
            assert!(shift.apply(&image, [20, 20], f32::NAN, 1).is_err());
        }
        // Each channel has its own draw, and the first that of an image of one.
        let both =
            NaturalShift::Noise.apply(&[image.clone(), image.clone()].concat(), [20, 20], 0.2, 3).unwrap();
        assert_eq!(both[..400], NaturalShift::Noise.apply(&image, [20, 20], 0.2, 3).unwrap());
        assert_ne!(both[..400], both[400..]);
        let noisy = NaturalShift::Noise.apply(&image, [20, 20], 0.2, 3).unwrap();
        let variance: f32 = noisy.iter().zip(&image).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / 400.0;
        assert!((variance.sqrt() - 0.2).abs() < 0.03);
    }

    #[test]
    fn blur_keeps_the_mean_and_contrast_the_range() {
        let mut spike = vec![0.0; 441];
        spike[220] = 1.0;
        let soft = NaturalShift::Blur.apply(&spike, [21, 21], 0.1, 0).unwrap();
        assert!((soft.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        // The peak of a two-dimensional Gaussian of deviation 1, sampled: close to 1 / (2 pi).
        assert!((soft[220] - 0.159).abs() < 0.002);
        let image = image();
        let changed = NaturalShift::Contrast.apply(&image, [20, 20], 0.4, 9).unwrap();
        let ends = |values: &[f32]| values.iter().fold((9f32, -9f32), |(a, b), &v| (a.min(v), b.max(v)));
        assert_eq!(ends(&changed), ends(&image));
    }
}
