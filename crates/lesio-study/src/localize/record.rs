//! Records of finished cases: what their results depend on, and which files they consist of.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use lesio_io::ReadOptions;
use lesio_io::atomic::Existing;
use lesio_io::dataset::Case;
use serde::{Deserialize, Serialize};

use super::case::LocalizedCase;
use super::config::{LocalizeConfig, OutputLayout};
use super::derivative;
use super::files::CaseFiles;
use super::work::Work;
use crate::case_record::{earlier, finished, forget, key_of, record};
use crate::checksum::file_checksum;
use crate::workflow_error::WorkflowError;

/// The record of a finished case.
#[derive(Serialize, Deserialize)]
pub(super) struct Finished {
    case: LocalizedCase,
    /// Size and CRC-32 of each of its files, in the order of [`LocalizedCase::files`].
    files: Vec<(u64, u32)>,
}

/// The images of results.
pub(super) fn images(results: Finished) -> Vec<PathBuf> {
    results.case.input
}

impl Work<'_> {
    /// A key of everything that the results of a case depend on: the version of this crate, the model, the options, the
    /// bytes of its images, the names of its channels, by which a model orders them, its own name, which stands on its
    /// page, and the folder of its results within that of all results, since the page links to that of all cases. The
    /// folder of all results does not count: it may have several names, and may be moved.
    pub(super) fn key(&self, case: &Case, files: &CaseFiles) -> io::Result<String> {
        let (options, within, id) = (self.options(), self.within(files), case.id());
        let channels = case.channel_names(&ReadOptions::new());
        let what = format!("{}; {options:08x}; {within:?}; {id:?}; {channels:?}", self.fingerprint);
        key_of(&what, case.images().iter().map(PathBuf::as_path))
    }

    /// The results of a case that an earlier run finished with the same key, if all their files are as it wrote them: a full
    /// disk, a crash of the system or a copy that was interrupted can leave some of them cut short.
    pub(super) fn finished(&self, files: &CaseFiles, key: &str) -> Option<LocalizedCase> {
        let Finished { case, files: checksums } = finished(&files.record(), key)?;
        let case = case.in_folder(files.folder());
        // An earlier version may have called its files otherwise.
        let are_called_so = case.predictors.iter().all(|own| own.overlay == files.overlay(own.name));
        (are_called_so && case.checksums().is_ok_and(|found| found == checksums)).then_some(case)
    }

    /// Removes the files of an earlier run that are to be replaced, and first its record: this run may write fewer, and those
    /// that stayed would contradict its results. They are those that the record lists, and those of this run's predictors,
    /// since a run that was killed leaves no record.
    pub(super) fn remove_earlier(&self, files: &CaseFiles, channels: &[String]) -> Result<(), WorkflowError> {
        let listed = earlier::<Finished>(&files.record()).map(|found| found.case.in_folder(files.folder()));
        forget(&files.record())?;
        if self.config.existing != Existing::Replace {
            return Ok(());
        }
        let listed = listed.iter().flat_map(LocalizedCase::files).cloned();
        let own = self.predictors.iter().flat_map(|&name| files.all(name, channels));
        let all: BTreeSet<PathBuf> = listed.chain(own).chain([files.page()]).collect();
        for file in &all {
            forget(file)?;
            if self.config.layout == OutputLayout::Bids {
                for ending in ["json", "tsv"] {
                    forget(&derivative::beside(file, ending))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the record of a case whose files are all written.
    pub(super) fn record(
        &self,
        files: &CaseFiles,
        key: String,
        case: LocalizedCase,
    ) -> Result<LocalizedCase, WorkflowError> {
        // A file that cannot be read again is not worth an error after all the work: the case is then not finished.
        if let Ok(checksums) = case.checksums() {
            let finished = Finished { case, files: checksums };
            record(&files.record(), key, &finished)?;
            return Ok(finished.case);
        }
        Ok(case)
    }

    /// A checksum of all options that change the results. The memory limit does not, so a run can be continued with
    /// more memory.
    pub(super) fn options(&self) -> u32 {
        let LocalizeConfig { rule, level, slices, channel_maps, maps, layout, pages, .. } = self.config;
        let names: Vec<&str> = self.predictors.iter().map(|name| name.as_str()).collect();
        let reading = self.reading.clone().max_bytes(0);
        let outputs = format!("{maps:?} {layout:?} {pages:?}");
        let text = format!("{names:?} {rule:?} {level} {slices} {channel_maps:?} {outputs} {reading:?}");
        crc32fast::hash(text.as_bytes())
    }
}

impl LocalizedCase {
    /// The case with all its files in this folder, which may have another name than in the run that wrote them.
    fn in_folder(mut self, folder: &Path) -> Self {
        let move_file = |file: &mut PathBuf| {
            if let Some(name) = file.file_name() {
                *file = folder.join(name);
            }
        };
        for own in &mut self.predictors {
            let optional = [&mut own.map, &mut own.raw, &mut own.labels, &mut own.thumbnail];
            let files = optional.into_iter().flatten().chain(&mut own.channels).chain([&mut own.overlay]);
            files.for_each(move_file);
        }
        self.page.iter_mut().for_each(move_file);
        self
    }

    fn checksums(&self) -> io::Result<Vec<(u64, u32)>> {
        self.files().map(|file| file_checksum(file)).collect()
    }

    /// All files that were written for the case.
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let of_predictors = self.predictors.iter().flat_map(|own| {
            let optional = [&own.map, &own.raw, &own.labels, &own.thumbnail];
            optional.into_iter().flatten().chain(&own.channels).chain([&own.overlay])
        });
        of_predictors.chain(&self.page)
    }
}
