//! Where a subject's structures are at each height, as outlines and strokes in millimetres.
//!
//! Coordinates are `[x, y]`, x to the right and y to the front of the middle of the brain; `z` is the
//! height above the plane through the commissures. Places and sizes follow those of an adult's axial
//! slices, rounded; every one is varied by subject, and smoothly by height.

use std::f64::consts::{PI, TAU};

use crate::canvas::Ring;
use crate::random::{SmoothNoise, branch, drift, uniform};

/// One point of a stroke: `[x, y, half-width]`.
pub(super) type Stroke = Vec<[f64; 3]>;

/// A subject.
#[derive(Clone, Debug)]
pub(super) struct Anatomy {
    seed: u64,
    /// Half-axes of the brain at its widest.
    half_width: f64,
    half_length: f64,
    /// Height of the brain's top.
    top: f64,
    /// Size of ventricles, and of the fluid around gyri; both grow with age.
    ventricles: f64,
    atrophy: f64,
    /// Size of the deep nuclei.
    nuclei: f64,
    /// Thickness of the cortex.
    pub(super) cortex: f64,
    /// Turn of the head in radians and its place on the grid.
    pub(super) angle: f64,
    pub(super) shift: [f64; 2],
    sulci: Vec<Sulcus>,
}

/// The outline of the brain at one height, as radius by direction.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    radius: Ring,
    /// Cosine of the angle between the outline's normal and the radius.
    slant: Ring,
    /// Thickness of what surrounds the cortex.
    fluid: Ring,
    skull: Ring,
    muscle: Ring,
    scalp: Ring,
    /// How much an oblique cut through the vault thickens its layers.
    obliquity: f64,
}

/// Thickness in millimetres of what lies between the brain's outline and the air, from inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vault {
    /// Compact bone on each side of the skull's marrow, part of `skull`.
    pub(super) table: f64,
    pub(super) skull: f64,
    pub(super) muscle: f64,
    pub(super) scalp: f64,
}

#[derive(Clone, Copy, Debug)]
struct Sulcus {
    seed: u64,
    /// Direction of its mouth as seen from the middle of the brain.
    direction: f64,
    depth: f64,
    /// Whether it opens into the fissure between the hemispheres, and on which side, instead of outwards.
    medial: Option<f64>,
}

impl Anatomy {
    pub(super) fn new(seed: u64) -> Self {
        let draw = |purpose, low, high| uniform(seed, purpose, low, high);
        let age: f64 = draw(10, 0.0, 1.0);
        let mut anatomy = Self {
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
            sulci: Vec::new(),
        };
        anatomy.sulci = anatomy.draw_sulci();
        anatomy
    }

    /// Size of the brain at a height relative to its largest: an arch that closes at the top.
    fn scale(&self, z: f64) -> f64 {
        let widest = 8.0;
        if z < widest {
            return 1.0 - 0.6 * ((widest - z) / 100.0).powi(2);
        }
        let rise = ((z - widest) / (self.top - widest)).min(0.98);
        (1.0 - rise.powf(2.4)).powf(1.0 / 2.4)
    }

    pub(super) fn outline(&self, z: f64) -> Outline {
        let scale = self.scale(z);
        // Rise of the vault for each millimetre outwards, from the arch.
        let slope = (self.scale(z + 0.5) - scale) / 0.5 * self.half_width;
        let obliquity = (1.0 + slope * slope).sqrt().min(2.2);
        let harmonics: Vec<[f64; 2]> = (2..7)
            .map(|order| {
                let seed = branch(self.seed, 100 + order);
                let size = 0.012 * 2.0 / order as f64;
                [size * drift(seed, z / 60.0), size * drift(branch(seed, 1), z / 60.0)]
            })
            .collect();
        // Most heads are a little flatter on one side at the back.
        let skew = uniform(self.seed, 30, -0.02, 0.02);
        let radius = Ring::new(|angle| {
            let (sin, cos) = angle.sin_cos();
            // Frontal lobes are narrower than parietal ones.
            let width = self.half_width * (1.0 - 0.06 * sin);
            let exponent = 2.2;
            let superellipse = ((cos / width).abs().powf(exponent)
                + (sin / self.half_length).abs().powf(exponent))
            .powf(-1.0 / exponent);
            let wobble: f64 = (2..)
                .zip(&harmonics)
                .map(|(order, [a, b])| {
                    let (s, c) = (f64::from(order) * angle).sin_cos();
                    a * c + b * s
                })
                .sum();
            scale * superellipse * (1.0 + wobble - skew * cos * sin.min(0.0))
        });
        let slant = Ring::new(|angle| {
            let step = 0.02;
            let change =
                (radius.at(angle + step) - radius.at(angle - step)) / (2.0 * step) / radius.at(angle);
            1.0 / (1.0 + change * change).sqrt()
        });
        let [fluid, skull, muscle, scalp] = [200, 201, 202, 203].map(|key| wave(branch(self.seed, key), z));
        // The muscle of chewing lies in the temple, thickest before the ear, and ends below the crown.
        let temple = ((36.0 - z) / 32.0).clamp(0.0, 1.0);
        Outline {
            fluid: Ring::new(|angle| {
                let ends = 0.5 * angle.sin().powi(2);
                (self.atrophy * (1.1 + 0.35 * fluid(angle) + ends)).max(0.4) * obliquity
            }),
            skull: Ring::new(|angle| {
                let ends = 1.5 * angle.sin().abs().powi(3);
                (6.3 + 0.8 * skull(angle) + ends).max(3.5) * obliquity
            }),
            muscle: Ring::new(|angle| {
                let across = (1.0 - (angle.sin() - 0.1).powi(2) / 0.3).max(0.0);
                (6.5 + muscle(angle)).max(0.0) * temple * across
            }),
            scalp: Ring::new(|angle| {
                let back = 1.2 * (-angle.sin()).max(0.0);
                (5.0 + 0.8 * scalp(angle) + back).max(2.5) * obliquity
            }),
            radius,
            slant,
            obliquity,
        }
    }

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

