//! What long work on quality reports while it runs.

use std::ops::ControlFlow;

use lesio_quality::{PipelineError, PipelineProgress};

use crate::quality::error::QualityStudyError;
use crate::quality::ungraded::UngradedCase;

/// What is being done.
#[derive(Debug)]
#[non_exhaustive]
pub enum QualityProgress<'a> {
    /// Counted work begins.
    Begin {
        /// What it is.
        what: &'a str,
        /// How many parts it has.
        total: usize,
    },
    /// So many more parts of it are done.
    Advance {
        /// How many.
        parts: usize,
    },
    /// Counted work is done.
    End,
    /// A case, or a network's segmentation of it, could not be graded and is left out.
    LeftOut(&'a UngradedCase),
    /// A step of the pipeline reports.
    Pipeline(&'a PipelineProgress<'a>),
}

/// Takes the progress; a break stops at the next chance, and what was done is kept.
pub type QualityObserver<'a> = dyn FnMut(&QualityProgress<'_>) -> ControlFlow<()> + 'a;

/// Reports the progress, and whether to stop.
pub(super) fn report(
    observer: &mut QualityObserver<'_>,
    progress: &QualityProgress<'_>,
) -> Result<(), QualityStudyError> {
    if observer(progress).is_break() { Err(PipelineError::Stopped.into()) } else { Ok(()) }
}
