//! The contents of synthetic anomalies.

use std::fmt;

use lesio_nn::Shape;
use lesio_settings::{SettingError, in_range};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::noise::unaligned_noise;
use crate::turn::{Edge, Turn};

/// A user-defined content of anomalies, which is mixed with an image inside the anomaly.
///
/// It is added by its name to [`SyntheticAnomalies::own`](crate::SyntheticAnomalies::own).
///
/// ```
/// use lesio_vae::{AnomalyContent, ContentInput};
///
/// /// A checkerboard of black and white.
/// #[derive(Debug)]
/// struct Checks;
///
/// impl AnomalyContent for Checks {
///     fn name(&self) -> &str {
///         "checks"
///     }
///
///     fn fill(&self, input: &ContentInput<'_>, into: &mut [f32]) {
///         let (width, pixels) = (input.shape.width, input.shape.pixels());
///         for (k, value) in into.iter_mut().enumerate() {
///             let (row, column) = (k % pixels / width, k % width);
///             *value = if (row / 4 + column / 4) % 2 == 0 { 0.0 } else { 1.0 };
///         }
///     }
/// }
/// ```
pub trait AnomalyContent: fmt::Debug + Send + Sync {
    /// Its name, in configurations and reports.
    fn name(&self) -> &str;

    /// Fills `into`, `[c, h, w]`, with the content for all pixels. Random numbers must come from
    /// [`ContentInput::seed`].
    fn fill(&self, input: &ContentInput<'_>, into: &mut [f32]);
}

/// The input for making a content.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ContentInput<'a> {
    /// Shape of the images.
    pub shape: Shape,
    /// The image that gets the anomaly, `[c, h, w]`.
    pub image: &'a [f32],
    /// Another normal image, `[c, h, w]`.
    pub other: &'a [f32],
    /// A seed that differs between anomalies.
    pub seed: u64,
}

/// The built-in contents. Amounts are in units of the images, whose values are approximately 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Content {
    /// The image brightened by a random amount, the same in all channels, with texture.
    Brighter {
        /// Least amount, 0 to 100.
        least: f64,
        /// Most, `least` to 100.
        most: f64,
        /// Standard deviation of the texture as a share of the amount, 0 to 10.
        texture: f64,
    },
    /// The image darkened: its values are reduced by a random fraction.
    Darker {
        /// Least share, 0 to 1.
        least: f64,
        /// Most, `least` to 1.
        most: f64,
    },
    /// Another tint: each channel is shifted by a random amount.
    Tinted {
        /// Largest amount, 0 to 100.
        largest: f64,
    },
    /// One random color with texture.
    Colored {
        /// Standard deviation of the texture, 0 to 10.
        texture: f64,
    },
    /// A part of another normal image, shifted cyclically by a random amount and rotated.
    Foreign {
        /// Largest shift along rows and columns as a share of the side, 0 to 1.
        shift: f64,
        /// Largest rotation to either side, in degrees, 0 to 180; 0 in files of earlier versions.
        #[serde(default, skip_serializing_if = "is_zero")]
        rotation: f64,
    },
    /// A displaced part of the same image.
    Displaced {
        /// Least distance along rows or columns as a share of the longer side, 0 to 1.
        least: f64,
        /// Most, `least` to 1.
        most: f64,
    },
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Cells of textures along a side.
const TEXTURE_CELLS: f64 = 24.0;

impl Content {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::Brighter { least, most, texture } => {
                in_range("brighter.least", least, 0.0..=100.0)?;
                in_range("brighter.most", most, least..=100.0)?;
                in_range("brighter.texture", texture, 0.0..=10.0)
            }
            Self::Darker { least, most } => {
                in_range("darker.least", least, 0.0..=1.0)?;
                in_range("darker.most", most, least..=1.0)
            }
            Self::Tinted { largest } => in_range("tinted.largest", largest, 0.0..=100.0),
            Self::Colored { texture } => in_range("colored.texture", texture, 0.0..=10.0),
            Self::Foreign { shift, rotation } => {
                in_range("foreign.shift", shift, 0.0..=1.0)?;
                in_range("foreign.rotation", rotation, 0.0..=180.0)
            }
            Self::Displaced { least, most } => {
                in_range("displaced.least", least, 0.0..=1.0)?;
                in_range("displaced.most", most, least..=1.0)
            }
        }
    }
}

