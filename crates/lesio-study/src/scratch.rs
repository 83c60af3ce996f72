//! Where scores are kept that have no place in memory.

use std::path::Path;

use lesio_metrics::Scratch;
use tempfile::SpooledTempFile;

/// Bytes up to which scores stay in memory: those of a small evaluation do.
const IN_MEMORY: usize = 1 << 25;

/// A scratch in memory that becomes a file where there is much to keep: in a folder, or where the system has temporary
/// files. The file has no name (or none that outlives its handle), so that a process that is killed leaves nothing.
pub(crate) fn scratch(folder: Option<&Path>) -> Scratch {
    Scratch::new(match folder {
        Some(folder) => tempfile::spooled_tempfile_in(IN_MEMORY, folder),
        None => SpooledTempFile::new(IN_MEMORY),
    })
}
