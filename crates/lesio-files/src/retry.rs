//! Steps that a signal interrupts are taken again.

use std::io;

use crate::error::WriteErrorKind;

/// Takes one step; its failure names the operation.
pub(crate) fn step<T>(
    operation: &'static str,
    attempt: impl FnMut() -> io::Result<T>,
) -> Result<T, WriteErrorKind> {
    retry(attempt).map_err(|source| WriteErrorKind::io(operation, source))
}

/// A signal that interrupts a step says nothing about it: it is taken again.
pub(crate) fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
