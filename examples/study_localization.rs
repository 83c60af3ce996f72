//! The questions of Zhou, Deng and Wu (2020) on two domains: predictors, weights of the divergence and models compared,
//! with intervals.
//!
//! `cargo run --release --example study_localization -- --medical LGG --natural TILES --budget-minutes 120`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use lesio::io::dataset::{Dataset, Layout};
use lesio::report::{Existing, write_json};
use lesio::study::{
    Budget, Domain, Observer, Preset, StudyConfig, StudyDomain, StudyReport, WorkflowError,
    study_localization,
};
use lesio_examples::arguments::{MOST_REPLICATES, number, whole};
use lesio_examples::{DeviceArgs, Outcome, Watch, parse, run, say, stamped};

/// Examine the questions of Zhou, Deng and Wu (2020) on your own data: does projection help, how good is the KL
/// gradient, and what do beta and ensembles change?
///
/// Every model of the study is a cell, saved as cell-*.json in --out when it is complete. Run the same command again to
/// continue; cells of other data or another budget are an error. Writes report.html and report.json for the cells that
/// are complete. No patient may be in two of the training, the validation and the test cases.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// Folder of medical volumes, with one folder per case
    #[arg(long)]
    medical: PathBuf,
    /// Name of the image in each case's folder. For several co-registered channels, give all, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "flair.nii.gz")]
    image: Vec<String>,
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
    /// Minutes after which no further cell is started
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
    /// Seed of all random numbers
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
    let args = parse::<Args>();
    let started = Instant::now();
    let widths = if args.size >= 128 { vec![32, 64, 128, 256] } else { vec![32, 64, 128] };
    let (size, epochs, steps) = (args.size, args.epochs, args.steps);
    let budget =
        Budget { size, widths, epochs, batch: 32, steps, seed: args.seed, replicates: args.replicates };
    let time = Duration::from_secs_f64(60.0 * args.budget_minutes);
    let config = StudyConfig::new(&args.out, budget, time).device(args.device.device);
    let volumes = Layout::Cases { images: args.image, mask: Some(args.mask) };
    // A separate folder of medical volumes is used for testing as a whole; one of natural images has a test split.
    let split = if args.test_medical.is_some() { "all" } else { "test" };
    let medical = Data::open(&args.medical, args.test_medical.as_deref(), split, &volumes)?;
    let natural = Data::open(&args.natural, args.test_natural.as_deref(), "test", &Layout::MvTec)?;
    let mut domains = [
        medical.domain(MEDICAL, Preset::Heads, args.size)?,
        natural.domain(NATURAL, Preset::Photo, args.size)?,
    ];
    let cells = study_localization(&mut domains, &config, &mut Watch::default())?;

    let report = StudyReport::new(cells, MEDICAL, NATURAL);
    for claim in &report.claims {
        say!("{claim}");
        claim.evidence.iter().for_each(|line| say!("    {line}"));
    }
    report.tables()?.iter().for_each(|(_, table)| say!("\n{}", table.to_markdown()));
    let page = args.out.join("report.html");
    report.page()?.write(&page, Existing::Replace)?;
    let json = stamped(report.to_json(), "study_localization", started);
    write_json(args.out.join("report.json"), &json, Existing::Replace)?;
    say!("wrote {}", page.display());
    Ok(())
}

/// The data of a domain. If there is a separate test folder, the test cases are a split of that folder.
struct Data {
    own: Dataset,
    other: Option<Dataset>,
    split: &'static str,
}

impl Data {
    fn open(
        folder: &Path,
        test: Option<&Path>,
        split: &'static str,
        layout: &Layout,
    ) -> Result<Self, WorkflowError> {
        let other = test.map(|test| Dataset::open(test, layout)).transpose()?;
        Ok(Self { own: Dataset::open(folder, layout)?, other, split })
    }

    fn domain(
        &self,
        name: &'static str,
        preset: Preset,
        size: usize,
    ) -> Result<StudyDomain<'_>, WorkflowError> {
        let test = (self.other.as_ref().unwrap_or(&self.own), self.split);
        let read =
            move |observer: &mut dyn Observer| Domain::read(name, preset, size, &self.own, test, observer);
        StudyDomain::new(name, read).with_data(&self.own, test)
    }
}
