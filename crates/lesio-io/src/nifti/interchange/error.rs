//! Why the types of two crates do not become each other.

use ::nifti::NiftiError;

use crate::error::{ImageWriteError, ReadError, ReadErrorKind};

/// Why something of the crate `nifti` cannot be had here, or the reverse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterchangeError {
    /// A header of the crate `nifti` that is refused here as it is in a file.
    #[error(transparent)]
    Header(#[from] ReadErrorKind),
    /// The image cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The volume cannot be written as NIfTI-1.
    #[error(transparent)]
    Write(#[from] ImageWriteError),
    /// A field that a header of the crate `nifti`, which is NIfTI-1, does not hold.
    #[error("{field} is {found}, expected {expected}")]
    Field {
        /// The field, as the standard calls it.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A volume of the crate `nifti` that is not the one of the header.
    #[error("the volume has {what} {found}, its header says {expected}")]
    Contradiction {
        /// What differs: `dim`, `datatype`, `length in bytes`.
        what: &'static str,
        /// Of the volume.
        found: String,
        /// Of the header.
        expected: String,
    },
    /// The crate `nifti` refuses it.
    #[error("is refused by the crate nifti")]
    Refused(#[from] NiftiError),
}

impl InterchangeError {
    /// The name of what is wrong, as it stands in reports: that of the cause where there is one (`"BadDim"`), else
    /// that of the variant (`"Field"`).
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
