//! Changes of a sample that leave its quality as it is.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Which symmetries of the grid samples are shown in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Symmetry {
    /// As they are.
    None,
    /// Mirrored along either axis.
    Mirrors,
    /// Mirrored and turned by right angles (on a grid that is not square: mirrored). The default:
    /// a network that knows no up or left needs fewer patients and takes files in any orientation.
    #[default]
    Turns,
}

/// Random changes made to each sample whenever it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Augmentation {
    /// Mirroring and turning.
    pub symmetry: Symmetry,
    /// Image and segmentation are moved together by up to this many grid pixels along each axis; what
    /// comes in over the border repeats the border. Default 5.
    pub shift: usize,
    /// Intensities are scaled by up to 1 plus or minus this. Default .15.
    pub contrast: f32,
    /// Up to this many deviations are added to all intensities. Default .15.
    pub brightness: f32,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { symmetry: Symmetry::default(), shift: 5, contrast: 0.15, brightness: 0.15 }
    }
}

impl Augmentation {
    /// No change at all.
    #[must_use]
    pub fn none() -> Self {
        Self { symmetry: Symmetry::None, shift: 0, contrast: 0.0, brightness: 0.0 }
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
        Change { grid, offset, flips, transpose, factor, sum }
    }
}

/// The first of four views of a sample: as it is, turned by half, mirrored along rows, along columns. Each undoes itself.
pub(crate) fn views(grid: [usize; 2], count: usize) -> Vec<Change> {
    let flips = [[false, false], [true, true], [true, false], [false, true]];
    let view = |flips| Change { grid, offset: [0, 0], flips, transpose: false, factor: 1.0, sum: 0.0 };
    flips.into_iter().take(count.max(1)).map(view).collect()
}

/// One change, to be made alike to the image and to all that lies on its grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    grid: [usize; 2],
    offset: [isize; 2],
    flips: [bool; 2],
    transpose: bool,
    factor: f32,
    sum: f32,
}

impl Change {
    /// Moves values `[row, column]`.
    pub(crate) fn place<T: Copy>(&self, from: &[T], into: &mut [T]) {
        let [height, width] = self.grid;
        for row in 0..height {
            for column in 0..width {
                let [mut i, mut j] = if self.transpose { [column, row] } else { [row, column] };
                if self.flips[0] {
                    i = height - 1 - i;
                }
                if self.flips[1] {
                    j = width - 1 - j;
                }
                let i = i.saturating_add_signed(self.offset[0]).min(height - 1);
                let j = j.saturating_add_signed(self.offset[1]).min(width - 1);
                into[row * width + column] = from[i * width + j];
            }
        }
    }

    /// Changes intensities.
    pub(crate) fn tone(&self, values: &mut [f32]) {
        for value in values {
            *value = *value * self.factor + self.sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_nn::random;

    #[test]
    fn no_change_changes_nothing_and_symmetries_keep_every_value() {
        let values: Vec<u8> = (0..12).collect();
        let mut into = vec![0; 12];
        let mut generator = random::generator(1, 2);
        Augmentation::none().draw(&mut generator, [3, 4]).place(&values, &mut into);
        assert_eq!(into, values);
        let turns = Augmentation { shift: 0, ..Augmentation::default() };
        let mut seen = std::collections::BTreeSet::new();
        let values: Vec<u8> = (0..9).collect();
        let mut into = vec![0; 9];
        for _ in 0..200 {
            turns.draw(&mut generator, [3, 3]).place(&values, &mut into);
            let mut sorted = into.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, values);
            seen.insert(into.clone());
        }
        assert_eq!(seen.len(), 8, "the square has eight symmetries");
    }

    #[test]
    fn views_differ_and_undo_themselves() {
        let values: Vec<u8> = (0..12).collect();
        let mut seen = std::collections::BTreeSet::new();
        for view in views([3, 4], 4) {
            let (mut there, mut back) = (vec![0; 12], vec![0; 12]);
            view.place(&values, &mut there);
            view.place(&there, &mut back);
            assert_eq!(back, values);
            seen.insert(there);
        }
        assert_eq!(seen.len(), 4);
        assert!(seen.contains(&values));
    }

    #[test]
    fn shifts_repeat_the_border() {
        let change = Change {
            grid: [1, 4],
            offset: [0, -2],
            flips: [false; 2],
            transpose: false,
            factor: 2.0,
            sum: 1.0,
        };
        let mut into = [0.0; 4];
        change.place(&[1.0, 2.0, 3.0, 4.0], &mut into);
        assert_eq!(into, [1.0, 1.0, 1.0, 2.0]);
        change.tone(&mut into);
        assert_eq!(into, [3.0, 3.0, 3.0, 5.0]);
    }
}
