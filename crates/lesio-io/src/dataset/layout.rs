//! Arrangements of the folders of data sets.

use std::fmt;
use std::str::FromStr;

use lesio_settings::UnknownName;
use serde::{Deserialize, Serialize};

/// The arrangement of a data set's folder.
///
/// Every layout ignores names that start with a dot, and folders that contain results of lesio's programs. A file
/// `splits.csv` in the folder assigns splits: comma-separated, with a header, a column `patient` (or `case` or
/// `subject`), a column `split`, and for ACDC optionally a column `frame`; other columns are ignored. A case that it
/// does not name belongs to no split, and every patient or case that it names must exist (see
/// [`AbsentCases`](super::AbsentCases)). Volumes and images are recognized by their file endings
/// ([`VOLUME_ENDINGS`](crate::VOLUME_ENDINGS), [`IMAGE_ENDINGS`](crate::IMAGE_ENDINGS)), in upper or lower case.
/// `tracing::warn!` reports other files, except documents, and links to folders that are not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Layout {
    /// One folder for each case, with the same file names in each folder. The folder's name is the name of the case and
    /// of the patient. A folder without an image is an error. An image that is there and cannot be read (a link whose
    /// target does not exist, a pipe, a name that is not UTF-8) is an error only when the case is read.
    Cases {
        /// File names of the images of a case, in the order of its channels, such as `flair.nii.gz`. `{case}` stands
        /// for the folder's name, as in `{case}_flair.nii.gz`. If a file does not exist, `.nii` replaces `.nii.gz`
        /// and the reverse.
        images: Vec<String>,
        /// File name of the mask, in the same form, if there are masks. For cases without a mask see
        /// [`MissingMask`](super::MissingMask).
        mask: Option<String>,
    },
    /// MVTec AD (Bergmann et al. 2019): `SPLIT/KIND/NAME.png` and `ground_truth/KIND/NAME_mask.png`, where kind
    /// `good` is normal. The folders `train`, `test` and optionally `validation` are the splits. Images may be in
    /// subfolders, which are then a part of `NAME`, both for images and for masks.
    #[serde(rename = "mvtec")]
    MvTec,
    /// ACDC (Bernard et al. 2018): `patientNNN/patientNNN_frameMM.nii.gz` with `..._gt.nii.gz`; a case is a frame. If
    /// the patients are in folders `training` and `testing`, these are the splits `train` and `test`.
    Acdc,
    /// Medical Segmentation Decathlon (Antonelli et al. 2022): `imagesTr/NAME.nii.gz` with `labelsTr/NAME.nii.gz`,
    /// and `imagesTs` without labels. Without `splits.csv`, these are the splits `train` and `test`.
    Msd,
    /// Any images or volumes in a folder and its subfolders, or a single file. What cannot be read is an error only
    /// when the case is read.
    Images,
    /// The Brain Imaging Data Structure (Gorgolewski et al. 2016):
    /// `sub-01/ses-02/anat/sub-01_ses-02_run-1_FLAIR.nii.gz`, with or without sessions, in a folder with
    /// `dataset_description.json`. Images with the same entities form a case, which is named after these entities,
    /// such as `sub-01_ses-02_run-1`. If a session has one image of each kind, these images form a case even if their
    /// other entities differ. The patient is the subject. The columns of `participants.tsv` and of
    /// `sub-01_sessions.tsv` are kept in [`Case::further`](super::Case::further), after a column `session`; a column
    /// `split` is the split if there is no `splits.csv`. Files that `.bidsignore` names are ignored. A missing image
    /// of a case is an error only when the case is read.
    Bids {
        /// The ends of the names of a case's images, in the order of its channels, such as `FLAIR`. Entities that the
        /// names must have may precede the suffix, as in `acq-3D_FLAIR`.
        suffixes: Vec<String>,
        /// The end of the names of masks, in the same form, such as `label-lesion_mask`. Masks are searched for in
        /// `derivatives/*` and in the data set itself. A mask belongs to the image whose entities it has; it may have
        /// further entities that describe the mask (`space`, `desc`, `label` and the like).
        mask: Option<String>,
        /// The only folder, in `derivatives`, in which masks are searched for. Default: all, and the data set itself.
        derivative: Option<String>,
    },
    /// DICOM files anywhere below a folder, with the feature `dicom`. A case is a series (`SeriesInstanceUID`) of at
    /// least three images that are not localizers. Its patient is the `PatientID`. Its name consists of `PatientID`,
    /// `SeriesNumber` and `SeriesDescription`, in letters that file names may have. Modality, date, number and
    /// description are kept in [`Case::further`](super::Case::further). `tracing::warn!` reports everything that is
    /// not a case; a series that does not form a volume is an error only when it is read.
    ///
    /// A DICOM file that is damaged, and an empty or cut file with the name of one, may be a slice without which the
    /// volume would be shorter. It makes each series with a slice in its folder a case that is an error when it is read
    /// ([`PossibleSlice`](crate::ReadErrorKind::PossibleSlice)); if it still names its series, only that one.
    Dicom {
        /// Restricts the cases to series whose description contains this text, in upper or lower case.
        series: Option<String>,
        /// The path of a case's mask below the folder, such as `masks/{case}.nii.gz`, where `{case}` stands for the
        /// name of the case.
        mask: Option<String>,
    },
    /// A comma-separated table with one row for each case; its path takes the place of the folder. Either a column
    /// `image` (or `path`) contains the file of the case, or one column for each channel contains its file, such as
    /// `image:flair` and `image:t1`. Relative paths are relative to the table's folder. Optional columns are `mask`,
    /// `case` (default: the path of the image), `patient` or `subject`, `split`, and `kind`. All other columns are
    /// kept in [`Case::further`](super::Case::further). A file that does not exist is an error only when it is read.
    Manifest,
}

impl Layout {
    /// [`Layout::Cases`] with one image for each case.
    #[must_use]
    pub fn cases(image: impl Into<String>, mask: Option<&str>) -> Self {
        Self::Cases { images: vec![image.into()], mask: mask.map(str::to_owned) }
    }

    /// [`Layout::Bids`] with one image for each case.
    #[must_use]
    pub fn bids(suffix: impl Into<String>, mask: Option<&str>) -> Self {
        Self::Bids { suffixes: vec![suffix.into()], mask: mask.map(str::to_owned), derivative: None }
    }

    /// The name of the layout: `cases`, `mvtec`, `acdc`, `msd`, `images`, `bids`, `dicom` or `manifest`.
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

    /// The layout with this name. [`Layout::Cases`] has one image for each case, `image.nii.gz`, and [`Layout::Bids`]
    /// one image, `T1w`, both without masks; [`Layout::Dicom`] includes all series.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing but this test notices a layout that [`Layout::from_str`] does not list.
    #[test]
    fn every_layout_is_read_from_its_name() {
        // "unknown variant `none`, expected one of `cases`, `mvtec`, ..."
        let error = serde_json::from_str::<Layout>("\"none\"").unwrap_err().to_string();
        let names: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert!(names.contains(&"cases") && names.contains(&"manifest"), "{error}");
        for name in &names {
            assert_eq!(name.parse::<Layout>().unwrap().name(), *name);
        }
        let listed = "none".parse::<Layout>().unwrap_err().expected;
        assert_eq!(listed.len(), names.len(), "{listed:?} {names:?}");
    }
}
