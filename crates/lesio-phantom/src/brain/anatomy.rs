//! A subject: how large its structures are, and where those inside the brain lie at each height.
//!
//! Coordinates are `[x, y]`, x to the right and y to the front of the middle of the brain; `z` is the
//! height above the plane through the commissures. Places and sizes follow those of an adult's axial
//! slices, rounded; every one is varied by subject, and smoothly by height.

use lesio_image::noise::{branch, drift, uniform};

use super::sulcus::Sulcus;

/// The points of a stroke: `[x, y, half-width]`.
pub(super) type Stroke = Vec<[f64; 3]>;

/// A subject.
#[derive(Clone, Debug)]
pub(super) struct Anatomy {
    pub(super) seed: u64,
    /// Half-axes of the brain at its widest.
    pub(super) half_width: f64,
    pub(super) half_length: f64,
    /// Height of the brain's top.
    pub(super) top: f64,
    /// Size of ventricles, and of the fluid around gyri; both grow with age.
    pub(super) ventricles: f64,
    pub(super) atrophy: f64,
    /// Size of the deep nuclei.
    pub(super) nuclei: f64,
    /// Thickness of the cortex.
    pub(super) cortex: f64,
    /// Turn of the head in radians and its place on the grid.
    pub(super) angle: f64,
    pub(super) shift: [f64; 2],
    pub(super) sulci: Vec<Sulcus>,
}

impl Anatomy {
    pub(super) fn new(seed: u64) -> Self {
        let draw = |purpose, low, high| uniform(seed, purpose, low, high);
        let age: f64 = draw(10, 0.0, 1.0);
        Self {
            seed,
            half_width: draw(11, 62.0, 69.0),
            half_length: draw(12, 79.0, 87.0),
            top: draw(13, 73.0, 79.0),
            ventricles: 0.75 + 0.55 * age * age + draw(14, -0.1, 0.25),
            atrophy: 0.75 + 0.6 * age + draw(15, -0.1, 0.2),
            nuclei: draw(16, 0.92, 1.1),
            cortex: draw(17, 2.7, 3.4),
            angle: draw(18, -0.07, 0.07),
            shift: [draw(19, -4.0, 4.0), draw(20, -4.0, 4.0)],
            sulci: Sulcus::draw_all(seed),
        }
    }

    /// The fluid spaces inside the brain at a height.
    pub(super) fn ventricles(&self, z: f64) -> Vec<Stroke> {
        let size = self.ventricles;
        let mut strokes = Vec::new();
        for side in [-1.0, 1.0] {
            let seed = branch(self.seed, if side > 0.0 { 800 } else { 801 });
            let own = size * uniform(seed, 0, 0.88, 1.12);
            // Wide ventricles part, so that the septum between them stays.
            let apart = 2.5 * (own - 1.0);
            let path = [
                (14.0, 33.0, 1.6, 9.0, 17.0),
                (9.5, 24.0, 3.6, 11.0, 19.0),
                (6.2, 13.0, 3.6, 13.0, 19.0),
                (5.8, 2.0, 3.2, 19.0, 13.0),
                (8.5, -10.0, 4.0, 22.0, 10.5),
                (14.0, -22.0, 4.4, 20.0, 12.0),
                (21.5, -33.0, 5.0, 12.0, 17.0),
                (25.5, -43.0, 4.2, 7.0, 15.0),
                (26.0, -55.0, 1.4, 4.0, 12.0),
            ];
            let stroke = (10..).zip(path).map(|(key, (x, y, width, middle, range))| {
                let wave = 0.8 * drift(branch(seed, key), z / 18.0);
                let height = z + 1.5 * drift(branch(self.seed, 802), 0.5);
                // Below zero past the ends, so that the parts between meet a sharp point.
                let half = width * own * bump(height, middle, range) - 0.35;
                [side * (x + apart + wave), y + wave, half]
            });
            strokes.push(smooth(&stroke.collect::<Stroke>()));
        }
        let third = 1.3 * size * bump(z, 0.0, 12.0) - 0.2;
        let bend = 0.4 * drift(branch(self.seed, 803), z / 15.0);
        strokes.push(vec![[0.0, 7.0, third], [bend, -4.0, third], [0.0, -16.0, 0.8 * third]]);
        let cistern = 4.0 * self.atrophy * bump(z, -2.0, 13.0);
        strokes.push(vec![[-3.5, -36.0, 0.5 * cistern], [0.0, -34.0, cistern], [3.5, -36.0, 0.5 * cistern]]);
        strokes
    }

