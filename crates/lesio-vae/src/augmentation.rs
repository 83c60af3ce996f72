//! Small changes to training images that leave normal images normal.

use lesio_nn::Shape;
use lesio_settings::{SettingError, in_range, require};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Changes drawn anew for each image and epoch. The default changes nothing: what leaves an image
/// normal depends on what it shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Augmentation {
    /// Whether half of the images are mirrored left to right.
    pub mirror: Mirror,
    /// Largest shift along rows and columns, in pixels, up to 65536; what enters is 0.
    pub shift: usize,
    /// Largest relative change of brightness: values are multiplied by `1 - b` to `1 + b`; from 0 to
    /// below 1.
    pub brightness: f32,
}

/// No image is larger.
const LARGEST_SHIFT: usize = 1 << 16;

/// Whether images are mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mirror {
    /// Never.
    #[default]
    Never,
    /// Half of them, left to right: for what is as likely the other way round, as heads are.
    LeftRight,
}

impl Augmentation {
    /// With or without mirroring.
    #[must_use]
    pub fn mirror(mut self, mirror: Mirror) -> Self {
        self.mirror = mirror;
        self
    }

    /// With shifts of up to this many pixels.
    #[must_use]
    pub fn shift(mut self, shift: usize) -> Self {
        self.shift = shift;
        self
    }

    /// With changes of brightness of up to this share.
    #[must_use]
    pub fn brightness(mut self, brightness: f32) -> Self {
        self.brightness = brightness;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("shift", self.shift, 0..=LARGEST_SHIFT)?;
        require((0.0..1.0).contains(&self.brightness), "brightness", self.brightness, "0 to below 1")
    }

    /// Changes an image `[c, h, w]` and its region `[h, w]` alike.
    pub(crate) fn apply(
        &self,
        generator: &mut ChaCha8Rng,
        shape: Shape,
        image: &mut [f32],
        region: Option<&mut [bool]>,
    ) {
        let (h, w) = (shape.height, shape.width);
        let mirrored = self.mirror == Mirror::LeftRight && generator.random::<bool>();
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
        for channel in image.chunks_exact_mut(h * w) {
            move_plane(channel, h, w, mirrored, down, right, 0.0);
            if factor != 1.0 {
                channel.iter_mut().for_each(|value| *value *= factor);
            }
        }
        if let Some(region) = region {
            move_plane(region, h, w, mirrored, down, right, false);
        }
    }
}

fn move_plane<T: Copy>(plane: &mut [T], h: usize, w: usize, mirrored: bool, down: i64, right: i64, empty: T) {
    if mirrored {
        plane.chunks_exact_mut(w).for_each(<[T]>::reverse);
    }
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
    fn the_default_changes_nothing() {
        let mut image: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let before = image.clone();
        Augmentation::default().apply(&mut random::generator(1, 1), Shape::new(1, 3, 4), &mut image, None);
        assert_eq!(image, before);
    }
}
