//! Pixels of any number of images, measured exactly in bounded memory.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use lesio_grid::Connectivity;
use ndarray::{ArrayView, Dimension};
use rayon::prelude::*;

use crate::bands::CurveBand;
use crate::bins::{Bins, OverlapBins, PixelBins};
use crate::bootstrap::{Bootstrap, BootstrapConfig, Replicates};
use crate::confusion::{Confusion, WhenEmpty};
use crate::curve::{PrecisionRecallCurve, PrecisionRecallThinning, RocCurve, RocThinning};
use crate::error::{MetricError, same_shape};
use crate::grid::{BINS, Grid, quantile_starts, ranks};
use crate::keys;
use crate::patients::PixelReplicates;
use crate::ranking::{CeilDice, RankSums, Ranks};
use crate::region::{OverlapArea, RegionStep};
use crate::scratch::{Direction, Encoded, Entry, Run, Scratch, Stretch, for_each_stretch};
use crate::sum::Sum;
use crate::sweep::Step;
use crate::threshold::ValidationThreshold;
use crate::volumes::{Regions, volume};

/// Patients whose runs are decoded at once: fixed, so that memory does not depend on the number of threads.
const AT_ONCE: usize = 8;

/// Which pixels of a map count, and to which true region each belongs: found once for all maps of an image.
#[derive(Clone, Debug)]
pub struct TruePixels {
    shape: Vec<usize>,
    /// Place of each abnormal pixel in row-major order, and the size of its region.
    positives: Vec<(u32, u32)>,
    /// Whether each pixel is normal and counts.
    negatives: Vec<bool>,
    regions: u64,
}

impl TruePixels {
    /// The pixels of an image `[row, column]` or a volume `[i, j, k]` where `within` holds, with the connected regions of
    /// the truth among them. There may be none.
    ///
    /// # Errors
    /// [`MetricError::Shape`] when the shapes differ, [`MetricError::Axes`] for other than two or three axes, and
    /// [`MetricError::TooMany`] for more than `u32::MAX` pixels.
    pub fn new<'t, 'w, D: Dimension>(
        truth: impl Into<ArrayView<'t, bool, D>>,
        within: impl Into<ArrayView<'w, bool, D>>,
        connectivity: Connectivity,
    ) -> Result<Self, MetricError> {
        let (truth, within) = (truth.into(), within.into());
        let shape = truth.shape().to_vec();
        same_shape("mask", &shape, within.shape())?;
        let (truth, within) = (volume(truth)?, volume(within)?);
        let components = Regions::new(&truth, Some(&within), connectivity)?;
        let positives = components.labels.iter().zip(0u32..).filter(|(label, _)| **label > 0);
        Ok(Self {
            shape,
            // A mask has fewer pixels than 2^32, so a region has.
            positives: positives
                .map(|(&label, place)| (place, components.sizes[label as usize - 1] as u32))
                .collect(),
            negatives: within.iter().zip(&components.labels).map(|(&on, &label)| on && label == 0).collect(),
            regions: components.count() as u64,
        })
    }

    /// Number of abnormal pixels.
    #[must_use]
    pub fn positives(&self) -> u64 {
        self.positives.len() as u64
    }

    /// Number of normal pixels.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.negatives.iter().filter(|&&negative| negative).count() as u64
    }

    /// The keys of a map's pixels: of abnormal ones with the size of their region below.
    fn keys<D: Dimension>(&self, scores: ArrayView<'_, f32, D>) -> Result<(Vec<u64>, Vec<u32>), MetricError> {
        same_shape("scores", &self.shape, scores.shape())?;
        let (mut positives, mut negatives) = (Vec::with_capacity(self.positives.len()), Vec::new());
        let mut sizes = self.positives.iter().copied().peekable();
        let (mut nan, mut first) = (0, None);
        for (place, (&score, &is_negative)) in scores.iter().zip(&self.negatives).enumerate() {
            let own = sizes.next_if(|&(positive, _)| positive as usize == place);
            if score.is_nan() && (is_negative || own.is_some()) {
                nan += 1;
                first = first.or(Some(place));
            }
            if let Some((_, size)) = own {
                positives.push(u64::from(keys::key(score)) << 32 | u64::from(size));
            } else if is_negative {
                negatives.push(keys::key(score));
            }
        }
        match first {
            Some(first) => Err(MetricError::NotANumber { what: "scores", count: nan, first }),
            None => Ok((positives, negatives)),
        }
    }
}