impl Content {
    /// Fills `into` with the content for all pixels; all images are `[c, h, w]`.
    pub(super) fn fill(
        &self,
        generator: &mut ChaCha8Rng,
        shape: Shape,
        [image, other]: [&[f32]; 2],
        into: &mut [f32],
    ) {
        let planes = image.chunks_exact(shape.pixels()).zip(into.chunks_exact_mut(shape.pixels()));
        match *self {
            Self::Brighter { least, most, texture } => {
                let amount = generator.random_range(least..=most) as f32;
                let noise = texture_of(shape, generator);
                for (image, into) in planes {
                    for ((into, &value), &noise) in into.iter_mut().zip(image).zip(&noise) {
                        *into = value + amount * (1.0 + texture as f32 * noise);
                    }
                }
            }
            Self::Darker { least, most } => {
                let left = 1.0 - generator.random_range(least..=most) as f32;
                into.iter_mut().zip(image).for_each(|(into, &value)| *into = value * left);
            }
            Self::Tinted { largest } => {
                for (image, into) in planes {
                    let amount = generator.random_range(-largest..=largest) as f32;
                    into.iter_mut().zip(image).for_each(|(into, &value)| *into = value + amount);
                }
            }
            Self::Colored { texture } => {
                let noise = texture_of(shape, generator);
                for (_, into) in planes {
                    let color: f32 = generator.random();
                    into.iter_mut()
                        .zip(&noise)
                        .for_each(|(into, &noise)| *into = color + texture as f32 * noise);
                }
            }
            Self::Foreign { shift, rotation } => {
                let mut by = |side: usize| generator.random_range(-shift..=shift) * side as f64;
                let by = [by(shape.height), by(shape.width)];
                rolled(other, shape, by, into);
                if rotation > 0.0 {
                    let turn = Turn::new(generator.random_range(-rotation..=rotation) as f32, 0.0);
                    into.chunks_exact_mut(shape.pixels())
                        .for_each(|plane| turn.apply(plane, shape.height, shape.width, Edge::Wrap));
                }
            }
            Self::Displaced { least, most } => {
                let side = shape.height.max(shape.width) as f64;
                let mut by = || {
                    let distance = generator.random_range(least..=most) * side;
                    if generator.random() { distance } else { -distance }
                };
                let by = [by(), by()];
                rolled(image, shape, by, into);
            }
        }
    }
}

/// Smooth noise of unit variance, `[h, w]`.
fn texture_of(shape: Shape, generator: &mut ChaCha8Rng) -> Vec<f32> {
    let cell = (shape.height.max(shape.width) as f64 / TEXTURE_CELLS).max(1.0);
    unaligned_noise(generator, [shape.height, shape.width], cell)
}

/// The planes of an image shifted cyclically down and right by these numbers of pixels.
fn rolled(image: &[f32], shape: Shape, by: [f64; 2], into: &mut [f32]) {
    let (h, w) = (shape.height, shape.width);
    let [down, right] = by.map(|pixels| pixels.round() as i64);
    let row_of = |row: usize| (row as i64 - down).rem_euclid(h as i64) as usize;
    let column_of = |column: usize| (column as i64 - right).rem_euclid(w as i64) as usize;
    for (image, into) in image.chunks_exact(h * w).zip(into.chunks_exact_mut(h * w)) {
        for (row, into) in into.chunks_exact_mut(w).enumerate() {
            let from = &image[row_of(row) * w..][..w];
            into.iter_mut().enumerate().for_each(|(column, into)| *into = from[column_of(column)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_nn::random;
    use lesio_settings::mutation::refusals;

    #[test]
    fn images_roll_around() {
        let shape = Shape::new(1, 2, 3);
        let mut into = [0.0; 6];
        rolled(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], shape, [1.0, -1.0], &mut into);
        assert_eq!(into, [5.0, 6.0, 4.0, 2.0, 3.0, 1.0]);
    }

    #[test]
    fn contents_are_what_they_are_called() {
        let shape = Shape::new(3, 16, 16);
        let image: Vec<f32> = (0..shape.len()).map(|k| 0.2 + 0.001 * k as f32).collect();
        let other: Vec<f32> = image.iter().map(|value| value + 7.0).collect();
        let fill = |content: Content, stream| {
            let mut into = vec![0.0; shape.len()];
            content.fill(&mut random::generator(2, stream), shape, [&image, &other], &mut into);
            into
        };
        for stream in 0..20 {
            let bright = fill(Content::Brighter { least: 0.1, most: 0.5, texture: 0.0 }, stream);
            assert!(bright.iter().zip(&image).all(|(a, b)| (0.09..0.51).contains(&(a - b))));
            let dark = fill(Content::Darker { least: 0.1, most: 0.7 }, stream);
            assert!(dark.iter().zip(&image).all(|(a, b)| a < b && *a >= 0.29 * b));
            for rotation in [0.0, 180.0] {
                let foreign = fill(Content::Foreign { shift: 0.3, rotation }, stream);
                assert!(foreign.iter().all(|value| *value > 7.0));
            }
            let displaced = fill(Content::Displaced { least: 0.1, most: 0.2 }, stream);
            assert!(displaced != image);
            let mut sorted = [displaced, image.clone()];
            sorted.iter_mut().for_each(|values| values.sort_by(f32::total_cmp));
            assert_eq!(sorted[0], sorted[1]);
        }
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        let valid = Content::Tinted { largest: 0.1 };
        let refused = refusals(valid, Content::validate, [f64::NAN, -1.0, 1e9]);
        refused("brighter.least", |own, least| *own = Content::Brighter { least, most: 1.0, texture: 0.0 });
        refused("brighter.most", |own, most| *own = Content::Brighter { least: 0.0, most, texture: 0.0 });
        refused("darker.most", |own, most| *own = Content::Darker { least: 0.0, most });
        refused("tinted.largest", |own, largest| *own = Content::Tinted { largest });
        refused("colored.texture", |own, texture| *own = Content::Colored { texture });
        refused("foreign.shift", |own, shift| *own = Content::Foreign { shift, rotation: 0.0 });
        refused("foreign.rotation", |own, rotation| *own = Content::Foreign { shift: 0.5, rotation });
        refused("displaced.most", |own, most| *own = Content::Displaced { least: 0.0, most });
    }
}
