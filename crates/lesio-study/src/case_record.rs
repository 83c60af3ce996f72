//! What a finished case leaves behind in its folder, so that a run that is started again need not do its work again.

use std::io;
use std::path::Path;

use lesio_io::atomic::{self, Existing};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::checksum::file_checksum;
use crate::workflow_error::WorkflowError;

/// The usual name of a record, in the folder of its case.
pub(crate) const RECORD: &str = "case.json";

#[derive(Serialize, Deserialize)]
struct Record<T> {
    schema: u32,
    /// What the results come from.
    key: String,
    case: T,
}

const SCHEMA: u32 = 1;

/// What the results of a case depend on: the version of this crate, `what` they are made by, and the bytes of its files.
pub(crate) fn key_of<'p>(what: &str, files: impl IntoIterator<Item = &'p Path>) -> io::Result<String> {
    let mut key = format!("{}; {what}", env!("CARGO_PKG_VERSION"));
    for file in files {
        let (bytes, checksum) = file_checksum(file)?;
        key += &format!("; {bytes} bytes {checksum:08x}");
    }
    Ok(key)
}

/// The results of a case that an earlier run finished with the same key.
pub(crate) fn finished<T: DeserializeOwned>(path: &Path, key: &str) -> Option<T> {
    let record: Record<T> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (record.schema == SCHEMA && record.key == key).then_some(record.case)
}

/// Leaves the record of a case, after all its results; it replaces that of earlier ones.
pub(crate) fn record<T: Serialize>(path: &Path, key: String, case: &T) -> Result<(), WorkflowError> {
    let text = serde_json::to_string_pretty(&Record { schema: SCHEMA, key, case })?;
    Ok(atomic::write(path, Existing::Replace, |out| out.write_all(text.as_bytes()))?)
}

/// Removes the record of an earlier run: from here on its files are replaced, and it would vouch for a mixture.
pub(crate) fn forget(path: &Path) -> Result<(), WorkflowError> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(WorkflowError::Forget { path: path.to_owned(), cause })
        }
        _ => Ok(()),
    }
}
