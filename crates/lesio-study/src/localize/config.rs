//! Configuration of a localization: the maps to compute, and the places for the results.

use std::path::PathBuf;

use lesio_anomaly::{Localizer, PredictorName};
use lesio_io::ReadOptions;
use lesio_io::atomic::Existing;
use lesio_settings::{named, require, setters};
use serde::{Deserialize, Serialize};

use crate::findings::DetectionRule;
use crate::names::check_unique;
use crate::predictor_choice::predictor_choice;
use crate::shard::Shard;
use crate::workflow_error::WorkflowError;

/// The folder for the results of each case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaseFolders {
    /// One folder for each case, named after the case without the ending of its file.
    #[default]
    PerCase,
    /// One folder for all results, for a data set with a single case.
    One,
}

/// The layout of the results of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputLayout {
    /// Plain folders, as chosen by [`CaseFolders`].
    #[default]
    Folders,
    /// A BIDS derivative, for cases with BIDS names: maps in `sub-01/anat/sub-01_desc-pixelL1_anomalymap.nii.gz`, and
    /// the numbers of lesions in `..._dseg.nii.gz` with their table. `.bidsignore` lists the files that BIDS does not
    /// define. The derivative may be in the folder `derivatives` of the data set.
    Bids,
}

named!(OutputLayout, "layout of results", { "folders" => Self::Folders, "bids" => Self::Bids });

/// The raw maps that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelMaps {
    /// The map of all channels together.
    #[default]
    Together,
    /// Also the map of each single channel.
    AlsoSingle,
}

/// The maps that are written for each predictor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WrittenMaps {
    /// No maps, only pictures and tables.
    None,
    /// The post-processed map, and for volumes the map of lesion numbers.
    Filtered,
    /// Also the raw map.
    #[default]
    All,
}

named!(WrittenMaps, "choice of maps", {
    "none" => Self::None,
    "filtered" => Self::Filtered,
    "all" => Self::All,
});

/// The HTML pages that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportPages {
    /// No page is written.
    #[default]
    None,
    /// A page that lists all cases (`report.html`), with a thumbnail for each case and predictor.
    Table,
    /// Also a page for each case (`case.html`), with its slices and maps.
    Full,
}

named!(ReportPages, "choice of pages", {
    "none" => Self::None,
    "table" => Self::Table,
    "full" => Self::Full,
});

/// Treatment of cases that an earlier run with the same model, options and images finished in the same folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinishedCases {
    /// The cases are mapped again.
    #[default]
    Redo,
    /// The earlier results are kept. Each case gets a record, `case.json`, after all its results are written.
    Keep,
}

/// Configuration of a localization: the maps to compute, and the places for the results.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalizeConfig {
    /// The folder for the results.
    pub folder: PathBuf,
    /// One folder for each case, or one for all. Default: one for each case.
    pub folders: CaseFolders,
    /// The layout of the results. Default: plain folders.
    pub layout: OutputLayout,
    /// Treatment of files of earlier runs. Default: an existing file is an error.
    pub existing: Existing,
    /// Predictors. If empty, which is the default, [`predictor_choice`] decides: the predictor selected on validation
    /// data, or a fallback if these data contained no lesion.
    pub predictors: Vec<PredictorName>,
    /// The score from which a voxel is abnormal. Default: the score that one normal pixel in a thousand reaches.
    pub rule: DetectionRule,
    /// The probability of a false alarm on a normal case above which a verdict is not `abnormal`, above 0, at most 1.
    /// The default is .05.
    pub level: f64,
    /// Number of slices of a volume in its overlay picture, at least 1. Default 6.
    pub slices: usize,
    /// The raw maps that are written. Default: the map of all channels together.
    pub channel_maps: ChannelMaps,
    /// The maps that are written. Default: all.
    pub maps: WrittenMaps,
    /// The HTML pages that are written. [`LocalizationReport::write_page`](crate::LocalizationReport::write_page)
    /// writes the page of all cases. Default: none.
    pub pages: ReportPages,
    /// Treatment of cases that an earlier run finished. Default: they are mapped again.
    pub finished: FinishedCases,
    /// The shard of the cases to map. Default: all cases.
    pub shard: Option<Shard>,
    /// Number of cases that are mapped at once, at least 1. The reading, filtering and writing of one case then
    /// overlap with the network of another. Each case may use an equal share of the memory that `reading` allows.
    /// Results do not depend on the number. Default 1.
    pub workers: usize,
    /// Options for reading images.
    pub reading: ReadOptions,
}

impl LocalizeConfig {
    /// A configuration with this folder for the results, and the defaults of the other fields.
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

    /// Checks everything that needs no image: that each predictor is named once, that the rule has a threshold for each
    /// if the model is calibrated, and that each has maps by channel if these are requested.
    ///
    /// # Errors
    /// [`StudyError::Repeated`](crate::StudyError::Repeated); an error for a rate out of range;
    /// [`WorkflowError::TooFewNormals`]; [`WorkflowError::NoChannelMaps`].
    pub fn validate(&self, localizer: &Localizer) -> Result<(), WorkflowError> {
        require(self.level > 0.0 && self.level <= 1.0, "level", self.level, "a number above 0, at most 1")?;
        require(self.workers >= 1, "workers", self.workers, "1 or more")?;
        let (predictors, _) = self.chosen(localizer);
        check_unique("predictor to map by", predictors.iter().map(|name| name.as_str()))?;
        if self.channel_maps != ChannelMaps::Together && self.maps == WrittenMaps::All {
            for &predictor in &predictors {
                if !localizer.has_channel_maps(predictor)? {
                    return Err(WorkflowError::NoChannelMaps { predictor });
                }
            }
        }
        predictors.iter().try_for_each(|&name| threshold(localizer, self.rule, name).map(|_| ()))
    }

    /// The predictors to map by. If the model's own choice decides, also the reason in words.
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

/// The threshold of a predictor; `None` if the model was saved without normal scores of the predictor.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// On a command line and in a report.
    #[test]
    fn a_choice_has_one_name() {
        let written = |choice: serde_json::Result<serde_json::Value>| choice.unwrap();
        for layout in OutputLayout::ALL {
            assert_eq!(layout.name().parse(), Ok(layout));
            assert_eq!(written(serde_json::to_value(layout)), layout.name());
        }
        for pages in ReportPages::ALL {
            assert_eq!(pages.name().parse(), Ok(pages));
            assert_eq!(written(serde_json::to_value(pages)), pages.name());
        }
        for maps in WrittenMaps::ALL {
            assert_eq!(maps.name().parse(), Ok(maps));
        }
        let error = "some".parse::<WrittenMaps>().unwrap_err();
        assert_eq!(error.to_string(), "unknown choice of maps \"some\", expected one of none, filtered, all");
    }
}
