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
    /// Bent: places move by up to this many grid pixels along each axis, smoothly over the grid. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub bend: f32,
    /// Intensities are scaled by a smooth field of up to 1 plus or minus this, as coils do. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub field: f32,
    /// Blurred or sharpened by up to this share of the difference to a blurred image. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub focus: f32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

impl Default for Augmentation {
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

    /// With bent places, fields over the intensities and another focus: scans that might have been.
    #[must_use]
    pub fn varied(mut self, bend: f32, field: f32, focus: f32) -> Self {
        (self.bend, self.field, self.focus) = (bend, field, focus);
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
        let mut smooth = |bound: f32| (bound != 0.0).then(|| Smooth::draw(bound, generator));
        let bend = smooth(self.bend).zip(smooth(self.bend)).map(|(down, along)| [down, along]);
        let field = smooth(self.field);
        let focus = if self.focus == 0.0 { 0.0 } else { self.focus * generator.random_range(-1.0..=1.0f32) };
        Change { grid, offset, flips, transpose, factor, sum, warp, bend, field, focus }
    }
}

/// Knots along each side of a smooth field.
const KNOTS: usize = 4;

/// A smooth field over the grid: a cubic B-spline of few random coefficients.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Smooth([[f32; KNOTS]; KNOTS]);

impl Smooth {
    fn draw(bound: f32, generator: &mut ChaCha8Rng) -> Self {
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
    grid: [usize; 2],
    offset: [isize; 2],
    flips: [bool; 2],
    transpose: bool,
    factor: f32,
    sum: f32,
    /// From places about the centre to where their values come from.
    warp: [[f32; 2]; 2],
    /// How far places move besides, along rows' axis and columns'.
    bend: Option<[Smooth; 2]>,
    field: Option<Smooth>,
    /// Share of the difference to the blurred image that is added: below 0, blurred.
    focus: f32,
}

const UNWARPED: [[f32; 2]; 2] = [[1.0, 0.0], [0.0, 1.0]];

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

    /// Moves an image `[row, column]`; where it is warped, values are interpolated between pixels.
    pub(crate) fn place_image(&self, from: &[f32], into: &mut [f32]) {
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
        let centre = [height, width].map(|size| (size as f32 - 1.0) / 2.0);
        let columns: Vec<[f32; KNOTS]> =
            (0..width).map(|column| Smooth::weights(along_side(column, width))).collect();
        for row in 0..height {
            let rows = Smooth::weights(along_side(row, height));
            for column in 0..width {
                let from_centre = [row as f32 - centre[0], column as f32 - centre[1]];
                let bend = self.bend.map_or([0.0; 2], |bend| bend.map(|smooth| smooth.at(rows, columns[column])));
                let source: [f32; 2] = std::array::from_fn(|axis| {
                    let [down, along] = self.warp[axis];
                    let place = centre[axis] + down * from_centre[0] + along * from_centre[1] + bend[axis];
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

    /// Changes the intensities of an image.
    pub(crate) fn tone(&self, values: &mut [f32]) {
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
            ..views([1, 4], 1)[0]
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
        let mut c = random::generator(3, 4);
        let varied = Augmentation::default().warped(20.0, 0.2).varied(3.0, 0.2, 0.6).draw(&mut c, grid);
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
            let varied = Augmentation::none().varied(3.0, 0.0, 0.0);
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
