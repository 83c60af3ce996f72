//! What a caller may rely on in lesions: where the truth is, the image changed, and how.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests stop at surprises"
)]

use lesio_image::{Geometry, Volume};
use lesio_phantom::{
    BrainConfig, BrainPhantom, Contrast, InjectedSlice, LesionConfig, LesionError, LesionInjector,
    LesionKind, PhantomSlice, Site,
};
use ndarray::{Array2, Array3, Axis, array, s};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

const SIDE: usize = 96;

fn brains() -> BrainPhantom {
    BrainPhantom::new(BrainConfig::new([SIDE, SIDE], Contrast::Flair, 11)).unwrap()
}

fn inject(config: LesionConfig, healthy: &PhantomSlice, seed: u64) -> InjectedSlice {
    let injector = LesionInjector::new(config).unwrap();
    injector.inject_slice(healthy.image.view(), healthy.labels.view(), brains().pixel(), seed).unwrap()
}

/// Probability that a lesion's pixel is brighter than one of tissue within two radii around it.
fn local_auroc(ill: &InjectedSlice, healthy: &PhantomSlice) -> f64 {
    let [row, column, _] = ill.lesions[0].center;
    let reach = 2.0 * ill.lesions[0].radius / brains().pixel();
    let (mut inside, mut around) = (Vec::new(), Vec::new());
    for (place, &value) in ill.image.indexed_iter() {
        let distance = (place.0 as f64 - row).hypot(place.1 as f64 - column);
        if ill.truth[place] {
            inside.push(value);
        } else if distance <= reach && healthy.labels[place] > 1 {
            around.push(value);
        }
    }
    let wins: f64 = inside
        .iter()
        .flat_map(|a| {
            around.iter().map(move |b| {
                if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                }
            })
        })
        .sum();
    wins / (inside.len() * around.len()) as f64
}

#[test]
fn no_contrast_changes_nothing() {
    let healthy = brains().slice(0);
    for kind in LesionKind::ALL {
        let ill = inject(LesionConfig::new(kind, 0.0).in_brain_tissue(), &healthy, 3);
        assert_eq!(ill.image, healthy.image);
        assert!(ill.truth.iter().all(|&lesion| !lesion));
        assert_eq!(ill.lesions[0].voxels, 0);
    }
}

/// A truth without a change could be found by nobody.
#[test]
fn a_lesion_that_changes_nothing_is_refused() {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let noise =
        Array3::from_shape_simple_fn((16, 16, 12), || 100.0 + 5.0 * random.sample::<f32, _>(StandardNormal));
    let constant = |value: f32| Array3::from_elem((16, 16, 12), value);
    let ball = |kind, radius| {
        LesionConfig::new(kind, 0.5).radius(radius, radius).irregularity(0.0).elongation(1.0).edge(0.0)
    };
    let refused = [
        // Of one voxel: the center does not move, and one value has no texture.
        (noise.clone(), ball(LesionKind::Displaced, 0.3).count(2)),
        (noise.clone(), ball(LesionKind::Textured, 0.25).truth_fraction(0.25)),
        // The voxels around the center move, but are not of the truth.
        (noise.clone(), ball(LesionKind::Displaced, 0.8)),
        // The tissue is the background, or the lowest value.
        (constant(-5.0), ball(LesionKind::Bright, 3.0)),
        (constant(100.0), ball(LesionKind::Dark, 3.0)),
    ];
    let mask = Volume::new(Array3::from_elem((16, 16, 12), 1_u8), Geometry::default());
    for (image, config) in refused {
        let (kind, radius) = (config.kind, config.radius[0]);
        let image = Volume::new(image, Geometry::default());
        let result = LesionInjector::new(config).unwrap().inject(&image, &mask, 3);
        assert_eq!(result.unwrap_err(), LesionError::NoChange { kind, radius });
    }
    // One voxel is enough where it changes.
    let image = Volume::new(noise, Geometry::default());
    let injector = LesionInjector::new(ball(LesionKind::Bright, 0.3)).unwrap();
    let ill = injector.inject(&image, &mask, 3).unwrap();
    assert_eq!(ill.lesions[0].voxels, 1);
    assert_ne!(ill.image, image);
}

