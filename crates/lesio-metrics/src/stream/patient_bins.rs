//! What one patient has in each bin of scores, from its runs.

use crate::bins::PatientBins;
use crate::confusion::Confusion;
use crate::grid::Grid;
use crate::run::Entry;

/// What one patient has in each bin, and what is counted on the way.
pub(super) struct Binned {
    positives: Vec<u32>,
    negatives: Vec<u32>,
    /// Sum over regions of the fraction of the region in the bin.
    overlap: Vec<f64>,
    /// Lowest and highest key in each bin.
    ends: Ends,
    counts: Confusion,
    /// The key from which on pixels are marked.
    cut: Option<u32>,
}

/// Lowest and highest key in each bin.
#[derive(Clone, Debug)]
pub(super) struct Ends(Vec<Option<(u32, u32)>>);

impl Ends {
    pub(super) fn new(bins: usize) -> Self {
        Self(vec![None; bins])
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (bin, ends) in other.0.iter().enumerate() {
            ends.iter().for_each(|&(low, high)| self.include(bin, low, high));
        }
    }

    /// Whether each bin has at most one key.
    pub(super) fn tied(&self) -> Vec<bool> {
        self.0.iter().map(|ends| ends.is_none_or(|(low, high)| low == high)).collect()
    }

    fn include(&mut self, bin: usize, low: u32, high: u32) {
        let known = self.0[bin].unwrap_or((low, high));
        self.0[bin] = Some((known.0.min(low), known.1.max(high)));
    }
}

impl Binned {
    /// No pixels; those with at least the key `cut` are marked.
    pub(super) fn new(grid: &Grid, cut: Option<u32>) -> Self {
        let bins = grid.bins();
        Self {
            positives: vec![0; bins],
            negatives: vec![0; bins],
            overlap: vec![0.0; bins],
            ends: Ends::new(bins),
            counts: Confusion::default(),
            cut,
        }
    }

    /// Adds positives, which must come in order of their scores: sums then do not depend on the order of updates.
    pub(super) fn add_positives(&mut self, grid: &Grid, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            let bin = self.bin(grid, &entry);
            // A patient has at most `u32::MAX` pixels of a class.
            self.positives[bin] += entry.count as u32;
            let part = 1.0 / f64::from(entry.size());
            (0..entry.count).for_each(|_| self.overlap[bin] += part);
            let Confusion { true_positives, false_negatives, .. } = &mut self.counts;
            let is_marked = self.cut.is_some_and(|cut| entry.key() >= cut);
            *(if is_marked { true_positives } else { false_negatives }) += entry.count;
        }
    }

    /// Adds negatives, in any order.
    pub(super) fn add_negatives(&mut self, grid: &Grid, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            let bin = self.bin(grid, &entry);
            self.negatives[bin] += entry.count as u32;
            let Confusion { false_positives, true_negatives, .. } = &mut self.counts;
            let is_marked = self.cut.is_some_and(|cut| entry.key() >= cut);
            *(if is_marked { false_positives } else { true_negatives }) += entry.count;
        }
    }

    /// Adds the negatives of another part of the patient.
    pub(super) fn add_negatives_of(&mut self, other: &Self) {
        self.negatives.iter_mut().zip(&other.negatives).for_each(|(sum, count)| *sum += count);
        self.ends.add(&other.ends);
        self.counts += other.counts;
    }

    /// The bins of the patient, who has so many regions, with the ends of the bins and the counts at the threshold.
    pub(super) fn finish(self, regions: u64) -> (PatientBins, Ends, Confusion) {
        (PatientBins::new(self.positives, self.negatives, self.overlap, regions), self.ends, self.counts)
    }

    fn bin(&mut self, grid: &Grid, entry: &Entry) -> usize {
        let bin = grid.bin(entry.key());
        self.ends.include(bin, entry.key(), entry.key());
        bin
    }
}
