//! Metrics of resampled patients from what they have in each bin of scores.

use rayon::prelude::*;

use crate::bins::{BinSums, BinnedPatients};
use crate::bootstrap::{Bootstrap, Replicates};
use crate::error::MetricError;
use crate::grid::Grid;
use crate::region::area_up_to;
use crate::replicates::PixelReplicates;

/// Replicates that are summed while the patients are read once: fixed, so that memory does not depend on the number of
/// threads. Their sums take 6 MiB.
const AT_ONCE: usize = 64;

/// Replicates of AUROC, average precision and best Dice, moved so that their estimates are these.
pub(crate) fn pixel_replicates(
    grid: &Grid,
    patients: impl BinnedPatients,
    bootstrap: &Bootstrap,
    exact: [f64; 3],
) -> Result<PixelReplicates, MetricError> {
    let scores = |drawn: &Resampled<'_>| drawn.scores().map_or([None; 3], |scores| scores.map(Some));
    let (estimates, rows) = resampled(grid, patients, bootstrap, scores)?;
    let [auroc, average_precision, ceil_dice] = bootstrap.replicates(estimates, &rows);
    Ok(PixelReplicates {
        auroc: auroc.anchored(exact[0]),
        average_precision: average_precision.anchored(exact[1]),
        ceil_dice: ceil_dice.anchored(exact[2]),
    })
}

/// Replicates of the per-region overlap, moved so that its estimate is this.
pub(crate) fn overlap_replicates(
    grid: &Grid,
    patients: impl BinnedPatients,
    bootstrap: &Bootstrap,
    limit: f64,
    exact: f64,
) -> Result<Replicates, MetricError> {
    let (estimate, rows) = resampled(grid, patients, bootstrap, |drawn| [drawn.overlap(limit)])?;
    let [aupro] = bootstrap.replicates(estimate, &rows);
    Ok(aupro.anchored(exact))
}

/// A statistic of every patient once, and of each replicate.
pub(crate) fn resampled<T: Send>(
    grid: &Grid,
    mut patients: impl BinnedPatients,
    bootstrap: &Bootstrap,
    statistic: impl Fn(&Resampled<'_>) -> T + Sync,
) -> Result<(T, Vec<T>), MetricError> {
    let once = vec![1; bootstrap.patients().len()];
    let mut estimate = summed(grid, &mut patients, &[once], &statistic)?;
    let mut replicates = Vec::with_capacity(bootstrap.config().replicates);
    let mut first = 0;
    while first < bootstrap.config().replicates {
        let end = bootstrap.config().replicates.min(first + AT_ONCE);
        let times: Vec<Vec<u32>> =
            (first..end).into_par_iter().map(|replicate| bootstrap.multiplicities(replicate)).collect();
        replicates.append(&mut summed(grid, &mut patients, &times, &statistic)?);
        first = end;
    }
    Ok((estimate.remove(0), replicates))
}

/// The statistic of each row of multiplicities.
fn summed<T: Send>(
    grid: &Grid,
    patients: &mut impl BinnedPatients,
    times: &[Vec<u32>],
    statistic: &(impl Fn(&Resampled<'_>) -> T + Sync),
) -> Result<Vec<T>, MetricError> {
    let mut sums = vec![BinSums::new(grid.bins()); times.len()];
    let mut first = 0;
    patients.each_few(|few| {
        sums.par_iter_mut().zip(times).for_each(|(sums, times)| {
            let drawn = few.iter().zip(&times[first..]).filter(|(_, times)| **times > 0);
            drawn.for_each(|(patient, &times)| sums.add(patient, times));
        });
        first += few.len();
    })?;
    Ok(sums.into_par_iter().map(|sums| statistic(&Resampled { grid, sums })).collect())
}

/// What resampled patients have in each bin.
pub(crate) struct Resampled<'a> {
    grid: &'a Grid,
    sums: BinSums,
}

/// One bin of resampled patients, with the pixels in higher bins.
pub(crate) struct Bin {
    pub(crate) true_positives: f64,
    pub(crate) false_positives: f64,
    pub(crate) positives: f64,
    pub(crate) negatives: f64,
    pub(crate) is_tied: bool,
}

impl Resampled<'_> {
    /// Number of positives and of negatives; `None` when there are none of either.
    pub(crate) fn totals(&self) -> Option<(f64, f64)> {
        let BinSums { positives, negatives, .. } = &self.sums;
        let (positives, negatives) = (positives.iter().sum::<u64>(), negatives.iter().sum::<u64>());
        (positives > 0 && negatives > 0).then_some((positives as f64, negatives as f64))
    }

    /// The bins, from the highest scores down.
    pub(crate) fn bins(&self) -> impl Iterator<Item = Bin> {
        let (mut true_positives, mut false_positives) = (0.0, 0.0);
        (0..self.grid.bins()).rev().map(move |bin| {
            let (positives, negatives) = (self.sums.positives[bin] as f64, self.sums.negatives[bin] as f64);
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

    /// The per-region overlap up to a false positive rate.
    fn overlap(&self, limit: f64) -> Option<f64> {
        let BinSums { negatives, overlap, regions, .. } = &self.sums;
        let end = limit * negatives.iter().sum::<u64>() as f64;
        if *regions == 0 || end == 0.0 {
            return None;
        }
        let (mut area, mut last) = (0.0, (0.0, 0.0));
        for (overlap, &negatives) in overlap.iter().zip(negatives).rev() {
            let next = (last.0 + negatives as f64, last.1 + overlap);
            area += area_up_to(last, next, end);
            last = next;
            if last.0 >= end {
                break;
            }
        }
        Some(area / (end * *regions as f64))
    }
}

impl Bin {
    /// Precision when a part of the bin's pixels is positive; only for bins that hold pixels.
    pub(crate) fn precision(&self, part: f64) -> f64 {
        let found = self.true_positives + part * self.positives;
        found / (found + self.false_positives + part * self.negatives)
    }
}