#[test]
fn the_truth_is_where_the_change_is_above_the_fraction() {
    for fraction in [0.2, 0.5, 0.8] {
        for subject in 0..5 {
            let healthy = brains().slice(subject);
            let config = LesionConfig::new(LesionKind::Bright, 0.5)
                .in_brain_tissue()
                .radius(10.0, 12.0)
                .edge(8.0)
                .truth_fraction(fraction);
            let ill = inject(config, &healthy, subject);
            let change = &ill.image - &healthy.image;
            let peak = change.iter().copied().fold(0.0, f32::max);
            assert!(peak > 0.1);
            for (place, &value) in change.indexed_iter() {
                let share = f64::from(value / peak);
                // Rounding to 24 bits of a change laid over the image.
                assert!(ill.truth[place] == (share >= fraction) || (share - fraction).abs() < 1e-4);
            }
        }
    }
}

#[test]
fn nothing_changes_outside_of_the_extent() {
    let healthy = brains().slice(1);
    for kind in LesionKind::ALL {
        let ill = inject(LesionConfig::new(kind, 0.5).in_brain_tissue(), &healthy, 9);
        assert_ne!(ill.image, healthy.image);
        let is_tissue = matches!(kind, LesionKind::Bright | LesionKind::Dark | LesionKind::Textured);
        let lowest_label = if is_tissue { 2 } else { 1 };
        for (place, &label) in healthy.labels.indexed_iter() {
            if label < lowest_label {
                assert_eq!(ill.image[place], healthy.image[place]);
                assert!(!ill.truth[place]);
            }
        }
    }
}

#[test]
fn intensity_finds_bright_and_dark_lesions_and_not_the_others() {
    let mean = |kind, contrast| {
        let scores: Vec<f64> = (0..30)
            .map(|subject| {
                let healthy = brains().slice(subject);
                // In white matter, so that the tissue is the same inside and around.
                let white = Site::Labels(vec![3]);
                let config = LesionConfig::new(kind, contrast)
                    .center(white.clone())
                    .extent(Site::Labels(vec![2, 3, 4]))
                    .radius(7.0, 10.0);
                local_auroc(&inject(config, &healthy, subject), &healthy)
            })
            .collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    };
    let [bright, dark] = [mean(LesionKind::Bright, 0.4), mean(LesionKind::Dark, 0.4)];
    let [displaced, textured] = [mean(LesionKind::Displaced, 0.6), mean(LesionKind::Textured, 0.1)];
    assert!(bright > 0.95, "{bright}");
    assert!(dark < 0.05, "{dark}");
    assert!((0.38..0.62).contains(&displaced), "{displaced}");
    assert!((0.4..0.6).contains(&textured), "{textured}");
    let [missing, foreign] = [mean(LesionKind::Missing, 1.0), mean(LesionKind::Foreign, 0.3)];
    assert!((0.38..0.62).contains(&missing), "{missing}");
    assert!((0.4..0.6).contains(&foreign), "{foreign}");
}

#[test]
fn a_texture_keeps_the_mean_and_has_its_deviation() {
    let image = Array2::from_elem((80, 80), 200.0_f32);
    let mask = Array2::from_elem((80, 80), 1_u8);
    let config = LesionConfig::new(LesionKind::Textured, 0.2).radius(12.0, 12.0).edge(1.0);
    let ill = LesionInjector::new(config).unwrap().inject_slice(image.view(), mask.view(), 1.0, 4).unwrap();
    let values: Vec<f64> =
        ill.image.indexed_iter().filter(|(place, _)| ill.truth[*place]).map(|(_, &v)| f64::from(v)).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
    // Exact under the profile's weights, which differ from the truth at the edge alone.
    assert!((mean - 200.0).abs() < 1.0, "{mean}");
    assert!((deviation - 40.0).abs() < 2.0, "{deviation}");
    let total: f64 = ill.image.iter().map(|&v| f64::from(v) - 200.0).sum();
    assert!(total.abs() < 0.05, "{total}");
}

/// The values where the truth is, before and after.
fn inside(ill: &InjectedSlice, image: &Array2<f32>) -> (Vec<f64>, Vec<f64>) {
    let within = ill.truth.indexed_iter().filter(|(_, lesion)| **lesion);
    within.map(|(place, _)| (f64::from(image[place]), f64::from(ill.image[place]))).unzip()
}

fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

