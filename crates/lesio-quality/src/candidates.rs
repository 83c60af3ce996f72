//! Candidate segmentations: outputs of segmenters and corruptions, evenly spread over their quality.

use std::collections::BTreeMap;

use lesio_nn::random;
use lesio_settings::{SettingError, in_range, require, setters};
use ndarray::{Array2, ArrayView2, Axis, AxisDescription, Slice};
use rand::RngExt;

use crate::corruption::{CorruptionError, CorruptionKind, Corruptor, DiceOf};
use crate::error::InputError;
use crate::samples::Quality;
use crate::slices::TrueSlice;

/// Corruptions work within the segmentation's box and this many times its extent on each side.
const MARGIN: f64 = 0.8;
/// At least as many pixels.
const LEAST_MARGIN: usize = 12;
/// A corruption is content with a Dice this far from the one it aims at.
const NEAR: f64 = 0.1;

/// A candidate segmentation of a slice.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// Position of its slice among those given.
    pub slice: usize,
    /// Its origin.
    pub origin: Origin,
    /// Its quality.
    pub quality: Quality,
    patch: Patch,
}

/// The part of a plane of labels that holds any: most of a slice is background.
#[derive(Clone, Debug, PartialEq)]
struct Patch {
    shape: [usize; 2],
    start: [usize; 2],
    labels: Array2<u8>,
}

impl Patch {
    fn of(labels: &Array2<u8>) -> Self {
        let bounds = lesio_image::bounding_box::<_, 2>(&labels.mapv(|label| label != 0));
        let (start, end) = bounds.map_or(([0; 2], [0; 2]), |bounds| (bounds.start, bounds.end));
        let part = labels.slice_each_axis(within(start, end));
        Self { shape: labels.dim().into(), start, labels: part.to_owned() }
    }

    fn whole(&self) -> Array2<u8> {
        let mut labels = Array2::zeros(self.shape);
        let end = std::array::from_fn(|axis| self.start[axis] + self.labels.shape()[axis]);
        labels.slice_each_axis_mut(within(self.start, end)).assign(&self.labels);
        labels
    }
}

impl Candidate {
    /// A candidate of a slice, compared with its truth; `None` where it holds none of `graded`.
    ///
    /// # Errors
    /// Another shape than the slice's.
    pub fn new(
        slice: usize,
        origin: Origin,
        labels: &Array2<u8>,
        truth: &ArrayView2<'_, u8>,
        graded: &[u8],
    ) -> Result<Option<Self>, InputError> {
        if !labels.iter().any(|label| graded.contains(label)) {
            return Ok(None);
        }
        let quality = Quality::measure(graded, &labels.view(), truth)?;
        Ok(Some(Self { slice, origin, quality, patch: Patch::of(labels) }))
    }

    /// Its labels, of the slice's shape.
    #[must_use]
    pub fn labels(&self) -> Array2<u8> {
        self.patch.whole()
    }

    /// Mean Dice over the labels graded.
    #[must_use]
    pub fn mean_dice(&self) -> f64 {
        self.quality.dice.iter().sum::<f64>() / self.quality.dice.len().max(1) as f64
    }
}

/// The origin of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// A segmenter, by its number and the stage of its training.
    Segmenter {
        /// The segmenter.
        number: usize,
        /// The stage, counted from 0.
        stage: usize,
    },
    /// A network that is in use, by its place in [`TrueSlice::given`].
    Given(usize),
    /// A corruption of the truth.
    CorruptedTruth(CorruptionKind),
    /// A corruption of a segmenter's output.
    CorruptedSegmenter(CorruptionKind),
}

/// Corrupts the truth of a slice, and what segmenters gave for it, `count` times, each with a strength of its own.
///
/// `given` are candidates of the same slice to start from in two of five cases; `other` is a slice of another
/// patient, whose segmentation may take the place of this one's. The draw depends on `seed` and the slice's
/// place in its data set (`number`) alone. Nothing comes of a slice whose truth holds none of `graded`.
///
/// # Errors
/// Shapes that do not fit.
pub fn corruptions(
    slice: &TrueSlice,
    number: usize,
    given: &[&Candidate],
    other: &TrueSlice,
    graded: &[u8],
    count: usize,
    seed: u64,
) -> Result<Vec<Candidate>, InputError> {
    let mut candidates = Vec::new();
    let mut generator = random::generator(seed ^ 0x5eed_c044, number as u64);
    for _ in 0..count {
        let start = given.get(generator.random_range(0..given.len().max(1)));
        let from_segmenter = generator.random_range(0.0..1.0) < 0.4;
        let kind = CorruptionKind::ALL[generator.random_range(0..CorruptionKind::ALL.len())];
        let (target, draw) = (generator.random_range(0.0..=1.0), generator.random_range(0..=u64::MAX));
        let start = start.filter(|_| from_segmenter);
        let base = start.map_or_else(|| slice.truth.clone(), |candidate| candidate.labels());
        let Some((labels, kind)) = corrupted(&base, &other.truth, graded, kind, target, draw) else {
            continue;
        };
        let origin = match start {
            Some(_) => Origin::CorruptedSegmenter(kind),
            None => Origin::CorruptedTruth(kind),
        };
        candidates.extend(Candidate::new(number, origin, &labels, &slice.truth.view(), graded)?);
    }
    Ok(candidates)
}

