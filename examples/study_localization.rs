//! The first paper's questions on two domains: predictors x weight of the divergence x model, with intervals.
//!
//! `cargo run --release --example study_localization -- --medical LGG --natural TILES --budget-minutes 120`

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use lesio::anomaly::PostProcessing;
use lesio::image::{Frame, GridFit, Intensity, Preprocessing, RobustScaling};
use lesio::io::ReadOptions;
use lesio::io::dataset::{Dataset, Layout};
use lesio::report::{Best, TableCell, Column, Estimate, Existing, HtmlReport, Table, write_json};
use lesio::study::{Budget, Domain, StudyCell, Subject, Variation, claims, hold_out, run_cell};
use lesio::vae::{Augmentation, Mirror};
use lesio_examples::arguments::{MOST_REPLICATES, number, whole};
use lesio_examples::{
    DeviceArgs, Outcome, bar, command, prepare_folder, read_split, run, say, watch_training,
};

/// Ask the questions of Zhou, Deng and Wu (2020) of your own data: does projection help, what is the KL gradient
/// worth, what do beta and ensembles do?
///
/// Every model of the grid is a cell, kept as cell-*.json in --out as soon as it is done; run again to go on. Writes
/// report.html and report.json of whatever cells are there.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// Folder of medical volumes, a folder a case
    #[arg(long)]
    medical: PathBuf,
    /// Name of the image in each case's folder
    #[arg(long, default_value = "flair.nii.gz")]
    image: String,
    /// Name of the mask in each case's folder
    #[arg(long, default_value = "mask.nii.gz")]
    mask: String,
    /// Folder of medical volumes to test on instead of the test split of --medical
    #[arg(long)]
    test_medical: Option<PathBuf>,
    /// Folder of natural images, arranged like MVTec AD
    #[arg(long)]
    natural: PathBuf,
    /// Folder of natural images to test on instead of the test folder of --natural
    #[arg(long)]
    test_natural: Option<PathBuf>,
    /// Minutes after which no further cell is begun
    #[arg(long, default_value_t = 120.0, value_parser = number(0.0, 1e6))]
    budget_minutes: f64,
    /// Rows and columns of the networks' grid
    #[arg(long, default_value_t = 64, value_parser = whole(8, 4096))]
    size: usize,
    /// Passes over the training slices
    #[arg(long, default_value_t = 20, value_parser = whole(1, 100_000))]
    epochs: usize,
    /// Steps of projection and restoration
    #[arg(long, default_value_t = 50, value_parser = whole(1, 10_000))]
    steps: usize,
    /// Replicates of the bootstrap
    #[arg(long, default_value_t = 1000, value_parser = whole(1, MOST_REPLICATES))]
    replicates: usize,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for cells and report
    #[arg(long, default_value = "target/lesio/study_localization")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

const MEDICAL: &str = "medical";
const NATURAL: &str = "natural";

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let started = Instant::now();
    prepare_folder(&args.out)?;
    let widths = if args.size >= 128 { vec![32, 64, 128, 256] } else { vec![32, 64, 128] };
    let (size, epochs, steps) = (args.size, args.epochs, args.steps);
    let effort =
        Budget { size, widths, epochs, batch: 32, steps, seed: args.seed, replicates: args.replicates };
    let mut domains: Vec<(&str, Option<Domain>)> = vec![(MEDICAL, None), (NATURAL, None)];
    let mut cells = Vec::new();
    // Domain by domain within each model, so that whatever the budget allows compares the two.
    for variation in Variation::grid() {
        for (name, domain) in &mut domains {
            let path = args.out.join(format!("cell-{name}-{}.json", variation.name()));
            if let Some(cell) = kept(&path, &effort)? {
                cells.push(cell);
                continue;
            }
            if started.elapsed() >= Duration::from_secs_f64(60.0 * args.budget_minutes) {
                say!("no time left for {name}, {}", variation.name());
                continue;
            }
            if domain.is_none() {
                *domain = Some(if *name == MEDICAL { medical(&args)? } else { natural(&args)? });
            }
            let Some(domain) = domain else { continue };
            say!("{name}, {}", variation.name());
            let progress = bar(1, "training");
            let cell = run_cell(domain, variation, &effort, &args.device.device, watch_training(&progress))?;
            progress.finish_and_clear();
            write_json(&path, &cell, Existing::Replace)?;
            cells.push(cell);
        }
    }
    report(&args, &cells, started)
}

/// A cell of an earlier run, where it was made with the same effort.
fn kept(path: &Path, effort: &Budget) -> Result<Option<StudyCell>, Box<dyn Error>> {
    if !path.exists() {
        return Ok(None);
    }
    let content = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let cell: StudyCell = serde_json::from_slice(&content)
        .map_err(|error| format!("{} is no cell of this study: {error}", path.display()))?;
    if cell.budget != *effort {
        let found =
            format!("{} was made with another effort; choose another --out, or remove it", path.display());
        return Err(found.into());
    }
    Ok(Some(cell))
}

