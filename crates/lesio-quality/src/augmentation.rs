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
    /// Turned by up to this many degrees either way, about the centre. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub turn: f32,
    /// Enlarged or reduced by up to a factor of 1 plus this, along each axis by itself. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub zoom: f32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

impl Default for Augmentation {
    fn default() -> Self {
        let symmetry = Symmetry::default();
        Self { symmetry, shift: 5, contrast: 0.15, brightness: 0.15, turn: 0.0, zoom: 0.0 }
    }
}

impl Augmentation {
    /// No change at all.
    #[must_use]
    pub fn none() -> Self {
        Self { symmetry: Symmetry::None, shift: 0, contrast: 0.0, brightness: 0.0, ..Self::default() }
    }

    /// With turns of up to so many degrees and other sizes: patients that might have been.
    #[must_use]
    pub fn warped(mut self, turn: f32, zoom: f32) -> Self {
        (self.turn, self.zoom) = (turn, zoom);
        self
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
        Change { grid, offset, flips, transpose, factor, sum, warp }
    }
}

/// The first of four views of a sample: as it is, turned by half, mirrored along rows, along columns. Each undoes itself.
pub(crate) fn views(grid: [usize; 2], count: usize) -> Vec<Change> {
    let flips = [[false, false], [true, true], [true, false], [false, true]];
    let view = |flips| Change {
        grid,
        offset: [0, 0],
        flips,
        transpose: false,
        factor: 1.0,
        sum: 0.0,
        warp: UNWARPED,
    };
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
    /// From places about the centre to where their values come from.
    warp: [[f32; 2]; 2],
}

const UNWARPED: [[f32; 2]; 2] = [[1.0, 0.0], [0.0, 1.0]];

impl Change {
    /// Moves labels `[row, column]`; where they are warped, each pixel gets the nearest.
    pub(crate) fn place<T: Copy + Default>(&self, from: &[T], into: &mut [T]) {
        if self.warp == UNWARPED {
            return self.move_pixels(from, into);
        }
        let width = self.grid[1];
        let mut warped = vec![T::default(); from.len()];
        self.for_each_source(|position, [row, column]| {
            warped[position] = from[row.round() as usize * width + column.round() as usize];
        });
        self.move_pixels(&warped, into);
    }

    /// Moves an image `[row, column]`; where it is warped, values are interpolated between pixels.
    pub(crate) fn place_image(&self, from: &[f32], into: &mut [f32]) {
        if self.warp == UNWARPED {
            return self.move_pixels(from, into);
        }
        let [height, width] = self.grid;
        let mut warped = vec![0.0; from.len()];
        self.for_each_source(|position, [row, column]| {
            let (i, j) = (row as usize, column as usize);
            let (below, right) = ((i + 1).min(height - 1), (j + 1).min(width - 1));
            let (v, u) = (row - i as f32, column - j as f32);
            let at = |i: usize, j: usize| from[i * width + j];
            let upper = at(i, j) + u * (at(i, right) - at(i, j));
            let lower = at(below, j) + u * (at(below, right) - at(below, j));
            warped[position] = upper + v * (lower - upper);
        });
        self.move_pixels(&warped, into);
    }

    /// Calls for each pixel, with the place that its value comes from: beyond the border, on the border.
    fn for_each_source(&self, mut call: impl FnMut(usize, [f32; 2])) {
        let [height, width] = self.grid;
        let centre = [height, width].map(|size| (size as f32 - 1.0) / 2.0);
        for row in 0..height {
            for column in 0..width {
                let from_centre = [row as f32 - centre[0], column as f32 - centre[1]];
                let source: [f32; 2] = std::array::from_fn(|axis| {
                    let [down, along] = self.warp[axis];
                    let place = centre[axis] + down * from_centre[0] + along * from_centre[1];
                    place.clamp(0.0, self.grid[axis] as f32 - 1.0)
                });
                call(row * width + column, source);
            }
        }
    }

    fn move_pixels<T: Copy>(&self, from: &[T], into: &mut [T]) {
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
            warp: UNWARPED,
        };
        let mut into = [0.0; 4];
        change.place(&[1.0, 2.0, 3.0, 4.0], &mut into);
        assert_eq!(into, [1.0, 1.0, 1.0, 2.0]);
        change.tone(&mut into);
        assert_eq!(into, [3.0, 3.0, 3.0, 5.0]);
    }

    #[test]
    fn warps_turn_about_the_centre_and_move_image_and_labels_alike() {
        let grid = [9, 9];
        let change = Change { warp: [[0.0, 1.0], [-1.0, 0.0]], ..views(grid, 1)[0] };
        let values: Vec<f32> = (0..81).map(|k| k as f32).collect();
        let (mut turned, mut labels) = (vec![0.0; 81], vec![0.0; 81]);
        change.place_image(&values, &mut turned);
        change.place(&values, &mut labels);
        assert_eq!(turned, labels);
        assert_eq!((turned[40], turned[0], turned[8]), (40.0, 8.0, 80.0));
        // A ramp stays a ramp, twice as steep or half, and repeats its border.
        let change = Change { warp: [[1.0, 0.0], [0.0, 2.0]], ..views(grid, 1)[0] };
        change.place_image(&values, &mut turned);
        assert_eq!(turned[36..45], [36.0, 36.0, 36.0, 38.0, 40.0, 42.0, 44.0, 44.0, 44.0]);
        // What was never asked for draws nothing: the other changes are the same.
        let (mut a, mut b) = (random::generator(3, 4), random::generator(3, 4));
        let plain = Augmentation::default().draw(&mut a, grid);
        let warped = Augmentation::default().warped(20.0, 0.2).draw(&mut b, grid);
        assert_eq!(Change { warp: UNWARPED, ..warped }, plain);
        assert!(warped.warp != UNWARPED && plain.warp == UNWARPED);
    }
}
