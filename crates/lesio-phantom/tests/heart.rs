//! What a caller may rely on in heart phantoms.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests stop at surprises"
)]

use lesio_image::Plane;
use lesio_phantom::{CardiacPhase, HeartConfig, HeartPart, HeartPhantom, PhantomError, PhantomSlice};
use proptest::prelude::*;

fn hearts(side: usize, seed: u64) -> HeartPhantom {
    HeartPhantom::new(HeartConfig::new([side, side], seed)).unwrap()
}

fn count(slice: &PhantomSlice, part: HeartPart) -> usize {
    slice.labels.iter().filter(|&&label| label == part.label()).count()
}

fn mean(slice: &PhantomSlice, part: HeartPart) -> f64 {
    let sum: f64 = slice
        .image
        .iter()
        .zip(&slice.labels)
        .filter(|&(_, &label)| label == part.label())
        .map(|(&value, _)| f64::from(value))
        .sum();
    sum / count(slice, part) as f64
}

#[test]
fn every_slice_shows_all_parts_in_order_of_brightness() {
    let hearts = hearts(96, 1);
    for subject in 0..60 {
        let slice = hearts.slice(subject);
        for part in [HeartPart::RightVentricle, HeartPart::Myocardium, HeartPart::LeftVentricle] {
            assert!(count(&slice, part) > 15, "{subject}: {part:?} {}", count(&slice, part));
        }
        let wall = mean(&slice, HeartPart::Myocardium);
        assert!(mean(&slice, HeartPart::LeftVentricle) > 1.3 * wall, "{subject}");
        assert!(mean(&slice, HeartPart::RightVentricle) > 1.3 * wall, "{subject}");
    }
}

#[test]
fn the_wall_closes_around_the_cavity() {
    let hearts = hearts(128, 2);
    for subject in 0..60 {
        let labels = hearts.slice(subject).labels;
        for ((row, column), &label) in labels.indexed_iter() {
            if label == HeartPart::LeftVentricle.label() {
                for place in [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)] {
                    assert!(labels[place] >= HeartPart::Myocardium.label(), "{subject} at {place:?}");
                }
            }
        }
    }
}

#[test]
fn systole_empties_the_cavities_and_thickens_the_wall() {
    let hearts = hearts(128, 3);
    for subject in 0..30 {
        let [full, empty] = [CardiacPhase::EndDiastole, CardiacPhase::EndSystole]
            .map(|phase| hearts.slice_at(subject, phase, 0.35));
        for part in [HeartPart::LeftVentricle, HeartPart::RightVentricle] {
            assert!(count(&empty, part) < count(&full, part), "{subject}: {part:?}");
        }
        // The wall keeps its area roughly: it does not shrink with the cavity.
        let ratio = count(&empty, HeartPart::Myocardium) as f64 / count(&full, HeartPart::Myocardium) as f64;
        assert!((0.75..1.35).contains(&ratio), "{subject}: {ratio}");
    }
}

#[test]
fn the_right_ventricle_ends_before_the_apex() {
    let hearts = hearts(96, 4);
    for subject in 0..20 {
        let apex = hearts.slice_at(subject, CardiacPhase::EndDiastole, 0.95);
        assert_eq!(count(&apex, HeartPart::RightVentricle), 0);
        assert!(count(&apex, HeartPart::Myocardium) > 0);
    }
}

#[test]
fn a_volume_runs_from_apex_to_base() {
    let hearts = HeartPhantom::new(HeartConfig::new([64, 80], 5).slices(4)).unwrap();
    let volume = hearts.volume(1, CardiacPhase::EndSystole).unwrap();
    assert_eq!(volume.image.shape(), [80, 64, 4]);
    assert!((volume.image.geometry().spacing()[2] - 27.0).abs() < 1e-9);
    let base = hearts.slice_at(1, CardiacPhase::EndSystole, 0.0);
    assert_eq!(volume.image.plane(Plane::Axial, 3).unwrap(), base.image);
    assert_eq!(volume.labels.plane(Plane::Axial, 3).unwrap(), base.labels);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    assert_eq!(hearts(64, 5).slice(9), hearts(64, 5).slice(9));
    assert_ne!(hearts(64, 5).slice(9).labels, hearts(64, 6).slice(9).labels);
    assert_ne!(hearts(64, 5).slice(9).labels, hearts(64, 5).slice(8).labels);
}

#[test]
fn settings_out_of_range_are_refused() {
    let wrong = HeartConfig::new([64, 64], 0).field_of_view(5.0);
    assert!(
        matches!(HeartPhantom::new(wrong), Err(PhantomError::Setting(error)) if error.setting == "field_of_view")
    );
    assert!(matches!(HeartPhantom::new(HeartConfig::new([64, 8], 0)), Err(PhantomError::Size { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_size_holds_finite_values_and_known_labels(
        rows in 16usize..90,
        columns in 16usize..90,
        seed: u64,
        level in 0.0..1.0f64,
    ) {
        let hearts = HeartPhantom::new(HeartConfig::new([rows, columns], seed)).unwrap();
        let slice = hearts.slice_at(seed, CardiacPhase::EndSystole, level);
        prop_assert_eq!(slice.image.dim(), (rows, columns));
        prop_assert!(slice.image.iter().all(|v| v.is_finite() && *v >= 0.0));
        prop_assert!(slice.labels.iter().all(|&label| label <= 3));
    }
}
