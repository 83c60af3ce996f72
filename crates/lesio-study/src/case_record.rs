//! Records of finished cases, so that a resumed run can skip them.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use lesio_io::atomic::{self, Existing};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::checksum::file_checksum;
use crate::folder::FolderError;
use crate::observer::{Notice, Observer};
use crate::workflow_error::WorkflowError;

/// The file name of a record in the folder of its case.
pub(crate) const RECORD: &str = "case.json";

#[derive(Serialize, Deserialize)]
struct Record<T> {
    schema: u32,
    /// The inputs of the results.
    key: String,
    case: T,
}

const SCHEMA: u32 = 1;

/// What stands between the size and the checksum of each file in a key.
const BYTES: &str = " bytes ";

/// The results of a case.
pub(crate) enum CaseResult<T> {
    /// Of an earlier run.
    Kept(T),
    /// Of this run.
    New(T),
}

impl<T> CaseResult<T> {
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }

    pub(crate) fn into_inner(self) -> T {
        let (Self::Kept(result) | Self::New(result)) = self;
        result
    }
}

/// Tells an observer how many cases of a run have results of an earlier run, if any has.
pub(crate) fn notice_kept(kept: usize, cases: usize, observer: &mut dyn Observer) {
    if kept > 0 {
        observer.notice(&Notice::CasesKept { kept, cases });
    }
}

/// A text that changes with all inputs of the results of a case: the version of this crate, `what` (models and options), and
/// the bytes of the files.
pub(crate) fn key_of<'p>(what: &str, files: impl IntoIterator<Item = &'p Path>) -> io::Result<String> {
    Ok(format!("{}; {what}{}", env!("CARGO_PKG_VERSION"), checksums_of(files)?))
}

fn checksums_of<'p>(files: impl IntoIterator<Item = &'p Path>) -> io::Result<String> {
    let mut text = String::new();
    for file in files {
        let (bytes, checksum) = file_checksum(file)?;
        text += &format!("; {bytes}{BYTES}{checksum:08x}");
    }
    Ok(text)
}

/// Reads the results of a case if an earlier run finished it with the same key.
pub(crate) fn finished<T: DeserializeOwned>(path: &Path, key: &str) -> Option<T> {
    record_at(path).filter(|record| record.key == key).map(|record| record.case)
}

/// Reads the results of a case by any earlier run.
pub(crate) fn earlier<T: DeserializeOwned>(path: &Path) -> Option<T> {
    record_at(path).map(|record| record.case)
}

fn record_at<T: DeserializeOwned>(path: &Path) -> Option<Record<T>> {
    let record: Record<T> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (record.schema == SCHEMA).then_some(record)
}

/// Returns an error if the results of an earlier run are those of files of other names and other bytes, such as another
/// contrast of the same subject: a run that continues would replace them. `paths` gives the paths of the files of the earlier
/// run, as stored with its results. They may have moved to another folder, or been renamed.
pub(crate) fn refuse_other_files<'p, T: DeserializeOwned>(
    record: &Path,
    paths: impl FnOnce(T) -> Vec<PathBuf>,
    expected: &[PathBuf],
    files: impl IntoIterator<Item = &'p Path>,
) -> Result<(), WorkflowError> {
    let Some(earlier) = record_at::<T>(record) else { return Ok(()) };
    // The same channels may come in another order.
    let names = |paths: &[PathBuf]| {
        let names = paths.iter().map(|path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy());
        let mut names: Vec<_> = names.map(|name| name.into_owned()).collect();
        names.sort();
        names
    };
    let (found, expected) = (names(&paths(earlier.case)), names(expected));
    if found == expected {
        return Ok(());
    }
    let is_same = |own: &str| {
        let count = |text: &str| text.matches(BYTES).count();
        earlier.key.ends_with(own) && count(&earlier.key) == count(own)
    };
    // What cannot be read fails later, with its reason.
    match checksums_of(files) {
        Ok(own) if !is_same(&own) => {
            let [found, expected] = [found, expected].map(|names| names.join(", "));
            Err(WorkflowError::OtherFiles { record: record.to_owned(), found, expected })
        }
        _ => Ok(()),
    }
}

/// Writes the record of a case. Call it after all results of the case are written.
pub(crate) fn record<T: Serialize>(path: &Path, key: String, case: &T) -> Result<(), WorkflowError> {
    let text = serde_json::to_string_pretty(&Record { schema: SCHEMA, key, case })?;
    Ok(atomic::write(path, Existing::Replace, |out| out.write_all(text.as_bytes()))?)
}

/// Removes the record of an earlier run. Call it before the files of the case are replaced: otherwise the record would
/// describe a mixture of old and new files.
pub(crate) fn forget(path: &Path) -> Result<(), WorkflowError> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(WorkflowError::Forget { path: path.to_owned(), cause })
        }
        _ => Ok(()),
    }
}

/// Whether the error of a case says that the disk or the user's quota is full. A run ends with it, to be resumed later:
/// no further case could be recorded.
pub(crate) fn is_full(error: &WorkflowError) -> bool {
    let full =
        |cause: &io::Error| matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    if let WorkflowError::Folder(FolderError::Io { cause, .. }) = error {
        return full(cause);
    }
    let first: &(dyn Error + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |error: &&(dyn Error + 'static)| (*error).source());
    causes.any(|cause| cause.downcast_ref().is_some_and(full))
}

#[cfg(test)]
mod tests {
    use lesio_io::ImageWriteError;
    use lesio_io::atomic::{WriteError, WriteErrorKind};

    use super::*;

    #[test]
    fn a_full_disk_is_known_in_all_that_is_written() {
        for (kind, expected) in [
            (io::ErrorKind::StorageFull, true),
            (io::ErrorKind::QuotaExceeded, true),
            (io::ErrorKind::PermissionDenied, false),
        ] {
            let file = || WriteError::new("a.png", WriteErrorKind::io("write the file", kind.into()));
            let folder =
                FolderError::Io { folder: "a".into(), operation: "cannot write", cause: kind.into() };
            let errors: [WorkflowError; 4] = [
                file().into(),
                ImageWriteError::from(file()).into(),
                FolderError::Sweep(file()).into(),
                folder.into(),
            ];
            for error in &errors {
                assert_eq!(is_full(error), expected, "{error:?}");
            }
        }
        assert!(!is_full(&WorkflowError::Changed));
    }
}
