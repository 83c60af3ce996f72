//! Paths of the results of a case.

use std::path::{Path, PathBuf};

use lesio_anomaly::PredictorName;
use lesio_io::dataset::Case;

use super::config::{CaseFolders, LocalizeConfig, OutputLayout};
use crate::folder::case_folders;
use crate::workflow_error::WorkflowError;

/// Kinds of data for which BIDS defines segmentations; results of other kinds are stored with the anatomical images.
const SEGMENTED: [&str; 3] = ["anat", "dwi", "func"];

/// Paths of the results of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CaseFiles {
    folder: PathBuf,
    /// The entities with which BIDS file names start, such as `sub-01_run-1`.
    entities: Option<String>,
}

impl CaseFiles {
    /// The paths for all cases of a data set, in the order of the cases.
    ///
    /// # Errors
    /// [`WorkflowError::NotBids`] for results in BIDS if the name of a case is not a BIDS name.
    pub(super) fn of(config: &LocalizeConfig, cases: &[Case]) -> Result<Vec<Self>, WorkflowError> {
        let plain = |folder| Self { folder, entities: None };
        if config.layout == OutputLayout::Bids {
            return cases.iter().map(|case| Self::in_bids(&config.folder, case)).collect();
        }
        Ok(match config.folders {
            CaseFolders::One => cases.iter().map(|_| plain(config.folder.clone())).collect(),
            CaseFolders::PerCase => case_folders(&config.folder, cases).into_iter().map(plain).collect(),
        })
    }

    fn in_bids(root: &Path, case: &Case) -> Result<Self, WorkflowError> {
        let refused = || WorkflowError::NotBids { case: case.id().to_owned() };
        let is_label = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
        };
        let mut folder = root.to_owned();
        for (place, part) in case.id().split('_').enumerate() {
            let (key, label) = part.split_once('-').ok_or_else(refused)?;
            if !is_label(key) || !is_label(label) || (key == "sub") != (place == 0) {
                return Err(refused());
            }
            if key == "sub" || key == "ses" {
                folder.push(part);
            }
        }
        let above = case.images().first().and_then(|image| image.parent()?.file_name()?.to_str());
        folder.push(above.filter(|name| SEGMENTED.contains(name)).unwrap_or("anat"));
        Ok(Self { folder, entities: Some(case.id().to_owned()) })
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The record of the case.
    pub(super) fn record(&self) -> PathBuf {
        match &self.entities {
            None => self.folder.join("case.json"),
            Some(entities) => self.folder.join(format!("{entities}_case.json")),
        }
    }

    /// The map after post-processing.
    pub(super) fn map(&self, predictor: PredictorName, ending: &str) -> PathBuf {
        self.file(predictor, "", "", "anomalymap", ending)
    }

    /// The raw map.
    pub(super) fn raw(&self, predictor: PredictorName, ending: &str) -> PathBuf {
        self.file(predictor, "_raw", "raw", "anomalymap", ending)
    }

    /// The raw map of a single channel.
    pub(super) fn channel(&self, predictor: PredictorName, channel: &str, ending: &str) -> PathBuf {
        let label: String = channel.chars().filter(char::is_ascii_alphanumeric).collect();
        self.file(predictor, &format!("_raw_{channel}"), &format!("raw+{label}"), "anomalymap", ending)
    }

    /// The map of the numbers of lesions, for volumes.
    pub(super) fn lesions(&self, predictor: PredictorName) -> PathBuf {
        self.file(predictor, "_lesions", "", "dseg", "nii.gz")
    }

    /// The overlay picture.
    pub(super) fn overlay(&self, predictor: PredictorName) -> PathBuf {
        self.file(predictor, "", "", "overlay", "png")
    }

    /// The thumbnail.
    pub(super) fn thumbnail(&self, predictor: PredictorName) -> PathBuf {
        self.file(predictor, "_thumbnail", "", "thumbnail", "png")
    }

    /// The page of the case.
    pub(super) fn page(&self) -> PathBuf {
        match &self.entities {
            None => self.folder.join("case.html"),
            Some(entities) => self.folder.join(format!("{entities}_case.html")),
        }
    }

    /// A file of a predictor. In plain folders, `plain` is the end of its name; in BIDS, `more` is appended to the
    /// description, and `suffix` is the suffix.
    fn file(&self, predictor: PredictorName, plain: &str, more: &str, suffix: &str, ending: &str) -> PathBuf {
        self.folder.join(match &self.entities {
            None => format!("{predictor}{plain}.{ending}"),
            Some(entities) => format!("{entities}_desc-{}{more}_{suffix}.{ending}", label(predictor)),
        })
    }
}

/// A predictor's name in letters and digits only, as BIDS labels require: `pixelL1`.
pub(super) fn label(predictor: PredictorName) -> String {
    let mut label = String::new();
    for part in predictor.as_str().split(|letter: char| !letter.is_ascii_alphanumeric()) {
        match part.split_at_checked(1) {
            Some((first, rest)) if !label.is_empty() => label += &(first.to_ascii_uppercase() + rest),
            _ => label += part,
        }
    }
    label
}
