//! Augmentation of samples by changes that keep the quality of their segmentation.

use lesio_settings::{SettingError, in_range};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::change::{Change, Smooth, UNWARPED};

/// The symmetries of the grid that are applied to samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Symmetry {
    /// No symmetry.
    None,
    /// Mirrored along either axis.
    Mirrors,
    /// Mirrored and turned by right angles (on a grid that is not square: mirrored). The default:
    /// a network without a preferred direction needs fewer patients and accepts files in any orientation.
    #[default]
    Turns,
}

/// Most pixels that a sample is moved or bent by: no grid is larger.
const LARGEST_SHIFT: usize = 4096;

/// Random changes of each sample in each epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct SampleAugmentation {
    /// Mirroring and turning.
    pub symmetry: Symmetry,
    /// Image and segmentation are moved together by up to this many grid pixels along each axis; pixels
    /// that enter repeat the border; up to 4096. Default 5.
    pub shift: usize,
    /// Intensities are scaled by up to 1 plus or minus this, 0 to 1. Default .15.
    pub contrast: f32,
    /// Up to this many deviations are added to all intensities, 0 to 1000. Default .15.
    pub brightness: f32,
    /// Turned by up to this many degrees either way, 0 to 180, about the center. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub turn: f32,
    /// Enlarged or reduced by up to a factor of 1 plus this, 0 to 10, along each axis by itself. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub zoom: f32,
    /// Bent: places move by up to this many grid pixels along each axis, 0 to 4096, smoothly over the grid. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub bend: f32,
    /// Intensities are scaled by a smooth field of up to 1 plus or minus this, 0 to 1, as coils do. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub field: f32,
    /// Blurred or sharpened by up to this share, 0 to 1, of the difference to a blurred image. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub focus: f32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

impl Default for SampleAugmentation {
    fn default() -> Self {
        let symmetry = Symmetry::default();
        Self {
            symmetry,
            shift: 5,
            contrast: 0.15,
            brightness: 0.15,
            turn: 0.0,
            zoom: 0.0,
            bend: 0.0,
            field: 0.0,
            focus: 0.0,
        }
    }
}

impl SampleAugmentation {
    /// No change at all.
    #[must_use]
    pub fn none() -> Self {
        Self { symmetry: Symmetry::None, shift: 0, contrast: 0.0, brightness: 0.0, ..Self::default() }
    }

    /// Adds rotations up to this many degrees and changes of size: variation between patients.
    #[must_use]
    pub fn warped(mut self, turn: f32, zoom: f32) -> Self {
        (self.turn, self.zoom) = (turn, zoom);
        self
    }

    /// Adds deformations, intensity fields and blur: variation between scans.
    #[must_use]
    pub fn varied(mut self, bend: f32, field: f32, focus: f32) -> Self {
        (self.bend, self.field, self.focus) = (bend, field, focus);
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("shift", self.shift, 0..=LARGEST_SHIFT)?;
        in_range("contrast", self.contrast, 0.0..=1.0)?;
        in_range("brightness", self.brightness, 0.0..=1e3)?;
        in_range("turn", self.turn, 0.0..=180.0)?;
        in_range("zoom", self.zoom, 0.0..=10.0)?;
        in_range("bend", self.bend, 0.0..=LARGEST_SHIFT as f32)?;
        in_range("field", self.field, 0.0..=1.0)?;
        in_range("focus", self.focus, 0.0..=1.0)
    }

    /// One random change.
    pub(crate) fn draw(&self, generator: &mut ChaCha8Rng, grid: [usize; 2]) -> Change {
        let reach = i64::try_from(self.shift).unwrap_or(0);
        let mut offset = || generator.random_range(-reach..=reach) as isize;
        let offset = [offset(), offset()];
        let mut flip = |allowed: bool| allowed && generator.random_range(0..2) == 1;
        let mirrors = self.symmetry != Symmetry::None;
        let flips = [flip(mirrors), flip(mirrors)];
        let transpose = flip(self.symmetry == Symmetry::Turns && grid[0] == grid[1]);
        let mut within = |bound: f32| bound.abs() * generator.random_range(-1.0..=1.0f32);
        let factor = 1.0 + within(self.contrast);
        let sum = within(self.brightness);
        let mut warp = UNWARPED;
        if self.turn != 0.0 || self.zoom != 0.0 {
            let (sine, cosine) = within(self.turn).to_radians().sin_cos();
            let mut size = || (1.0 + self.zoom.abs()).powf(generator.random_range(-1.0..=1.0f32));
            let [down, along] = [size(), size()];
            warp = [[cosine * down, sine * down], [-sine * along, cosine * along]];
        }
        let mut smooth = |bound: f32| (bound != 0.0).then(|| Smooth::draw(bound, generator));
        let bend = smooth(self.bend).zip(smooth(self.bend)).map(|(down, along)| [down, along]);
        let field = smooth(self.field);
        let focus = if self.focus == 0.0 { 0.0 } else { self.focus * generator.random_range(-1.0..=1.0f32) };
        Change { grid, offset, flips, transpose, factor, sum, warp, bend, field, focus }
    }
}

#[cfg(test)]
mod tests {
    use lesio_settings::mutation::refusals;

    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        assert_eq!(SampleAugmentation::none().validate(), Ok(()));
        let (valid, check) = (SampleAugmentation::default, SampleAugmentation::validate);
        let refused = refusals(valid(), check, [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.1, 1e9]);
        refused("contrast", |own, value| own.contrast = value);
        refused("brightness", |own, value| own.brightness = value);
        refused("turn", |own, value| own.turn = value);
        refused("zoom", |own, value| own.zoom = value);
        refused("bend", |own, value| own.bend = value);
        refused("field", |own, value| own.field = value);
        refused("focus", |own, value| own.focus = value);
        refusals(valid(), check, [usize::MAX])("shift", |own, value| own.shift = value);
    }
}
