//! Parses the name of a NIfTI file: single file or pair, compressed or not.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::ReadErrorKind;
use crate::nifti::header::Arrangement;

/// A parsed name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NiftiName {
    pub(crate) arrangement: Arrangement,
    pub(crate) compressed: bool,
    /// Whether it is the `.img` of a pair.
    is_data: bool,
}

impl NiftiName {
    /// Parses a path's name; `None` if it is not the name of a NIfTI file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        // Endings are ASCII: a name may have one even if other parts of it are not UTF-8.
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        let (stem, compressed) = match name.strip_suffix(".gz") {
            Some(stem) => (stem, true),
            None => (name.as_str(), false),
        };
        let arrangement = if stem.ends_with(".nii") {
            Arrangement::Single
        } else if stem.ends_with(".hdr") || stem.ends_with(".img") {
            Arrangement::Pair
        } else {
            return None;
        };
        Some(Self { arrangement, compressed, is_data: stem.ends_with(".img") })
    }

    /// Whether the file of this name contains the header.
    pub(crate) fn holds_header(&self) -> bool {
        !self.is_data
    }

    /// The file on disk that makes a pair with `path`.
    ///
    /// Prefers a file with the same compression as `path`; otherwise the one with the other compression.
    pub(crate) fn other_half(&self, path: &Path) -> Result<PathBuf, ReadErrorKind> {
        let [expected, alternatives @ ..] = self.other_names(path, self.compressed);
        if expected.exists() {
            return Ok(expected);
        }
        let as_this_one = alternatives.to_vec();
        let as_not_this_one = self.other_names(path, !self.compressed).to_vec();
        for names in [as_this_one, as_not_this_one] {
            let mut found: Vec<PathBuf> = names.into_iter().filter(|name| name.exists()).collect();
            found.dedup();
            match found.len() {
                0 => {}
                1 => return Ok(found.swap_remove(0)),
                _ => return Err(ReadErrorKind::AmbiguousPair { candidates: found }),
            }
        }
        Err(ReadErrorKind::MissingPair { expected })
    }

    /// The header's and the voxels' name for writing a pair of which `path` is either.
    pub(crate) fn written_halves(&self, path: &Path) -> (PathBuf, PathBuf) {
        let [other, ..] = self.other_names(path, self.compressed);
        if self.is_data { (other, path.to_owned()) } else { (path.to_owned(), other) }
    }

    /// Names of the other half: in the same letter case as this one, then in lower case, then in upper case.
    fn other_names(&self, path: &Path, compressed: bool) -> [PathBuf; 3] {
        let name = path.file_name().unwrap_or_default();
        let bytes = name.as_encoded_bytes();
        let gzip = if self.compressed { 3 } else { 0 };
        let end = bytes.len().saturating_sub(gzip);
        let suffix: &[u8] = match (self.compressed, compressed) {
            (_, false) => b"",
            (true, true) => bytes.get(end..).unwrap_or_default(),
            (false, true) => b".gz",
        };
        let own = bytes.get(end.saturating_sub(3)..end).unwrap_or_default();
        let stem = bytes.get(..end.saturating_sub(3)).unwrap_or_default();
        let other = if self.is_data { *b"hdr" } else { *b"img" };
        let same_case: Vec<u8> = other
            .iter()
            .zip(own)
            .map(|(&letter, own)| if own.is_ascii_uppercase() { letter.to_ascii_uppercase() } else { letter })
            .collect();
        let named = |ending: &[u8], suffix: &[u8]| {
            let mut name = lossless(path, stem);
            name.push(String::from_utf8_lossy(ending).as_ref());
            name.push(String::from_utf8_lossy(suffix).as_ref());
            path.with_file_name(name)
        };
        [
            named(&same_case, suffix),
            named(&other, &suffix.to_ascii_lowercase()),
            named(&other.to_ascii_uppercase(), &suffix.to_ascii_uppercase()),
        ]
    }
}

/// The stem of a name in the encoding of the system.
fn lossless(path: &Path, stem: &[u8]) -> OsString {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let _ = path;
        std::ffi::OsStr::from_bytes(stem).to_owned()
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        OsString::from(String::from_utf8_lossy(stem).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_count_and_nothing_before_them() {
        let single = |name: &str| NiftiName::of(Path::new(name)).map(|n| (n.arrangement, n.compressed));
        assert_eq!(single("sub-01.ses-1.nii"), Some((Arrangement::Single, false)));
        assert_eq!(single("A.NII.GZ"), Some((Arrangement::Single, true)));
        assert_eq!(single("a.hdr.gz"), Some((Arrangement::Pair, true)));
        assert_eq!(single("a.nii.bz2"), None);
        assert_eq!(single("a.gz"), None);
        assert_eq!(single("nii"), None);
        assert_eq!(single("a.nii/"), Some((Arrangement::Single, false)));
        assert_eq!(single(".."), None);
    }

    #[test]
    fn the_other_half_is_named_in_the_same_case() {
        let other = |name: &str, compressed: bool| {
            let path = Path::new(name);
            let [first, ..] = NiftiName::of(path).unwrap().other_names(path, compressed);
            first.to_string_lossy().into_owned()
        };
        assert_eq!(other("x/sub.1.hdr", false), "x/sub.1.img");
        assert_eq!(other("x/sub.1.hdr", true), "x/sub.1.img.gz");
        assert_eq!(other("SCAN.IMG.GZ", true), "SCAN.HDR.GZ");
        assert_eq!(other("SCAN.IMG.GZ", false), "SCAN.HDR");
        assert_eq!(other("Scan.Img", false), "Scan.Hdr");
    }
}
