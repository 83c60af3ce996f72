//! Augmentation: small changes to training images that keep normal images normal.

use lesio_nn::Shape;
use lesio_settings::{SettingError, in_range, named, require, setters};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::noise::unaligned_noise;
use crate::turn::{Edge, Turn};

/// Random changes, drawn for each image and epoch. The default changes nothing, since which changes keep an image
/// normal depends on its content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Whether images are mirrored.
    pub mirror: Mirror,
    /// Largest shift along rows and columns, in pixels, up to 65536; pixels that enter are 0.
    pub shift: usize,
    /// Largest relative change of brightness: values are multiplied by `1 - b` to `1 + b`; from 0 to
    /// below 1.
    pub brightness: f32,
    /// Largest rotation about the center, in degrees to either side, 0 to 180; pixels that enter repeat the image's
    /// edge.
    #[serde(skip_serializing_if = "is_zero")]
    pub rotation: f32,
    /// Largest relative change of size: images are enlarged or reduced by up to this fraction, 0 to .9; pixels that
    /// enter repeat the image's edge.
    #[serde(skip_serializing_if = "is_zero")]
    pub scale: f32,
    /// Largest relative change of the gamma exponent of values, which raises or lowers values between 0 and 1: 0 to .9.
    /// Values below 0 become 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub gamma: f32,
    /// Largest relative change of brightness by uneven light: values are multiplied by a smooth field whose distance from
    /// 1 is at most this, from 0 to below 1. The field is the same in all channels.
    #[serde(skip_serializing_if = "is_zero")]
    pub shading: f32,
}

fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

/// No image is larger.
const LARGEST_SHIFT: usize = 1 << 16;

/// Whether images are mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mirror {
    /// Never.
    #[default]
    Never,
    /// Half of them, left to right: for objects whose mirror image is equally likely, such as heads.
    LeftRight,
    /// Half of them left to right, and independently half of them upside down: for textures and for objects whose
    /// rotation by 180 degrees is equally likely, too.
    Both,
}

named!(Mirror, "mirroring", {
    "never" => Self::Never,
    "left-right" => Self::LeftRight,
    "both" => Self::Both,
});

impl Mirror {
    /// The flips that make all equally likely images of one, in addition to the image itself.
    pub(crate) fn flips(self) -> &'static [Flip] {
        match self {
            Self::Never => &[],
            Self::LeftRight => &Flip::ALL[..1],
            Self::Both => &Flip::ALL,
        }
    }

    /// A random flip: a direction that is off draws no random number.
    fn draw(self, generator: &mut ChaCha8Rng) -> Flip {
        let sideways = self != Self::Never && generator.random::<bool>();
        let upside_down = self == Self::Both && generator.random::<bool>();
        Flip { sideways, upside_down }
    }
}

/// A reflection of an image; applied twice, it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flip {
    sideways: bool,
    upside_down: bool,
}

impl Flip {
    /// Sideways first.
    const ALL: [Self; 3] = [
        Self { sideways: true, upside_down: false },
        Self { sideways: false, upside_down: true },
        Self { sideways: true, upside_down: true },
    ];

    /// Flips a plane, `[h, w]`.
    pub(crate) fn apply<T>(self, plane: &mut [T], width: usize) {
        if self.sideways {
            plane.chunks_exact_mut(width).for_each(<[T]>::reverse);
        }
        if self.upside_down {
            // Reverses the rows, and the pixels of each row, which are then put back in order.
            plane.reverse();
            plane.chunks_exact_mut(width).for_each(<[T]>::reverse);
        }
    }
}

