//! Metrics of streamed pixels, and their replicates.

use super::sweep::Swept;
use crate::bands::{self, CurveBand};
use crate::bins::StoredPatients;
use crate::bootstrap::{Bootstrap, BootstrapConfig, Replicates};
use crate::confusion::Confusion;
use crate::curve::{PrecisionRecallCurve, RocCurve};
use crate::error::MetricError;
use crate::grid::Grid;
use crate::ranking::{CeilDice, Ranks};
use crate::replicates::{PixelReplicates, dice_replicates};
use crate::resampled::{overlap_replicates, pixel_replicates};
use crate::scratch::{Place, Scratch};

/// Metrics of streamed pixels, and where the data for resampling patients lie.
///
/// What each patient has in each bin of scores was appended to the [`Scratch`] that
/// [`StreamedPatients::measure`](crate::StreamedPatients::measure) was given. Methods that resample patients read it again
/// from there, so memory does not grow with the number of patients. With another scratch, their results are meaningless,
/// or an error.
#[derive(Clone, Debug)]
pub struct MeasuredPatients {
    pub(super) names: Vec<String>,
    pub(super) swept: Swept,
    pub(super) overlap_limit: f64,
    pub(super) has_threshold: bool,
    pub(super) grid: Grid,
    /// What each patient has in each bin.
    pub(super) places: Vec<Place>,
    /// Counts at the threshold, by patient; empty of meaning without one.
    pub(super) counts: Vec<Confusion>,
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
        self.swept.positives
    }

    /// Number of normal pixels.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.swept.negatives
    }

    /// Number of true regions.
    #[must_use]
    pub fn regions(&self) -> u64 {
        self.swept.regions
    }

    /// Fraction of abnormal pixels, see [`RankedPixels::prevalence`](crate::RankedPixels::prevalence).
    #[must_use]
    pub fn prevalence(&self) -> f64 {
        self.swept.positives as f64 / (self.swept.positives + self.swept.negatives) as f64
    }

    /// Area under the receiver operating characteristic, see [`auroc`](crate::auroc).
    #[must_use]
    pub fn auroc(&self) -> f64 {
        self.swept.ranks.auroc
    }

    /// Average precision, see [`average_precision`](crate::average_precision).
    #[must_use]
    pub fn average_precision(&self) -> f64 {
        self.swept.ranks.average_precision
    }

    /// The best Dice over every distinct score, see [`RankedPixels::ceil_dice`](crate::RankedPixels::ceil_dice).
    #[must_use]
    pub fn ceil_dice(&self) -> CeilDice {
        self.swept.ranks.ceil_dice
    }

    /// The per-region overlap up to the configured limit, see [`RankedRegions::aupro`](crate::RankedRegions::aupro).
    #[must_use]
    pub fn aupro(&self) -> f64 {
        self.swept.overlap
    }

    /// Dice at the configured threshold; `None` without one.
    #[must_use]
    pub fn dice(&self) -> Option<f64> {
        let mut sum = Confusion::default();
        self.counts.iter().for_each(|counts| sum += *counts);
        let Confusion { true_positives, false_positives, .. } = sum;
        let dice =
            2.0 * true_positives as f64 / (true_positives + false_positives + self.swept.positives) as f64;
        self.has_threshold.then_some(dice)
    }

    /// The receiver operating characteristic in the configured number of points.
    #[must_use]
    pub fn roc(&self) -> &RocCurve {
        &self.swept.roc
    }

    /// The precision-recall curve in the configured number of points.
    #[must_use]
    pub fn precision_recall(&self) -> &PrecisionRecallCurve {
        &self.swept.precision_recall
    }

    /// Replicates of AUROC, average precision and the best Dice, see
    /// [`RankedPatients::bootstrap`](crate::RankedPatients::bootstrap).
    ///
    /// # Errors
    /// As for [`Bootstrap::new`]; [`MetricError::Scratch`] if the scratch cannot be read.
    pub fn bootstrap(
        &self,
        scratch: &mut Scratch,
        config: &BootstrapConfig,
    ) -> Result<PixelReplicates, MetricError> {
        let bootstrap = Bootstrap::new(&self.names, *config)?;
        let Ranks { auroc, average_precision, ceil_dice } = self.swept.ranks;
        let exact = [auroc, average_precision, ceil_dice.dice];
        pixel_replicates(&self.grid, self.stored(scratch), &bootstrap, exact)
    }

    /// Replicates of the per-region overlap, see
    /// [`RankedPatientRegions::bootstrap`](crate::RankedPatientRegions::bootstrap).
    ///
    /// # Errors
    /// As for [`Bootstrap::new`]; [`MetricError::Scratch`] if the scratch cannot be read.
    pub fn bootstrap_aupro(
        &self,
        scratch: &mut Scratch,
        config: &BootstrapConfig,
    ) -> Result<Replicates, MetricError> {
        let bootstrap = Bootstrap::new(&self.names, *config)?;
        let (limit, exact) = (self.overlap_limit, self.swept.overlap);
        overlap_replicates(&self.grid, self.stored(scratch), &bootstrap, limit, exact)
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
    /// Those of [`RankedPatients::roc_band`](crate::RankedPatients::roc_band); [`MetricError::Scratch`] if the scratch cannot
    /// be read.
    pub fn roc_band(
        &self,
        scratch: &mut Scratch,
        points: usize,
        config: &BootstrapConfig,
    ) -> Result<CurveBand, MetricError> {
        let bootstrap = Bootstrap::new(&self.names, *config)?;
        bands::roc_band(&self.grid, self.stored(scratch), &bootstrap, points)
    }

    /// Intervals of the precision, see
    /// [`RankedPatients::precision_recall_band`](crate::RankedPatients::precision_recall_band).
    ///
    /// # Errors
    /// Those of [`RankedPatients::precision_recall_band`](crate::RankedPatients::precision_recall_band); [`MetricError::Scratch`] if the scratch cannot
    /// be read.
    pub fn precision_recall_band(
        &self,
        scratch: &mut Scratch,
        points: usize,
        config: &BootstrapConfig,
    ) -> Result<CurveBand, MetricError> {
        let bootstrap = Bootstrap::new(&self.names, *config)?;
        bands::precision_recall_band(&self.grid, self.stored(scratch), &bootstrap, points)
    }

    /// The patients in the scratch.
    fn stored<'a>(&'a self, scratch: &'a mut Scratch) -> StoredPatients<'a> {
        StoredPatients::new(scratch, &self.places, self.grid.bins())
    }
}
