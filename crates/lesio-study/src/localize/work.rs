//! State that all images of a data set share.

use std::path::{Path, PathBuf};

use lesio_anomaly::{CalibrationDoubt, Localizer, PredictorName, Resolution};
use lesio_image::{Scan, Volume};
use lesio_io::ReadOptions;
use lesio_io::atomic::Existing;
use lesio_io::dataset::Case;
use lesio_report::CasePage;

use super::case::MappedPredictor;
use super::config::{ChannelMaps, LocalizeConfig, WrittenMaps, threshold};
use super::files::CaseFiles;
use crate::findings::Findings;
use crate::subject::Subject;
use crate::verdict::{CaseVerdict, highest};
use crate::workflow_error::WorkflowError;

/// Results for an image: predictors, resolution, a doubt about the calibration at this resolution, and page.
pub(super) type Mapped = (Vec<MappedPredictor>, Resolution, Option<CalibrationDoubt>, Option<CasePage>);

/// State that all images share.
pub(super) struct Work<'a> {
    pub(super) localizer: &'a Localizer,
    pub(super) config: &'a LocalizeConfig,
    pub(super) predictors: &'a [PredictorName],
    /// The folder of the data set.
    pub(super) root: &'a Path,
    /// Options for reading images, with the memory of one worker.
    pub(super) reading: ReadOptions,
    /// [`Localizer::fingerprint`].
    pub(super) fingerprint: String,
}

impl Work<'_> {
    /// Returns an error if a file exists and must not be replaced.
    pub(super) fn refuse_existing(&self, path: &Path) -> Result<(), WorkflowError> {
        if self.config.existing == Existing::Refuse && path.symlink_metadata().is_ok() {
            return Err(WorkflowError::Exists { path: path.to_owned() });
        }
        Ok(())
    }

    /// The folder of a case's results, within that of all results.
    pub(super) fn within<'f>(&self, files: &'f CaseFiles) -> &'f Path {
        files.folder().strip_prefix(&self.config.folder).unwrap_or(files.folder())
    }

    /// Reads a case, with its channels in the model's order.
    pub(super) fn read(&self, case: &Case) -> Result<Subject, WorkflowError> {
        let mut subject = Subject::read_with(case, &self.reading)?;
        let channels = self.localizer.channel_names();
        if channels.len() > 1 {
            subject.scan = subject.scan.with_channels(channels)?;
        }
        Ok(subject)
    }

    /// The raw maps of single channels with their files, if the configuration asks for them.
    pub(super) fn channel_maps(
        &self,
        scan: &Scan,
        predictor: PredictorName,
        files: &CaseFiles,
        ending: &str,
    ) -> Result<Vec<(PathBuf, Volume<f32>)>, WorkflowError> {
        if self.config.channel_maps == ChannelMaps::Together || self.config.maps != WrittenMaps::All {
            return Ok(Vec::new());
        }
        let maps = self.localizer.channel_maps(scan, predictor)?;
        let maps = maps.ok_or(WorkflowError::NoChannelMaps { predictor })?;
        Ok(files.channels(predictor, &channel_names(scan), ending).into_iter().zip(maps).collect())
    }

    /// The lesions in a map; `None` if the model was saved without normal scores of the predictor. With a doubt whether
    /// these hold for the image, lesions have no p-values, as the image has none.
    pub(super) fn find(
        &self,
        predictor: PredictorName,
        map: &Volume<f32>,
        foreground: &Volume<bool>,
        resolution: &Resolution,
        voxel_ml: Option<f64>,
        doubt: Option<&CalibrationDoubt>,
    ) -> Result<Option<Findings>, WorkflowError> {
        let Some(normal) = self.localizer.calibration().get(predictor) else { return Ok(None) };
        let Some(threshold) = threshold(self.localizer, self.config.rule, predictor)? else {
            return Ok(None);
        };
        let smallest = self.localizer.postprocessing().least_voxels(resolution);
        let level = self.config.rule.level();
        let found = Findings::new(map, foreground, threshold, normal, smallest, voxel_ml, level)?;
        Ok(Some(if doubt.is_some() { found.without_p_values() } else { found }))
    }

    /// The verdict on an image, from its post-processed map.
    pub(super) fn judge(
        &self,
        predictor: PredictorName,
        map: &Volume<f32>,
        foreground: &Volume<bool>,
        doubt: Option<&CalibrationDoubt>,
    ) -> Result<CaseVerdict, WorkflowError> {
        let normal = self.localizer.calibration().get(predictor);
        Ok(CaseVerdict::of(highest(map, foreground), normal, self.config.level, doubt)?)
    }

    pub(super) fn describe(
        &self,
        predictor: PredictorName,
        files: &CaseFiles,
        ending: &str,
        found: Option<&Findings>,
        verdict: CaseVerdict,
    ) -> MappedPredictor {
        let normal = self.localizer.calibration().get(predictor);
        let maps = self.config.maps;
        MappedPredictor {
            name: predictor,
            verdict,
            map: (maps != WrittenMaps::None).then(|| files.map(predictor, ending)),
            raw: (maps == WrittenMaps::All).then(|| files.raw(predictor, ending)),
            channels: Vec::new(),
            channel_names: Vec::new(),
            overlay: files.overlay(predictor),
            thumbnail: None,
            labels: None,
            threshold: normal.and_then(|normal| self.config.rule.threshold(normal).ok().flatten()),
            normal_subjects: normal.map(|normal| normal.subjects()),
            smallest_p_value: normal.map(|normal| normal.smallest_p_value()),
            p_value_level: self.config.rule.level(),
            lesions: found.map(|found| found.lesions.clone()),
        }
    }
}

/// The names of a scan's channels, or their numbers from 0.
pub(super) fn channel_names(scan: &Scan) -> Vec<String> {
    let name = |channel: usize| scan.names().get(channel).cloned().unwrap_or_else(|| channel.to_string());
    (0..scan.channels()).map(name).collect()
}
