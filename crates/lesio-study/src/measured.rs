//! Figures and curves of one predictor, with intervals over patients.

use lesio_metrics::{
    BootstrapConfig, CurveBand, MeasuredPatients, MetricError, PrecisionRecallCurve, Replicates, RocCurve,
    Scratch,
};
use lesio_report::{ScoreIntervals, Scores};

use crate::error::StudyError;

/// Curves of one predictor, with 95 % intervals where there are at least two patients.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PredictorCurves {
    /// The predictor.
    pub predictor: String,
    /// True-positive over false-positive rate.
    pub roc: RocCurve,
    /// Precision over recall.
    pub precision_recall: PrecisionRecallCurve,
    /// Intervals of the true-positive rate.
    pub roc_band: Option<CurveBand>,
    /// Intervals of the precision.
    pub precision_recall_band: Option<CurveBand>,
}

/// Places at which a curve's interval is computed.
const BAND_POINTS: usize = 40;

pub(crate) fn curves_of(
    name: &str,
    measured: &MeasuredPatients,
    scratch: &mut Scratch,
    bootstrap: &BootstrapConfig,
) -> Result<PredictorCurves, StudyError> {
    Ok(PredictorCurves {
        predictor: name.to_owned(),
        roc: measured.roc().clone(),
        precision_recall: measured.precision_recall().clone(),
        roc_band: defined(measured.roc_band(scratch, BAND_POINTS, bootstrap))?,
        precision_recall_band: defined(measured.precision_recall_band(scratch, BAND_POINTS, bootstrap))?,
    })
}

/// None for fewer than two patients, and for replicates without both classes; a scratch that cannot be read is an error.
fn defined(band: Result<CurveBand, MetricError>) -> Result<Option<CurveBand>, MetricError> {
    match band {
        Ok(band) => Ok(Some(band)),
        Err(MetricError::Parameter(_) | MetricError::Undefined { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The figures of one predictor in one scope.
pub(crate) struct Measured {
    pub(crate) scores: Scores,
    pub(crate) intervals: ScoreIntervals,
    /// Average precision of each replicate.
    pub(crate) replicates: Vec<Option<f64>>,
}

pub(crate) fn measure(
    measured: &MeasuredPatients,
    scratch: &mut Scratch,
    bootstrap: &BootstrapConfig,
) -> Result<Measured, StudyError> {
    let scores = Scores {
        auroc: Some(measured.auroc()),
        average_precision: Some(measured.average_precision()),
        ceil_dice: Some(measured.ceil_dice().dice),
        dice_at_val: measured.dice(),
        aupro_30: Some(measured.aupro()),
    };
    let mut intervals = ScoreIntervals::default();
    let mut of_precision = Vec::new();
    if measured.patients().len() >= 2 {
        let replicates = measured.bootstrap(scratch, bootstrap)?;
        of_precision = replicates.average_precision.values().to_vec();
        intervals.auroc = interval(&replicates.auroc);
        intervals.average_precision = interval(&replicates.average_precision);
        intervals.ceil_dice = interval(&replicates.ceil_dice);
        intervals.aupro_30 = interval(&measured.bootstrap_aupro(scratch, bootstrap)?);
        intervals.dice_at_val = measured.bootstrap_dice(bootstrap)?.as_ref().and_then(interval);
    }
    Ok(Measured { scores, intervals, replicates: of_precision })
}

fn interval(replicates: &Replicates) -> Option<[f64; 2]> {
    let found: Result<_, MetricError> = replicates.interval();
    found.ok().map(|interval| [interval.lower, interval.upper])
}
