//! One pass over all streamed pixels, from the highest score down.

use super::config::MeasureConfig;
use crate::curve::{PrecisionRecallCurve, PrecisionRecallThinning, RocCurve, RocThinning};
use crate::error::MetricError;
use crate::grid::{BINS, Grid, quantile_starts, ranks};
use crate::merge::Stretch;
use crate::ranking::{RankSums, Ranks};
use crate::region::{OverlapArea, RegionStep};
use crate::run::Entry;
use crate::sum::Sum;
use crate::sweep::Step;

/// One pass over all pixels, from the highest score down.
pub(super) struct Sweep {
    ranks: RankSums,
    roc: RocThinning,
    precision_recall: PrecisionRecallThinning,
    area: OverlapArea,
    overlap: Sum,
    step: Step,
    /// The lowest key of a negative so far.
    lowest_above: Option<u32>,
    quantiles: [Quantiles; 2],
    /// Distinct keys so far, descending; none once there are too many for a bin each.
    distinct: Option<Vec<u32>>,
    bins: usize,
}

/// What the sweep found.
#[derive(Clone, Debug)]
pub(super) struct Swept {
    pub(super) positives: u64,
    pub(super) negatives: u64,
    pub(super) regions: u64,
    pub(super) ranks: Ranks,
    pub(super) overlap: f64,
    pub(super) roc: RocCurve,
    pub(super) precision_recall: PrecisionRecallCurve,
}

impl Sweep {
    pub(super) fn new(
        positives: u64,
        negatives: u64,
        config: &MeasureConfig,
        bins: usize,
    ) -> Result<Self, MetricError> {
        if positives == 0 || negatives == 0 {
            return Err(MetricError::OneClass { positives, negatives });
        }
        let bins = bins.clamp(4, BINS);
        Ok(Self {
            ranks: RankSums::new(positives, negatives),
            roc: RocThinning::new(config.curve_points, positives, negatives),
            precision_recall: PrecisionRecallThinning::new(config.curve_points, positives),
            area: OverlapArea::new(config.overlap_limit, negatives)?,
            overlap: Sum::default(),
            step: Step {
                key: 0,
                positives_above: 0,
                positives_tied: 0,
                negatives_above: 0,
                negatives_tied: 0,
            },
            lowest_above: None,
            quantiles: [Quantiles::new(positives, bins), Quantiles::new(negatives, bins)],
            distinct: Some(Vec::new()),
            bins,
        })
    }

    pub(super) fn take(&mut self, Stretch { positives, negatives }: Stretch) {
        let (mut positives, mut negatives) = (positives.as_slice(), negatives.as_slice());
        loop {
            let next = positives.last().into_iter().chain(negatives.last()).map(Entry::key).max();
            let Some(key) = next else { return };
            let of_positives = split_off(&mut positives, key);
            let of_negatives = split_off(&mut negatives, key);
            self.take_key(key, of_positives, of_negatives);
        }
    }

    /// Takes all entries of a key.
    fn take_key(&mut self, key: u32, positives: &[Entry], negatives: &[Entry]) {
        let count = |entries: &[Entry]| entries.iter().map(|entry| entry.count).sum();
        let (found, alarms): (u64, u64) = (count(positives), count(negatives));
        self.quantiles[0].take(key, found);
        self.quantiles[1].take(key, alarms);
        if let Some(distinct) = self.distinct.as_mut() {
            distinct.push(key);
            if distinct.len() > self.bins {
                self.distinct = None;
            }
        }
        self.step.key = key;
        (self.step.positives_tied, self.step.negatives_tied) = (found, alarms);
        if found > 0 {
            for entry in positives.iter().rev() {
                let part = 1.0 / f64::from(entry.size());
                (0..entry.count).for_each(|_| self.overlap.add(part));
            }
            self.ranks.add(&self.step);
            self.roc.add(&self.step, self.lowest_above);
            self.precision_recall.add(&self.step);
            self.area.add(&RegionStep {
                negatives_above: self.step.negatives_above,
                negatives: self.step.false_positives(),
                overlap: self.overlap.value(),
            });
        }
        if alarms > 0 {
            self.lowest_above = Some(key);
        }
        self.step.positives_above += found;
        self.step.negatives_above += alarms;
    }

    pub(super) fn finish(self, regions: u64, lowest_negative: Option<u32>) -> (Swept, Grid) {
        let [positives, negatives] = self.quantiles;
        let prevalence = positives.pixels as f64 / (positives.pixels + negatives.pixels) as f64;
        let (found, alarms) = (positives.keys, negatives.keys);
        let starts = match self.distinct {
            Some(mut keys) => {
                keys.reverse();
                keys
            }
            None => quantile_starts([found, alarms]),
        };
        let ranks = self.ranks.finish();
        let swept = Swept {
            positives: positives.pixels,
            negatives: negatives.pixels,
            regions,
            overlap: self.area.finish(regions),
            roc: self.roc.finish(lowest_negative, ranks.auroc),
            precision_recall: self.precision_recall.finish(ranks.average_precision, prevalence),
            ranks,
        };
        (swept, Grid::of(starts, Vec::new()))
    }
}

/// Takes the entries of a key, which is the highest, from the end.
fn split_off<'a>(entries: &mut &'a [Entry], key: u32) -> &'a [Entry] {
    let own = entries.iter().rev().take_while(|entry| entry.key() == key).count();
    let (rest, own) = entries.split_at(entries.len() - own);
    *entries = rest;
    own
}

/// The keys at the quantiles of a class, found from the highest down.
struct Quantiles {
    keys: Vec<u32>,
    wanted: Vec<u64>,
    pixels: u64,
    /// Pixels that are still to come: ranks below this.
    left: u64,
}

impl Quantiles {
    fn new(pixels: u64, bins: usize) -> Self {
        let wanted: Vec<u64> = ranks(pixels, bins).collect();
        Self { keys: vec![0; wanted.len()], wanted, pixels, left: pixels }
    }

    fn take(&mut self, key: u32, count: u64) {
        self.left -= count;
        while self.wanted.last().is_some_and(|&rank| rank >= self.left) {
            self.wanted.pop();
            self.keys[self.wanted.len()] = key;
        }
    }
}
