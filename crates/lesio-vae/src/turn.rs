//! The rotation of images.

/// What enters a rotated image from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edge {
    /// The nearest pixel of the edge, so that no corner of a photograph is black.
    Repeat,
    /// The opposite side, so that every part is like the image.
    Wrap,
}

/// A rotation about the center with a change of size.
pub(crate) struct Turn {
    /// From positions in the result to positions in the source: cosine and sine, divided by the size.
    cosine: f32,
    sine: f32,
}

impl Turn {
    pub(crate) fn new(degrees: f32, scale: f32) -> Self {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        Self { cosine: cosine / (1.0 + scale), sine: sine / (1.0 + scale) }
    }

    /// The source position of a pixel of the result, in rows and columns.
    fn source(&self, row: usize, column: usize, h: usize, w: usize) -> [f32; 2] {
        let (middle_row, middle_column) = ((h - 1) as f32 / 2.0, (w - 1) as f32 / 2.0);
        let (y, x) = (row as f32 - middle_row, column as f32 - middle_column);
        [self.cosine * y - self.sine * x + middle_row, self.sine * y + self.cosine * x + middle_column]
    }

    /// Rotates a plane with linear interpolation.
    pub(crate) fn apply(&self, plane: &mut [f32], h: usize, w: usize, edge: Edge) {
        let source = plane.to_vec();
        // The pixel at or before a position, the next one, and the position between both.
        let between = |place: f32, side: usize| match edge {
            Edge::Repeat => {
                let place = place.clamp(0.0, (side - 1) as f32);
                let first = place as usize;
                (first, (first + 1).min(side - 1), place - first as f32)
            }
            Edge::Wrap => {
                let wrapped = |pixel: i64| pixel.rem_euclid(side as i64) as usize;
                let first = place.floor();
                (wrapped(first as i64), wrapped(first as i64 + 1), place - first)
            }
        };
        for (index, value) in plane.iter_mut().enumerate() {
            let [y, x] = self.source(index / w, index % w, h, w);
            let ((row, below, down), (column, beside, right)) = (between(y, h), between(x, w));
            let at = |row: usize, column: usize| source[row * w + column];
            let top = at(row, column) * (1.0 - right) + at(row, beside) * right;
            let bottom = at(below, column) * (1.0 - right) + at(below, beside) * right;
            *value = top * (1.0 - down) + bottom * down;
        }
    }

    /// Rotates a mask with nearest-neighbor interpolation; pixels that enter repeat the edge, as in images.
    pub(crate) fn apply_mask(&self, mask: &mut [bool], h: usize, w: usize) {
        let source = mask.to_vec();
        let nearest = |place: f32, side: usize| place.round().clamp(0.0, (side - 1) as f32) as usize;
        for (index, value) in mask.iter_mut().enumerate() {
            let [y, x] = self.source(index / w, index % w, h, w);
            *value = source[nearest(y, h) * w + nearest(x, w)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_turn_about_their_middle() {
        let mut plane: Vec<f32> = (0..9).map(|k| k as f32).collect();
        Turn::new(90.0, 0.0).apply(&mut plane, 3, 3, Edge::Repeat);
        let turned = [6.0, 3.0, 0.0, 7.0, 4.0, 1.0, 8.0, 5.0, 2.0];
        let back = [2.0, 5.0, 8.0, 1.0, 4.0, 7.0, 0.0, 3.0, 6.0];
        let is = |expected: [f32; 9]| plane.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(is(turned) || is(back), "{plane:?}");
        // Twice as large: the middle stays, and its neighbors are halfway to it.
        let mut plane = vec![0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        Turn::new(0.0, 1.0).apply(&mut plane, 3, 3, Edge::Repeat);
        assert_eq!(plane, [0.25, 0.5, 0.25, 0.5, 1.0, 0.5, 0.25, 0.5, 0.25]);
        // What enters is like the edge: an image of one value stays what it is.
        let mut plane = vec![0.7; 25];
        Turn::new(30.0, -0.3).apply(&mut plane, 5, 5, Edge::Repeat);
        assert!(plane.iter().all(|value| (value - 0.7).abs() < 1e-6), "{plane:?}");
        // Half a turn of an image of an even side that wraps: every pixel is still there, once.
        let mut plane: Vec<f32> = (0..16).map(|k| k as f32).collect();
        Turn::new(180.0, 0.0).apply(&mut plane, 4, 4, Edge::Wrap);
        assert!(
            plane.iter().rev().enumerate().all(|(k, value)| (value - k as f32).abs() < 1e-4),
            "{plane:?}"
        );
        // A line of half the size continues from its other end.
        let mut plane = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        Turn::new(0.0, -0.5).apply(&mut plane, 1, 8, Edge::Wrap);
        assert!((plane[0] - 4.5).abs() < 1e-5 && (plane[2] - 0.5).abs() < 1e-5, "{plane:?}");
        let mut mask = vec![true; 25];
        Turn::new(30.0, -0.3).apply_mask(&mut mask, 5, 5);
        assert!(mask.iter().all(|&inside| inside));
    }
}
