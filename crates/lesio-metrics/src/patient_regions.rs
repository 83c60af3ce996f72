//! Per-region overlap with intervals over patients.

use std::collections::BTreeMap;

use lesio_grid::Connectivity;
use ndarray::{ArrayView, Dimension};
use rayon::prelude::*;

use crate::bins::PatientBins;
use crate::bootstrap::{Bootstrap, BootstrapConfig, Replicates};
use crate::error::MetricError;
use crate::grid::{BINS, Grid};
use crate::region::{RankedRegions, RegionKeys, key_of, size_of};
use crate::resampled::overlap_replicates;

/// Maps of any number of images, gathered by patient, for AUPRO with intervals.
///
/// A negative pixel takes 4 bytes, a positive one 8, twice to three times that while they are ranked.
///
/// ```
/// use lesio_metrics::{BootstrapConfig, Connectivity, PatientRegions};
/// use ndarray::array;
///
/// let mut regions = PatientRegions::new(Connectivity::Vertex);
/// for (patient, noise) in [("anna", 0.1), ("bela", 0.6), ("carl", 0.3)] {
///     let map = array![[0.5, 0.2, noise], [0.4, 0.0, noise]];
///     let truth = array![[true, false, false], [true, false, false]];
///     regions.update(patient, &map, &truth)?;
/// }
/// let ranked = regions.rank()?;
/// let interval = ranked.bootstrap(0.3, &BootstrapConfig::new(1))?.interval()?;
/// assert_eq!(interval.estimate, ranked.pooled().aupro(0.3)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PatientRegions {
    connectivity: Connectivity,
    patients: BTreeMap<String, RegionKeys>,
}

impl PatientRegions {
    /// No patients yet; see [`RegionCurve::new`](crate::RegionCurve::new).
    #[must_use]
    pub fn new(connectivity: Connectivity) -> Self {
        Self { connectivity, patients: BTreeMap::new() }
    }

    /// Adds a map of a patient and its truth, see [`RegionCurve::update`](crate::RegionCurve::update).
    ///
    /// # Errors
    /// Those of the method on [`RegionCurve`](crate::RegionCurve).
    pub fn update<'s, 't, D: Dimension>(
        &mut self,
        patient: &str,
        scores: impl Into<ArrayView<'s, f32, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
    ) -> Result<(), MetricError> {
        self.add(patient, scores.into(), truth.into(), None)
    }

    /// Adds the pixels of a map where `within` holds, see
    /// [`RegionCurve::update_within`](crate::RegionCurve::update_within).
    ///
    /// # Errors
    /// Those of the method on [`RegionCurve`](crate::RegionCurve).
    pub fn update_within<'s, 't, 'w, D: Dimension>(
        &mut self,
        patient: &str,
        scores: impl Into<ArrayView<'s, f32, D>>,
        truth: impl Into<ArrayView<'t, bool, D>>,
        within: impl Into<ArrayView<'w, bool, D>>,
    ) -> Result<(), MetricError> {
        self.add(patient, scores.into(), truth.into(), Some(within.into()))
    }

    fn add<D: Dimension>(
        &mut self,
        patient: &str,
        scores: ArrayView<'_, f32, D>,
        truth: ArrayView<'_, bool, D>,
        within: Option<ArrayView<'_, bool, D>>,
    ) -> Result<(), MetricError> {
        if let Some(known) = self.patients.get_mut(patient) {
            return known.extend(scores, truth, within, self.connectivity);
        }
        // A patient is added only if its map is valid.
        let mut first = RegionKeys::default();
        first.extend(scores, truth, within, self.connectivity)?;
        self.patients.insert(patient.to_owned(), first);
        Ok(())
    }

    /// Sorts the pixels of all patients together, and counts those of each in bins of scores.
    ///
    /// # Errors
    /// [`MetricError::OneClass`] unless there is a region and a negative pixel; [`MetricError::TooMany`] when a patient has
    /// more than `u32::MAX` negative pixels.
    pub fn rank(self) -> Result<RankedPatientRegions, MetricError> {
        RankedPatientRegions::new(self.patients, BINS)
    }

    /// Like [`PatientRegions::rank`], in so many bins.
    #[cfg(test)]
    pub(crate) fn rank_in(self, bins: usize) -> Result<RankedPatientRegions, MetricError> {
        RankedPatientRegions::new(self.patients, bins)
    }
}

/// Pixels of all patients' maps in order of their scores, and what each patient has of them.
#[derive(Clone, Debug)]
pub struct RankedPatientRegions {
    pooled: RankedRegions,
    names: Vec<String>,
    grid: Grid,
    bins: Vec<PatientBins>,
}

