//! Cases read one after the other.

use lesio_io::ReadOptions;
use lesio_io::dataset::Case;

use crate::error::StudyError;
use crate::localize::FailedCase;
use crate::observer::{Observer, Step};
use crate::subject::Subject;

/// What becomes of a case that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadCases {
    /// It is left out and listed, and the others count.
    #[default]
    LeaveOut,
    /// The work stops.
    Stop,
}

/// Reads cases into memory. `what` they are, such as `train`, is for the observer. Returns also the cases that were left out.
///
/// # Errors
/// As [`Subject::read_with`], with [`BadCases::Stop`] and where no case is left.
pub fn read_subjects(
    cases: &[Case],
    what: &str,
    options: &ReadOptions,
    bad: BadCases,
    observer: &mut dyn Observer,
) -> Result<(Vec<Subject>, Vec<FailedCase>), StudyError> {
    observer.begin(&Step::Reading(what.to_owned()), cases.len());
    let (mut subjects, mut failed) = (Vec::with_capacity(cases.len()), Vec::new());
    for (place, case) in cases.iter().enumerate() {
        match Subject::read_with(case, options) {
            Ok(subject) => subjects.push(subject),
            Err(error) if bad == BadCases::Stop || (subjects.is_empty() && place + 1 == cases.len()) => {
                return Err(error);
            }
            Err(error) => failed.push(FailedCase::new(case, &error, observer)),
        }
        observer.advance(place + 1);
    }
    observer.end();
    Ok((subjects, failed))
}