/// A segmentation corrupted to approximately a given Dice with the original, and the kind of corruption; `None` if that
/// is not possible.
///
/// Some kinds cannot reach some Dice: a thin wall loses all its pixels to one step of erosion, and of a single slice all
/// or nothing is missing. Others take their place, or candidates would be rare where those leave gaps.
fn corrupted(
    base: &Array2<u8>,
    other: &Array2<u8>,
    graded: &[u8],
    kind: CorruptionKind,
    target: f64,
    seed: u64,
) -> Option<(Array2<u8>, CorruptionKind)> {
    let bounds = lesio_image::bounding_box::<_, 2>(&base.mapv(|label| label != 0))?;
    let extent = bounds.size().into_iter().max().unwrap_or(0) as f64;
    let margin = ((extent * MARGIN) as usize).max(LEAST_MARGIN);
    let start: [usize; 2] = std::array::from_fn(|axis| bounds.start[axis].saturating_sub(margin));
    let end: [usize; 2] = std::array::from_fn(|axis| (bounds.end[axis] + margin).min(base.shape()[axis]));
    let part = base.slice_each_axis(within(start, end)).to_owned();
    let replacement = centered(
        other,
        part.dim(),
        [(bounds.start[0] + bounds.end[0]) / 2 - start[0], (bounds.start[1] + bounds.end[1]) / 2 - start[1]],
    );
    let corruptor = Corruptor::of_slice(part.view()).ok()?;
    let corruptor = corruptor.other(replacement.view().insert_axis(Axis(2))).ok()?;
    let corruptor = match graded {
        [label] => corruptor.dice_of(DiceOf::Label(*label)).ok()?,
        _ => corruptor,
    };
    let wrong = match corruptor.aim_with(kind, target, seed) {
        Ok(wrong) if (wrong.dice - target).abs() <= NEAR => wrong,
        Ok(_) | Err(CorruptionError::OneLabel { .. } | CorruptionError::NoOther) => {
            corruptor.aim(target, seed).ok()?
        }
        Err(_) => return None,
    };
    let mut labels = Array2::zeros(base.dim());
    let kind = wrong.kind;
    labels.slice_each_axis_mut(within(start, end)).assign(&wrong.into_slice());
    Some((labels, kind))
}

/// The box from `start` to before `end`, for both axes of a plane.
fn within(start: [usize; 2], end: [usize; 2]) -> impl FnMut(AxisDescription) -> Slice {
    move |axis| Slice::from(start[axis.axis.index()]..end[axis.axis.index()])
}

/// Labels moved so that their center comes to `center` of a plane of another shape.
fn centered(labels: &Array2<u8>, shape: (usize, usize), center: [usize; 2]) -> Array2<u8> {
    let bounds = lesio_image::bounding_box::<_, 2>(&labels.mapv(|label| label != 0));
    let from: [usize; 2] =
        bounds.map_or([0, 0], |b| std::array::from_fn(|axis| (b.start[axis] + b.end[axis]) / 2));
    Array2::from_shape_fn(shape, |(row, column)| {
        let source = |place: usize, axis: usize| (place + from[axis]).checked_sub(center[axis]);
        let place = source(row, 0).zip(source(column, 1));
        place.and_then(|(row, column)| labels.get((row, column)).copied()).unwrap_or(0)
    })
}

/// Most ranges of Dice.
const MOST_BINS: usize = 10_000;

/// The number of candidates to keep for each quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UniformPool {
    /// Number of equal ranges of mean Dice from 0 to 1, 1 to 10000. Default 20.
    pub bins: usize,
    /// Most candidates kept of each.
    pub per_bin: usize,
    /// Seed of the choice. Default 0.
    pub seed: u64,
}

impl UniformPool {
    /// A pool of at most this many candidates for each of 20 ranges.
    #[must_use]
    pub fn new(per_bin: usize) -> Self {
        Self { bins: 20, per_bin, seed: 0 }
    }

