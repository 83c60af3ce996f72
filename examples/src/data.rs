//! The arguments that select the data of a program.

use std::error::Error;
use std::path::{Path, PathBuf};

use lesio::io::dataset::{Dataset, DatasetOptions, Layout, Mask, MissingMask};
use lesio::io::{MaskRule, Matching, ReadOptions};
use lesio::study::{BadCases, FailedCase, Observer, Subject, read_subjects};

use crate::choices::{layouts, matchings, missing_masks};
use crate::output::warn;
use crate::{LayoutArgs, ReadArgs};

/// Selects the data of a program.
#[derive(Clone, Debug, clap::Args)]
pub struct DataArgs {
    /// Folder of the data set, or a table of its cases (CSV)
    #[arg(long)]
    pub data: PathBuf,
    /// How the folder is arranged
    #[arg(long, value_parser = layouts(), default_value = "cases")]
    pub layout: Layout,
    /// Name of the image in each case's folder (layout cases); {case} stands for the folder's name. For several
    /// co-registered channels, give all names, separated by commas [default: image.nii.gz]
    #[arg(long, value_delimiter = ',')]
    pub image: Vec<String>,
    /// Name of the mask in each case's folder (layout cases), the end of the names of masks such as label-lesion_mask (bids),
    /// or masks/{case}.nii.gz (dicom); every value except 0 is abnormal. Without this option, every case counts as normal
    #[arg(long)]
    pub mask: Option<String>,
    /// Arguments of single layouts
    #[command(flatten)]
    pub of_layout: LayoutArgs,
    /// Count only values of masks above this as inside: 127 for masks of 8 bits with smooth edges, 0.5 for maps of
    /// probabilities. Values are those after the scale in a NIfTI header, colors of a palette, and 255 for the white of a
    /// single bit [default: every value except 0]
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true, value_parser = mask_rule)]
    pub mask_above: Option<MaskRule>,
    /// How to treat a case whose mask is missing
    #[arg(long, value_parser = missing_masks(), default_value = "error")]
    pub missing_mask: MissingMask,
    /// How to match masks to their images
    #[arg(long = "match", value_parser = matchings(), default_value = "place")]
    pub matching: Matching,
    /// How its files are read
    #[command(flatten)]
    pub reading: ReadArgs,
}

impl DataArgs {
    /// Lists the cases of the data set.
    ///
    /// # Errors
    /// If the folder is missing, empty or has another layout, if cases lack a required mask, and for arguments of another
    /// layout.
    pub fn open(&self) -> Result<Dataset, Box<dyn Error>> {
        self.of_layout.check(&self.layout(), &self.image, self.mask.as_ref().map(|_| "mask"))?;
        let is_without = self.mask.is_none() && matches!(self.layout(), Layout::Cases { .. });
        if self.mask_above.is_some() && is_without {
            return Err("--mask-above has no effect without --mask".into());
        }
        if self.missing_mask != MissingMask::default() && is_without {
            warn("--missing-mask has no effect here: no --mask is given");
        }
        if self.matching != Matching::default() && is_without && self.image.len() < 2 {
            warn("--match has no effect here: no --mask and no second channel is given");
        }
        let options = DatasetOptions::new().missing_mask(self.missing_mask).matching(self.matching);
        Ok(Dataset::open_with(&self.data, &self.layout(), &options)?)
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        if is_manifest(&self.data) {
            return Layout::Manifest;
        }
        self.of_layout.complete(&self.layout, &self.image, self.mask.as_deref())
    }

    /// How its files are read.
    #[must_use]
    pub fn read_options(&self) -> ReadOptions {
        self.reading.options().mask_rule(self.mask_above.unwrap_or_default())
    }

    /// Selects the cases of a split, for training or evaluation. If the arguments or the layout name masks, a case of
    /// unknown truth is treated as `--missing-mask` says; otherwise all cases are kept as they are.
    ///
    /// # Errors
    /// For an unknown split, and for cases of unknown truth with `--missing-mask error`.
    pub fn select(&self, data: &Dataset, split: &str) -> Result<Dataset, Box<dyn Error>> {
        let cases = data.select(split)?;
        let has_masks = match self.layout() {
            Layout::Manifest => data.cases().iter().any(|case| *case.mask() != Mask::Unknown),
            Layout::Cases { .. } | Layout::Bids { .. } | Layout::Dicom { .. } => self.mask.is_some(),
            Layout::Images => false,
            _ => true,
        };
        if has_masks { Ok(cases.resolved(self.missing_mask)?) } else { Ok(cases) }
    }

    /// Reads the cases that [`DataArgs::select`] returns. Also returns the cases that were left out.
    ///
    /// # Errors
    /// Those of [`DataArgs::select`] and [`read_subjects`].
    pub fn read_split(
        &self,
        data: &Dataset,
        split: &str,
        bad: BadCases,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<Subject>, Vec<FailedCase>), Box<dyn Error>> {
        let cases = self.select(data, split)?;
        Ok(read_subjects(cases.cases(), split, &self.read_options(), bad, observer)?)
    }
}

/// Parses the threshold of a mask.
///
/// # Errors
/// For text that is no finite number.
pub(crate) fn mask_rule(text: &str) -> Result<MaskRule, String> {
    let number: Result<f64, _> = text.parse();
    number.ok().and_then(|threshold| MaskRule::above(threshold).ok()).ok_or("expected a number".to_owned())
}

/// Whether a path is a table of cases.
#[must_use]
pub fn is_manifest(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"))
}