    fn draw_sulci(&self) -> Vec<Sulcus> {
        let mut sulci = Vec::new();
        let mut add = |direction, depth, medial| {
            let seed = branch(self.seed, 1000 + sulci.len() as u64);
            sulci.push(Sulcus { seed, direction, depth, medial });
        };
        // Around the outside: one each 10 millimetres or so, deep and shallow in turn.
        let count = 46;
        for number in 0..count {
            let jitter = uniform(self.seed, 300 + number, -0.3, 0.3);
            let direction = (number as f64 + 0.5 + jitter) / count as f64 * TAU;
            let deep = number % 2 == 0;
            let depth = if deep {
                uniform(self.seed, 400 + number, 18.0, 30.0)
            } else {
                uniform(self.seed, 400 + number, 10.0, 18.0)
            };
            // None beside the midline, where the fissure is.
            if direction.cos().abs() > 0.13 {
                add(direction, depth, None);
            }
        }
        // Along the fissure: `direction` is the place between its front and its back.
        for side in [-1.0, 1.0] {
            for number in 0..10 {
                let key = 500 + number + if side > 0.0 { 50 } else { 0 };
                let place = (number as f64 + 0.5 + uniform(self.seed, key, -0.25, 0.25)) / 10.0;
                add(place, uniform(self.seed, key + 100, 6.0, 17.0), Some(side));
            }
        }
        sulci
    }

    fn trace(&self, sulcus: &Sulcus, outline: &Outline, z: f64, strokes: &mut Vec<Stroke>) {
        // A sulcus runs obliquely through the slices: it comes, deepens, bends and goes with height.
        let mut depth = sulcus.depth * (1.0 + 0.3 * drift(sulcus.seed, z / 18.0)).clamp(0.4, 1.3);
        let mouth = match sulcus.medial {
            None => {
                let angle = sulcus.direction + 0.04 * drift(branch(sulcus.seed, 1), z / 25.0);
                // The Sylvian fissure takes the place of its neighbours.
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
    /// All follow one field of directions, inwards and swerving smoothly, so that neighbours bend alike and do
    /// not cross; `turn` lets the arm of a fork leave it.
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

impl Outline {
    /// Radius in a direction.
    pub(super) fn radius(&self, angle: f64) -> f64 {
        self.radius.at(angle)
    }

    /// Distance of a place to the outline, negative inside, and its direction.
    pub(super) fn at(&self, place: [f64; 2]) -> (f64, f64) {
        let [x, y] = place;
        let angle = y.atan2(x);
        (((x * x + y * y).sqrt() - self.radius.at(angle)) * self.slant.at(angle), angle)
    }

    /// A distance from the origin beyond which there is nothing but air.
    pub(super) fn air(&self) -> f64 {
        [&self.radius, &self.skull, &self.muscle, &self.scalp].iter().map(|ring| ring.largest()).sum()
    }

    /// Thickness of the fluid between the outline and the cortex.
    pub(super) fn fluid(&self, angle: f64) -> f64 {
        self.fluid.at(angle)
    }

    /// Thickness of what lies between the outline and the air.
    pub(super) fn vault(&self, angle: f64) -> Vault {
        Vault {
            table: 1.8 * self.obliquity,
            skull: self.skull.at(angle),
            muscle: self.muscle.at(angle),
            scalp: self.scalp.at(angle),
        }
    }
}

/// A variation of unit size around the head, alike at neighbouring heights.
fn wave(seed: u64, z: f64) -> impl Fn(f64) -> f64 {
    let waves = [(2.0, 0.6, 1), (3.0, 0.5, 2), (7.0, 0.4, 3)].map(|(order, size, key)| {
        let own = branch(seed, key);
        (order, size * drift(own, z / 40.0), TAU * uniform(own, 0, 0.0, 1.0))
    });
    move |angle| waves.iter().map(|(order, size, phase)| size * f64::sin(order * angle + phase)).sum()
}

/// 1 at the middle of a range of heights, falling as a half ellipse to 0 at `range` from it.
fn bump(z: f64, middle: f64, range: f64) -> f64 {
    (1.0 - ((z - middle) / range).powi(2)).max(0.0).sqrt()
}

/// Between which `y` the corpus callosum bridges the fissure, front and back; it ends above 31 mm.
fn callosal_gap(z: f64) -> [f64; 2] {
    let closing = ((31.0 - z) / 9.0).clamp(0.0, 1.0).sqrt();
    [2.0 + 39.0 * closing, -2.0 - 44.0 * closing]
}

/// A stroke through the same points without corners: a Catmull-Rom spline of places and widths.
fn smooth(points: &[[f64; 3]]) -> Stroke {
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
