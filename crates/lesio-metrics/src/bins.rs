//! What each patient has in each bin of scores, and metrics of resampled patients from that.

use crate::bootstrap::{Bootstrap, Replicates};
use crate::grid::Grid;
use crate::region::area_up_to;
use crate::replicates::PixelReplicates;

/// A grid of bins and what each patient has in them.
#[derive(Clone, Debug)]
pub(crate) struct Bins {
    pub(crate) grid: Grid,
    pub(crate) pixels: Vec<PixelBins>,
    /// Regions of the same patients; none where they are not asked about.
    pub(crate) overlaps: Vec<OverlapBins>,
}

/// Pixels of one patient in each bin.
#[derive(Clone, Debug)]
pub(crate) struct PixelBins {
    positives: Values<u32>,
    negatives: Values<u32>,
}

/// Regions of one patient in each bin.
#[derive(Clone, Debug)]
pub(crate) struct OverlapBins {
    /// Sum over regions of the fraction of the region in the bin.
    overlap: Values<f64>,
    regions: u64,
}

/// One value for each bin, in the form that takes less memory: there are thousands of patients, and most of them have pixels in
/// few bins.
#[derive(Clone, Debug)]
enum Values<T> {
    All(Vec<T>),
    /// Those that are not zero, with their bins.
    Some(Vec<(u16, T)>),
}

impl<T: Copy + Default + PartialEq> Values<T> {
    fn new(values: Vec<T>) -> Self {
        let some = || values.iter().enumerate().filter(|(_, value)| **value != T::default());
        // A grid has at most 4097 bins.
        if some().count() * size_of::<(u16, T)>() < values.len() * size_of::<T>() {
            Self::Some(some().map(|(bin, &value)| (bin as u16, value)).collect())
        } else {
            Self::All(values)
        }
    }

    /// Calls `add` with the bins and values that are not zero, and perhaps with others.
    fn each(&self, mut add: impl FnMut(usize, T)) {
        match self {
            Self::All(values) => values.iter().enumerate().for_each(|(bin, &value)| add(bin, value)),
            Self::Some(values) => values.iter().for_each(|&(bin, value)| add(usize::from(bin), value)),
        }
    }
}

impl PixelBins {
    pub(crate) fn new(positives: Vec<u32>, negatives: Vec<u32>) -> Self {
        Self { positives: Values::new(positives), negatives: Values::new(negatives) }
    }
}

impl OverlapBins {
    pub(crate) fn new(overlap: Vec<f64>, regions: u64) -> Self {
        Self { overlap: Values::new(overlap), regions }
    }
}

/// Pixels of resampled patients in each bin.
pub(crate) struct Resampled<'a> {
    grid: &'a Grid,
    positives: Vec<u64>,
    negatives: Vec<u64>,
}

/// One bin of resampled patients, with the pixels in higher bins.
pub(crate) struct Bin {
    pub(crate) true_positives: f64,
    pub(crate) false_positives: f64,
    pub(crate) positives: f64,
    pub(crate) negatives: f64,
    pub(crate) is_tied: bool,
}

impl Bins {
    /// Replicates of AUROC, average precision and best Dice, moved so that their estimates are these.
    pub(crate) fn replicates(&self, bootstrap: &Bootstrap, exact: [f64; 3]) -> PixelReplicates {
        let [auroc, average_precision, ceil_dice] = bootstrap.over_patients(|times| {
            self.resampled(times).scores().map_or([None; 3], |scores| scores.map(Some))
        });
        PixelReplicates {
            auroc: auroc.anchored(exact[0]),
            average_precision: average_precision.anchored(exact[1]),
            ceil_dice: ceil_dice.anchored(exact[2]),
        }
    }

    /// Replicates of the per-region overlap, moved so that its estimate is this.
    pub(crate) fn overlap_replicates(&self, bootstrap: &Bootstrap, limit: f64, exact: f64) -> Replicates {
        let [aupro] = bootstrap.over_patients(|times| [self.overlap_of(times, limit)]);
        aupro.anchored(exact)
    }