    /// The deep gray nuclei at a height.
    pub(super) fn nuclei(&self, z: f64) -> Vec<Stroke> {
        let size = self.nuclei;
        let apart = 2.5 * (self.ventricles - 1.0);
        let caudate = vec![
            [14.5 + apart, 24.0, 3.6 * size * bump(z, 7.0, 15.0)],
            [13.5 + apart, 15.0, 4.2 * size * bump(z, 8.0, 17.0)],
            [13.5 + apart, 4.0, 2.0 * size * bump(z, 16.0, 12.0)],
            [15.0 + apart, -8.0, 1.8 * size * bump(z, 20.0, 8.0)],
        ];
        let putamen = vec![
            [23.5, 20.0, 3.0 * size * bump(z, 3.0, 15.0)],
            [26.5, 10.0, 4.6 * size * bump(z, 3.0, 17.0)],
            [27.5, 0.0, 4.2 * size * bump(z, 3.0, 16.0)],
            [26.5, -11.0, 1.6 * size * bump(z, 5.0, 13.0)],
        ];
        let pallidum =
            vec![[20.0, 9.0, 2.6 * size * bump(z, 0.0, 11.0)], [21.0, -1.0, 3.0 * size * bump(z, 0.0, 11.0)]];
        let thalamus = vec![
            [6.5 + 0.5 * apart, -4.0, 4.3 * size * bump(z, 5.0, 12.0)],
            [9.5 + 0.5 * apart, -12.0, 6.4 * size * bump(z, 6.0, 13.0)],
            [13.0 + 0.5 * apart, -20.0, 5.6 * size * bump(z, 7.0, 12.0)],
        ];
        let mut strokes: Vec<Stroke> =
            [caudate, putamen, pallidum, thalamus].iter().map(|points| smooth(points)).collect();
        for index in 0..strokes.len() {
            strokes.push(crate::canvas::mirrored(&strokes[index]));
        }
        strokes
    }

    /// Where a horn of a lateral ventricle ends, right side: white matter is brightest there in FLAIR.
    pub(super) fn horns() -> [[f64; 2]; 2] {
        [[14.0, 35.0], [26.0, -54.0]]
    }
}

/// 1 at the middle of a range of heights, falling as a half ellipse to 0 at `range` from it.
pub(super) fn bump(z: f64, middle: f64, range: f64) -> f64 {
    (1.0 - ((z - middle) / range).powi(2)).max(0.0).sqrt()
}

/// A stroke through the same points without corners: a Catmull-Rom spline of places and widths.
pub(super) fn smooth(points: &[[f64; 3]]) -> Stroke {
    const STEPS: usize = 4;
    let at = |index: usize| points[index.min(points.len() - 1)];
    let mut out = Vec::with_capacity(points.len() * STEPS);
    for index in 0..points.len() - 1 {
        let [a, b, c, d] = [at(index.saturating_sub(1)), at(index), at(index + 1), at(index + 2)];
        for step in 0..STEPS {
            let t = step as f64 / STEPS as f64;
            out.push(std::array::from_fn(|axis| {
                let (a, b, c, d) = (a[axis], b[axis], c[axis], d[axis]);
                b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
            }));
        }
    }
    out.push(at(points.len() - 1));
    out
}