fn medical(args: &Args) -> Result<Domain, Box<dyn Error>> {
    let layout = Layout::cases(args.image.as_str(), Some(&args.mask));
    let data = Dataset::open(&args.medical, &layout)?;
    let (training, validation) = train_and_validation(&data)?;
    let test = match &args.test_medical {
        Some(folder) => read_split(&Dataset::open(folder, &layout)?, "all", &ReadOptions::new())?,
        None => read_split(&data, "test", &ReadOptions::new())?,
    };
    let (height, width) = (args.size, args.size);
    Ok(Domain {
        name: MEDICAL.to_owned(),
        training,
        validation,
        test,
        preprocessing: Preprocessing::heads([height, width]),
        augmentation: Augmentation::default().mirror(Mirror::LeftRight).brightness(0.1),
        postprocessing: PostProcessing::default().median(5.0, 5.0, 5.0),
    })
}

fn natural(args: &Args) -> Result<Domain, Box<dyn Error>> {
    let data = Dataset::open(&args.natural, &Layout::MvTec)?;
    let (training, validation) = train_and_validation(&data)?;
    let test = match &args.test_natural {
        Some(folder) => read_split(&Dataset::open(folder, &Layout::MvTec)?, "test", &ReadOptions::new())?,
        None => read_split(&data, "test", &ReadOptions::new())?,
    };
    let grid = [args.size, args.size];
    let preprocessing = Preprocessing::new(grid)
        .intensity(Intensity::Robust(RobustScaling::new()))
        .clip(Some([0.0, 1.0]))
        .frame(Frame::Fit(GridFit::new(grid)));
    let augmentation = Augmentation::default().mirror(Mirror::LeftRight);
    let postprocessing = PostProcessing::default().median(0.0, 3.0, 3.0);
    Ok(Domain {
        name: NATURAL.to_owned(),
        training,
        validation,
        test,
        preprocessing,
        augmentation,
        postprocessing,
    })
}

/// Training subjects and those that are held out: the split `val` or `validation`, or every tenth patient.
fn train_and_validation(data: &Dataset) -> Result<(Vec<Subject>, Vec<Subject>), Box<dyn Error>> {
    let training = read_split(data, "train", &ReadOptions::new())?;
    for split in ["val", "validation"] {
        if data.splits().contains(split) {
            return Ok((training, read_split(data, split, &ReadOptions::new())?));
        }
    }
    let parts = hold_out(training);
    Ok((parts.training, parts.validation))
}

fn report(args: &Args, cells: &[StudyCell], started: Instant) -> Outcome {
    let mut page = HtmlReport::new("A study of localization").lead(format!(
        "{} models of normal images on two domains. Figures are average precisions of post-processed scores on slices or \
         images with lesions, with 95 % intervals over patients or images.",
        cells.len()
    ));
    let found = claims(cells, MEDICAL, NATURAL);
    page = page.section("Verdicts");
    for verdict in &found {
        say!("{:?}: {}", verdict.holds, verdict.claim);
        page = page.subsection(format!("{:?}: {}", verdict.holds, verdict.claim));
        for line in &verdict.evidence {
            say!("    {line}");
            page = page.paragraph(line.as_str());
        }
    }
    for domain in [MEDICAL, NATURAL] {
        let own: Vec<&StudyCell> = cells.iter().filter(|cell| cell.domain == domain).collect();
        if !own.is_empty() {
            let table = table(domain, &own)?;
            say!("\n{}", table.to_markdown());
            page = page.section(domain).table(table);
        }
    }
    page.write(args.out.join("report.html"), Existing::Replace)?;
    let json = serde_json::json!({
        "schema": 1,
        "command": command("study_localization"),
        "seconds": started.elapsed().as_secs_f64(),
        "verdicts": found,
        "cells": cells,
    });
    write_json(args.out.join("report.json"), &json, Existing::Replace)?;
    say!("wrote {}", args.out.join("report.html").display());
    Ok(())
}

/// Predictors in rows, models in columns.
fn table(domain: &str, cells: &[&StudyCell]) -> Result<Table, Box<dyn Error>> {
    let prevalence = cells.first().map_or(f64::NAN, |cell| cell.prevalence);
    let patients = cells.first().map_or(0, |cell| cell.patients);
    let caption =
        format!("Average precision, {domain}; prevalence {prevalence:.4}, {patients} patients or images.");
    let columns = cells.iter().map(|cell| Column::new(cell.variation.name()).decimals(3).best(Best::Highest));
    let mut table = Table::new(caption, std::iter::once(Column::new("predictor")).chain(columns));
    let names = cells.first().map_or(&[][..], |cell| &cell.predictors);
    for name in names {
        let mut row = vec![TableCell::from(name.predictor.as_str())];
        for cell in cells {
            row.push(TableCell::from(
                cell.score(&name.predictor)
                    .map(|score| {
                        let mut values: Vec<f64> = score.replicates.iter().flatten().copied().collect();
                        values.sort_by(f64::total_cmp);
                        let at = |share: f64| {
                            values.get(((values.len().max(1) - 1) as f64 * share).round() as usize).copied()
                        };
                        let estimate = Estimate::new(score.average_precision);
                        at(0.025)
                            .zip(at(0.975))
                            .map_or(estimate, |(low, high)| estimate.with_interval(low, high))
                    })
                    .unwrap_or_else(|| Estimate::new(f64::NAN)),
            ));
        }
        table = table.row(row)?;
    }
    Ok(table)
}
