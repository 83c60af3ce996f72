//! Records of finished cases: what their results depend on, and which files they consist of.

use std::io;
use std::path::PathBuf;

use lesio_io::dataset::Case;

use super::case::LocalizedCase;
use super::config::LocalizeConfig;
use super::files::CaseFiles;
use super::work::Work;
use crate::case_record::{finished, key_of};

impl Work<'_> {
    /// A key of everything that the results of a case depend on: the version of this crate, the model, the options,
    /// and the bytes of its images.
    pub(super) fn key(&self, case: &Case) -> io::Result<String> {
        let what = format!("{}; {:08x}; {:?}", self.fingerprint, self.options(), self.config.folder);
        key_of(&what, case.images().iter().map(PathBuf::as_path))
    }

    /// The results of a case that an earlier run finished with the same key, if all their files exist and none is empty.
    pub(super) fn finished(&self, files: &CaseFiles, key: &str) -> Option<LocalizedCase> {
        let case: Option<LocalizedCase> = finished(&files.record(), key);
        let holds = |file: &PathBuf| file.metadata().is_ok_and(|found| found.is_file() && found.len() > 0);
        case.filter(|case| case.files().all(holds))
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
    /// All files that were written for the case.
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let of_predictors = self.predictors.iter().flat_map(|own| {
            let optional = [&own.map, &own.raw, &own.labels, &own.thumbnail];
            optional.into_iter().flatten().chain(&own.channels).chain([&own.overlay])
        });
        of_predictors.chain(&self.page)
    }
}
