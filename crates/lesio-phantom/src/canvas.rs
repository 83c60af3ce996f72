//! Drawing in millimeters: where pixels are in the subject, and distances to strokes.

use std::f64::consts::TAU;

use ndarray::Array2;

/// Pixels in the subject's frame: a rigid placement of the subject on an isotropic grid.
///
/// Subject coordinates are `[x, y]` in millimeters, x growing with the columns and y against the rows,
/// with the subject's origin near the middle of the grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubjectFrame {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Pixel size in millimeters.
    pub(crate) pixel: f64,
    rotation: [f64; 2],
    shift: [f64; 2],
}

impl SubjectFrame {
    /// The subject turned by `angle` (radians, counter-clockwise) about its origin, then moved by `shift`.
    pub(crate) fn new(size: [usize; 2], pixel: f64, angle: f64, shift: [f64; 2]) -> Self {
        Self { rows: size[0], columns: size[1], pixel, rotation: [angle.cos(), angle.sin()], shift }
    }

    /// Subject coordinates of a pixel's center.
    pub(crate) fn place(&self, row: usize, column: usize) -> [f64; 2] {
        let x = (column as f64 - (self.columns as f64 - 1.0) / 2.0) * self.pixel - self.shift[0];
        let y = ((self.rows as f64 - 1.0) / 2.0 - row as f64) * self.pixel - self.shift[1];
        let [c, s] = self.rotation;
        [c * x + s * y, c * y - s * x]
    }

    /// Row and column, not rounded, of a place.
    fn pixel_of(&self, place: [f64; 2]) -> [f64; 2] {
        let [c, s] = self.rotation;
        let x = c * place[0] - s * place[1] + self.shift[0];
        let y = s * place[0] + c * place[1] + self.shift[1];
        [(self.rows as f64 - 1.0) / 2.0 - y / self.pixel, x / self.pixel + (self.columns as f64 - 1.0) / 2.0]
    }
}

/// Distances in millimeters to a union of strokes, negative inside, exact up to `reach` and `reach` beyond.
#[derive(Clone, Debug)]
pub(crate) struct DistanceField {
    frame: SubjectFrame,
    reach: f64,
    values: Array2<f32>,
}

impl DistanceField {
    /// The field of nothing.
    pub(crate) fn new(frame: SubjectFrame, reach: f64) -> Self {
        Self { frame, reach, values: Array2::from_elem((frame.rows, frame.columns), reach as f32) }
    }

    /// The distances `[row, column]`.
    pub(crate) fn values(&self) -> &Array2<f32> {
        &self.values
    }

    /// Adds a stroke along `points`, `[x, y, half-width]` each; between two points the width changes
    /// linearly.
    ///
    /// Parts whose half-width falls below zero at both ends are left out, so that a shape may taper off.
    pub(crate) fn stroke(&mut self, points: &[[f64; 3]]) {
        for pair in points.windows(2) {
            if pair[0][2] > 0.0 || pair[1][2] > 0.0 {
                self.segment(pair[0], pair[1]);
            }
        }
    }

    fn segment(&mut self, a: [f64; 3], b: [f64; 3]) {
        let margin = (a[2].max(b[2]) + self.reach) / self.frame.pixel;
        let [pa, pb] = [a, b].map(|[x, y, _]| self.frame.pixel_of([x, y]));
        // Saturating casts: a stroke outside the grid leaves an empty range.
        let span = |axis: usize, length: usize| {
            let low = (pa[axis].min(pb[axis]) - margin).ceil().max(0.0) as usize;
            let high = ((pa[axis].max(pb[axis]) + margin).floor() + 1.0).max(0.0) as usize;
            low..high.min(length)
        };
        let (rows, columns) = (span(0, self.frame.rows), span(1, self.frame.columns));
        let along = [b[0] - a[0], b[1] - a[1]];
        let inverse = 1.0 / (along[0] * along[0] + along[1] * along[1]).max(1e-12);
        for row in rows {
            for column in columns.clone() {
                let [x, y] = self.frame.place(row, column);
                let from = [x - a[0], y - a[1]];
                let t = ((from[0] * along[0] + from[1] * along[1]) * inverse).clamp(0.0, 1.0);
                let off = [from[0] - t * along[0], from[1] - t * along[1]];
                let distance = (off[0] * off[0] + off[1] * off[1]).sqrt() - (a[2] + t * (b[2] - a[2]));
                let value = &mut self.values[[row, column]];
                *value = value.min(distance as f32);
            }
        }
    }
}

