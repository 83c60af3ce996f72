//! Compares estimators of segmentation quality on unseen patients, on clean and on attacked images.
//!
//! `cargo run --release --example study_quality -- --data acdc --layout acdc --label 2 --out target/lesio/study_quality`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::report::{Existing, RunRecord, write_json};
use lesio::study::quality::{QualityStudyConfig, patients, tables};
use lesio_examples::arguments::whole;
use lesio_examples::quality::{QualityArgs, watch};
use lesio_examples::{Outcome, check_folder, command, parse, prepare_folder, run, say};

/// Compare four estimators of segmentation quality on clean images, under attack, and under natural changes of the
/// image.
///
/// The estimators are REC-Net with REG-Net, direct regression, regression from the segmentation alone, and the second
/// opinion. All are trained on training patients and tested on others. Writes report.json and report.html into the
/// folder given by --out, and replaces those of an earlier run. Run the same command again to continue an interrupted study.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    quality: QualityArgs,
    /// Folder of the same layout to test on, instead of the test patients of the data set. None of its images may be
    /// one of the training
    #[arg(long)]
    test_data: Option<PathBuf>,
    /// Number of test candidates in each of the 20 bins of the Dice
    #[arg(long, default_value_t = 12, value_parser = whole(1, 10_000))]
    per_bin: usize,
    /// Strengths of attacks
    #[arg(long, value_delimiter = ',', default_value = "0.05,0.1,0.2,0.3", value_parser = strength)]
    epsilon: Vec<f32>,
    /// Steps of projected gradient descent
    #[arg(long, default_value_t = 10, value_parser = whole(1, 10_000))]
    pgd_steps: usize,
    /// Certify the second opinion: report its largest error over all changes of the image within a radius, by medians
    /// over noise of these deviations, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "DEVIATIONS", value_parser = deviation)]
    certify: Vec<f64>,
    /// Estimates of each test candidate that --certify takes the median of. More of them certify larger radii
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = whole(1, 1_000_000))]
    certify_draws: usize,
    /// Folder for the report and the state
    #[arg(long, default_value = "target/lesio/study_quality")]
    out: PathBuf,
}

fn strength(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(strength) if strength > 0.0 && strength <= 10.0 => Ok(strength),
        _ => Err("expected a number above 0, of at most 10".to_owned()),
    }
}

fn deviation(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(deviation) if deviation > 0.0 && deviation <= 100.0 => Ok(deviation),
        _ => Err("expected a number above 0, of at most 100".to_owned()),
    }
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let started = Instant::now();
    let steps = args.out.join("steps");
    check_folder(&args.out)?;
    let data = args.quality.read(args.test_data.as_deref())?;
    prepare_folder(&args.out)?;
    prepare_folder(&steps)?;
    say!(
        "patients: {} for training, {} held out, {} for testing; labels {:?}, {:.2} image pixels per grid pixel",
        patients(&data.training),
        patients(&data.held_out),
        patients(&data.test),
        data.estimators.framing.labels,
        data.estimators.framing.pixel,
    );
    let (pipeline, device) = (args.quality.pipeline(), &args.quality.device.device);
    let study = QualityStudyConfig::new(args.quality.seed)
        .per_bin(args.per_bin)
        .strengths(args.epsilon)
        .pgd_steps(args.pgd_steps)
        .certify(args.certify)
        .certify_draws(args.certify_draws)
        .run(&data, pipeline, &steps, device, &mut watch("preparing"))?;
    let mut report = study.report().clone();
    let seconds = started.elapsed().as_secs_f64();
    let provenance = RunRecord::new(command("study_quality")).seed(args.quality.seed).seconds(seconds);
    report.provenance = Some(provenance);
    write_json(args.out.join("report.json"), &report, Existing::Replace)?;
    study.page(&report)?.write(args.out.join("report.html"), Existing::Replace)?;
    for (title, table) in tables(&report)? {
        say!("{title}\n\n{}", table.to_markdown());
    }
    say!("wrote {} in {:.0} s", args.out.display(), started.elapsed().as_secs_f64());
    Ok(())
}
