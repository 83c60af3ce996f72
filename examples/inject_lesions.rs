//! Puts lesions of known place and kind into normal volumes, as a data set to test localization on.
//!
//! `cargo run --release --example inject_lesions -- --data DIR --image t1.nii.gz --tissue tissue.nii.gz --every 5 --out DIR`

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use lesio::image::Volume;
use lesio::io::WriteOptions;
use lesio::io::atomic::{self, Existing};
use lesio::io::dataset::{Dataset, DatasetOptions, Layout};
use lesio::io::nifti::read_header;
use lesio::io::spreadsheet::field;
use lesio::phantom::Site;
use lesio::study::{InjectedSubject, Injection, InjectionConfig};
use lesio_examples::arguments::{number, whole};
use lesio_examples::{MatchingName, Outcome, ReadArgs, bar, check_folder, explain, prepare_folder, run, say};

/// Put lesions into every so-many-th subject of a data set of normal volumes.
///
/// Writes a folder for each subject with its image and mask.nii.gz (numbers of lesions, zeros where there is
/// none), splits.csv (subjects with lesions are for testing, a few and as many normal ones for validation, the
/// rest for training), and lesions.csv with kind, contrast, place and size of each lesion.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// Folder with a folder for each subject
    #[arg(long)]
    data: PathBuf,
    /// Name of the image in each subject's folder
    #[arg(long, default_value = "image.nii.gz")]
    image: String,
    /// Name of the tissue map or brain mask in each subject's folder; 0 is outside
    #[arg(long, default_value = "tissue.nii.gz")]
    tissue: String,
    /// How tissue maps are laid on their images
    #[arg(long = "match", value_enum, default_value = "place")]
    matching: MatchingName,
    /// Tissue in which lesions lie; by default 2,3,4 (gray, white and deep gray matter) of a map, 1 of a mask
    #[arg(long, value_delimiter = ',')]
    within: Option<Vec<u8>>,
    /// Every how-many-th subject gets lesions
    #[arg(long, default_value_t = 5, value_parser = whole(1, 1_000_000))]
    every: usize,
    /// Lesions of a subject that gets some
    #[arg(long, default_value_t = 3, value_parser = whole(1, 1000))]
    lesions: usize,
    /// Smallest and largest radius in millimetres
    #[arg(long, value_delimiter = ',', num_args = 1, default_value = "4,9", value_parser = number(0.1, 1000.0))]
    radius: Vec<f64>,
    /// Seed of places, shapes and sizes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    reading: ReadArgs,
    /// Replace files of earlier runs
    #[arg(long)]
    overwrite: bool,
    /// Folder for the new data set
    #[arg(long)]
    out: PathBuf,
}

/// Name of the masks.
const MASK: &str = "mask.nii.gz";

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let layout = Layout::cases(args.image.as_str(), Some(&args.tissue));
    let data =
        Dataset::open_with(&args.data, &layout, &DatasetOptions::new().matching(args.matching.into()))?;
    if data.contains(&args.out) {
        let (out, input) = (args.out.display(), args.data.display());
        return Err(
            format!("--out {out} lies in --data {input}: the new data set would be part of it").into()
        );
    }
    if args.image == MASK {
        return Err(format!("the image cannot be called {MASK}, as the masks are").into());
    }
    let existing = if args.overwrite { Existing::Replace } else { Existing::Refuse };
    let [smallest, largest] = <[f64; 2]>::try_from(args.radius.as_slice())
        .map_err(|_| format!("--radius takes two numbers, found {}", args.radius.len()))?;
    let config =
        InjectionConfig::new(args.every).lesions(args.lesions).radius(smallest, largest).seed(args.seed);

    check_folder(&args.out)?;

    let cases = data.cases();
    let options = args.reading.options();
    let roles = Injection::new(config.clone())?.roles(cases.len());
    // Whoever gets lesions comes first: where they do not fit, nothing has been written.
    let progress = bar(cases.len() as u64, "injecting lesions");
    let mut ill = BTreeMap::new();
    for (case, role) in cases.iter().zip(&roles) {
        let Some(nth) = role.injected else { continue };
        let (volume, tissue) = case.read_volume_with(&options)?;
        let tissue = tissue.ok_or("a case without tissue")?;
        let injection = Injection::new(config.clone().site(site(&args, &tissue)))?;
        let made = injection
            .inject(nth, &volume, &tissue)
            .map_err(|source| format!("case {}: {}", case.id(), explain(&source)))?;
        ill.insert(case.id(), made);
        progress.inc(1);
    }

    prepare_folder(&args.out)?;
    let mut splits = "patient,split\n".to_owned();
    let mut table =
        "case,lesion,kind,contrast,centre_i,centre_j,centre_k,centre_x,centre_y,centre_z,radius_mm,voxels\n"
            .to_owned();
    let counts = [ill.len(), ill.values().map(|own| own.lesions.len()).sum()];
    for (case, role) in cases.iter().zip(&roles) {
        let (volume, mask) = match ill.remove(case.id()) {
            Some(own) => {
                table_rows(&mut table, case.id(), &own)?;
                (own.image, own.mask)
            }
            None => {
                progress.inc(1);
                let (volume, tissue) = case.read_volume_with(&options)?;
                let mask = tissue.ok_or("a case without tissue")?.map(|_| 0);
                (volume, mask)
            }
        };
        let folder = args.out.join(case.id());
        prepare_folder(&folder)?;
        let header = case.images().first().map(read_header).ok_or("a case without an image")??;
        let writing = WriteOptions::new().like(&header).existing(existing);
        writing.write(folder.join(&args.image), &volume)?;
        writing.write(folder.join(MASK), &mask)?;
        writeln!(splits, "{},{}", field(case.patient()), role.split.name())?;
    }
    progress.finish_and_clear();
    write_text(&args.out.join("lesions.csv"), &table, existing)?;
    // Last: a folder with splits.csv is complete.
    write_text(&args.out.join("splits.csv"), &splits, existing)?;
    let [ill, lesions] = counts;
    say!("wrote {} cases to {}: {lesions} lesions in {ill} of them", cases.len(), args.out.display());
    Ok(())
}

/// Adds a row for each lesion of a subject.
fn table_rows(table: &mut String, id: &str, own: &InjectedSubject) -> Outcome {
    for (number, lesion) in own.lesions.iter().enumerate() {
        let [i, j, k] = lesion.centre;
        let [x, y, z] = own.image.geometry().to_world(lesion.centre);
        let kind = serde_json::to_value(lesion.kind)?;
        let kind = kind.as_str().unwrap_or_default();
        writeln!(
            table,
            "{},{},{kind},{},{i},{j},{k},{x},{y},{z},{},{}",
            field(id),
            number + 1,
            lesion.contrast,
            lesion.radius,
            lesion.voxels
        )?;
    }
    Ok(())
}

/// Where lesions of a subject lie.
fn site(args: &Args, tissue: &Volume<u8>) -> Site {
    match &args.within {
        Some(labels) => Site::Labels(labels.clone()),
        None if tissue.data().iter().any(|&label| label > 1) => Site::Labels(vec![2, 3, 4]),
        None => Site::Mask,
    }
}

fn write_text(path: &Path, text: &str, existing: Existing) -> Outcome {
    Ok(atomic::write(path, existing, |out| out.write_all(text.as_bytes()))?)
}
