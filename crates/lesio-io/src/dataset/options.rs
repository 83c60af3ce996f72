//! Options for listing a data set, in addition to its layout.

use lesio_settings::{named, setters};
use serde::{Deserialize, Serialize};

use crate::matching::Matching;

/// Options for listing a data set, in addition to its [`Layout`](super::Layout).
///
/// ```no_run
/// use lesio_io::dataset::{Dataset, DatasetOptions, Layout, MissingMask};
///
/// // Healthy subjects have no mask, and the user says so.
/// let options = DatasetOptions::new().missing_mask(MissingMask::Normal);
/// let layout = Layout::cases("flair.nii.gz", Some("mask.nii.gz"));
/// let data = Dataset::open_with("hospital", &layout, &options)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DatasetOptions {
    /// Treatment of a case without the mask that the layout expects. Default: [`MissingMask::Refuse`].
    pub missing_mask: MissingMask,
    /// Treatment of rows of `splits.csv` that name no case. Default: [`AbsentCases::Refuse`].
    pub absent_cases: AbsentCases,
    /// How masks and channels are matched to the first image of a case. Default: [`Matching::Place`].
    pub matching: Matching,
}

impl DatasetOptions {
    /// The defaults: missing masks and cases are errors, and masks are matched by place.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

setters!(DatasetOptions { missing_mask: MissingMask, absent_cases: AbsentCases, matching: Matching });

/// Treatment of a case whose mask is missing although its layout expects one: with
/// [`Layout::Cases`](super::Layout::Cases) the named file, with [`Layout::MvTec`](super::Layout::MvTec) the mask of
/// an image of a defect if there is a folder `ground_truth`, with [`Layout::Acdc`](super::Layout::Acdc) the
/// segmentation of a frame if other frames have theirs, with [`Layout::Msd`](super::Layout::Msd) the label of an
/// image if its folder has labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingMask {
    /// An error that lists the cases. This is the default, since a misnamed mask would otherwise make a tumor normal.
    #[default]
    Refuse,
    /// The case is normal, on the word of the user. With a file that is called as the masks and is that of no case, this is
    /// an error: it may be the mask of this case.
    Normal,
    /// The case is left out.
    Skip,
    /// The mask of the case is unknown ([`Mask::Unknown`](super::Mask::Unknown)), for uses that need no ground truth.
    Keep,
}

named!(MissingMask, "rule for a missing mask", {
    "error" => Self::Refuse,
    "normal" => Self::Normal,
    "skip" => Self::Skip,
    "keep" => Self::Keep,
});

/// Treatment of a row of `splits.csv` that names no case of the folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AbsentCases {
    /// An error that lists the rows and the nearest names. This is the default, since `1` in place of `001` would
    /// otherwise leave a case out of its split.
    #[default]
    Refuse,
    /// A warning by `tracing`, for a part of a data set with the `splits.csv` of the whole data set.
    Warn,
}