#[test]
fn a_missing_structure_leaves_the_noise_of_the_tissue_around() {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    // Stripes of ten pixels, and noise.
    let image = Array2::from_shape_fn((80, 80), |(row, _)| {
        100.0 + if row / 10 % 2 == 0 { 30.0 } else { 0.0 } + 2.0 * random.sample::<f32, _>(StandardNormal)
    });
    let mask = Array2::from_elem((80, 80), 1_u8);
    let config =
        LesionConfig::new(LesionKind::Missing, 1.0).radius(12.0, 12.0).edge(1.0).truth_fraction(0.95);
    let ill = LesionInjector::new(config).unwrap().inject_slice(image.view(), mask.view(), 1.0, 4).unwrap();
    let (before, after) = inside(&ill, &image);
    assert!(deviation(&before) > 12.0, "{}", deviation(&before));
    assert!((1.5..2.8).contains(&deviation(&after)), "{}", deviation(&after));
}

#[test]
fn misplaced_tissue_is_of_the_same_image_and_far_from_there() {
    // Each pixel has a value of its own.
    let image = Array2::from_shape_fn((80, 80), |(row, column)| (row * 80 + column) as f32);
    let mask = Array2::from_elem((80, 80), 1_u8);
    let config =
        LesionConfig::new(LesionKind::Misplaced, 1.0).radius(8.0, 8.0).edge(1.0).truth_fraction(0.95);
    for seed in 0..5 {
        let injector = LesionInjector::new(config.clone()).unwrap();
        let ill = injector.inject_slice(image.view(), mask.view(), 1.0, seed).unwrap();
        let (before, after) = inside(&ill, &image);
        // Where the profile is 1, all pixels are of one offset.
        let offsets: Vec<f64> = before.iter().zip(&after).map(|(before, after)| after - before).collect();
        let whole = offsets.iter().filter(|offset| **offset == offsets[offsets.len() / 2]).count();
        assert!(4 * whole > 3 * offsets.len(), "{whole} of {}", offsets.len());
        let (rows, columns) = ((offsets[offsets.len() / 2] / 80.0).round(), offsets[offsets.len() / 2]);
        let distance = rows.hypot(columns - 80.0 * rows);
        assert!(distance >= 16.0, "{distance}");
    }
}

#[test]
fn a_foreign_object_has_two_values_about_the_mean() {
    let image = Array2::from_elem((80, 80), 200.0_f32);
    let mask = Array2::from_elem((80, 80), 1_u8);
    let config =
        LesionConfig::new(LesionKind::Foreign, 0.25).radius(12.0, 12.0).edge(0.5).truth_fraction(0.95);
    let ill = LesionInjector::new(config).unwrap().inject_slice(image.view(), mask.view(), 1.0, 4).unwrap();
    let (_, after) = inside(&ill, &image);
    let [dark, bright] =
        [150.0, 250.0].map(|value| after.iter().filter(|v| (**v - value).abs() < 3.0).count());
    assert!(dark + bright == after.len(), "{dark} and {bright} of {}", after.len());
    assert!(3 * dark > after.len() && 3 * bright > after.len(), "{dark} and {bright}");
}

/// Tissue of the mean 100 with noise in air of exactly 0, which fills three quarters of the image.
fn tissue_in_air() -> (Array2<f32>, Array2<u8>) {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mask = Array2::from_shape_fn((80, 80), |(row, column)| {
        u8::from((20..60).contains(&row) && (20..60).contains(&column))
    });
    let image = mask.mapv(|label| f32::from(label) * (100.0 + 4.0 * random.sample::<f32, _>(StandardNormal)));
    (image, mask)
}

#[test]
fn contrast_does_not_depend_on_the_zero_of_the_intensities() {
    let (image, mask) = tissue_in_air();
    for kind in LesionKind::ALL {
        let config = LesionConfig::new(kind, 0.3).radius(6.0, 8.0);
        let injector = LesionInjector::new(config).unwrap();
        let usual = injector.inject_slice(image.view(), mask.view(), 1.0, 4).unwrap();
        // As of computed tomography, a stored intercept and a mean that was subtracted.
        for (slope, shift) in [(1.0, -1000.0), (0.01, -5.0), (0.04, -4.0), (1.0, -99.0)] {
            let other = image.mapv(|value| slope * value + shift);
            let ill = injector.inject_slice(other.view(), mask.view(), 1.0, 4).unwrap();
            assert_eq!((&ill.truth, &ill.lesions), (&usual.truth, &usual.lesions));
            for (place, &value) in ill.image.indexed_iter() {
                let expected = slope * usual.image[place] + shift;
                let close = 1e-5 * (100.0 * slope + shift.abs());
                assert!((value - expected).abs() < close, "{kind}: {value} instead of {expected}");
            }
        }
    }
}

