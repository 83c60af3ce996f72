//! A threshold lowered through sorted scores, stopping where it matters.

use crate::keys::Keys;

/// The threshold has come down to one score that positives hold.
///
/// Scores held by negatives alone are passed over: there recall stands still, so they add nothing to average
/// precision, only lower Dice, and are whole steps of the Mann-Whitney statistic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The score, as a key.
    pub(crate) key: u32,
    /// Positives with higher scores.
    pub(crate) positives_above: u64,
    /// Positives with this score; at least one.
    pub(crate) positives_tied: u64,
    /// Negatives with higher scores.
    pub(crate) negatives_above: u64,
    /// Negatives with this score.
    pub(crate) negatives_tied: u64,
}

impl Step {
    /// Positives at or above this score.
    pub(crate) fn true_positives(&self) -> u64 {
        self.positives_above + self.positives_tied
    }

    /// Negatives at or above this score.
    pub(crate) fn false_positives(&self) -> u64 {
        self.negatives_above + self.negatives_tied
    }
}

/// The distinct scores of the positives, from the highest down. Keys must be sorted.
pub(crate) fn steps(keys: &Keys) -> impl Iterator<Item = Step> {
    let (positives, negatives) = (keys.positives.as_slice(), keys.negatives.as_slice());
    let (mut p, mut n) = (positives.len(), negatives.len());
    std::iter::from_fn(move || {
        let key = *positives.get(p.checked_sub(1)?)?;
        let positives_above = (positives.len() - p) as u64;
        p = retreat(positives, p, |k| k >= key);
        n = retreat(negatives, n, |k| k > key);
        let negatives_above = (negatives.len() - n) as u64;
        n = retreat(negatives, n, |k| k >= key);
        Some(Step {
            key,
            positives_above,
            positives_tied: (positives.len() - p) as u64 - positives_above,
            negatives_above,
            negatives_tied: (negatives.len() - n) as u64 - negatives_above,
        })
    })
}

/// The end of `sorted[..end]` once the keys that `pass` holds for are taken from its end.
pub(crate) fn retreat(sorted: &[u32], mut end: usize, pass: impl Fn(u32) -> bool) -> usize {
    while end > 0 && pass(sorted[end - 1]) {
        end -= 1;
    }
    end
}
