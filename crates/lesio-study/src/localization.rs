//! One cell of a study of localization: a model trained on a domain and every predictor measured on it.

use std::ops::ControlFlow;

use lesio_anomaly::{EnsembleConfig, EnsembleRule, Localizer, PostProcessing, PredictorName};
use lesio_image::Preprocessing;
use lesio_metrics::{BootstrapConfig, PatientPixels, RankedPatients};
use lesio_nn::Event;
use lesio_settings::{SettingError, in_range, require};
use lesio_vae::{Augmentation, Divergence, Latent, Likelihood, VaeConfig, VaeTraining};
use ndarray::{Array3, Axis};
use serde::{Deserialize, Serialize};

use crate::calibrating::calibrate;
use crate::error::StudyError;
use crate::evaluation::{Maps, score_subject, truth_of};
use crate::gather::{fit_preprocessing, normal_examples};
use crate::subject::Subject;
use crate::training::{Checkpoints, Recipe, train};

/// Images of one kind, split: normals to learn from, normals to calibrate on, lesions to find.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its name in reports.
    pub name: String,
    /// Subjects whose normal slices are learnt.
    pub training: Vec<Subject>,
    /// Subjects whose normal slices choose the epoch and calibrate.
    pub validation: Vec<Subject>,
    /// Subjects that are scored.
    pub test: Vec<Subject>,
    /// How images come to the grid.
    pub preprocessing: Preprocessing,
    /// How images are changed in training.
    pub augmentation: Augmentation,
    /// How maps are filtered.
    pub postprocessing: PostProcessing,
}

/// What is varied between the models of a study.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variation {
    /// Weight of the divergence, 0 to 1e9.
    pub beta: f64,
    /// Latent dimensions, 1 to 65536.
    pub latent: usize,
    /// Standard deviation of the Gaussian likelihood, 1e-6 to 1e6.
    pub scale: f64,
}

impl Default for Variation {
    /// Beta 1, 128 latent dimensions, scale .1: what the others are compared with.
    fn default() -> Self {
        Self { beta: 1.0, latent: 128, scale: 0.1 }
    }
}

impl Variation {
    /// The models of a study: the default, then one thing varied at a time, the weight of the divergence first.
    #[must_use]
    pub fn grid() -> Vec<Self> {
        let base = Self::default();
        let betas = [0.0, 0.1, 4.0, 10.0].map(|beta| Self { beta, ..base });
        let latents = [32, 512].map(|latent| Self { latent, ..base });
        let scales = [0.05, 0.3].map(|scale| Self { scale, ..base });
        std::iter::once(base).chain(betas).chain(latents).chain(scales).collect()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("beta", self.beta, 0.0..=1e9)?;
        in_range("latent", self.latent, 1..=1 << 16)?;
        in_range("scale", self.scale, 1e-6..=1e6)
    }

    /// A name that is a file's too.
    #[must_use]
    pub fn name(&self) -> String {
        format!("beta{}-latent{}-scale{}", self.beta, self.latent, self.scale)
    }
}

/// How large and how long the models of a study are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// Rows and columns of the grid, 1 to 4096.
    pub size: usize,
    /// Channels at each resolution.
    pub widths: Vec<usize>,
    /// Passes over the training slices, 1 to a million.
    pub epochs: usize,
    /// Slices per update, 1 to 65536.
    pub batch: usize,
    /// Steps of projection and restoration, 1 to 10000.
    pub steps: usize,
    /// Seed of everything.
    pub seed: u64,
    /// Replicates of the bootstrap, 1 to a million.
    pub replicates: usize,
}

impl Effort {
    /// Checks every setting. What belongs to the model, its training, its predictors and the bootstrap is checked by
    /// these too, before a study begins.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("size", self.size, 1..=4096)?;
        require(!self.widths.is_empty(), "widths", &self.widths, "at least one")?;
        in_range("epochs", self.epochs, 1..=1_000_000)?;
        in_range("batch", self.batch, 1..=1 << 16)?;
        in_range("steps", self.steps, 1..=10_000)?;
        in_range("replicates", self.replicates, 1..=1_000_000)
    }
}

/// What a cell found: for every predictor the average precision of post-processed scores on slices with
/// lesions, and its bootstrap replicates over the same resampled patients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The domain.
    pub domain: String,
    /// The model.
    pub variation: Variation,
    /// The effort spent.
    pub effort: Effort,
    /// Share of the scored pixels that are lesion.
    pub prevalence: f64,
    /// Patients, or images, that were resampled.
    pub patients: usize,
    /// Seconds it took.
    pub seconds: f64,
    /// The predictors.
    pub predictors: Vec<CellScore>,
}

/// One predictor of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellScore {
    /// Its name.
    pub predictor: String,
    /// Average precision.
    pub average_precision: f64,
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Average precision of each bootstrap replicate; the same replicate of all predictors has the same patients.
    pub replicates: Vec<Option<f64>>,
}

impl Cell {
    /// A predictor's scores.
    #[must_use]
    pub fn score(&self, predictor: &str) -> Option<&CellScore> {
        self.predictors.iter().find(|score| score.predictor == predictor)
    }
}

/// Predictors whose calibrated scores the study's ensembles combine: one of each family.
const MEMBERS: [PredictorName; 4] = [
    PredictorName::PixelPositive,
    PredictorName::PixelSsim,
    PredictorName::GradElbo,
    PredictorName::Restoration,
];

