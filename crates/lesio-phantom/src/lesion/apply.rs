//! The change of an image by a lesion.

use lesio_image::noise::SmoothNoise;
use ndarray::{Array3, ArrayView3, ArrayViewMut3};
use rand::RngExt;
use rand_distr::StandardNormal;

use super::config::{LesionConfig, LesionKind};
use super::place::{Placed, surroundings};
use crate::random::generator;

/// Changes `changed`, a copy of `image`, where the lesion's profile is above 0, and nowhere else. Contrast is measured
/// from the level `background`.
pub(super) fn apply(
    config: &LesionConfig,
    placed: &Placed,
    image: &Array3<f32>,
    labels: ArrayView3<'_, u8>,
    background: f64,
    mut changed: ArrayViewMut3<'_, f32>,
) {
    if config.contrast == 0.0 {
        return;
    }
    let mean = surroundings(placed, &config.extent, image, labels);
    // Never negative: a bright lesion is brighter and a dark one darker, even in tissue below the background.
    let distance = (mean - background).abs();
    let values: Vec<f64> = match config.kind {
        LesionKind::Bright => shade(image, placed, config.contrast * distance),
        LesionKind::Dark => {
            let lowest = f64::from(image.iter().copied().fold(f32::INFINITY, f32::min));
            let mut values = shade(image, placed, -config.contrast * distance);
            values.iter_mut().for_each(|value| *value = value.max(lowest));
            values
        }
        LesionKind::Displaced => displace(image, placed, config.contrast),
        LesionKind::Textured => texture(image, placed, config.contrast * distance),
        LesionKind::Missing => flatten(image, placed, config.contrast, mean),
        LesionKind::Misplaced => transplant(image, placed, config.contrast),
        LesionKind::Foreign => stripes(image, placed, config.contrast, mean, background),
    };
    for (&(index, _), value) in placed.profile.iter().zip(values) {
        // Finite stays finite.
        changed[index] = value.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
    }
}

/// The image plus a constant times the profile.
fn shade(image: &Array3<f32>, placed: &Placed, difference: f64) -> Vec<f64> {
    placed.profile.iter().map(|&(index, profile)| f64::from(image[index]) + profile * difference).collect()
}

/// The image plus smooth noise of zero mean and of a given deviation, both weighted by the profile.
fn texture(image: &Array3<f32>, placed: &Placed, deviation: f64) -> Vec<f64> {
    // Coarse enough for the grid to carry, fine enough for several bumps to fit in.
    let finest = placed.axes.pixel(placed.spacing);
    let noise = SmoothNoise::new(placed.seed, (placed.radius / 3.5).max(1.3 * finest));
    let weights: f64 = placed.profile.iter().map(|(_, profile)| profile).sum();
    let values: Vec<f64> = placed
        .profile
        .iter()
        .map(|(index, _)| {
            let place = std::array::from_fn(|axis| index[axis] as f64 * placed.spacing[axis]);
            noise.at(placed.axes.ordered(place))
        })
        .collect();
    let weighted = |f: &dyn Fn(f64) -> f64| -> f64 {
        placed.profile.iter().zip(&values).map(|((_, profile), &value)| profile * f(value)).sum::<f64>()
            / weights
    };
    let mean = weighted(&|value| value);
    let spread = weighted(&|value| (value - mean).powi(2)).sqrt();
    // A lesion of one voxel has no texture.
    let scale = if spread > 0.0 { deviation / spread } else { 0.0 };
    placed
        .profile
        .iter()
        .zip(&values)
        .map(|(&(index, profile), value)| f64::from(image[index]) + profile * scale * (value - mean))
        .collect()
}

/// The image blended with a constant, with the noise that this takes away put back.
fn flatten(image: &Array3<f32>, placed: &Placed, strength: f64, constant: f64) -> Vec<f64> {
    let noise = noise_deviation(image, placed);
    let mut generator = generator(placed.seed);
    let blended = |&(index, profile): &([usize; 3], f64)| {
        let kept = 1.0 - strength * profile;
        let deviate: f64 = generator.sample(StandardNormal);
        let value = kept * f64::from(image[index]) + (1.0 - kept) * constant;
        value + noise * (1.0 - kept * kept).max(0.0).sqrt() * deviate
    };
    placed.profile.iter().map(blended).collect()
}

/// The image blended with itself at another place.
fn transplant(image: &Array3<f32>, placed: &Placed, strength: f64) -> Vec<f64> {
    let blended = |&(index, profile): &([usize; 3], f64)| {
        let (own, share) = (f64::from(image[index]), strength * profile);
        placed.source(index).map_or(own, |from| (1.0 - share) * own + share * f64::from(image[from]))
    };
    placed.profile.iter().map(blended).collect()
}