/// Maps of any number of images, gathered by patient in a [`Scratch`] instead of in memory.
///
/// What [`PatientPixels`](crate::PatientPixels) and [`PatientRegions`](crate::PatientRegions) find of the same pixels, bit
/// for bit, in memory that hardly grows with them: pixels lie sorted in the scratch, at about two bytes each, and are merged
/// as they are read. Of a thousand pixels some 24 bytes stay in memory, and of a patient 64 KiB while metrics are
/// computed.
///
/// ```
/// use std::io::Cursor;
///
/// use lesio_metrics::{BootstrapConfig, Connectivity, MeasureConfig, Scratch, StreamedPatients, TruePixels};
/// use ndarray::array;
///
/// let mut scratch = Scratch::new(Cursor::new(Vec::new()));
/// let mut stream = StreamedPatients::new();
/// for (patient, noise) in [("anna", 0.1), ("bela", 0.6), ("carl", 0.3)] {
///     let map = array![[0.5, 0.2, noise], [0.4, 0.0, noise]];
///     let truth = array![[true, false, false], [true, false, false]];
///     let pixels = TruePixels::new(&truth, &truth.mapv(|_| true), Connectivity::Vertex)?;
///     stream.update(&mut scratch, patient, &pixels, &map)?;
/// }
/// let measured = stream.measure(&mut scratch, &MeasureConfig::default())?;
/// assert!((measured.auroc() - 5.0 / 6.0).abs() < 1e-15);
/// let interval = measured.bootstrap(&BootstrapConfig::new(1))?.auroc.interval()?;
/// assert!(interval.lower <= measured.auroc() && measured.auroc() <= interval.upper);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StreamedPatients {
    patients: BTreeMap<String, Vec<MapRuns>>,
}

/// The pixels of one map.
#[derive(Clone, Debug)]
struct MapRuns {
    positives: Run,
    negatives: Run,
    regions: u64,
}

impl MapRuns {
    fn write<D: Dimension>(
        scratch: &mut Scratch,
        pixels: &TruePixels,
        scores: ArrayView<'_, f32, D>,
    ) -> Result<Self, MetricError> {
        let (mut positives, mut negatives) = pixels.keys(scores)?;
        positives.par_sort_unstable();
        keys::sort(&mut negatives);
        Ok(Self {
            positives: Run::write(scratch, positives.into_iter())?,
            negatives: Run::write(scratch, negatives.into_iter().map(|key| u64::from(key) << 32))?,
            regions: pixels.regions,
        })
    }
}

/// What is asked of streamed pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MeasureConfig {
    /// False positive rate up to which the per-region overlap is integrated, in (0, 1]. Default .3, as for MVTec AD.
    pub overlap_limit: f64,
    /// Points of the curves, see [`RankedPixels::roc`](crate::RankedPixels::roc). Default 200, more than a figure shows.
    pub curve_points: usize,
    /// The threshold at which Dice is wanted. Default none.
    pub threshold: Option<ValidationThreshold>,
}

impl Default for MeasureConfig {
    fn default() -> Self {
        Self { overlap_limit: 0.3, curve_points: 200, threshold: None }
    }
}

impl MeasureConfig {
    /// Sets the false positive rate up to which the per-region overlap is integrated.
    #[must_use]
    pub fn overlap_limit(mut self, limit: f64) -> Self {
        self.overlap_limit = limit;
        self
    }

    /// Sets the points of the curves.
    #[must_use]
    pub fn curve_points(mut self, points: usize) -> Self {
        self.curve_points = points;
        self
    }

    /// Sets the threshold at which Dice is wanted.
    #[must_use]
    pub fn threshold(mut self, threshold: Option<ValidationThreshold>) -> Self {
        self.threshold = threshold;
        self
    }
}

