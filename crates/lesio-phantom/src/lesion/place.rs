//! Random positions in which lesions fit.

use lesio_image::Geometry;
use lesio_image::noise::branch;
use ndarray::{Array3, ArrayView3, Axis};
use rand::RngExt;

use super::axes::Axes;
use super::config::{LesionConfig, LesionKind, Site};
use super::error::LesionError;
use super::shape::Shape;
use crate::canvas::coverage;
use crate::random::generator;

/// Centers tried for each lesion before it counts as one that does not fit.
const ATTEMPTS: usize = 300;
/// Share of a lesion that lies where it is allowed.
const SHARE_INSIDE: f64 = 0.75;
/// Candidate places for lesions that leave no trace in even tissue. The one where the image changes most is taken.
const CHOICES: usize = 8;

/// A lesion in its place.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    /// Center in voxel indices.
    pub(super) center: [f64; 3],
    /// Radius in millimeters.
    pub(super) radius: f64,
    /// Voxel size in millimeters.
    pub(super) spacing: [f64; 3],
    /// The axes of the volume.
    pub(super) axes: Axes,
    /// Voxels where the profile is above 0, in the order of the array, with the profile.
    pub(super) profile: Vec<([usize; 3], f64)>,
    /// How many voxels away its content is taken from, along each axis, if it is from another place.
    pub(super) offset: Option<[isize; 3]>,
    /// Seed of what is random about its content.
    pub(super) seed: u64,
}

impl Placed {
    /// Where the content of a voxel is taken from.
    pub(super) fn source(&self, index: [usize; 3]) -> Option<[usize; 3]> {
        moved(index, self.offset?)
    }
}

/// A voxel so many voxels away; `None` below the first voxel.
fn moved(index: [usize; 3], offset: [isize; 3]) -> Option<[usize; 3]> {
    let mut found = [0; 3];
    for axis in 0..3 {
        found[axis] = index[axis].checked_add_signed(offset[axis])?;
    }
    Some(found)
}

/// What lesions are placed in.
struct Scene<'a> {
    labels: ArrayView3<'a, u8>,
    spacing: [f64; 3],
    axes: Axes,
    /// For each axis, the slices that are looked at. Slices without a label, across the slices or from the feet up,
    /// were not labeled, or not imaged, and tell nothing of where the brain ends: many a file holds a slab within empty
    /// slices.
    labeled: [Vec<bool>; 3],
    /// Voxels of the lesions placed so far.
    taken: Array3<bool>,
}

/// Places every lesion of a configuration, none overlapping another.
pub(super) fn place(
    config: &LesionConfig,
    image: &Array3<f32>,
    labels: ArrayView3<'_, u8>,
    geometry: &Geometry,
    seed: u64,
) -> Result<Vec<Placed>, LesionError> {
    let shape: [usize; 3] = labels.dim().into();
    let (axes, spacing) = (Axes::in_world(shape, geometry), geometry.spacing());
    let voxels = |site: &Site| -> Vec<[usize; 3]> {
        axes.voxels(shape).filter(|&voxel| site.holds(labels[voxel])).collect()
    };
    let centers = voxels(&config.center);
    if centers.is_empty() {
        return Err(LesionError::EmptySite { site: config.center.clone() });
    }
    // Where tissue of another place may be from.
    let sources = if config.kind == LesionKind::Misplaced { voxels(&Site::Mask) } else { Vec::new() };
    let mut labeled = shape.map(|length| vec![true; length]);
    for axis in [axes.across, if axes.flat { axes.across } else { axes.up() }] {
        let slices = labels.axis_iter(Axis(axis));
        labeled[axis] = slices.map(|slice| slice.iter().any(|&label| label != 0)).collect();
    }
    let taken = Array3::from_elem(labels.dim(), false);
    let mut scene = Scene { labels, spacing, axes, labeled, taken };
    let mut all = Vec::new();
    for number in 0..config.count as u64 {
        let seed = branch(seed, number);
        let mut generator = generator(seed);
        let [smallest, largest] = config.radius;
        let radius = generator.random_range(smallest..=largest);
        let shape = Shape::draw(&mut generator, radius, config.elongation, config.irregularity, axes.flat);
        let wanted = match config.kind {
            LesionKind::Displaced | LesionKind::Missing | LesionKind::Misplaced => CHOICES,
            _ => 1,
        };
        let mut fitting: Vec<(f64, Placed)> = Vec::new();
        for _ in 0..ATTEMPTS {
            let voxel = centers[generator.random_range(0..centers.len())];
            let Some(profile) = fit(config, &shape, radius, voxel, &scene) else {
                continue;
            };
            let mut offset = None;
            let interest = match config.kind {
                LesionKind::Misplaced => {
                    let from = sources[generator.random_range(0..sources.len())];
                    let from: [isize; 3] =
                        std::array::from_fn(|axis| from[axis] as isize - voxel[axis] as isize);
                    offset = Some(from);
                    let Some(difference) = difference(image, &profile, from, radius, &scene) else {
                        continue;
                    };
                    difference
                }
                _ if wanted > 1 => variance(image, &profile),
                _ => 0.0,
            };
            let center = voxel.map(|v| v as f64);
            let seed = branch(seed, 1);
            fitting.push((interest, Placed { center, radius, spacing, axes, profile, offset, seed }));
            if fitting.len() == wanted {
                break;
            }
        }
        // The first of the most interesting.
        let best = fitting.into_iter().reduce(|best, other| if other.0 > best.0 { other } else { best });
        let Some((_, placed)) = best else {
            return Err(LesionError::NoRoom { placed: all.len(), wanted: config.count, radius });
        };
        for &(index, _) in &placed.profile {
            scene.taken[index] = true;
        }
        all.push(placed);
    }
    Ok(all)
}

