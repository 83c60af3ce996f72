//! Segmentations made wrong by a known amount: the public side.

mod error;
mod family;
mod kind;

use lesio_image::noise::branch;
use lesio_nn::random;
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

pub use error::CorruptionError;
use family::Family;
pub use kind::CorruptionKind;

/// Which Dice score [`Corruptor::aim`] aims at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiceOf {
    /// The mean over the labels that the true segmentation holds.
    #[default]
    Mean,
    /// That of one label.
    Label(u8),
}

/// A corrupted segmentation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Corrupted {
    /// The labels, of the shape of the true ones.
    pub labels: Array3<u8>,
    /// Its Dice score, as [`Corruptor::dice_of`] chose.
    pub dice: f64,
    /// How it is wrong.
    pub kind: CorruptionKind,
    /// How strongly, 0 to 1.
    pub strength: f64,
}

impl Corrupted {
    /// The labels of the first slice: all there are for a [`Corruptor::of_slice`].
    #[must_use]
    pub fn into_slice(self) -> Array2<u8> {
        self.labels.axis_iter(Axis(2)).next().map_or_else(Default::default, |slice| slice.to_owned())
    }
}

/// Corrupts one segmentation in many ways.
///
/// ```
/// use lesio_phantom::{HeartConfig, HeartPhantom};
/// use lesio_quality::Corruptor;
///
/// let heart = HeartPhantom::new(HeartConfig::new([96, 96], 1))?.slice(0);
/// let corruptor = Corruptor::of_slice(heart.labels.view())?;
/// for (seed, target) in [(1, 0.2), (2, 0.5), (3, 0.8)] {
///     let wrong = corruptor.aim(target, seed)?;
///     assert!((wrong.dice - target).abs() < 0.05);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Corruptor<'a> {
    labels: ArrayView3<'a, u8>,
    other: Option<ArrayView3<'a, u8>>,
    /// Labels present but 0, ascending.
    present: Vec<u8>,
    dice_of: DiceOf,
}

impl<'a> Corruptor<'a> {
    /// Corrupts a volume of labels, slices along the last axis, 0 being background.
    ///
    /// # Errors
    /// [`CorruptionError::Empty`] where every label is 0.
    pub fn new(labels: ArrayView3<'a, u8>) -> Result<Self, CorruptionError> {
        let mut found = [false; 256];
        for &label in labels {
            found[usize::from(label)] = true;
        }
        let present: Vec<u8> = (1..=u8::MAX).filter(|&label| found[usize::from(label)]).collect();
        if present.is_empty() {
            return Err(CorruptionError::Empty { shape: labels.dim().into() });
        }
        Ok(Self { labels, other: None, present, dice_of: DiceOf::Mean })
    }

    /// Corrupts the labels of one slice.
    ///
    /// # Errors
    /// Those of [`Corruptor::new`].
    pub fn of_slice(labels: ArrayView2<'a, u8>) -> Result<Self, CorruptionError> {
        Self::new(labels.insert_axis(Axis(2)))
    }

    /// Gives another subject's segmentation, for [`CorruptionKind::OtherSubject`]; one slice of it with
    /// [`ArrayView2::insert_axis`] where one slice is corrupted.
    ///
    /// # Errors
    /// [`CorruptionError::Shape`] where its shape differs.
    pub fn other(mut self, other: ArrayView3<'a, u8>) -> Result<Self, CorruptionError> {
        if other.dim() != self.labels.dim() {
            let (found, expected) = (other.dim().into(), self.labels.dim().into());
            return Err(CorruptionError::Shape { found, expected });
        }
        self.other = Some(other);
        Ok(self)
    }

    /// Chooses the Dice score that is aimed at and returned.
    ///
    /// # Errors
    /// [`CorruptionError::LabelAbsent`] for a label that the segmentation lacks: its Dice would say
    /// nothing.
    pub fn dice_of(mut self, dice_of: DiceOf) -> Result<Self, CorruptionError> {
        if let DiceOf::Label(label) = dice_of
            && !self.present.contains(&label)
        {
            return Err(CorruptionError::LabelAbsent { label });
        }
        self.dice_of = dice_of;
        Ok(self)
    }

    /// The segmentation made wrong in one way. Strength 0 returns it as it is.
    ///
    /// # Errors
    /// A strength outside 0 to 1, or a kind that needs what is not there.
    pub fn corrupt(
        &self,
        kind: CorruptionKind,
        strength: f64,
        seed: u64,
    ) -> Result<Corrupted, CorruptionError> {
        check_share("strength", strength)?;
        Ok(self.at(&self.family(kind, seed)?, kind, strength))
    }

