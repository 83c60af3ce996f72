//! What is mapped, and where the results go.

use std::path::PathBuf;

use lesio_anomaly::{Localizer, PredictorName};
use lesio_io::ReadOptions;
use lesio_io::atomic::Existing;
use lesio_settings::{require, setters};
use serde::{Deserialize, Serialize};

use crate::findings::DetectionRule;
use crate::names::check_unique;
use crate::predictor_choice::predictor_choice;
use crate::shard::Shard;
use crate::workflow_error::WorkflowError;

/// Where the results of each case go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaseFolders {
    /// A folder for each case, called as the case without the ending of its file.
    #[default]
    PerCase,
    /// All into one folder: for a data set of one case.
    One,
}

/// How the results of a data set are arranged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputLayout {
    /// As [`CaseFolders`] says.
    #[default]
    Folders,
    /// A derivative of BIDS, of cases that are called as in BIDS: `sub-01/anat/sub-01_desc-pixelL1_anomalymap.nii.gz`, and
    /// lesions by number in `..._dseg.nii.gz` with their table. `.bidsignore` names what BIDS does not know. It may lie in
    /// the folder `derivatives` of the data set.
    Bids,
}

/// Which raw maps are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelMaps {
    /// That of all channels together.
    #[default]
    Together,
    /// Also that of each channel by itself.
    AlsoSingle,
}

/// Which maps of each predictor are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WrittenMaps {
    /// None: pictures and tables alone.
    None,
    /// The post-processed one, and the lesions by number of volumes.
    Filtered,
    /// Also the raw one.
    #[default]
    All,
}

/// Which pages are written for a browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportPages {
    /// None.
    #[default]
    None,
    /// A page that lists all cases (`report.html`), for which each case has a small picture for each predictor.
    Table,
    /// Also a page for each case (`case.html`), with its slices and maps.
    Full,
}

/// What becomes of cases that an earlier run with the same model, options and images finished in the same folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinishedCases {
    /// They are mapped again.
    #[default]
    Redo,
    /// Their results are taken up. Every case leaves a record, `case.json`, when all its results are written.
    Keep,
}

/// What is mapped, and where the results go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalizeConfig {
    /// The folder for the results.
    pub folder: PathBuf,
    /// A folder for each case, or one. Default: for each.
    pub folders: CaseFolders,
    /// How results are arranged. Default: in folders.
    pub layout: OutputLayout,
    /// What becomes of files of earlier runs. Default: they are refused.
    pub existing: Existing,
    /// Predictors; by default, which is none, the one that validation data chose for the model, and
    /// that of [`predictor_choice`] where none held a lesion.
    pub predictors: Vec<PredictorName>,
    /// From which score on a voxel counts as abnormal. Default: what one normal pixel in a thousand reaches.
    pub rule: DetectionRule,
    /// The chance of a false alarm on a normal case, above which a verdict is not `abnormal`: above 0, at most 1. Default .05.
    pub level: f64,
    /// Slices of a volume in its overlay picture, at least 1. Default 6.
    pub slices: usize,
    /// Which raw maps are written. Default: that of all channels together.
    pub channel_maps: ChannelMaps,
    /// Which maps are written. Default: all.
    pub maps: WrittenMaps,
    /// Which pages are written; that of all cases is left to [`LocalizationReport::write_page`](crate::LocalizationReport::write_page).
    /// Default: none.
    pub pages: ReportPages,
    /// What becomes of cases that an earlier run finished. Default: they are mapped again.
    pub finished: FinishedCases,
    /// The shard of the cases to map. Default: all cases.
    pub shard: Option<Shard>,
    /// Cases that are mapped at once, at least 1. Reading, filters and writing of one then run beside the network of another;
    /// each may take an equal share of the memory that `reading` allows. Results do not depend on it. Default 1.
    pub workers: usize,
    /// How images are read.
    pub reading: ReadOptions,
}

impl LocalizeConfig {
    /// Results go into this folder; the rest as the fields state.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            folders: CaseFolders::PerCase,
            layout: OutputLayout::Folders,
            existing: Existing::Refuse,
            predictors: Vec::new(),
            rule: DetectionRule::PixelRate(0.001),
            level: 0.05,
            slices: 6,
            channel_maps: ChannelMaps::Together,
            maps: WrittenMaps::All,
            pages: ReportPages::None,
            finished: FinishedCases::Redo,
            shard: None,
            workers: 1,
            reading: ReadOptions::new(),
        }
    }

    /// Sets [`LocalizeConfig::predictors`].
    #[must_use]
    pub fn predictors(mut self, predictors: impl IntoIterator<Item = PredictorName>) -> Self {
        self.predictors = predictors.into_iter().collect();
        self
    }

    /// Checks everything that needs no image: that no predictor is named twice, and that the rule gives each a threshold
    /// where the model is calibrated.
    ///
    /// # Errors
    /// [`StudyError::Repeated`](crate::StudyError::Repeated), a rate out of range, [`WorkflowError::TooFewNormals`].
    pub fn validate(&self, localizer: &Localizer) -> Result<(), WorkflowError> {
        require(self.level > 0.0 && self.level <= 1.0, "level", self.level, "a number above 0, at most 1")?;
        require(self.workers >= 1, "workers", self.workers, "1 or more")?;
        let (predictors, _) = self.chosen(localizer);
        check_unique("predictor to map by", predictors.iter().map(|name| name.as_str()))?;
        predictors.iter().try_for_each(|&name| threshold(localizer, self.rule, name).map(|_| ()))
    }

    /// The predictors to map by, and why in words where the model's own choice decides.
    pub(super) fn chosen(&self, localizer: &Localizer) -> (Vec<PredictorName>, Option<String>) {
        if self.predictors.is_empty() {
            let (predictor, text) = predictor_choice(localizer);
            return (vec![predictor], Some(text));
        }
        (self.predictors.clone(), None)
    }
}

setters!(LocalizeConfig {
    folders: CaseFolders,
    layout: OutputLayout,
    existing: Existing,
    rule: DetectionRule,
    level: f64,
    slices: usize,
    channel_maps: ChannelMaps,
    maps: WrittenMaps,
    pages: ReportPages,
    finished: FinishedCases,
    shard: Option<Shard>,
    workers: usize,
    reading: ReadOptions,
});

/// The threshold of a predictor; `None` where the model was saved without normal scores of it.
pub(super) fn threshold(
    localizer: &Localizer,
    rule: DetectionRule,
    name: PredictorName,
) -> Result<Option<f32>, WorkflowError> {
    let Some(normal) = localizer.calibration().get(name) else { return Ok(None) };
    match (rule.threshold(normal)?, rule) {
        (None, DetectionRule::FamilyWise(level)) => {
            let (needed, subjects) = ((1.0 / level - 1.0).ceil(), normal.subjects());
            Err(WorkflowError::TooFewNormals { level, needed, subjects })
        }
        (threshold, _) => Ok(threshold),
    }
}
