//! Ranking metrics of pooled pixels with intervals over patients.

use std::collections::BTreeMap;

use ndarray::{ArrayView, Dimension};
use rayon::prelude::*;

use crate::bins::PatientBins;
use crate::bootstrap::{Bootstrap, BootstrapConfig, Replicates};
use crate::confusion::Confusion;
use crate::error::MetricError;
use crate::grid::{BINS, Grid};
use crate::keys::{self, Keys};
use crate::ranking::{PixelCurve, RankedPixels};
use crate::replicates::{PixelReplicates, dice_replicates};
use crate::resampled::pixel_replicates;
use crate::threshold::ValidationThreshold;

/// Pixels of any number of images, gathered by patient.
///
/// A pixel takes 4 bytes here (and spare capacity, as any vector that grows), 12 while it is ranked and 8 afterwards. The
/// order of updates makes no difference.
///
/// ```
/// use lesio_metrics::{BootstrapConfig, PatientPixels};
///
/// let mut pixels = PatientPixels::new();
/// for (patient, shift) in [("anna", 0.0), ("bela", 0.2), ("carl", 0.1), ("dora", 0.3)] {
///     let scores = [0.1, 0.5, 0.3, 0.7].map(|score| score + shift);
///     pixels.update(patient, &scores, &[false, false, true, true])?;
/// }
/// let ranked = pixels.rank()?;
/// let intervals = ranked.bootstrap(&BootstrapConfig::new(1))?;
/// let auroc = intervals.auroc.interval()?;
/// assert_eq!(auroc.estimate, ranked.pooled().auroc());
/// assert!(auroc.lower <= auroc.estimate && auroc.estimate <= auroc.upper);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PatientPixels {
    patients: BTreeMap<String, PixelCurve>,
}

impl PatientPixels {
    /// No patients yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds pixels of a patient, see [`PixelCurve::update`]. A patient may come any number of times.
    ///
    /// # Errors
    /// Those of the method on [`PixelCurve`].
    pub fn update<'s, 't, D: Dimension>(
        &mut self,
        patient: &str,
        scores: impl Into<ArrayView<'s, f32, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
    ) -> Result<(), MetricError> {
        self.add(patient, |pixels| pixels.update(scores, truth))
    }

    /// Adds the pixels of a patient where `within` holds, see [`PixelCurve::update_within`].
    ///
    /// # Errors
    /// Those of the method on [`PixelCurve`].
    pub fn update_within<'s, 't, 'w, D: Dimension>(
        &mut self,
        patient: &str,
        scores: impl Into<ArrayView<'s, f32, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
        within: impl Into<ArrayView<'w, bool, D>>,
    ) -> Result<(), MetricError> {
        self.add(patient, |pixels| pixels.update_within(scores, truth, within))
    }

    /// Adds pixels of a patient as an iterator hands them on, see [`PixelCurve::update_pixels`].
    ///
    /// # Errors
    /// Those of the method on [`PixelCurve`].
    pub fn update_pixels(
        &mut self,
        patient: &str,
        pixels: impl IntoIterator<Item = (f32, bool)>,
    ) -> Result<(), MetricError> {
        self.add(patient, |known| known.update_pixels(pixels))
    }

    /// Sorts the pixels of all patients together, and counts those of each in bins of scores.
    ///
    /// # Errors
    /// [`MetricError::OneClass`] unless there is a positive and a negative pixel; [`MetricError::TooMany`] when a patient
    /// has more than `u32::MAX` pixels.
    pub fn rank(self) -> Result<RankedPatients, MetricError> {
        RankedPatients::new(self.patients, BINS)
    }

    /// Like [`PatientPixels::rank`], in so many bins.
    #[cfg(test)]
    pub(crate) fn rank_in(self, bins: usize) -> Result<RankedPatients, MetricError> {
        RankedPatients::new(self.patients, bins)
    }

    /// Adds a patient only if its pixels are valid.
    fn add(
        &mut self,
        patient: &str,
        pixels: impl FnOnce(&mut PixelCurve) -> Result<(), MetricError>,
    ) -> Result<(), MetricError> {
        if let Some(known) = self.patients.get_mut(patient) {
            return pixels(known);
        }
        let mut first = PixelCurve::new();
        pixels(&mut first)?;
        self.patients.insert(patient.to_owned(), first);
        Ok(())
    }
}

/// Pooled pixels in order of their scores, and what each patient has of them.
#[derive(Clone, Debug)]
pub struct RankedPatients {
    pooled: RankedPixels,
    names: Vec<String>,
    keys: Vec<Keys>,
    grid: Grid,
    bins: Vec<PatientBins>,
}

