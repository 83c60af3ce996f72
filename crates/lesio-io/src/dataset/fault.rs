//! Faults of a case that its listing shows.

use std::path::PathBuf;

use crate::error::{ReadError, ReadErrorKind};

/// Why a case cannot be read. It is listed all the same: whoever reads it is told why, and the other cases continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The folder of the case is a link whose target does not exist.
    DanglingLink { path: PathBuf, target: PathBuf },
    /// A name is not UTF-8: results, which are named and listed as text, could not name it.
    NotUtf8 { path: PathBuf },
    /// A file cannot be read, for this reason, and may be a slice of the case's DICOM series, as may this many others.
    #[cfg(feature = "dicom")]
    PossibleSlice { path: PathBuf, reason: String, others: usize },
}

impl Fault {
    /// The error that reading the case gives.
    pub(super) fn error(&self) -> ReadError {
        match self {
            Self::DanglingLink { path, target } => {
                ReadErrorKind::DanglingLink { target: target.clone() }.at(path)
            }
            Self::NotUtf8 { path } => {
                // The name of the file itself, or of the nearest folder.
                let name = path.iter().rev().find(|part| part.to_str().is_none()).unwrap_or(path.as_os_str());
                let escaped = name.as_encoded_bytes().escape_ascii().to_string();
                ReadErrorKind::NotUtf8 { escaped }.at(path)
            }
            #[cfg(feature = "dicom")]
            Self::PossibleSlice { path, reason, others } => {
                ReadErrorKind::PossibleSlice { reason: reason.clone(), others: *others }.at(path)
            }
        }
    }
}