impl RankedPatientRegions {
    fn new(patients: BTreeMap<String, RegionKeys>, bins: usize) -> Result<Self, MetricError> {
        let mut pooled = RegionKeys::default();
        for patient in patients.values() {
            let found = patient.negatives.len() as u64;
            if found > u64::from(u32::MAX) {
                return Err(MetricError::TooMany { what: "negative pixels of one patient", found });
            }
            pooled.append(patient);
        }
        pooled.sort();
        let pooled = RankedRegions::new(pooled)?;
        let sorted = pooled.pixels();
        let grid = Grid::new(&sorted.positives, |&positive| key_of(positive), &sorted.negatives, bins);
        let (names, patients): (Vec<String>, Vec<RegionKeys>) = patients.into_iter().unzip();
        let binned = |mut patient: RegionKeys| {
            let mut overlap = vec![0.0; grid.bins()];
            let mut negatives = vec![0; grid.bins()];
            // In order of scores, so that sums do not depend on the order of updates.
            patient.positives.sort_unstable();
            for positive in patient.positives {
                overlap[grid.bin(key_of(positive))] += 1.0 / size_of(positive);
            }
            patient.negatives.iter().for_each(|&key| negatives[grid.bin(key)] += 1);
            let regions = patient.regions;
            PatientBins::new(Vec::new(), negatives, overlap, regions)
        };
        let bins = patients.into_par_iter().map(binned).collect();
        Ok(Self { names, grid, bins, pooled })
    }

    /// All patients' maps together: the exact metric and its curve.
    #[must_use]
    pub fn pooled(&self) -> &RankedRegions {
        &self.pooled
    }

    /// The patients, in order of their names.
    #[must_use]
    pub fn patients(&self) -> &[String] {
        &self.names
    }

    /// Replicates of [`RankedRegions::aupro`] over resampled patients.
    ///
    /// The estimate is exact; replicates come from histograms, straight within a bin, see
    /// [`RankedPatients::bootstrap`](crate::RankedPatients::bootstrap). A replicate without regions or without negative
    /// pixels is undefined.
    ///
    /// # Errors
    /// As for [`Bootstrap::new`] and [`RankedRegions::aupro`].
    pub fn bootstrap(&self, limit: f64, config: &BootstrapConfig) -> Result<Replicates, MetricError> {
        let exact = self.pooled.aupro(limit)?;
        let bootstrap = Bootstrap::new(&self.names, *config)?;
        overlap_replicates(&self.grid, &*self.bins, &bootstrap, limit, exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegionCurve;
    use ndarray::Array2;
    use rand::{RngExt, SeedableRng};

    /// Maps with square lesions and noise; patient 0 has none.
    fn maps(count: usize, side: usize) -> Vec<(Array2<f32>, Array2<bool>)> {
        let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(21);
        (0..count)
            .map(|patient| {
                let mut truth = Array2::from_elem((side, side), false);
                for _ in 0..patient {
                    let size = generator.random_range(1..8);
                    let (i, j) =
                        (generator.random_range(0..side - size), generator.random_range(0..side - size));
                    for ((row, column), truth) in truth.indexed_iter_mut() {
                        *truth |= (i..i + size).contains(&row) && (j..j + size).contains(&column);
                    }
                }
                let scores = truth.mapv(|t| {
                    let noise: f32 = (0..3).map(|_| generator.random::<f32>()).sum();
                    noise + if t { 0.8 } else { 0.0 }
                });
                (scores, truth)
            })
            .collect()
    }

    #[test]
    fn replicates_are_as_good_as_exact() {
        let maps = maps(8, 100);
        let mut regions = PatientRegions::new(Connectivity::Vertex);
        for (patient, (scores, truth)) in maps.iter().enumerate() {
            regions.update(&patient.to_string(), scores.view(), truth.view()).unwrap();
        }
        let ranked = regions.rank().unwrap();
        let config = BootstrapConfig::new(6).replicates(30);
        for limit in [0.05, 0.3] {
            let found = ranked.bootstrap(limit, &config).unwrap();
            let bootstrap = Bootstrap::new(ranked.patients(), config).unwrap();
            for (replicate, found) in found.values().iter().enumerate() {
                let mut exact = RegionCurve::new(Connectivity::Vertex);
                for ((scores, truth), times) in maps.iter().zip(bootstrap.multiplicities(replicate)) {
                    (0..times).for_each(|_| exact.update(scores.view(), truth.view()).unwrap());
                }
                let exact = exact.rank().unwrap().aupro(limit).unwrap();
                assert!((found.unwrap() - exact).abs() < 1e-4, "{limit} {found:?} {exact}");
            }
        }
    }

    #[test]
    fn order_of_updates_makes_no_difference() {
        let maps = maps(5, 40);
        let replicates = |order: &[usize]| {
            let mut regions = PatientRegions::new(Connectivity::Face);
            for &map in order {
                // Two patients, so that maps of one come in another order too.
                let patient = (map % 2).to_string();
                regions.update(&patient, maps[map].0.view(), maps[map].1.view()).unwrap();
            }
            regions.rank().unwrap().bootstrap(0.3, &BootstrapConfig::new(0).replicates(9)).unwrap()
        };
        assert_eq!(replicates(&[0, 1, 2, 3, 4]), replicates(&[4, 2, 3, 0, 1]));
    }
}
