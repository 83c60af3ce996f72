//! lesio at work with nothing downloaded: `cargo run --release --example quickstart`
//!
//! Draws brain-like images, trains a small variational autoencoder on normal ones, lets every predictor
//! map lesions of four kinds, and measures them against the exact truth. Draws heart-like images, and trains and
//! asks an estimator of the quality of their segmentations. Writes one page to look at.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::anomaly::{PostProcessing, PredictorName, PredictorSettings};
use lesio::image::{Image, Preprocessing, Scan};
use lesio::metrics::{BootstrapConfig, PixelCurve};
use lesio::phantom::{BrainConfig, BrainPhantom, Contrast, LesionConfig, LesionInjector, LesionKind};
use lesio::report::{
    Best, Column, Curve, EvaluationReport, Existing, HtmlReport, LinePlot, RunRecord, Scale, Scope, Table,
    TableCell, write_json,
};
use lesio::study::{
    Checkpoints, EvaluationBuilder, ModelTraining, Subject, Thresholds, calibrate, curve_figures,
    fit_preprocessing, leading, montage, normal_examples, normal_scale, scope_table, score_subject, shown,
    train,
};
use lesio::vae::{Augmentation, Divergence, Latent, Mirror, VaeConfig, VaeTraining};
use lesio_examples::hearts::show_quality;
use lesio_examples::{DeviceArgs, Outcome, bar, command, prepare_folder, run, say, watch_training};

/// See lesio at work in under two minutes, on images it draws itself.
///
/// Writes report.html, report.json and model.safetensors into the folder given by --out.
#[derive(Debug, Parser)]
struct Args {
    /// Folder for the report
    #[arg(long, default_value = "target/lesio/quickstart")]
    out: PathBuf,
    /// Seed of images, lesions and training
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Rows and columns of an image.
const SIZE: usize = 96;
const TRAINING: u64 = 600;
const VALIDATION: u64 = 60;
const LESIONS_OF_A_KIND: u64 = 20;
/// Resamplings of patients for the intervals: enough for two digits.
const REPLICATES: usize = 200;
/// Radii of lesions in millimetres; a pixel is 2.3 wide.
const RADII: [f64; 2] = [8.0, 18.0];
/// Scalp and skull, which vary more than any lesion and are not looked at, in pixels of the network's grid.
const RIM: f64 = 7.0;
/// Kinds of lesions with their contrasts: two that brightness tells, two that it does not.
const KINDS: [(&str, LesionKind, f64); 4] = [
    ("bright", LesionKind::Bright, 0.35),
    ("dark", LesionKind::Dark, 0.35),
    ("displaced", LesionKind::Displaced, 0.7),
    ("textured", LesionKind::Textured, 0.2),
];

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let started = Instant::now();
    prepare_folder(&args.out)?;
    let phantom = BrainPhantom::new(BrainConfig::new([SIZE, SIZE], Contrast::Flair, args.seed))?;
    let training: Vec<Subject> = (0..TRAINING).map(|subject| healthy(&phantom, subject)).collect();
    let validation: Vec<Subject> =
        (TRAINING..TRAINING + VALIDATION).map(|subject| healthy(&phantom, subject)).collect();

    say!("training on {TRAINING} normal images of {SIZE} x {SIZE} pixels");
    let preprocessing = fit_preprocessing(&Preprocessing::heads([SIZE, SIZE]), &training)?;
    let examples = normal_examples(&preprocessing, &training)?;
    let held_out = normal_examples(&preprocessing, &validation)?;
    let recipe = recipe(args.seed);
    let progress = bar(1, "training");
    let trained = train(
        &recipe,
        preprocessing,
        examples,
        held_out,
        &Checkpoints::default(),
        &args.device.device,
        watch_training(&progress),
    )?;
    progress.finish_and_clear();
    let mut settings = PredictorSettings::default();
    settings.projection.steps = 30;
    settings.restoration.steps = 30;
    let localizer = trained
        .localizer
        .settings(settings)
        .postprocessing(PostProcessing::default().median(0.0, 5.0, 5.0).erosion(RIM));
    let names = localizer.predictors();
    let progress = bar(VALIDATION, "calibrating");
    let localizer = calibrate(localizer, &validation, &names, |done| progress.set_position(done as u64))?;
    progress.finish_and_clear();
    localizer.save(args.out.join("model.safetensors"))?;

