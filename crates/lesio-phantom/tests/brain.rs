//! What a caller may rely on in brain phantoms.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests stop at surprises"
)]

use lesio_image::Plane;
use lesio_phantom::{BrainConfig, BrainPhantom, Contrast, PhantomError, PhantomSlice, Tissue};
use proptest::prelude::*;

fn brains(side: usize, contrast: Contrast, seed: u64) -> BrainPhantom {
    BrainPhantom::new(BrainConfig::new([side, side], contrast, seed)).unwrap()
}

fn mean(slice: &PhantomSlice, tissue: Tissue) -> f64 {
    let values: Vec<f64> = slice
        .image
        .iter()
        .zip(&slice.labels)
        .filter(|&(_, &label)| label == tissue.label())
        .map(|(&value, _)| f64::from(value))
        .collect();
    assert!(!values.is_empty(), "{tissue:?} is missing");
    values.iter().sum::<f64>() / values.len() as f64
}

fn agreement(a: &PhantomSlice, b: &PhantomSlice) -> f64 {
    let same = a.labels.iter().zip(&b.labels).filter(|(a, b)| a == b).count();
    same as f64 / a.labels.len() as f64
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (a, b) = (brains(64, Contrast::Flair, 5), brains(64, Contrast::Flair, 5));
    // In another order, too.
    let later = [a.slice(3), a.slice(0)];
    assert_eq!([b.slice(0), b.slice(3)], [later[1].clone(), later[0].clone()]);
    assert_eq!(a.volume(2).unwrap(), b.volume(2).unwrap());
    assert_ne!(a.slice(0), brains(64, Contrast::Flair, 6).slice(0));
    assert_ne!(a.slice(0).labels, a.slice(1).labels);
}

#[test]
fn a_contrast_changes_the_image_and_not_the_anatomy() {
    let (flair, t1) = (brains(96, Contrast::Flair, 5).slice(0), brains(96, Contrast::T1, 5).slice(0));
    assert_eq!(flair.labels, t1.labels);
    assert_ne!(flair.image, t1.image);
}

#[test]
fn tissues_are_ordered_as_their_sequence_says() {
    for subject in 0..20 {
        let flair = brains(128, Contrast::Flair, 1).slice(subject);
        let [fluid, gray, white, deep] =
            [Tissue::Fluid, Tissue::Gray, Tissue::White, Tissue::DeepGray].map(|t| mean(&flair, t));
        // The cortex shares its pixels with dark fluid, so its mean is below its own brightness.
        assert!(fluid < 0.7 * gray && fluid < 0.6 * white && white < deep, "{fluid} {gray} {white} {deep}");
        let t1 = brains(128, Contrast::T1, 1).slice(subject);
        let [fluid, gray, white, deep] =
            [Tissue::Fluid, Tissue::Gray, Tissue::White, Tissue::DeepGray].map(|t| mean(&t1, t));
        assert!(fluid < gray && gray < deep && deep < white, "{fluid} {gray} {deep} {white}");
    }
}

#[test]
fn a_volume_is_the_stack_of_its_slices() {
    let brains = BrainPhantom::new(
        BrainConfig::new([70, 60], Contrast::Flair, 8).slices(5).heights(0.0, 40.0).field_of_view(240.0),
    )
    .unwrap();
    let volume = brains.volume(4).unwrap();
    assert_eq!(volume.image.shape(), [60, 70, 5]);
    assert_eq!(volume.image.geometry().spacing(), [4.0, 4.0, 10.0]);
    for index in 0..5 {
        let slice = brains.slice_at(4, 10.0 * index as f64);
        assert_eq!(volume.image.plane(Plane::Axial, index).unwrap(), slice.image);
        assert_eq!(volume.labels.plane(Plane::Axial, index).unwrap(), slice.labels);
    }
    assert_eq!(volume.mask().data().iter().filter(|&&inside| inside).count(), {
        volume.labels.data().iter().filter(|&&label| label != 0).count()
    });
}

