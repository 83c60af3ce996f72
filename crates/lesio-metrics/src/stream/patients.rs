//! Pixels of any number of images, measured exactly in bounded memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ndarray::{ArrayView, Dimension};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::config::MeasureConfig;
use super::measured::MeasuredPatients;
use super::patient_bins::{Binned, Ends};
use super::sweep::{Sweep, Swept};
use super::true_pixels::TruePixels;
use crate::confusion::Confusion;
use crate::error::MetricError;
use crate::grid::{BINS, Grid};
use crate::keys;
use crate::merge::{Direction, for_each_stretch};
use crate::ranking::Ranks;
use crate::run::{Encoded, Run};
use crate::scratch::{Moved, Place, Scratch, damaged};
use crate::threshold::ValidationThreshold;

/// Maps whose negatives are decoded at once: fixed, so that memory does not depend on the number of threads.
const AT_ONCE: usize = 8;

/// Maps of any number of images, gathered by patient in a [`Scratch`] instead of in memory.
///
/// What [`PatientPixels`](crate::PatientPixels) and [`PatientRegions`](crate::PatientRegions) find of the same pixels, bit
/// for bit, in memory that hardly grows with them: pixels lie sorted in the scratch, at about two bytes each, and are merged
/// as they are read. Some 100 bytes of each map and of each patient stay in memory.
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
/// let interval = measured.bootstrap(&mut scratch, &BootstrapConfig::new(1))?.auroc.interval()?;
/// assert!(interval.lower <= measured.auroc() && measured.auroc() <= interval.upper);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Streams that were filled apart, on several machines perhaps, join exactly ([`StreamedPatients::absorb`]): what they
/// measure has the bits of one stream that was given the same maps in the same order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StreamedPatients {
    patients: BTreeMap<String, Vec<MapRuns>>,
}

