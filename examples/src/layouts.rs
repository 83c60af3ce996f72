//! Arguments of single layouts.

use lesio::io::dataset::Layout;

/// Arguments of single layouts.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LayoutArgs {
    /// Layout bids: the end of the names of images, optionally with entities before it, such as FLAIR or acq-3D_FLAIR.
    /// For several co-registered channels, give all, separated by commas [default: T1w]
    #[arg(long, value_delimiter = ',')]
    pub suffix: Vec<String>,
    /// Layout bids: the folder in derivatives that contains the masks, if several do
    #[arg(long, value_name = "NAME")]
    pub derivative: Option<String>,
    /// Layout dicom: use only series whose description contains this text, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    pub series: Option<String>,
}

impl LayoutArgs {
    /// Completes a layout with the names of its images and masks: file names for the layout cases (image.nii.gz if none is
    /// given), ends of names for bids.
    #[must_use]
    pub fn complete(&self, layout: &Layout, images: &[String], mask: Option<&str>) -> Layout {
        let mask = mask.map(str::to_owned);
        match layout {
            Layout::Cases { images: default, .. } => {
                Layout::Cases { images: if images.is_empty() { default } else { images }.to_vec(), mask }
            }
            Layout::Bids { suffixes, .. } => {
                let suffixes = if self.suffix.is_empty() { suffixes } else { &self.suffix };
                Layout::Bids { suffixes: suffixes.clone(), mask, derivative: self.derivative.clone() }
            }
            Layout::Dicom { .. } => Layout::Dicom { series: self.series.clone(), mask },
            other => other.clone(),
        }
    }

    /// Checks that the layout accepts the given arguments, among them the names of images, and the option that names
    /// masks, if it is given.
    ///
    /// # Errors
    /// Names the first argument that it does not accept.
    pub fn check(&self, layout: &Layout, images: &[String], mask: Option<&str>) -> Result<(), String> {
        let given: [(&str, &[&str], bool); 5] = [
            ("image", &["cases"], !images.is_empty()),
            (mask.unwrap_or_default(), &["cases", "bids", "dicom"], mask.is_some()),
            ("suffix", &["bids"], !self.suffix.is_empty()),
            ("derivative", &["bids"], self.derivative.is_some()),
            ("series", &["dicom"], self.series.is_some()),
        ];
        let wrong = given.into_iter().find(|(_, of, given)| *given && !of.contains(&layout.name()));
        wrong.map_or(Ok(()), |(option, of, _)| {
            Err(format!("--{option} goes with --layout {}, the layout is {layout}", of.join(", ")))
        })
    }
}
