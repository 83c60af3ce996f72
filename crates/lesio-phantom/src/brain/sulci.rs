//! The folds of the cortex at a height: sulci, and the two great fissures.

use std::f64::consts::PI;

use lesio_image::noise::{SmoothNoise, branch, drift, uniform};

use super::anatomy::{Anatomy, Stroke, bump, smooth};
use super::outline::Outline;
use super::sulcus::Sulcus;

impl Anatomy {
    /// Sulci at a height, wider where they open.
    pub(super) fn sulci(&self, outline: &Outline, z: f64) -> Vec<Stroke> {
        let mut strokes = Vec::new();
        for sulcus in &self.sulci {
            self.trace(sulcus, outline, z, &mut strokes);
        }
        self.fissure(outline, z, &mut strokes);
        for side in [-1.0, 1.0] {
            self.sylvian(side, outline, z, &mut strokes);
        }
        strokes
    }

    fn trace(&self, sulcus: &Sulcus, outline: &Outline, z: f64, strokes: &mut Vec<Stroke>) {
        // A sulcus runs obliquely through the slices: it comes, deepens, bends and goes with height.
        let mut depth = sulcus.depth * (1.0 + 0.3 * drift(sulcus.seed, z / 18.0)).clamp(0.4, 1.3);
        let mouth = match sulcus.medial {
            None => {
                let angle = sulcus.direction + 0.04 * drift(branch(sulcus.seed, 1), z / 25.0);
                // The Sylvian fissure takes the place of its neighbors.
                let off = (sulcus.direction.sin() - 0.1) / 0.28;
                depth *= 1.0 - 0.75 * bump(z, 4.0, 24.0) * (1.0 - off * off).max(0.0);
                let radius = outline.radius(angle) + 1.0;
                [radius * angle.cos(), radius * angle.sin()]
            }
            Some(_) => {
                let front = outline.radius(PI / 2.0) - 12.0;
                let back = outline.radius(-PI / 2.0) - 12.0;
                let y = front - sulcus.direction * (front + back);
                let [above, below] = callosal_gap(z);
                depth *= ((y - above).max(below - y) / 6.0).clamp(0.0, 1.0);
                [0.0, y]
            }
        };
        // Less than this is lost in the fluid and the cortex at the surface.
        if depth < 3.0 {
            return;
        }
        let width = self.atrophy * uniform(sulcus.seed, 2, 0.22, 0.5);
        let path = self.wander(mouth, sulcus.medial, 0.0, depth, z, |t| width * (1.7 - 1.2 * t));
        // Deep sulci fork, and the white matter between the arms makes a gyrus of its own.
        let arm = (depth - 12.0) * uniform(sulcus.seed, 3, 0.5, 0.9);
        if arm > 0.5 {
            let side = if uniform(sulcus.seed, 4, 0.0, 1.0) < 0.5 { -1.0 } else { 1.0 };
            let [x, y, _] = path[path.len() * 3 / 5];
            let turn = side * uniform(sulcus.seed, 5, 0.7, 1.1);
            strokes.push(self.wander([x, y], sulcus.medial, turn, arm, z, |t| width * (1.0 - 0.5 * t)));
        }
        strokes.push(path);
    }

    /// The path of a sulcus, its half-width a function of the share covered.
    ///
    /// All follow one field of directions, inwards and swerving smoothly, so that neighbors bend alike
    /// and do not cross; `turn` lets the arm of a fork leave it.
    fn wander(
        &self,
        from: [f64; 2],
        medial: Option<f64>,
        turn: f64,
        length: f64,
        z: f64,
        width: impl Fn(f64) -> f64,
    ) -> Stroke {
        let swerve = SmoothNoise::new(branch(self.seed, 601), 12.0);
        let steps = (length / 2.0).ceil().max(2.0);
        let stride = length / steps;
        let [mut x, mut y] = from;
        let mut points = vec![[x, y, width(0.0)]];
        for step in 1..=steps as u64 {
            let inwards = match medial {
                None => (-0.55 * y).atan2(-0.85 * x),
                Some(side) => (0.25 * y.signum()).atan2(side),
            };
            let lean = (0.5 * swerve.at([x, y, 0.8 * z])).clamp(-0.75, 0.75);
            let direction = inwards + turn + lean * (step as f64 * stride / 7.0).min(1.0);
            (x, y) = (x + stride * direction.cos(), y + stride * direction.sin());
            points.push([x, y, width(step as f64 / steps)]);
        }
        points
    }

    fn fissure(&self, outline: &Outline, z: f64, strokes: &mut Vec<Stroke>) {
        let width = 0.55 * self.atrophy;
        let seed = branch(self.seed, 600);
        let [above, below] = callosal_gap(z);
        let front = outline.radius(PI / 2.0) + 2.0;
        let back = -outline.radius(-PI / 2.0) - 2.0;
        let line = |from: f64, to: f64| -> Stroke {
            (0..=8)
                .map(|step| {
                    let y = from + (to - from) * f64::from(step) / 8.0;
                    let bend = 0.6 * drift(seed, y / 25.0 + z / 90.0);
                    let opening = 1.6 * (1.0 - f64::from(step) / 2.0).max(0.0);
                    [bend, y, width + opening * self.atrophy]
                })
                .collect()
        };
        strokes.push(line(front, above));
        strokes.push(line(back, below));
    }

    fn sylvian(&self, side: f64, outline: &Outline, z: f64, strokes: &mut Vec<Stroke>) {
        let presence = bump(z, 4.0, 24.0);
        if presence <= 0.1 {
            return;
        }
        let width = presence * self.atrophy;
        let seed = branch(self.seed, if side > 0.0 { 700 } else { 701 });
        let y = 4.0 + 3.0 * drift(seed, z / 30.0);
        let radius = outline.radius(0.1);
        let wave = |key: u64| 1.5 * drift(branch(seed, key), z / 20.0);
        let place = |x: f64, y: f64, w: f64| [side * x, y, w];
        strokes.push(smooth(&[
            place(radius + 1.0, y + 6.0, 1.6 * width),
            place(radius * 0.86, y + 3.0 + wave(1), 1.0 * width),
            place(radius * 0.74, y + wave(2), 0.8 * width),
            place(41.0, y + 1.0, 1.0 * width),
        ]));
        // The insula, at the bottom of the fissure.
        let reach = 0.4 + 0.6 * presence;
        strokes.push(smooth(&[
            place(36.0, y + 18.0 * reach, 0.4 * width),
            place(39.5, y + 9.0 * reach + wave(3) * 0.5, 0.9 * width),
            place(40.5, y, 1.1 * width),
            place(39.0, y - 10.0 * reach + wave(4) * 0.5, 0.9 * width),
            place(36.0, y - 21.0 * reach, 0.4 * width),
        ]));
    }
}

/// Between which `y` the corpus callosum bridges the fissure, front and back; it ends above 31 mm.
fn callosal_gap(z: f64) -> [f64; 2] {
    let closing = ((31.0 - z) / 9.0).clamp(0.0, 1.0).sqrt();
    [2.0 + 39.0 * closing, -2.0 - 44.0 * closing]
}
