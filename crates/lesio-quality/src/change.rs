//! A change of a sample that keeps its quality: a deformation and a change of intensities.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

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
        bend: None,
        field: None,
        focus: 0.0,
    };
    flips.into_iter().take(count.max(1)).map(view).collect()
}

/// One change, to be made alike to the image and to all that lies on its grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) grid: [usize; 2],
    pub(crate) offset: [isize; 2],
    pub(crate) flips: [bool; 2],
    pub(crate) transpose: bool,
    pub(crate) factor: f32,
    pub(crate) sum: f32,
    /// From places about the center to where their values come from.
    pub(crate) warp: [[f32; 2]; 2],
    /// How far places move besides, along rows' axis and columns'.
    pub(crate) bend: Option<[Smooth; 2]>,
    pub(crate) field: Option<Smooth>,
    /// Share of the difference to the blurred image that is added: below 0, blurred.
    pub(crate) focus: f32,
}

/// No warp.
pub(crate) const UNWARPED: [[f32; 2]; 2] = [[1.0, 0.0], [0.0, 1.0]];

impl Change {
    /// Moves labels `[row, column]`; where they are warped, each pixel gets the nearest.
    pub(crate) fn place<T: Copy + Default>(&self, from: &[T], into: &mut [T]) {
        if !self.is_warped() {
            return self.move_pixels(from, into);
        }
        let width = self.grid[1];
        let mut warped = vec![T::default(); from.len()];
        self.for_each_source(|position, [row, column]| {
            warped[position] = from[row.round() as usize * width + column.round() as usize];
        });
        self.move_pixels(&warped, into);
    }

    /// Moves and tones an image `[channel, row, column]`, all channels alike.
    pub(crate) fn place_image(&self, from: &[f32], into: &mut [f32]) {
        let pixels = (self.grid[0] * self.grid[1]).max(1);
        for (from, into) in from.chunks_exact(pixels).zip(into.chunks_exact_mut(pixels)) {
            self.place_channel(from, into);
            self.tone(into);
        }
    }