#[test]
fn anatomy_changes_smoothly_with_height() {
    let brains = brains(96, Contrast::T1, 2);
    for subject in 0..5 {
        let [here, beside, far] = [10.0, 11.0, 35.0].map(|height| brains.slice_at(subject, height));
        assert!(agreement(&here, &beside) > 0.95);
        assert!(agreement(&here, &beside) > agreement(&here, &far) + 0.05);
    }
}

#[test]
fn the_head_narrows_towards_the_top() {
    let brains = brains(96, Contrast::Flair, 3);
    for subject in 0..5 {
        let areas = [20.0, 40.0, 52.0, 60.0]
            .map(|height| brains.slice_at(subject, height).mask().iter().filter(|&&inside| inside).count());
        assert!(areas.windows(2).all(|pair| pair[1] < pair[0]), "{areas:?}");
        assert!(areas[3] > 200, "{areas:?}");
    }
}

#[test]
fn subjects_differ_in_every_structure() {
    let brains = brains(96, Contrast::Flair, 4);
    let shares: Vec<[f64; 5]> = (0..30)
        .map(|subject| {
            let slice = brains.slice_at(subject, 12.0);
            let mut counts = [0.0; 5];
            slice.labels.iter().for_each(|&label| counts[usize::from(label)] += 1.0);
            counts
        })
        .collect();
    for label in 1..5 {
        let mean = shares.iter().map(|s| s[label]).sum::<f64>() / 30.0;
        let deviation = (shares.iter().map(|s| (s[label] - mean).powi(2)).sum::<f64>() / 29.0).sqrt();
        assert!(deviation > 0.03 * mean, "label {label}: {deviation} of {mean}");
    }
}

#[test]
fn without_noise_air_is_black() {
    let config = BrainConfig::new([64, 64], Contrast::T1, 1).noise(0.0).bias(0.0);
    let slice = BrainPhantom::new(config).unwrap().slice(0);
    assert_eq!(slice.image[[0, 0]], 0.0);
    let noisy = brains(64, Contrast::T1, 1).slice(0);
    assert_eq!(noisy.labels, slice.labels);
    assert!(noisy.image[[0, 0]] > 0.0);
}

#[test]
fn any_height_gives_a_slice() {
    let brains = brains(48, Contrast::Flair, 1);
    assert_eq!(brains.slice_at(0, 1e9), brains.slice_at(0, 64.0));
    assert_eq!(brains.slice_at(0, f64::NAN), brains.slice_at(0, -10.0));
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let config = || BrainConfig::new([64, 64], Contrast::Flair, 0);
    for (name, wrong) in [
        ("field_of_view", config().field_of_view(f64::NAN)),
        ("slices", config().slices(0)),
        ("heights", config().heights(10.0, 10.0)),
        ("heights", config().heights(-40.0, 10.0)),
        ("slice_heights", config().slice_heights(20.0, 10.0)),
        ("noise", config().noise(-0.1)),
        ("bias", config().bias(f64::INFINITY)),
    ] {
        match BrainPhantom::new(wrong) {
            Err(PhantomError::Setting(error)) => assert_eq!(error.setting, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_size_is_made_or_refused(rows in 1usize..90, columns in 1usize..90, seed: u64, subject: u64) {
        let config = BrainConfig::new([rows, columns], Contrast::Flair, seed);
        match BrainPhantom::new(config) {
            Ok(brains) => {
                prop_assert!(rows >= 16 && columns >= 16);
                let slice = brains.slice(subject);
                prop_assert_eq!(slice.image.dim(), (rows, columns));
                prop_assert_eq!(slice.labels.dim(), (rows, columns));
                prop_assert!(slice.image.iter().all(|v| v.is_finite() && *v >= 0.0));
                prop_assert!(slice.labels.iter().all(|&label| label <= 4));
                prop_assert!(slice.mask().iter().any(|&inside| inside));
            }
            Err(error) => {
                prop_assert!(rows < 16 || columns < 16);
                let right = matches!(error, PhantomError::Size { found, .. } if found == [rows, columns]);
                prop_assert!(right);
            }
        }
    }
}
