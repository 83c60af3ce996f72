//! Scores as integers of the same order, and how they are sorted.
//!
//! Exact ranking metrics need every score of a data set in order, so the sort is what they cost. A score becomes
//! a `u32` that compares as the score does; positives and negatives are kept apart, which saves the truth bit;
//! and a radix sort that first deals keys to buckets by their leading bits (all threads) and then sorts each
//! bucket in cache replaces comparisons. Splits are fixed by the input alone, so results never depend on threads.

use ndarray::{ArrayView, Dimension};
use rayon::prelude::*;

use crate::error::{MetricError, same_pixels};

/// Pixels handled by one task when scores are read.
const CHUNK: usize = 1 << 16;
/// Leading bits by which keys are dealt to buckets; the rest, at most 21, takes two passes.
const LEADING_BITS: u32 = 11;
/// Pieces in which keys are dealt: fixed, so that any number of threads does the same work.
const PIECES: usize = 16;
/// Below this the comparison sort of the standard library is faster than two passes over a histogram.
const SMALL: usize = 2048;

/// An integer that orders as the score does: `a < b` exactly when `key(a) < key(b)`, for all but not-a-number.
///
/// Both zeros get one key, since they compare equal.
pub(crate) fn key(score: f32) -> u32 {
    // Adding zero turns -0.0 to 0.0 and leaves everything else.
    let bits = (score + 0.0).to_bits();
    // Negative numbers: all bits inverted; others: only the sign.
    let sign = bits >> 31;
    bits ^ (sign.wrapping_neg() | 1 << 31)
}

/// The score of a key.
pub(crate) fn score(key: u32) -> f32 {
    let positive = key >> 31;
    f32::from_bits(key ^ ((positive ^ 1).wrapping_neg() | 1 << 31))
}

/// Keys of scores of one class, in the order in which they come; refuses those that are not a number.
pub(crate) fn of_scores(scores: impl IntoIterator<Item = f32>) -> Result<Vec<u32>, MetricError> {
    let mut keys = Keys::default();
    keys.extend_pixels(scores.into_iter().map(|score| (score, false)))?;
    Ok(keys.negatives)
}

/// Keys of positives and of negatives, in no order until [`Keys::sort`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    pub(crate) positives: Vec<u32>,
    pub(crate) negatives: Vec<u32>,
}

impl Keys {
    /// Adds the pixels of two arrays of one shape; changes nothing on failure.
    pub(crate) fn extend<D: Dimension>(
        &mut self,
        scores: &ArrayView<'_, f32, D>,
        truth: &ArrayView<'_, bool, D>,
    ) -> Result<(), MetricError> {
        same_pixels("truth", scores.shape(), truth.shape())?;
        // The order of pixels makes no difference to what is sorted: arrays that lie alike are read as they lie.
        match (scores.as_slice_memory_order(), truth.as_slice_memory_order()) {
            (Some(values), Some(flags)) if scores.strides() == truth.strides() => {
                // Counting first lets the common case run over whole registers.
                let count: usize =
                    values.par_chunks(CHUNK).map(|c| c.iter().filter(|s| s.is_nan()).count()).sum();
                if count > 0 {
                    let first = scores.iter().position(|s| s.is_nan()).unwrap_or_default();
                    return Err(MetricError::NotANumber { what: "scores", count, first });
                }
                self.extend_numbers(values, flags);
                Ok(())
            }
            _ => self.extend_pixels(scores.iter().copied().zip(truth.iter().copied())),
        }
    }

    /// Adds pixels as they come, each a score and its truth; changes nothing on failure.
    pub(crate) fn extend_pixels(
        &mut self,
        pixels: impl IntoIterator<Item = (f32, bool)>,
    ) -> Result<(), MetricError> {
        let old = (self.positives.len(), self.negatives.len());
        let (mut count, mut first) = (0, 0);
        pixels.into_iter().enumerate().for_each(|(index, (score, truth))| {
            if score.is_nan() {
                first = if count == 0 { index } else { first };
                count += 1;
            } else if truth {
                self.positives.push(key(score));
            } else {
                self.negatives.push(key(score));
            }
        });
        if count > 0 {
            self.positives.truncate(old.0);
            self.negatives.truncate(old.1);
            return Err(MetricError::NotANumber { what: "scores", count, first });
        }
        Ok(())
    }

