//! The input of `localize`: a file, the files of several channels, or a folder.

use std::error::Error;
use std::path::{Path, PathBuf};

use lesio::io::dataset::{Dataset, DatasetErrorKind, DatasetOptions, Layout, MissingMask};
use lesio::io::{IMAGE_ENDINGS, VOLUME_ENDINGS};

use crate::is_manifest;

/// The paths that a user named.
#[derive(Clone, Debug)]
pub struct Inputs(Vec<PathBuf>);

impl Inputs {
    /// Parses the files of one case with several channels, separated by commas, or one path, which may contain a comma.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match Path::new(text).exists() {
            true => Self(vec![text.into()]),
            false => Self(text.split(',').map(PathBuf::from).collect()),
        }
    }

    /// Whether this is one case rather than a folder of cases.
    #[must_use]
    pub fn is_one_case(&self) -> bool {
        self.0.len() > 1 || self.0.iter().all(|input| input.is_file() && !is_manifest(input))
    }

    /// Lists the cases; `layout` and `split` apply to a folder only.
    ///
    /// # Errors
    /// For paths that do not exist, files that are not images, and folders that cannot be listed.
    pub fn open(&self, layout: Layout, split: &str) -> Result<Dataset, Box<dyn Error>> {
        if let Some(missing) = self.0.iter().find(|input| !input.exists()) {
            return Err(format!("{}: there is no such file or folder", missing.display()).into());
        }
        let [path] = &self.0[..] else { return Ok(Dataset::of_channels(&self.0)?) };
        let layout = match (path.is_file(), is_manifest(path)) {
            (true, true) => Layout::Manifest,
            (true, false) => Layout::Images,
            _ => layout,
        };
        // Maps need no truth, so missing masks must not cause errors.
        let options = DatasetOptions::new().missing_mask(MissingMask::Keep);
        match Dataset::open_with(path, &layout, &options) {
            Err(error)
                if path.is_file()
                    && !is_manifest(path)
                    && matches!(error.kind(), DatasetErrorKind::Empty { .. }) =>
            {
                let known: Vec<&str> = VOLUME_ENDINGS.into_iter().chain(IMAGE_ENDINGS).collect();
                Err(format!("{}: expected a name that ends in one of {}", path.display(), known.join(", "))
                    .into())
            }
            data => Ok(data?.without_masks().select(split)?),
        }
    }
}

/// A file itself, or the files in a folder with the given names, in order of their names.
///
/// # Errors
/// For a folder that cannot be read or contains no such file; `what` names them, such as `table (*.csv)`.
pub fn files_at(path: &Path, is_named: impl Fn(&str) -> bool, what: &str) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if is_named(&file.file_name().unwrap_or_default().to_string_lossy()) {
            found.push(file);
        }
    }
    found.sort();
    if found.is_empty() { Err(format!("{}: contains no {what}", path.display())) } else { Ok(found) }
}
