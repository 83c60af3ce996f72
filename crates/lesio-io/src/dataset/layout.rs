//! How the folders of data sets are arranged.

use std::fmt;
use std::str::FromStr;

use lesio_settings::UnknownName;
use serde::{Deserialize, Serialize};

/// How a data set's folder is arranged.
///
/// In every layout, names that start with a dot are passed over, and so are folders that hold results of lesio's
/// programs. A file `splits.csv` in the folder assigns splits: comma-separated, with a header, a column `patient`
/// (or `case` or `subject`), a column `split`, and for ACDC perhaps `frame`; other columns are passed over. What it
/// does not name belongs to no split, and whom it names must be there (see [`AbsentCases`](super::AbsentCases)). Volumes and images are
/// told by their endings ([`VOLUME_ENDINGS`](crate::VOLUME_ENDINGS), [`IMAGE_ENDINGS`](crate::IMAGE_ENDINGS)), in
/// upper or lower case. Other files that are no documents, and links to folders that are not followed, are told
/// by `tracing::warn!`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Layout {
    /// A folder a case, with the same file names in each: the folder's name is case and patient.
    Cases {
        /// Names of the images of a case, in the order of its channels, as in `flair.nii.gz`. `{case}` stands for the
        /// folder's name, as in `{case}_flair.nii.gz`. Where one is absent, `.nii` stands for `.nii.gz` and the reverse.
        images: Vec<String>,
        /// Name of the mask, likewise, if there are masks; for cases that lack theirs see [`MissingMask`](super::MissingMask).
        mask: Option<String>,
    },
    /// MVTec AD (Bergmann et al. 2019): `SPLIT/KIND/NAME.png` and `ground_truth/KIND/NAME_mask.png`,
    /// where kind `good` is normal. The folders `train`, `test` and perhaps `validation` are the splits. Images may
    /// stand in folders below, which are then part of `NAME` in images and truth alike.
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
    /// The Brain Imaging Data Structure (Gorgolewski et al. 2016): `sub-01/ses-02/anat/sub-01_ses-02_run-1_FLAIR.nii.gz`,
    /// sessions or none, in a folder with `dataset_description.json`. A case is what all entities of the names have in
    /// common, as in `sub-01_ses-02_run-1`; where a session has one image of each kind, these are its case, whatever their
    /// other entities. Its patient is the subject. The columns of `participants.tsv` and of `sub-01_sessions.tsv` are
    /// carried along ([`Case::further`](super::Case::further)) behind a column `session`; a column `split` is the split where there is no
    /// `splits.csv`. What `.bidsignore` names is no image. An image that a case lacks is found when it is read.
    Bids {
        /// What the names of the images of a case end in, in the order of its channels, as `FLAIR`; perhaps behind entities
        /// that they have, as `acq-3D_FLAIR`.
        suffixes: Vec<String>,
        /// What the names of masks end in, likewise, as `label-lesion_mask`. They are looked for in `derivatives/*` and in
        /// the data set itself. A mask belongs to the image whose entities it has; it may have further ones that tell what
        /// it is (`space`, `desc`, `label` and the like).
        mask: Option<String>,
        /// The one folder in `derivatives` that holds the masks.
        derivative: Option<String>,
    },
    /// DICOM files anywhere below a folder, with the feature `dicom`: a case is a series (`SeriesInstanceUID`) of at least
    /// three images that are no localizers, its patient the `PatientID`. It is called as `PatientID`, `SeriesNumber` and
    /// `SeriesDescription`, in letters that names of files may have. Modality, date, number and description are carried along
    /// ([`Case::further`](super::Case::further)). What is no case is told by `tracing::warn!`; a series that makes no
    /// volume is found when it is read.
    Dicom {
        /// Only series whose description holds this text, in upper or lower case.
        series: Option<String>,
        /// The mask of a case below the folder, as `masks/{case}.nii.gz`, where `{case}` stands for the case.
        mask: Option<String>,
    },
    /// A comma-separated table with a row for each case, which stands for the folder. The column `image` (or `path`) names
    /// its file, or a column for each channel, as `image:flair` and `image:t1`, its files; relative paths start in the
    /// table's folder. Perhaps: `mask`, `case` (else the image's path), `patient` or `subject`, `split`, `kind`. All other
    /// columns are carried along ([`Case::further`](super::Case::further)). Files are looked up when they are read.
    Manifest,
}

impl Layout {
    /// [`Layout::Cases`] of one image a case.
    #[must_use]
    pub fn cases(image: impl Into<String>, mask: Option<&str>) -> Self {
        Self::Cases { images: vec![image.into()], mask: mask.map(str::to_owned) }
    }

    /// [`Layout::Bids`] of one image a case.
    #[must_use]
    pub fn bids(suffix: impl Into<String>, mask: Option<&str>) -> Self {
        Self::Bids { suffixes: vec![suffix.into()], mask: mask.map(str::to_owned), derivative: None }
    }

    /// Its name: `cases`, `mvtec`, `acdc`, `msd`, `images`, `bids`, `dicom` or `manifest`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cases { .. } => "cases",
            Self::MvTec => "mvtec",
            Self::Acdc => "acdc",
            Self::Msd => "msd",
            Self::Images => "images",
            Self::Bids { .. } => "bids",
            Self::Dicom { .. } => "dicom",
            Self::Manifest => "manifest",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layout {
    type Err = UnknownName;

    /// The layout of a name; [`Layout::Cases`] of one image a case, `image.nii.gz`, and [`Layout::Bids`] of one, `T1w`,
    /// without masks; [`Layout::Dicom`] of all series.
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let cases = Self::cases("image.nii.gz", None);
        let dicom = Self::Dicom { series: None, mask: None };
        let all = [
            cases,
            Self::MvTec,
            Self::Images,
            Self::Acdc,
            Self::Msd,
            Self::Manifest,
            Self::bids("T1w", None),
            dicom,
        ];
        let expected = all.iter().map(Self::name).collect();
        let found = all.into_iter().find(|layout| layout.name() == text);
        found.ok_or_else(|| UnknownName { what: "layout", found: text.to_owned(), expected })
    }
}
