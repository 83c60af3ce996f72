//! Calibration of grades on segmentations by the user's networks.

use lesio_settings::SettingError;
use serde::{Deserialize, Serialize};

use crate::conformal::Conformal;
use crate::correction::Correction;

/// The correction of estimates of one label, and the intervals around corrected estimates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GradeCalibration {
    /// The correction.
    pub correction: Correction,
    /// Intervals around corrected estimates.
    pub conformal: Conformal,
}

impl GradeCalibration {
    /// Fits both to estimates of segmentations whose truth is known, of the patients given with each.
    ///
    /// # Errors
    /// Those of [`Correction::fit`] and [`Conformal::fit`].
    pub fn fit<S: AsRef<str>>(
        patients: &[S],
        estimates: &[f64],
        truth: &[f64],
        level: f64,
    ) -> Result<Self, SettingError> {
        let correction = Correction::fit(estimates, truth)?;
        // Corrected by the other patients, as a new patient is.
        let corrected_by = |members: &[usize]| {
            let of = |values: &[f64]| members.iter().map(|&member| values[member]).collect::<Vec<_>>();
            let correction = Correction::fit(&of(estimates), &of(truth))?;
            Ok(estimates.iter().map(|&estimate| correction.apply(estimate)).collect())
        };
        let conformal = Conformal::fit_refitted(patients, estimates, truth, level, corrected_by)?;
        Ok(Self { correction, conformal })
    }

    /// The corrected estimate with its interval.
    #[must_use]
    pub fn apply(&self, estimate: f64) -> (f64, [f64; 2]) {
        let corrected = self.correction.apply(estimate);
        (corrected, self.conformal.interval(corrected))
    }
}

/// The calibration of slices and of volumes, one for each label graded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CalibratedLabels {
    pub(crate) slices: Vec<GradeCalibration>,
    pub(crate) volumes: Vec<GradeCalibration>,
}