    /// The segmentation made wrong in one way, as strongly as brings its Dice closest to `target`.
    ///
    /// Some kinds cannot reach every Dice (the last slice is missing or not): what was achieved is
    /// returned.
    ///
    /// # Errors
    /// A target outside 0 to 1, or a kind that needs what is not there.
    pub fn aim_with(
        &self,
        kind: CorruptionKind,
        target: f64,
        seed: u64,
    ) -> Result<Corrupted, CorruptionError> {
        check_share("target", target)?;
        let family = self.family(kind, seed)?;
        let mut best = self.at(&family, kind, 0.0);
        let mut consider = |strength: f64| {
            let candidate = self.at(&family, kind, strength);
            let dice = candidate.dice;
            if (dice - target).abs() < (best.dice - target).abs() {
                best = candidate;
            }
            dice
        };
        // Dice need not fall everywhere: the first step over the target is refined.
        let mut low = 0.0;
        for step in 1..=STEPS {
            let high = f64::from(step) / f64::from(STEPS);
            if consider(high) > target {
                low = high;
                continue;
            }
            let mut high = high;
            for _ in 0..BISECTIONS {
                let middle = (low + high) / 2.0;
                if consider(middle) > target { low = middle } else { high = middle }
            }
            break;
        }
        Ok(best)
    }

    /// The segmentation made wrong in a way drawn at random among those that bring its Dice within 0.02
    /// of `target`; the closest where none does.
    ///
    /// # Errors
    /// A target outside 0 to 1.
    pub fn aim(&self, target: f64, seed: u64) -> Result<Corrupted, CorruptionError> {
        check_share("target", target)?;
        let mut kinds = CorruptionKind::ALL;
        kinds.shuffle(&mut random::generator(branch(seed, 0), 0));
        let mut best: Option<Corrupted> = None;
        for kind in kinds {
            let candidate = match self.aim_with(kind, target, branch(seed, 1)) {
                Ok(candidate) => candidate,
                Err(CorruptionError::OneLabel { .. } | CorruptionError::NoOther) => continue,
                Err(error) => return Err(error),
            };
            let error = (candidate.dice - target).abs();
            if best.as_ref().is_none_or(|best| error < (best.dice - target).abs()) {
                best = Some(candidate);
            }
            if error <= TOLERANCE {
                break;
            }
        }
        // Shifts need nothing: there is a candidate.
        best.ok_or(CorruptionError::Empty { shape: self.labels.dim().into() })
    }

    fn family(&self, kind: CorruptionKind, seed: u64) -> Result<Family<'a>, CorruptionError> {
        let favoured = match self.dice_of {
            DiceOf::Label(label) => Some(label),
            DiceOf::Mean => None,
        };
        Family::new(kind, self.labels, self.other, &self.present, favoured, branch(seed, kind as u64))
    }

    fn at(&self, family: &Family<'_>, kind: CorruptionKind, strength: f64) -> Corrupted {
        let labels = family.at(strength);
        let dice = match self.dice_of {
            DiceOf::Label(label) => dice(self.labels, labels.view(), label),
            DiceOf::Mean => {
                let sum: f64 =
                    self.present.iter().map(|&label| dice(self.labels, labels.view(), label)).sum();
                sum / self.present.len() as f64
            }
        };
        Corrupted { labels, dice, kind, strength }
    }
}

/// Strengths at which the search for a Dice looks first.
const STEPS: u32 = 8;
/// Halvings after that: strength is found to a few thousandths.
const BISECTIONS: usize = 7;
/// Distance from the target with which a random corruption is content.
const TOLERANCE: f64 = 0.02;

fn check_share(name: &'static str, found: f64) -> Result<(), CorruptionError> {
    if (0.0..=1.0).contains(&found) { Ok(()) } else { Err(CorruptionError::Range { name, found }) }
}

/// Dice score of one label, which the first segmentation holds.
fn dice(truth: ArrayView3<'_, u8>, other: ArrayView3<'_, u8>, label: u8) -> f64 {
    let (mut both, mut sum) = (0usize, 0usize);
    for (&a, &b) in truth.iter().zip(other) {
        both += usize::from(a == label && b == label);
        sum += usize::from(a == label) + usize::from(b == label);
    }
    2.0 * both as f64 / sum.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr3;

    #[test]
    fn dice_counts_each_label() {
        let a = arr3(&[[[1, 1, 1, 2], [0, 0, 2, 2]]]);
        let b = arr3(&[[[1, 1, 2, 2], [0, 1, 0, 0]]]);
        assert_eq!(dice(a.view(), b.view(), 1), 2.0 * 2.0 / 6.0);
        assert_eq!(dice(a.view(), b.view(), 2), 2.0 * 1.0 / 5.0);
        let corruptor = Corruptor::new(a.view()).unwrap();
        let whole = corruptor.corrupt(CorruptionKind::MissingSlices, 1.0, 0).unwrap();
        assert_eq!(whole.dice, 0.0);
    }
}
