//! What lesio's example programs share: the arguments for data, progress bars, and how errors are shown.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod burgess;
pub mod device;
pub mod drawn;
pub mod filters;
pub mod hearts;
pub mod output;
pub mod progress;
pub mod quality;
pub mod reading;

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lesio::io::dataset::{Dataset, DatasetOptions, Layout, MissingMask};
use lesio::io::{Matching, ReadOptions};
use lesio::nn::{Event, Precision};
use lesio::study::Subject;

pub use arguments::{check_folder, command, prepare_folder};
pub use device::DeviceArgs;
pub use progress::{Progress, bar};
pub use reading::ReadArgs;

/// The result of a program.
pub type Outcome = Result<(), Box<dyn Error>>;

/// Runs a program: warnings of the libraries are shown, an error is printed with all its causes, and the exit code says
/// that there was one.
pub fn run(program: impl FnOnce() -> Outcome) -> ExitCode {
    output::show_warnings();
    let outcome = arguments::check_text(std::env::args_os()).map_err(Into::into).and_then(|()| program());
    output::count_hidden_warnings();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error}"));
            let mut cause = error.source();
            while let Some(inner) = cause {
                output::note(&format!("  because: {inner}"));
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes in one line.
#[must_use]
pub fn explain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// How a data set's folder is arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LayoutName {
    /// A folder a case, named files in each; perhaps a splits.csv.
    Cases,
    /// MVTec AD: train/good, test/KIND, `ground_truth/KIND/NAME_mask.png`.
    Mvtec,
    /// Any images or volumes in a folder, or one file.
    Images,
    /// ACDC: patientNNN/patientNNN_frameMM.nii.gz with `..._gt.nii.gz`.
    Acdc,
    /// Medical Segmentation Decathlon: imagesTr, labelsTr.
    Msd,
}

/// In what numbers a model multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PrecisionName {
    /// In 32-bit numbers
    Single,
    /// In bfloat16, which has 8 bits: faster on processors with AVX-512 BF16
    Bfloat16,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::Single => Self::Single,
            PrecisionName::Bfloat16 => Self::Bfloat16,
        }
    }
}

impl LayoutName {
    /// The layout; `images`, one a channel, and `mask` are those of a folder a case.
    #[must_use]
    pub fn layout(self, images: &[String], mask: Option<&str>) -> Layout {
        match self {
            Self::Cases => Layout::Cases { images: images.to_vec(), mask: mask.map(str::to_owned) },
            Self::Mvtec => Layout::MvTec,
            Self::Images => Layout::Images,
            Self::Acdc => Layout::Acdc,
            Self::Msd => Layout::Msd,
        }
    }
}

/// What becomes of a case that lacks its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum MissingMaskName {
    /// An error that lists the cases
    Error,
    /// The case is normal
    Normal,
    /// The case is left out
    Skip,
}

impl From<MissingMaskName> for MissingMask {
    fn from(name: MissingMaskName) -> Self {
        match name {
            MissingMaskName::Error => Self::Refuse,
            MissingMaskName::Normal => Self::Normal,
            MissingMaskName::Skip => Self::Skip,
        }
    }
}

/// How a mask or a segmentation is laid on its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum MatchingName {
    /// By the affines of both: voxels in another order are brought into the image's, another place is an error
    Place,
    /// By the position in the file, whatever the affines say
    Position,
}

impl From<MatchingName> for Matching {
    fn from(name: MatchingName) -> Self {
        match name {
            MatchingName::Place => Self::Place,
            MatchingName::Position => Self::Position,
        }
    }
}