#[test]
fn bright_is_brighter_and_dark_is_darker_in_every_image() {
    let (image, mask) = tissue_in_air();
    let everywhere = Array2::from_elem(mask.dim(), 1);
    let normalized = image.mapv(|value| (value - 100.0) / 4.0);
    let masked = &normalized * &mask.mapv(f32::from);
    let images = [
        ("as they are", image.clone()),
        ("below 0", image.mapv(|value| value - 1000.0)),
        ("normalized", normalized),
        ("normalized in the mask, 0 outside", masked),
        ("below air of 0", image.mapv(|value| -value)),
    ];
    for (name, image) in images {
        for mask in [&mask, &everywhere] {
            for (kind, sign) in [(LesionKind::Bright, 1.0), (LesionKind::Dark, -1.0)] {
                // Within the tissue: air may be as dark as can be.
                let mut sites = mask.clone();
                sites.slice_mut(s![28..52, 28..52]).fill(2);
                let config = LesionConfig::new(kind, 0.4).center(Site::Labels(vec![2])).radius(5.0, 6.0);
                let injector = LesionInjector::new(config).unwrap();
                let ill = injector.inject_slice(image.view(), sites.view(), 1.0, 4).unwrap();
                let change = &ill.image - &image;
                let mean = change
                    .indexed_iter()
                    .filter(|(place, _)| ill.truth[*place])
                    .map(|(_, change)| f64::from(*change))
                    .sum::<f64>()
                    / ill.lesions[0].voxels as f64;
                // At least half a deviation of the noise, of 4 or of 1.
                assert!(sign * mean > 0.5, "{kind} in {name}: {mean}");
            }
        }
    }
}

#[test]
fn a_background_may_be_given() {
    let (image, mask) = tissue_in_air();
    let change = |level| {
        let config = LesionConfig::new(LesionKind::Bright, 0.5).radius(8.0, 8.0).edge(0.0).background(level);
        let injector = LesionInjector::new(config).unwrap();
        let ill = injector.inject_slice(image.view(), mask.view(), 1.0, 4).unwrap();
        let (before, after) = inside(&ill, &image);
        after.iter().zip(&before).map(|(after, before)| after - before).fold(0.0, f64::max)
    };
    assert!((change(None) - 50.0).abs() < 1.0);
    assert!((change(Some(80.0)) - 10.0).abs() < 1.0);
    let wrong = LesionConfig::new(LesionKind::Bright, 0.5).background(Some(f64::NAN));
    assert!(matches!(LesionInjector::new(wrong), Err(LesionError::Setting(e)) if e.setting == "background"));
}

/// The same values with their axes in another order, stored as files are read.
fn permuted<T: Copy>(values: &Array3<T>, order: [usize; 3]) -> Array3<T> {
    values.view().permuted_axes(order).as_standard_layout().into_owned()
}

/// Median absolute second difference along an axis, over that of a unit normal, where the truth is: the deviation of the
/// noise of an image without other detail.
fn roughness(image: &Array3<f32>, truth: &Array3<bool>, axis: Axis) -> f64 {
    let mut differences = Vec::new();
    for (line, within) in image.lanes(axis).into_iter().zip(truth.lanes(axis)) {
        for i in (1..line.len() - 1).filter(|&i| within[i]) {
            differences.push(f64::from(line[i - 1] - 2.0 * line[i] + line[i + 1]).abs());
        }
    }
    differences.sort_by(f64::total_cmp);
    differences[differences.len() / 2] * 1.4826 / 6f64.sqrt()
}

