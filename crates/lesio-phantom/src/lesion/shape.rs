//! The shape of a lesion: an ellipsoid whose radius varies with the direction.

use lesio_image::noise::SmoothNoise;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Directions over which the size of a shape is averaged: the error of the volume is below a percent.
const DIRECTIONS: usize = 400;

/// A star-shaped body about the origin, of the volume of a ball (or the area of a disc) of given radius.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Rows take a direction to the ellipsoid's axes, divided by their relative lengths.
    axes: [[f64; 3]; 3],
    noise: SmoothNoise,
    irregularity: f64,
    scale: f64,
}

impl Shape {
    /// Draws a body in coordinates of which the first two lie within a slice; `flat` ones lie in the plane of these
    /// two.
    pub(super) fn draw(
        generator: &mut ChaCha8Rng,
        radius: f64,
        elongation: f64,
        irregularity: f64,
        flat: bool,
    ) -> Self {
        let lengths: [f64; 3] = std::array::from_fn(|_| elongation.powf(generator.random_range(-0.5..=0.5)));
        let rotation = if flat { turn(generator) } else { rotation(generator) };
        let axes = std::array::from_fn(|row| rotation[row].map(|value| value / lengths[row]));
        // On the unit sphere, a cell of 1 gives about a dozen bumps.
        let noise = SmoothNoise::new(generator.random(), 1.0);
        let mut shape = Self { axes, noise, irregularity, scale: 1.0 };
        let power = if flat { 2 } else { 3 };
        let mean: f64 = directions(flat).map(|d| shape.reach(d).powi(power)).sum::<f64>() / DIRECTIONS as f64;
        shape.scale = radius / mean.powf(1.0 / f64::from(power));
        shape
    }

    /// Distance of a place from the center over the distance of the surface in its direction.
    pub(super) fn depth(&self, offset: [f64; 3]) -> f64 {
        let length = norm(offset);
        if length == 0.0 { 0.0 } else { length / self.reach(offset.map(|v| v / length)) }
    }

    /// Distance of the surface from the center in a unit direction.
    pub(super) fn reach(&self, direction: [f64; 3]) -> f64 {
        let ellipsoid = 1.0 / norm(self.axes.map(|row| dot(row, direction)));
        // Two deviations at most: the radius stays positive, and bounded for the search box.
        let wobble = if self.irregularity == 0.0 { 0.0 } else { self.noise.at(direction).clamp(-2.0, 2.0) };
        self.scale * ellipsoid * (1.0 + self.irregularity * wobble)
    }

    /// No part of the surface is farther from the center.
    pub(super) fn farthest(&self) -> f64 {
        // The Frobenius norm of the inverse bounds every stretch; the axes are a rotation over lengths.
        let longest = self.axes.iter().map(|row| 1.0 / norm(*row)).fold(0.0, f64::max);
        self.scale * longest * (1.0 + 2.0 * self.irregularity)
    }
}

/// Directions spread evenly: equal steps on the circle, or the golden spiral on the sphere.
fn directions(flat: bool) -> impl Iterator<Item = [f64; 3]> {
    let golden = std::f64::consts::PI * (3.0 - 5f64.sqrt());
    (0..DIRECTIONS).map(move |number| {
        let share = (number as f64 + 0.5) / DIRECTIONS as f64;
        if flat {
            let (sin, cos) = (share * std::f64::consts::TAU).sin_cos();
            [cos, sin, 0.0]
        } else {
            let height = 1.0 - 2.0 * share;
            let (sin, cos) = (number as f64 * golden).sin_cos();
            let around = (1.0 - height * height).sqrt();
            [around * cos, around * sin, height]
        }
    })
}

/// A rotation in the plane of the first two axes.
fn turn(generator: &mut ChaCha8Rng) -> [[f64; 3]; 3] {
    let (sin, cos) = generator.random_range(0.0..std::f64::consts::TAU).sin_cos();
    [[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]]
}

/// A rotation drawn evenly from all: that of a normalized quaternion of normal deviates.
fn rotation(generator: &mut ChaCha8Rng) -> [[f64; 3]; 3] {
    let q: [f64; 4] = std::array::from_fn(|_| generator.sample(StandardNormal));
    let length = q.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let [w, x, y, z] = q.map(|v| v / length);
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
        [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
        [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
    ]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn norm(a: [f64; 3]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::generator;

    #[test]
    fn a_body_has_the_volume_of_its_ball() {
        for seed in 0..8 {
            let shape = Shape::draw(&mut generator(seed), 10.0, 2.0, 0.2, false);
            let far = shape.farthest();
            let (mut inside, step) = (0usize, 0.8);
            let count = (2.0 * far / step).ceil() as usize;
            for i in 0..count {
                for j in 0..count {
                    for k in 0..count {
                        let offset = [i, j, k].map(|v| v as f64 * step - far);
                        inside += usize::from(shape.depth(offset) <= 1.0);
                    }
                }
            }
            let volume = inside as f64 * step.powi(3);
            let ball = 4.0 / 3.0 * std::f64::consts::PI * 1000.0;
            assert!((volume / ball - 1.0).abs() < 0.03, "{volume} {ball}");
        }
    }

    #[test]
    fn no_surface_is_beyond_the_farthest() {
        for (seed, flat) in [(1, true), (2, false), (3, true), (4, false)] {
            let shape = Shape::draw(&mut generator(seed), 5.0, 3.0, 0.4, flat);
            assert!(directions(flat).all(|d| shape.reach(d) <= shape.farthest()));
        }
    }
}