/// Which data a program works on.
#[derive(Clone, Debug, clap::Args)]
pub struct DataArgs {
    /// Folder of the data set
    #[arg(long)]
    pub data: PathBuf,
    /// How the folder is arranged
    #[arg(long, value_enum, default_value = "cases")]
    pub layout: LayoutName,
    /// Name of the image in each case's folder (layout cases); of several co-registered channels all names, separated by
    /// commas
    #[arg(long, value_delimiter = ',', default_value = "image.nii.gz")]
    pub image: Vec<String>,
    /// Name of the mask in each case's folder (layout cases); everything but 0 is abnormal. Without it every case is
    /// taken for normal
    #[arg(long)]
    pub mask: Option<String>,
    /// What becomes of a case without the mask that it should have
    #[arg(long, value_enum, default_value = "error")]
    pub missing_mask: MissingMaskName,
    /// How masks are laid on their images
    #[arg(long = "match", value_enum, default_value = "place")]
    pub matching: MatchingName,
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
        Ok(Dataset::open_with(&self.data, &self.layout(), &self.options())?)
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout.layout(&self.image, self.mask.as_deref())
    }

    /// How the data set is listed.
    #[must_use]
    pub fn options(&self) -> DatasetOptions {
        DatasetOptions::new().missing_mask(self.missing_mask.into()).matching(self.matching.into())
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
        let has_masks = match self.layout {
            LayoutName::Cases => self.mask.is_some(),
            LayoutName::Mvtec | LayoutName::Acdc | LayoutName::Msd => true,
            LayoutName::Images => false,
        };
        if has_masks { Ok(cases.resolved(self.missing_mask.into())?) } else { Ok(cases) }
    }

    /// Reads the cases of a split, as [`DataArgs::select`] takes them, with a progress bar.
    ///
    /// # Errors
    /// As [`DataArgs::select`], or a case that cannot be read.
    pub fn read_split(&self, data: &Dataset, split: &str) -> Result<Vec<Subject>, Box<dyn Error>> {
        read_cases(&self.select(data, split)?, split, &self.read_options())
    }
}

/// Reads the cases of a split with a progress bar.
///
/// # Errors
/// An unknown split, or a case that cannot be read.
pub fn read_split(
    data: &Dataset,
    split: &str,
    options: &ReadOptions,
) -> Result<Vec<Subject>, Box<dyn Error>> {
    read_cases(&data.select(split)?, split, options)
}

/// Reads all cases with a progress bar.
///
/// # Errors
/// A case that cannot be read.
pub fn read_cases(
    cases: &Dataset,
    what: &str,
    options: &ReadOptions,
) -> Result<Vec<Subject>, Box<dyn Error>> {
    let bar = bar(cases.cases().len() as u64, &format!("reading {what}"));
    let mut subjects = Vec::with_capacity(cases.cases().len());
    for case in cases.cases() {
        subjects.push(Subject::read_with(case, options)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(subjects)
}

/// Shows a training: a bar that moves with each update, and a line for each epoch.
pub fn watch_training(bar: &Progress) -> impl FnMut(&Event<'_>) -> ControlFlow<()> + '_ {
    move |event| {
        match event {
            Event::Step { step, steps, terms, gradient_norm, throughput, .. } => {
                bar.set_length(*steps);
                bar.set_position(step + 1);
                let loss = terms.total;
                bar.set_message(format!("loss {loss:.4} |g| {gradient_norm:.1e} {throughput:.0}/s"));
            }
            Event::Skipped { step, loss, gradient_norm } => {
                bar.line(&format!("update {step} skipped: loss {loss}, gradient norm {gradient_norm}"));
            }
            Event::Epoch { record, epochs, best } => {
                let validation = match &record.validation {
                    Some(terms) => format!(", validation {:.5}", terms.total),
                    None => String::new(),
                };
                let parts: Vec<String> =
                    record.training.parts.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
                let mark = if *best { " *" } else { "" };
                let (epoch, training) = (record.epoch + 1, record.training.total);
                let parts = parts.join(", ");
                bar.line(&format!(
                    "epoch {epoch:>3}/{epochs}: training {training:.5} ({parts}){validation}{mark}"
                ));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The file of a model: itself, or `model.safetensors` in a folder.
#[must_use]
pub fn model_path(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("model.safetensors") } else { path.to_owned() }
}
