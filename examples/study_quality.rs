//! The error of the predicted Dice on patients never seen, clean and under attack, of every estimator.
//!
//! `cargo run --release --example study_quality -- --data acdc --layout acdc --label 2 --out target/lesio/study_quality`

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::metrics::{BootstrapConfig, Interval, RegressionScores};
use lesio::quality::{
    Attack, AttackKind, AttackUnit, Method, NaturalShift, QualityModel, QualityPipeline, Sample, Samples,
    Scored, StepCache,
};
use lesio::report::{
    self, Curve, Existing, HeatMap, HtmlReport, LinePlot, Montage, Picture, RunRecord, QualityEstimatorKind,
    QualityReport, QualityRow, Rgb, Scale, ScatterPlot, write_json,
};
use lesio_examples::arguments::whole;
use lesio_examples::quality::{Material, QualityArgs, patients, watch};
use lesio_examples::quality_tables::{name, tables};
use lesio_examples::{Outcome, bar, command, prepare_folder, run, say};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Measure how well the quality of segmentations is predicted: REC-Net with REG-Net, the direct regression, the
/// segmentation alone, and the best that was found, clean, under attack, and under natural changes of the image.
///
/// Trains everything on training patients and tests on others. Writes report.json and report.html into the folder
/// given by --out. Interrupted, the same command goes on where it was.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    quality: QualityArgs,
    /// Test on this folder of the same layout instead of the data set's own test patients
    #[arg(long)]
    test_data: Option<PathBuf>,
    /// Test candidates for each twentieth of the Dice
    #[arg(long, default_value_t = 12, value_parser = whole(1, 10_000))]
    per_bin: usize,
    /// Strengths of attacks
    #[arg(long, value_delimiter = ',', default_value = "0.05,0.1,0.2,0.3", value_parser = strength)]
    epsilon: Vec<f32>,
    /// Steps of projected gradient descent
    #[arg(long, default_value_t = 10, value_parser = whole(1, 10_000))]
    pgd_steps: usize,
    /// Folder for the report and the state
    #[arg(long, default_value = "target/lesio/study_quality")]
    out: PathBuf,
}

/// The estimators compared: what they are called, and how they work.
const ESTIMATORS: [(QualityEstimatorKind, Method); 4] = [
    (QualityEstimatorKind::RecReg, Method::RecReg),
    (QualityEstimatorKind::Direct, Method::Direct),
    (QualityEstimatorKind::ShapeOnly, Method::ShapeOnly),
    (QualityEstimatorKind::Best, Method::SecondOpinion),
];

/// True Dice of the candidates that are shown.
const SHOWN: [f64; 5] = [0.1, 0.3, 0.5, 0.75, 0.95];
/// Outline of a candidate.
const TESTED: Rgb = Rgb([255, 176, 0]);
/// Pixels of a picture per pixel of the grid.
const ENLARGED: usize = 4;
/// Estimators whose attacked images are also shown to the best.
const SURROGATES: [QualityEstimatorKind; 2] = [QualityEstimatorKind::Direct, QualityEstimatorKind::RecReg];

fn strength(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(strength) if strength > 0.0 && strength <= 10.0 => Ok(strength),
        _ => Err("expected a number above 0, of at most 10".to_owned()),
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
    let material = args.quality.material(args.test_data.as_ref())?;
    say!(
        "patients: {} for training, {} held out, {} for testing; labels {:?}, {:.2} image pixels per grid pixel",
        patients(&material.training),
        patients(&material.held_out),
        patients(&material.test),
        material.config.framing.labels,
        material.config.framing.pixel,
    );
    let progress = bar(1, "preparing");
    let (recipe, config) = (args.quality.recipe(), material.config.clone());
    let (training, held_out) = (&material.training, &material.held_out);
    let (shelf, device) = (StepCache::new(&steps), &args.quality.device.device);
    let workshop =
        QualityPipeline::prepare(recipe, config, training, held_out, shelf, device, &mut watch(&progress))?;
    let samples = workshop.pool(&material.test, args.per_bin, &mut watch(&progress))?;
    let mut models = BTreeMap::new();
    // The slowest first: what it needs is known the earlier.
    for (kind, method) in ESTIMATORS.into_iter().rev() {
        models.insert(kind, workshop.model(method, &mut watch(&progress))?);
    }
    progress.finish_and_clear();

    let mut study = Study { args: &args, samples: &samples, steps, runs: Vec::new(), perturbed: Vec::new() };
    for (kind, model) in &models {
        study.attack(*kind, model)?;
        study.shift(*kind, model)?;
    }
    let transfer = study.transfer(&models)?;
    let report = study.report(&models, &material, transfer, started)?;
    write_json(args.out.join("report.json"), &report, Existing::Replace)?;
    study.page(&models, &report)?.write(args.out.join("report.html"), Existing::Replace)?;
    for (title, table) in tables(&report)? {
        say!("{title}\n\n{}", table.to_markdown());
    }
    say!("wrote {} in {:.0} s", args.out.display(), started.elapsed().as_secs_f64());
    Ok(())
}

