//! The outline of the brain at each height, and the layers of the head around it.

use std::f64::consts::TAU;

use lesio_image::noise::{branch, drift, uniform};

use super::anatomy::Anatomy;
use crate::canvas::Ring;

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

/// Thickness in millimeters of what lies between the brain's outline and the air, from inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vault {
    /// Compact bone on each side of the skull's marrow, part of `skull`.
    pub(super) table: f64,
    pub(super) skull: f64,
    pub(super) muscle: f64,
    pub(super) scalp: f64,
}

impl Anatomy {
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
        // Rise of the vault for each millimeter outwards, from the arch.
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

/// A variation of unit size around the head, alike at neighboring heights.
fn wave(seed: u64, z: f64) -> impl Fn(f64) -> f64 {
    let waves = [(2.0, 0.6, 1), (3.0, 0.5, 2), (7.0, 0.4, 3)].map(|(order, size, key)| {
        let own = branch(seed, key);
        (order, size * drift(own, z / 40.0), TAU * uniform(own, 0, 0.0, 1.0))
    });
    move |angle| waves.iter().map(|(order, size, phase)| size * f64::sin(order * angle + phase)).sum()
}
