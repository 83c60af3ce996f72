//! What a user says about a data set beside its layout.

use lesio_settings::{named, setters};
use serde::{Deserialize, Serialize};

use crate::matching::Matching;

/// How a data set is listed, beyond its [`Layout`](super::Layout).
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
    /// What becomes of a case without the mask that the layout says it has. Default: [`MissingMask::Refuse`].
    pub missing_mask: MissingMask,
    /// What `splits.csv` may name. Default: [`AbsentCases::Refuse`].
    pub absent_cases: AbsentCases,
    /// How masks and channels are laid on a case's first image. Default: [`Matching::Place`].
    pub matching: Matching,
}

impl DatasetOptions {
    /// The defaults: what is missing is refused, and masks are matched by place.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

setters!(DatasetOptions { missing_mask: MissingMask, absent_cases: AbsentCases, matching: Matching });

/// What becomes of a case whose mask is absent though its layout says that there is one: with
/// [`Layout::Cases`](super::Layout::Cases) the file named, with [`Layout::MvTec`](super::Layout::MvTec) the truth of
/// an image of a defect where there is a folder `ground_truth`, with [`Layout::Acdc`](super::Layout::Acdc) the
/// segmentation of a frame where other frames have theirs, with [`Layout::Msd`](super::Layout::Msd) the label of an
/// image where its folder has labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingMask {
    /// An error that lists the cases. The default: a misnamed mask would else make a tumour normal.
    #[default]
    Refuse,
    /// The case is normal, as the user says.
    Normal,
    /// The case is left out.
    Skip,
    /// Nothing is known of the case ([`Mask::Unknown`](super::Mask::Unknown)): for what needs no truth.
    Keep,
}

named!(MissingMask, "rule for a missing mask", {
    "error" => Self::Refuse,
    "normal" => Self::Normal,
    "skip" => Self::Skip,
    "keep" => Self::Keep,
});

/// What becomes of a row of `splits.csv` that names no case of the folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AbsentCases {
    /// An error that lists the rows and the nearest names. The default: `1` for `001` would else leave a case out of
    /// its split.
    #[default]
    Refuse,
    /// A warning by `tracing`: for a part of a data set with the `splits.csv` of the whole.
    Warn,
}
