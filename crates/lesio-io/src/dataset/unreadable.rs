//! DICOM files that cannot be read, and files that may be what is left of one.

use std::error::Error;
use std::path::{Path, PathBuf};

use super::passed_over::is_document;
use crate::dicom::{Head, Unmarked};
use crate::endings::ending_of;

/// Endings of DICOM files. Many files have none, or the last number of a UID.
const ENDINGS: [&str; 5] = [".dcm", ".dicom", ".dic", ".dc3", ".ima"];

/// The ending of a file that gzip compressed as a whole.
const COMPRESSED: &str = ".gz";

/// The name of the directory of an exchange medium.
const DIRECTORY: &str = "DICOMDIR";

/// A file that cannot be read and may be a slice of a series.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) path: PathBuf,
    /// The UID of its series; empty if it is not known.
    pub(super) series: String,
    pub(super) reason: String,
}

impl Unreadable {
    /// A file of this series with this fault.
    pub(super) fn new(path: PathBuf, series: String, fault: &dyn Error) -> Self {
        let causes = std::iter::successors(fault.source(), |&cause| cause.source());
        let reason = causes.fold(fault.to_string(), |text, cause| format!("{text}: {cause}"));
        Self { path, series, reason }
    }

    /// A file without DICOM's mark that may be a slice or what is left of one: a copy that was interrupted leaves it empty,
    /// cut, or full of zeros; old archives left out the mark; some compress whole files. `None` for any other file.
    pub(super) fn remnant(path: &Path, length: u64, content: Unmarked) -> Option<Self> {
        let is_short = length < Head::SHORTEST;
        let is_remnant = match content {
            Unmarked::Blank | Unmarked::Elements => true,
            Unmarked::Other => has_ending(path),
            // An export may contain reports and thumbnails that are called as its slices.
            Unmarked::Foreign => is_short && has_ending(path),
        };
        if !is_remnant || !may_be_slice(path) || is_compressed_copy(path) {
            return None;
        }
        let reason = match (length, content) {
            (0, _) => "it is empty".to_owned(),
            _ if is_short => format!("it has {length} bytes, a DICOM file has {} or more", Head::SHORTEST),
            (_, Unmarked::Blank) => "it holds zeros in place of a DICOM file".to_owned(),
            _ => "it has no mark DICM at byte 128".to_owned(),
        };
        Some(Self { path: path.to_owned(), series: String::new(), reason })
    }
}

/// Whether the name is that of a DICOM file, or has no ending, or only the numbers of a UID, and is not that of a
/// document.
pub(super) fn may_be_slice(path: &Path) -> bool {
    let has_letters = ending(path).chars().any(char::is_alphabetic);
    has_ending(path) || !has_letters && !is_document(path) && !is_directory(path)
}

/// Whether the name is that of the directory of an exchange medium.
pub(super) fn is_directory(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.eq_ignore_ascii_case(DIRECTORY))
}

/// Whether the ending is one of DICOM's, also before that of a compressed file.
fn has_ending(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ENDINGS.contains(&ending_of(name.strip_suffix(COMPRESSED).unwrap_or(&name)).as_str())
}

/// Whether the file beside it with the same name but for the ending of a compressed file is the one that is read.
fn is_compressed_copy(path: &Path) -> bool {
    path.to_str()
        .and_then(|path| path.strip_suffix(COMPRESSED))
        .is_some_and(|plain| Path::new(plain).is_file())
}

fn ending(path: &Path) -> String {
    ending_of(&path.file_name().unwrap_or_default().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remnants_are_told_by_name_and_content() {
        let found = |name: &str, length, content| {
            Unreadable::remnant(Path::new(name), length, content).map(|file| file.reason)
        };
        use Unmarked::{Blank, Elements, Foreign, Other};
        for name in ["a/IM022", "1.2.840.113619.2.55", "MR.1.2.3-4", "x.dcm", "x.IMA", "x.dcm.gz"] {
            assert_eq!(found(name, 0, Blank).as_deref(), Some("it is empty"), "{name}");
            assert!(found(name, 100, Blank).is_some_and(|reason| reason.contains("100 bytes")), "{name}");
            assert!(found(name, 70_000, Blank).is_some_and(|reason| reason.contains("zeros")), "{name}");
            assert!(found(name, 70_000, Elements).is_some_and(|reason| reason.contains("no mark")), "{name}");
            assert_eq!(found(name, 70_000, Other).is_some(), name.starts_with("x."), "{name}");
            assert_eq!(found(name, 70_000, Foreign), None, "{name}");
        }
        // A short text without an ending is a text.
        assert_eq!(found("VERSION", 4, Other), None);
        assert!(found("x.dcm", 4, Other).is_some());
        for name in
            ["README", "a/license", "DICOMDIR", "dicomdir", "notes.txt", "x.png", "x.nii.gz", "Thumbs.db"]
        {
            assert_eq!(found(name, 0, Blank), None, "{name}");
            assert!(!may_be_slice(Path::new(name)), "{name}");
        }
    }
}
