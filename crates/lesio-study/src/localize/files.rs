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
    /// The entities with which BIDS file names start.
    entities: Option<Entities>,
}

/// The entities of an image in BIDS.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entities {
    /// All of them, such as `sub-01_run-1_desc-preproc`.
    all: String,
    /// Those but the description, such as `sub-01_run-1`.
    plain: String,
    /// The description, such as `preproc`: a name has one, so that of a map contains it.
    description: Option<String>,
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
        let (mut plain, mut description) = (Vec::new(), None);
        for (place, part) in case.id().split('_').enumerate() {
            let (key, label) = part.split_once('-').ok_or_else(refused)?;
            if !is_label(key) || !is_label(label) || (key == "sub") != (place == 0) {
                return Err(refused());
            }
            if key == "sub" || key == "ses" {
                folder.push(part);
            }
            match key {
                "desc" => description = Some(label.to_owned()),
                _ => plain.push(part),
            }
        }
        let above = case.images().first().and_then(|image| image.parent()?.file_name()?.to_str());
        folder.push(above.filter(|name| SEGMENTED.contains(name)).unwrap_or("anat"));
        let (all, plain) = (case.id().to_owned(), plain.join("_"));
        Ok(Self { folder, entities: Some(Entities { all, plain, description }) })
    }

    /// The description of the image itself, empty if it has none; `None` outside of BIDS.
    pub(super) fn description(&self) -> Option<&str> {
        self.entities.as_ref().map(|own| own.description.as_deref().unwrap_or_default())
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The record of the case.
    pub(super) fn record(&self) -> PathBuf {
        match &self.entities {
            None => self.folder.join("case.json"),
            Some(entities) => self.folder.join(format!("{}_case.json", entities.all)),
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

    /// The raw maps of single channels with these names. Where names differ in characters alone that a file name or a label of
    /// BIDS does not have, the number of the channel tells them apart.
    pub(super) fn channels(&self, predictor: PredictorName, names: &[String], ending: &str) -> Vec<PathBuf> {
        let plain = distinct(names, |own| own.is_alphanumeric() || "-_.+ ".contains(own), "_");
        let labels = distinct(names, |own| own.is_ascii_alphanumeric(), "");
        let parts = plain.iter().zip(&labels);
        parts
            .map(|(plain, label)| {
                self.file(predictor, &format!("_raw_{plain}"), &format!("raw+{label}"), "anomalymap", ending)
            })
            .collect()
    }

    /// The files that a run may have written for a case of these channels by a predictor.
    pub(super) fn all(&self, predictor: PredictorName, channels: &[String]) -> Vec<PathBuf> {
        let mut files = vec![self.lesions(predictor), self.overlay(predictor), self.thumbnail(predictor)];
        for ending in ["nii.gz", "tiff"] {
            files.extend([self.map(predictor, ending), self.raw(predictor, ending)]);
            files.extend(self.channels(predictor, channels, ending));
        }
        files
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
            Some(entities) => self.folder.join(format!("{}_case.html", entities.all)),
        }
    }

    /// A file of a predictor. In plain folders, `plain` is the end of its name; in BIDS, `more` is appended to the
    /// description, and `suffix` is the suffix.
    fn file(&self, predictor: PredictorName, plain: &str, more: &str, suffix: &str, ending: &str) -> PathBuf {
        self.folder.join(match &self.entities {
            None => format!("{predictor}{plain}.{ending}"),
            Some(Entities { plain, description, .. }) => {
                let label = described(description.as_deref(), &label(predictor));
                format!("{plain}_desc-{label}{more}_{suffix}.{ending}")
            }
        })
    }
}

/// The description of a map of an image that may have one itself: `preproc+pixelL1`.
pub(super) fn described(image: Option<&str>, map: &str) -> String {
    match image.filter(|own| !own.is_empty()) {
        Some(own) => format!("{own}+{map}"),
        None => map.to_owned(),
    }
}

/// The subject of a case with a BIDS name: `sub-01`.
pub(super) fn subject(id: &str) -> &str {
    id.split('_').next().unwrap_or(id)
}

/// Names with other characters than those replaced, and with the number of the channel, from 1, where two would be equal or
/// one would be empty.
fn distinct(names: &[String], is_kept: impl Fn(char) -> bool, other: &str) -> Vec<String> {
    let of = |name: &String| -> String {
        name.chars().map(|own| if is_kept(own) { own.to_string() } else { other.to_owned() }).collect()
    };
    let made: Vec<String> = names.iter().map(of).collect();
    let is_shared = |name: &String| name.is_empty() || made.iter().filter(|own| *own == name).count() > 1;
    let numbered = |(place, name): (usize, &String)| match is_shared(name) {
        true => format!("{name}{}channel{}", if name.is_empty() { "" } else { other }, place + 1),
        false => name.clone(),
    };
    made.iter().enumerate().map(numbered).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_a_file_of_its_own() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let folder = PathBuf::from("out");
        let plain = CaseFiles { folder: folder.clone(), entities: None };
        let entities = |description: Option<&str>| Entities {
            all: "sub-1".to_owned(),
            plain: "sub-1".to_owned(),
            description: description.map(str::to_owned),
        };
        let bids = CaseFiles { folder: folder.clone(), entities: Some(entities(None)) };
        // A name has one description.
        let preprocessed = CaseFiles { folder, entities: Some(entities(Some("preproc"))) };
        let raw = preprocessed.raw(PredictorName::PixelL1, "nii.gz");
        assert!(raw.ends_with("sub-1_desc-preproc+pixelL1raw_anomalymap.nii.gz"), "{raw:?}");
        let files = |files: &CaseFiles, all: &[&str]| {
            let found = files.channels(PredictorName::PixelL1, &names(all), "nii.gz");
            found
                .iter()
                .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(files(&plain, &["flair", "t1"]), ["pixel-l1_raw_flair.nii.gz", "pixel-l1_raw_t1.nii.gz"]);
        assert_eq!(files(&plain, &["a/b", "../c"]), ["pixel-l1_raw_a_b.nii.gz", "pixel-l1_raw_.._c.nii.gz"]);
        for odd in [["t1+", "t1"], ["T2", "T2*"], ["b-0", "b0"], ["a/b", "a_b"], ["+", "-"], ["脑", "部"]] {
            for own in [&plain, &bids] {
                let found = files(own, &odd);
                assert!(found[0] != found[1] && found.iter().all(|name| !name.contains('/')), "{found:?}");
            }
            assert!(files(&bids, &odd).iter().all(|name| !name.contains("raw+_")), "{odd:?}");
        }
    }
}
