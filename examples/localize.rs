//! Maps what does not belong in images, on their own grids.
//!
//! `cargo run --release --example localize -- --model target/lesio/train --input flair.nii.gz --out maps`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::anomaly::PredictorName;
use lesio::io::dataset::Layout;
use lesio::nn::Precision;
use lesio::report::write_json;
use lesio::study::{
    CaseFolders, ChannelMaps, DetectionRule, LocalizationReport, LocalizeConfig, OutputLayout, ReportPages,
    WrittenMaps, localize_folder, prepare_folder,
};
use lesio_examples::arguments::share;
use lesio_examples::choices::{layouts, output_layouts, precisions, report_pages, written_maps};
use lesio_examples::cohort::{CohortArgs, not_mapped};
use lesio_examples::inputs::Inputs;
use lesio_examples::models::load_model;
use lesio_examples::output::one_line;
use lesio_examples::{DeviceArgs, LayoutArgs, Outcome, ReadArgs, Watch, model_path, parse, run, say, stamp};

/// Map anomalies in a volume or picture, or in every image of a folder.
///
/// For each image and predictor the program writes the post-processed and the raw map on the image's own grid (NIfTI
/// with the affine, codes and units of its input; TIFF of 32-bit floats for pictures), an overlay picture, and the
/// findings with sizes, positions and p-values. For each image it gives a verdict: abnormal, normal, or cannot tell.
/// The results are in report.json, in the tables cases.csv and lesions.csv, and in report.html.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// A model file of `train`, or its folder
    #[arg(long)]
    model: PathBuf,
    /// A NIfTI, PNG, JPEG, TIFF or BMP file, a folder, or a table of cases (CSV). For several co-registered channels,
    /// give all files, separated by commas
    #[arg(long)]
    input: String,
    /// Layout of a folder
    #[arg(long, value_parser = layouts(), default_value = "images")]
    layout: Layout,
    /// Name of the image in the folder of each case (layout cases); {case} stands for the name of the folder. For
    /// several co-registered channels, give all names, separated by commas [default: image.nii.gz]
    #[arg(long, value_delimiter = ',')]
    image: Vec<String>,
    #[command(flatten)]
    of_layout: LayoutArgs,
    /// Split to map, as in splits.csv; "all" uses every case
    #[arg(long, default_value = "all")]
    split: String,
    /// Predictors, separated by commas. The default is the predictor that validation data chose for the model, and
    /// otherwise pixel-l1 (anomaly-logit for segmenters)
    #[arg(long, value_delimiter = ',')]
    predictor: Vec<PredictorName>,
    /// Number format of the products in a VAE, instead of the format of its training
    #[arg(long, value_parser = precisions())]
    precision: Option<Precision>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Fraction of normal pixels that may be marked
    #[arg(long, value_parser = share, default_value = "0.001")]
    rate: f64,
    /// Instead: fraction of normal images in which any pixel may be marked
    #[arg(long, value_parser = share, conflicts_with = "rate")]
    family_wise: Option<f64>,
    /// Level of the verdicts: the probability that a normal image is called abnormal
    #[arg(long, value_parser = share, default_value = "0.05")]
    level: f64,
    /// Number of slices of a volume in its overlay picture
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=50))]
    slices: u16,
    #[command(flatten)]
    reading: ReadArgs,
    /// Also write a separate raw map for each channel
    #[arg(long)]
    by_channel: bool,
    /// Which maps to write, in addition to pictures and tables
    #[arg(long, value_parser = written_maps(), default_value = "all")]
    maps: WrittenMaps,
    /// Arrangement of the results
    #[arg(long, value_parser = output_layouts(), default_value = "folders")]
    output_layout: OutputLayout,
    /// Which HTML pages to write, in addition to pictures and tables
    #[arg(long, value_parser = report_pages(), default_value = "full")]
    report: ReportPages,
    #[command(flatten)]
    cohort: CohortArgs,
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
    let args = parse::<Args>();
    let started = Instant::now();
    let model = model_path(&args.model);
    let localizer = load_model(&model, &args.device, args.precision)?;
    let inputs = Inputs::new(&args.input);
    let existing = args.cohort.existing(args.overwrite);
    let config = LocalizeConfig::new(&args.out)
        .folders(if inputs.is_one_case() { CaseFolders::One } else { CaseFolders::PerCase })
        .existing(existing)
        .predictors(args.predictor.clone())
        .rule(args.family_wise.map_or(DetectionRule::PixelRate(args.rate), DetectionRule::FamilyWise))
        .level(args.level)
        .maps(args.maps)
        .layout(args.output_layout)
        .pages(args.report)
        .finished(args.cohort.finished())
        .shard(args.cohort.shard)
        .workers(args.cohort.workers.into())
        .slices(args.slices.into())
        .channel_maps(if args.by_channel { ChannelMaps::AlsoSingle } else { ChannelMaps::Together })
        .reading(args.reading.options());
    config.validate(&localizer)?;
    args.of_layout.check(&args.layout, &args.image, None)?;
    let data = inputs.open(args.of_layout.complete(&args.layout, &args.image, None), &args.split)?;
    let found = localize_folder(&localizer, &data, &config, &mut Watch::default())?;

    prepare_folder(&args.out)?;
    let path = args.out.join(LocalizationReport::file_name(args.cohort.shard));
    write_json(&path, &found.record(Some(&model), &stamp("localize", started)), existing)?;
    if args.cohort.shard.is_none() {
        found.write_tables(&args.out, existing)?;
        found.write_page(&args.out, existing)?;
    }
    let texts = match (found.cases.len(), found.cases.get(0)?) {
        (1, Some(only)) => only.to_markdown(&one_line(&only.id))?,
        _ => found.summary()?,
    };
    texts.iter().for_each(|text| say!("{text}"));
    say!("wrote {} in {:.1} s", path.display(), started.elapsed().as_secs_f64());
    not_mapped(&found)
}
