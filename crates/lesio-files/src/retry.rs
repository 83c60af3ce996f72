//! Repeats steps that are interrupted by a signal.

use std::io;

use crate::error::WriteErrorKind;

/// Runs one step; an error names the operation.
pub(crate) fn step<T>(
    operation: &'static str,
    attempt: impl FnMut() -> io::Result<T>,
) -> Result<T, WriteErrorKind> {
    retry(attempt).map_err(|source| WriteErrorKind::io(operation, source))
}

/// Repeats a step that a signal interrupted, since the step itself did not fail.
pub(crate) fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
