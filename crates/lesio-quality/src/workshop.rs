//! All that the estimators of one data set share, and the models made of it.

use lesio_nn::{Device, ParameterSet};

use crate::attack::estimate_samples;
use crate::config::{EstimatorConfig, Method};
use crate::conformal::Conformal;
use crate::estimator::Estimator;
use crate::evaluation::Scored;
use crate::model::{QualityModel, QualityProvenance};
use crate::novelty::Novelty;
use crate::painter::Painter;
use crate::recipe::Recipe;
use crate::samples::Samples;
use crate::segmenters::Segmenters;
use crate::shelf::{Listener, RecipeError, Shelf};
use crate::slices::TrueSlice;

/// Share of new patients' samples that intervals are to hold.
const COVERAGE: f64 = 0.9;
/// Share of held-out patients' images that pass for usual.
const USUAL: f64 = 0.99;

/// Segmenters, candidates and REC-Net of one data set, from which models of any [`Method`] are trained.
///
/// Training patients teach the networks; held-out ones choose the epoch and calibrate intervals and limits.
#[derive(Debug)]
pub struct Workshop {
    recipe: Recipe,
    config: EstimatorConfig,
    shelf: Shelf,
    device: Device,
    segmenters: Segmenters,
    painting: ParameterSet,
    training: Samples,
    held_out: Samples,
}

impl Workshop {
    /// Trains segmenters and REC-Net on a device, and makes candidates of training and held-out patients.
    ///
    /// The method of `config` does not matter here. Models are trained on the same device, and asked there.
    /// A shelf that was begun on another device is gone on with; where rounding gives other candidates, what learns from them
    /// is trained anew.
    ///
    /// # Errors
    /// A configuration that is refused, slices that cannot be used, and a training that fails or was stopped.
    pub fn prepare(
        recipe: Recipe,
        config: EstimatorConfig,
        training: &[TrueSlice],
        held_out: &[TrueSlice],
        shelf: Shelf,
        device: &Device,
        listener: &mut Listener<'_>,
    ) -> Result<Self, RecipeError> {
        config.validate()?;
        let (framing, classes) = (&config.framing, &config.classes);
        let segmenters = recipe.segmenters(framing, classes, training, &shelf, device, listener)?;
        let painting = recipe.reconstruction(&config, training, &shelf, device, listener)?;
        let per_bin = [recipe.training_per_bin, recipe.validation_per_bin];
        let mut pools = Vec::new();
        for (slices, per_bin) in [training, held_out].into_iter().zip(per_bin) {
            let pool = recipe.candidates(&segmenters, slices, listener)?;
            pools.push(recipe.samples(framing, classes, slices, &pool, per_bin)?);
        }
        let (held_out, training) = (pools.pop().unwrap_or_default(), pools.pop().unwrap_or_default());
        let device = device.clone();
        Ok(Self { recipe, config, shelf, device, segmenters, painting, training, held_out })
    }

    /// Candidates of other patients, at most `per_bin` for each twentieth of the Dice.
    ///
    /// # Errors
    /// Slices that cannot be used.
    pub fn pool(
        &self,
        slices: &[TrueSlice],
        per_bin: usize,
        listener: &mut Listener<'_>,
    ) -> Result<Samples, RecipeError> {
        let pool = self.recipe.candidates(&self.segmenters, slices, listener)?;
        self.recipe.samples(&self.config.framing, &self.config.classes, slices, &pool, per_bin)
    }

    /// Trains an estimator and calibrates it.
    ///
    /// # Errors
    /// A training that fails or was stopped.
    pub fn model(&self, method: Method, listener: &mut Listener<'_>) -> Result<QualityModel, RecipeError> {
        let config = self.config.clone().method(method);
        let mut train = |method, foundation: &ParameterSet| {
            let config = self.config.clone().method(method);
            let samples = [&self.training, &self.held_out];
            self.recipe.estimator(&config, foundation, samples, &self.shelf, &self.device, listener)
        };
        let (parameters, fingerprint) = match method {
            Method::SecondOpinion => {
                let (shape, _) = train(Method::ShapeOnly, &ParameterSet::new())?;
                train(method, &shape)?
            }
            _ => train(method, &self.painting)?,
        };
        // The published methods stay as they were published.
        let views = if method == Method::SecondOpinion { self.recipe.views } else { 1 };
        let config = config.views(views);
        let estimator = Estimator::new(config.clone(), parameters, &self.device)?;
        let estimates = estimate_samples(&estimator, &self.held_out, None)?;
        let conformal = (0..config.framing.labels.len())
            .map(|label| {
                let scored = scored(&self.held_out, &estimates.dice, label);
                Conformal::fit(&scored.patients, &scored.predicted, &scored.truth, COVERAGE)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let novelty = Novelty::fit(
            self.training.iter().map(|sample| (sample.image.as_slice(), sample.segmentation.as_slice())),
            self.held_out.iter().map(|sample| {
                (sample.patient.as_str(), sample.image.as_slice(), sample.segmentation.as_slice())
            }),
            config.framing.grid[1],
            USUAL,
        )?;
        let painter = Painter::new(&config, self.painting.clone(), &self.device)?;
        let provenance = QualityProvenance::new(self.recipe.seed, fingerprint);
        Ok(QualityModel::new(estimator, painter, conformal, novelty, provenance)?)
    }

    /// Samples of the training patients.
    #[must_use]
    pub fn training(&self) -> &Samples {
        &self.training
    }

    /// Samples of the held-out patients.
    #[must_use]
    pub fn held_out(&self) -> &Samples {
        &self.held_out
    }

    /// The segmenters, to ask what they give for a slice that they never saw.
    #[must_use]
    pub fn segmenters(&self) -> &Segmenters {
        &self.segmenters
    }
}

/// Estimates of one label (by position) of samples, with their truth; `dice` is `[n, labels]`.
#[must_use]
pub fn scored(samples: &Samples, dice: &[f32], label: usize) -> Scored {
    let labels = samples.get(0).map_or(1, |sample| sample.dice.len());
    let patients = samples.iter().map(|sample| sample.patient.clone()).collect();
    let truth = samples.iter().map(|sample| sample.dice.get(label).copied().unwrap_or(f64::NAN)).collect();
    let predicted = dice.iter().skip(label).step_by(labels.max(1)).map(|&dice| f64::from(dice)).collect();
    Scored::new(patients, truth, predicted)
}

/// Estimates of the mean Dice over the labels, with their truth; `dice` is `[n, labels]`.
#[must_use]
pub fn scored_mean(samples: &Samples, dice: &[f32]) -> Scored {
    let labels = samples.get(0).map_or(1, |sample| sample.dice.len()).max(1);
    let mean = |dice: &[f32]| dice.iter().map(|&dice| f64::from(dice)).sum::<f64>() / labels as f64;
    let patients = samples.iter().map(|sample| sample.patient.clone()).collect();
    let truth = samples.iter().map(crate::Sample::mean_dice).collect();
    Scored::new(patients, truth, dice.chunks_exact(labels).map(mean).collect())
}
