//! Metrics of streamed pixels, and their replicates.

use crate::bands::CurveBand;
use crate::bins::Bins;
use crate::bootstrap::{Bootstrap, BootstrapConfig, Replicates};
use crate::confusion::Confusion;
use crate::curve::{PrecisionRecallCurve, RocCurve};
use crate::error::MetricError;
use crate::ranking::{CeilDice, Ranks};
use crate::replicates::{PixelReplicates, dice_replicates};

/// Metrics of streamed pixels, with all that resampling patients takes.
#[derive(Clone, Debug)]
pub struct MeasuredPatients {
    pub(super) names: Vec<String>,
    pub(super) positives: u64,
    pub(super) negatives: u64,
    pub(super) regions: u64,
    pub(super) ranks: Ranks,
    pub(super) overlap: f64,
    pub(super) roc: RocCurve,
    pub(super) precision_recall: PrecisionRecallCurve,
    pub(super) overlap_limit: f64,
    pub(super) has_threshold: bool,
    pub(super) bins: Bins,
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
