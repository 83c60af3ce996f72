//! Cases read one after the other.

use lesio_io::ReadOptions;
use lesio_io::dataset::Case;

use crate::error::StudyError;
use crate::observer::{Observer, Step};
use crate::subject::Subject;

/// Reads cases into memory. `what` they are, such as `train`, is for the observer.
///
/// # Errors
/// As [`Subject::read_with`].
pub fn read_subjects(
    cases: &[Case],
    what: &str,
    options: &ReadOptions,
    observer: &mut dyn Observer,
) -> Result<Vec<Subject>, StudyError> {
    observer.begin(&Step::Reading(what.to_owned()), cases.len());
    let mut subjects = Vec::with_capacity(cases.len());
    for case in cases {
        subjects.push(Subject::read_with(case, options)?);
        observer.advance(subjects.len());
    }
    observer.end();
    Ok(subjects)
}