#[test]
fn the_order_of_voxels_makes_no_difference() {
    // Slices 3 mm apart that differ much, with noise of a deviation of 3; labeled are eight of twelve.
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let image = Array3::from_shape_fn((50, 44, 12), |(_, j, k)| {
        let anatomy = [200.0, 120.0, 160.0, 90.0][k % 4] + j as f32;
        anatomy + 3.0 * random.sample::<f32, _>(StandardNormal)
    });
    let mut labels = Array3::from_shape_fn((50, 44, 12), |(_, _, k)| u8::from((2..10).contains(&k)));
    // The only place for the center, so that both lesions are of one place and shape.
    labels[[25, 22, 6]] = 2;
    for kind in LesionKind::ALL.into_iter().filter(|kind| *kind != LesionKind::Misplaced) {
        let contrast = kind.usual_contrasts()[1];
        let config = LesionConfig::new(kind, contrast).center(Site::Labels(vec![2])).radius(8.0, 8.0);
        let injector = LesionInjector::new(config).unwrap();
        let stored = |order: [usize; 3]| {
            let spacing = order.map(|axis| [1.0, 1.0, 3.0][axis]);
            let geometry = Geometry::from_spacing(spacing).unwrap();
            let image = Volume::new(permuted(&image, order), geometry);
            let labels = Volume::new(permuted(&labels, order), geometry);
            let ill = injector.inject(&image, &labels, 5).unwrap();
            let mut back = [0; 3];
            (0..3).for_each(|axis| back[order[axis]] = axis);
            (permuted(ill.image.data(), back), permuted(ill.truth.data(), back))
        };
        let (usual, truth) = stored([0, 1, 2]);
        let noise = roughness(&usual, &truth, Axis(0));
        for order in [[2, 0, 1], [0, 2, 1]] {
            let (other, of_other) = stored(order);
            assert_eq!(truth, of_other, "{kind} {order:?}");
            // The noise that these kinds put back is drawn voxel by voxel.
            if matches!(kind, LesionKind::Displaced | LesionKind::Missing) {
                let found = roughness(&other, &truth, Axis(0));
                assert!(noise > 2.0 && noise < 4.5, "{kind}: {noise}");
                assert!((found / noise - 1.0).abs() < 0.2, "{kind} {order:?}: {found} instead of {noise}");
            } else {
                for (place, value) in other.indexed_iter() {
                    assert!((value - usual[place]).abs() < 0.01, "{kind} {order:?} at {place:?}");
                }
            }
        }
    }
}

#[test]
fn a_single_slice_is_flat_along_every_axis() {
    let (image, mask) = tissue_in_air();
    let injector = LesionInjector::new(LesionConfig::new(LesionKind::Foreign, 0.5).radius(7.0, 9.0)).unwrap();
    let usual = injector.inject_slice(image.view(), mask.view(), 1.0, 4).unwrap();
    for axis in 0..3 {
        // The thickness of the slice does not matter.
        let mut spacing = [1.0; 3];
        spacing[axis] = 4.0;
        let geometry = Geometry::from_spacing(spacing).unwrap();
        let image = Volume::new(image.clone().insert_axis(Axis(axis)), geometry);
        let mask = Volume::new(mask.clone().insert_axis(Axis(axis)), geometry);
        let ill = injector.inject(&image, &mask, 4).unwrap();
        assert_eq!(ill.image.into_data().index_axis_move(Axis(axis), 0), usual.image);
        assert_eq!(ill.truth.into_data().index_axis_move(Axis(axis), 0), usual.truth);
    }
}

#[test]
fn kinds_are_named_as_in_files() {
    for kind in LesionKind::ALL {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        assert_eq!(kind.to_string().parse(), Ok(kind));
        for contrast in kind.usual_contrasts() {
            assert!(LesionInjector::new(LesionConfig::new(kind, contrast)).is_ok());
        }
    }
    let error = "round".parse::<LesionKind>().unwrap_err().to_string();
    assert!(error.contains("round") && error.contains("misplaced"), "{error}");
}

#[test]
fn a_displacement_keeps_the_noise() {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let image =
        Array3::from_shape_simple_fn((48, 48, 24), || 100.0 + 5.0 * random.sample::<f32, _>(StandardNormal));
    let mask = Volume::new(Array3::from_elem((48, 48, 24), 1), Geometry::default());
    let image = Volume::new(image, Geometry::default());
    let config = LesionConfig::new(LesionKind::Displaced, 0.6).radius(8.0, 8.0);
    let ill = LesionInjector::new(config).unwrap().inject(&image, &mask, 2).unwrap();
    let values: Vec<f64> = ill
        .image
        .data()
        .iter()
        .zip(ill.truth.data())
        .filter(|&(_, &lesion)| lesion)
        .map(|(&value, _)| f64::from(value))
        .collect();
    // A tenth of the deviation: interpolation alone would leave about half.
    assert!((deviation(&values) - 5.0).abs() < 0.5, "{}", deviation(&values));
}

