//! One fold of the cortex, and how those of a subject are drawn.

use std::f64::consts::TAU;

use lesio_image::noise::{branch, uniform};

/// One fold, at all heights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sulcus {
    pub(super) seed: u64,
    /// Direction of its mouth as seen from the middle of the brain.
    pub(super) direction: f64,
    pub(super) depth: f64,
    /// Whether it opens into the fissure between the hemispheres, and on which side, instead of outwards.
    pub(super) medial: Option<f64>,
}

impl Sulcus {
    /// Draws a subject's sulci.
    pub(super) fn draw_all(subject: u64) -> Vec<Self> {
        let mut sulci = Vec::new();
        let mut add = |direction, depth, medial| {
            let seed = branch(subject, 1000 + sulci.len() as u64);
            sulci.push(Self { seed, direction, depth, medial });
        };
        // Around the outside: one each 10 millimeters or so, deep and shallow in turn.
        let count = 46;
        for number in 0..count {
            let jitter = uniform(subject, 300 + number, -0.3, 0.3);
            let direction = (number as f64 + 0.5 + jitter) / count as f64 * TAU;
            let deep = number % 2 == 0;
            let depth = if deep {
                uniform(subject, 400 + number, 18.0, 30.0)
            } else {
                uniform(subject, 400 + number, 10.0, 18.0)
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
                let place = (number as f64 + 0.5 + uniform(subject, key, -0.25, 0.25)) / 10.0;
                add(place, uniform(subject, key + 100, 6.0, 17.0), Some(side));
            }
        }
        sulci
    }
}
