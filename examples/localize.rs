//! Maps what does not belong in images, on their own grids.
//!
//! `cargo run --release --example localize -- --model target/lesio/train --input flair.nii.gz --out maps`

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::anomaly::{Localizer, PredictorName};
use lesio::io::dataset::{Dataset, DatasetErrorKind, DatasetOptions, Layout, MissingMask};
use lesio::io::{IMAGE_ENDINGS, VOLUME_ENDINGS};
use lesio::nn::Precision;
use lesio::report::{Existing, write_json};
use lesio::study::{
    CaseFolders, ChannelMaps, DetectionRule, LocalizeConfig, localize_folder, prepare_folder,
};
use lesio_examples::arguments::share;
use lesio_examples::choices::{layouts, precisions};
use lesio_examples::output::one_line;
use lesio_examples::{DeviceArgs, Outcome, ReadArgs, Watch, model_path, run, say, stamped, with_files};
use serde_json::json;

/// Map what does not belong in a volume or picture, or in every one of a folder.
///
/// For each image and predictor: the map on the image's own grid (NIfTI with the affine, codes and units of its
/// input; TIFF of 32-bit floats for pictures), post-processed and raw, an overlay picture, and a table of
/// what was found with sizes, places and p-values. All of it is also in report.json.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// A model file of `train`, or its folder
    #[arg(long)]
    model: PathBuf,
    /// A NIfTI, PNG, JPEG, TIFF or BMP file, or a folder; of several co-registered channels all files, separated by commas
    #[arg(long)]
    input: String,
    /// How a folder is arranged
    #[arg(long, value_parser = layouts(), default_value = "images")]
    layout: Layout,
    /// Name of the image in each case's folder (layout cases); of several co-registered channels all names, separated by
    /// commas
    #[arg(long, value_delimiter = ',', default_value = "image.nii.gz")]
    image: Vec<String>,
    /// Split to map, as in splits.csv; "all" takes every case
    #[arg(long, default_value = "all")]
    split: String,
    /// Predictors, separated by commas; by default the one that validation data chose for the model, and pixel-l1 where
    /// none held a lesion
    #[arg(long, value_delimiter = ',')]
    predictor: Vec<PredictorName>,
    /// In what numbers a VAE multiplies, instead of those it was trained in
    #[arg(long, value_parser = precisions())]
    precision: Option<Precision>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Share of normal pixels that may be marked
    #[arg(long, value_parser = share, default_value = "0.001")]
    rate: f64,
    /// Instead: share of normal images in which anything at all may be marked
    #[arg(long, value_parser = share, conflicts_with = "rate")]
    family_wise: Option<f64>,
    /// Slices of a volume in its overlay picture
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=50))]
    slices: u16,
    #[command(flatten)]
    reading: ReadArgs,
    /// Also write the raw map of each channel by itself
    #[arg(long)]
    by_channel: bool,
    /// Replace files of earlier runs
    #[arg(long)]
    overwrite: bool,
    /// Folder for the results
    #[arg(long, default_value = "target/lesio/localize")]
    out: PathBuf,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let started = Instant::now();
    let model = model_path(&args.model);
    let localizer = Localizer::load_with(&model, &args.device.loading(args.precision))?;
    // The files of a case with several channels, or one path, in which a comma may be.
    let inputs: Vec<PathBuf> = match Path::new(&args.input).exists() {
        true => vec![args.input.as_str().into()],
        false => args.input.split(',').map(PathBuf::from).collect(),
    };
    let is_one = inputs.len() > 1 || inputs.iter().all(|input| input.is_file());
    let existing = if args.overwrite { Existing::Replace } else { Existing::Refuse };
    let config = LocalizeConfig::new(&args.out)
        .folders(if is_one { CaseFolders::One } else { CaseFolders::PerCase })
        .existing(existing)
        .predictors(args.predictor.clone())
        .rule(args.family_wise.map_or(DetectionRule::PixelRate(args.rate), DetectionRule::FamilyWise))
        .slices(args.slices.into())
        .channel_maps(if args.by_channel { ChannelMaps::AlsoSingle } else { ChannelMaps::Together })
        .reading(args.reading.options());
    config.validate(&localizer)?;
    let data = open(&args, &inputs)?;
    let found = localize_folder(&localizer, &data, &config, &mut Watch::default())?;

    let mut report = stamped(found.to_json()?, "localize", started);
    report["model"]["file"] = json!(model);
    prepare_folder(&args.out)?;
    let path = args.out.join("report.json");
    write_json(&path, &report, existing)?;
    for case in &found.cases {
        case.to_markdown(&one_line(&case.id))?.iter().for_each(|text| say!("{text}"));
    }
    say!("wrote {} in {:.1} s", path.display(), started.elapsed().as_secs_f64());
    match found.failed.len() {
        0 => Ok(()),
        count => Err(format!("{count} of {} images could not be mapped", data.cases().len()).into()),
    }
}

/// Lists what is to be mapped.
fn open(args: &Args, inputs: &[PathBuf]) -> Result<Dataset, Box<dyn Error>> {
    if let Some(missing) = inputs.iter().find(|input| !input.exists()) {
        return Err(format!("{}: there is no such file or folder", missing.display()).into());
    }
    let [path] = inputs else { return Ok(Dataset::of_channels(inputs)?) };
    let layout = if path.is_file() { Layout::Images } else { with_files(&args.layout, &args.image, None) };
    // Maps need no truth, so that nothing about masks can stand in the way.
    let options = DatasetOptions::new().missing_mask(MissingMask::Keep);
    match Dataset::open_with(path, &layout, &options) {
        Err(error) if path.is_file() && matches!(error.kind(), DatasetErrorKind::Empty { .. }) => {
            let known: Vec<&str> = VOLUME_ENDINGS.into_iter().chain(IMAGE_ENDINGS).collect();
            Err(format!("{}: the name ends in none of {}", path.display(), known.join(", ")).into())
        }
        data => Ok(data?.without_masks().select(&args.split)?),
    }
}
