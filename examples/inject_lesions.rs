//! Injects lesions of known position and kind into normal volumes, to make a test data set for localization.
//!
//! `cargo run --release --example inject_lesions -- --data DIR --image t1.nii.gz --tissue tissue.nii.gz --every 5 --out DIR`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesio::io::Matching;
use lesio::io::atomic::Existing;
use lesio::io::dataset::{Dataset, DatasetOptions, Layout};
use lesio::phantom::LesionKind;
use lesio::study::{BadCases, InjectDataSetConfig, InjectionConfig, WorkflowError, inject_data_set};
use lesio_examples::arguments::{number, whole};
use lesio_examples::choices::matchings;
use lesio_examples::output::warn;
use lesio_examples::reading::VolumeReadArgs;
use lesio_examples::{LeftOut, Outcome, Watch, parse, run, say};

/// Inject lesions into every N-th subject (--every) of a data set of normal volumes.
///
/// Writes one folder per subject with its image and mask.nii.gz (the number of the lesion, 0 elsewhere), splits.csv,
/// and lesions.csv with the kind, contrast, position and size of each lesion. Most subjects with lesions form the test
/// split, a few of them and as many normal subjects the validation split, and all others the training split.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// Folder with a folder for each subject
    #[arg(long)]
    data: PathBuf,
    /// Name of the image in each subject's folder, of one channel; {case} stands for the folder's name
    #[arg(long, value_delimiter = ',', default_value = "image.nii.gz")]
    image: Vec<String>,
    /// Name of the tissue map or brain mask in each subject's folder; 0 is outside. {case} stands for the folder's name
    #[arg(long, default_value = "tissue.nii.gz")]
    tissue: String,
    /// How to match tissue maps to their images
    #[arg(long = "match", value_parser = matchings(), default_value = "place")]
    matching: Matching,
    /// Tissue in which lesions lie; by default 2,3,4 (gray, white and deep gray matter) of a map, 1 of a mask
    #[arg(long, value_delimiter = ',')]
    within: Option<Vec<u8>>,
    /// Inject lesions into every N-th subject
    #[arg(long, default_value_t = 5, value_parser = whole(2, 1_000_000))]
    every: usize,
    /// Use every N-th of the other subjects for validation, half of them with lesions
    #[arg(long, default_value_t = 6, value_parser = whole(2, 1_000_000))]
    validation_every: usize,
    /// Number of lesions per subject with lesions
    #[arg(long, default_value_t = 3, value_parser = whole(1, 1000))]
    lesions: usize,
    /// Kinds of lesions, first all of them faint, then all of them plain: bright, dark, displaced, textured, missing
    /// (without structure), misplaced (tissue of another place), foreign (a striped object)
    #[arg(long, value_delimiter = ',', default_value = "bright,dark,displaced,textured")]
    kinds: Vec<LesionKind>,
    /// Smallest and largest radius in millimeters, the smaller first
    #[arg(long, value_delimiter = ',', num_args = 1, default_value = "4,9", value_parser = number(0.1, 1000.0))]
    radius: Vec<f64>,
    /// Seed of positions, shapes and sizes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    reading: VolumeReadArgs,
    /// Stop at the first case that cannot be read or has no room for its lesions, instead of leaving it out
    #[arg(long)]
    strict: bool,
    /// Replace files of earlier runs
    #[arg(long)]
    overwrite: bool,
    /// Folder for the new data set
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let layout = Layout::Cases { images: args.image.clone(), mask: Some(args.tissue) };
    let data = Dataset::open_with(&args.data, &layout, &DatasetOptions::new().matching(args.matching))?;
    let [smallest, largest] = <[f64; 2]>::try_from(args.radius.as_slice())
        .map_err(|_| format!("--radius takes two numbers, found {}", args.radius.len()))?;
    let every = args.validation_every;
    let injection =
        InjectionConfig::new(args.every).lesions(args.lesions).radius(smallest, largest).seed(args.seed);
    let injection = injection.kinds(args.kinds).validation_every(args.validation_every);
    let config = InjectDataSetConfig::new(&args.out, injection)
        .image(args.image.join(","))
        .within(args.within)
        .existing(if args.overwrite { Existing::Replace } else { Existing::Refuse })
        .reading(args.reading.options())
        .bad_cases(if args.strict { BadCases::Stop } else { BadCases::LeaveOut });
    let found = match inject_data_set(&data, &config, &mut Watch::default()) {
        Err(WorkflowError::ResultsInData { .. }) => {
            let (out, input) = (args.out.display(), args.data.display());
            return Err(
                format!("--out {out} lies in --data {input}: the new data set would be part of it").into()
            );
        }
        found => found?,
    };
    let (out, lesions, ill) = (args.out.display(), found.lesions, found.with_lesions);
    let [training, validation, test] = found.of_split;
    say!(
        "wrote {} cases to {out}: {lesions} lesions in {ill} of them; {training} cases for training, {validation} for \
         validation, {test} for testing",
        found.cases
    );
    if validation == 0 {
        warn(&format!(
            "no case is left for validation; a smaller --validation-every than {every} leaves some"
        ));
    }
    match found.failed.as_slice() {
        [] => Ok(()),
        failed => Err(LeftOut(format!("cases left out, see above: {}", failed.len())).into()),
    }
}
