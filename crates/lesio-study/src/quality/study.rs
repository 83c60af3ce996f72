//! The study of quality: every method on patients never seen, clean, under attack and under natural changes.

use std::path::Path;

use lesio_nn::Device;
use lesio_quality::{Method, PipelineConfig, PipelineProgress, QualityPipeline, StepCache};
use serde_json::json;

use crate::quality::config::QualityStudyConfig;
use crate::quality::data::{QualityData, patients};
use crate::quality::error::QualityStudyError;
use crate::quality::measure::QualityStudy;
use crate::quality::progress::{QualityObserver, QualityProgress};
use crate::quality::tables::SHOWN;

/// The methods in the order of a report.
const REPORTED: [Method; 4] = [Method::RecReg, Method::Direct, Method::SecondOpinion, Method::ShapeOnly];
impl QualityStudyConfig {
    /// Trains a model of every method on training and held-out patients, and measures it on test patients.
    ///
    /// What is finished is kept in a folder, which must exist: the same call continues an interrupted one.
    ///
    /// # Errors
    /// A setting out of range, data without test patients, a training or a measurement that fails, and a stop by the
    /// observer.
    pub fn run(
        &self,
        data: &QualityData,
        pipeline: PipelineConfig,
        folder: &Path,
        device: &Device,
        observer: &mut QualityObserver<'_>,
    ) -> Result<QualityStudy, QualityStudyError> {
        self.validate()?;
        // Data that were read for a training have none; this is said before hours of training.
        if data.test.is_empty() {
            return Err(QualityStudyError::Data { what: "there are no test cases with labels".to_owned() });
        }
        let mut training = |progress: &PipelineProgress<'_>| observer(&QualityProgress::Pipeline(progress));
        let (cache, estimators) = (StepCache::new(folder), data.estimators.clone());
        let (own, held_out) = (&data.training, &data.held_out);
        let pipeline =
            QualityPipeline::prepare(pipeline, estimators, own, held_out, cache, device, &mut training)?;
        let samples = pipeline.pool(&data.test, self.per_bin, &mut training)?;
        // The slowest first: what it needs is known the earlier.
        let order = SHOWN.into_iter().rev();
        let models = order.map(|method| Ok((method, pipeline.model(method, &mut training)?)));
        let mut models = models.collect::<Result<Vec<_>, QualityStudyError>>()?;
        models.sort_by_key(|(method, _)| REPORTED.iter().position(|own| own == method));
        let counts = json!({
            "training": patients(&data.training),
            "held_out": patients(&data.held_out),
            "test": patients(&data.test),
        });
        let mut study = QualityStudy::new(self.clone(), samples, models, folder);
        study.measure_all(observer)?;
        study.record(counts)?;
        study.certify(observer)?;
        Ok(study)
    }
}