/// Trains one model on a domain and measures every predictor and the ensembles on it.
///
/// # Errors
/// Settings that are refused, before anything else; as for training and scoring; a test set without a lesion.
pub fn run_cell(
    domain: &Domain,
    variation: Variation,
    effort: &Effort,
    observe: impl FnMut(&Event<'_>) -> ControlFlow<()>,
) -> Result<Cell, StudyError> {
    let started = std::time::Instant::now();
    variation.validate().map_err(|error| error.within("variation"))?;
    effort.validate().map_err(|error| error.within("effort"))?;
    let preprocessing = fit_preprocessing(&domain.preprocessing, &domain.training)?;
    let examples = normal_examples(&preprocessing, &domain.training)?;
    let validation = normal_examples(&preprocessing, &domain.validation)?;
    let model = VaeConfig::new(examples.shape().channels, effort.size, effort.size)
        .widths(effort.widths.clone())
        .latent(Latent::Dense { dimensions: variation.latent })
        .likelihood(Likelihood::Gaussian { scale: variation.scale });
    let mut training = VaeTraining::default();
    training.train.epochs = effort.epochs;
    training.train.batch_size = effort.batch;
    training.train.seed = effort.seed;
    training.divergence = Divergence::Beta { beta: variation.beta, warm_up: 0.1 };
    training.augmentation = domain.augmentation.clone();
    let recipe = Recipe::Vae { model, training };
    let trained = train(&recipe, preprocessing, examples, validation, &Checkpoints::default(), observe)?;
    let mut settings = lesio_anomaly::PredictorSettings::default();
    settings.projection.steps = effort.steps;
    settings.restoration.steps = effort.steps;
    let localizer = trained.localizer.settings(settings).postprocessing(domain.postprocessing.clone());
    let names = localizer.predictors();
    let localizer = calibrate(localizer, &domain.validation, &MEMBERS, |_| {})?;
    let ranked = measure(&localizer, &domain.test, &names)?;

    let bootstrap = BootstrapConfig::new(effort.seed).replicates(effort.replicates);
    let mut predictors = Vec::with_capacity(ranked.len());
    let (mut prevalence, mut patients) = (f64::NAN, 0);
    for (predictor, ranked) in ranked {
        prevalence = ranked.pooled().prevalence();
        patients = ranked.patients().len();
        let replicates = ranked.bootstrap(&bootstrap)?.average_precision.values().to_vec();
        predictors.push(CellScore {
            predictor,
            average_precision: ranked.pooled().average_precision(),
            auroc: ranked.pooled().auroc(),
            replicates,
        });
    }
    Ok(Cell {
        domain: domain.name.clone(),
        variation,
        effort: effort.clone(),
        prevalence,
        patients,
        seconds: started.elapsed().as_secs_f64(),
        predictors,
    })
}

/// Post-processed scores of slices with lesions, by predictor and ensemble.
fn measure(
    localizer: &Localizer,
    test: &[Subject],
    names: &[PredictorName],
) -> Result<Vec<(String, RankedPatients)>, StudyError> {
    let mut pixels: Vec<(String, PatientPixels)> = Vec::new();
    for subject in test {
        let Some(truth) = truth_of(subject) else { continue };
        if !truth.iter().any(|&inside| inside) {
            continue;
        }
        let mut maps = score_subject(localizer, subject, names)?;
        add_ensembles(localizer, names, &mut maps)?;
        let axis = Axis(maps.axis);
        let slices = truth.axis_iter(axis).enumerate();
        let lesions: Vec<usize> =
            slices.filter(|(_, slice)| slice.iter().any(|&inside| inside)).map(|(k, _)| k).collect();
        let flat =
            |values: &Array3<bool>| -> Vec<bool> { values.select(axis, &lesions).iter().copied().collect() };
        let (truth, inside) = (flat(&truth), flat(&maps.foreground));
        let within: Vec<bool> =
            truth.iter().zip(&inside).map(|(&lesion, &inside)| lesion || inside).collect();
        for (place, (name, [_, map])) in maps.maps.iter().enumerate() {
            if pixels.len() <= place {
                pixels.push((name.clone(), PatientPixels::new()));
            }
            let scores: Vec<f32> = map.select(axis, &lesions).iter().copied().collect();
            pixels[place].1.update_within(&subject.patient, &scores, &truth, &within)?;
        }
    }
    pixels.into_iter().map(|(name, pixels)| Ok((name, pixels.rank()?))).collect()
}

/// Adds `ensemble-mean`, `ensemble-maximum` and `ensemble-product` of the calibrated members to the maps.
fn add_ensembles(localizer: &Localizer, names: &[PredictorName], maps: &mut Maps) -> Result<(), StudyError> {
    let mut members = Vec::new();
    for member in MEMBERS {
        let place = names.iter().position(|&name| name == member);
        if let (Some(place), Some(normal)) = (place, localizer.calibration().get(member)) {
            members.push((maps.maps[place].1[1].clone(), normal));
        }
    }
    if members.len() < 2 {
        return Ok(());
    }
    let views: Vec<_> = members.iter().map(|(map, normal)| (map.view(), *normal)).collect();
    for (name, rule) in [
        ("ensemble-mean", EnsembleRule::Mean),
        ("ensemble-maximum", EnsembleRule::Maximum),
        ("ensemble-product", EnsembleRule::Product),
    ] {
        let combined = EnsembleConfig::new(rule).combine(&views)?;
        maps.maps.push((name.to_owned(), [combined.clone(), combined]));
    }
    Ok(())
}