impl RankedPatients {
    fn new(patients: BTreeMap<String, PixelCurve>, bins: usize) -> Result<Self, MetricError> {
        let (names, keys): (Vec<String>, Vec<Keys>) =
            patients.into_iter().map(|(name, pixels)| (name, pixels.into_keys())).unzip();
        let mut pooled = Keys {
            positives: Vec::with_capacity(keys.iter().map(|keys| keys.positives.len()).sum()),
            negatives: Vec::with_capacity(keys.iter().map(|keys| keys.negatives.len()).sum()),
        };
        for keys in &keys {
            let pixels = keys.positives.len().max(keys.negatives.len()) as u64;
            if pixels > u64::from(u32::MAX) {
                return Err(MetricError::TooMany { what: "pixels of one patient", found: pixels });
            }
            pooled.positives.extend_from_slice(&keys.positives);
            pooled.negatives.extend_from_slice(&keys.negatives);
        }
        pooled.sort();
        let pooled = RankedPixels::new(pooled)?;
        let sorted = pooled.keys();
        let grid = Grid::new(&sorted.positives, |&key| key, &sorted.negatives, bins);
        let count = |keys: &[u32]| {
            let mut counts = vec![0; grid.bins()];
            keys.iter().for_each(|&key| counts[grid.bin(key)] += 1);
            counts
        };
        let binned =
            |keys: &Keys| PatientBins::new(count(&keys.positives), count(&keys.negatives), Vec::new(), 0);
        let bins = keys.par_iter().map(binned).collect();
        Ok(Self { pooled, names, keys, grid, bins })
    }

    /// All patients' pixels together: the exact metrics and their curves.
    #[must_use]
    pub fn pooled(&self) -> &RankedPixels {
        &self.pooled
    }

    /// The patients, in order of their names.
    #[must_use]
    pub fn patients(&self) -> &[String] {
        &self.names
    }

    /// Replicates of AUROC, average precision and the best Dice over resampled patients.
    ///
    /// Estimates are exact. Replicates are computed from histograms of up to 4096 bins of scores (one each where there are
    /// no more distinct scores, and then replicates are exact too), each bin's pixels taken as mixed evenly, and moved by
    /// the difference that this makes to the estimate. What remains is far below the width of an interval: see
    /// `docs/metrics.md`. A replicate without positives or without negatives is undefined.
    ///
    /// # Errors
    /// As for [`Bootstrap::new`].
    pub fn bootstrap(&self, config: &BootstrapConfig) -> Result<PixelReplicates, MetricError> {
        let bootstrap = Bootstrap::new(&self.names, *config)?;
        let (auroc, average_precision) = (self.pooled.auroc(), self.pooled.average_precision());
        let exact = [auroc, average_precision, self.pooled.ceil_dice().dice];
        pixel_replicates(&self.grid, &*self.bins, &bootstrap, exact)
    }

    /// Replicates of the pooled Dice at a threshold that was selected on validation pixels; exact. A replicate in which
    /// nothing is positive, in truth or by the threshold, is undefined.
    ///
    /// # Errors
    /// As for [`Bootstrap::new`].
    pub fn bootstrap_dice_at(
        &self,
        threshold: &ValidationThreshold,
        config: &BootstrapConfig,
    ) -> Result<Replicates, MetricError> {
        let bootstrap = Bootstrap::new(&self.names, *config)?;
        let key = keys::key(threshold.value());
        let above = |keys: &[u32]| keys.iter().filter(|&&k| k >= key).count() as u64;
        let counts: Vec<Confusion> = self
            .keys
            .par_iter()
            .map(|keys| {
                let (found, alarms) = (above(&keys.positives), above(&keys.negatives));
                Confusion {
                    true_positives: found,
                    false_positives: alarms,
                    false_negatives: keys.positives.len() as u64 - found,
                    true_negatives: keys.negatives.len() as u64 - alarms,
                }
            })
            .collect();
        Ok(dice_replicates(&bootstrap, &counts))
    }

