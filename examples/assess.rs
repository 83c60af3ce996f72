//! Grades a segmentation of a volume without its truth.
//!
//! `cargo run --release --example assess -- --model target/lesio/train_quality --image frame.nii.gz --segmentation mask.nii.gz`

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::io::Matching;
use lesio::quality::QualityModel;
use lesio::report::{Existing, RunRecord, write_json};
use lesio::study::quality::{GradedFile, QualityStudyError};
use lesio_examples::choices::matchings;
use lesio_examples::{
    DeviceArgs, Outcome, ReadArgs, check_folder, command, model_path, prepare_folder, run, say,
};
use serde_json::json;

/// Predict how good a segmentation is: the Dice of each label, slice by slice and for the volume, with intervals.
///
/// Writes report.json, assessment.png, and on the image's grid reconstruction.nii.gz (what the image would be if the
/// segmentation were right), difference.nii.gz and error.nii.gz (the probability that a voxel's label is wrong).
#[derive(Debug, Parser)]
struct Args {
    /// A model file of `train_quality`, or its folder
    #[arg(long)]
    model: PathBuf,
    /// The image, NIfTI
    #[arg(long)]
    image: PathBuf,
    /// Its segmentation, NIfTI on the same grid; its voxels may be in another order
    #[arg(long)]
    segmentation: PathBuf,
    /// How the segmentation is laid on the image
    #[arg(long = "match", value_parser = matchings(), default_value = "place")]
    matching: Matching,
    #[command(flatten)]
    reading: ReadArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Folder for the results
    #[arg(long, default_value = "target/lesio/assess")]
    out: PathBuf,
    /// Replace results that are there
    #[arg(long)]
    overwrite: bool,
    /// Unused: nothing is drawn at random. Kept so that all programs take it
    #[arg(long, default_value_t = 0, hide = true)]
    seed: u64,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let started = Instant::now();
    let existing = if args.overwrite { Existing::Replace } else { Existing::Refuse };
    check_folder(&args.out)?;
    refuse_existing(&args)?;
    let model = QualityModel::load(model_path(&args.model), &args.device.device)?;
    let (options, matching) = (args.reading.options(), args.matching);
    let graded = GradedFile::read(&model, &args.image, &args.segmentation, &options, matching);
    let graded = graded.map_err(|error| -> Box<dyn Error> {
        match error {
            error @ QualityStudyError::Memory { .. } => format!("{error}; --max-memory raises it").into(),
            error => error.into(),
        }
    })?;
    prepare_folder(&args.out)?;
    graded.write(&args.out, existing)?;
    let report = json!({
        "schema": 1,
        "image": args.image,
        "segmentation": args.segmentation,
        "volume": graded.assessment.volume,
        "slices": graded.assessment.slices,
        "model": model.provenance(),
        "provenance": RunRecord::new(command("assess")).seconds(started.elapsed().as_secs_f64()),
    });
    write_json(args.out.join("report.json"), &report, existing)?;
    say!("{}", graded.summary());
    say!("wrote {}", args.out.display());
    Ok(())
}

/// Fails before anything is computed where a result is there already.
fn refuse_existing(args: &Args) -> Outcome {
    let mut paths = ["report.json"].into_iter().chain(GradedFile::NAMES).map(|name| args.out.join(name));
    match paths.find(|path| path.symlink_metadata().is_ok()) {
        Some(path) if !args.overwrite => {
            Err(format!("{} exists; --overwrite replaces it", path.display()).into())
        }
        _ => Ok(()),
    }
}
