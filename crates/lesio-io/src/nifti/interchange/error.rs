//! Errors of the conversion between the types of two crates.

use ::nifti::NiftiError;

use crate::error::{ImageWriteError, ReadError, ReadErrorKind};

/// Why a value cannot be converted to or from a type of the crate `nifti`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterchangeError {
    /// A header of the crate `nifti` that would be an error in a file, too.
    #[error(transparent)]
    Header(#[from] ReadErrorKind),
    /// The image cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The volume cannot be written as NIfTI-1.
    #[error(transparent)]
    Write(#[from] ImageWriteError),
    /// A value that does not fit a field of the crate `nifti`, whose headers are NIfTI-1.
    #[error("{field} is {found}, expected {expected}")]
    Field {
        /// The field's name in the standard.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A volume of the crate `nifti` that contradicts its header.
    #[error("the volume has {what} {found}, its header says {expected}")]
    Contradiction {
        /// What differs: `dim`, `datatype`, `length in bytes`.
        what: &'static str,
        /// Of the volume.
        found: String,
        /// Of the header.
        expected: String,
    },
    /// The crate `nifti` returns an error.
    #[error("the crate nifti returned an error")]
    Refused(#[from] NiftiError),
}

impl InterchangeError {
    /// The name of the error, as used in reports: that of the cause if there is one (`"BadDim"`), else that of the
    /// variant (`"Field"`).
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Header(kind) => kind.name(),
            Self::Read(error) => error.kind().name(),
            Self::Write(error) => error.kind().name(),
            Self::Field { .. } => "Field",
            Self::Contradiction { .. } => "Contradiction",
            Self::Refused(_) => "Refused",
        }
    }
}

pub(super) fn bad_field(
    field: &'static str,
    found: impl std::fmt::Display,
    expected: impl Into<String>,
) -> InterchangeError {
    InterchangeError::Field { field, found: found.to_string(), expected: expected.into() }
}
