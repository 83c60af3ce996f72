//! The arguments that select labeled data for estimators of segmentation quality.

use std::path::PathBuf;

use lesio::io::dataset::Layout;
use lesio::study::quality::QualityDataConfig;

use crate::choices::layouts;
use crate::{LayoutArgs, ReadArgs, is_manifest};

/// Selects images with their true labels.
#[derive(Clone, Debug, clap::Args)]
pub struct LabeledDataArgs {
    /// Folder of the data set, or a table of its cases (CSV)
    #[arg(long)]
    pub data: PathBuf,
    /// How the folder is arranged
    #[arg(long, value_parser = layouts(), default_value = "acdc")]
    pub layout: Layout,
    /// Name of the image in each case's folder (layout cases); {case} stands for the folder's name. For several
    /// co-registered channels, give all names, separated by commas [default: image.nii.gz]
    #[arg(long, value_delimiter = ',')]
    pub image: Vec<String>,
    /// Name of the labels in each case's folder (layout cases), the end of their names such as dseg (bids), or
    /// masks/{case}.nii.gz (dicom). Cases without labels are left out
    #[arg(long)]
    pub mask: Option<String>,
    /// Arguments of single layouts
    #[command(flatten)]
    pub of_layout: LayoutArgs,
    /// How its files are read
    #[command(flatten)]
    pub reading: ReadArgs,
}

impl LabeledDataArgs {
    /// The data of estimators whose patients are dealt by a seed.
    ///
    /// # Errors
    /// For arguments of another layout, and a layout whose labels have no name.
    pub fn config(&self, seed: u64) -> Result<QualityDataConfig, String> {
        let mut layout = self.layout.clone();
        if is_manifest(&self.data) {
            layout = Layout::Manifest;
        }
        self.of_layout.check(&layout, &self.image, self.mask.as_ref().map(|_| "mask"))?;
        let is_named = matches!(layout, Layout::Cases { .. } | Layout::Bids { .. } | Layout::Dicom { .. });
        if is_named && self.mask.is_none() {
            return Err(format!("--layout {layout} needs --mask, the name of the labels"));
        }
        if layout == Layout::Images {
            return Err("--layout images has no labels: give a table of the cases (CSV)".to_owned());
        }
        let layout = self.of_layout.complete(&layout, &self.image, self.mask.as_deref());
        Ok(QualityDataConfig::new(layout, seed).reading(self.reading.options()))
    }
}
