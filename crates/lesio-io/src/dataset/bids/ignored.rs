//! `.bidsignore`: files that are not part of a data set, in the syntax of `.gitignore`.

use std::path::Path;

use super::super::error::{DatasetError, DatasetErrorKind};
use super::super::folder::is_there;
use super::super::sheet::bytes_of;

const NAME: &str = ".bidsignore";

/// The maximum number of bytes of the file, larger than any list of exceptions.
const MOST_BYTES: u64 = 1 << 20;

/// The rules of a data set.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// Whether files that match are included again.
    negated: bool,
    folders_only: bool,
    /// Whether the pattern starts at the folder of the data set; otherwise it matches a name in any folder.
    anchored: bool,
    parts: Vec<String>,
}

impl Ignored {
    /// Reads the file of a data set; there are no rules if the file does not exist.
    pub(super) fn of(root: &Path) -> Result<Self, DatasetError> {
        let path = root.join(NAME);
        if !is_there(&path) {
            return Ok(Self::default());
        }
        let bad = |line, reason| DatasetErrorKind::BadManifest { line, reason };
        let bytes = bytes_of(&path, MOST_BYTES, bad).map_err(|kind| kind.at(&path))?;
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { rules: text.lines().filter_map(Rule::parse).collect() }
    }

    /// Whether a path relative to the folder of the data set, or a folder above it, is ignored.
    pub(super) fn contains(&self, path: &str, is_folder: bool) -> bool {
        self.contains_from(1, path, is_folder)
    }

    /// Whether a file, or a folder above it, is ignored by a rule that does not match the first `above` folders themselves.
    pub(super) fn contains_within(&self, path: &str, above: usize) -> bool {
        self.contains_from(above + 1, path, false)
    }

    fn contains_from(&self, shortest: usize, path: &str, is_folder: bool) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        (shortest..=parts.len()).any(|length| {
            let is_folder = is_folder || length < parts.len();
            let own = parts.get(..length).unwrap_or_default();
            let last = self.rules.iter().rev().find(|rule| rule.matches(own, is_folder));
            last.is_some_and(|rule| !rule.negated)
        })
    }
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (negated, line) = line.strip_prefix('!').map_or((false, line), |line| (true, line));
        let (folders_only, line) = line.strip_suffix('/').map_or((false, line), |line| (true, line));
        let anchored = line.contains('/');
        let mut parts: Vec<String> =
            line.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        // Two `**` in a row mean the same as one.
        parts.dedup_by(|part, before| part == "**" && before == "**");
        (!parts.is_empty()).then_some(Self { negated, folders_only, anchored, parts })
    }

    fn matches(&self, path: &[&str], is_folder: bool) -> bool {
        if self.folders_only && !is_folder {
            return false;
        }
        match (self.anchored, path.last()) {
            (true, _) => matches_parts(&self.parts, path),
            (false, Some(name)) => {
                self.parts.iter().all(|part| matches_name(part.as_bytes(), name.as_bytes()))
            }
            (false, None) => false,
        }
    }
}

/// Whether a path matches a pattern in which `**` stands for any number of folders.
fn matches_parts(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((part, rest)), _) if part == "**" => {
            (0..=path.len()).any(|skip| matches_parts(rest, path.get(skip..).unwrap_or_default()))
        }
        (Some((part, rest)), Some((name, below))) => {
            matches_name(part.as_bytes(), name.as_bytes()) && matches_parts(rest, below)
        }
        _ => false,
    }
}

/// Whether a name matches a pattern of `*`, `?` and `[a-z]`.
fn matches_name(mut pattern: &[u8], mut name: &[u8]) -> bool {
    // The pattern after the last star, and the rest of the name that the star has not consumed.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        let matched = match (pattern.split_first(), name.split_first()) {
            (None, None) => return true,
            (Some((b'*', rest)), _) => {
                star = Some((rest, name));
                pattern = rest;
                continue;
            }
            (Some((&first, rest)), Some((&letter, below))) => {
                one(first, rest, letter).map(|rest| (rest, below))
            }
            _ => None,
        };
        (pattern, name) = match (matched, star) {
            (Some(next), _) => next,
            (None, Some((rest, taken))) => {
                let Some((_, left)) = taken.split_first() else { return false };
                star = Some((rest, left));
                (rest, left)
            }
            (None, None) => return false,
        };
    }
}

/// The rest of a pattern after its first part matched a character.
fn one(first: u8, rest: &[u8], letter: u8) -> Option<&[u8]> {
    match first {
        b'?' => Some(rest),
        b'\\' => rest.split_first().and_then(|(&own, rest)| (own == letter).then_some(rest)),
        b'[' => {
            // A bracket right after the opening one is a character of the class.
            let end = 1 + rest.get(1..)?.iter().position(|&byte| byte == b']')?;
            let (class, after) = (rest.get(..end)?, rest.get(end + 1..)?);
            let (negated, class) = match class.split_first() {
                Some((b'!' | b'^', class)) if !class.is_empty() => (true, class),
                _ => (false, class),
            };
            let range = |range: &[u8]| matches!(range, [from, b'-', to] if (from..=to).contains(&&letter));
            let inside = class.contains(&letter) || class.windows(3).any(range);
            (inside != negated).then_some(after)
        }
        own => (own == letter).then_some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_those_of_gitignore() {
        let rules = Ignored::parse(
            "\u{feff}# notes\r\n\r\n*_FLAIR.nii.gz\r\n/sub-02/\n!sub-03_FLAIR.nii.gz\nsub-04/**/a?[x-z].nii\n**/extra\n",
        );
        for (path, is_folder, expected) in [
            ("sub-01/anat/sub-01_FLAIR.nii.gz", false, true),
            ("sub-01/anat/sub-01_T1w.nii.gz", false, false),
            ("sub-02", true, true),
            ("sub-02", false, false),
            ("sub-02/anat/sub-02_T1w.nii.gz", false, true),
            ("x/sub-02", true, false),
            ("sub-03/anat/sub-03_FLAIR.nii.gz", false, false),
            ("sub-04/anat/aby.nii", false, true),
            ("sub-04/aby.nii", false, true),
            ("sub-04/aba.nii", false, false),
            ("sub-05/extra/b", false, true),
            ("notes", false, false),
        ] {
            assert_eq!(rules.contains(path, is_folder), expected, "{path}");
        }
    }

    #[test]
    fn names_are_matched_in_time_that_does_not_explode() {
        let pattern = "*a".repeat(40) + "b";
        assert!(!matches_name(pattern.as_bytes(), "a".repeat(200).as_bytes()));
        for (pattern, name, expected) in [
            ("a*c", "abcbc", true),
            ("[!a]b", "cb", true),
            ("[!a]b", "ab", false),
            ("[]]", "]", true),
            ("[a", "[a", false),
            ("\\*", "*", true),
            ("\\", "x", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches_name(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
