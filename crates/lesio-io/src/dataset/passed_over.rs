//! Files that a layout does not use. They are reported, so that no file is dropped silently.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::endings::ending_of;

/// Endings of documents, which accompany the images of many data sets (`.db` as in `Thumbs.db`).
const DOCUMENTS: [&str; 22] = [
    ".bib", ".bval", ".bvec", ".cfg", ".csv", ".db", ".htm", ".html", ".ini", ".json", ".log", ".md", ".ods",
    ".pdf", ".rst", ".toml", ".tsv", ".txt", ".xlsx", ".xml", ".yaml", ".yml",
];

/// Names without an ending that are documents.
const DOCUMENT_NAMES: [&str; 6] = ["license", "licence", "readme", "changes", "dataset", "citation"];

/// The maximum number of endings in one message.
const NAMED: usize = 6;

/// Whether a file is a document, judging by its name.
pub(super) fn is_document(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    DOCUMENTS.contains(&ending_of(&name).as_str()) || DOCUMENT_NAMES.contains(&name.as_str())
}

/// Files and links that are not a part of any case.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    /// The number of files with each ending, and the first of them.
    files: BTreeMap<String, (usize, PathBuf)>,
    links: Vec<PathBuf>,
}

impl PassedOver {
    /// Records a file, unless it is a document.
    pub(super) fn file(&mut self, path: &Path) {
        if !is_document(path) {
            let ending = ending_of(&path.file_name().unwrap_or_default().to_string_lossy());
            self.files.entry(ending).or_insert_with(|| (0, path.to_owned())).0 += 1;
        }
    }

    /// Records a link to a folder that was not followed.
    pub(super) fn link(&mut self, path: &Path) {
        self.links.push(path.to_owned());
    }

    /// Describes the files: `3 .mha (brains/a.mha), 1 without ending (scan)`.
    pub(super) fn describe(&self) -> Option<String> {
        let named = self.files.iter().take(NAMED).map(|(ending, (count, first))| {
            let ending = if ending.is_empty() { "without ending" } else { ending };
            format!("{count} {ending} ({})", first.display())
        });
        let mut parts: Vec<String> = named.collect();
        if self.files.len() > NAMED {
            parts.push(format!("and {} other endings", self.files.len() - NAMED));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Reports the files and links as warnings.
    pub(super) fn tell(&self, root: &Path) {
        if let Some(files) = self.describe() {
            tracing::warn!(folder = %root.display(), %files, "files that are part of no case");
        }
        for link in &self.links {
            tracing::warn!(link = %link.display(), "a link to a folder is not followed");
        }
    }
}
