//! Temporary storage for scores that do not fit into memory.

use std::path::Path;

use lesio_metrics::Scratch;
use tempfile::SpooledTempFile;

/// Scores up to this number of bytes stay in memory, as in small evaluations.
const IN_MEMORY: usize = 1 << 25;

/// Storage in memory that becomes a file when it grows: in the given folder, or in the system's folder for temporary
/// files. The file has no name (or none that outlives its handle), so a killed process leaves nothing behind.
pub(crate) fn scratch(folder: Option<&Path>) -> Scratch {
    Scratch::new(match folder {
        Some(folder) => tempfile::spooled_tempfile_in(IN_MEMORY, folder),
        None => SpooledTempFile::new(IN_MEMORY),
    })
}