impl Augmentation {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("shift", self.shift, 0..=LARGEST_SHIFT)?;
        for (name, value) in [("brightness", self.brightness), ("shading", self.shading)] {
            require((0.0..1.0).contains(&value), name, value, "0 to below 1")?;
        }
        in_range("rotation", self.rotation, 0.0..=180.0)?;
        in_range("scale", self.scale, 0.0..=0.9)?;
        in_range("gamma", self.gamma, 0.0..=0.9)
    }

    /// Changes an image `[c, h, w]` and its region `[h, w]` in the same way.
    pub(crate) fn apply(
        &self,
        generator: &mut ChaCha8Rng,
        shape: Shape,
        image: &mut [f32],
        region: Option<&mut [bool]>,
    ) {
        let (h, w) = (shape.height, shape.width);
        let flip = self.mirror.draw(generator);
        let mut offset = || {
            let limit = self.shift as i64;
            if limit == 0 { 0 } else { generator.random_range(-limit..=limit) }
        };
        let (down, right) = (offset(), offset());
        let factor = if self.brightness > 0.0 {
            1.0 + generator.random_range(-self.brightness..=self.brightness)
        } else {
            1.0
        };
        // A change that is off draws no random numbers, so that it does not affect the others.
        let mut draw = |limit: f32| if limit > 0.0 { generator.random_range(-limit..=limit) } else { 0.0 };
        let (angle, scale, exponent) = (draw(self.rotation), draw(self.scale), draw(self.gamma));
        let shading = draw(self.shading);
        let turn = (angle != 0.0 || scale != 0.0).then(|| Turn::new(angle, scale));
        for channel in image.chunks_exact_mut(h * w) {
            move_plane(channel, h, w, flip, down, right, 0.0);
            if let Some(turn) = &turn {
                turn.apply(channel, h, w, Edge::Repeat);
            }
            if exponent != 0.0 {
                channel.iter_mut().for_each(|value| *value = value.max(0.0).powf(1.0 + exponent));
            }
            if factor != 1.0 {
                channel.iter_mut().for_each(|value| *value *= factor);
            }
        }
        if shading != 0.0 {
            shade(generator, shape, shading, image);
        }
        if let Some(region) = region {
            move_plane(region, h, w, flip, down, right, false);
            if let Some(turn) = &turn {
                turn.apply_mask(region, h, w);
            }
        }
    }
}

setters!(Augmentation {
    mirror: Mirror,
    shift: usize,
    brightness: f32,
    rotation: f32,
    scale: f32,
    gamma: f32,
    shading: f32,
});

/// Numbers of cells along the longer side of a field of uneven light.
const SHADING_CELLS: [f64; 2] = [0.5, 3.0];

/// Multiplies an image by a smooth field that deviates from 1 by `most` at one pixel, and by less elsewhere.
fn shade(generator: &mut ChaCha8Rng, shape: Shape, most: f32, image: &mut [f32]) {
    let (h, w) = (shape.height, shape.width);
    let [least_cells, most_cells] = SHADING_CELLS;
    let cell = h.max(w) as f64 / generator.random_range(least_cells..=most_cells);
    let mut field = unaligned_noise(generator, [h, w], cell);
    let largest = field.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    field.iter_mut().for_each(|value| *value = 1.0 + most * *value / largest);
    for channel in image.chunks_exact_mut(h * w) {
        channel.iter_mut().zip(&field).for_each(|(value, factor)| *value *= factor);
    }
}