    /// What each patient has in each bin of the grid.
    pub(crate) fn binned(&self) -> (&Grid, &[PatientBins]) {
        (&self.grid, &self.bins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Patients with lesions of varied size and contrast; scores through `map`.
    fn patients(count: usize, pixels: usize, map: impl Fn(f32) -> f32) -> Vec<(Vec<f32>, Vec<bool>)> {
        let mut generator = ChaCha8Rng::seed_from_u64(11);
        (0..count)
            .map(|patient| {
                let prevalence = 0.01 + 0.01 * patient as f32;
                let contrast = 0.1 + 0.05 * (patient % 7) as f32;
                (0..pixels)
                    .map(|_| {
                        let truth = generator.random::<f32>() < prevalence;
                        let noise: f32 = (0..4).map(|_| generator.random::<f32>()).sum::<f32>() / 4.0;
                        (map(noise + if truth { contrast } else { 0.0 }), truth)
                    })
                    .unzip()
            })
            .collect()
    }

    fn ranked(patients: &[(Vec<f32>, Vec<bool>)], bins: usize) -> RankedPatients {
        let mut pixels = PatientPixels::new();
        for (patient, (scores, truth)) in patients.iter().enumerate() {
            pixels.update(&format!("{patient:03}"), scores, truth).unwrap();
        }
        RankedPatients::new(pixels.patients, bins).unwrap()
    }

    /// Largest differences of AUROC, average precision and best Dice from resampling the pixels themselves.
    fn errors(patients: &[(Vec<f32>, Vec<bool>)], bins: usize, replicates: usize) -> [f64; 3] {
        let ranked = ranked(patients, bins);
        let config = BootstrapConfig::new(4).replicates(replicates);
        let found = ranked.bootstrap(&config).unwrap();
        let names: Vec<String> = ranked.patients().to_vec();
        let bootstrap = Bootstrap::new(&names, config).unwrap();
        let mut errors = [0f64; 3];
        for replicate in 0..config.replicates {
            let mut pixels = PixelCurve::new();
            for ((scores, truth), times) in patients.iter().zip(bootstrap.multiplicities(replicate)) {
                (0..times).for_each(|_| pixels.update(scores, truth).unwrap());
            }
            let exact = pixels.rank().unwrap();
            for (error, (found, exact)) in errors.iter_mut().zip([
                (&found.auroc, exact.auroc()),
                (&found.average_precision, exact.average_precision()),
                (&found.ceil_dice, exact.ceil_dice().dice),
            ]) {
                *error = error.max((found.values()[replicate].unwrap() - exact).abs());
            }
        }
        errors
    }

    #[test]
    fn replicates_are_as_good_as_exact() {
        // Bounds as docs/metrics.md states them; the best Dice varies most, being a maximum over noise.
        let errors = errors(&patients(12, 20_000, |score| score), BINS, 40);
        assert!(errors[0] < 1e-5 && errors[1] < 1e-4 && errors[2] < 5e-4, "{errors:?}");
    }

    #[test]
    fn fewer_bins_are_worse_but_still_close() {
        let errors = errors(&patients(12, 20_000, |score| score), 256, 40);
        assert!(errors.iter().all(|&error| error < 2e-3), "{errors:?}");
    }

    #[test]
    fn few_distinct_scores_are_exact() {
        // More replicates than are summed in one pass over the patients.
        let errors = errors(&patients(9, 600, |score| (score * 200.0).round()), BINS, 150);
        assert!(errors.iter().all(|&error| error < 1e-12), "{errors:?}");
    }

    #[test]
    fn a_refused_patient_does_not_come_to_be() {
        let mut pixels = PatientPixels::new();
        assert!(pixels.update("a", &[f32::NAN], &[true]).is_err());
        pixels.update("b", &[1.0, 0.5], &[true, false]).unwrap();
        assert!(pixels.update_within("b", &[f32::NAN; 2], &[true; 2], &[true, false]).is_err());
        let ranked = pixels.rank().unwrap();
        assert_eq!(ranked.patients(), ["b"]);
        assert_eq!(ranked.pooled().positives(), 1);
        // One patient cannot be resampled.
        assert!(matches!(ranked.bootstrap(&BootstrapConfig::new(0)), Err(MetricError::Parameter { .. })));
    }

    #[test]
    fn dice_at_a_threshold_is_exact() {
        let patients = patients(6, 500, |score| score);
        let ranked = ranked(&patients, 64);
        let mut validation = crate::ValidationPixels::new();
        validation.update(&patients[0].0, &patients[0].1).unwrap();
        let threshold = validation.choose(crate::ThresholdRule::BestDice).unwrap();
        let config = BootstrapConfig::new(8).replicates(20);
        let found = ranked.bootstrap_dice_at(&threshold, &config).unwrap();
        assert!((found.estimate().unwrap() - ranked.pooled().dice_at(&threshold)).abs() < 1e-15);
        let bootstrap = Bootstrap::new(ranked.patients(), config).unwrap();
        for replicate in 0..20 {
            let mut pixels = PixelCurve::new();
            for ((scores, truth), times) in patients.iter().zip(bootstrap.multiplicities(replicate)) {
                (0..times).for_each(|_| pixels.update(scores, truth).unwrap());
            }
            let exact = pixels.rank().unwrap().dice_at(&threshold);
            assert!((found.values()[replicate].unwrap() - exact).abs() < 1e-15);
        }
    }

    #[test]
    fn patients_without_lesions_leave_replicates_undefined() {
        let mut pixels = PatientPixels::new();
        for patient in ["a", "b", "c", "d", "e"] {
            pixels.update(patient, &[0.1, 0.2, 0.9], &[false, false, patient == "a"]).unwrap();
        }
        let interval =
            pixels.rank().unwrap().bootstrap(&BootstrapConfig::new(0)).unwrap().auroc.interval().unwrap();
        // Without the one patient: (4/5)^5, about a third.
        assert!((250..410).contains(&interval.undefined), "{}", interval.undefined);
    }
}