    /// Moves a channel `[row, column]`; where it is warped, values are interpolated between pixels.
    fn place_channel(&self, from: &[f32], into: &mut [f32]) {
        if !self.is_warped() {
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

    fn is_warped(&self) -> bool {
        self.warp != UNWARPED || self.bend.is_some()
    }

    /// Calls for each pixel, with the place that its value comes from: beyond the border, on the border.
    fn for_each_source(&self, mut call: impl FnMut(usize, [f32; 2])) {
        let [height, width] = self.grid;
        let center = [height, width].map(|size| (size as f32 - 1.0) / 2.0);
        let columns: Vec<[f32; KNOTS]> =
            (0..width).map(|column| Smooth::weights(along_side(column, width))).collect();
        for row in 0..height {
            let rows = Smooth::weights(along_side(row, height));
            for (column, weights) in columns.iter().enumerate() {
                let from_center = [row as f32 - center[0], column as f32 - center[1]];
                let bend = self.bend.map_or([0.0; 2], |bend| bend.map(|smooth| smooth.at(rows, *weights)));
                let source: [f32; 2] = std::array::from_fn(|axis| {
                    let [down, along] = self.warp[axis];
                    let place = center[axis] + down * from_center[0] + along * from_center[1] + bend[axis];
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

    /// Changes the intensities of a channel.
    fn tone(&self, values: &mut [f32]) {
        let [height, width] = self.grid;
        if self.focus != 0.0 {
            let blurred = blurred(values, self.grid);
            for (value, blurred) in values.iter_mut().zip(blurred) {
                *value += self.focus * (*value - blurred);
            }
        }
        if let Some(field) = &self.field {
            for (row, values) in values.chunks_exact_mut(width).enumerate() {
                let rows = Smooth::weights(along_side(row, height));
                for (column, value) in values.iter_mut().enumerate() {
                    *value *= 1.0 + field.at(rows, Smooth::weights(along_side(column, width)));
                }
            }
        }
        for value in values {
            *value = *value * self.factor + self.sum;
        }
    }
}

/// Knots along each side of a smooth field.
const KNOTS: usize = 4;

/// A smooth field over the grid: a bicubic Bezier surface over random knots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Smooth([[f32; KNOTS]; KNOTS]);

impl Smooth {
    /// One of knots within the bound.
    pub(crate) fn draw(bound: f32, generator: &mut ChaCha8Rng) -> Self {
        Self(std::array::from_fn(|_| std::array::from_fn(|_| bound * generator.random_range(-1.0..=1.0f32))))
    }

    /// The weights of the knots at a place of 0 to 1 along a side.
    fn weights(place: f32) -> [f32; KNOTS] {
        let t = place.clamp(0.0, 1.0);
        let u = 1.0 - t;
        [u * u * u, 3.0 * u * u * t, 3.0 * u * t * t, t * t * t]
    }

    /// Its value, within the bound, for weights along either side.
    fn at(&self, rows: [f32; KNOTS], columns: [f32; KNOTS]) -> f32 {
        let row = |knots: &[f32; KNOTS]| knots.iter().zip(columns).map(|(k, w)| k * w).sum::<f32>();
        self.0.iter().zip(rows).map(|(knots, weight)| weight * row(knots)).sum()
    }
}

fn along_side(position: usize, size: usize) -> f32 {
    position as f32 / (size.max(2) - 1) as f32
}

/// An image blurred by 1 2 1 along both axes, its border repeated.
fn blurred(image: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let pass = |from: &[f32], reach: [usize; 2]| -> Vec<f32> {
        let at = |row: usize, column: usize| from[row * width + column];
        let mut into = Vec::with_capacity(from.len());
        for row in 0..height {
            for column in 0..width {
                let before = at(row.saturating_sub(reach[0]), column.saturating_sub(reach[1]));
                let after = at((row + reach[0]).min(height - 1), (column + reach[1]).min(width - 1));
                into.push(0.25 * (before + after) + 0.5 * at(row, column));
            }
        }
        into
    };
    pass(&pass(image, [1, 0]), [0, 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augmentation::SampleAugmentation;
    use lesio_nn::random;

    #[test]
    fn no_change_changes_nothing_and_symmetries_keep_every_value() {
        let values: Vec<u8> = (0..12).collect();
        let mut into = vec![0; 12];
        let mut generator = random::generator(1, 2);
        SampleAugmentation::none().draw(&mut generator, [3, 4]).place(&values, &mut into);
        assert_eq!(into, values);
        let turns = SampleAugmentation { shift: 0, ..SampleAugmentation::default() };
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
            ..views([1, 4], 1)[0]
        };
        let mut into = [0.0; 4];
        change.place(&[1.0, 2.0, 3.0, 4.0], &mut into);
        assert_eq!(into, [1.0, 1.0, 1.0, 2.0]);
        change.tone(&mut into);
        assert_eq!(into, [3.0, 3.0, 3.0, 5.0]);
    }

    #[test]
    fn warps_turn_about_the_center_and_move_image_and_labels_alike() {
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
        let plain = SampleAugmentation::default().draw(&mut a, grid);
        let warped = SampleAugmentation::default().warped(20.0, 0.2).draw(&mut b, grid);
        assert_eq!(Change { warp: UNWARPED, ..warped }, plain);
        assert!(warped.warp != UNWARPED && plain.warp == UNWARPED);
        let mut c = random::generator(3, 4);
        let varied = SampleAugmentation::default().warped(20.0, 0.2).varied(3.0, 0.2, 0.6).draw(&mut c, grid);
        assert_eq!(Change { bend: None, field: None, focus: 0.0, ..varied }, warped);
    }

    #[test]
    fn bends_move_image_and_labels_by_as_much_as_they_may() {
        let grid = [16, 12];
        let row: Vec<f32> = (0..192).map(|k| (k / 12) as f32).collect();
        let column: Vec<f32> = (0..192).map(|k| (k % 12) as f32).collect();
        let whole = Smooth([[2.0; KNOTS]; KNOTS]);
        let none = Smooth([[0.0; KNOTS]; KNOTS]);
        let mut bent = vec![0.0; 192];
        // The same everywhere is a shift: the place two rows further down.
        let change = Change { bend: Some([whole, none]), ..views(grid, 1)[0] };
        change.place_image(&row, &mut bent);
        assert!(bent.iter().zip(&row).all(|(bent, row)| (bent - (row + 2.0).min(15.0)).abs() < 1e-5));
        change.place_image(&column, &mut bent);
        assert_eq!(bent, column);
        for seed in 0..20 {
            let mut generator = random::generator(seed, 1);
            let varied = SampleAugmentation::none().varied(3.0, 0.0, 0.0);
            let change = Change { flips: [false; 2], ..varied.draw(&mut generator, grid) };
            let mut labels = vec![0.0; 192];
            change.place_image(&row, &mut bent);
            change.place(&row, &mut labels);
            assert!(bent.iter().zip(&row).all(|(bent, row)| (bent - row).abs() <= 3.0 + 1e-4));
            assert!(bent.iter().zip(&row).any(|(bent, row)| (bent - row).abs() > 0.3));
            assert!(bent.iter().zip(&labels).all(|(bent, label)| (bent - label).abs() <= 0.5 + 1e-4));
        }
    }

    #[test]
    fn fields_and_focus_change_intensities_as_they_say() {
        let grid = [6, 5];
        let still = views(grid, 1)[0];
        let mut image = vec![2.0; 30];
        Change { focus: -1.0, ..still }.tone(&mut image);
        assert_eq!(image, [2.0; 30], "what is the same everywhere has no focus");
        image[12] = 6.0;
        let sharp = image.clone();
        Change { focus: -1.0, ..still }.tone(&mut image);
        assert_eq!((image[12], image[11], image[6]), (3.0, 2.5, 2.25), "1 2 1 along both axes");
        let mut image = sharp.clone();
        Change { focus: 0.5, ..still }.tone(&mut image);
        assert_eq!((image[12], image[11]), (7.5, 1.75));
        let mut image = vec![2.0; 30];
        let ramp = Smooth([[0.0; KNOTS], [0.1; KNOTS], [0.2; KNOTS], [0.3; KNOTS]]);
        Change { field: Some(ramp), ..still }.tone(&mut image);
        for (row, values) in image.chunks(5).enumerate() {
            let expected = 2.0 * (1.0 + 0.3 * row as f32 / 5.0);
            assert!(values.iter().all(|value| (value - expected).abs() < 1e-6), "{values:?}");
        }
    }
}