/// The profile of a lesion about a voxel; `None` where it does not fit.
fn fit(
    config: &LesionConfig,
    shape: &Shape,
    radius: f64,
    center: [usize; 3],
    scene: &Scene<'_>,
) -> Option<Vec<([usize; 3], f64)>> {
    let Scene { labels, spacing, axes, labeled, taken } = scene;
    let displaced = config.kind == LesionKind::Displaced;
    let whole = config.kind.covers_structures();
    let voxel = if axes.flat { axes.pixel(*spacing) } else { spacing.iter().copied().fold(0.0, f64::max) };
    let edge = config.edge.max(voxel);
    // Where the profile falls to the truth's fraction is where the shape's surface shall be.
    let fraction = config.truth_fraction;
    let stretch = (1.0 - fraction.sqrt()).sqrt();
    let profile_at = |depth: f64| {
        if displaced {
            (1.0 - (depth * stretch).powi(2)).max(0.0).powi(2)
        } else {
            coverage((depth - 1.0) * radius + (0.5 - fraction) * edge, edge)
        }
    };
    let reach = if displaced { shape.farthest() / stretch } else { shape.farthest() * (1.0 + edge / radius) };
    let mut profile = Vec::new();
    let (mut all, mut inside, mut truth) = (0usize, 0usize, 0usize);
    let span = |axis: usize| {
        let half = (reach / spacing[axis]).ceil() as usize;
        center[axis].saturating_sub(half)
            ..center[axis].saturating_add(half).saturating_add(1).min(labels.shape()[axis])
    };
    for i in span(0).filter(|&i| labeled[0][i]) {
        for j in span(1).filter(|&j| labeled[1][j]) {
            for k in span(2).filter(|&k| labeled[2][k]) {
                let offset = std::array::from_fn(|axis| {
                    ([i, j, k][axis] as f64 - center[axis] as f64) * spacing[axis]
                });
                let value = profile_at(shape.depth(axes.ordered(offset)));
                if value <= 0.0 {
                    continue;
                }
                if taken[[i, j, k]] {
                    return None;
                }
                let label = labels[[i, j, k]];
                let allowed = if whole { label != 0 } else { config.extent.holds(label) };
                all += 1;
                inside += usize::from(allowed);
                if allowed {
                    truth += usize::from(value >= fraction);
                    profile.push(([i, j, k], value));
                }
            }
        }
    }
    (truth > 0 && inside as f64 >= SHARE_INSIDE * all as f64).then_some(profile)
}

/// Mean absolute difference of the image under a profile from the image at another place; `None` if that place is less
/// than two radii away, or not all of the mask.
fn difference(
    image: &Array3<f32>,
    profile: &[([usize; 3], f64)],
    offset: [isize; 3],
    radius: f64,
    scene: &Scene<'_>,
) -> Option<f64> {
    let squared: f64 = (0..3).map(|axis| (offset[axis] as f64 * scene.spacing[axis]).powi(2)).sum();
    if squared < (2.0 * radius).powi(2) {
        return None;
    }
    let mut sum = 0.0;
    for &(index, _) in profile {
        let from = moved(index, offset)?;
        if scene.labels.get(from).is_none_or(|&label| label == 0) {
            return None;
        }
        sum += f64::from((image[index] - image[from]).abs());
    }
    Some(sum / profile.len().max(1) as f64)
}

/// Variance of the image under a profile.
fn variance(image: &Array3<f32>, profile: &[([usize; 3], f64)]) -> f64 {
    let n = profile.len().max(1) as f64;
    let mean = profile.iter().map(|(index, _)| f64::from(image[*index])).sum::<f64>() / n;
    profile.iter().map(|(index, _)| (f64::from(image[*index]) - mean).powi(2)).sum::<f64>() / n
}

