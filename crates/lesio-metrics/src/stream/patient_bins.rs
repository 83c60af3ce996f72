//! What one patient has in each bin of scores, from its runs.

use crate::bins::PatientBins;
use crate::confusion::Confusion;
use crate::grid::Grid;
use crate::run::{Encoded, Entry};

/// What one patient has in each bin, and what is counted on the way.
pub(super) struct Binned {
    pub(super) bins: PatientBins,
    /// Lowest and highest key in each bin.
    pub(super) ends: Vec<Option<(u32, u32)>>,
    pub(super) counts: Confusion,
}

impl Binned {
    pub(super) fn new(
        grid: &Grid,
        positives: &[Encoded],
        negatives: &[Encoded],
        regions: u64,
        threshold: Option<u32>,
    ) -> Self {
        let bins = grid.bins();
        let (mut of_positives, mut of_negatives) = (vec![0; bins], vec![0; bins]);
        let mut overlap = vec![0.0; bins];
        let mut ends = vec![None; bins];
        let mut counts = Confusion::default();
        let reached = |entry: &Entry| threshold.is_some_and(|threshold| entry.key() >= threshold);
        // In order of scores, so that sums do not depend on the order of updates.
        let mut sorted: Vec<Entry> = positives.iter().flat_map(Encoded::entries).collect();
        sorted.sort_by_key(|entry| entry.order);
        for entry in sorted {
            let bin = grid.bin(entry.key());
            // A patient has at most `u32::MAX` pixels of a class.
            of_positives[bin] += entry.count as u32;
            ends[bin] = joined(ends[bin], Some((entry.key(), entry.key())));
            let part = 1.0 / f64::from(entry.size());
            (0..entry.count).for_each(|_| overlap[bin] += part);
            *(if reached(&entry) { &mut counts.true_positives } else { &mut counts.false_negatives }) +=
                entry.count;
        }
        for entry in negatives.iter().flat_map(Encoded::entries) {
            let bin = grid.bin(entry.key());
            of_negatives[bin] += entry.count as u32;
            ends[bin] = joined(ends[bin], Some((entry.key(), entry.key())));
            *(if reached(&entry) { &mut counts.false_positives } else { &mut counts.true_negatives }) +=
                entry.count;
        }
        Self { bins: PatientBins::new(of_positives, of_negatives, overlap, regions), ends, counts }
    }
}

/// The lowest and highest of two ranges.
pub(super) fn joined(a: Option<(u32, u32)>, b: Option<(u32, u32)>) -> Option<(u32, u32)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (one, other) => one.or(other),
    }
}