#[test]
fn a_displacement_moves_tissue_away_from_the_center() {
    // A vertical step two pixels to the right of the middle column, where the one lesion fits.
    let image = Array2::from_shape_fn((41, 41), |(_, column)| if column >= 23 { 1.0_f32 } else { 0.0 });
    let mut sites = Array2::from_elem((41, 41), 1_u8);
    sites[[20, 20]] = 2;
    let config = LesionConfig::new(LesionKind::Displaced, 0.7)
        .center(Site::Labels(vec![2]))
        .radius(6.0, 6.0)
        .irregularity(0.0)
        .elongation(1.0);
    let ill = LesionInjector::new(config).unwrap().inject_slice(image.view(), sites.view(), 1.0, 0).unwrap();
    let edge = |row: usize| ill.image.row(row).iter().position(|&v| v > 0.5).unwrap();
    assert!(edge(20) >= 25, "{}", edge(20));
    // Beyond the reach of 6 / 0.54 pixels nothing moves.
    assert_eq!(edge(7), 23);
}

#[test]
fn dark_lesions_stop_at_the_lowest_value() {
    let healthy = brains().slice(2);
    let lowest = healthy.image.iter().copied().fold(f32::INFINITY, f32::min);
    let ill = inject(LesionConfig::new(LesionKind::Dark, 1.0).in_brain_tissue(), &healthy, 1);
    assert!(ill.image.iter().all(|&value| value >= lowest));
}

#[test]
fn lesions_lie_apart_in_their_sites() {
    let healthy = brains().slice(3);
    let config = LesionConfig::new(LesionKind::Bright, 0.3).in_brain_tissue().radius(2.5, 4.0).count(6);
    let ill = inject(config, &healthy, 5);
    assert_eq!(ill.lesions.len(), 6);
    let voxels: usize = ill.lesions.iter().map(|lesion| lesion.voxels).sum();
    assert_eq!(voxels, ill.truth.iter().filter(|&&lesion| lesion).count());
    for lesion in &ill.lesions {
        let [row, column, _] = lesion.center.map(|v| v as usize);
        assert!(healthy.labels[[row, column]] >= 2);
        assert!((2.5..=4.0).contains(&lesion.radius));
    }
}