/// Mean intensity of the tissue within about a radius outside of a lesion; of the lesion's own voxels
/// where there is hardly any.
pub(super) fn surroundings(
    placed: &Placed,
    extent: &Site,
    image: &Array3<f32>,
    labels: ArrayView3<'_, u8>,
) -> f64 {
    let reach = 2.0 * placed.radius;
    let span = |axis: usize| {
        let half = (reach / placed.spacing[axis]).ceil() as usize;
        let center = placed.center[axis] as usize;
        center.saturating_sub(half)..center.saturating_add(half).saturating_add(1).min(labels.shape()[axis])
    };
    let mut own = placed.profile.iter().map(|(index, _)| *index).peekable();
    let (mut sum, mut count) = (0.0, 0usize);
    for i in span(0) {
        for j in span(1) {
            for k in span(2) {
                // Both run in the order of the array.
                while own.next_if(|index| *index < [i, j, k]).is_some() {}
                if own.peek() == Some(&[i, j, k]) || !extent.holds(labels[[i, j, k]]) {
                    continue;
                }
                let squared: f64 = (0..3)
                    .map(|axis| {
                        (([i, j, k][axis] as f64 - placed.center[axis]) * placed.spacing[axis]).powi(2)
                    })
                    .sum();
                if squared <= reach * reach {
                    sum += f64::from(image[[i, j, k]]);
                    count += 1;
                }
            }
        }
    }
    if count >= 8 {
        return sum / count as f64;
    }
    let n = placed.profile.len().max(1) as f64;
    placed.profile.iter().map(|(index, _)| f64::from(image[*index])).sum::<f64>() / n
}

#[cfg(test)]
mod tests {
    use lesio_image::Volume;

    use super::*;

    /// The lesions on the grid of a volume in RAS+: centers and sources in the world, and the profile of each.
    fn found(
        config: &LesionConfig,
        image: &Volume<f32>,
        labels: &Volume<u8>,
    ) -> Vec<([f64; 3], Option<[f64; 3]>, Volume<f64>)> {
        let geometry = image.geometry();
        let placed = place(config, image.data(), labels.data().view(), geometry, 4).unwrap();
        let lesion = |placed: &Placed| {
            let offset = placed.offset.map(|offset| {
                geometry.to_world(std::array::from_fn(|axis| placed.center[axis] + offset[axis] as f64))
            });
            let mut profile = image.map(|_| 0.0);
            placed.profile.iter().for_each(|&(index, value)| profile.data_mut()[index] = value);
            let ras = "RAS".parse().unwrap();
            (geometry.to_world(placed.center), offset, profile.reoriented(&ras))
        };
        placed.iter().map(lesion).collect()
    }

    #[test]
    fn the_same_anatomy_gets_the_same_lesions_in_whichever_order_its_voxels_are_stored() {
        // An oval head, of which a slab is labeled that is lower than a lesion; and one that is labeled everywhere.
        let slab = |(i, j, k): (usize, usize, usize)| {
            let oval = ((i as f64 - 21.5) / 21.0).powi(2) + ((j as f64 - 19.5) / 19.0).powi(2);
            u8::from(oval < 1.0 && (4..10).contains(&k))
        };
        let slab = Array3::from_shape_fn((44, 40, 14), slab);
        let whole = Array3::from_elem((44, 40, 14), 1_u8);
        let values = |(i, j, k): (usize, usize, usize)| ((31 * i + 57 * j + 83 * k) % 101) as f32;
        let image = Array3::from_shape_fn((44, 40, 14), values);
        // Numbers that binary fractions hold exactly.
        for spacing in [[1.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0, 1.0, 3.0], [1.25, 0.75, 1.0]] {
            let geometry = Geometry::from_spacing(spacing).unwrap();
            let image = Volume::new(image.clone(), geometry);
            for (kind, labels, radius) in [
                (LesionKind::Bright, &slab, 6.0),
                (LesionKind::Displaced, &slab, 6.0),
                (LesionKind::Misplaced, &whole, 3.0),
            ] {
                let labels = Volume::new(labels.clone(), geometry);
                let config = LesionConfig::new(kind, 0.5).radius(radius, radius);
                let usual = found(&config, &image, &labels);
                assert_eq!((usual.len(), usual[0].1.is_some()), (1, kind == LesionKind::Misplaced));
                for order in ["LAS", "SRA", "PIR", "AIL"] {
                    let order = order.parse().unwrap();
                    let other = found(&config, &image.reoriented(&order), &labels.reoriented(&order));
                    assert!(usual == other, "{kind} {spacing:?} {order}");
                }
            }
        }
    }
}
