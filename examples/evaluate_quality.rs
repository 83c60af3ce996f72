//! Evaluates a model of segmentation quality on segmentations by your own networks, given the ground truth.
//!
//! `cargo run --release --example evaluate_quality -- --model target/lesio/train_quality --data acdc --layout acdc --predictions networks`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use clap::builder::TypedValueParser;
use lesio::metrics::BootstrapConfig;
use lesio::quality::QualityModel;
use lesio::report::{Existing, RunRecord, write_json};
use lesio::study::BadCases;
use lesio::study::quality::{GradedPatients, IntervalSource, QualityEvaluationConfig, evaluate_quality};
use lesio_examples::arguments::{MOST_REPLICATES, whole};
use lesio_examples::choices::one_of;
use lesio_examples::labeled::LabeledDataArgs;
use lesio_examples::quality::{ungraded, watch};
use lesio_examples::{
    DeviceArgs, Outcome, check_folder, command, model_path, parse, prepare_folder, run, say,
};

/// Measure the error of estimated segmentation quality for each segmentation network.
///
/// Writes report.json, report.html and segmentations.csv (every grade with the true value) into the folder given by
/// --out, and replaces those of an earlier run. A case or a segmentation that cannot be graded is left out and listed,
/// and the exit code is then 1.
#[derive(Debug, Parser)]
struct Args {
    /// A model file of `train_quality`, or its folder
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    data: LabeledDataArgs,
    /// Folders with segmentations, separated by commas; each holds files CASE.nii.gz (for pictures CASE.png) or further
    /// such folders
    #[arg(long, required = true, value_delimiter = ',', value_name = "FOLDERS")]
    predictions: Vec<PathBuf>,
    /// Patients whose segmentations are graded
    #[arg(long, value_parser = patients(), default_value = "test")]
    patients: GradedPatients,
    /// Source of the correction of estimates and of their intervals
    #[arg(long, value_parser = intervals(), default_value = "model")]
    intervals: IntervalSource,
    /// Stop at the first case that cannot be graded, instead of leaving it out
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Replicates of the bootstrap
    #[arg(long, default_value_t = 1000, value_parser = whole(1, MOST_REPLICATES))]
    replicates: usize,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for the results
    #[arg(long, default_value = "target/lesio/evaluate_quality")]
    out: PathBuf,
}

fn patients() -> impl TypedValueParser<Value = GradedPatients> {
    let test = "Patients of the model's own data set that were used neither for training nor for calibration";
    let all = "All patients: for data that were not used to make the model. With --intervals other-networks, a fifth of \
               them is used for the intervals and not graded";
    one_of(vec![("test", test, GradedPatients::Test), ("all", all, GradedPatients::All)])
}

fn intervals() -> impl TypedValueParser<Value = IntervalSource> {
    let others = "For each network, the other networks on the patients that were held out from the training";
    one_of(vec![
        ("model", "The model", IntervalSource::Model),
        ("other-networks", others, IntervalSource::OtherNetworks),
    ])
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = parse::<Args>();
    let started = Instant::now();
    check_folder(&args.out)?;
    let model = QualityModel::load(model_path(&args.model), &args.device.device)?;
    let data = args.data.config(model.provenance().seed)?.predictions(args.predictions);
    let config = QualityEvaluationConfig::new(BootstrapConfig::new(args.seed).replicates(args.replicates))
        .patients(args.patients)
        .intervals(args.intervals)
        .bad_cases(if args.strict { BadCases::Stop } else { BadCases::LeaveOut });
    let found = evaluate_quality(model, &args.data.data, &data, &config, &mut watch("grading"))?;
    prepare_folder(&args.out)?;
    let provenance = RunRecord::new(command("evaluate_quality")).seed(args.seed);
    let provenance = provenance.seconds(started.elapsed().as_secs_f64());
    let out = |name: &str| args.out.join(name);
    found.grades.to_table().write(out("segmentations.csv"), Existing::Replace)?;
    write_json(out("report.json"), &found.report(&provenance), Existing::Replace)?;
    found.page(provenance)?.write(out("report.html"), Existing::Replace)?;
    found.summary().iter().for_each(|line| say!("{line}"));
    say!("\n{}", found.counts()?.to_markdown());
    let tables = if found.cases > 0 { found.tables()? } else { Vec::new() };
    tables.iter().for_each(|table| say!("{}", table.to_markdown()));
    say!("wrote {} in {:.0} s", args.out.display(), started.elapsed().as_secs_f64());
    ungraded(&found.failed)
}
