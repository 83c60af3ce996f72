//! From a model that was trained elsewhere to a localizer that is calibrated on one's own normals.

use lesio_anomaly::{Localizer, Model, PostProcessing, PredictorName, PredictorSettings, Provenance};
use lesio_image::Preprocessing;
use lesio_settings::setters;

use crate::calibrating::calibrate;
use crate::channel_name::model_channels;
use crate::normal_slices::fit_preprocessing;
use crate::observer::{Observer, Step};
use crate::subject::Subject;
use crate::train_localizer::CalibratedPredictors;
use crate::workflow_error::WorkflowError;

/// How a localizer is made of a model that is trained already.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalizerAssembly {
    /// How images come to the model's grid: as its training images did.
    pub preprocessing: Preprocessing,
    /// How maps are filtered. Default: that of [`PostProcessing`].
    pub postprocessing: PostProcessing,
    /// Settings of the predictors. Default: those of [`PredictorSettings`].
    pub settings: PredictorSettings,
    /// Which predictors are calibrated. Default: all but those that iterate.
    pub calibrated: CalibratedPredictors,
}

setters!(LocalizerAssembly {
    postprocessing: PostProcessing,
    settings: PredictorSettings,
    calibrated: CalibratedPredictors,
});

impl LocalizerAssembly {
    /// This preprocessing; the rest as the fields state.
    #[must_use]
    pub fn new(preprocessing: Preprocessing) -> Self {
        Self {
            preprocessing,
            postprocessing: PostProcessing::default(),
            settings: PredictorSettings::default(),
            calibrated: CalibratedPredictors::Fast,
        }
    }

    /// The localizer of a model. Its preprocessing is fitted on normal subjects, and they calibrate it; without any it has no
    /// thresholds and no p-values, until it is calibrated ([`recalibrate`](crate::recalibrate)).
    ///
    /// # Errors
    /// A preprocessing that does not fit the model, or that must be fitted and has nothing to be fitted on; subjects that cannot
    /// be prepared or scored.
    pub fn assemble(
        &self,
        model: Model,
        normals: &[Subject],
        provenance: Provenance,
        observer: &mut dyn Observer,
    ) -> Result<Localizer, WorkflowError> {
        let preprocessing = fit_preprocessing(&self.preprocessing, normals)?;
        let made = Localizer::new(model, preprocessing, provenance)?;
        let made = made.with_settings(self.settings.clone()).with_postprocessing(self.postprocessing.clone());
        let made = made.with_channel_names(model_channels(normals))?;
        if normals.is_empty() {
            return Ok(made);
        }
        let is_calibrated =
            |name: &PredictorName| self.calibrated == CalibratedPredictors::All || !name.is_iterative();
        let names: Vec<PredictorName> = made.predictors().into_iter().filter(is_calibrated).collect();
        observer.begin(&Step::Calibrating, normals.len());
        let made = calibrate(made, normals, &names, |done| observer.advance(done))?;
        observer.end();
        Ok(made)
    }
}
