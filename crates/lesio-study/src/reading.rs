//! Reads cases one after the other.

use lesio_image::PreprocessError;
use lesio_io::ReadOptions;
use lesio_io::dataset::Case;

use crate::error::StudyError;
use crate::localize::FailedCase;
use crate::observer::{Observer, Step};
use crate::subject::Subject;

/// How to treat a case that cannot be read or contains nothing to work with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadCases {
    /// Leave it out and list it; the others count.
    #[default]
    LeaveOut,
    /// Stop the work.
    Stop,
}

/// Reads cases into memory. `what` names them for the observer, such as `train`. Also returns the cases that were left
/// out.
///
/// # Errors
/// Those of [`Subject::read_with`], and with [`BadCases::Stop`] for images whose values are not finite or all equal;
/// also if no case is left.
pub fn read_subjects(
    cases: &[Case],
    what: &str,
    options: &ReadOptions,
    bad: BadCases,
    observer: &mut dyn Observer,
) -> Result<(Vec<Subject>, Vec<FailedCase>), StudyError> {
    let read = |case: &Case| Subject::read_with(case, options).and_then(usable);
    each_case(cases, what, read, bad, observer)
}

/// The cases that can be read and contain something to work with, for work that reads them again, one at a time. `what`
/// names them for the observer. Also returns the cases that are left out.
///
/// # Errors
/// Those of [`read_subjects`].
pub fn readable_cases(
    cases: &[Case],
    what: &str,
    options: &ReadOptions,
    bad: BadCases,
    observer: &mut dyn Observer,
) -> Result<(Vec<Case>, Vec<FailedCase>), StudyError> {
    sound_cases(cases, what, options, |_| Ok(()), bad, observer)
}

/// Like [`readable_cases`], but a case for which `check` returns an error is left out, too.
pub(crate) fn sound_cases(
    cases: &[Case],
    what: &str,
    options: &ReadOptions,
    check: impl Fn(&Subject) -> Result<(), StudyError>,
    bad: BadCases,
    observer: &mut dyn Observer,
) -> Result<(Vec<Case>, Vec<FailedCase>), StudyError> {
    let read = |case: &Case| {
        let subject = Subject::read_with(case, options).and_then(usable)?;
        check(&subject).map(|()| case.clone())
    };
    each_case(cases, what, read, bad, observer)
}

/// What `read` returns of each case, and the cases that are left out.
fn each_case<T>(
    cases: &[Case],
    what: &str,
    read: impl Fn(&Case) -> Result<T, StudyError>,
    bad: BadCases,
    observer: &mut dyn Observer,
) -> Result<(Vec<T>, Vec<FailedCase>), StudyError> {
    observer.begin(&Step::Reading(what.to_owned()), cases.len());
    let (mut done, mut failed) = (Vec::with_capacity(cases.len()), Vec::new());
    for (place, case) in cases.iter().enumerate() {
        match read(case) {
            Ok(result) => done.push(result),
            Err(error) if bad == BadCases::Stop || (done.is_empty() && place + 1 == cases.len()) => {
                return Err(error);
            }
            Err(error) => failed.push(FailedCase::new(case, &error, observer)),
        }
        observer.advance(place + 1);
    }
    observer.end();
    Ok((done, failed))
}

/// A subject whose channels have finite values that differ.
fn usable(subject: Subject) -> Result<Subject, StudyError> {
    match subject.scan.check() {
        Ok(()) => Ok(subject),
        Err(error) => Err(StudyError::Preprocess { case: subject.id, source: PreprocessError::Image(error) }),
    }
}
