//! What is evaluated, and how.

use std::path::PathBuf;

use lesio_anomaly::PredictorName;
use lesio_io::ReadOptions;
use lesio_metrics::BootstrapConfig;
use lesio_settings::{SettingError, require, setters};

use crate::lesion_groups::LesionGroups;
use crate::localize::FinishedCases;
use crate::reading::BadCases;
use crate::shard::Shard;

/// Whether the best predictor of each model is chosen on the validation cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelChoices {
    /// Nothing is chosen for single models.
    #[default]
    None,
    /// Of each model the predictor of the highest average precision, among those that it was calibrated for before the
    /// evaluation: of others, its file has no thresholds. Of a model without any calibration, all are considered.
    /// Validation cases without a lesion are an error, and so is a model that is calibrated for other predictors than
    /// those that are measured.
    Best,
}

/// What is evaluated, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EvaluateConfig {
    /// The predictors, each of which at least one model must offer. Default: all that a model supports. `intensity` is
    /// always included.
    pub predictors: Option<Vec<PredictorName>>,
    /// Predictors to combine, those of all models together. Default: none.
    pub ensemble: Vec<PredictorName>,
    /// Groups of lesions to measure separately; masks then hold the numbers of the lesions. Default: the kinds of defect
    /// that the data set states ([`LesionGroups::by_kind`]), if any.
    pub groups: Option<LesionGroups>,
    /// Whether to choose the best predictor of each model. Default: no.
    pub model_choices: ModelChoices,
    /// The resampling of patients.
    pub bootstrap: BootstrapConfig,
    /// The largest number of cases that the report shows: for each kind of defect, or for all cases if there are no kinds,
    /// the best, the median and the worst case by the chosen or leading map. Default 18.
    pub pictures: usize,
    /// What to do with a test or validation case that cannot be read or scored, or whose truth has another position in
    /// space than its image. Default: leave it out and list it.
    pub bad_cases: BadCases,
    /// How to read the files of cases.
    pub reading: ReadOptions,
    /// A folder for scores that do not fit into memory. Nothing remains there. Default: the system's temporary folder.
    pub scratch: Option<PathBuf>,
    /// A folder for the measurements of each case. With it, an interrupted evaluation can be resumed, and shards can be
    /// merged. Default: a temporary folder of the system, removed at the end.
    pub records: Option<PathBuf>,
    /// What to do with cases that an earlier run with the same models and options has measured into
    /// [`EvaluateConfig::records`]. Default: measure them again.
    pub finished: FinishedCases,
    /// The shard of the test cases to measure. Default: all cases.
    pub shard: Option<Shard>,
    /// The number of test cases to measure at once, at least 1; each may use an equal part of the memory that `reading`
    /// allows. Results do not depend on it. Default 1, because one pass of a network already uses all cores.
    pub workers: usize,
}

impl EvaluateConfig {
    /// All predictors, with this resampling; the rest as the fields state.
    #[must_use]
    pub fn new(bootstrap: BootstrapConfig) -> Self {
        Self {
            predictors: None,
            ensemble: Vec::new(),
            groups: None,
            model_choices: ModelChoices::None,
            bootstrap,
            pictures: 18,
            bad_cases: BadCases::LeaveOut,
            reading: ReadOptions::new(),
            scratch: None,
            records: None,
            finished: FinishedCases::Redo,
            shard: None,
            workers: 1,
        }
    }

    /// Sets [`EvaluateConfig::ensemble`].
    #[must_use]
    pub fn ensemble(mut self, members: impl IntoIterator<Item = PredictorName>) -> Self {
        self.ensemble = members.into_iter().collect();
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// If there is no worker, and the errors of [`BootstrapConfig::validate`].
    pub fn validate(&self) -> Result<(), SettingError> {
        require(self.workers > 0, "workers", self.workers, "at least 1")?;
        self.bootstrap.validate()
    }

    /// Sets [`EvaluateConfig::records`].
    #[must_use]
    pub fn records(mut self, folder: impl Into<PathBuf>) -> Self {
        self.records = Some(folder.into());
        self
    }

    /// Sets [`EvaluateConfig::scratch`].
    #[must_use]
    pub fn scratch(mut self, folder: impl Into<PathBuf>) -> Self {
        self.scratch = Some(folder.into());
        self
    }
}

setters!(EvaluateConfig {
    predictors: Option<Vec<PredictorName>>,
    groups: Option<LesionGroups>,
    model_choices: ModelChoices,
    pictures: usize,
    bad_cases: BadCases,
    reading: ReadOptions,
    finished: FinishedCases,
    shard: Option<Shard>,
    workers: usize,
});
