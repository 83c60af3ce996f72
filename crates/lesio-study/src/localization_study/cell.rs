//! One cell of a study of localization: a model trained on a domain, and the evaluation of every predictor.

use std::ops::ControlFlow;

use lesio_anomaly::{
    EnsembleConfig, EnsembleRule, Localizer, NormalScores, PredictorName, PredictorSettings,
    ProjectionConfig, RestorationConfig,
};
use lesio_metrics::{BootstrapConfig, Connectivity, MeasureConfig, Scratch, StreamedPatients, TruePixels};
use lesio_nn::{Device, Event, TrainConfig};
use lesio_vae::{Divergence, Latent, Likelihood, VaeConfig, VaeTraining};
use ndarray::{Array3, Axis};
use serde::{Deserialize, Serialize};

use super::domain::Domain;
use super::settings::{Budget, Variation};
use crate::calibrating::calibrate;
use crate::error::StudyError;
use crate::maps::score_each;
use crate::normal_slices::{fit_preprocessing, normal_examples};
use crate::pixels::lesion_slices;
use crate::scratch::scratch;
use crate::subject::Subject;
use crate::training::{ModelTraining, TrainOptions, train};

/// The result of a cell: for every predictor the average precision of post-processed scores on slices with lesions, and
/// its bootstrap replicates over the same resampled patients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyCell {
    /// The domain.
    pub domain: String,
    /// The model.
    pub variation: Variation,
    /// The budget of the training and evaluation. Cells of earlier versions call it `effort`.
    #[serde(alias = "effort")]
    pub budget: Budget,
    /// Fraction of the scored pixels that are lesion.
    pub prevalence: f64,
    /// Number of patients, or images, that were resampled.
    pub patients: usize,
    /// Seconds it took.
    pub seconds: f64,
    /// A checksum of the data that it was made from, see [`StudyDomain::with_data`](super::StudyDomain::with_data);
    /// `None` if it is unknown, as in cells of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<u32>,
    /// The predictors.
    pub predictors: Vec<PredictorScore>,
}

/// One predictor of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictorScore {
    /// Its name.
    pub predictor: String,
    /// Average precision.
    pub average_precision: f64,
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Average precision of each bootstrap replicate; the same replicate of all predictors has the same patients.
    pub replicates: Vec<Option<f64>>,
}

