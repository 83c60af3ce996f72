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
    /// Of each model the predictor of the highest average precision. Validation cases without a lesion are an error.
    Best,
}

/// What is evaluated, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EvaluateConfig {
    /// Predictors, by default all that a model can serve. `intensity` is always among them.
    pub predictors: Option<Vec<PredictorName>>,
    /// Predictors to combine, those of all models together. Default: none.
    pub ensemble: Vec<PredictorName>,
    /// Groups of lesions to be measured by themselves; masks hold the lesions' numbers. Default: the kinds of defect that
    /// the data set tells ([`LesionGroups::by_kind`]), if any.
    pub groups: Option<LesionGroups>,
    /// Whether the best predictor of each model is chosen. Default: not.
    pub model_choices: ModelChoices,
    /// The resampling of patients.
    pub bootstrap: BootstrapConfig,
    /// Most cases whose slices are shown in the report: of each kind of defect, or of all cases where there are no kinds,
    /// the best, the median and the worst by the map that is chosen or leads. Default 18.
    pub pictures: usize,
    /// What becomes of a test case that cannot be read, or whose truth is of another place than its image. Default: it is
    /// left out and listed. Validation cases, which choose, must all be sound.
    pub bad_cases: BadCases,
    /// How cases are read.
    pub reading: ReadOptions,
    /// A folder for scores that do not fit into memory, where nothing is left behind. Default: where the system has
    /// temporary files.
    pub scratch: Option<PathBuf>,
    /// A folder for what is measured of each case, so that an interrupted evaluation goes on, and shares of the cases
    /// can be joined. Default: where the system has temporary files, and removed at the end.
    pub records: Option<PathBuf>,
    /// What becomes of cases that an earlier run measured with the same models and options and left in
    /// [`EvaluateConfig::records`]. Default: they are measured again.
    pub finished: FinishedCases,
    /// The share of the test cases to measure. Default: all.
    pub shard: Option<Shard>,
    /// Test cases that are measured at once, at least 1. Default 1: a network uses all cores alone, but reading a case,
    /// filtering its maps and measuring them do not.
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

    /// Checks the settings that no model is needed for.
    ///
    /// # Errors
    /// No worker, and as [`BootstrapConfig::validate`].
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
