//! What a caller may rely on in corrupted segmentations.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests stop at surprises"
)]

use lesio_phantom::{CardiacPhase, HeartConfig, HeartPhantom};
use lesio_quality::{CorruptionError, CorruptionKind, Corruptor, DiceOf};
use ndarray::{Array3, ArrayView3, Axis};
use proptest::prelude::*;

fn heart(subject: u64) -> Array3<u8> {
    let hearts = HeartPhantom::new(HeartConfig::new([64, 64], 3).slices(8)).unwrap();
    hearts.volume(subject, CardiacPhase::EndDiastole).unwrap().labels.into_data()
}

fn dice(a: ArrayView3<'_, u8>, b: ArrayView3<'_, u8>, label: u8) -> f64 {
    let inside = |v: ArrayView3<'_, u8>| v.iter().filter(|&&value| value == label).count() as f64;
    let both = a.iter().zip(b).filter(|&(&a, &b)| a == label && b == label).count() as f64;
    2.0 * both / (inside(a) + inside(b))
}

#[test]
fn strength_zero_is_the_segmentation_and_dice_is_what_it_says() {
    let (own, other) = (heart(0), heart(1));
    let corruptor = Corruptor::new(own.view()).unwrap().other(other.view()).unwrap();
    for kind in CorruptionKind::ALL {
        let same = corruptor.corrupt(kind, 0.0, 1).unwrap();
        assert_eq!((same.labels, same.dice), (own.clone(), 1.0));
        let wrong = corruptor.corrupt(kind, 0.4, 1).unwrap();
        let mean = (1..4).map(|label| dice(own.view(), wrong.labels.view(), label)).sum::<f64>() / 3.0;
        assert!((wrong.dice - mean).abs() < 1e-12, "{kind:?}");
        assert!(wrong.dice < 0.99, "{kind:?}: {}", wrong.dice);
        assert_eq!(wrong, corruptor.corrupt(kind, 0.4, 1).unwrap());
    }
}

#[test]
fn what_takes_away_or_swaps_ends_at_nothing() {
    let own = heart(0);
    let corruptor = Corruptor::new(own.view()).unwrap();
    for kind in [
        CorruptionKind::Shift,
        CorruptionKind::Erode,
        CorruptionKind::Holes,
        CorruptionKind::MissingSlices,
        CorruptionKind::SwapLabels,
    ] {
        assert_eq!(corruptor.corrupt(kind, 1.0, 5).unwrap().dice, 0.0, "{kind:?}");
    }
    let other = heart(1);
    let corruptor = corruptor.other(other.view()).unwrap();
    assert_eq!(corruptor.corrupt(CorruptionKind::OtherSubject, 1.0, 5).unwrap().labels, other);
}

#[test]
fn stronger_is_worse() {
    let own = heart(2);
    let corruptor = Corruptor::new(own.view()).unwrap();
    for kind in [
        CorruptionKind::Erode,
        CorruptionKind::Dilate,
        CorruptionKind::Holes,
        CorruptionKind::MissingSlices,
        CorruptionKind::SwapLabels,
    ] {
        let scores: Vec<f64> =
            (0..=10).map(|s| corruptor.corrupt(kind, f64::from(s) / 10.0, 7).unwrap().dice).collect();
        assert!(scores.windows(2).all(|pair| pair[1] <= pair[0]), "{kind:?}: {scores:?}");
    }
}

#[test]
fn holes_take_their_share_of_each_label() {
    let own = heart(3);
    let wrong = Corruptor::new(own.view()).unwrap().corrupt(CorruptionKind::Holes, 0.3, 2).unwrap();
    for label in 1..4 {
        let [before, after] =
            [&own, &wrong.labels].map(|v| v.iter().filter(|&&value| value == label).count() as f64);
        assert!((after / before - 0.7).abs() < 0.01);
    }
}