impl StreamedPatients {
    /// No patients yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a map of a patient, `[row, column]` or `[i, j, k]`, higher being more abnormal. A patient may come any number of
    /// times.
    ///
    /// # Errors
    /// [`MetricError::Shape`] for a map of another shape than the truth; [`MetricError::NotANumber`] with the count and
    /// the first index in row-major order; [`MetricError::Scratch`] where the pixels cannot be kept. Nothing is added then.
    pub fn update<'s, D: Dimension>(
        &mut self,
        scratch: &mut Scratch,
        patient: &str,
        pixels: &TruePixels,
        scores: impl Into<ArrayView<'s, f32, D>>,
    ) -> Result<(), MetricError> {
        let runs = MapRuns::write(scratch, pixels, scores.into())?;
        match self.patients.get_mut(patient) {
            Some(known) => known.push(runs),
            None => {
                self.patients.insert(patient.to_owned(), vec![runs]);
            }
        }
        Ok(())
    }

    /// The patients, in order of their names, each with its numbers of abnormal and of normal pixels.
    pub fn patients(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.patients.iter().map(|(name, maps)| {
            let sum = |of: &dyn Fn(&MapRuns) -> u64| maps.iter().map(of).sum();
            (name.as_str(), sum(&|map| map.positives.pixels()), sum(&|map| map.negatives.pixels()))
        })
    }

    /// Merges the pixels and computes what does not depend on a resampling; `scratch` is the one that they were kept in.
    ///
    /// # Errors
    /// [`MetricError::OneClass`] unless there is an abnormal and a normal pixel; [`MetricError::TooMany`] when a patient has
    /// more than `u32::MAX` pixels; [`MetricError::Parameter`] for a limit outside (0, 1]; [`MetricError::Scratch`].
    pub fn measure(
        &self,
        scratch: &mut Scratch,
        config: &MeasureConfig,
    ) -> Result<MeasuredPatients, MetricError> {
        self.measure_in(scratch, config, BINS)
    }

    fn measure_in(
        &self,
        scratch: &mut Scratch,
        config: &MeasureConfig,
        bins: usize,
    ) -> Result<MeasuredPatients, MetricError> {
        for (_, positives, negatives) in self.patients() {
            let pixels = positives.max(negatives);
            if pixels > u64::from(u32::MAX) {
                return Err(MetricError::TooMany { what: "pixels of one patient", found: pixels });
            }
        }
        let swept = self.swept(scratch, config, bins)?;
        let (bins, counts) = self.binned(scratch, swept.grid, config.threshold.as_ref())?;
        Ok(MeasuredPatients {
            names: self.patients.keys().cloned().collect(),
            positives: swept.positives,
            negatives: swept.negatives,
            regions: swept.regions,
            ranks: swept.ranks,
            overlap: swept.overlap,
            roc: swept.roc,
            precision_recall: swept.precision_recall,
            overlap_limit: config.overlap_limit,
            has_threshold: config.threshold.is_some(),
            bins,
            counts,
        })
    }

    /// The ranking metrics alone.
    pub(crate) fn ranks(&self, scratch: &mut Scratch) -> Result<Ranks, MetricError> {
        Ok(self.swept(scratch, &MeasureConfig::default(), BINS)?.ranks)
    }

    fn swept(
        &self,
        scratch: &mut Scratch,
        config: &MeasureConfig,
        bins: usize,
    ) -> Result<Swept, MetricError> {
        let runs =
            |of: fn(&MapRuns) -> &Run| -> Vec<&Run> { self.patients.values().flatten().map(of).collect() };
        let (positives, negatives) = (runs(|map| &map.positives), runs(|map| &map.negatives));
        let sum = |runs: &[&Run]| runs.iter().map(|run| run.pixels()).sum();
        let lowest_negative = negatives.iter().filter_map(|run| run.lowest()).min();
        let mut sweep = Sweep::new(sum(&positives), sum(&negatives), config, bins)?;
        for_each_stretch(scratch, &positives, &negatives, Direction::Descending, |stretch| {
            sweep.take(stretch)
        })?;
        let regions = self.patients.values().flatten().map(|map| map.regions).sum();
        Ok(sweep.finish(regions, lowest_negative))
    }

    /// What each patient has in each bin, and at a threshold.
    fn binned(
        &self,
        scratch: &mut Scratch,
        mut grid: Grid,
        threshold: Option<&ValidationThreshold>,
    ) -> Result<(Bins, Vec<Confusion>), MetricError> {
        let cut = threshold.map(|threshold| keys::key(threshold.value()));
        let (mut pixels, mut overlaps, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        let mut ends: Vec<Option<(u32, u32)>> = vec![None; grid.bins()];
        let patients: Vec<&Vec<MapRuns>> = self.patients.values().collect();
        for patients in patients.chunks(AT_ONCE) {
            let mut encoded = Vec::with_capacity(patients.len());
            for maps in patients {
                let mut read = |of: fn(&MapRuns) -> &Run| -> Result<Vec<Encoded>, MetricError> {
                    maps.iter().map(|map| of(map).read(scratch)).collect()
                };
                let regions: u64 = maps.iter().map(|map| map.regions).sum();
                encoded.push((read(|map| &map.positives)?, read(|map| &map.negatives)?, regions));
            }
            let found: Vec<PatientBins> = encoded
                .into_par_iter()
                .map(|(positives, negatives, regions)| {
                    PatientBins::new(&grid, &positives, &negatives, regions, cut)
                })
                .collect();
            for patient in found {
                for (ends, own) in ends.iter_mut().zip(&patient.ends) {
                    *ends = joined(*ends, *own);
                }
                pixels.push(patient.pixels);
                overlaps.push(patient.overlap);
                counts.push(patient.counts);
            }
        }
        grid.set_tied(ends.iter().map(|ends| ends.is_none_or(|(low, high)| low == high)).collect());
        Ok((Bins { grid, pixels, overlaps }, counts))
    }
}

