//! Where a subject's heart is at each level and phase.
//!
//! Coordinates are `[x, y]` in millimeters from the middle of the left ventricle, the right ventricle
//! lying towards negative x, as short-axis images are shown. Sizes are those of adults, healthy and not:
//! dilated ventricles and thick walls are among them.

use std::f64::consts::TAU;

use lesio_image::noise::{branch, drift, uniform};

use super::phase::CardiacPhase;
use crate::canvas::Ring;

/// A subject.
#[derive(Clone, Debug)]
pub(super) struct Anatomy {
    seed: u64,
    /// Radius of the left cavity and thickness of its wall at the base in end-diastole.
    radius: f64,
    wall: f64,
    /// Radius in end-systole over that in end-diastole.
    shortening: f64,
    /// Size of the right ventricle relative to the left.
    right: f64,
    /// Turn of the heart in radians and its place on the grid.
    pub(super) angle: f64,
    pub(super) shift: [f64; 2],
}

/// One slice through the heart.
#[derive(Clone, Debug)]
pub(super) struct Section {
    center: [f64; 2],
    /// Radius of the left cavity and of the wall's outside, by direction.
    endocardium: Ring,
    epicardium: Ring,
    right: Option<Pouch>,
    /// Centers and radii of the papillary muscles.
    papillary: Vec<[f64; 3]>,
}

/// The right ventricle: an ellipse with a wavy rim, less the left ventricle.
#[derive(Clone, Debug)]
struct Pouch {
    center: [f64; 2],
    /// Half-axes across and along the septum.
    axes: [f64; 2],
    /// Relative radius by direction.
    rim: Ring,
}

/// Distances in millimeters of a place to boundaries, negative inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distances {
    pub(super) cavity: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) papillary: f64,
}

impl Anatomy {
    pub(super) fn new(seed: u64) -> Self {
        let draw = |purpose, low, high| uniform(seed, purpose, low, high);
        // Each sixth heart is dilated and beats weakly, each sixth has a thick wall.
        let condition = draw(10, 0.0, 6.0);
        let (dilation, thickening) = match condition {
            c if c < 1.0 => (draw(11, 5.0, 9.0), 0.0),
            c if c < 2.0 => (draw(11, -4.0, 0.0), draw(12, 3.0, 6.0)),
            _ => (0.0, 0.0),
        };
        Self {
            seed,
            radius: draw(13, 22.0, 27.0) + dilation,
            wall: draw(14, 7.5, 10.0) + thickening,
            shortening: draw(15, 0.58, 0.75) + if dilation > 0.0 { 0.14 } else { 0.0 },
            right: draw(16, 0.85, 1.15),
            angle: draw(17, -0.5, 0.5),
            shift: [draw(18, 0.0, 16.0), draw(19, -9.0, 9.0)],
        }
    }

    pub(super) fn section(&self, phase: CardiacPhase, level: f64) -> Section {
        let narrowing = (1.0 - 0.97 * level.powf(2.6)).max(0.0).sqrt();
        let (contraction, thickening) = match phase {
            CardiacPhase::EndDiastole => (1.0, 1.0),
            // The wall keeps its volume: it thickens as the cavity shrinks.
            CardiacPhase::EndSystole => (self.shortening, 1.0 + 0.95 * (1.0 - self.shortening)),
        };
        let cavity = self.radius * narrowing * contraction - 1.5 * level.powi(4);
        let wall = self.wall * thickening * (1.0 - 0.3 * level * level);
        let outer = self.radius * narrowing + self.wall;
        let center = [
            2.0 * drift(branch(self.seed, 20), 2.0 * level),
            2.0 * drift(branch(self.seed, 21), 2.0 * level),
        ];
        // The right ventricle is a pouch beside the left that ends before the apex.
        let pouch = (1.0 - (level / 0.88).powi(2)).max(0.0).sqrt() * self.right;
        let squeeze = if phase == CardiacPhase::EndSystole { 0.55 + 0.45 * self.shortening } else { 1.0 };
        let across = outer * 0.92 * pouch * squeeze;
        let along = outer * 1.05 * pouch.sqrt() * (0.5 + 0.5 * squeeze);
        let away = [center[0] - 0.9 * (cavity + wall), center[1] + 0.12 * outer];
        let papillary = if (0.22..0.82).contains(&level) && cavity > 6.0 {
            [0.75, -0.95]
                .iter()
                .zip(30..)
                .map(|(&angle, key)| {
                    let seed = branch(self.seed, key);
                    let angle = angle + 0.25 * drift(seed, 3.0 * level);
                    let size = 3.4 * (1.0 + 0.25 * drift(branch(seed, 1), 4.0 * level)) * thickening.sqrt();
                    let from_middle = (cavity - 0.9 * size).max(0.0) * 0.86;
                    let [x, y] = center;
                    [x + from_middle * f64::cos(angle), y + from_middle * f64::sin(angle), size]
                })
                .collect()
        } else {
            Vec::new()
        };
        let [thin, rough, wavy] = [(40, 0.035), (41, 0.07), (42, 0.05)]
            .map(|(key, size)| wave(branch(self.seed, key), level, size));
        let endocardium = Ring::new(|angle| (cavity * (1.0 + thin(angle))).max(0.0));
        let epicardium = Ring::new(|angle| endocardium.at(angle) + wall * (1.0 + rough(angle)));
        let rim = Ring::new(|angle| 1.0 + wavy(angle));
        let right = (across > 4.0).then_some(Pouch { center: away, axes: [across, along], rim });
        Section { center, endocardium, epicardium, right, papillary }
    }
}

impl Section {
    pub(super) fn at(&self, place: [f64; 2]) -> Distances {
        let [x, y] = [place[0] - self.center[0], place[1] - self.center[1]];
        let angle = y.atan2(x);
        let distance = (x * x + y * y).sqrt();
        let epicardium = self.epicardium.at(angle);
        let right = self.right.as_ref().map_or(f64::INFINITY, |pouch| {
            let [u, v] = [place[0] - pouch.center[0], place[1] - pouch.center[1]];
            let [across, along] = pouch.axes;
            let depth = ((u / across).powi(2) + (v / along).powi(2)).sqrt() / pouch.rim.at(v.atan2(u));
            // An ellipse's distance to first order, and no deeper than to the septum.
            ((depth - 1.0) * across.min(along)).max(epicardium - distance)
        });
        let papillary = self
            .papillary
            .iter()
            .map(|[px, py, radius]| ((place[0] - px).powi(2) + (place[1] - py).powi(2)).sqrt() - radius)
            .fold(f64::INFINITY, f64::min);
        Distances {
            cavity: distance - self.endocardium.at(angle),
            left: distance - epicardium,
            right,
            papillary,
        }
    }
}

/// A smooth variation around the circle, alike at neighboring levels.
fn wave(seed: u64, level: f64, size: f64) -> impl Fn(f64) -> f64 {
    let waves: [_; 3] = std::array::from_fn(|index| {
        let order = index as f64 + 2.0;
        let own = branch(seed, index as u64 + 2);
        (order, size * drift(own, 2.5 * level) * 2.0 / order, TAU * uniform(own, 0, 0.0, 1.0))
    });
    move |angle| waves.iter().map(|(order, size, phase)| size * (order * angle + phase).sin()).sum()
}