    /// Adds pixels whose scores are numbers, `scores` and `truth` being of one length.
    fn extend_numbers(&mut self, scores: &[f32], truth: &[bool]) {
        let counts: Vec<usize> =
            truth.par_chunks(CHUNK).map(|chunk| chunk.iter().filter(|&&t| t).count()).collect();
        let positives: usize = counts.iter().sum();
        let (old_positives, old_negatives) = (self.positives.len(), self.negatives.len());
        self.positives.resize(old_positives + positives, 0);
        self.negatives.resize(old_negatives + (scores.len() - positives), 0);

        let mut positive_rest = &mut self.positives[old_positives..];
        let mut negative_rest = &mut self.negatives[old_negatives..];
        let mut tasks = Vec::with_capacity(counts.len());
        for ((scores, truth), &count) in scores.chunks(CHUNK).zip(truth.chunks(CHUNK)).zip(&counts) {
            let (positive, rest) = std::mem::take(&mut positive_rest).split_at_mut(count);
            positive_rest = rest;
            let (negative, rest) = std::mem::take(&mut negative_rest).split_at_mut(scores.len() - count);
            negative_rest = rest;
            tasks.push((scores, truth, positive, negative));
        }
        tasks.into_par_iter().for_each(|(scores, truth, positive, negative)| {
            let (mut p, mut n) = (0, 0);
            for (&score, &truth) in scores.iter().zip(truth) {
                let key = key(score);
                // Both are written and one cursor moves: truth is noise to a branch predictor.
                if let Some(slot) = positive.get_mut(p) {
                    *slot = key;
                }
                if let Some(slot) = negative.get_mut(n) {
                    *slot = key;
                }
                p += usize::from(truth);
                n += usize::from(!truth);
            }
        });
    }

    /// Sorts both classes, ascending.
    pub(crate) fn sort(&mut self) {
        sort(&mut self.positives);
        sort(&mut self.negatives);
    }
}

/// Sorts keys, ascending; takes as much memory again while it runs.
pub(crate) fn sort(keys: &mut Vec<u32>) {
    if keys.len() < 4 * SMALL || keys.len() > u32::MAX as usize {
        keys.par_sort_unstable();
        return;
    }
    let (low, high) =
        keys.par_chunks(CHUNK).map(extremes).reduce(|| (u32::MAX, 0), |a, b| (a.0.min(b.0), a.1.max(b.1)));
    if low >= high {
        return;
    }
    let shift = (u32::BITS - (high - low).leading_zeros()).saturating_sub(LEADING_BITS);
    let bucket = |key: u32| ((key - low) >> shift) as usize;
    let buckets = bucket(high) + 1;

    let piece = keys.len().div_ceil(PIECES);
    let counts: Vec<Vec<usize>> = keys
        .par_chunks(piece)
        .map(|keys| {
            let mut counts = vec![0; buckets];
            keys.iter().for_each(|&key| counts[bucket(key)] += 1);
            counts
        })
        .collect();

    let mut dealt = vec![0; keys.len()];
    let mut lanes: Vec<Vec<std::slice::IterMut<'_, u32>>> =
        counts.iter().map(|_| Vec::with_capacity(buckets)).collect();
    let mut rest = dealt.as_mut_slice();
    for bucket in 0..buckets {
        for (lane, counts) in lanes.iter_mut().zip(&counts) {
            let (slots, after) = std::mem::take(&mut rest).split_at_mut(counts[bucket]);
            rest = after;
            lane.push(slots.iter_mut());
        }
    }
    keys.par_chunks(piece).zip(lanes).for_each(|(keys, mut lane)| {
        for &key in keys {
            // The histogram made room for every key, so there always is a slot.
            if let Some(slot) = lane[bucket(key)].next() {
                *slot = key;
            }
        }
    });

    if shift > 0 {
        let mut tasks = Vec::with_capacity(buckets);
        let mut dealt_rest = dealt.as_mut_slice();
        let mut scratch_rest = keys.as_mut_slice();
        for bucket in 0..buckets {
            let length = counts.iter().map(|counts| counts[bucket]).sum();
            let (dealt, after) = std::mem::take(&mut dealt_rest).split_at_mut(length);
            dealt_rest = after;
            let (scratch, after) = std::mem::take(&mut scratch_rest).split_at_mut(length);
            scratch_rest = after;
            tasks.push((dealt, scratch));
        }
        tasks.into_par_iter().for_each(|(keys, scratch)| sort_bucket(keys, scratch, low, shift));
    }
    *keys = dealt;
}