/// The pixels of one map.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

    /// Adds the maps of another stream, after those that are here. Its scratch was absorbed by that of this stream
    /// ([`Scratch::absorb`]), which tells how its places moved.
    ///
    /// ```
    /// use std::io::Cursor;
    ///
    /// use lesio_metrics::{Connectivity, MeasureConfig, Scratch, StreamedPatients, TruePixels};
    /// use ndarray::array;
    ///
    /// let map = array![[0.5, 0.2, 0.1], [0.4, 0.0, 0.6]];
    /// let truth = array![[true, false, false], [true, false, false]];
    /// let pixels = TruePixels::new(&truth, &truth.mapv(|_| true), Connectivity::Vertex)?;
    /// let in_memory = || Scratch::new(Cursor::new(Vec::new()));
    ///
    /// let (mut own, mut all) = (in_memory(), in_memory());
    /// let (mut one, mut joined) = (StreamedPatients::new(), StreamedPatients::new());
    /// one.update(&mut own, "anna", &pixels, &map)?;
    /// for _ in 0..2 {
    ///     let moved = all.absorb(&mut own)?;
    ///     joined.absorb(one.clone(), moved);
    /// }
    /// let config = MeasureConfig::default();
    /// let (one, both) = (one.measure(&mut own, &config)?, joined.measure(&mut all, &config)?);
    /// assert_eq!(one.auroc(), both.auroc());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn absorb(&mut self, other: Self, moved: Moved) {
        for (patient, maps) in other.patients {
            let maps = maps.into_iter().map(|MapRuns { positives, negatives, regions }| MapRuns {
                positives: positives.moved(moved),
                negatives: negatives.moved(moved),
                regions,
            });
            match self.patients.entry(patient) {
                Entry::Occupied(mut known) => known.get_mut().extend(maps),
                // Most patients have one map, and a vector that grows begins with room for four.
                Entry::Vacant(new) => drop(new.insert(maps.collect())),
            }
        }
    }

    /// The patients, in order of their names, each with its numbers of abnormal and of normal pixels.
    pub fn patients(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.patients.iter().map(|(name, maps)| {
            // A stream that was read from a file may state any numbers.
            let sum = |of: &dyn Fn(&MapRuns) -> u64| maps.iter().map(of).fold(0, u64::saturating_add);
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
        if self.patients.values().flatten().any(|map| map.regions > map.positives.pixels()) {
            return Err(damaged());
        }
        let (swept, grid) = self.swept(scratch, config, bins)?;
        let (grid, places, counts) = self.binned(scratch, grid, config.threshold.as_ref())?;
        Ok(MeasuredPatients {
            names: self.patients.keys().cloned().collect(),
            swept,
            overlap_limit: config.overlap_limit,
            has_threshold: config.threshold.is_some(),
            grid,
            places,
            counts,
        })
    }

    /// The ranking metrics alone.
    pub(crate) fn ranks(&self, scratch: &mut Scratch) -> Result<Ranks, MetricError> {
        Ok(self.swept(scratch, &MeasureConfig::default(), BINS)?.0.ranks)
    }

    fn swept(
        &self,
        scratch: &mut Scratch,
        config: &MeasureConfig,
        bins: usize,
    ) -> Result<(Swept, Grid), MetricError> {
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

    /// Stores what each patient has in each bin, and counts its pixels at a threshold.
    fn binned(
        &self,
        scratch: &mut Scratch,
        mut grid: Grid,
        threshold: Option<&ValidationThreshold>,
    ) -> Result<(Grid, Vec<Place>, Vec<Confusion>), MetricError> {
        let cut = threshold.map(|threshold| keys::key(threshold.value()));
        let (mut places, mut counts) = (Vec::new(), Vec::new());
        let mut ends = Ends::new(grid.bins());
        let maps: Vec<(usize, &[MapRuns])> = self
            .patients
            .values()
            .flat_map(|maps| (0..maps.len()).map(|place| (place, maps.as_slice())))
            .collect();
        let mut own = Binned::new(&grid, cut);
        // A few maps at once, of one patient or of several: a patient may have any number of them.
        for few in maps.chunks(AT_ONCE) {
            let encoded: Vec<Encoded> = few
                .iter()
                .map(|(place, maps)| maps[*place].negatives.read(scratch))
                .collect::<Result<_, _>>()?;
            let binned = |negatives: Encoded| {
                let mut part = Binned::new(&grid, cut);
                part.add_negatives(&grid, negatives.entries());
                part
            };
            let parts: Vec<Binned> = encoded.into_par_iter().map(binned).collect();
            for ((place, maps), part) in few.iter().zip(parts) {
                own.add_negatives_of(&part);
                if place + 1 < maps.len() {
                    continue;
                }
                let positives: Vec<&Run> = maps.iter().map(|map| &map.positives).collect();
                for_each_stretch(scratch, &positives, &[], Direction::Ascending, |stretch| {
                    own.add_positives(&grid, stretch.positives);
                })?;
                let patient = std::mem::replace(&mut own, Binned::new(&grid, cut));
                let (bins, own_ends, own_counts) = patient.finish(maps.iter().map(|map| map.regions).sum());
                ends.add(&own_ends);
                places.push(bins.store(scratch)?);
                counts.push(own_counts);
            }
        }
        grid.set_tied(ends.tied());
        Ok((grid, places, counts))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use lesio_grid::Connectivity;
    use ndarray::{Array3, Axis};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        BootstrapConfig, PatientPixels, PatientRegions, StreamedValidation, ThresholdRule, ValidationPixels,
    };

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
    fn agree(cases: &[Case], bins: usize, most_runs: usize) {
        let mut scratch = Scratch::new(Cursor::new(Vec::new()));
        scratch.most_runs = most_runs;
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
            (measured.bootstrap(&mut scratch, &bootstrap).unwrap(), ranked.bootstrap(&bootstrap).unwrap());
        assert_eq!(own.auroc, expected.auroc);
        assert_eq!(own.average_precision, expected.average_precision);
        assert_eq!(own.ceil_dice, expected.ceil_dice);
        assert_eq!(
            measured.bootstrap_aupro(&mut scratch, &bootstrap).unwrap(),
            regions.bootstrap(0.3, &bootstrap).unwrap()
        );
        let dice = measured.bootstrap_dice(&bootstrap).unwrap();
        assert_eq!(dice, Some(ranked.bootstrap_dice_at(&threshold, &bootstrap).unwrap()));
        assert_eq!(measured.roc_band(&mut scratch, 5, &bootstrap), ranked.roc_band(5, &bootstrap));
        assert_eq!(
            measured.precision_recall_band(&mut scratch, 5, &bootstrap),
            ranked.precision_recall_band(5, &bootstrap)
        );
    }

    /// Each case in a stream and a scratch alone, written out, read again and joined.
    fn joined(cases: &[Case]) -> (StreamedPatients, Scratch) {
        let in_memory = || Scratch::new(Cursor::new(Vec::new()));
        let (mut all, mut stream) = (in_memory(), StreamedPatients::new());
        for (patient, scores, truth, within) in cases {
            let (mut own, mut one) = (in_memory(), StreamedPatients::new());
            let pixels = TruePixels::new(truth.view(), within.view(), Connectivity::Vertex).unwrap();
            one.update(&mut own, patient, &pixels, scores.view()).unwrap();
            let mut bytes = Vec::new();
            own.copy_to(&mut bytes).unwrap();
            let read: StreamedPatients = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
            let moved = all.absorb_from(&bytes[..]).unwrap();
            stream.absorb(read, moved);
            // In memory it is the same.
            assert_eq!(in_memory().absorb(&mut own).unwrap(), in_memory().absorb_from(&bytes[..]).unwrap());
        }
        (stream, all)
    }

    #[test]
    fn a_stream_that_does_not_fit_its_scratch_is_an_error() {
        let truth = Array3::from_shape_fn((1, 2, 3), |(_, row, _)| row == 0);
        let case = ("a".to_owned(), truth.mapv(|_| 0.5), truth.clone(), truth.mapv(|_| true));
        let (stream, mut scratch) = joined(&[case]);
        let text = serde_json::to_string(&stream).unwrap();
        for (from, to) in [
            ("\"start\":0", "\"start\":18446744073709551615"),
            ("\"bytes\":", "\"bytes\":4000000000,\"was\":"),
            ("\"pixels\":3", "\"pixels\":1"),
            ("\"pixels\":3", "\"pixels\":4"),
            ("\"pixels\":3", "\"pixels\":0"),
            ("\"regions\":1", "\"regions\":18446744073709551615"),
        ] {
            assert!(text.contains(from), "{text}");
            let broken: StreamedPatients = serde_json::from_str(&text.replacen(from, to, 1)).unwrap();
            let found = broken.measure(&mut scratch, &MeasureConfig::default());
            assert!(matches!(found, Err(MetricError::Scratch { operation: "read", .. })), "{found:?}");
        }
    }

    proptest! {
        #[test]
        fn joined_streams_find_what_one_finds(cases in prop::collection::vec(any_case(), 1..8)) {
            let mut scratch = Scratch::new(Cursor::new(Vec::new()));
            let mut one = StreamedPatients::new();
            for (patient, scores, truth, within) in &cases {
                let pixels = TruePixels::new(truth.view(), within.view(), Connectivity::Vertex).unwrap();
                one.update(&mut scratch, patient, &pixels, scores.view()).unwrap();
            }
            let (stream, mut all) = joined(&cases);
            let config = MeasureConfig::default();
            let found = (stream.measure(&mut all, &config), one.measure(&mut scratch, &config));
            if let (Ok(joined), Ok(one)) = &found {
                prop_assert_eq!(joined.auroc(), one.auroc());
                prop_assert_eq!(joined.aupro(), one.aupro());
                let bootstrap = BootstrapConfig::new(3).replicates(7);
                if one.patients().len() > 1 {
                    let (joined, one) = (
                        joined.bootstrap(&mut all, &bootstrap).unwrap(),
                        one.bootstrap(&mut scratch, &bootstrap).unwrap(),
                    );
                    prop_assert_eq!(joined.auroc, one.auroc);
                    prop_assert_eq!(joined.average_precision, one.average_precision);
                }
            }
            prop_assert_eq!(found.0.err(), found.1.err());
        }

        #[test]
        fn streams_find_what_memory_finds(
            cases in prop::collection::vec(any_case(), 1..8),
            bins in 4usize..40,
            most_runs in 2usize..9,
        ) {
            agree(&cases, bins, most_runs);
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
        for most_runs in [2, 64] {
            agree(&cases, BINS, most_runs);
        }
    }

    #[test]
    fn more_patients_than_are_decoded_at_once_agree_too() {
        use rand::{RngExt, SeedableRng};
        let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(9);
        // Some with two maps.
        let cases: Vec<Case> = (0..170)
            .map(|case| {
                let truth = Array3::from_shape_fn((1, 4, 5), |(_, row, column)| (row + column) % 4 == 0);
                let shift = generator.random::<f32>();
                let scores =
                    truth.mapv(|lesion| generator.random::<f32>() + shift + if lesion { 0.2 } else { 0.0 });
                (format!("{}", case % 140), scores, truth.clone(), truth.mapv(|_| true))
            })
            .collect();
        agree(&cases, BINS, 64);
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
