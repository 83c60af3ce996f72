//! What a finished case leaves behind, so that a run that is started again need not map it again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lesio_io::atomic::{self, Existing};
use lesio_io::dataset::Case;
use serde::{Deserialize, Serialize};

use super::config::LocalizeConfig;
use super::report::LocalizedCase;
use super::work::Work;
use crate::workflow_error::WorkflowError;

/// The name of a record, in the folder of its case.
const RECORD: &str = "case.json";

#[derive(Serialize, Deserialize)]
struct Record {
    schema: u32,
    /// What the results come from.
    key: String,
    case: LocalizedCase,
}

const SCHEMA: u32 = 1;

impl Work<'_> {
    /// What the results of a case depend on: the version of this crate, the model, the options, and the bytes of its images.
    pub(super) fn key(&self, case: &Case) -> io::Result<String> {
        let version = env!("CARGO_PKG_VERSION");
        let folder = &self.config.folder;
        let mut key = format!("{version}; {}; {:08x}; {folder:?}", self.fingerprint, self.options());
        for image in case.images() {
            let (bytes, checksum) = checksum(image)?;
            key += &format!("; {bytes} bytes {checksum:08x}");
        }
        Ok(key)
    }

    /// The results of a case that an earlier run finished with the same key, whose files are all there.
    pub(super) fn finished(&self, folder: &Path, key: &str) -> Option<LocalizedCase> {
        let record: Record = serde_json::from_slice(&std::fs::read(folder.join(RECORD)).ok()?).ok()?;
        let is_whole = record.schema == SCHEMA && record.key == key;
        (is_whole && record.case.files().all(|file| file.is_file())).then_some(record.case)
    }

    /// Leaves the record of a case, after all its results; it replaces that of earlier ones.
    pub(super) fn record(
        &self,
        folder: &Path,
        key: String,
        case: &LocalizedCase,
    ) -> Result<(), WorkflowError> {
        let record = Record { schema: SCHEMA, key, case: case.clone() };
        let text = serde_json::to_string_pretty(&record)?;
        let path = folder.join(RECORD);
        Ok(atomic::write(&path, Existing::Replace, |out| out.write_all(text.as_bytes()))?)
    }

    /// Removes the record of an earlier run: from here on its files are replaced, and it would vouch for a mixture.
    pub(super) fn forget(&self, folder: &Path) -> Result<(), WorkflowError> {
        let path = folder.join(RECORD);
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(WorkflowError::Forget { path, cause })
            }
            _ => Ok(()),
        }
    }

    /// A checksum of every option that changes what is written. How much memory may be taken does not: a run goes on with more.
    pub(super) fn options(&self) -> u32 {
        let LocalizeConfig { rule, level, slices, channel_maps, maps, .. } = self.config;
        let names: Vec<&str> = self.predictors.iter().map(|name| name.as_str()).collect();
        let reading = self.reading.clone().max_bytes(0);
        let text = format!("{names:?} {rule:?} {level} {slices} {channel_maps:?} {maps:?} {reading:?}");
        crc32fast::hash(text.as_bytes())
    }
}

impl LocalizedCase {
    /// All files that were written for it.
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.predictors.iter().flat_map(|own| {
            let optional = [&own.map, &own.raw, &own.labels];
            optional.into_iter().flatten().chain(&own.channels).chain([&own.overlay])
        })
    }
}

/// Size and checksum of a file, read piece by piece.
fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut hasher = Checksum { bytes: 0, hasher: crc32fast::Hasher::new() };
    io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok((hasher.bytes, hasher.hasher.finalize()))
}

struct Checksum {
    bytes: u64,
    hasher: crc32fast::Hasher,
}

impl Write for Checksum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
