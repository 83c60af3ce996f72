//! Folders of images as the public data sets arrange them.
//!
//! [`Dataset::open`] lists the cases of a folder in one of the [`Layout`]s, sorted, without reading any
//! image; [`Dataset::select`] takes those of a split; [`Case::read_volume`] and [`Case::read_image`] read
//! one with its mask.
//!
//! ```no_run
//! use lesio_io::dataset::{Dataset, Layout};
//!
//! let data = Dataset::open("hospital", &Layout::cases("flair.nii.gz", Some("mask.nii.gz")))?;
//! for case in data.select("train")?.cases() {
//!     let (volume, mask) = case.read_volume()?;
//!     println!("{} {:?} {}", case.id(), volume.shape(), mask.is_some());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acdc;
mod case;
mod cases;
mod error;
mod folder;
mod images;
mod msd;
mod mvtec;
mod splits;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use case::{Case, Mask};
pub use error::{DatasetError, DatasetErrorKind};

/// The split that takes every case, whatever `splits.csv` says.
pub const ALL: &str = "all";

/// How a data set's folder is arranged.
///
/// In every layout, names that start with a dot are passed over, and a file `splits.csv` in the folder
/// assigns splits: comma-separated, with a header, a column `patient` (or `case` or `subject`), a column
/// `split`, and for ACDC perhaps `frame`; other columns are passed over. What it does not name belongs
/// to no split, and what it names may be absent. Volumes end in `.nii` or `.nii.gz`, images in `.png`,
/// `.jpg`, `.jpeg`, `.tif`, `.tiff` or `.bmp`, in upper or lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Layout {
    /// A folder a case, with the same file names in each: the folder's name is case and patient.
    Cases {
        /// Names of the images of a case, in the order of its channels, as in `flair.nii.gz`. Where
        /// one is absent, `.nii` stands for `.nii.gz` and the reverse.
        images: Vec<String>,
        /// Name of the mask, if there are masks; single cases may lack theirs.
        mask: Option<String>,
    },
    /// MVTec AD (Bergmann et al. 2019): `SPLIT/KIND/NAME.png` and `ground_truth/KIND/NAME_mask.png`,
    /// where kind `good` is normal. The folders `train`, `test` and perhaps `validation` are the splits.
    #[serde(rename = "mvtec")]
    MvTec,
    /// ACDC (Bernard et al. 2018): `patientNNN/patientNNN_frameMM.nii.gz` with `..._gt.nii.gz`; a case
    /// is a frame. Folders `training` and `testing` between are the splits `train` and `test`.
    Acdc,
    /// Medical Segmentation Decathlon (Antonelli et al. 2022): `imagesTr/NAME.nii.gz` with
    /// `labelsTr/NAME.nii.gz` and `imagesTs` without labels. Without `splits.csv` these are the splits `train` and
    /// `test`.
    Msd,
    /// Any images or volumes, in the folder and the folders in it; or a single file.
    Images,
}

impl Layout {
    /// [`Layout::Cases`] of one image a case.
    #[must_use]
    pub fn cases(image: impl Into<String>, mask: Option<&str>) -> Self {
        Self::Cases { images: vec![image.into()], mask: mask.map(str::to_owned) }
    }

    /// Its name: `cases`, `mvtec`, `acdc`, `msd` or `images`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cases { .. } => "cases",
            Self::MvTec => "mvtec",
            Self::Acdc => "acdc",
            Self::Msd => "msd",
            Self::Images => "images",
        }
    }
}

/// The cases of a data set, sorted by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    root: PathBuf,
    cases: Vec<Case>,
}

impl Dataset {
    /// Lists a folder.
    ///
    /// # Errors
    /// Where the folder cannot be listed, holds no case, or holds something that the layout does not
    /// explain: [`DatasetErrorKind`] says what, and the error names the file.
    pub fn open(root: impl AsRef<Path>, layout: &Layout) -> Result<Self, DatasetError> {
        let root = root.as_ref();
        let mut cases = match layout {
            Layout::Cases { images, mask } => cases::list(root, images, mask.as_deref())?,
            Layout::MvTec => mvtec::list(root)?,
            Layout::Acdc => acdc::list(root)?,
            Layout::Msd => msd::list(root)?,
            Layout::Images => images::list(root)?,
        };
        if cases.is_empty() {
            return Err(DatasetErrorKind::Empty { layout: layout.name() }.at(root));
        }
        if let Some(splits) = splits::Splits::of(root)? {
            for case in &mut cases {
                splits.assign(case);
            }
        }
        cases.sort_by(|a, b| a.id().cmp(b.id()));
        let mut seen: Option<&str> = None;
        for case in &cases {
            if seen.replace(case.id()) == Some(case.id()) {
                let path = case.images().first().map_or(root, PathBuf::as_path);
                return Err(DatasetErrorKind::DuplicateCase { id: case.id().to_owned() }.at(path));
            }
        }
        Ok(Self { root: root.to_owned(), cases })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The cases, sorted by their ids.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The splits to which cases belong, sorted.
    #[must_use]
    pub fn splits(&self) -> BTreeSet<&str> {
        self.cases.iter().filter_map(Case::split).collect()
    }

    /// The cases of a split; `all` takes every case.
    ///
    /// # Errors
    /// [`DatasetErrorKind::UnknownSplit`] where no case belongs to it.
    pub fn select(&self, split: &str) -> Result<Self, DatasetError> {
        if split == ALL {
            return Ok(self.clone());
        }
        let cases: Vec<Case> =
            self.cases.iter().filter(|case| case.split() == Some(split)).cloned().collect();
        if cases.is_empty() {
            let known = self.splits().into_iter().map(str::to_owned).collect();
            return Err(DatasetErrorKind::UnknownSplit { split: split.to_owned(), known }.at(&self.root));
        }
        Ok(Self { root: self.root.clone(), cases })
    }

    /// The cases that `keep` keeps; there may be none.
    #[must_use]
    pub fn filter(&self, keep: impl FnMut(&&Case) -> bool) -> Self {
        Self { root: self.root.clone(), cases: self.cases.iter().filter(keep).cloned().collect() }
    }

    /// Checks that every case has a mask or is normal by its place.
    ///
    /// # Errors
    /// [`DatasetErrorKind::MissingMask`], naming the first that has none.
    pub fn require_masks(&self) -> Result<(), DatasetError> {
        match self.cases.iter().find(|case| *case.mask() == Mask::Unknown) {
            Some(case) => {
                let path = case.images().first().map_or(self.root.as_path(), PathBuf::as_path);
                Err(DatasetErrorKind::MissingMask { id: case.id().to_owned() }.at(path))
            }
            None => Ok(()),
        }
    }
}