impl StudyCell {
    /// A predictor's scores.
    #[must_use]
    pub fn score(&self, predictor: &str) -> Option<&PredictorScore> {
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

/// How the members are combined.
const ENSEMBLES: [(&str, EnsembleRule); 3] = [
    ("ensemble-mean", EnsembleRule::Mean),
    ("ensemble-maximum", EnsembleRule::Maximum),
    ("ensemble-product", EnsembleRule::Product),
];

/// Trains one model on a domain and evaluates every predictor and the ensembles.
///
/// # Errors
/// For invalid settings, before any work; those of training and scoring; and for a test set without a lesion.
pub(crate) fn run_cell(
    domain: &Domain,
    variation: Variation,
    budget: &Budget,
    device: &Device,
    observe: impl FnMut(&Event<'_>) -> ControlFlow<()>,
) -> Result<StudyCell, StudyError> {
    let started = std::time::Instant::now();
    variation.validate().map_err(|error| error.within("variation"))?;
    budget.validate().map_err(|error| error.within("budget"))?;
    let preprocessing = fit_preprocessing(&domain.preprocessing, &domain.training)?;
    let examples = normal_examples(&preprocessing, &domain.training)?;
    let validation = normal_examples(&preprocessing, &domain.validation)?;
    let model = VaeConfig::new(examples.shape().channels, budget.size, budget.size)
        .widths(budget.widths.clone())
        .latent(Latent::Dense { dimensions: variation.latent })
        .likelihood(Likelihood::Gaussian { scale: variation.scale });
    let train_config =
        TrainConfig::default().epochs(budget.epochs).batch_size(budget.batch).seed(budget.seed);
    let training = VaeTraining::default()
        .train(train_config)
        .divergence(Divergence::Beta { beta: variation.beta, warm_up: 0.1 })
        .augmentation(domain.augmentation.clone());
    let model = ModelTraining::Vae { model, training };
    let options = TrainOptions::default().device(device.clone());
    let trained = train(&model, preprocessing, examples, validation, &options, observe)?;
    let settings = PredictorSettings::default()
        .projection(ProjectionConfig::default().steps(budget.steps))
        .restoration(RestorationConfig::default().steps(budget.steps));
    let localizer =
        trained.localizer.with_settings(settings).with_postprocessing(domain.postprocessing.clone());
    let names = localizer.predictors();
    let localizer = calibrate(localizer, &domain.validation, &MEMBERS, |_| {})?;
    let bootstrap = BootstrapConfig::new(budget.seed).replicates(budget.replicates);
    let (mut scratch, streams) = score_test_subjects(&localizer, &domain.test, &names)?;
    let mut predictors = Vec::with_capacity(streams.len());
    let (mut prevalence, mut patients) = (f64::NAN, 0);
    for (predictor, stream) in streams {
        let measured = stream.measure(&mut scratch, &MeasureConfig::default())?;
        prevalence = measured.prevalence();
        patients = measured.patients().len();
        predictors.push(PredictorScore {
            predictor,
            average_precision: measured.average_precision(),
            auroc: measured.auroc(),
            replicates: measured.bootstrap(&mut scratch, &bootstrap)?.average_precision.values().to_vec(),
        });
    }
    Ok(StudyCell {
        domain: domain.name.clone(),
        variation,
        budget: budget.clone(),
        prevalence,
        patients,
        seconds: started.elapsed().as_secs_f64(),
        data: None,
        predictors,
    })
}

/// Post-processed scores of slices with lesions, by predictor and ensemble, and where they are kept.
fn score_test_subjects(
    localizer: &Localizer,
    test: &[Subject],
    names: &[PredictorName],
) -> Result<(Scratch, Vec<(String, StreamedPatients)>), StudyError> {
    let mut scratch = scratch(None);
    let mut streams: Vec<(String, StreamedPatients)> = Vec::new();
    for subject in test {
        let Some(truth) = subject.truth()? else { continue };
        if !truth.iter().any(|&inside| inside) {
            continue;
        }
        let mut known: Option<(Vec<usize>, TruePixels)> = None;
        let mut members: Vec<(Array3<f32>, &NormalScores)> = Vec::new();
        let mut place = 0;
        let mut add = |name: &str, scores: &Array3<f32>, pixels: &TruePixels| -> Result<(), StudyError> {
            if streams.len() <= place {
                streams.push((name.to_owned(), StreamedPatients::new()));
            }
            streams[place].1.update(&mut scratch, &subject.patient, pixels, scores.view())?;
            place += 1;
            Ok(())
        };
        score_each(localizer, subject, names, |scene, predictor, [_, map]| {
            scene.check("truth", &truth)?;
            let axis = Axis(scene.axis);
            if known.is_none() {
                let slices = lesion_slices(&truth, scene.axis);
                let (truth, inside) = (truth.select(axis, &slices), scene.foreground.select(axis, &slices));
                let within =
                    ndarray::Zip::from(&truth).and(&inside).map_collect(|&lesion, &inside| lesion || inside);
                known = Some((slices, TruePixels::new(truth.view(), within.view(), Connectivity::Face)?));
            }
            let Some((slices, pixels)) = &known else { return Ok(()) };
            let scores = map.select(axis, slices);
            add(predictor.as_str(), &scores, pixels)?;
            if let Some(normal) =
                localizer.calibration().get(predictor).filter(|_| MEMBERS.contains(&predictor))
            {
                members.push((scores, normal));
            }
            Ok(())
        })?;
        if let Some((_, pixels)) = known.as_ref().filter(|_| members.len() > 1) {
            let views: Vec<_> = members.iter().map(|(map, normal)| (map.view(), *normal)).collect();
            for (name, rule) in ENSEMBLES {
                add(name, &EnsembleConfig::new(rule).combine(&views)?, pixels)?;
            }
        }
    }
    Ok((scratch, streams))
}
