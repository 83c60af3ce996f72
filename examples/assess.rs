//! Grades a segmentation of a volume without its truth.
//!
//! `cargo run --release --example assess -- --model target/lesio/train_quality --image frame.nii.gz --segmentation mask.nii.gz`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::image::Volume;
use lesio::io::nifti::read_header;
use lesio::io::{Matching, WriteOptions, atomic};
use lesio::quality::{Assessment, QualityModel, SLICE_AXIS, SliceVerdict};
use lesio::report::{Existing, HeatMap, Montage, Picture, RunRecord, Rgb, Scale, write_json};
use lesio_examples::{
    DeviceArgs, MatchingName, Outcome, ReadArgs, check_folder, command, model_path, prepare_folder, run, say,
};
use ndarray::Axis;
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
    #[arg(long = "match", value_enum, default_value = "place")]
    matching: MatchingName,
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

/// Slices shown in the picture, at most.
const SHOWN: usize = 12;
/// Pixels of the picture per pixel of a slice.
const ENLARGED: usize = 2;

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
    let options = args.reading.options();
    let image = options.read(&args.image)?;
    let (need, limit) = (QualityModel::working_bytes(image.shape()), options.limit());
    if need > limit {
        return Err(format!(
            "{}: assessing it needs {need} bytes of memory, the limit is {limit}; --max-memory raises it",
            args.image.display()
        )
        .into());
    }
    let segmentation = options.read_as::<u8>(&args.segmentation)?;
    let matching = Matching::from(args.matching);
    let segmentation = matching.bring(segmentation, &args.segmentation, &image, &args.image)?;
    let assessment = model.assess(&image, &segmentation)?;

    prepare_folder(&args.out)?;
    let volumes = [
        ("reconstruction", Some(&assessment.reconstruction)),
        ("difference", Some(&assessment.difference)),
        ("error", assessment.error.as_ref()),
    ];
    for (name, volume) in volumes {
        if let Some(volume) = volume {
            write(&args, name, volume)?;
        }
    }
    if let Some(montage) = montage(&image, &segmentation, &model.config().framing.labels, &assessment)? {
        montage.to_picture()?.write_png(args.out.join("assessment.png"), existing)?;
    }
    let report = json!({
        "schema": 1,
        "image": args.image,
        "segmentation": args.segmentation,
        "volume": assessment.volume,
        "slices": assessment.slices,
        "model": model.provenance(),
        "provenance": RunRecord::new(command("assess")).seconds(started.elapsed().as_secs_f64()),
    });
    write_json(args.out.join("report.json"), &report, existing)?;
    show(&assessment);
    say!("wrote {}", args.out.display());
    Ok(())
}

/// Fails before anything is computed where a result is there already.
fn refuse_existing(args: &Args) -> Outcome {
    let names =
        ["report.json", "assessment.png", "reconstruction.nii.gz", "difference.nii.gz", "error.nii.gz"];
    let taken =
        names.map(|name| args.out.join(name)).into_iter().find(|path| path.symlink_metadata().is_ok());
    match taken {
        Some(path) if !args.overwrite => {
            Err(format!("{} exists; --overwrite replaces it", path.display()).into())
        }
        _ => Ok(()),
    }
}

fn show(assessment: &Assessment) {
    let Some(volume) = &assessment.volume else {
        say!("nothing is segmented: there is no quality to predict");
        return;
    };
    for grade in volume {
        let [low, high] = grade.interval;
        let (label, dice, distance) = (grade.label, grade.dice, grade.distance_millimetres);
        say!("label {label}: Dice {dice:.3} [{low:.2}, {high:.2}], HD95 {distance:.1} mm, of the volume");
    }
    for slice in &assessment.slices {
        let index = slice.index;
        match &slice.verdict {
            SliceVerdict::Graded { labels, unlikeness, .. } => {
                let grades: Vec<String> = labels
                    .iter()
                    .map(|g| {
                        format!("{}: {:.3} [{:.2}, {:.2}]", g.label, g.dice, g.interval[0], g.interval[1])
                    })
                    .collect();
                let doubt = match unlikeness.unlike {
                    true => format!(
                        "  unlike the training images: {} {:+.1} SD",
                        unlikeness.most.0, unlikeness.most.1
                    ),
                    false => String::new(),
                };
                say!("  slice {index:>3}  {}{doubt}", grades.join("  "));
            }
            _ => say!("  slice {index:>3}  nothing segmented"),
        }
    }
}

/// Writes a map on the image's grid, with what the image's header says of its place.
fn write(args: &Args, name: &str, volume: &Volume<f32>) -> Outcome {
    let existing = if args.overwrite { atomic::Existing::Replace } else { atomic::Existing::Refuse };
    let path = args.out.join(format!("{name}.nii.gz"));
    WriteOptions::new().existing(existing).like(&read_header(&args.image)?).write(path, volume)?;
    Ok(())
}

/// Slices with a segmentation: the image with the outline of what is graded, the reconstruction, the difference, the error
/// map.
fn montage(
    image: &Volume<f32>,
    segmentation: &Volume<u8>,
    graded_labels: &[u8],
    assessment: &Assessment,
) -> Result<Option<Montage>, Box<dyn std::error::Error>> {
    let graded: Vec<_> = assessment
        .slices
        .iter()
        .filter(|slice| matches!(slice.verdict, SliceVerdict::Graded { .. }))
        .collect();
    if graded.is_empty() {
        return Ok(None);
    }
    let (low, high) = image.data().iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
    let window = Scale::new(f64::from(low), f64::from(high))?;
    let contrast = f64::from(high - low);
    let differences = HeatMap::new(Scale::new(0.0, contrast / 2.0)?);
    let errors = HeatMap::new(Scale::new(0.0, 1.0)?).label("probability that the label is wrong");
    let columns = ["image, segmentation", "if it were right", "difference", "where it is wrong"];
    let mut montage = Montage::new(columns).color_bar(errors.clone());
    for slice in graded.iter().step_by(graded.len().div_ceil(SHOWN)) {
        let plane = |volume: &Volume<f32>| volume.data().index_axis(Axis(SLICE_AXIS), slice.index).to_owned();
        let labels = segmentation.data().index_axis(Axis(SLICE_AXIS), slice.index);
        let mask = labels.mapv(|label| graded_labels.contains(&label));
        let gray = |volume: &Volume<f32>| Picture::gray(plane(volume).view(), window);
        let difference = plane(&assessment.difference).mapv(f32::abs);
        let name = match &slice.verdict {
            SliceVerdict::Graded { mean_dice, .. } => format!("slice {}: {mean_dice:.2}", slice.index),
            _ => String::new(),
        };
        let error = match &assessment.error {
            Some(error) => gray(image)?.overlaid(plane(error).view(), &errors)?,
            None => gray(image)?,
        };
        let row = [
            gray(image)?.enlarged(ENLARGED)?.outlined(mask.view(), Rgb::TRUTH)?,
            gray(&assessment.reconstruction)?.enlarged(ENLARGED)?,
            gray(image)?.overlaid(difference.view(), &differences)?.enlarged(ENLARGED)?,
            error.enlarged(ENLARGED)?,
        ];
        montage = montage.row(name, row)?;
    }
    Ok(Some(montage))
}