fn move_plane<T: Copy>(plane: &mut [T], h: usize, w: usize, flip: Flip, down: i64, right: i64, empty: T) {
    flip.apply(plane, w);
    if (down, right) == (0, 0) {
        return;
    }
    let source = plane.to_vec();
    for (index, value) in plane.iter_mut().enumerate() {
        let row = (index / w) as i64 - down;
        let column = (index % w) as i64 - right;
        let inside = (0..h as i64).contains(&row) && (0..w as i64).contains(&column);
        *value = if inside { source[row as usize * w + column as usize] } else { empty };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_nn::random;

    /// On a command line and in a document.
    #[test]
    fn a_mirroring_has_one_name() {
        for mirror in Mirror::ALL {
            assert_eq!(mirror.name().parse(), Ok(mirror));
            assert_eq!(serde_json::to_value(mirror).unwrap(), mirror.name());
        }
    }

    #[test]
    fn image_and_region_move_together() {
        let augmentation = Augmentation::default().mirror(Mirror::LeftRight).shift(2).brightness(0.3);
        let shape = Shape::new(2, 5, 6);
        let mut seen = std::collections::BTreeSet::new();
        for stream in 0..50 {
            let mut image = vec![0.0; shape.len()];
            let mut region = vec![false; shape.pixels()];
            image[2 * 6 + 3] = 1.0;
            image[30 + 2 * 6 + 3] = 1.0;
            region[2 * 6 + 3] = true;
            augmentation.apply(&mut random::generator(1, stream), shape, &mut image, Some(&mut region));
            let at = region.iter().position(|&r| r).unwrap();
            assert!(image[at] > 0.69 && image[at] == image[30 + at]);
            assert_eq!(image.iter().filter(|v| **v != 0.0).count(), 2);
            seen.insert(at);
        }
        assert!(seen.len() > 10);
    }

    #[test]
    fn images_are_flipped_in_every_way_that_is_equally_likely() {
        let shape = Shape::new(1, 2, 3);
        let seen = |mirror: Mirror| {
            let flipped = |stream| {
                let mut image: Vec<f32> = (0..6).map(|value| value as f32).collect();
                let augmentation = Augmentation::default().mirror(mirror);
                augmentation.apply(&mut random::generator(1, stream), shape, &mut image, None);
                image.iter().map(|value| value.to_string()).collect::<String>()
            };
            (0..40).map(flipped).collect::<std::collections::BTreeSet<String>>()
        };
        assert_eq!(Vec::from_iter(seen(Mirror::Never)), ["012345"]);
        assert_eq!(Vec::from_iter(seen(Mirror::LeftRight)), ["012345", "210543"]);
        assert_eq!(Vec::from_iter(seen(Mirror::Both)), ["012345", "210543", "345012", "543210"]);
        for flip in Mirror::Both.flips() {
            let mut plane = [0, 1, 2, 3, 4, 5];
            flip.apply(&mut plane, 3);
            assert_ne!(plane, [0, 1, 2, 3, 4, 5]);
            flip.apply(&mut plane, 3);
            assert_eq!(plane, [0, 1, 2, 3, 4, 5]);
        }
    }

    #[test]
    fn values_and_region_follow_every_change() {
        let augmentation = Augmentation::default().rotation(20.0).scale(0.1).gamma(0.2).brightness(0.1);
        augmentation.validate().unwrap();
        let shape = Shape::new(1, 24, 24);
        let bright = |k: usize| (8..16).contains(&(k / 24)) && (8..16).contains(&(k % 24));
        let mut seen = std::collections::BTreeSet::new();
        for stream in 0..30 {
            let mut image: Vec<f32> = (0..576).map(|k| if bright(k) { 0.5 } else { 0.0 }).collect();
            let mut region: Vec<bool> = (0..576).map(bright).collect();
            augmentation.apply(&mut random::generator(1, stream), shape, &mut image, Some(&mut region));
            let wrong =
                image.iter().zip(&region).filter(|(value, inside)| (**value > 0.25) != **inside).count();
            assert!(wrong < 20, "{stream}: {wrong}");
            seen.insert(region.iter().filter(|&&inside| inside).count());
        }
        assert!(seen.len() > 5, "{seen:?}");
    }

    #[test]
    fn light_varies_smoothly_and_alike_in_all_channels() {
        let augmentation = Augmentation::default().shading(0.3);
        augmentation.validate().unwrap();
        let shape = Shape::new(2, 32, 24);
        let mut largest: f32 = 0.0;
        for stream in 0..40 {
            let mut image = vec![0.5; shape.len()];
            augmentation.apply(&mut random::generator(4, stream), shape, &mut image, None);
            let (first, second) = image.split_at(shape.pixels());
            assert_eq!(first, second);
            for (pixel, value) in first.iter().enumerate() {
                largest = largest.max((value / 0.5 - 1.0).abs());
                if pixel % 24 > 0 {
                    assert!((value - first[pixel - 1]).abs() < 0.05, "{stream} {pixel}");
                }
            }
        }
        assert!(largest > 0.25 && largest < 0.3 + 1e-6, "{largest}");
    }

    #[test]
    fn the_default_changes_nothing() {
        let mut image: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let before = image.clone();
        Augmentation::default().apply(&mut random::generator(1, 1), Shape::new(1, 3, 4), &mut image, None);
        assert_eq!(image, before);
    }
}