/// The image blended with stripes about a constant, across a random direction within the slices. They differ from the
/// constant by a share of its distance from the background.
fn stripes(image: &Array3<f32>, placed: &Placed, contrast: f64, constant: f64, background: f64) -> Vec<f64> {
    // Of a half of the radius each, or three voxels.
    let finest = placed.axes.pixel(placed.spacing);
    let [first, second] = placed.axes.plane;
    let distance = constant - background;
    let width = (0.5 * placed.radius).max(3.0 * finest);
    let angle = generator(placed.seed).random_range(0.0..std::f64::consts::PI);
    let blended = |&(index, profile): &([usize; 3], f64)| {
        let along = |axis: usize| (index[axis] as f64 - placed.center[axis]) * placed.spacing[axis];
        // The center is the middle of a bright stripe.
        let at = (along(first) * angle.cos() + along(second) * angle.sin()) / width + 0.5;
        let sign = if at.floor().rem_euclid(2.0) == 0.0 { 1.0 } else { -1.0 };
        let own = (1.0 - profile) * f64::from(image[index]);
        own + profile * background + profile * distance * (1.0 + contrast * sign)
    };
    placed.profile.iter().map(blended).collect()
}

/// The image magnified about the center, by most there and less and less outwards.
fn displace(image: &Array3<f32>, placed: &Placed, strength: f64) -> Vec<f64> {
    let noise = noise_deviation(image, placed);
    let mut generator = generator(placed.seed);
    placed
        .profile
        .iter()
        .map(|&(index, profile)| {
            let from = std::array::from_fn(|axis| {
                placed.center[axis] + (1.0 - strength * profile) * (index[axis] as f64 - placed.center[axis])
            });
            let (value, kept) = interpolate(image, from);
            // White noise of variance s^2 has s^2 times the sum of squared weights after interpolation.
            let lost = noise * (1.0 - kept).max(0.0).sqrt();
            let deviate: f64 = generator.sample(StandardNormal);
            value + lost * deviate
        })
        .collect()
}

/// Trilinear interpolation at a place within the grid, and the sum of its squared weights.
fn interpolate(image: &Array3<f32>, place: [f64; 3]) -> (f64, f64) {
    let low: [usize; 3] =
        std::array::from_fn(|axis| (place[axis] as usize).min(image.shape()[axis].saturating_sub(1)));
    let (mut value, mut squares) = (0.0, 0.0);
    for corner in 0..8usize {
        let mut weight = 1.0;
        let index: [usize; 3] = std::array::from_fn(|axis| {
            let share = place[axis] - low[axis] as f64;
            let upper = corner >> axis & 1;
            weight *= if upper == 1 { share } else { 1.0 - share };
            (low[axis] + upper).min(image.shape()[axis] - 1)
        });
        if weight > 0.0 {
            value += weight * f64::from(image[index]);
            squares += weight * weight;
        }
    }
    (value, squares)
}

/// Deviation of the noise under a lesion: the median absolute second difference over that of a unit normal (Rousseeuw
/// and Croux 1993 for the constant), which edges hardly move. Differences are taken along the axis of the closest
/// voxels: between slices that are millimeters apart, most of a difference is anatomy.
fn noise_deviation(image: &Array3<f32>, placed: &Placed) -> f64 {
    let axis = placed.axes.finest;
    let length = image.shape()[axis];
    let mut differences: Vec<f64> = placed
        .profile
        .iter()
        .filter(|(index, _)| index[axis] > 0 && index[axis] + 1 < length)
        .map(|&(index, _)| {
            let at = |position: usize| {
                let mut place = index;
                place[axis] = position;
                f64::from(image[place])
            };
            let i = index[axis];
            (at(i - 1) - 2.0 * at(i) + at(i + 1)).abs()
        })
        .collect();
    if differences.is_empty() {
        return 0.0;
    }
    let middle = differences.len() / 2;
    let (_, median, _) = differences.select_nth_unstable_by(middle, f64::total_cmp);
    // The second difference of white noise has six times its variance.
    *median * 1.4826 / 6f64.sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::axes::Axes;
    use super::*;
    use crate::random::generator;

    #[test]
    fn noise_is_measured_across_edges() {
        let mut random = generator(1);
        let image = Array3::from_shape_fn((60, 60, 1), |(i, _, _)| {
            let deviate: f32 = random.sample(StandardNormal);
            // Three steps of fifty deviations each.
            f32::from((i / 15) as u8) * 100.0 + 2.0 * deviate
        });
        let profile = image.indexed_iter().map(|(index, _)| (index.into(), 1.0)).collect();
        let placed = Placed {
            center: [30.0, 30.0, 0.0],
            radius: 30.0,
            spacing: [1.0; 3],
            axes: Axes::of([60, 60, 1], [1.0; 3]),
            profile,
            offset: None,
            seed: 0,
        };
        let found = noise_deviation(&image, &placed);
        assert!((found - 2.0).abs() < 0.4, "{found}");
    }

    #[test]
    fn interpolation_is_exact_on_a_plane_and_at_corners() {
        let image = Array3::from_shape_fn((5, 6, 3), |(i, j, k)| (2 * i + 3 * j + 5 * k) as f32);
        let (value, _) = interpolate(&image, [1.25, 2.5, 0.75]);
        assert!((value - (2.5 + 7.5 + 3.75)).abs() < 1e-9);
        assert_eq!(interpolate(&image, [4.0, 5.0, 2.0]), (33.0, 1.0));
    }
}