#[test]
fn aimed_corruptions_spread_over_all_of_dice() {
    let (own, other) = (heart(4), heart(5));
    for slice in [4, 6] {
        let (own, other) = (own.index_axis(Axis(2), slice), other.index_axis(Axis(2), slice));
        for dice_of in [DiceOf::Mean, DiceOf::Label(2)] {
            let corruptor = Corruptor::of_slice(own)
                .unwrap()
                .other(other.insert_axis(Axis(2)))
                .unwrap()
                .dice_of(dice_of)
                .unwrap();
            let mut kinds = std::collections::BTreeSet::new();
            for step in 0..100_u32 {
                let target = (f64::from(step) + 0.5) / 100.0;
                let wrong = corruptor.aim(target, step.into()).unwrap();
                assert!((wrong.dice - target).abs() <= 0.03, "{target}: {} {:?}", wrong.dice, wrong.kind);
                kinds.insert(wrong.kind);
                assert_eq!(wrong.clone().into_slice(), wrong.labels.index_axis(Axis(2), 0));
            }
            assert!(kinds.len() >= 6, "{kinds:?}");
        }
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let empty = Array3::<u8>::zeros((4, 5, 2));
    assert_eq!(Corruptor::new(empty.view()).unwrap_err(), CorruptionError::Empty { shape: [4, 5, 2] });
    let mut one = empty.clone();
    one[[1, 2, 0]] = 7;
    let corruptor = Corruptor::new(one.view()).unwrap();
    let swap = corruptor.corrupt(CorruptionKind::SwapLabels, 0.5, 0);
    assert_eq!(swap, Err(CorruptionError::OneLabel { label: 7 }));
    assert_eq!(corruptor.corrupt(CorruptionKind::OtherSubject, 0.5, 0), Err(CorruptionError::NoOther));
    assert!(matches!(corruptor.aim(f64::NAN, 0), Err(CorruptionError::Range { name: "target", .. })));
    let strength = corruptor.corrupt(CorruptionKind::Erode, 1.5, 0);
    assert!(matches!(strength, Err(CorruptionError::Range { name: "strength", .. })));
    let label = corruptor.clone().dice_of(DiceOf::Label(2));
    assert_eq!(label.unwrap_err(), CorruptionError::LabelAbsent { label: 2 });
    let wide = Array3::zeros((5, 5, 2));
    assert!(matches!(corruptor.other(wide.view()), Err(CorruptionError::Shape { found: [5, 5, 2], .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_segmentation_stays_within_its_labels(
        values in prop::collection::vec(prop::sample::select(vec![0u8, 0, 1, 4, 255]), 6 * 7 * 3),
        others in prop::collection::vec(prop::sample::select(vec![0u8, 1, 9]), 6 * 7 * 3),
        strength in 0.0..=1.0f64,
        target in 0.0..=1.0f64,
        seed: u64,
    ) {
        let own = Array3::from_shape_vec((6, 7, 3), values).unwrap();
        let other = Array3::from_shape_vec((6, 7, 3), others).unwrap();
        if let Ok(corruptor) = Corruptor::new(own.view()) {
            let corruptor = corruptor.other(other.view()).unwrap();
            for kind in CorruptionKind::ALL {
                match corruptor.corrupt(kind, strength, seed) {
                    Ok(wrong) => {
                        prop_assert_eq!(wrong.labels.dim(), own.dim());
                        prop_assert!((0.0..=1.0).contains(&wrong.dice));
                        let known = |label: &u8| *label == 0
                            || own.iter().any(|own| own == label)
                            || kind == CorruptionKind::OtherSubject && other.iter().any(|v| v == label);
                        prop_assert!(wrong.labels.iter().all(known));
                    }
                    Err(error) => {
                        let one = matches!(error, CorruptionError::OneLabel { .. });
                        prop_assert!(one && kind == CorruptionKind::SwapLabels);
                    }
                }
            }
            let aimed = corruptor.aim(target, seed).unwrap();
            prop_assert!((0.0..=1.0).contains(&aimed.dice));
        }
    }
}