/// The lowest and highest of two ranges.
fn joined(a: Option<(u32, u32)>, b: Option<(u32, u32)>) -> Option<(u32, u32)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (one, other) => one.or(other),
    }
}

/// What one patient has in each bin.
struct PatientBins {
    pixels: PixelBins,
    overlap: OverlapBins,
    /// Lowest and highest key in each bin.
    ends: Vec<Option<(u32, u32)>>,
    counts: Confusion,
}

impl PatientBins {
    fn new(
        grid: &Grid,
        positives: &[Encoded],
        negatives: &[Encoded],
        regions: u64,
        threshold: Option<u32>,
    ) -> Self {
        let bins = grid.bins();
        let mut pixels = PixelBins { positives: vec![0; bins], negatives: vec![0; bins] };
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
            pixels.positives[bin] += entry.count as u32;
            ends[bin] = joined(ends[bin], Some((entry.key(), entry.key())));
            let part = 1.0 / f64::from(entry.size());
            (0..entry.count).for_each(|_| overlap[bin] += part);
            *(if reached(&entry) { &mut counts.true_positives } else { &mut counts.false_negatives }) +=
                entry.count;
        }
        for entry in negatives.iter().flat_map(Encoded::entries) {
            let bin = grid.bin(entry.key());
            pixels.negatives[bin] += entry.count as u32;
            ends[bin] = joined(ends[bin], Some((entry.key(), entry.key())));
            *(if reached(&entry) { &mut counts.false_positives } else { &mut counts.true_negatives }) +=
                entry.count;
        }
        let overlap = OverlapBins { overlap, regions };
        Self { pixels, overlap, ends, counts }
    }
}

