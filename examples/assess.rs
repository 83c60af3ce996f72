//! Grades a segmentation of a volume or of a picture without its truth.
//!
//! `cargo run --release --example assess -- --model target/lesio/train_quality --image frame.nii.gz --segmentation mask.nii.gz`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::io::Matching;
use lesio::io::dataset::{Case, Dataset, DatasetOptions, Layout, Mask, MissingMask};
use lesio::quality::QualityModel;
use lesio::report::write_json;
use lesio::study::quality::{GradeConfig, GradedFile, GradingReport, grade_folder};
use lesio::study::{WorkflowError, notice_other_channel};
use lesio_examples::choices::{layouts, matchings};
use lesio_examples::cohort::CohortArgs;
use lesio_examples::grades::{
    graded_by, not_graded, segmentation_name, stamped_grades, stamped_with, write_grades,
};
use lesio_examples::quality::check_one_image;
use lesio_examples::{
    DeviceArgs, LayoutArgs, Outcome, ReadArgs, Watch, check_folder, is_manifest, model_path, parse,
    prepare_folder, run, say,
};
use serde_json::json;

/// Predict the quality of a segmentation: the Dice of each label, by slice and for the volume, with intervals.
///
/// Writes report.json and, with --data, cases.csv. For each image it writes assessment.png and maps on the image's grid:
/// reconstruction.nii.gz (the expected image if the segmentation were right), difference.nii.gz, and error.nii.gz (the
/// probability that the label of a voxel is wrong). Of several channels, the first two are written for each; maps of
/// pictures are .tiff.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// A model file of `train_quality`, or its folder
    #[arg(long)]
    model: PathBuf,
    /// The image, a NIfTI file or a picture; several co-registered channels separated by commas. With --data: the name
    /// of the image in the folder of each case [default: image.nii.gz]
    #[arg(long, value_delimiter = ',', required_unless_present = "data")]
    image: Vec<PathBuf>,
    /// Its segmentation, a NIfTI file on the same grid, whose voxels may have another order, or a gray picture whose
    /// values are the labels. With --data: its name [default: segmentation.nii.gz; with layout bids dseg, with layout
    /// dicom {case}.nii.gz]
    #[arg(long, required_unless_present = "data")]
    segmentation: Option<PathBuf>,
    /// Grade every case of this folder, or of this table (CSV), instead of one image
    #[arg(long)]
    data: Option<PathBuf>,
    /// Layout of the folder
    #[arg(long, value_parser = layouts(), default_value = "cases", requires = "data")]
    layout: Layout,
    #[command(flatten)]
    of_layout: LayoutArgs,
    /// How to match the segmentation to the image
    #[arg(long = "match", value_parser = matchings(), default_value = "place")]
    matching: Matching,
    #[command(flatten)]
    reading: ReadArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    cohort: CohortArgs,
    /// Folder for the results
    #[arg(long, default_value = "target/lesio/assess")]
    out: PathBuf,
    /// Replace existing results
    #[arg(long)]
    overwrite: bool,
    /// Unused, because nothing is random. All programs accept it
    #[arg(long, default_value_t = 0, hide = true)]
    seed: u64,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let started = Instant::now();
    check_folder(&args.out)?;
    let model = QualityModel::load(model_path(&args.model), &args.device.device)?;
    match &args.data {
        Some(data) => grade_all(&args, &model, data, started),
        None => grade_one(&args, &model, started),
    }
}

/// Grades a folder.
fn grade_all(args: &Args, model: &QualityModel, data: &Path, started: Instant) -> Outcome {
    let names = |given: &[PathBuf]| given.iter().map(|given| given.display().to_string()).collect::<Vec<_>>();
    let (image, segmentation) = (names(&args.image), names(args.segmentation.as_slice()).pop());
    let layout = if is_manifest(data) { &Layout::Manifest } else { &args.layout };
    args.of_layout.check(layout, &image, segmentation.as_ref().map(|_| "segmentation"))?;
    let segmentation = segmentation.unwrap_or_else(|| segmentation_name(layout).to_owned());
    let layout = args.of_layout.complete(layout, &image, Some(&segmentation));
    let options = DatasetOptions::new().missing_mask(MissingMask::Keep).matching(args.matching);
    let data = Dataset::open_with(data, &layout, &options)?;
    let config = GradeConfig::new(&args.out)
        .existing(args.cohort.existing(args.overwrite))
        .reading(args.reading.options())
        .finished(args.cohort.finished())
        .shard(args.cohort.shard)
        .workers(args.cohort.workers.into());
    let found = grade_folder(model, &data, &config, &mut Watch::default())?;
    prepare_folder(&args.out)?;
    let stamp = graded_by(json!(model.provenance()), "assess", started);
    match args.cohort.shard {
        Some(_) => {
            let path = args.out.join(GradingReport::file_name(args.cohort.shard));
            write_json(&path, &stamped_grades(&found, &stamp)?, args.cohort.existing(args.overwrite))?;
            say!("wrote {}; `merge` merges it with the others", path.display());
        }
        None => write_grades(&found, &args.out, args.cohort.existing(args.overwrite), &stamp)?,
    }
    not_graded(&found)
}

fn grade_one(args: &Args, model: &QualityModel, started: Instant) -> Outcome {
    let (image, Some(segmentation)) = (&args.image, &args.segmentation) else {
        return Err("--image and --segmentation say what to grade, or --data".into());
    };
    check_one_image(&args.cohort)?;
    let case = [Case::of_files("image", image, Mask::File(segmentation.clone()), args.matching)];
    let mut names = GradedFile::file_names(model, case[0].is_volume());
    names.push("report.json".to_owned());
    let mut paths = names.iter().map(|name| args.out.join(name));
    if let Some(path) = paths.find(|path| !args.overwrite && path.symlink_metadata().is_ok()) {
        return Err(format!("{} exists; --overwrite replaces it", path.display()).into());
    }
    notice_other_channel(model.channel_names(), &case, &args.reading.options(), &mut Watch::default());
    let graded = GradedFile::read(model, &case[0], &args.reading.options()).map_err(WorkflowError::from)?;
    prepare_folder(&args.out)?;
    graded.write(&args.out, args.cohort.existing(args.overwrite))?;
    say!("{}", graded.summary());
    let report = json!({
        "schema": 1,
        "image": image,
        "segmentation": segmentation,
        "volume": graded.assessment.volume,
        "slices": graded.assessment.slices,
    });
    let report = stamped_with(report, &graded_by(json!(model.provenance()), "assess", started));
    write_json(args.out.join("report.json"), &report, args.cohort.existing(args.overwrite))?;
    say!("wrote {}", args.out.display());
    Ok(())
}
