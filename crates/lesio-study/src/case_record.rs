//! Records of finished cases, so that a resumed run can skip them.

use std::io;
use std::path::Path;

use lesio_io::atomic::{self, Existing};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::checksum::file_checksum;
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

/// A text that changes with all inputs of the results of a case: the version of this crate, `what` (models and options), and
/// the bytes of the files.
pub(crate) fn key_of<'p>(what: &str, files: impl IntoIterator<Item = &'p Path>) -> io::Result<String> {
    let mut key = format!("{}; {what}", env!("CARGO_PKG_VERSION"));
    for file in files {
        let (bytes, checksum) = file_checksum(file)?;
        key += &format!("; {bytes} bytes {checksum:08x}");
    }
    Ok(key)
}

/// Reads the results of a case if an earlier run finished it with the same key.
pub(crate) fn finished<T: DeserializeOwned>(path: &Path, key: &str) -> Option<T> {
    let record: Record<T> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (record.schema == SCHEMA && record.key == key).then_some(record.case)
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
