//! The localization part of `quickstart`, on synthetic brains.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use lesio::anomaly::{
    Localizer, PostProcessing, PredictorName, PredictorSettings, ProjectionConfig, RestorationConfig,
};
use lesio::image::{Image, Preprocessing, Scan};
use lesio::metrics::{BootstrapConfig, PixelCurve};
use lesio::nn::{Device, TrainConfig};
use lesio::phantom::{BrainConfig, BrainPhantom, Contrast, LesionConfig, LesionInjector, LesionKind};
use lesio::report::{Best, Column, HtmlReport, Scale, Scope, ScopeReport, Table, TableCell};
use lesio::study::{
    CalibratedPredictors, Evaluated, EvaluationBuilder, LocalizerTraining, ModelTraining, Shown, Subject,
    Thresholds, TrainOptions, TrainedLocalizer, curve_figures, leading, loss_plot, montage, normal_scale,
    scope_table, score_subject, shown, train_localizer,
};
use lesio::vae::{Augmentation, Divergence, Latent, Mirror, VaeConfig, VaeTraining};

use crate::{Watch, bar, say};

/// Rows and columns of an image.
const SIZE: usize = 96;
const TRAINING: u64 = 600;
const VALIDATION: u64 = 60;
const LESIONS_OF_A_KIND: u64 = 20;
/// Bootstrap replicates for the intervals: enough for two digits.
const REPLICATES: usize = 200;
/// Radii of lesions in millimeters; a pixel is 2.3 wide.
const RADII: [f64; 2] = [8.0, 18.0];
/// Width in grid pixels of the rim (scalp and skull) that is left out because it varies more than any lesion.
const RIM: f64 = 7.0;
/// Kinds of lesions with their contrasts: two that differ in brightness and two that do not.
const KINDS: [(&str, LesionKind, f64); 4] = [
    ("bright", LesionKind::Bright, 0.35),
    ("dark", LesionKind::Dark, 0.35),
    ("displaced", LesionKind::Displaced, 0.7),
    ("textured", LesionKind::Textured, 0.2),
];

/// Lesions of all kinds.
const LESIONS: u64 = KINDS.len() as u64 * LESIONS_OF_A_KIND;

/// A localizer trained on synthetic brains, and its evaluation.
#[derive(Debug)]
pub struct Brains {
    trained: TrainedLocalizer,
    /// Metrics and curves.
    pub evaluated: Evaluated,
    /// Average precision of every predictor by kind of lesion.
    pub by_kind: Table,
    rows: Vec<Shown>,
    /// Seconds to score an image by all predictors.
    pub seconds_per_image: f64,
}

impl Brains {
    /// Number of lesions in the test images.
    pub const LESIONS: u64 = LESIONS;

    /// Generates brain images, trains a localizer on normal ones, saves it, and evaluates it on lesions.
    ///
    /// # Errors
    /// If the device fails or the model cannot be written.
    pub fn localize(seed: u64, device: &Device, model: &Path) -> Result<Self, Box<dyn Error>> {
        let phantom = BrainPhantom::new(BrainConfig::new([SIZE, SIZE], Contrast::Flair, seed))?;
        let training: Vec<Subject> = (0..TRAINING).map(|subject| healthy(&phantom, subject)).collect();
        let validation: Vec<Subject> =
            (TRAINING..TRAINING + VALIDATION).map(|subject| healthy(&phantom, subject)).collect();

        say!("training on {TRAINING} normal images of {SIZE} x {SIZE} pixels");
        let settings = PredictorSettings::default()
            .projection(ProjectionConfig::default().steps(30))
            .restoration(RestorationConfig::default().steps(30));
        let config = LocalizerTraining::new(recipe(seed), Preprocessing::heads([SIZE, SIZE]))
            .settings(settings)
            .postprocessing(PostProcessing::default().median(0.0, 5.0, 5.0).erosion(RIM))
            .calibrated(CalibratedPredictors::All)
            .options(TrainOptions::default().device(device.clone()));
        let trained = train_localizer(training, Some(validation), &config, &mut Watch::bars())?;
        let localizer = &trained.localizer;
        let names = localizer.predictors();
        localizer.save(model)?;

        let progress = bar(LESIONS, "finding lesions");
        let mut evaluation = EvaluationBuilder::new(None);
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
                let subject = ill(&phantom, &injector, kind, subject, seed)?;
                let maps = score_subject(localizer, &subject, &names)?;
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
        let seconds_per_image = scoring.elapsed().as_secs_f64() / LESIONS as f64;
        let bootstrap = BootstrapConfig::new(seed).replicates(REPLICATES);
        let evaluated = evaluation.finish(&Thresholds::new(), &BTreeMap::new(), &bootstrap)?;
        let by_kind = kind_table(kinds, &names)?;
        Ok(Self { trained, evaluated, by_kind, rows, seconds_per_image })
    }

    fn scope(&self) -> Result<&ScopeReport, &'static str> {
        let scope = self.evaluated.scopes.iter().find(|scope| scope.scope == Scope::LesionSlices);
        scope.ok_or("no lesion slices")
    }

    /// Returns the report page; it states that the run took `seconds`.
    ///
    /// # Errors
    /// None in practice; tables and pictures check their input.
    pub fn page(&self, seconds: f64) -> Result<HtmlReport, Box<dyn Error>> {
        let (scope, names) = (self.scope()?, self.trained.localizer.predictors());
        let leaders = leading(scope, 3);
        let scales = scales(&self.trained.localizer, &names, &leaders)?;
        let places: Vec<usize> = leaders
            .iter()
            .filter_map(|leader| names.iter().position(|name| name.as_str() == *leader))
            .collect();
        let rows: Vec<Shown> = self.rows.iter().map(|row| row.picked(&places)).collect();
        let figures = curve_figures(&self.evaluated.curves, &leaders, scope.prevalence.unwrap_or(0.0))?;
        Ok(HtmlReport::new("lesio: anomalies found without labels")
            .lead(format!(
                "A variational autoencoder was trained on {TRAINING} normal synthetic brain images, without lesions. \
                 This page shows how well its predictors locate {LESIONS} lesions of four kinds, compared with the \
                 exact ground truth. This run computed every number; training and maps took {seconds:.0} seconds."
            ))
            .section("Anomaly maps")
            .montage(
                &montage(&leaders, &scales, &rows)?,
                "Two images of each kind; the outline is the ground truth. Each predictor has one color scale for all \
                 rows: dark up to the median score of normal pixels, brightest at the score that one in ten thousand of \
                 them exceeds.",
            )?
            .section("By kind of lesion")
            .paragraph(
                "Bright and dark lesions differ from their surroundings in intensity. Displaced and textured lesions do \
                 not, so the baseline, which is the intensity itself, cannot detect them.",
            )
            .table(self.by_kind.clone())
            .section("All lesions")
            .table(scope_table(scope)?)
            .figures(figures)
            .section("Training")
            .figure_svg(&loss_plot(&self.trained.history, "nats per image")?, "Mean loss of each epoch in nats per image."))
    }
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
    let training = VaeTraining::default()
        .train(TrainConfig::default().epochs(24).seed(seed))
        .divergence(Divergence::Beta { beta: 1.0, warm_up: 0.1 })
        .augmentation(Augmentation::default().mirror(Mirror::LeftRight));
    ModelTraining::Vae { model, training }
}

fn scales(
    localizer: &Localizer,
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