/// Sorts keys that agree in all but the lowest `bits` bits of `key - low`.
fn sort_bucket(keys: &mut [u32], scratch: &mut [u32], low: u32, bits: u32) {
    if keys.len() < SMALL {
        keys.sort_unstable();
        return;
    }
    let half = bits.div_ceil(2);
    let mask = (1u32 << half) - 1;
    let lower = |key: u32| ((key - low) & mask) as usize;
    let upper = |key: u32| (((key - low) >> half) & mask) as usize;
    let mut lower_counts = vec![0u32; 1 << half];
    let mut upper_counts = vec![0u32; 1 << half];
    for &key in &*keys {
        lower_counts[lower(key)] += 1;
        upper_counts[upper(key)] += 1;
    }
    deal(keys, scratch, &mut lower_counts, lower);
    deal(scratch, keys, &mut upper_counts, upper);
}

/// One stable counting pass; `counts` become end positions.
fn deal(from: &[u32], to: &mut [u32], counts: &mut [u32], digit: impl Fn(u32) -> usize) {
    let mut start = 0;
    for count in counts.iter_mut() {
        let next = start + *count;
        *count = start;
        start = next;
    }
    for &key in from {
        let position = &mut counts[digit(key)];
        to[*position as usize] = key;
        *position += 1;
    }
}

fn extremes(keys: &[u32]) -> (u32, u32) {
    keys.iter().fold((u32::MAX, 0), |(low, high), &key| (low.min(key), high.max(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn keys_order_as_scores_and_go_back() {
        let scores =
            [f32::NEG_INFINITY, f32::MIN, -1.0, -1e-45, 0.0, 1e-45, 0.5, 1.0, f32::MAX, f32::INFINITY];
        for pair in scores.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
        for s in scores {
            assert_eq!(score(key(s)), s);
        }
        assert_eq!(key(-0.0), key(0.0));
    }

    #[test]
    fn sorts_every_spread_of_keys() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        for (low, high) in
            [(0, u32::MAX), (7, 7), (1000, 1003), (1 << 30, (1 << 30) + 4096), (u32::MAX - 70_000, u32::MAX)]
        {
            for n in [0, 1, 100, 9_000, 150_000] {
                let mut keys: Vec<u32> = (0..n).map(|_| rng.random_range(low..=high)).collect();
                let mut expected = keys.clone();
                expected.sort_unstable();
                sort(&mut keys);
                assert!(keys == expected, "{n} keys in {low}..={high}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_pixel_lands_in_its_class(pixels in prop::collection::vec((-9f32..9.0, any::<bool>()), 0..300)) {
            let (scores, truth): (Vec<f32>, Vec<bool>) = pixels.iter().copied().unzip();
            let mut keys = Keys::default();
            keys.extend(&ArrayView::from(&scores), &ArrayView::from(&truth)).unwrap();
            let of = |class: bool| -> Vec<u32> {
                pixels.iter().filter(|p| p.1 == class).map(|p| key(p.0)).collect()
            };
            prop_assert_eq!(&keys.positives, &of(true));
            prop_assert_eq!(&keys.negatives, &of(false));
        }
    }
}
