//! The arguments that say which data a program works on.

use std::error::Error;
use std::path::{Path, PathBuf};

use lesio::io::dataset::{Dataset, DatasetOptions, Layout, Mask, MissingMask};
use lesio::io::{Matching, ReadOptions};
use lesio::study::{BadCases, FailedCase, Observer, Subject, read_subjects};

use crate::ReadArgs;
use crate::choices::{layouts, matchings, missing_masks};

/// Which data a program works on.
#[derive(Clone, Debug, clap::Args)]
pub struct DataArgs {
    /// Folder of the data set, or a table of its cases (CSV)
    #[arg(long)]
    pub data: PathBuf,
    /// How the folder is arranged
    #[arg(long, value_parser = layouts(), default_value = "cases")]
    pub layout: Layout,
    /// Name of the image in each case's folder (layout cases), where {case} stands for the folder's name; of several
    /// co-registered channels all names, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "image.nii.gz")]
    pub image: Vec<String>,
    /// Name of the mask in each case's folder (layout cases); everything but 0 is abnormal. Without it every case is
    /// taken for normal
    #[arg(long)]
    pub mask: Option<String>,
    /// What becomes of a case without the mask that it should have
    #[arg(long, value_parser = missing_masks(), default_value = "error")]
    pub missing_mask: MissingMask,
    /// How masks are laid on their images
    #[arg(long = "match", value_parser = matchings(), default_value = "place")]
    pub matching: Matching,
    /// How its files are read
    #[command(flatten)]
    pub reading: ReadArgs,
}

impl DataArgs {
    /// Lists the data set.
    ///
    /// # Errors
    /// A folder that is missing, empty or arranged otherwise, and cases without the mask that they should have.
    pub fn open(&self) -> Result<Dataset, Box<dyn Error>> {
        let options = DatasetOptions::new().missing_mask(self.missing_mask).matching(self.matching);
        Ok(Dataset::open_with(&self.data, &self.layout(), &options)?)
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        if is_manifest(&self.data) {
            return Layout::Manifest;
        }
        with_files(&self.layout, &self.image, self.mask.as_deref())
    }

    /// How its files are read.
    #[must_use]
    pub fn read_options(&self) -> ReadOptions {
        self.reading.options()
    }

    /// The cases of a split to learn from or to be measured with. Where the user or the layout speaks of masks, a
    /// case of which nothing is known becomes what `--missing-mask` says; else all are as they are.
    ///
    /// # Errors
    /// An unknown split, and cases of which nothing is known.
    pub fn select(&self, data: &Dataset, split: &str) -> Result<Dataset, Box<dyn Error>> {
        let cases = data.select(split)?;
        let has_masks = match self.layout() {
            Layout::Manifest => data.cases().iter().any(|case| *case.mask() != Mask::Unknown),
            Layout::Cases { .. } => self.mask.is_some(),
            Layout::Images => false,
            _ => true,
        };
        if has_masks { Ok(cases.resolved(self.missing_mask)?) } else { Ok(cases) }
    }

    /// Reads the cases of a split, as [`DataArgs::select`] takes them. Returns also those that were left out.
    ///
    /// # Errors
    /// As [`DataArgs::select`] and [`read_subjects`].
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

/// Whether a path is a table of cases.
#[must_use]
pub fn is_manifest(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"))
}

/// A layout with the names of the images, one a channel, and of the mask where it is that of a folder a case.
#[must_use]
pub fn with_files(layout: &Layout, images: &[String], mask: Option<&str>) -> Layout {
    match layout {
        Layout::Cases { .. } => Layout::Cases { images: images.to_vec(), mask: mask.map(str::to_owned) },
        other => other.clone(),
    }
}
