//! From a model that was trained elsewhere to a localizer that is calibrated on one's own normals.

use lesio_anomaly::{Localizer, Model, PostProcessing, PredictorName, PredictorSettings, Provenance};
use lesio_image::Preprocessing;
use lesio_settings::setters;

use crate::calibrating::calibrate;
use crate::channel_name::model_channels;
use crate::normal_slices::fit_preprocessing;
use crate::observer::{Notice, Observer, Step};
use crate::subject::Subject;
use crate::train_localizer::{CalibratedPredictors, check_scoring};
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

    /// The localizer of a model. Its preprocessing is fitted on normal subjects, and they calibrate it; without any it
    /// has no thresholds and no p-values ([`Notice::NotCalibrated`]), until it is calibrated
    /// ([`recalibrate`](crate::recalibrate)).
    ///
    /// # Errors
    /// Settings out of range; a preprocessing that does not fit the model, or that must be fitted and has nothing to be
    /// fitted on; subjects that cannot be prepared or scored.
    pub fn assemble(
        &self,
        model: Model,
        normals: &[Subject],
        provenance: Provenance,
        observer: &mut dyn Observer,
    ) -> Result<Localizer, WorkflowError> {
        check_scoring(&self.preprocessing, &self.postprocessing, &self.settings)?;
        let preprocessing = fit_preprocessing(&self.preprocessing, normals)?;
        let made = Localizer::new(model, preprocessing, provenance)?;
        let made = made.with_settings(self.settings.clone()).with_postprocessing(self.postprocessing.clone());
        let made = made.with_channel_names(model_channels(normals))?;
        if normals.is_empty() {
            observer.notice(&Notice::NotCalibrated);
            return Ok(made);
        }
        let is_calibrated =
            |name: &PredictorName| self.calibrated == CalibratedPredictors::All || !name.is_iterative();
        let names: Vec<PredictorName> = made.predictors().into_iter().filter(is_calibrated).collect();
        observer.begin(&Step::Calibrating, normals.len());
        let made = calibrate(made, normals, &names, |done| observer.advance(done))?;
        observer.end();
        if made.calibration().is_empty() {
            observer.notice(&Notice::NotCalibrated);
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use lesio_vae::{Latent, Vae, VaeConfig};

    use super::*;
    use crate::calibrating::tests::head;
    use crate::error::StudyError;

    /// Counts the notices that a localizer is not calibrated.
    #[derive(Default)]
    struct Heard(usize);

    impl Observer for Heard {
        fn notice(&mut self, notice: &Notice<'_>) {
            self.0 += usize::from(matches!(notice, Notice::NotCalibrated));
        }
    }

    #[test]
    fn without_normals_a_localizer_has_no_thresholds_and_invalid_filters_blame_no_case() {
        let config = VaeConfig::new(1, 32, 32).widths([4, 8]).latent(Latent::Dense { dimensions: 2 });
        let model = Model::Vae(Vae::new(config, 1.0, 1, &lesio_nn::Device::Cpu).unwrap().into());
        let made = |assembly: &LocalizerAssembly, normals: &[Subject], heard: &mut Heard| {
            assembly.assemble(model.clone(), normals, Provenance::default(), heard)
        };
        let assembly = LocalizerAssembly::new(Preprocessing::new([32, 32]));
        for (normals, expected) in [(vec![], 1), (vec![head(1, None)], 0)] {
            let mut heard = Heard::default();
            let localizer = made(&assembly, &normals, &mut heard).unwrap();
            assert_eq!((heard.0, localizer.calibration().is_empty()), (expected, expected == 1));
        }
        let assembly = assembly.postprocessing(PostProcessing::default().erosion(-1.0));
        match made(&assembly, &[head(1, None)], &mut Heard::default()) {
            Err(WorkflowError::Setting(error)) => assert_eq!(error.setting, "postprocessing.erosion"),
            Err(WorkflowError::Study(StudyError::Score { case, .. })) => panic!("blames {case}"),
            found => panic!("{found:?}"),
        }
    }
}