    /// Histograms of the patients, each as often as it was drawn.
    pub(crate) fn resampled(&self, times: &[u32]) -> Resampled<'_> {
        let add = |sum: &mut [u64], counts: &Values<u32>, times: u32| {
            counts.each(|bin, count| sum[bin] += u64::from(count) * u64::from(times));
        };
        let mut positives = vec![0; self.grid.bins()];
        let mut negatives = vec![0; self.grid.bins()];
        for (patient, &times) in self.pixels.iter().zip(times).filter(|(_, times)| **times > 0) {
            add(&mut positives, &patient.positives, times);
            add(&mut negatives, &patient.negatives, times);
        }
        Resampled { grid: &self.grid, positives, negatives }
    }

    fn overlap_of(&self, times: &[u32], limit: f64) -> Option<f64> {
        let mut overlap = vec![0.0; self.grid.bins()];
        let mut negatives = vec![0u64; self.grid.bins()];
        let mut regions = 0;
        let patients = self.pixels.iter().zip(&self.overlaps).zip(times);
        for ((pixels, patient), &times) in patients.filter(|(_, times)| **times > 0) {
            let drawn = f64::from(times);
            patient.overlap.each(|bin, own| overlap[bin] += drawn * own);
            pixels.negatives.each(|bin, own| negatives[bin] += u64::from(own) * u64::from(times));
            regions += patient.regions * u64::from(times);
        }
        let end = limit * negatives.iter().sum::<u64>() as f64;
        if regions == 0 || end == 0.0 {
            return None;
        }
        let (mut area, mut last) = (0.0, (0.0, 0.0));
        for (overlap, &negatives) in overlap.iter().zip(&negatives).rev() {
            let next = (last.0 + negatives as f64, last.1 + overlap);
            area += area_up_to(last, next, end);
            last = next;
            if last.0 >= end {
                break;
            }
        }
        Some(area / (end * regions as f64))
    }
}

impl Resampled<'_> {
    /// Number of positives and of negatives; `None` when there are none of either.
    pub(crate) fn totals(&self) -> Option<(f64, f64)> {
        let (positives, negatives) = (self.positives.iter().sum::<u64>(), self.negatives.iter().sum::<u64>());
        (positives > 0 && negatives > 0).then_some((positives as f64, negatives as f64))
    }

    /// The bins, from the highest scores down.
    pub(crate) fn bins(&self) -> impl Iterator<Item = Bin> {
        let (mut true_positives, mut false_positives) = (0.0, 0.0);
        (0..self.positives.len()).rev().map(move |bin| {
            let (positives, negatives) = (self.positives[bin] as f64, self.negatives[bin] as f64);
            let is_tied = self.grid.is_tied(bin);
            let bin = Bin { true_positives, false_positives, positives, negatives, is_tied };
            true_positives += positives;
            false_positives += negatives;
            bin
        })
    }

    /// AUROC, average precision and best Dice.
    fn scores(&self) -> Option<[f64; 3]> {
        let (positives, negatives) = self.totals()?;
        let (mut wins, mut precision, mut dice) = (0.0, 0.0, 0f64);
        for bin in self.bins().filter(|bin| bin.positives > 0.0) {
            wins += bin.positives * (negatives - bin.false_positives - 0.5 * bin.negatives);
            // Mixed evenly, a bin has the precision of its middle; tied, that of its end.
            precision += bin.positives * bin.precision(if bin.is_tied { 1.0 } else { 0.5 });
            let found = bin.true_positives + bin.positives;
            dice = dice.max(2.0 * found / (found + bin.false_positives + bin.negatives + positives));
        }
        Some([wins / (positives * negatives), precision / positives, dice])
    }
}

impl Bin {
    /// Precision when a part of the bin's pixels is positive; only for bins that hold pixels.
    pub(crate) fn precision(&self, part: f64) -> f64 {
        let found = self.true_positives + part * self.positives;
        found / (found + self.false_positives + part * self.negatives)
    }
}