/// A function of the direction, tabulated once for a slice: outlines are looked up at every pixel.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    values: Vec<f64>,
}

impl Ring {
    /// Directions at which a ring is tabulated.
    pub(crate) const STEPS: usize = 512;

    /// Tabulates a function of the angle in radians.
    pub(crate) fn new(f: impl Fn(f64) -> f64) -> Self {
        Self { values: (0..Self::STEPS).map(|step| f(step as f64 / Self::STEPS as f64 * TAU)).collect() }
    }

    /// The largest value.
    pub(crate) fn largest(&self) -> f64 {
        self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The value in a direction, interpolated.
    pub(crate) fn at(&self, angle: f64) -> f64 {
        let mut turns = angle / TAU;
        if !(0.0..1.0).contains(&turns) {
            turns -= turns.floor();
        }
        let position = turns * Self::STEPS as f64;
        let low = position as usize % Self::STEPS;
        let share = position.fract();
        self.values[low] * (1.0 - share) + self.values[(low + 1) % Self::STEPS] * share
    }
}

/// The share of a pixel that lies inside a boundary at signed `distance` (negative inside) of its center.
pub(crate) fn coverage(distance: f64, pixel: f64) -> f64 {
    (0.5 - distance / pixel).clamp(0.0, 1.0)
}

/// Mirrors a stroke across the midline.
pub(crate) fn mirrored(points: &[[f64; 3]]) -> Vec<[f64; 3]> {
    points.iter().map(|&[x, y, width]| [-x, y, width]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_its_pixel_agree() {
        let frame = SubjectFrame::new([40, 51], 1.7, 0.3, [4.0, -2.5]);
        for (row, column) in [(0, 0), (39, 50), (7, 30)] {
            let [r, c] = frame.pixel_of(frame.place(row, column));
            assert!((r - row as f64).abs() < 1e-9 && (c - column as f64).abs() < 1e-9);
        }
    }

    #[test]
    fn a_stroke_is_as_wide_as_asked() {
        let frame = SubjectFrame::new([101, 101], 0.5, 0.0, [0.0, 0.0]);
        let mut field = DistanceField::new(frame, 3.0);
        field.stroke(&[[-10.0, 0.0, 2.0], [10.0, 0.0, 2.0]]);
        let inside: f64 = field.values().iter().map(|&d| coverage(f64::from(d), 0.5) * 0.25).sum();
        let exact = 20.0 * 4.0 + std::f64::consts::PI * 4.0;
        assert!((inside - exact).abs() < 0.01 * exact, "{inside} {exact}");
        // Three millimeters above the middle the edge is one millimeter away; far away it is the reach.
        assert!((field.values()[[44, 50]] - 1.0).abs() < 1e-6);
        assert!((field.values()[[0, 50]] - 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_ring_closes() {
        let ring = Ring::new(|angle| 3.0 + angle.cos());
        for angle in [-0.001, 0.0, 0.004, 1.0, 6.2, 100.0_f64] {
            assert!((ring.at(angle) - 3.0 - angle.cos()).abs() < 1e-4);
        }
    }

    #[test]
    fn a_stroke_beside_the_grid_changes_nothing() {
        let frame = SubjectFrame::new([16, 16], 1.0, 0.0, [0.0, 0.0]);
        let mut field = DistanceField::new(frame, 2.0);
        field.stroke(&[[-100.0, 80.0, 2.0], [-90.0, 90.0, 2.0]]);
        field.stroke(&[[0.0, 0.0, -1.0], [1.0, 0.0, -0.5]]);
        assert!(field.values().iter().all(|&d| d == 2.0));
    }
}
