//! Errors of kernels.

/// Arguments that do not fit each other. Nothing was computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A slice does not hold as many values as its layout needs.
    #[error("{what} holds {found} values, expected at least {expected}")]
    TooShort {
        /// The argument.
        what: &'static str,
        /// Values it holds.
        found: usize,
        /// Values it needs.
        expected: usize,
    },
    /// Two sizes that must agree do not.
    #[error("{what} is {found}, expected {expected}")]
    Mismatch {
        /// The size.
        what: &'static str,
        /// Its value.
        found: usize,
        /// The value it must have.
        expected: usize,
    },
    /// The zero border around an image is narrower than the windows that reach over its edge.
    #[error("the border of {what} is too narrow for the windows that reach over its edge")]
    Border {
        /// The image.
        what: &'static str,
    },
    /// Two results would be written to one place.
    #[error("the layout of the output makes two of its values share one place")]
    Overlap,
    /// A size is zero where it must not be, or a number of values does not fit the address space.
    #[error("{what} is zero or too large")]
    Size {
        /// The size.
        what: &'static str,
    },
}

/// Checks that a slice is long enough.
pub(crate) fn check_len(what: &'static str, found: usize, expected: usize) -> Result<(), KernelError> {
    if found < expected { Err(KernelError::TooShort { what, found, expected }) } else { Ok(()) }
}

/// Checks that two sizes agree.
pub(crate) fn check_equal(what: &'static str, found: usize, expected: usize) -> Result<(), KernelError> {
    if found == expected { Ok(()) } else { Err(KernelError::Mismatch { what, found, expected }) }
}
