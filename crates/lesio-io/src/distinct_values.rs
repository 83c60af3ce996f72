//! Counts the values of a mask, to notice images that are no masks.

use std::collections::BTreeSet;

/// More different values than this are those of a photograph or of a resampled mask, not of labels or of a drawing.
const MOST: usize = 64;

/// The different values of a mask, as far as they must be known.
#[derive(Debug, Default)]
pub(crate) struct DistinctValues {
    seen: BTreeSet<u64>,
    last: Option<u64>,
}

impl DistinctValues {
    pub(crate) fn add(&mut self, value: f64) {
        let bits = value.to_bits();
        if self.last != Some(bits) && self.seen.len() <= MOST {
            self.seen.insert(bits);
            self.last = Some(bits);
        }
    }

    /// Whether there are more values than a mask has.
    pub(crate) fn are_many(&self) -> bool {
        self.seen.len() > MOST
    }
}