/// One pass over all pixels, from the highest score down.
struct Sweep {
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
struct Swept {
    positives: u64,
    negatives: u64,
    regions: u64,
    ranks: Ranks,
    overlap: f64,
    roc: RocCurve,
    precision_recall: PrecisionRecallCurve,
    grid: Grid,
}

impl Sweep {
    fn new(positives: u64, negatives: u64, config: &MeasureConfig, bins: usize) -> Result<Self, MetricError> {
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

    fn take(&mut self, Stretch { positives, negatives }: Stretch) {
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
                key,
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

    fn finish(self, regions: u64, lowest_negative: Option<u32>) -> Swept {
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
        Swept {
            positives: positives.pixels,
            negatives: negatives.pixels,
            regions,
            overlap: self.area.finish(regions),
            roc: self.roc.finish(lowest_negative, ranks.auroc),
            precision_recall: self.precision_recall.finish(ranks.average_precision, prevalence),
            grid: Grid::of(starts, Vec::new()),
            ranks,
        }
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

/// Metrics of streamed pixels, with all that resampling patients takes.
#[derive(Clone, Debug)]
pub struct MeasuredPatients {
    names: Vec<String>,
    positives: u64,
    negatives: u64,
    regions: u64,
    ranks: Ranks,
    overlap: f64,
    roc: RocCurve,
    precision_recall: PrecisionRecallCurve,
    overlap_limit: f64,
    has_threshold: bool,
    bins: Bins,
    /// Counts at the threshold, by patient; empty of meaning without one.
    counts: Vec<Confusion>,
}

impl MeasuredPatients {
    /// The patients, in order of their names.
    #[must_use]
    pub fn patients(&self) -> &[String] {
        &self.names
    }

    /// Number of abnormal pixels.
    #[must_use]
    pub fn positives(&self) -> u64 {
        self.positives
    }

    /// Number of normal pixels.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.negatives
    }

    /// Number of true regions.
    #[must_use]
    pub fn regions(&self) -> u64 {
        self.regions
    }

    /// Fraction of abnormal pixels, see [`RankedPixels::prevalence`](crate::RankedPixels::prevalence).
    #[must_use]
    pub fn prevalence(&self) -> f64 {
        self.positives as f64 / (self.positives + self.negatives) as f64
    }

    /// Area under the receiver operating characteristic, see [`auroc`](crate::auroc).
    #[must_use]
    pub fn auroc(&self) -> f64 {
        self.ranks.auroc
    }

    /// Average precision, see [`average_precision`](crate::average_precision).
    #[must_use]
    pub fn average_precision(&self) -> f64 {
        self.ranks.average_precision
    }

    /// The best Dice over every distinct score, see [`RankedPixels::ceil_dice`](crate::RankedPixels::ceil_dice).
    #[must_use]
    pub fn ceil_dice(&self) -> CeilDice {
        self.ranks.ceil_dice
    }

    /// The per-region overlap up to the configured limit, see [`RankedRegions::aupro`](crate::RankedRegions::aupro).
    #[must_use]
    pub fn aupro(&self) -> f64 {
        self.overlap
    }

    /// Dice at the configured threshold; `None` without one.
    #[must_use]
    pub fn dice(&self) -> Option<f64> {
        let mut sum = Confusion::default();
        self.counts.iter().for_each(|counts| sum += *counts);
        let Confusion { true_positives, false_positives, .. } = sum;
        let dice = 2.0 * true_positives as f64 / (true_positives + false_positives + self.positives) as f64;
        self.has_threshold.then_some(dice)
    }

    /// The receiver operating characteristic in the configured number of points.
    #[must_use]
    pub fn roc(&self) -> &RocCurve {
        &self.roc
    }

    /// The precision-recall curve in the configured number of points.
    #[must_use]
    pub fn precision_recall(&self) -> &PrecisionRecallCurve {
        &self.precision_recall
    }

    /// Replicates of AUROC, average precision and the best Dice, see
    /// [`RankedPatients::bootstrap`](crate::RankedPatients::bootstrap).
    ///
    /// # Errors
    /// As for [`Bootstrap::new`].
    pub fn bootstrap(&self, config: &BootstrapConfig) -> Result<PixelReplicates, MetricError> {
        let bootstrap = Bootstrap::new(&self.names, *config)?;
        let Ranks { auroc, average_precision, ceil_dice } = self.ranks;
        Ok(self.bins.replicates(&bootstrap, [auroc, average_precision, ceil_dice.dice]))
    }

    /// Replicates of the per-region overlap, see
    /// [`RankedPatientRegions::bootstrap`](crate::RankedPatientRegions::bootstrap).
    ///
    /// # Errors
    /// As for [`Bootstrap::new`].
    pub fn bootstrap_aupro(&self, config: &BootstrapConfig) -> Result<Replicates, MetricError> {
        let bootstrap = Bootstrap::new(&self.names, *config)?;
        Ok(self.bins.overlap_replicates(&bootstrap, self.overlap_limit, self.overlap))
    }

    /// Replicates of Dice at the configured threshold, exact; `None` without one.
    ///
    /// # Errors
    /// As for [`Bootstrap::new`].
    pub fn bootstrap_dice(&self, config: &BootstrapConfig) -> Result<Option<Replicates>, MetricError> {
        let bootstrap = Bootstrap::new(&self.names, *config)?;
        Ok(self.has_threshold.then(|| dice_replicates(&bootstrap, &self.counts)))
    }

    /// Intervals of the true positive rate, see [`RankedPatients::roc_band`](crate::RankedPatients::roc_band).
    ///
    /// # Errors
    /// As there.
    pub fn roc_band(&self, points: usize, config: &BootstrapConfig) -> Result<CurveBand, MetricError> {
        self.bins.roc_band(&self.names, points, config)
    }

    /// Intervals of the precision, see
    /// [`RankedPatients::precision_recall_band`](crate::RankedPatients::precision_recall_band).
    ///
    /// # Errors
    /// As there.
    pub fn precision_recall_band(
        &self,
        points: usize,
        config: &BootstrapConfig,
    ) -> Result<CurveBand, MetricError> {
        self.bins.precision_recall_band(&self.names, points, config)
    }
}

/// Replicates of the pooled Dice of patients' counts.
pub(crate) fn dice_replicates(bootstrap: &Bootstrap, counts: &[Confusion]) -> Replicates {
    let [dice] = bootstrap.over_patients(|times| {
        let mut sum = Confusion::default();
        for (counts, &times) in counts.iter().zip(times) {
            sum += counts.times(times);
        }
        [sum.dice(WhenEmpty::Undefined)]
    });
    dice
}

/// Scores of one class outside of memory, ascending as often as asked.
///
/// ```
/// use std::io::Cursor;
///
/// use lesio_metrics::{Scratch, StreamedScores};
///
/// let mut scratch = Scratch::new(Cursor::new(Vec::new()));
/// let mut scores = StreamedScores::new();
/// scores.update(&mut scratch, &[0.5, 0.25])?;
/// scores.update(&mut scratch, &[0.25])?;
/// let mut found = Vec::new();
/// scores.for_each(&mut scratch, |score, count| found.push((score, count)))?;
/// assert_eq!(found, [(0.25, 1), (0.25, 1), (0.5, 1)]);
/// # Ok::<(), lesio_metrics::MetricError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StreamedScores {
    runs: Vec<Run>,
}

impl StreamedScores {
    /// No scores yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds scores, such as those of one image: a slice, an array or a view of any number of axes, or an iterator. No score
    /// adds nothing.
    ///
    /// # Errors
    /// [`MetricError::NotANumber`] with the count and the first index, in the order in which they come, and
    /// [`MetricError::Scratch`]; nothing is added then.
    pub fn update<S: Borrow<f32>>(
        &mut self,
        scratch: &mut Scratch,
        scores: impl IntoIterator<Item = S>,
    ) -> Result<(), MetricError> {
        let mut keys = keys::of_scores(scores.into_iter().map(|score| *score.borrow()))?;
        keys::sort(&mut keys);
        self.runs.push(Run::write(scratch, keys.into_iter().map(|key| u64::from(key) << 32))?);
        Ok(())
    }

    /// Number of scores.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs.iter().map(Run::pixels).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands on the scores, ascending, each with how often it comes; equal ones may come one after the other. Both
    /// zeros come as 0.
    ///
    /// # Errors
    /// [`MetricError::Scratch`].
    pub fn for_each(&self, scratch: &mut Scratch, mut each: impl FnMut(f32, u64)) -> Result<(), MetricError> {
        let runs: Vec<&Run> = self.runs.iter().collect();
        for_each_stretch(scratch, &runs, &[], Direction::Ascending, |stretch| {
            stretch.positives.iter().for_each(|entry| each(keys::score(entry.key()), entry.count));
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ndarray::{Array3, Axis};
    use proptest::prelude::*;

    use super::*;
    use crate::threshold::{ThresholdRule, ValidationPixels};
    use crate::{PatientPixels, PatientRegions, StreamedValidation};

    type Case = (String, Array3<f32>, Array3<bool>, Array3<bool>);

    /// Scores of every kind: many zeros, few levels, any bits but those of not-a-number.
    fn any_score() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => Just(0.0),
            1 => Just(-0.0),
            4 => (-3i8..4).prop_map(f32::from),
            4 => 0.0f32..1.0,
            1 => any::<u32>().prop_map(f32::from_bits).prop_filter("a number", |score| !score.is_nan()),
            1 => prop_oneof![Just(f32::INFINITY), Just(f32::NEG_INFINITY), Just(f32::MAX), Just(1e-45)],
        ]
    }

    fn any_case() -> impl Strategy<Value = Case> {
        (0u8..4, 1usize..4, 1usize..7, 1usize..9, 0.0f64..0.6).prop_flat_map(|(patient, i, j, k, lesions)| {
            let pixel = (any_score(), prop::bool::weighted(lesions), prop::bool::weighted(0.8));
            prop::collection::vec(pixel, i * j * k).prop_map(move |pixels| {
                let of = |f: &dyn Fn(&(f32, bool, bool)) -> bool| {
                    Array3::from_shape_vec((i, j, k), pixels.iter().map(f).collect()).unwrap()
                };
                let scores = pixels.iter().map(|pixel| pixel.0).collect();
                let scores = Array3::from_shape_vec((i, j, k), scores).unwrap();
                (format!("patient {patient}"), scores, of(&|pixel| pixel.1), of(&|pixel| pixel.2))
            })
        })
    }

    /// Everything found of the same pixels in memory and in a stream has the same bits.
    fn agree(cases: &[Case], bins: usize) {
        let mut scratch = Scratch::new(Cursor::new(Vec::new()));
        let mut stream = StreamedPatients::new();
        let mut validation = (ValidationPixels::new(), StreamedValidation::new());
        let (mut pixels, mut regions) = (PatientPixels::new(), PatientRegions::new(Connectivity::Vertex));
        for (patient, scores, truth, within) in cases {
            let flat = |mask: &Array3<bool>| mask.iter().copied().collect::<Vec<_>>();
            let values: Vec<f32> = scores.iter().copied().collect();
            let known = TruePixels::new(truth.view(), within.view(), Connectivity::Vertex).unwrap();
            stream.update(&mut scratch, patient, &known, scores.view()).unwrap();
            validation.1.update(&mut scratch, &known, scores.view()).unwrap();
            pixels.update_within(patient, &values, &flat(truth), &flat(within)).unwrap();
            regions.update_within(patient, scores.view(), truth.view(), within.view()).unwrap();
            validation.0.update_within(&values, &flat(truth), &flat(within)).unwrap();
        }
        let config = MeasureConfig::default().curve_points(9);
        let chosen = validation.1.best_dice(&mut scratch);
        let Ok(threshold) = validation.0.choose(ThresholdRule::BestDice) else {
            assert!(matches!(chosen, Err(MetricError::OneClass { .. })));
            assert!(matches!(stream.measure(&mut scratch, &config), Err(MetricError::OneClass { .. })));
            assert!(matches!(pixels.rank(), Err(MetricError::OneClass { .. })));
            return;
        };
        assert_eq!(chosen.unwrap(), (threshold, validation.0.average_precision().unwrap()));
        let measured = stream.measure_in(&mut scratch, &config.threshold(Some(threshold)), bins).unwrap();
        let (ranked, regions) = (pixels.rank_in(bins).unwrap(), regions.rank_in(bins).unwrap());
        let pooled = ranked.pooled();
        assert_eq!(measured.patients(), ranked.patients());
        assert_eq!((measured.positives(), measured.negatives()), (pooled.positives(), pooled.negatives()));
        assert_eq!(measured.regions(), regions.pooled().regions());
        assert_eq!(measured.prevalence(), pooled.prevalence());
        assert_eq!(measured.auroc(), pooled.auroc());
        assert_eq!(measured.average_precision(), pooled.average_precision());
        assert_eq!(measured.ceil_dice(), pooled.ceil_dice());
        assert_eq!(measured.dice(), Some(pooled.dice_at(&threshold)));
        assert_eq!(measured.aupro(), regions.pooled().aupro(0.3).unwrap());
        assert_eq!(measured.roc(), &pooled.roc(9));
        assert_eq!(measured.precision_recall(), &pooled.precision_recall(9));
        if measured.patients().len() < 2 {
            return;
        }
        let bootstrap = BootstrapConfig::new(3).replicates(7);
        let (own, expected) =
            (measured.bootstrap(&bootstrap).unwrap(), ranked.bootstrap(&bootstrap).unwrap());
        assert_eq!(own.auroc, expected.auroc);
        assert_eq!(own.average_precision, expected.average_precision);
        assert_eq!(own.ceil_dice, expected.ceil_dice);
        assert_eq!(
            measured.bootstrap_aupro(&bootstrap).unwrap(),
            regions.bootstrap(0.3, &bootstrap).unwrap()
        );
        let dice = measured.bootstrap_dice(&bootstrap).unwrap();
        assert_eq!(dice, Some(ranked.bootstrap_dice_at(&threshold, &bootstrap).unwrap()));
        assert_eq!(measured.roc_band(5, &bootstrap), ranked.roc_band(5, &bootstrap));
        assert_eq!(
            measured.precision_recall_band(5, &bootstrap),
            ranked.precision_recall_band(5, &bootstrap)
        );
    }

    proptest! {
        #[test]
        fn streams_find_what_memory_finds(cases in prop::collection::vec(any_case(), 1..8), bins in 4usize..40) {
            agree(&cases, bins);
        }
    }

    #[test]
    fn many_blocks_and_bins_agree_too() {
        use rand::{RngExt, SeedableRng};
        let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(8);
        let cases: Vec<Case> = (0..9)
            .map(|case| {
                let truth = Array3::from_shape_fn((3, 120, 150), |(_, row, column)| {
                    (row / 7 + column / 9 + case) % 11 == 0 && row % 7 < 5 && column % 9 < 6
                });
                let scores = truth.mapv(|lesion| {
                    let score = generator.random::<f32>() + if lesion { 0.3 } else { 0.0 };
                    // Eroded maps have one score in a good part of their pixels.
                    if generator.random::<f32>() < 0.2 { 0.01 } else { score.powi(5) }
                });
                let within = truth.mapv(|lesion| lesion || generator.random::<f32>() < 0.7);
                (format!("{}", case % 5), scores, truth, within)
            })
            .collect();
        agree(&cases, BINS);
    }

    #[test]
    fn refused_maps_add_nothing() {
        let truth = Array3::from_shape_fn((1, 2, 3), |(_, row, column)| row == 0 && column == 1);
        let mut within = truth.mapv(|_| true);
        within[[0, 1, 2]] = false;
        let pixels = TruePixels::new(truth.view(), within.view(), Connectivity::Face).unwrap();
        assert_eq!((pixels.positives(), pixels.negatives()), (1, 4));
        let mut scratch = Scratch::new(Cursor::new(Vec::new()));
        let mut stream = StreamedPatients::new();
        let mut scores = Array3::zeros((1, 2, 3));
        scores[[0, 1, 2]] = f32::NAN;
        stream.update(&mut scratch, "outside", &pixels, scores.view()).unwrap();
        (scores[[0, 0, 1]], scores[[0, 1, 1]]) = (f32::NAN, f32::NAN);
        assert_eq!(
            stream.update(&mut scratch, "a", &pixels, scores.view()),
            Err(MetricError::NotANumber { what: "scores", count: 2, first: 1 })
        );
        let other = Array3::zeros((1, 3, 2));
        assert!(matches!(
            stream.update(&mut scratch, "a", &pixels, other.view()),
            Err(MetricError::Shape { what: "scores", .. })
        ));
        let wrong = within.index_axis(Axis(0), 0).insert_axis(Axis(2));
        assert!(matches!(
            TruePixels::new(truth.view(), wrong, Connectivity::Face),
            Err(MetricError::Shape { what: "mask", .. })
        ));
        let found: Vec<_> = stream.patients().map(|(name, p, n)| (name.to_owned(), p, n)).collect();
        assert_eq!(found, [("outside".to_owned(), 1, 4)]);
    }
}