#[test]
fn a_slab_within_empty_slices_takes_lesions() {
    // Ten slices of tissue in a volume of thirty: a lesion as high as the slab.
    let labels = Array3::from_shape_fn((40, 40, 30), |(_, _, k)| u8::from((10..20).contains(&k)));
    let image = labels.mapv(f32::from);
    let [image, labels] =
        [Volume::new(image, Geometry::default()), Volume::new(labels.mapv(f32::from), Geometry::default())];
    let labels = labels.map(|&value| value as u8);
    let config = LesionConfig::new(LesionKind::Bright, 0.5).radius(8.0, 8.0);
    let ill = LesionInjector::new(config).unwrap().inject(&image, &labels, 1).unwrap();
    assert!(ill.lesions[0].voxels > 500);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let healthy = brains().slice(4);
    for kind in LesionKind::ALL {
        let config = LesionConfig::new(kind, 0.3).in_brain_tissue();
        assert_eq!(inject(config.clone(), &healthy, 5), inject(config.clone(), &healthy, 5));
        assert_ne!(inject(config.clone(), &healthy, 5).truth, inject(config, &healthy, 6).truth);
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let image = array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let mask = array![[1_u8, 1, 1], [1, 1, 1]];
    let small = LesionInjector::new(LesionConfig::new(LesionKind::Bright, 0.3).radius(1.0, 1.0)).unwrap();
    let result = small.inject_slice(image.view(), mask.t(), 1.0, 0);
    assert_eq!(result, Err(LesionError::Shape { image: [2, 3, 1], labels: [3, 2, 1] }));
    let empty = Array2::zeros((2, 3));
    let result = small.inject_slice(image.view(), empty.view(), 1.0, 0);
    assert_eq!(result, Err(LesionError::EmptySite { site: Site::Mask }));
    let result = small.inject_slice(image.view(), mask.view(), f64::NAN, 0);
    assert!(matches!(result, Err(LesionError::VoxelSize { .. })));
    let mut nan = image.clone();
    nan[[1, 2]] = f32::NAN;
    let result = small.inject_slice(nan.view(), mask.view(), 1.0, 0);
    assert!(matches!(result, Err(LesionError::NonFinite { index: [1, 2, 0], .. })));
    let crowded = LesionConfig::new(LesionKind::Bright, 0.3).radius(1.0, 1.0).count(40);
    let result = LesionInjector::new(crowded).unwrap().inject_slice(image.view(), mask.view(), 1.0, 0);
    assert!(matches!(result, Err(LesionError::NoRoom { wanted: 40, .. })));
    let config = || LesionConfig::new(LesionKind::Displaced, 0.5);
    for (name, wrong) in [
        ("contrast", LesionConfig::new(LesionKind::Displaced, 0.95)),
        ("contrast", LesionConfig::new(LesionKind::Dark, f64::NAN)),
        ("radius", config().radius(0.0, 3.0)),
        ("radius", config().radius(4.0, 3.0)),
        ("count", config().count(0)),
        ("irregularity", config().irregularity(0.5)),
        ("elongation", config().elongation(0.9)),
        ("edge", config().edge(-1.0)),
        ("truth_fraction", config().truth_fraction(1.0)),
    ] {
        match LesionInjector::new(wrong) {
            Err(LesionError::Setting(error)) => assert_eq!(error.setting, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_lesion_has_the_size_asked_for(
        seed: u64,
        radius in 6.0..11.0f64,
        flat: bool,
        kind in prop::sample::select(LesionKind::ALL.to_vec()),
        fraction in 0.2..0.8f64,
    ) {
        let shape = if flat { (90, 70, 1) } else { (90, 70, 30) };
        let spacing = [0.8, 1.0, 2.5];
        let geometry = Geometry::from_spacing(spacing).unwrap();
        let mut center = Array3::from_elem(shape, 1_u8);
        center[[45, 35, shape.2 / 2]] = 2;
        // Every kind changes it.
        let values = |(i, j, k): (usize, usize, usize)| 100.0 + ((31 * i + 57 * j + 83 * k) % 101) as f32;
        let image = Volume::new(Array3::from_shape_fn(shape, values), geometry);
        let config = LesionConfig::new(kind, 0.5)
            .center(Site::Labels(vec![2]))
            .radius(radius, radius)
            .truth_fraction(fraction);
        let injector = LesionInjector::new(config).unwrap();
        let ill = injector.inject(&image, &Volume::new(center, geometry), seed).unwrap();
        let voxels = ill.lesions[0].voxels as f64;
        let equivalent = if flat {
            (voxels * 0.8 / std::f64::consts::PI).sqrt()
        } else {
            (voxels * 0.8 * 2.5 * 0.75 / std::f64::consts::PI).cbrt()
        };
        prop_assert!((equivalent / radius - 1.0).abs() < 0.06, "{} for {}", equivalent, radius);
    }

    #[test]
    fn any_mask_is_served_or_refused(
        seed: u64,
        radius in 0.2..6.0f64,
        kind in prop::sample::select(LesionKind::ALL.to_vec()),
        labels in prop::collection::vec(0u8..3, 7 * 9 * 4),
    ) {
        let labels = Array3::from_shape_vec((7, 9, 4), labels).unwrap();
        let image = Volume::new(labels.mapv(f32::from), Geometry::default());
        let labels = Volume::new(labels, Geometry::default());
        let injector = LesionInjector::new(LesionConfig::new(kind, 0.4).radius(radius, radius)).unwrap();
        match injector.inject(&image, &labels, seed) {
            Ok(ill) => {
                prop_assert!(ill.image.data().iter().all(|v| v.is_finite()));
                prop_assert!(ill.lesions[0].voxels > 0);
                let mut voxels = ill.truth.data().iter().zip(ill.image.data()).zip(image.data());
                prop_assert!(voxels.any(|((&inside, after), before)| inside && after != before));
            }
            Err(error) => {
                let known = matches!(
                    error,
                    LesionError::EmptySite { .. } | LesionError::NoRoom { .. } | LesionError::NoChange { .. }
                );
                prop_assert!(known);
            }
        }
    }
}