/// Estimates of one estimator under one change of the images.
#[derive(Clone, Debug)]
struct Run {
    kind: QualityEstimatorKind,
    attack: report::Attack,
    epsilon: f32,
    unit: report::AttackUnit,
    /// `[n, labels]`.
    dice: Vec<f32>,
}

/// Estimates kept between sessions.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: String,
    dice: Vec<f32>,
}

struct Study<'a> {
    args: &'a Args,
    samples: &'a Samples,
    steps: PathBuf,
    runs: Vec<Run>,
    /// Images that attacks on a surrogate have changed, by its kind and the strength in deviations.
    perturbed: Vec<(QualityEstimatorKind, f32, Vec<f32>)>,
}

impl Study<'_> {
    /// Estimates clean images and those that attacks on this very estimator have changed.
    fn attack(&mut self, kind: QualityEstimatorKind, model: &QualityModel) -> Outcome {
        self.run(kind, report::Attack::None, 0.0, report::AttackUnit::Std, model, |_, _| Ok(None))?;
        let mut perturbed = Vec::new();
        for (unit, named) in
            [(AttackUnit::Std, report::AttackUnit::Std), (AttackUnit::Range, report::AttackUnit::Range)]
        {
            for &epsilon in &self.args.epsilon {
                let steps = self.args.pgd_steps;
                let kinds = [
                    (report::Attack::Fgsm, AttackKind::Fgsm),
                    (report::Attack::Pgd, AttackKind::Pgd { steps }),
                ];
                // A twentieth of the range is several tenths of a deviation: one step of it already blinds whom ten
                // steps of .3 do not, and more of them tell nothing more.
                let kinds = if unit == AttackUnit::Std { &kinds[..] } else { &kinds[..1] };
                for &(attack, how) in kinds {
                    // Nothing can be done to an estimator that does not look: its clean estimates stand.
                    let blind = kind == QualityEstimatorKind::ShapeOnly;
                    let attack_of = Attack::new(how, epsilon, unit).seed(self.args.quality.seed);
                    self.run(kind, attack, epsilon, named, model, |model, samples| {
                        if blind {
                            return Ok(None);
                        }
                        let bar =
                            bar(samples.len() as u64, &format!("{kind:?} {attack:?} {epsilon} {named:?}"));
                        let images =
                            attack_of.perturb(model.estimator(), samples, |done| bar.inc(done as u64))?;
                        bar.finish_and_clear();
                        if attack == report::Attack::Pgd && SURROGATES.contains(&kind) {
                            perturbed.push((kind, epsilon, images.clone()));
                        }
                        Ok(Some(images))
                    })?;
                }
            }
        }
        self.perturbed.extend(perturbed);
        Ok(())
    }

    /// Estimates images under natural changes.
    fn shift(&mut self, kind: QualityEstimatorKind, model: &QualityModel) -> Outcome {
        let width = model.config().framing.grid[1];
        for shift in NaturalShift::ALL {
            for &strength in &self.args.epsilon {
                let seed = self.args.quality.seed;
                self.run(kind, named(shift), strength, report::AttackUnit::Std, model, |_, samples| {
                    let mut images = Vec::new();
                    for (number, sample) in samples.iter().enumerate() {
                        images.extend(shift.apply(&sample.image, width, strength, seed ^ number as u64)?);
                    }
                    Ok(Some(images))
                })?;
            }
        }
        Ok(())
    }

    /// Images that attacks on other estimators have changed, shown to the best: were its gradients hidden instead of
    /// small, these would do it more harm than its own.
    fn transfer(
        &self,
        models: &BTreeMap<QualityEstimatorKind, QualityModel>,
    ) -> Result<Vec<serde_json::Value>, Box<dyn Error>> {
        let mut rows = Vec::new();
        for surrogate in SURROGATES {
            for &epsilon in &self.args.epsilon {
                let Some(model) = models.get(&surrogate) else { continue };
                let fingerprint = &model.provenance().training;
                let Some(best) = models.get(&QualityEstimatorKind::Best) else { continue };
                let key = format!("{} by {fingerprint} {}", best.provenance().training, self.key());
                let name = format!("transfer-{surrogate:?}-{epsilon}").to_lowercase();
                let dice = self.kept(&name, &key, || {
                    let made =
                        self.perturbed.iter().find(|(kind, own, _)| (*kind, *own) == (surrogate, epsilon));
                    let images = match made {
                        Some((_, _, images)) => images.clone(),
                        None => {
                            let kind = AttackKind::Pgd { steps: self.args.pgd_steps };
                            let attack =
                                Attack::new(kind, epsilon, AttackUnit::Std).seed(self.args.quality.seed);
                            attack.perturb(model.estimator(), self.samples, |_| {})?
                        }
                    };
                    Ok(best.estimator().estimate_samples(self.samples, Some(&images))?.dice)
                })?;
                let evaluation = Scored::of_mean(self.samples, &dice).evaluate(&self.bootstrap())?;
                rows.push(json!({
                    "estimator": QualityEstimatorKind::Best,
                    "surrogate": surrogate,
                    "attack": report::Attack::Pgd,
                    "epsilon": (f64::from(epsilon) * 1e6).round() / 1e6,
                    "unit": report::AttackUnit::Std,
                    "mae": evaluation.regression.mean_absolute_error,
                }));
            }
        }
        Ok(rows)
    }

    fn run(
        &mut self,
        kind: QualityEstimatorKind,
        attack: report::Attack,
        epsilon: f32,
        unit: report::AttackUnit,
        model: &QualityModel,
        change: impl FnOnce(&QualityModel, &Samples) -> Result<Option<Vec<f32>>, Box<dyn Error>>,
    ) -> Outcome {
        let name = format!("estimates-{kind:?}-{attack:?}-{epsilon}-{unit:?}").to_lowercase();
        let key = format!("{} {} {}", model.provenance().training, self.key(), self.args.pgd_steps);
        let samples = self.samples;
        let dice = self.kept(&name, &key, || {
            let images = change(model, samples)?;
            Ok(model.estimator().estimate_samples(samples, images.as_deref())?.dice)
        })?;
        self.runs.push(Run { kind, attack, epsilon, unit, dice });
        Ok(())
    }

    /// What was computed in an earlier session from the same model and samples, or else is now.
    fn kept(
        &self,
        name: &str,
        key: &str,
        compute: impl FnOnce() -> Result<Vec<f32>, Box<dyn Error>>,
    ) -> Result<Vec<f32>, Box<dyn Error>> {
        let path = self.steps.join(format!("{name}.json"));
        let found = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        if let Some(kept) = found.filter(|kept| kept.key == key) {
            return Ok(kept.dice);
        }
        let kept = Kept { key: key.to_owned(), dice: compute()? };
        write_json(&path, &kept, Existing::Replace)?;
        Ok(kept.dice)
    }

    fn key(&self) -> String {
        format!("{:08x} {}", self.samples.checksum(), self.args.quality.seed)
    }

    fn bootstrap(&self) -> BootstrapConfig {
        BootstrapConfig::new(self.args.quality.seed)
    }

    fn scored(&self, run: &Run) -> Scored {
        Scored::of_mean(self.samples, &run.dice)
    }

    fn find(&self, kind: QualityEstimatorKind, like: &Run) -> Option<&Run> {
        let same = |run: &&Run| (run.attack, run.epsilon, run.unit) == (like.attack, like.epsilon, like.unit);
        self.runs.iter().filter(|run| run.kind == kind).find(same)
    }

    fn clean(&self, kind: QualityEstimatorKind) -> Option<&Run> {
        self.runs.iter().find(|run| run.kind == kind && run.attack == report::Attack::None)
    }

    fn row(&self, run: &Run) -> Result<QualityRow, Box<dyn Error>> {
        let own = self.scored(run);
        let evaluation = own.evaluate(&self.bootstrap())?;
        let regression = &evaluation.regression;
        let mut row = QualityRow::new(run.kind, run.attack, f64::from(run.epsilon), run.unit);
        row.epsilon = (row.epsilon * 1e6).round() / 1e6;
        row.mae = Some(regression.mean_absolute_error);
        row.mae_sd = regression.absolute_error_deviation;
        row.rmse = Some(regression.root_mean_square_error);
        (row.pearson, row.spearman) = (regression.pearson, regression.spearman);
        row.n = regression.samples as u64;
        let mut add = |name: &str, value: serde_json::Value| row.extra.insert(name.to_owned(), value);
        add("bias", json!(regression.bias));
        add("kendall_tau_b", json!(regression.kendall_tau_b));
        add("failure_auroc", json!(evaluation.failure_auroc));
        add("mae_ci95", json!(evaluation.mae_interval.map(ends)));
        add("pearson_ci95", json!(evaluation.pearson_interval.map(ends)));
        let by_range: Vec<_> = evaluation
            .by_range
            .iter()
            .map(|bin| {
                let scores = bin.scores.as_ref();
                json!({
                    "lower": bin.lower,
                    "upper": bin.upper,
                    "mae": scores.map(|s| s.mean_absolute_error),
                    "n": scores.map_or(0, |s| s.samples),
                })
            })
            .collect();
        add("by_true_dice", json!(by_range));
        if let Some(clean) = self.clean(run.kind) {
            let drift = clean.dice.iter().zip(&run.dice).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
            add("drift", json!(drift / run.dice.len().max(1) as f64));
        }
        if let Some(direct) = self.find(QualityEstimatorKind::Direct, run) {
            let difference = own.mae_difference(&self.scored(direct), &self.bootstrap())?;
            add("mae_less_direct", json!(difference.map(|d| d.estimate)));
            add("mae_less_direct_ci95", json!(difference.map(ends)));
        }
        Ok(row)
    }

    fn report(
        &self,
        models: &BTreeMap<QualityEstimatorKind, QualityModel>,
        material: &Material,
        transfer: Vec<serde_json::Value>,
        started: Instant,
    ) -> Result<QualityReport, Box<dyn Error>> {
        let mut report = QualityReport::default();
        for run in &self.runs {
            report.rows.push(self.row(run)?);
        }
        let mut calibration = Vec::new();
        for (kind, model) in models {
            calibration.extend(self.calibration(*kind, model)?);
        }
        let seconds = started.elapsed().as_secs_f64();
        let provenance =
            RunRecord::new(command("study_quality")).seed(self.args.quality.seed).seconds(seconds);
        report.provenance = Some(provenance);
        let patients = json!({
            "training": patients(&material.training),
            "held_out": patients(&material.held_out),
            "test": patients(&material.test),
        });
        report.extra.insert("patients".to_owned(), patients);
        report.extra.insert("intervals".to_owned(), json!(calibration));
        report.extra.insert("transfer".to_owned(), json!(transfer));
        Ok(report)
    }

    /// Coverage and width of an estimator's intervals on clean test images, and what refusing the doubtful brings.
    fn calibration(
        &self,
        kind: QualityEstimatorKind,
        model: &QualityModel,
    ) -> Result<Vec<serde_json::Value>, Box<dyn Error>> {
        let Some(clean) = self.clean(kind) else { return Ok(Vec::new()) };
        let labels = model.config().framing.labels.clone();
        let distances = model.estimator().estimate_samples(self.samples, None)?.distance;
        let mut rows = Vec::new();
        let count = labels.len();
        for (position, label) in labels.into_iter().enumerate() {
            let own = Scored::of_label(self.samples, &clean.dice, position);
            let Some(conformal) = model.conformal().get(position) else { continue };
            let intervals: Vec<_> = own.predicted.iter().map(|&dice| conformal.interval(dice)).collect();
            let certainty: Vec<f64> = own.predicted.iter().map(|&dice| -conformal.reach(dice)).collect();
            let coverage = own.coverage(&intervals)?;
            let risk = own.risk_coverage(&certainty)?;
            let evaluation = own.evaluate(&self.bootstrap())?;
            // Only where segmentation and truth both hold the label is there a distance.
            let own_distances = distances.iter().skip(position).step_by(count);
            let (true_distance, distance): (Vec<f64>, Vec<f64>) = self
                .samples
                .iter()
                .zip(own_distances)
                .filter_map(|(sample, &distance)| {
                    Some(((*sample.distance.get(position)?)?, f64::from(distance)))
                })
                .unzip();
            let distance = RegressionScores::new(&true_distance, &distance).ok();
            rows.push(json!({
                "estimator": kind,
                "hd95_mae_pixels": distance.as_ref().map(|scores| scores.mean_absolute_error),
                "hd95_spearman": distance.as_ref().and_then(|scores| scores.spearman),
                "label": label,
                "level": conformal.level,
                "coverage": coverage.coverage,
                "mean_width": coverage.mean_width,
                "mae": evaluation.regression.mean_absolute_error,
                "pearson": evaluation.regression.pearson,
                "failure_auroc": evaluation.failure_auroc,
                "risk_coverage_area": risk.area,
                "risk_coverage_ideal_area": risk.ideal_area,
            }));
        }
        Ok(rows)
    }

    /// Candidates of rising true Dice, with what REC-Net and the second opinion make of them.
    fn pictures(
        &self,
        models: &BTreeMap<QualityEstimatorKind, QualityModel>,
    ) -> Result<Montage, Box<dyn Error>> {
        let errors = HeatMap::new(Scale::new(0.0, 1.0)?).label("probability that the label is wrong");
        let columns = ["image, truth, candidate", "painted by REC-Net", "difference", "where it is wrong"];
        let mut montage = Montage::new(columns).color_bar(errors.clone());
        for target in SHOWN {
            let distance = |sample: &Sample| (sample.mean_dice() - target).abs();
            let nearest = self.samples.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
            let Some(sample) = nearest else { continue };
            let ask = |kind| -> Result<_, Box<dyn Error>> {
                let Some(model) = models.get(&kind) else { return Err("an estimator is missing".into()) };
                let (grid, labels) = (model.config().framing.grid, model.config().framing.labels.len());
                // Positions of the labels graded among the classes of the truth.
                let classes = model.config().classes.clone();
                let graded: Vec<u8> = model.config().framing.labels.clone();
                let estimates = model.estimator().estimate(&sample.image, &sample.segmentation)?;
                let mean = estimates.dice.iter().sum::<f32>() / labels.max(1) as f32;
                let is_graded = |&index: &u8| {
                    let class = classes.get(usize::from(index).wrapping_sub(1));
                    class.is_some_and(|class| graded.contains(class))
                };
                let truth: Vec<bool> = sample.truth.iter().map(is_graded).collect();
                Ok((grid, mean, truth, estimates.reconstruction, estimates.error))
            };
            let (grid, _, truth, painted, _) = ask(QualityEstimatorKind::RecReg)?;
            let (_, predicted, _, _, wrong) = ask(QualityEstimatorKind::Best)?;
            let plane = |values: Vec<f32>| Array2::from_shape_vec(grid, values);
            let mask = |values: Vec<bool>| Array2::from_shape_vec(grid, values);
            let image = plane(sample.image.clone())?;
            let painted = plane(painted.unwrap_or_default())?;
            let wrong = plane(wrong.unwrap_or_default())?;
            let candidate = mask(sample.segmentation.iter().map(|&index| index != 0).collect())?;
            let (low, high) = image.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
            let window = Scale::new(f64::from(low), f64::from(high))?;
            let contrast = f64::from(high - low) / 2.0;
            let differences = Scale::new(-contrast, contrast)?;
            let row = [
                Picture::gray(image.view(), window)?
                    .enlarged(ENLARGED)?
                    .outlined(mask(truth)?.view(), Rgb::TRUTH)?
                    .outlined(candidate.view(), TESTED)?,
                Picture::gray(painted.view(), window)?.enlarged(ENLARGED)?,
                Picture::gray((&image - &painted).view(), differences)?.enlarged(ENLARGED)?,
                Picture::gray(image.view(), window)?.overlaid(wrong.view(), &errors)?.enlarged(ENLARGED)?,
            ];
            let label = format!("Dice {:.2}, predicted {predicted:.2}", sample.mean_dice());
            montage = montage.row(label, row)?;
        }
        Ok(montage)
    }

    fn page(
        &self,
        models: &BTreeMap<QualityEstimatorKind, QualityModel>,
        report: &QualityReport,
    ) -> Result<HtmlReport, Box<dyn Error>> {
        let mut page = HtmlReport::new("Segmentation quality without ground truth")
            .lead(format!("{} candidates of patients that nothing was trained on.", self.samples.len()))
            .section("What is said of segmentations")
            .montage(
                &self.pictures(models)?,
                "Candidates of rising Dice: true outline cyan, candidate orange; what REC-Net paints where the candidate is cut \
                 out, the difference to the image, and where the second opinion holds the candidate for wrong.",
            )?
            .section("How far off the predicted Dice is");
        for (_, table) in tables(report)? {
            page = page.table(table);
        }
        page = page.section("Under attack");
        let attacks = [
            (report::Attack::Fgsm, report::AttackUnit::Std, "FGSM, strength in deviations"),
            (report::Attack::Pgd, report::AttackUnit::Std, "PGD, strength in deviations"),
            (report::Attack::Fgsm, report::AttackUnit::Range, "FGSM, strength as a share of the range"),
        ];
        for (attack, unit, title) in attacks {
            let mut plot = LinePlot::new(title, "strength", "mean absolute error");
            for (kind, _) in ESTIMATORS {
                let mut points = vec![(0.0, self.clean(kind))];
                points.extend(self.args.epsilon.iter().map(|&epsilon| {
                    let like = |run: &&Run| {
                        (run.kind, run.attack, run.unit) == (kind, attack, unit) && run.epsilon == epsilon
                    };
                    (f64::from(epsilon), self.runs.iter().find(like))
                }));
                let (mut x, mut y) = (Vec::new(), Vec::new());
                for (epsilon, run) in points {
                    let Some(run) = run else { continue };
                    x.push(epsilon);
                    y.push(self.scored(run).evaluate(&self.bootstrap())?.regression.mean_absolute_error);
                }
                plot = plot.curve(Curve::new(name(kind), x, y)?);
            }
            page = page.figure_svg(&plot.to_svg()?, title);
        }
        page = page.section("Predicted against true Dice");
        for (kind, _) in ESTIMATORS {
            let Some(clean) = self.clean(kind) else { continue };
            let own = self.scored(clean);
            let plot = ScatterPlot::new(name(kind), "true Dice", "predicted Dice").identity();
            let plot = plot.range(Scale::new(0.0, 1.0)?).points(name(kind), own.truth, own.predicted)?;
            page = page.figure_svg(&plot.to_svg()?, format!("{}, clean images.", name(kind)));
        }
        page = page.section("Refusing the doubtful");
        let mut plot = LinePlot::risk_coverage("Risk and coverage", "mean absolute error of those kept");
        for (kind, _) in ESTIMATORS {
            let (Some(clean), Some(model)) = (self.clean(kind), models.get(&kind)) else { continue };
            let own = Scored::of_label(self.samples, &clean.dice, 0);
            let Some(conformal) = model.conformal().first() else { continue };
            let certainty: Vec<f64> = own.predicted.iter().map(|&dice| -conformal.reach(dice)).collect();
            let curve = own.risk_coverage(&certainty)?;
            plot = plot.curve(Curve::new(name(kind), curve.coverage, curve.risk)?);
        }
        page = page.figure_svg(&plot.to_svg()?, "The narrower its interval, the longer an estimate is kept.");
        Ok(match &report.provenance {
            Some(provenance) => page.provenance(provenance.clone()),
            None => page,
        })
    }
}

fn ends(interval: Interval) -> [f64; 2] {
    [interval.lower, interval.upper]
}

fn named(shift: NaturalShift) -> report::Attack {
    match shift {
        NaturalShift::Noise => report::Attack::Noise,
        NaturalShift::BiasField => report::Attack::BiasField,
        NaturalShift::Contrast => report::Attack::Contrast,
        NaturalShift::Blur => report::Attack::Blur,
        _ => report::Attack::Motion,
    }
}
