//! Parsers of arguments that are one of several names, each with its help.

use std::error::Error;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use lesio::io::dataset::{Layout, MissingMask};
use lesio::io::{AffineSource, Matching};
use lesio::nn::Precision;
use lesio::study::WrittenMaps;

fn names(helps: &[(&'static str, &'static str)]) -> PossibleValuesParser {
    let value = |&(name, help): &(&'static str, &'static str)| match help {
        "" => PossibleValue::new(name),
        help => PossibleValue::new(name).help(help),
    };
    PossibleValuesParser::new(helps.iter().map(value))
}

/// A parser of names that the library reads, each with its help.
pub fn named<T>(helps: &[(&'static str, &'static str)]) -> impl TypedValueParser<Value = T> + use<T>
where
    T: FromStr<Err: Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    names(helps).try_map(|name| name.parse::<T>())
}

/// A parser of names that stand for settings of the library, each with its help.
pub fn one_of<T: Clone + Send + Sync + 'static>(
    settings: Vec<(&'static str, &'static str, T)>,
) -> impl TypedValueParser<Value = T> + use<T> {
    let helps: Vec<_> = settings.iter().map(|&(name, help, _)| (name, help)).collect();
    names(&helps).try_map(move |name| {
        let found = settings.iter().find(|&&(own, ..)| own == name);
        found.map(|(_, _, setting)| setting.clone()).ok_or("no such setting")
    })
}

/// How a data set's folder is arranged.
pub fn layouts() -> impl TypedValueParser<Value = Layout> {
    named(&[
        ("cases", "A folder a case, named files in each; perhaps a splits.csv"),
        ("mvtec", "MVTec AD: train/good, test/KIND, `ground_truth/KIND/NAME_mask.png`"),
        ("images", "Any images or volumes in a folder, or one file"),
        ("acdc", "ACDC: patientNNN/patientNNN_frameMM.nii.gz with `..._gt.nii.gz`"),
        ("msd", "Medical Segmentation Decathlon: imagesTr, labelsTr"),
        (
            "manifest",
            "A table (CSV) with a row a case: image, perhaps mask, patient, split; see docs/datasets.md",
        ),
    ])
}

/// In what numbers a model multiplies.
pub fn precisions() -> impl TypedValueParser<Value = Precision> {
    named(&[
        ("single", "In 32-bit numbers"),
        ("bfloat16", "In bfloat16, which has 8 bits: faster on processors with AVX-512 BF16"),
    ])
}

/// Which maps are written.
pub fn written_maps() -> impl TypedValueParser<Value = WrittenMaps> {
    one_of(vec![
        ("none", "None: pictures and tables alone", WrittenMaps::None),
        ("filtered", "The post-processed one, and of volumes the lesions by number", WrittenMaps::Filtered),
        ("all", "Also the raw one", WrittenMaps::All),
    ])
}

/// What becomes of a case that lacks its mask.
pub fn missing_masks() -> impl TypedValueParser<Value = MissingMask> {
    named(&[
        ("error", "An error that lists the cases"),
        ("normal", "The case is normal"),
        ("skip", "The case is left out"),
    ])
}

/// How a mask or a segmentation is laid on its image.
pub fn matchings() -> impl TypedValueParser<Value = Matching> {
    named(&[
        (
            "place",
            "By the affines of both: voxels in another order are brought into the image's, another place is an error",
        ),
        ("position", "By the position in the file, whatever the affines say"),
    ])
}

/// The sources of an affine.
pub fn affine_sources() -> impl TypedValueParser<Value = AffineSource> {
    named(&[("auto", ""), ("sform", ""), ("qform", "")])
}
