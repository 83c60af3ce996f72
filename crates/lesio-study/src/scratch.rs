//! Temporary storage for scores that do not fit into memory.

use std::io::Read;
use std::path::Path;

use lesio_metrics::{MetricError, Moved, Scratch};
use tempfile::SpooledTempFile;

/// Collected data together with the scratch that holds their scores.
#[derive(Debug)]
pub(crate) struct Collected<D> {
    pub(crate) data: D,
    pub(crate) scratch: Scratch,
}

/// Data whose scores are in a scratch.
pub(crate) trait Append: Default {
    /// Appends other data, whose scores have moved to the scratch of these data.
    fn append(&mut self, other: Self, moved: Moved);
}

impl<D: Append> Collected<D> {
    /// Nothing collected yet. Scores are kept in a folder, or in the system's temporary folder.
    pub(crate) fn new(folder: Option<&Path>) -> Self {
        Self { data: D::default(), scratch: scratch(folder) }
    }

    /// Appends other data, whose scores come from a file.
    pub(crate) fn absorb_from(&mut self, data: D, scores: impl Read) -> Result<(), MetricError> {
        let moved = self.scratch.absorb_from(scores)?;
        self.data.append(data, moved);
        Ok(())
    }
}

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