    let progress = bar(KINDS.len() as u64 * LESIONS_OF_A_KIND, "finding lesions");
    let mut evaluation = EvaluationBuilder::new();
    let mut kinds = Vec::new();
    let mut rows = Vec::new();
    let first_test = TRAINING + VALIDATION;
    let scoring = Instant::now();
    for (number, &(kind, lesion, contrast)) in KINDS.iter().enumerate() {
        let injector = LesionInjector::new(
            LesionConfig::new(lesion, contrast).radius(RADII[0], RADII[1]).in_brain_tissue(),
        )?;
        let mut of_kind = vec![PixelCurve::new(); names.len()];
        for index in 0..LESIONS_OF_A_KIND {
            let subject = first_test + number as u64 * LESIONS_OF_A_KIND + index;
            let subject = ill(&phantom, &injector, kind, subject, args.seed)?;
            let maps = score_subject(&localizer, &subject, &names)?;
            let truth = subject.truth()?.ok_or("a phantom knows its truth")?;
            if index < 2 {
                rows.extend(shown(&subject, &maps, &truth));
            }
            evaluation.add(&subject.patient, &maps, &truth)?;
            for (pixels, (_, [_, map])) in of_kind.iter_mut().zip(&maps.maps) {
                let flat = |values: &ndarray::Array3<bool>| values.iter().copied().collect::<Vec<_>>();
                let scores: Vec<f32> = map.iter().copied().collect();
                pixels.update_within(&scores, &flat(&truth), &flat(&maps.foreground))?;
            }
            progress.inc(1);
        }
        kinds.push(of_kind);
    }
    progress.finish_and_clear();
    let images = KINDS.len() as u64 * LESIONS_OF_A_KIND;
    let per_image = scoring.elapsed().as_secs_f64() / images as f64;

    let bootstrap = BootstrapConfig::new(args.seed).replicates(REPLICATES);
    let evaluated = evaluation.finish(&Thresholds::new(), &BTreeMap::new(), &bootstrap)?;
    let scope =
        evaluated.scopes.iter().find(|scope| scope.scope == Scope::LesionSlices).ok_or("no lesion slices")?;
    let leaders = leading(scope, 3);
    let columns: Vec<&str> = leaders.clone();
    let scales = scales(&localizer, &names, &columns)?;
    let places: Vec<usize> =
        columns.iter().filter_map(|column| names.iter().position(|name| name.as_str() == *column)).collect();
    for row in &mut rows {
        row.maps = places.iter().map(|&place| row.maps[place].clone()).collect();
    }
    let figures = curve_figures(&evaluated.curves, &leaders, scope.prevalence.unwrap_or(0.0))?;
    let by_kind = kind_table(kinds, &names)?;
    say!("{}", by_kind.to_markdown());
    say!("learning the quality of segmentations");
    let localized = started.elapsed().as_secs_f64();
    let report = HtmlReport::new("lesio: anomalies found without labels")
        .lead(format!(
            "A variational autoencoder learnt {TRAINING} normal brain-like images and has never seen a lesion. Here is where \
             its predictors look for {images} lesions of four kinds, and how well, against the exact truth. Every number \
             was computed by this run, in {localized:.0} seconds."
        ))
        .section("What is found")
        .montage(
            &montage(&columns, &scales, &rows)?,
            "Two images of each kind; the outline is the truth. Each predictor has one scale for all rows: dark up to the median \
             of normal pixels, brightest at what one in ten thousand of them exceeds.",
        )?
        .section("By kind of lesion")
        .paragraph(
            "Bright and dark lesions differ in intensity; displaced and textured ones have the intensity of their surroundings, \
             so the floor, intensity itself, cannot tell them.",
        )
        .table(by_kind)
        .section("All lesions")
        .table(scope_table(scope)?)
        .figures(figures)
        .section("Training")
        .figure_svg(&loss_plot(&trained.history)?, "Mean loss of each epoch in nats per image.");
    let (report, quality) = show_quality(report, args.seed, &args.device.device)?;
    let seconds = started.elapsed().as_secs_f64();
    report
        .provenance(
            RunRecord::new(command("quickstart"))
                .seed(args.seed)
                .seconds(seconds)
                .version("lesio", env!("CARGO_PKG_VERSION"))
                .entry("seconds to score an image by all predictors", format!("{per_image:.3}")),
        )
        .write(args.out.join("report.html"), Existing::Replace)?;
    let mut report = EvaluationReport { scopes: evaluated.scopes, ..EvaluationReport::default() };
    report.data.insert("images".into(), serde_json::json!(images));
    report.extra.insert("command".into(), serde_json::json!(command("quickstart")));
    report.extra.insert("quality".into(), quality);
    report.extra.insert("seconds".into(), serde_json::json!(seconds));
    write_json(args.out.join("report.json"), &report, Existing::Replace)?;
    say!("open {} ({seconds:.0} s)", args.out.join("report.html").display());
    Ok(())
}

