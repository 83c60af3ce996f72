//! Trains an estimator of segmentation quality and saves it as one file.
//!
//! `cargo run --release --example train_quality -- --data acdc --layout acdc --label 2 --out target/lesio/quality`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::metrics::BootstrapConfig;
use lesio::quality::{Method, QualityPipeline, Scored, StepCache};
use lesio::report::{Existing, HtmlReport, RunRecord, Scale, ScatterPlot, Table, write_json};
use lesio_examples::quality::{QualityArgs, patients, watch};
use lesio_examples::{Outcome, bar, command, prepare_folder, run, say};
use serde_json::json;

/// Train an estimator of the quality of segmentations, which needs no truth when it is used.
///
/// Candidate segmentations are made on the way: segmenters of several sizes and stages are trained, and what they
/// give is corrupted in many ways. Writes model.safetensors, report.json and report.html into the folder given by
/// --out. Interrupted, the same command goes on where it was.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    quality: QualityArgs,
    /// How quality is estimated
    #[arg(long, value_enum, default_value = "second-opinion")]
    method: MethodName,
    /// Folder for the model and its report
    #[arg(long, default_value = "target/lesio/train_quality")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum MethodName {
    /// REC-Net and REG-Net, as published
    RecReg,
    /// Regression from image and segmentation
    Direct,
    /// Regression from the segmentation alone
    ShapeOnly,
    /// A hardened second opinion on where the structures are
    SecondOpinion,
}

impl From<MethodName> for Method {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::RecReg => Self::RecReg,
            MethodName::Direct => Self::Direct,
            MethodName::ShapeOnly => Self::ShapeOnly,
            MethodName::SecondOpinion => Self::SecondOpinion,
        }
    }
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let started = Instant::now();
    let steps = args.out.join("steps");
    prepare_folder(&args.out)?;
    prepare_folder(&steps)?;
    let material = args.quality.material(None)?;
    let labels = material.config.framing.labels.clone();
    say!(
        "{} training patients, {} held out; labels {labels:?}, {} image pixels per grid pixel",
        patients(&material.training),
        patients(&material.held_out),
        material.config.framing.pixel
    );
    let progress = bar(1, "training");
    let (recipe, shelf) = (args.quality.recipe(), StepCache::new(&steps));
    let (training, held_out) = (&material.training, &material.held_out);
    let (config, device) = (material.config.clone(), &args.quality.device.device);
    let workshop =
        QualityPipeline::prepare(recipe, config, training, held_out, shelf, device, &mut watch(&progress))?;
    let model = workshop.model(args.method.into(), &mut watch(&progress))?;
    progress.finish_and_clear();
    let file = args.out.join("model.safetensors");
    model.save(&file)?;

    // Held-out patients chose the epoch: what is measured on them flatters a little, and is called by its name.
    let estimates = model.estimator().estimate_samples(workshop.held_out(), None)?;
    let mut plot = ScatterPlot::new("Held-out candidates", "true Dice", "estimated Dice").identity();
    let mut table =
        Table::new("Held-out patients, by label.", ["label", "MAE", "Pearson", "AUROC of failure"]);
    let mut figures = Vec::new();
    for (position, label) in labels.iter().enumerate() {
        let own = Scored::of_label(workshop.held_out(), &estimates.dice, position);
        let evaluation = own.evaluate(&BootstrapConfig::new(args.quality.seed))?;
        let (mae, pearson) = (evaluation.regression.mean_absolute_error, evaluation.regression.pearson);
        say!("label {label}: mean absolute error {mae:.3} on held-out patients");
        table = table.row([
            label.to_string().as_str().into(),
            mae.into(),
            pearson.into(),
            evaluation.failure_auroc.into(),
        ])?;
        figures.push(json!({"label": label, "mae": mae, "pearson": pearson, "failure_auroc": evaluation.failure_auroc}));
        plot = plot.points(format!("label {label}"), own.truth, own.predicted)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let provenance = RunRecord::new(command("train_quality")).seed(args.quality.seed).seconds(seconds);
    let report = json!({
        "schema": 1,
        "method": Method::from(args.method).name(),
        "held_out": figures,
        "training_samples": workshop.training().len(),
        "training": model.provenance(),
        "provenance": provenance,
    });
    write_json(args.out.join("report.json"), &report, Existing::Replace)?;
    HtmlReport::new("An estimator of segmentation quality")
        .lead(format!("Trained on {} candidates.", workshop.training().len()))
        .section("Held-out patients")
        .paragraph(
            "These patients chose the epoch and calibrated the intervals; study_quality measures on others.",
        )
        .table(table)
        .figure_svg(&plot.range(Scale::new(0.0, 1.0)?).to_svg()?, "One point a candidate.")
        .provenance(provenance)
        .write(args.out.join("report.html"), Existing::Replace)?;
    say!("wrote {} in {seconds:.0} s", file.display());
    Ok(())
}
