//! Parsers of arguments that take one of several names, each name with its help text.

use std::error::Error;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use lesio::image::{Alignment, Frame, GridFit, Resize};
use lesio::io::dataset::{Layout, MissingMask};
use lesio::io::{AffineSource, Matching, NanValues};
use lesio::nn::Precision;
use lesio::study::{OutputLayout, ReportPages, WrittenMaps};
use lesio::vae::Mirror;

fn names(helps: &[(&'static str, &'static str)]) -> PossibleValuesParser {
    let value = |&(name, help): &(&'static str, &'static str)| match help {
        "" => PossibleValue::new(name),
        help => PossibleValue::new(name).help(help),
    };
    PossibleValuesParser::new(helps.iter().map(value))
}

/// Returns a parser of names that the library parses, each with its help text.
pub fn named<T>(helps: &[(&'static str, &'static str)]) -> impl TypedValueParser<Value = T> + use<T>
where
    T: FromStr<Err: Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    names(helps).try_map(|name| name.parse::<T>())
}

/// Returns a parser of names that stand for library settings, each with its help text.
pub fn one_of<T: Clone + Send + Sync + 'static>(
    settings: Vec<(&'static str, &'static str, T)>,
) -> impl TypedValueParser<Value = T> + use<T> {
    let helps: Vec<_> = settings.iter().map(|&(name, help, _)| (name, help)).collect();
    names(&helps).try_map(move |name| {
        let found = settings.iter().find(|&&(own, ..)| own == name);
        found.map(|(_, _, setting)| setting.clone()).ok_or("no such setting")
    })
}

/// The layouts of a data set's folder.
pub fn layouts() -> impl TypedValueParser<Value = Layout> {
    named(&[
        ("cases", "One folder per case with files of the given names; optionally a splits.csv"),
        ("mvtec", "MVTec AD: train/good, test/KIND, `ground_truth/KIND/NAME_mask.png`"),
        ("images", "Any images or volumes in a folder, or one file"),
        ("acdc", "ACDC: patientNNN/patientNNN_frameMM.nii.gz with `..._gt.nii.gz`"),
        ("msd", "Medical Segmentation Decathlon: imagesTr, labelsTr"),
        ("bids", "BIDS: sub-01/ses-02/anat/sub-01_ses-02_FLAIR.nii.gz, masks in derivatives"),
        ("dicom", "DICOM series anywhere below a folder (programs built with the feature dicom)"),
        (
            "manifest",
            "A table (CSV) with one row per case: image, optionally mask, patient, split; see docs/datasets.md",
        ),
    ])
}

/// Whether images are mirrored; `true` and `false` are from earlier versions.
pub fn mirrors() -> impl TypedValueParser<Value = Mirror> {
    let left_right = PossibleValue::new("left-right").alias("true");
    let both =
        PossibleValue::new("both").help("Also upside down: for textures, and objects without an upper end");
    let never = PossibleValue::new("never").alias("false");
    PossibleValuesParser::new([left_right, both, never]).try_map(|name| match name.as_str() {
        "true" => Ok(Mirror::LeftRight),
        "false" => Ok(Mirror::Never),
        name => name.parse::<Mirror>(),
    })
}

/// The number formats in which a network is computed.
pub fn precisions() -> impl TypedValueParser<Value = Precision> {
    named(&[
        ("single", "32-bit floating point"),
        ("bfloat16", "bfloat16 (8 significant bits): faster on processors with AVX-512 BF16"),
    ])
}

/// The placement of images on a grid of `[height, width]`.
pub type FrameOfGrid = fn([usize; 2]) -> Frame;

/// The placements of images on a network's grid.
pub fn frames() -> impl TypedValueParser<Value = FrameOfGrid> {
    one_of::<FrameOfGrid>(vec![
        ("fit", "The whole image with its proportions; the rest of the grid is empty", |grid| {
            Frame::Fit(GridFit::new(grid))
        }),
        (
            "stretch",
            "The whole image over the whole grid, each axis by its own factor: for textures and pictures of one format",
            |grid| Frame::Fit(GridFit::new(grid).resize(Resize::Stretch)),
        ),
        ("align", "The box around the foreground", |grid| Frame::Align(Alignment::new(grid))),
    ])
}

/// Which maps are written.
pub fn written_maps() -> impl TypedValueParser<Value = WrittenMaps> {
    named(&[
        ("none", "No maps, only pictures and tables"),
        ("filtered", "The post-processed map and, for volumes, the numbered lesions"),
        ("all", "Also the raw map"),
    ])
}

/// How the results of many cases are arranged.
pub fn output_layouts() -> impl TypedValueParser<Value = OutputLayout> {
    named(&[
        ("folders", "A folder for each case"),
        ("bids", "A BIDS derivative; the images must have the layout bids"),
    ])
}

/// The HTML pages to write.
pub fn report_pages() -> impl TypedValueParser<Value = ReportPages> {
    named(&[
        ("none", "None"),
        ("table", "report.html: all images with their verdicts and thumbnails"),
        ("full", "Also case.html for each image: its slices and maps"),
    ])
}

/// How a case without its mask is treated.
pub fn missing_masks() -> impl TypedValueParser<Value = MissingMask> {
    named(&[
        ("error", "Stop with an error that lists the cases"),
        ("normal", "Treat the case as normal"),
        ("skip", "Leave the case out"),
    ])
}

/// How a mask or a segmentation is matched to its image.
pub fn matchings() -> impl TypedValueParser<Value = Matching> {
    named(&[
        (
            "place",
            "By both affines: voxels are reordered to match the image; a different position in space is an error",
        ),
        ("position", "By the voxel index in the file; the affines are ignored"),
    ])
}

/// The meanings of NaN in an image.
pub fn meanings_of_nan() -> impl TypedValueParser<Value = NanValues> {
    named(&[
        ("keep", "Nothing known: an image with NaN is an error"),
        ("zero", "The value 0, as outside of the mask in images of SPM"),
    ])
}

/// The sources of an affine.
pub fn affine_sources() -> impl TypedValueParser<Value = AffineSource> {
    named(&[("auto", ""), ("sform", ""), ("qform", "")])
}