fn healthy(phantom: &BrainPhantom, subject: u64) -> Subject {
    let slice = phantom.slice(subject);
    let truth = Scan::of_picture(ndarray::Array2::from_elem(slice.image.dim(), false));
    Subject::new(format!("subject {subject}"), Image::from_plane(slice.image), Some(truth))
}

fn ill(
    phantom: &BrainPhantom,
    injector: &LesionInjector,
    kind: &str,
    subject: u64,
    seed: u64,
) -> Result<Subject, Box<dyn Error>> {
    let slice = phantom.slice(subject);
    let injected =
        injector.inject_slice(slice.image.view(), slice.labels.view(), phantom.pixel(), seed ^ subject)?;
    let truth = Some(Scan::of_picture(injected.truth));
    Ok(Subject::new(format!("{kind}, subject {subject}"), Image::from_plane(injected.image), truth))
}

fn recipe(seed: u64) -> ModelTraining {
    let model =
        VaeConfig::new(1, SIZE, SIZE).widths([16, 32, 64, 128]).latent(Latent::Dense { dimensions: 64 });
    let mut training = VaeTraining::default();
    training.train.epochs = 24;
    training.train.seed = seed;
    training.divergence = Divergence::Beta { beta: 1.0, warm_up: 0.1 };
    training.augmentation = Augmentation::default().mirror(Mirror::LeftRight);
    ModelTraining::Vae { model, training }
}

fn scales(
    localizer: &lesio::anomaly::Localizer,
    names: &[PredictorName],
    columns: &[&str],
) -> Result<Vec<Scale>, Box<dyn Error>> {
    let chosen = columns.iter().filter_map(|column| names.iter().find(|name| name.as_str() == *column));
    Ok(chosen.map(|&name| normal_scale(localizer, name)).collect::<Result<_, _>>()?)
}

/// Average precision of every predictor by kind of lesion, after post-processing.
fn kind_table(kinds: Vec<Vec<PixelCurve>>, names: &[PredictorName]) -> Result<Table, Box<dyn Error>> {
    let columns = KINDS.map(|(kind, _, _)| Column::new(kind).decimals(3).best(Best::Highest));
    let columns = std::iter::once(Column::new("predictor")).chain(columns);
    let mut table = Table::new("Average precision after post-processing, by kind of lesion.", columns);
    let mut rows: Vec<Vec<TableCell>> =
        names.iter().map(|name| vec![TableCell::from(name.as_str())]).collect();
    for predictors in kinds {
        for (row, pixels) in rows.iter_mut().zip(predictors) {
            row.push(TableCell::from(pixels.rank()?.average_precision()));
        }
    }
    for row in rows {
        table = table.row(row)?;
    }
    Ok(table)
}

fn loss_plot(history: &[lesio::nn::EpochRecord]) -> Result<lesio::report::Svg, Box<dyn Error>> {
    let epochs: Vec<f64> = history.iter().map(|record| (record.epoch + 1) as f64).collect();
    let training: Vec<f64> = history.iter().map(|record| record.training.total).collect();
    let validation: Vec<f64> =
        history.iter().filter_map(|record| Some(record.validation.as_ref()?.total)).collect();
    let plot = LinePlot::training("Loss by epoch", "nats per image")
        .curve(Curve::new("training", epochs.clone(), training)?)
        .curve(Curve::new("validation", epochs, validation)?);
    Ok(plot.to_svg()?)
}