    /// Chooses candidates so that each range of Dice has as many, up to its limit: half of them from
    /// segmenters, half corrupted, where there are as many, and patients in turn. The last range holds
    /// its upper end. Returns positions, ascending.
    ///
    /// `dice`, `corrupted` and `patients` say of each candidate its mean Dice, whether it is a corruption, and whose.
    ///
    /// # Errors
    /// No bin or more than 10000, and lists of different lengths.
    pub fn choose<S: AsRef<str>>(
        &self,
        dice: &[f64],
        corrupted: &[bool],
        patients: &[S],
    ) -> Result<Vec<usize>, SettingError> {
        in_range("bins", self.bins, 1..=MOST_BINS)?;
        let lengths = [dice.len(), corrupted.len(), patients.len()];
        require(lengths == [dice.len(); 3], "lists of candidates", lengths, "one length")?;
        let bins = self.bins;
        let mut members = vec![[Vec::new(), Vec::new()]; bins];
        for ((position, &dice), &corrupted) in dice.iter().enumerate().zip(corrupted) {
            let bin = ((dice.clamp(0.0, 1.0) * bins as f64) as usize).min(bins - 1);
            members[bin][usize::from(corrupted)].push(position);
        }
        let mut chosen = Vec::new();
        for (bin, kinds) in members.into_iter().enumerate() {
            let [segmenters, corruptions] = kinds.map(|positions| self.in_turn(bin, positions, patients));
            let half = self.per_bin / 2;
            let corruptions_kept = (self.per_bin - half.min(segmenters.len())).min(corruptions.len());
            let segmenters_kept = (self.per_bin - corruptions_kept).min(segmenters.len());
            chosen.extend(&segmenters[..segmenters_kept]);
            chosen.extend(&corruptions[..corruptions_kept]);
        }
        chosen.sort_unstable();
        Ok(chosen)
    }

    /// Positions in an order in which every prefix has about as many of each patient.
    fn in_turn<S: AsRef<str>>(&self, bin: usize, positions: Vec<usize>, patients: &[S]) -> Vec<usize> {
        let order = random::permutation(&mut random::generator(self.seed, bin as u64), positions.len());
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        let mut ranked: Vec<(usize, usize)> = Vec::with_capacity(positions.len());
        for place in order {
            let position = positions[place];
            let patient = patients.get(position).map_or("", |name| name.as_ref());
            let turn = times.entry(patient).or_default();
            ranked.push((*turn, position));
            *turn += 1;
        }
        // Stable: within a turn the random order stays.
        ranked.sort_by_key(|(turn, _)| *turn);
        ranked.into_iter().map(|(_, position)| position).collect()
    }
}

setters!(UniformPool { bins: usize, seed: u64 });

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pools_are_uniform(
            candidates in prop::collection::vec((0.0f64..=1.0, prop::bool::ANY, 0u8..4), 1..300),
            per_bin in 1usize..8,
        ) {
            let dice: Vec<f64> = candidates.iter().map(|c| c.0).collect();
            let corrupted: Vec<bool> = candidates.iter().map(|c| c.1).collect();
            let patients: Vec<String> = candidates.iter().map(|c| c.2.to_string()).collect();
            let pool = UniformPool::new(per_bin).bins(5).seed(3);
            let chosen = pool.choose(&dice, &corrupted, &patients).unwrap();
            prop_assert!(chosen.is_sorted_by(|a, b| a < b));
            let bin = |position: usize| ((dice[position] * 5.0) as usize).min(4);
            for range in 0..5 {
                let there = (0..dice.len()).filter(|&k| bin(k) == range);
                let of = |wanted: bool| there.clone().filter(|&k| corrupted[k] == wanted).count();
                let kept: Vec<usize> = chosen.iter().copied().filter(|&k| bin(k) == range).collect();
                prop_assert_eq!(kept.len(), per_bin.min(there.clone().count()));
                let kept_corrupted = kept.iter().filter(|&&k| corrupted[k]).count();
                // Half from each, unless one of them has not as many.
                prop_assert!(kept_corrupted >= (per_bin - per_bin / 2).min(of(true)));
                prop_assert!(kept.len() - kept_corrupted >= (per_bin / 2).min(of(false)));
            }
        }
    }

    #[test]
    fn patients_take_turns() {
        let dice = [0.5; 10];
        let patients = ["a", "a", "a", "a", "a", "a", "a", "b", "c", "c"];
        let chosen = UniformPool::new(3).bins(1).choose(&dice, &[true; 10], &patients).unwrap();
        let mut seen: Vec<&str> = chosen.iter().map(|&k| patients[k]).collect();
        seen.sort_unstable();
        assert_eq!(seen, ["a", "b", "c"]);
    }

    #[test]
    fn candidates_keep_their_labels() {
        let mut labels = Array2::<u8>::zeros((6, 7));
        let truth = labels.clone();
        let origin = Origin::Segmenter { number: 0, stage: 0 };
        assert_eq!(Candidate::new(0, origin, &labels, &truth.view(), &[2]), Ok(None));
        (labels[[2, 3]], labels[[4, 1]]) = (2, 1);
        let candidate = Candidate::new(0, origin, &labels, &truth.view(), &[2]).unwrap().unwrap();
        assert_eq!(candidate.labels(), labels);
        assert_eq!(candidate.mean_dice(), 0.0);
    }

    #[test]
    fn segmentations_come_to_another_place() {
        let mut labels = Array2::<u8>::zeros((10, 10));
        labels[[2, 3]] = 4;
        let moved = centered(&labels, (5, 6), [1, 4]);
        assert_eq!(moved[[1, 4]], 4);
        assert_eq!(moved.iter().filter(|&&label| label != 0).count(), 1);
    }
}
